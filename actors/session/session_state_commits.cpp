// SPDX-License-Identifier: Apache-2.0

// How answers are taken, and how what becomes of a session gets to the disk.

#include "actors/session/session_state.hpp"

#include "messages/hash.hpp"
#include "messages/ids.hpp"
#include "messages/json.hpp"
#include "messages/session_json.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace muster {

namespace {

/// Longer than any that there is; what is refused is kept with its request.
constexpr std::size_t max_query_id_bytes = 64;

template <class T>
void append(std::vector<T>& to, std::vector<T>&& from) {
  to.insert(to.end(), std::make_move_iterator(from.begin()),
            std::make_move_iterator(from.end()));
  from.clear();
}

/// Answers in the order in which their queries were asked.
std::vector<answered_event>
in_query_order(const std::map<std::string, answered_event>& answers) {
  std::vector<answered_event> out;
  out.reserve(answers.size());
  for (auto& [id, x] : answers)
    out.push_back(x);
  std::sort(out.begin(), out.end(), [](auto& a, auto& b) {
    return query_number(a.query_id) < query_number(b.query_id);
  });
  return out;
}

/// Where a session stands after these events, without folding them.
std::pair<session_phase, std::uint64_t> outcome(const session_view& before,
                                                const history& events) {
  auto& last = events.back().body;
  if (auto* pause = std::get_if<paused_event>(&last))
    return {session_phase::paused, pause->queries.size()};
  if (std::holds_alternative<done_event>(last))
    return {session_phase::done, 0};
  if (std::holds_alternative<failed_event>(last))
    return {session_phase::failed, 0};
  if (std::holds_alternative<cancelled_event>(last))
    return {session_phase::cancelled, 0};
  if (std::holds_alternative<answered_event>(last)
      && events.size() < before.queries.size())
    return {session_phase::paused, before.queries.size() - events.size()};
  return {session_phase::running, 0};
}

} // namespace

// -- feeds --------------------------------------------------------------------

session_state::checked_feed
session_state::check_all(std::vector<answer> answers,
                         std::int64_t now_ms) const {
  checked_feed out;
  for (auto& a : answers) {
    auto refused = check(a, out.events);
    out.results.push_back({a.query_id, refused});
    if (!refused)
      out.events.push_back(
        {now_ms, answered_event{std::move(a.query_id), std::move(a.response),
                                a.usage}});
  }
  return out;
}

std::optional<failure> session_state::check(answer& a,
                                            const history& taken) const {
  auto is_taken = [&](const std::string& id) {
    return std::any_of(taken.begin(), taken.end(), [&](auto& event) {
      return std::get<answered_event>(event.body).query_id == id;
    });
  };
  if (a.query_id.size() > max_query_id_bytes) {
    auto bytes = a.query_id.size();
    a.query_id.resize(max_query_id_bytes);
    return failure{errc::too_large,
                   fmt::format("a query id has {} bytes, more than {}", bytes,
                               max_query_id_bytes)};
  }
  auto& open = view().queries;
  if (a.query_id.empty()) {
    if (open.size() - taken.size() != 1)
      return failure{errc::ambiguous,
                     fmt::format("{} queries pending; specify query_id "
                                 "explicitly",
                                 open.size() - taken.size())};
    for (auto& q : open)
      if (!is_taken(q.id))
        a.query_id = q.id;
  }
  if (a.response.size() > settings_.max_response_bytes)
    return failure{errc::too_large,
                   fmt::format("the answer to '{}' has {} bytes, more than the "
                               "{} that session.max-response allows",
                               a.query_id, a.response.size(),
                               settings_.max_response_bytes)};
  if (!is_utf8(a.response))
    return failure{
      errc::not_utf8,
      fmt::format("the answer to '{}' is not valid UTF-8", a.query_id)};
  bool is_open = std::any_of(open.begin(), open.end(),
                             [&](auto& q) { return q.id == a.query_id; });
  if (is_open && !is_taken(a.query_id))
    return std::nullopt;
  auto number = query_number(a.query_id);
  if (!number || *number >= fold_.next_query())
    return failure{errc::not_found,
                   fmt::format("unknown query_id: {} (session '{}' has not "
                               "asked it)",
                               a.query_id, view().session_id)};
  bool is_stale = *number + view().asked < fold_.next_query();
  return failure{
    errc::already_answered,
    fmt::format("already responded to query_id: {}{}", a.query_id,
                is_stale ? " (it belongs to an earlier pause)" : "")};
}

