// SPDX-License-Identifier: Apache-2.0

#include "actors/session/snapshot.hpp"

#include "messages/session_json.hpp"
#include "messages/tokens.hpp"

#include <unordered_map>

namespace muster {

namespace {

std::uint64_t prompt_tokens(const query& q) {
  return estimate_tokens(q.prompt)
         + (q.system ? estimate_tokens(*q.system) : 0);
}

/// The query that the session waits for, or null.
json current_query(const session_view& view) {
  if (view.queries.empty())
    return nullptr;
  auto& q = view.queries.back();
  return {{"query_id", q.id},
          {"prompt_tokens", prompt_tokens(q)},
          {"started_waiting_at", view.since_ms}};
}

json exchange_json(const exchange& x) {
  json out{{"query_id", x.asked.id},
           {"prompt", x.asked.prompt},
           {"prompt_tokens", prompt_tokens(x.asked)},
           {"started_at", x.asked_at},
           {"response", nullptr},
           {"response_tokens", 0},
           {"completed_at", nullptr}};
  if (x.asked.system)
    out["system"] = *x.asked.system;
  if (x.answered) {
    auto usage = x.answered->usage.value_or(token_usage{});
    out["response"] = x.answered->response;
    out["response_tokens"]
      = usage.completion_tokens.value_or(estimate_tokens(x.answered->response));
    if (usage.prompt_tokens)
      out["prompt_tokens"] = *usage.prompt_tokens;
    out["completed_at"] = x.answered_at;
  }
  return out;
}

json metrics_json(const session_fold& fold, const snapshot_sources& sources,
                  std::int64_t now_ms) {
  auto& metrics = fold.metrics();
  json out{
    {"elapsed_ms", fold.elapsed_ms(now_ms)},
    {"llm_calls", metrics.llm_calls},
    {"rounds", metrics.rounds},
    {"tokens",
     {{"prompt_total", metrics.prompt_tokens.tokens()},
      {"response_total", metrics.response_tokens.tokens()},
      {"total", (metrics.prompt_tokens + metrics.response_tokens).tokens()},
      {"current_query", current_query(fold.view())}}}};
  auto logs = json::array();
  for (auto& line : sources.logs)
    logs.push_back(log_json(line));
  out["recent_logs"] = std::move(logs);
  if (auto progress = fold.progress(); !progress.is_null())
    out["progress"] = std::move(progress);
  if (auto remaining = fold.budget_remaining(now_ms); !remaining.is_null())
    out["budget_remaining"] = std::move(remaining);
  if (sources.transcript)
    out["conversation_history"] = transcript_json(*sources.transcript);
  return out;
}

} // namespace

std::vector<exchange> transcript_of(const history& events) {
  std::vector<exchange> out;
  std::unordered_map<std::string, std::size_t> positions;
  for (auto& event : events) {
    if (auto* pause = std::get_if<paused_event>(&event.body))
      for (auto& q : pause->queries) {
        positions.emplace(q.id, out.size());
        out.push_back({q, event.at_ms, {}, 0});
      }
    if (auto* answer = std::get_if<answered_event>(&event.body))
      if (auto i = positions.find(answer->query_id); i != positions.end()) {
        out[i->second].answered = *answer;
        out[i->second].answered_at = event.at_ms;
      }
  }
  return out;
}

json transcript_json(const std::vector<exchange>& transcript) {
  auto out = json::array();
  for (auto& x : transcript)
    out.push_back(exchange_json(x));
  return out;
}

json snapshot_json(const session_fold& fold, const snapshot_options& options,
                   const snapshot_sources& sources, std::int64_t now_ms) {
  auto& view = fold.view();
  auto phase = to_string(view.phase);
  json out{{"session_id", view.session_id},
           {"kind", to_string(view.kind)},
           {"state", is_terminal(view.phase) ? "terminal" : phase},
           {"phase", view.phase == session_phase::done ? "completed" : phase},
           {"started_at", view.created_ms},
           {"last_activity_at", view.last_active_ms},
           {"metrics", metrics_json(fold, sources, now_ms)}};
  if (view.phase == session_phase::paused) {
    out["pending_queries"] = view.queries.size();
    if (options.pending) {
      auto pending = json::array();
      for (auto& q : view.queries)
        pending.push_back(project(q, *options.pending));
      out["pending"] = std::move(pending);
    }
  }
  return out;
}

} // namespace muster
