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
  return text + view.result + view.error + view.reason.detail.value_or("");
}

/// All of an event that an observer sees.
std::string fingerprint(const observed_event& event) {
  std::string text;
  for (auto& item : event.progress)
    text += item;
  return text + (event.last ? " (last)" : "");
}

/// Whether a session may go from one phase to another.
bool is_documented(session_phase from, session_phase to) {
  if (from == session_phase::running)
    return to != session_phase::running;
  return from == session_phase::paused
         && (to == session_phase::running || to == session_phase::cancelled);
}

[[noreturn]] void broken(const std::string& id, const std::string& what) {
  throw violation{fmt::format("session {}: {}", id, what)};
}

} // namespace

bool is_given_up(const session_view& view) {
  return view.phase == session_phase::failed
         && view.error.find("workers in a row crashed") != std::string::npos;
}

// -- what clients do and hear -------------------------------------------------

void model::spawned(const std::string& id, const std::string& script) {
  auto& session = record(id);
  if (!session.script.empty() && session.script != script)
    broken(id, "was given to two spawns");
  session.script = script;
}

model::expectation model::expectation_for(const std::string& id) const {
  auto i = sessions_.find(id);
  if (i == sessions_.end())
    return {id};
  return {id, i->second.seq, i->second.is_gone};
}

void model::sends(const std::string& id, const std::string& query_id,
                  const std::string& response) {
  auto& query = record(id).queries[query_id];
  query.sent.insert(response);
  ++query.times_sent;
}

void model::cancels(const std::string& id, const std::string& reason) {
  record(id).cancel_reasons.insert(reason);
}

void model::crashed(const std::string& id) {
  // Clients may not know of the session.
  ++crashes_[id];
}

// -- what observers see -------------------------------------------------------

void model::observing(stream& at, const session_view& view) {
  if (view.seq < at.seq)
    broken(view.session_id,
           fmt::format("stands at event {}, and an observer has seen {}",
                       view.seq, at.seq));
  shown({at.session_id}, view);
  if (at.seq == 0)
    at.phase = session_phase::running;
  else if (at.seq == view.seq)
    at.phase = view.phase;
}

void model::saw(stream& at, const observed_event& event) {
  auto& id = event.session_id;
  auto& session = record(id);
  auto is_end_alone = event.last && event.progress.empty();
  if (at.ended)
    broken(id,
           fmt::format("is observed at event {} behind its end", event.seq));
  if (event.seq < at.seq || (event.seq == at.seq && !is_end_alone))
    broken(id, fmt::format("is observed at event {} behind event {}", event.seq,
                           at.seq));
  if (event.seq > at.seq + 1) {
    auto gap = event.seq - at.seq - 1;
    if (gap > at.announced)
      broken(id, fmt::format("is observed at event {} behind event {}, and {} "
                             "were said to be missed",
                             event.seq, at.seq, at.announced));
    at.announced -= gap;
    at.phase.reset();
  }
  at.seq = event.seq;
  at.ended = event.last;
  if (event.last && at.announced > 0)
    broken(id,
           fmt::format("missed {} events less than it was said", at.announced));
  session.seq = std::max(session.seq, event.seq);
  if (event.last != (session.end_seq.value_or(0) == event.seq)
      && session.end_seq)
    broken(id,
           fmt::format("is observed at event {}{}, and ended at {}", event.seq,
                       event.last ? ", its end" : "", *session.end_seq));
  if (event.last)
    session.end_seq = event.seq;
  if (is_end_alone)
    return;
  auto text = fingerprint(event);
  auto [known, is_new] = session.seen.emplace(event.seq, text);
  if (!is_new && known->second != text)
    broken(id,
           fmt::format("is observed at event {} as '{}', and as '{}' before",
                       event.seq, text, known->second));
  for (auto& item : event.progress) {
    auto x = json::parse(item);
    if (x["kind"] == "llm_call_end") {
      auto& query = session.queries[x["query_id"].get<std::string>()];
      if (query.answered_seq.value_or(event.seq) != event.seq)
        broken(id, "is observed to take two answers to one query");
      query.answered_seq = event.seq;
    }
    if (x["kind"] != "state_transition")
      continue;
    auto from = session_phase_from(x["from"].get<std::string>());
    auto to = session_phase_from(x["to"].get<std::string>());
    if (!from || !to || !is_documented(*from, *to)
        || at.phase.value_or(*from) != *from)
      broken(id, fmt::format("is observed to go from {} to {} at event {}",
                             x["from"].dump(), x["to"].dump(), event.seq));
    at.phase = to;
  }
  if (at.phase)
    note_phase(session, id, event.seq, *at.phase);
  if (event.last && at.phase && !is_terminal(*at.phase))
    broken(id, "is observed to end, and is " + to_string(*at.phase));
}

