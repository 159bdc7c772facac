// SPDX-License-Identifier: Apache-2.0

#include "tests/simulation/model.hpp"

#include "messages/json.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace muster::test {

namespace {

/// All of a view that its event number fixes for ever.
std::string fingerprint(const session_view& view) {
  auto text = to_string(view.phase);
  for (auto& q : view.queries)
    text += fmt::format(" {}={}", q.id, q.prompt);
  return text + view.result + view.error;
}

[[noreturn]] void broken(const std::string& id, const std::string& what) {
  throw violation{fmt::format("session {}: {}", id, what)};
}

} // namespace

// -- what clients do and hear -------------------------------------------------

void model::spawned(const std::string& id, const std::string& script) {
  auto& session = record(id);
  if (!session.script.empty() && session.script != script)
    broken(id, "was given to two spawns");
  session.script = script;
}

model::expectation model::expectation_for(const std::string& id) const {
  auto i = sessions_.find(id);
  return {id, i == sessions_.end() ? 0 : i->second.seq};
}

void model::sends(const std::string& id, const std::string& query_id,
                  const std::string& response) {
  auto& query = record(id).queries[query_id];
  query.sent.insert(response);
  ++query.times_sent;
}

void model::cancels(const std::string& id) {
  record(id).cancel_was_asked = true;
}

void model::shown(const expectation& at_least, const session_view& view) {
  auto& id = view.session_id;
  if (!at_least.session_id.empty() && id != at_least.session_id)
    broken(id, "answers for " + at_least.session_id);
  auto& session = record(id);
  if (view.seq < at_least.seq)
    broken(
      id, fmt::format("fell back from event {} to {}", at_least.seq, view.seq));
  auto text = fingerprint(view);
  auto [known, is_new] = session.shown.emplace(view.seq, text);
  if (!is_new && known->second != text)
    broken(id, fmt::format("shows event {} as '{}', and as '{}' before",
                           view.seq, text, known->second));
  if (session.end_seq
      && (view.seq > *session.end_seq
          || is_terminal(view.phase) != (view.seq == *session.end_seq)))
    broken(id,
           fmt::format("goes on behind its end at event {}", *session.end_seq));
  if (is_terminal(view.phase))
    session.end_seq = view.seq;
  if (view.phase == session_phase::cancelled && !session.cancel_was_asked)
    broken(id, "was cancelled, and nobody asked for it");
  if (view.phase == session_phase::paused && view.queries.empty())
    broken(id, "is paused without an open query");
  for (auto& q : view.queries) {
    auto& query = session.queries[q.id];
    if (query.acknowledged && query.acknowledged_seq <= view.seq)
      broken(id, "asks " + q.id + " again, which was acknowledged");
    if (!query.prompt.empty() && query.prompt != q.prompt)
      broken(id, "asks something else with " + q.id);
    query.prompt = q.prompt;
  }
  if (view.seq < session.seq)
    return;
  session.seq = view.seq;
  session.phase = view.phase;
  session.open.clear();
  for (auto& q : view.queries)
    session.open.push_back(q.id);
}

void model::fed(const expectation& at_least, const std::vector<answer>& answers,
                const feed_reply& reply) {
  auto& id = at_least.session_id;
  if (reply.results.size() != answers.size())
    broken(id, "gives no result for an answer");
  auto& session = record(id);
  for (std::size_t i = 0; i < answers.size(); ++i) {
    auto& result = reply.results[i];
    auto& query_id
      = answers[i].query_id.empty() ? result.query_id : answers[i].query_id;
    if (!result.refused) {
      take(session, id, answers[i], query_id, reply.session.seq);
      continue;
    }
    refused(id, *result.refused);
    // Somebody else must have answered it.
    if (result.refused->code == errc::already_answered
        && session.queries[query_id].times_sent < 2
        && !session.queries[query_id].acknowledged)
      broken(id, query_id + " is said to be answered, and nobody did");
  }
  shown(at_least, reply.session);
}

void model::take(session_record& session, const std::string& id,
                 const answer& given, const std::string& query_id,
                 std::uint64_t seq) {
  auto& query = session.queries[query_id];
  if (query.acknowledged)
    broken(id, query_id + " took a second answer");
  if (session.end_seq && seq > *session.end_seq)
    broken(id, query_id + " was taken behind the end");
  query.sent.insert(given.response);
  query.acknowledged = given.response;
  query.acknowledged_seq = seq;
  ++acknowledged_;
}

void model::refused(const std::string& id, const failure& why) {
  if (why.message.empty())
    broken(id, "refuses without a word");
  switch (why.code) {
    case errc::busy:
    case errc::finished:
    case errc::already_answered:
    case errc::already_cancelled:
    case errc::invalid_argument:
    case errc::conflict:
    case errc::overloaded:
    case errc::shutting_down:
    case errc::storage_full:
    case errc::storage_failed:
    case errc::read_only:
    case errc::timeout:
      return;
    case errc::not_found:
      // An unknown query is fine; an unknown session is not.
      if (why.message.find("query") != std::string::npos)
        return;
      [[fallthrough]];
    default:
      broken(id, fmt::format("refuses with {}: {}", to_string(why.code),
                             why.message));
  }
}

void model::told(const std::string& id, const std::string& transcript) {
  auto& session = record(id);
  std::set<std::string> told;
  for (auto& x : json::parse(transcript)) {
    auto query_id = x["query_id"].get<std::string>();
    auto& query = session.queries[query_id];
    if (!told.insert(query_id).second)
      broken(id, "tells " + query_id + " twice");
    if (!query.prompt.empty() && x["prompt"] != query.prompt)
      broken(id, "tells another prompt for " + query_id);
    if (query.acknowledged && x["response"] != *query.acknowledged)
      broken(id,
             fmt::format("tells {} as the answer to {}, acknowledged was {}",
                         x["response"].dump(), query_id, *query.acknowledged));
    if (x["response"].is_string()
        && query.sent.count(x["response"].get<std::string>()) == 0)
      broken(id, "tells an answer to " + query_id + " that nobody gave");
  }
  for (auto& [query_id, query] : session.queries)
    if (query.acknowledged && told.count(query_id) == 0)
      broken(id, "has lost " + query_id + ", which was acknowledged");
}

model::session_record& model::record(const std::string& id) {
  return sessions_[id];
}

} // namespace muster::test
