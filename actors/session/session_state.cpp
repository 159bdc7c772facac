// SPDX-License-Identifier: Apache-2.0

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

bool is_last(const history_event& event) {
  return std::holds_alternative<done_event>(event.body)
         || std::holds_alternative<failed_event>(event.body)
         || std::holds_alternative<cancelled_event>(event.body);
}

/// Whether an error of what runs strategies is over soon, by itself.
bool is_passing(errc code) {
  switch (code) {
    case errc::overloaded:
    case errc::conflict:
    case errc::connection_lost:
    case errc::timeout:
    case errc::shutting_down:
      return true;
    default:
      return false;
  }
}

bool is_pause(const history_event& event) {
  return std::holds_alternative<paused_event>(event.body);
}

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

session_state::session_state(std::string session_id,
                             const session_settings& settings)
  : settings_(settings), fold_(std::move(session_id)) {
  // nop
}

// -- coming to be -------------------------------------------------------------

session_effects
session_state::spawn(ticket from, spawned_event spawned, feed_mode mode,
                     const std::string& request_id, std::int64_t now_ms) {
  if (spawned.spec.kind == session_kind::run)
    code_hash_ = sha256(spawned.spec.code);
  commit what;
  if (request_id != once)
    what.done = receipt{request_id, digest_of(spawned.spec),
                        json(view().session_id).dump()};
  what.events.push_back({now_ms, std::move(spawned)});
  fresh_ = what.events;
  fresh_packages_ = std::get<spawned_event>(fresh_.front().body).spec.packages;
  if (mode == feed_mode::accepted) {
    what.accepted.push_back({from, {}});
    write(std::move(what), {}, now_ms);
  } else {
    what.waiting.push_back({from, {}});
    go_ahead(std::move(what));
    run_machine();
  }
  return take_effects();
}

expected<session_effects> session_state::restore(const stored_session& stored) {
  row_ = stored.row;
  log_lines_ = stored.log_lines;
  std::string script;
  for (auto& batch : stored.events) {
    auto events = decode_history(batch.payload, script);
    if (!events)
      return fail(errc::registry_corrupted,
                  fmt::format("session '{}', events from {}: {}",
                              view().session_id, batch.first_seq,
                              events.error().message));
    if (batch.first_seq != view().seq + 1)
      return fail(errc::registry_corrupted,
                  fmt::format("session '{}': event {} is missing",
                              view().session_id, view().seq + 1));
    bytes_ += batch.payload.size();
    if (view().seq == 0 && !events->empty()
        && !std::holds_alternative<spawned_event>(events->front().body))
      break;
    for (auto& event : *events)
      fold_.apply(event);
  }
  if (view().seq == 0)
    return fail(
      errc::registry_corrupted,
      fmt::format("session '{}' has lost its first event", view().session_id));
  // One that has ended needs its script no longer.
  if (!script.empty() && !is_terminal(fold_.phase())
      && std::none_of(stored.sources.begin(), stored.sources.end(),
                      [&](auto& x) { return x.hash == script; }))
    return fail(errc::registry_corrupted,
                fmt::format("the text of the script of session '{}' is missing",
                            view().session_id));
  if (fold_.phase() == session_phase::running)
    run_machine();
  return take_effects();
}

// -- what clients want --------------------------------------------------------

session_effects session_state::feed(feed_request feed, std::int64_t now_ms) {
  auto waiting = queue_.size() + recalling_;
  if (feed.answers.empty())
    emit(reply_refusal{feed.from,
                       {errc::invalid_argument,
                        fmt::format("the feed of session '{}' has no answers",
                                    view().session_id)}});
  else if (waiting >= settings_.max_queued)
    emit(reply_refusal{
      feed.from,
      {errc::overloaded, fmt::format("session '{}' has {} requests waiting for "
                                     "the disk, as many as session.max-queued "
                                     "allows",
                                     view().session_id, waiting)}});
  else
    queue_.push_back(std::move(feed));
  go_on(now_ms);
  return take_effects();
}