void model::missed(stream& at, std::uint64_t count) {
  if (count == 0 || at.ended)
    broken(at.session_id, fmt::format("is said to have been missed {} times, "
                                      "and {}",
                                      count, at.ended ? "ended" : "goes on"));
  at.announced += count;
}

// -- what is on disk ----------------------------------------------------------

void model::recorded(const std::string& id,
                     const std::vector<observed_event>& events) {
  auto& session = record(id);
  if (events.size() < session.seq)
    broken(id, fmt::format("has {} events on disk, and was seen at event {}",
                           events.size(), session.seq));
  for (auto& [seq, text] : session.seen)
    if (auto stored = fingerprint(events.at(seq - 1)); stored != text)
      broken(id, fmt::format("has event {} as '{}', and was observed as '{}'",
                             seq, stored, text));
}

// -- replies ------------------------------------------------------------------

void model::shown(const expectation& at_least, const session_view& view) {
  auto& id = view.session_id;
  if (!at_least.session_id.empty() && id != at_least.session_id)
    broken(id, "answers for " + at_least.session_id);
  auto& session = record(id);
  if (at_least.is_gone)
    broken(id, "was deleted and is there again");
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
  note_phase(session, id, view.seq, view.phase);
  if (view.phase == session_phase::cancelled
      && session.cancel_reasons.count(view.reason.detail.value_or("")) == 0)
    broken(id, "was cancelled, and nobody asked for it");
  if (is_given_up(view) && !may_be_given_up(id))
    broken(id, "was given up, and its workers did not crash");
  if (view.phase == session_phase::paused && view.queries.empty())
    broken(id, "is paused without an open query");
  for (auto& q : view.queries) {
    auto& query = session.queries[q.id];
    if (query.acknowledged && query.acknowledged_seq <= view.seq)
      broken(id, "asks " + q.id + " again, which was acknowledged");
    if (query.answered_seq.value_or(view.seq + 1) <= view.seq)
      broken(id, "asks " + q.id + " again, which was observed as answered");
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
    // A worker that never came to be ready.
    case errc::program_failed:
      return;
    case errc::not_found:
      // An unknown query is fine; an unknown session is not.
      if (why.message.find("query") != std::string::npos)
        return;
      if (auto i = sessions_.find(id);
          i != sessions_.end() && may_be_gone(i->second)) {
        i->second.is_gone = true;
        return;
      }
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

bool model::may_be_gone(const session_record& session) const {
  auto is_answered = [&](const std::string& query_id) {
    return !session.queries.at(query_id).sent.empty();
  };
  // It has ended, or may have since it was seen last.
  return was_pruned_
         && (session.phase != session_phase::paused
             || !session.cancel_reasons.empty()
             || std::all_of(session.open.begin(), session.open.end(),
                            is_answered));
}

bool model::may_be_given_up(const std::string& id) const {
  auto crashes = [this](const std::string& x) {
    auto i = crashes_.find(x);
    return i != crashes_.end() ? i->second : 0;
  };
  return crashes(id) + crashes({}) >= max_crashes;
}

void model::note_phase(session_record& session, const std::string& id,
                       std::uint64_t seq, session_phase phase) {
  auto [known, is_new] = session.phases.emplace(seq, phase);
  if (known->second != phase)
    broken(id, fmt::format("is {} at event {}, and was {} there",
                           to_string(phase), seq, to_string(known->second)));
}

model::session_record& model::record(const std::string& id) {
  return sessions_[id];
}

} // namespace muster::test
