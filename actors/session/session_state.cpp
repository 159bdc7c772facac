// SPDX-License-Identifier: Apache-2.0

// What happens to a session, and what clients want of it.

#include "actors/session/session_state.hpp"

#include "messages/hash.hpp"
#include "messages/ids.hpp"
#include "messages/json.hpp"
#include "messages/session_json.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace muster {

namespace {

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
  waiters_.insert(waiters_.end(), std::make_move_iterator(done.waiting.begin()),
                  std::make_move_iterator(done.waiting.end()));
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

} // namespace muster