session_effects session_state::wait(ticket from) {
  reply_later({from, {}});
  return take_effects();
}

session_effects session_state::cancel(ticket from, cancel_reason reason,
                                      std::int64_t now_ms) {
  if (reason.detail && reason.detail->size() > settings_.max_reason_bytes) {
    emit(reply_refusal{
      from,
      {errc::too_large, fmt::format("the reason to cancel session '{}' has {} "
                                    "bytes, more than the {} that "
                                    "session.max-reason allows",
                                    view().session_id, reason.detail->size(),
                                    settings_.max_reason_bytes)}});
    return take_effects();
  }
  if (reason.detail && !is_utf8(*reason.detail)) {
    emit(reply_refusal{
      from,
      {errc::not_utf8, fmt::format("the reason to cancel session '{}' is not "
                                   "valid UTF-8",
                                   view().session_id)}});
    return take_effects();
  }
  if (is_terminal(fold_.phase())) {
    emit(reply_view{from, view()});
    return take_effects();
  }
  auto waiting = cancellers_.size() + (out_ ? out_->accepted.size() : 0);
  if (waiting >= settings_.max_waiting) {
    emit(reply_refusal{
      from,
      {errc::overloaded, fmt::format("{} clients wait for the end of session "
                                     "'{}', as many as session.max-waiting "
                                     "allows",
                                     waiting, view().session_id)}});
    return take_effects();
  }
  cancellers_.push_back({from, {}});
  if (!cancelling_) {
    reason.requested_at = now_ms;
    cancelling_ = std::move(reason);
    // What the machine does from here on is nobody's; what it took is kept.
    held_.reset();
    if (machine_ != machine_phase::none) {
      machine_ = machine_phase::none;
      emit(drop_machine{});
    }
  }
  go_on(now_ms);
  return take_effects();
}

session_effects session_state::time_out(ticket from, std::uint64_t seq,
                                        std::int64_t now_ms) {
  // What is on its way to the disk is somebody who came back as well.
  bool is_used
    = view().seq != seq || out_ || ahead_ || !queue_.empty() || recalling_ > 0;
  if (!is_used)
    return cancel(
      from, {cancel_code::timeout, "idle for longer than session.idle-ttl", 0},
      now_ms);
  emit(reply_view{from, view()});
  return take_effects();
}

session_effects session_state::flush(std::int64_t now_ms) {
  if (ahead_) {
    auto what = std::move(*ahead_);
    ahead_.reset();
    write(std::move(what), {}, now_ms);
  }
  return take_effects();
}

session_effects session_state::passivate() {
  if (can_passivate())
    lose_machine();
  return take_effects();
}

// -- what the machine did -----------------------------------------------------

session_effects session_state::machine_stopped(strategy_step step,
                                               std::int64_t now_ms) {
  machine_ = machine_phase::at_pause;
  held_ = std::move(step);
  go_on(now_ms);
  return take_effects();
}

session_effects session_state::machine_restored(std::int64_t now_ms) {
  machine_ = machine_phase::at_pause;
  go_on(now_ms);
  return take_effects();
}

session_effects session_state::machine_failed(const failure& why) {
  lose_machine();
  resting_ = true;
  emit(arm_retry{});
  if (!is_passing(why.code)) {
    // Nobody must think that an answer was not taken.
    failure told{why.code,
                 fmt::format("what session '{}' was told is on disk, and it "
                             "goes on as soon as it can: {}",
                             view().session_id, why.message)};
    refuse_all(waiters_, told);
    emit(tell_awaiters{std::move(told)});
  }
  return take_effects();
}

session_effects session_state::machine_lost(std::int64_t now_ms) {
  lose_machine();
  // What it took is written now: nothing comes that it could wait for.
  if (ahead_)
    return flush(now_ms);
  go_on(now_ms);
  return take_effects();
}

// -- what the disk did --------------------------------------------------------

