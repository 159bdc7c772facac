// SPDX-License-Identifier: Apache-2.0

#include "actors/session/session_fold.hpp"

#include "messages/tokens.hpp"

#include <algorithm>

namespace muster {

namespace {

std::uint64_t estimate(const query& q) {
  return estimate_tokens(q.prompt)
         + (q.system ? estimate_tokens(*q.system) : 0);
}

json embedded(const std::string& text) {
  return text.empty() ? json::object() : json::parse(text);
}

} // namespace

void token_count::provide(std::uint64_t tokens) {
  provided_ += tokens;
  ++provisions_;
}

void token_count::estimate(std::uint64_t tokens) {
  estimated_ += tokens;
  ++estimates_;
}

void token_count::withdraw_estimate(std::uint64_t tokens) {
  estimated_ -= tokens;
  --estimates_;
}

std::string token_count::source() const {
  if (estimates_ > 0)
    return "estimated";
  return provisions_ > 0 ? "provided" : "definite";
}

token_count operator+(const token_count& a, const token_count& b) {
  auto sum = a;
  sum.provided_ += b.provided_;
  sum.provisions_ += b.provisions_;
  sum.estimated_ += b.estimated_;
  sum.estimates_ += b.estimates_;
  return sum;
}

json to_json(const token_count& count) {
  return {{"tokens", count.tokens()}, {"source", count.source()}};
}

session_fold::session_fold(std::string session_id) {
  view_.session_id = std::move(session_id);
}

void session_fold::apply(const history_event& event) {
  ++view_.seq;
  now_ms_ = event.at_ms;
  std::visit([this](auto& x) { add(x); }, event.body);
}

json session_fold::stats(std::int64_t now_ms) const {
  auto total = metrics_.prompt_tokens + metrics_.response_tokens;
  json automatic{{"elapsed_ms", elapsed_ms(now_ms)},
                 {"llm_calls", metrics_.llm_calls},
                 {"pauses", metrics_.pauses},
                 {"rounds", metrics_.rounds},
                 {"total_prompt_chars", metrics_.prompt_bytes},
                 {"total_response_chars", metrics_.response_bytes},
                 {"prompt_tokens", to_json(metrics_.prompt_tokens)},
                 {"response_tokens", to_json(metrics_.response_tokens)},
                 {"total_tokens", to_json(total)}};
  if (budget_.limited())
    automatic["budget"] = budget_.limits();
  return {{"auto", std::move(automatic)}, {"custom", embedded(custom_stats_)}};
}

std::uint64_t session_fold::elapsed_ms(std::int64_t now_ms) const {
  auto end = is_terminal(view_.phase) ? view_.since_ms : now_ms;
  return static_cast<std::uint64_t>(
    std::max<std::int64_t>(end - view_.created_ms, 0));
}

json session_fold::budget_remaining(std::int64_t now_ms) const {
  if (!budget_.limited())
    return nullptr;
  json out{
    {"llm_calls", nullptr}, {"elapsed_ms", nullptr}, {"tokens", nullptr}};
  out.update(budget_.remaining(elapsed_ms(now_ms)));
  return out;
}

json session_fold::progress() const {
  return progress_.empty() ? json(nullptr) : json::parse(progress_);
}

// -- the events ---------------------------------------------------------------

void session_fold::add(const spawned_event& x) {
  view_.kind = x.spec.kind;
  isolation_ = x.spec.isolation;
  packages_ = x.spec.packages;
  view_.created_ms = view_.last_active_ms = now_ms_;
  enter(session_phase::running);
  auto ctx = json::parse(x.spec.ctx, nullptr, false);
  if (auto limits = ctx.find("budget"); limits != ctx.end())
    budget_ = budget{*limits};
}

void session_fold::add(const effect_event&) {
  // Between the script and its host; a session is no other for it.
}

void session_fold::add(const paused_event& x) {
  enter(session_phase::paused);
  pause_seq_ = view_.seq;
  view_.queries = x.queries;
  view_.asked = x.queries.size();
  answers_.clear();
  next_query_ += x.queries.size();
  custom_stats_ = x.stats;
  progress_ = x.progress;
  ++metrics_.pauses;
  metrics_.llm_calls += x.queries.size();
  budget_.add_calls(x.queries.size());
  for (auto& q : x.queries) {
    metrics_.prompt_bytes += q.prompt.size();
    metrics_.prompt_tokens.estimate(estimate(q));
  }
}

void session_fold::add(const answered_event& x) {
  auto i = std::find_if(view_.queries.begin(), view_.queries.end(),
                        [&](auto& q) { return q.id == x.query_id; });
  if (i == view_.queries.end())
    return;
  auto usage = x.usage.value_or(token_usage{});
  auto estimated = estimate(*i);
  auto response = usage.completion_tokens.value_or(estimate_tokens(x.response));
  // A count given with the answer takes the place of the estimate.
  if (usage.prompt_tokens) {
    metrics_.prompt_tokens.withdraw_estimate(estimated);
    metrics_.prompt_tokens.provide(*usage.prompt_tokens);
  }
  if (usage.completion_tokens)
    metrics_.response_tokens.provide(response);
  else
    metrics_.response_tokens.estimate(response);
  metrics_.response_bytes += x.response.size();
  budget_.add_tokens(usage.prompt_tokens.value_or(estimated) + response);
  answers_.emplace(x.query_id, x);
  view_.queries.erase(i);
  view_.last_active_ms = now_ms_;
  if (view_.queries.empty()) {
    ++metrics_.rounds;
    enter(session_phase::running);
  }
}

void session_fold::add(const done_event& x) {
  view_.result = x.result;
  if (metrics_.llm_calls > 0)
    view_.usage = token_usage{metrics_.prompt_tokens.tokens(),
                              metrics_.response_tokens.tokens()};
  enter(session_phase::done);
  finish(x.stats);
}

void session_fold::add(const failed_event& x) {
  view_.error = x.message;
  view_.error_kind = x.kind;
  enter(session_phase::failed);
  finish(x.stats);
}

void session_fold::add(const cancelled_event& x) {
  view_.reason = x.reason;
  view_.phase_before = view_.phase;
  view_.last_active_ms = now_ms_;
  enter(session_phase::cancelled);
  finish(custom_stats_);
}

void session_fold::enter(session_phase phase) {
  view_.phase = phase;
  view_.since_ms = now_ms_;
}

void session_fold::finish(const std::string& custom_stats) {
  custom_stats_ = custom_stats;
  view_.queries.clear();
  answers_.clear();
  view_.stats = stats(now_ms_).dump();
}

} // namespace muster