failure session_state::not_paused() const {
  auto& id = view().session_id;
  switch (fold_.phase()) {
    case session_phase::running:
      return {errc::busy,
              fmt::format("session '{}' is running; it takes answers when it "
                          "pauses",
                          id)};
    case session_phase::cancelled:
      return {errc::already_cancelled,
              fmt::format("session '{}' was cancelled", id)};
    default:
      return {errc::finished,
              fmt::format("session '{}' is not paused; actual state: {}", id,
                          to_string(fold_.phase()))};
  }
}

bool session_state::may_be_repeat(const feed_request& feed) const {
  if (feed.request_id == once || feed.is_new)
    return false;
  auto& open = view().queries;
  return !std::all_of(feed.answers.begin(), feed.answers.end(), [&](auto& a) {
    return std::any_of(open.begin(), open.end(),
                       [&](auto& q) { return q.id == a.query_id; });
  });
}

void session_state::take_feed(feed_request feed, std::int64_t now_ms) {
  auto digest = feed.request_id == once
                  ? std::string{}
                  : digest_of(view().session_id, feed.answers);
  if (may_be_repeat(feed)) {
    ++recalling_;
    receipt wanted{feed.request_id, std::move(digest), {}};
    emit(recall_feed{std::move(feed), std::move(wanted)});
    return;
  }
  if (fold_.phase() != session_phase::paused) {
    emit(reply_refusal{feed.from, not_paused()});
    return;
  }
  auto checked = check_all(std::move(feed.answers), now_ms);
  waiter who{feed.from, std::move(checked.results)};
  if (checked.events.empty()) {
    reply(who);
    return;
  }
  bool is_complete = checked.events.size() == view().queries.size();
  commit what;
  if (feed.request_id != once)
    what.done = receipt{std::move(feed.request_id), std::move(digest),
                        to_json(*who.results)};
  what.events = std::move(checked.events);
  if (!is_complete || feed.mode == feed_mode::accepted)
    what.accepted.push_back(std::move(who));
  else
    what.waiting.push_back(std::move(who));
  if (what.waiting.empty() || machine_ != machine_phase::at_pause) {
    write(std::move(what), {}, now_ms);
    return;
  }
  // The machine is here and somebody waits for what it does next: one commit
  // for both, unless it takes too long.
  auto answers = fold_.answers();
  for (auto& event : what.events) {
    auto& x = std::get<answered_event>(event.body);
    answers.emplace(x.query_id, x);
  }
  go_ahead(std::move(what));
  machine_ = machine_phase::working;
  emit(feed_machine{in_query_order(answers)});
}

void session_state::reply_later(waiter who) {
  if (fold_.phase() != session_phase::running)
    reply(who);
  else if (waiters_.size() >= settings_.max_waiting)
    emit(reply_refusal{
      who.from,
      {errc::overloaded, fmt::format("{} clients wait for session '{}', as "
                                     "many as session.max-waiting allows",
                                     waiters_.size(), view().session_id)}});
  else
    waiters_.push_back(std::move(who));
}

// -- commits ------------------------------------------------------------------

void session_state::take_step(strategy_step step, std::int64_t now_ms) {
  commit what;
  if (ahead_)
    what = std::move(*ahead_);
  ahead_.reset();
  what.is_step = true;
  for (auto& x : step.expectations)
    what.expected.push_back(x.where);
  auto room = settings_.max_events - std::min(settings_.max_events, view().seq);
  if (what.events.size() + step.effects.size() + 1 > room) {
    step = {};
    step.end
      = failed_event{fmt::format("session.max-events: more than {} events",
                                 settings_.max_events),
                     failure_kind::limit_exceeded,
                     {},
                     {}};
  }
  for (auto& effect : step.effects)
    what.events.push_back({now_ms, std::move(effect)});
  std::visit(
    [&](auto& end) {
      what.events.push_back({now_ms, end});
    },
    step.end);
  write(std::move(what), std::move(step), now_ms);
}

void session_state::take_cancel(std::int64_t now_ms) {
  if (is_terminal(fold_.phase())) {
    reply_all(cancellers_);
    cancelling_.reset();
    return;
  }
  commit what;
  if (ahead_)
    what = std::move(*ahead_);
  ahead_.reset();
  what.events.push_back({now_ms, cancelled_event{*cancelling_}});
  append(what.accepted, std::move(cancellers_));
  cancelling_.reset();
  write(std::move(what), {}, now_ms);
}