session_effects session_state::committed(const commit_ack& ack,
                                         std::int64_t now_ms) {
  auto done = std::move(*out_);
  out_.reset();
  if (ack.repeated && row_ == 0) {
    // Nobody knows of this session: its request has made another one before.
    auto other = json::parse(*ack.repeated).get<std::string>();
    for (auto* some : {&done.accepted, &done.waiting})
      for (auto& waiting : *some)
        emit(reply_repeated{waiting.from, other});
    emit(vanish{});
    return take_effects();
  }
  row_ = ack.row;
  bytes_ += done.bytes;
  log_lines_ += done.log_lines;
  fold(done.events);
  if (done.is_step) {
    conflicts_ = 0;
    contended_.clear();
  }
  auto& last = done.events.back();
  if (is_last(last))
    lose_machine();
  else if (is_pause(last) && machine_ == machine_phase::at_pause)
    emit(confirm_pause{view().seq});
  reply_all(done.accepted);
  append(waiters_, std::move(done.waiting));
  if (is_last(last) || is_pause(last))
    reply_all(waiters_);
  go_on(now_ms);
  return take_effects();
}

session_effects session_state::refused(const failure& why,
                                       std::int64_t now_ms) {
  auto failed = std::move(*out_);
  out_.reset();
  if (failed.is_step && why.code == errc::conflict) {
    run_step_again(std::move(failed), now_ms);
    return take_effects();
  }
  if (failed.is_step || failed.taken > 0)
    lose_machine();
  refuse_all(failed.accepted, why);
  refuse_all(failed.waiting, why);
  if (row_ == 0) {
    refuse_all(cancellers_, why);
    for (auto& waiting : queue_)
      emit(reply_refusal{waiting.from, why});
    queue_.clear();
    emit(vanish{});
    return take_effects();
  }
  if (fold_.phase() == session_phase::running && !has_machine()) {
    resting_ = true;
    emit(arm_retry{});
  }
  go_on(now_ms);
  return take_effects();
}

session_effects session_state::recalled(feed_request feed,
                                        const expected<std::string>& kept,
                                        std::int64_t now_ms) {
  --recalling_;
  if (!kept) {
    emit(reply_refusal{feed.from, kept.error()});
  } else if (kept->empty()) {
    feed.is_new = true;
    queue_.push_front(std::move(feed));
  } else if (auto results = feed_results_from(*kept); !results) {
    emit(reply_refusal{feed.from, results.error()});
  } else {
    waiter who{feed.from, std::move(*results)};
    if (feed.mode == feed_mode::accepted)
      reply(who);
    else
      reply_later(std::move(who));
  }
  go_on(now_ms);
  return take_effects();
}

// -- what the clock did -------------------------------------------------------

session_effects session_state::commit_time(std::int64_t now_ms) {
  auto timed = std::exchange(timed_, std::nullopt);
  if (!ahead_)
    return take_effects();
  if (timed != ahead_count_) {
    // Set for something that is on disk by now; what is ahead came later.
    timed_ = ahead_count_;
    emit(arm_commit_time{});
    return take_effects();
  }
  return flush(now_ms);
}

session_effects session_state::retry(std::int64_t now_ms) {
  resting_ = false;
  go_on(now_ms);
  return take_effects();
}

// -- properties ---------------------------------------------------------------

expected<std::string> session_state::sole_pending() const {
  if (fold_.phase() != session_phase::paused)
    return tl::unexpected<failure>{not_paused()};
  auto& open = view().queries;
  if (open.size() != 1)
    return muster::fail(errc::ambiguous,
                        fmt::format("{} queries pending; specify query_id "
                                    "explicitly",
                                    open.size()));
  return open.front().id;
}

bool session_state::is_idle() const {
  return !out_ && !ahead_ && !held_ && queue_.empty() && recalling_ == 0
         && waiters_.empty() && cancellers_.empty()
         && machine_ != machine_phase::working
         && fold_.phase() != session_phase::running;
}

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