void session_state::write(commit what, strategy_step step,
                          std::int64_t now_ms) {
  commit_request request;
  request.session_id = view().session_id;
  request.row = row_;
  request.kind = view().kind;
  request.first_seq = view().seq + 1;
  request.last_seq = view().seq + what.events.size();
  request.at_ms = now_ms;
  request.payload = encode_history(what.events, code_hash_);
  if (what.is_step && bytes_ + request.payload.size() > settings_.max_bytes) {
    step = {};
    what.events.resize(what.taken);
    what.events.push_back(
      {now_ms, failed_event{fmt::format("session.max-bytes: its events take "
                                        "more than {} bytes",
                                        settings_.max_bytes),
                            failure_kind::limit_exceeded,
                            {},
                            {}}});
    request.last_seq = view().seq + what.events.size();
    request.payload = encode_history(what.events, code_hash_);
  }
  std::tie(request.phase, request.pending) = outcome(view(), what.events);
  request.phase_before = view().phase;
  bool by_client = what.taken > 0 || !what.is_step;
  request.last_active_ms = by_client ? now_ms : view().last_active_ms;
  request.writes = std::move(step.writes);
  request.expectations = std::move(step.expectations);
  request.sources = std::move(step.sources);
  request.logs = std::exchange(unwritten_log, {});
  request.done = what.done;
  if (row_ == 0) {
    auto& spawned = std::get<spawned_event>(what.events.front().body);
    request.kind = spawned.spec.kind;
    if (!code_hash_.empty())
      request.sources.push_back({code_hash_, spawned.spec.code});
  }
  what.bytes = request.payload.size();
  what.log_lines = request.logs.size();
  out_ = std::move(what);
  emit(write_events{std::move(request)});
}

void session_state::fold(const history& events) {
  publish_events published;
  published.first_seq = view().seq + 1;
  for (auto& event : events) {
    auto before = fold_.phase();
    fold_.apply(event);
    if (!observed)
      continue;
    auto& progress = published.progress.emplace_back();
    for (auto& item : progress_json(event, before, view()))
      progress.push_back(item.dump());
  }
  published.last = is_terminal(fold_.phase());
  if (observed)
    emit(std::move(published));
}

void session_state::run_step_again(commit what, std::int64_t now_ms) {
  lose_machine();
  if (++conflicts_ > settings_.max_conflicts)
    append(contended_, std::move(what.expected));
  if (what.taken > 0) {
    // Whoever fed has waited long enough: the answer goes to disk first.
    what.events.resize(what.taken);
    what.taken = 0;
    what.is_step = false;
    write(std::move(what), {}, now_ms);
  } else {
    go_on(now_ms);
  }
}

// -- going on -----------------------------------------------------------------

void session_state::go_on(std::int64_t now_ms) {
  if (!out_ && cancelling_)
    take_cancel(now_ms);
  if (!out_ && held_) {
    auto step = std::move(*held_);
    held_.reset();
    take_step(std::move(step), now_ms);
  }
  // Behind one that may be a repeat nothing is taken: the next may be another
  // repeat of it.
  while (!out_ && !ahead_ && recalling_ == 0 && !queue_.empty()) {
    auto feed = std::move(queue_.front());
    queue_.pop_front();
    take_feed(std::move(feed), now_ms);
  }
  if (out_ || ahead_ || resting_ || fold_.phase() != session_phase::running)
    return;
  if (machine_ == machine_phase::none) {
    run_machine();
  } else if (machine_ == machine_phase::at_pause) {
    machine_ = machine_phase::working;
    emit(feed_machine{in_query_order(fold_.answers())});
  }
}

void session_state::go_ahead(commit what) {
  what.taken = what.events.size();
  ahead_ = std::move(what);
  ++ahead_count_;
  // One timer at a time: it costs more than the answers it is for.
  if (timed_)
    return;
  timed_ = ahead_count_;
  emit(arm_commit_time{});
}

void session_state::run_machine() {
  machine_ = machine_phase::working;
  emit(build_machine{std::exchange(fresh_, {}), contended_});
}

void session_state::lose_machine() {
  held_.reset();
  unwritten_log.clear();
  if (machine_ == machine_phase::none)
    return;
  machine_ = machine_phase::none;
  emit(drop_machine{});
}

// -- answering ----------------------------------------------------------------

void session_state::reply(const waiter& to) {
  if (to.results)
    emit(reply_feed{to.from, {*to.results, view()}});
  else
    emit(reply_view{to.from, view()});
}

void session_state::reply_all(std::vector<waiter>& who) {
  for (auto& waiting : std::exchange(who, {}))
    reply(waiting);
}

void session_state::refuse_all(std::vector<waiter>& who, const failure& why) {
  for (auto& waiting : std::exchange(who, {}))
    emit(reply_refusal{waiting.from, why});
}

session_effects session_state::take_effects() {
  return std::exchange(effects_, {});
}

} // namespace muster
