// SPDX-License-Identifier: Apache-2.0

// How a worker comes to be, is found again, and ends.

#include "actors/pool/pool_table.hpp"

#include "messages/hash.hpp"
#include "messages/ids.hpp"
#include "messages/utc.hpp"

#include <fmt/format.h>

#include <algorithm>

#include <signal.h>

namespace muster {

namespace {

/// How many workers of a session may be killed at their start before it is
/// told.
constexpr int max_killed_at_start = 2;

/// Whether a signal is the program's own fault, and nobody's wish.
bool is_crash(int signal) {
  switch (signal) {
    case SIGSEGV:
    case SIGBUS:
    case SIGILL:
    case SIGFPE:
    case SIGABRT:
    case SIGSYS:
      return true;
    default:
      return false;
  }
}

std::int64_t ns(std::chrono::milliseconds time) {
  return std::chrono::nanoseconds(time).count();
}

/// The connection of a client is another matter, so this has a code of its own.
failure lost_at_start(const std::string& sid, const failure& why) {
  return {
    errc::program_failed,
    fmt::format("worker '{}' did not say who it is: {}", sid, why.message)};
}

failure other_version(const std::string& sid, const std::string& theirs,
                      const std::string& ours) {
  return {errc::version_mismatch,
          fmt::format("worker '{}' is of version {}, and this node of {}", sid,
                      theirs, ours)};
}

} // namespace

// -- starting -----------------------------------------------------------------

expected<pool_table::worker*>
pool_table::make_worker(const std::string& request_id) {
  if (workers_.size() >= settings_.max_workers)
    return fail(errc::overloaded,
                fmt::format("there are {} workers, as many as "
                            "pool.max-workers allows",
                            workers_.size()));
  pool_record record;
  record.sid = make_worker_id(env_.wall_ms(), env_.random());
  record.sock
    = fmt::format("{}/{}.sock", settings_.socket_folder(), record.sid);
  if (record.sock.size() > max_socket_path)
    return fail(errc::invalid_argument,
                fmt::format("the socket '{}' has a path of {} bytes, and {} "
                            "are the limit; use a shorter --state-dir",
                            record.sock, record.sock.size(), max_socket_path));
  record.version = settings_.version;
  record.created_at = utc_text(env_.wall_ms());
  record.request_id = request_id;
  auto secret = env_.random();
  auto nonce = fmt::format("{:016x}{:016x}", secret[0], secret[1]);
  record.nonce_sha256 = sha256(nonce);
  auto& w = workers_[record.sid];
  w.is_new = w.is_fresh = true;
  w.nonce = std::move(nonce);
  queue_.push_back(record.sid);
  w.record = std::move(record);
  return &w;
}

bool pool_table::start_again(const std::string& session) {
  auto take = takes_.find(session);
  if (closing_ || take == takes_.end()
      || ++take->second.killed > max_killed_at_start)
    return false;
  settle(session);
  return true;
}

std::int64_t pool_table::next_start_ns() const {
  auto step = 1'000'000'000
              / static_cast<std::int64_t>(
                std::max<std::uint64_t>(settings_.max_starts_per_second, 1));
  auto at_once = std::max<std::uint64_t>(settings_.max_starts_at_once, 1);
  return starts_until_ns_ - (static_cast<std::int64_t>(at_once) - 1) * step;
}

void pool_table::start_queued() {
  auto now = env_.steady_ns();
  auto step = 1'000'000'000
              / static_cast<std::int64_t>(
                std::max<std::uint64_t>(settings_.max_starts_per_second, 1));
  while (!queue_.empty()) {
    auto* w = find(queue_.front());
    if (w && now < next_start_ns())
      return;
    queue_.pop_front();
    if (!w)
      continue;
    starts_until_ns_ = std::max(starts_until_ns_, now) + step;
    record(*w, stage::intending);
  }
}

pool::effects pool_table::started(const std::string& sid,
                                  const expected<process_identity>& result) {
  auto* w = find_live(sid);
  if (!w)
    return take_effects();
  w->nonce.clear();
  if (!result) {
    w->why = result.error();
    drop(*w);
    return take_effects();
  }
  ++counters_.started;
  w->who = *result;
  w->is_held = true;
  w->start_limit_ns = env_.steady_ns() + ns(settings_.spawn_timeout);
  move_to(*w, stage::starting, w->start_limit_ns);
  return take_effects();
}

pool::effects pool_table::ready(const std::string& sid) {
  auto* w = find_live(sid);
  if (w && w->at == stage::starting) {
    move_to(*w, stage::greeting,
            std::min(w->start_limit_ns,
                     env_.steady_ns() + ns(settings_.greet_timeout)));
    emit(pool::connect{sid, w->record.sock});
  }
  return take_effects();
}

void pool_table::greet_new(worker& w, const worker_greeting& greeting) {
  auto& sid = w.record.sid;
  if (sha256(greeting.nonce) != w.record.nonce_sha256) {
    fail_start(
      w, {errc::conflict, fmt::format("what answers for worker '{}' is another "
                                      "process",
                                      sid)});
    return;
  }
  if (greeting.version != settings_.version) {
    fail_start(w, other_version(sid, greeting.version, settings_.version));
    return;
  }
  w.record.pid = w.who->pid;
  w.record.who = w.who;
  w.standing = greeting.standing;
  record(w, stage::recording);
}

void pool_table::recorded(worker& w) {
  if (w.at == stage::intending) {
    emit(pool::start{w.record.sid, w.record.sock, w.nonce});
    return;
  }
  w.is_new = false;
  rest(w);
  for (auto to : std::exchange(w.spawners, {}))
    answer(pool::reply_worker{to, view_of(w)});
  if (w.record.session)
    settle(std::string{*w.record.session});
}

void pool_table::not_recorded(worker& w, const failure& why) {
  if (w.is_new) {
    fail_start(w, why);
    return;
  }
  // It was to be somebody's and is nobody's.
  auto session = *w.record.session;
  set_session(w, std::nullopt);
  change(w);
  rest(w);
  refuse_take(session, why);
}

void pool_table::fail_start(worker& w, failure why) {
  if (!w.why)
    w.why = std::move(why);
  if (w.at <= stage::intending) {
    drop(w);
    return;
  }
  if (w.at == stage::stopping)
    return;
  hang_up(w);
  move_to(w, stage::stopping);
  w.ladder = stop_ladder{{{}, {}, settings_.stop.kill}};
  act(w, w.ladder.begin(env_.steady_ns()));
}

// -- finding again ------------------------------------------------------------

void pool_table::begin_search(worker& w, std::int64_t limit_ns) {
  move_to(w, w.at, limit_ns);
  emit(pool::connect{w.record.sid, w.record.sock});
}

pool::effects
pool_table::looked(const std::string& sid,
                   const expected<std::optional<process_identity>>& found) {
  auto* w = find_live(sid);
  if (!w) {
    end_look(sid, false);
    return take_effects();
  }
  // An error means that nobody knows: that is no death.
  auto& meant = w->record.who;
  auto is_gone = found && (!found->has_value() || (meant && **found != *meant));
  if (is_gone) {
    ++counters_.pruned;
    w->why = failure{errc::not_found, "its process is gone"};
    drop(*w);
  } else if (w->connection == 0
             && (w->at == stage::searching
                 || (w->at == stage::unreachable && !w->who))) {
    begin_search(*w, w->limit_ns != 0
                       ? w->limit_ns
                       : env_.steady_ns() + ns(settings_.probe_timeout));
  }
  end_look(sid, is_gone);
  return take_effects();
}

pool::effects pool_table::connecting(const std::string& sid,
                                     const expected<connection_id>& result) {
  auto* w = find_live(sid);
  auto wants_one = w && w->connection == 0
                   && (w->at == stage::greeting || w->at == stage::searching
                       || w->at == stage::unreachable);
  if (!wants_one) {
    if (result)
      emit(pool::hang_up{*result});
  } else if (result) {
    w->connection = *result;
  } else if (w->at == stage::greeting) {
    fail_start(*w, result.error());
  } else {
    lose(*w);
  }
  return take_effects();
}

pool::effects pool_table::opened(const std::string& sid, connection_id id,
                                 const peer_credentials& peer) {
  auto* w = find_live(sid, id);
  if (!w)
    return take_effects();
  auto expected_pid = w->who ? w->who->pid : w->record.pid;
  auto is_other = expected_pid != 0 && peer.pid != expected_pid;
  if (is_other && w->at == stage::greeting) {
    fail_start(*w, {errc::conflict,
                    fmt::format("process {} answers for worker '{}', which is "
                                "process {}",
                                peer.pid, sid, expected_pid)});
    return take_effects();
  }
  if (is_other) {
    disown(*w, fmt::format("process {} answers for it, which is process {}",
                           peer.pid, expected_pid));
    return take_effects();
  }
  w->peer = peer.pid;
  if (!w->who)
    emit(pool::identify{sid, peer.pid});
  emit(pool::send{sid, id, worker_hello{settings_.version}});
  return take_effects();
}

pool::effects
pool_table::identified(const std::string& sid,
                       const expected<std::optional<process_identity>>& found) {
  auto* w = find_live(sid);
  if (!w || w->who || w->peer == 0)
    return take_effects();
  // It is the one that answers from now on: who answers lives, and has had its
  // pid all the time.
  if (found && *found && (*found)->pid == w->peer)
    w->answering = **found;
  else
    lose(*w);
  return take_effects();
}

pool::effects pool_table::heard(const std::string& sid, connection_id id,
                                const expected<worker_reply>& what) {
  auto* w = find_live(sid, id);
  if (!w)
    return take_effects();
  auto is_asked = !w->is_greeted
                  && (w->at == stage::greeting || w->at == stage::searching
                      || w->at == stage::unreachable);
  if (!is_asked) {
    if (w->at == stage::resting && what)
      if (auto* standing = std::get_if<worker_standing>(&*what))
        w->standing = *standing;
    return take_effects();
  }
  auto* greeting = what ? std::get_if<worker_greeting>(&*what) : nullptr;
  auto* refusal = what ? std::get_if<worker_refusal>(&*what) : nullptr;
  if (w->at == stage::greeting) {
    if (greeting)
      greet_new(*w, *greeting);
    else
      fail_start(*w, refusal ? refusal->why
                     : what  ? failure{errc::program_failed,
                                      fmt::format("worker '{}' did not say who "
                                                    "it is",
                                                   sid)}
                             : what.error());
  } else if (greeting) {
    greet_found(*w, *greeting);
  } else if (refusal && refusal->why.code == errc::version_mismatch && w->who) {
    // It is the process that is meant, but cannot say more than that.
    w->is_mismatched = true;
    w->is_greeted = true;
    if (w->is_held)
      settle_found(*w);
    else
      emit(pool::adopt{sid, *w->who});
  } else {
    lose(*w);
  }
  return take_effects();
}

void pool_table::greet_found(worker& w, const worker_greeting& greeting) {
  auto& sid = w.record.sid;
  auto& digest = w.record.nonce_sha256;
  if (!digest.empty() && sha256(greeting.nonce) != digest) {
    disown(w, "what answers for it does not know what it was told");
    return;
  }
  if (!w.who && !w.answering) {
    lose(w);
    return;
  }
  if (!w.who)
    w.who = w.answering;
  w.is_greeted = true;
  w.is_mismatched = greeting.version != settings_.version;
  w.standing = greeting.standing;
  w.is_fresh = !greeting.standing.session_id;
  if (w.record.version != greeting.version || w.record.who != w.who
      || w.record.session != greeting.standing.session_id) {
    w.record.version = greeting.version;
    w.record.pid = w.who->pid;
    w.record.who = w.who;
    set_session(w, greeting.standing.session_id);
    change(w);
  }
  if (w.is_held)
    settle_found(w);
  else
    emit(pool::adopt{sid, *w.who});
}

pool::effects pool_table::adopted(const std::string& sid,
                                  const expected<void>& result) {
  auto* w = find_live(sid);
  if (!w)
    return take_effects();
  w->is_held = result.has_value();
  if (!result && result.error().code == errc::not_found) {
    ++counters_.pruned;
    w->why = result.error();
    drop(*w);
  } else if (w->at == stage::stopping) {
    if (result)
      act(*w, w->ladder.begin(env_.steady_ns()));
    else
      report(*w, result.error());
  } else if (result && w->is_greeted) {
    settle_found(*w);
  } else {
    become_unreachable(*w, "does not answer");
  }
  return take_effects();
}

void pool_table::settle_found(worker& w) {
  if (w.at == stage::searching)
    ++counters_.found;
  if (w.is_mismatched) {
    auto& sid = w.record.sid;
    emit(pool::warn{
      other_version(sid, w.record.version, settings_.version).message});
    move_to(w, stage::mismatched);
    return;
  }
  if (w.at == stage::unreachable)
    tell(w, slot_change::healthy, {});
  rest(w);
  if (!w.record.session)
    return;
  auto session = *w.record.session;
  if (by_session_.count(session) > 1)
    begin_stop(w, {errc::conflict, fmt::format("session '{}' has another "
                                               "worker",
                                               session)});
  else
    settle(session);
}

void pool_table::lose(worker& w) {
  hang_up(w);
  if (!w.record.is_identified()) {
    ++counters_.pruned;
    w.why = failure{errc::unreachable, "it does not answer"};
    drop(w);
  } else if (w.who && !w.is_held) {
    move_to(w, w.at);
    emit(pool::adopt{w.record.sid, *w.who});
  } else {
    become_unreachable(w, "does not answer");
  }
}

void pool_table::become_unreachable(worker& w, std::string_view why_not) {
  hang_up(w);
  if (w.at != stage::unreachable) {
    failure why{errc::unreachable,
                fmt::format("worker '{}', process {}, {}", w.record.sid,
                            w.record.pid, why_not)};
    emit(pool::warn{why.message});
    tell(w, slot_change::unhealthy, std::move(why));
  }
  move_to(w, stage::unreachable);
}

void pool_table::disown(worker& w, const std::string& why) {
  emit(pool::warn{
    fmt::format("worker '{}' was taken out: {}", w.record.sid, why)});
  ++counters_.pruned;
  w.why = failure{errc::conflict, why};
  drop(w);
}

// -- what happens to it -------------------------------------------------------

pool::effects pool_table::closed(const std::string& sid, connection_id id,
                                 const failure& why) {
  auto* w = find_live(sid, id);
  if (!w)
    return take_effects();
  w->connection = 0;
  hang_up(*w);
  switch (w->at) {
    case stage::greeting:
      w->has_hung_up = true;
      fail_start(*w, lost_at_start(sid, why));
      break;
    case stage::searching:
    case stage::unreachable:
      lose(*w);
      break;
    case stage::recording:
      if (w->is_new) {
        w->has_hung_up = true;
        fail_start(*w, lost_at_start(sid, why));
        break;
      }
      [[fallthrough]];
    case stage::resting: {
      // Whoever waits for it gets another one, if it was given nothing.
      auto is_chosen = w->at == stage::recording;
      auto session = w->record.session;
      if (is_chosen) {
        set_session(*w, std::nullopt);
        change(*w);
      }
      become_unreachable(*w, "has hung up");
      begin_search(*w, env_.steady_ns() + ns(settings_.probe_timeout));
      if (is_chosen)
        settle(*session);
      break;
    }
    default:
      break;
  }
  return take_effects();
}

pool::effects pool_table::send_refused(const std::string& sid) {
  if (auto* w = find_live(sid)) {
    if (w->at == stage::stopping)
      act(*w, w->ladder.on_refused(env_.steady_ns()));
    else if (w->at == stage::greeting)
      fail_start(*w,
                 {errc::program_failed,
                  fmt::format("worker '{}' cannot be asked who it is", sid)});
    else if (w->at == stage::searching || w->at == stage::unreachable)
      lose(*w);
  }
  return take_effects();
}

pool::effects pool_table::ended(const std::string& sid,
                                const process_ended& what) {
  auto* w = find_live(sid);
  if (!w || w->who != what.who)
    return take_effects();
  w->ladder.on_ended();
  w->was_killed_at_start = w->is_new
                           && what.end.how == process_exit::manner::signalled
                           && (w->at != stage::stopping || w->has_hung_up);
  if (!w->why && what.never_ready)
    w->why = what.never_ready;
  if (!w->why)
    w->why = failure{errc::program_failed,
                     fmt::format("worker '{}' {}", sid, show(what.end))};
  else if (w->has_failed)
    w->why->message += fmt::format("; it {}", show(what.end));
  if (w->at == stage::stopping)
    ++counters_.stopped;
  else if (!w->is_new) {
    ++counters_.lost;
    emit(pool::warn{w->why->message});
  }
  note_crash(w->record.session, what.end);
  drop(*w);
  return take_effects();
}

void pool_table::note_crash(const std::optional<std::string>& session,
                            const process_exit& end) {
  auto crashed
    = end.how == process_exit::manner::signalled && is_crash(end.number);
  if (!session || !crashed)
    return;
  // Those of sessions that need no other worker are never asked for.
  if (crashes_.size() >= settings_.max_workers)
    crashes_.clear();
  crashes_[*session] = end.number;
}

// -- ending -------------------------------------------------------------------

void pool_table::begin_stop(worker& w, failure why) {
  if (w.is_new) {
    fail_start(w, std::move(why));
    return;
  }
  if (w.at == stage::stopping && !w.reported)
    return;
  w.why = std::move(why);
  w.reported.reset();
  w.refusal.reset();
  w.ladder = stop_ladder{settings_.stop};
  move_to(w, stage::stopping);
  if (!w.who)
    report(w, {errc::not_allowed,
               fmt::format("nobody knows whether process {} is worker '{}'; "
                           "it was left alone",
                           w.record.pid, w.record.sid)});
  else if (w.is_held)
    act(w, w.ladder.begin(env_.steady_ns()));
  else
    emit(pool::adopt{w.record.sid, *w.who});
}

void pool_table::act(worker& w, stop_step step) {
  auto& sid = w.record.sid;
  if (step == stop_step::ask && w.connection == 0)
    step = w.ladder.on_refused(env_.steady_ns());
  if (step == stop_step::ask)
    emit(pool::send{sid, w.connection, worker_shutdown{}});
  else if (step == stop_step::terminate)
    emit(pool::send_signal{sid, *w.who, SIGTERM});
  else if (step == stop_step::kill)
    emit(pool::send_signal{sid, *w.who, SIGKILL});
  move_to(w, stage::stopping, w.ladder.limit_ns().value_or(0));
  if (step == stop_step::report)
    report(w,
           w.refusal.value_or(failure{
             errc::timeout, fmt::format("worker '{}' does not end: {} hangs, "
                                        "though it was killed",
                                        sid, show(*w.who))}));
}

pool::effects pool_table::signal_refused(const std::string& sid,
                                         const failure& why) {
  auto* w = find_live(sid);
  // If it is gone by now, that is heard next.
  if (w && w->at == stage::stopping && why.code != errc::not_found) {
    w->refusal = why;
    act(*w, w->ladder.on_refused(env_.steady_ns()));
  }
  return take_effects();
}

void pool_table::report(worker& w, failure why) {
  emit(pool::warn{why.message});
  w.reported = why;
  for (auto to : std::exchange(w.stoppers, {}))
    end_stop(to, w.record.sid, why);
  for (auto to : std::exchange(w.spawners, {}))
    refuse(to, w.why.value_or(why));
  if (w.record.session)
    refuse_take(*w.record.session, why);
  // What could not be touched is where it was.
  if (!w.is_held)
    move_to(w, stage::unreachable);
}

void pool_table::drop(worker& gone) {
  hang_up(gone);
  auto is_on_disk = gone.at != stage::queued;
  auto is_wanted = gone.at == stage::stopping && !gone.has_failed;
  move_to(gone, stage::stopping);
  auto session = gone.record.session;
  set_session(gone, std::nullopt);
  auto w = std::move(workers_.extract(std::string{gone.record.sid}).mapped());
  auto& sid = w.record.sid;
  if (is_on_disk) {
    dirty_ = true;
    remove_socket(sid, w.record.sock);
  }
  auto why = w.why.value_or(
    failure{errc::internal, fmt::format("worker '{}' is gone", sid)});
  if (w.is_new)
    ++counters_.failed;
  else if (w.record.is_identified())
    tell(w, is_wanted ? slot_change::released : slot_change::ended, why);
  for (auto to : w.spawners)
    refuse(to, why);
  for (auto to : w.stoppers)
    end_stop(to, sid, std::nullopt);
  if (session && w.is_new) {
    if (!w.was_killed_at_start || !start_again(*session))
      refuse_take(*session, why);
  } else if (session && !closing_)
    settle(*session);
  end_look(sid, true);
}

// -- the clock ----------------------------------------------------------------

std::optional<std::int64_t> pool_table::limit_ns() const {
  std::optional<std::int64_t> out;
  if (closing_)
    return out;
  if (!limits_.empty())
    out = limits_.begin()->first;
  if (!queue_.empty())
    out = std::min(out.value_or(INT64_MAX), next_start_ns());
  return out;
}

pool::effects pool_table::on_time() {
  auto now = env_.steady_ns();
  while (!closing_ && !limits_.empty() && limits_.begin()->first <= now) {
    auto& w = workers_.at(std::string{limits_.begin()->second});
    move_to(w, w.at);
    auto& sid = w.record.sid;
    switch (w.at) {
      case stage::starting:
      case stage::greeting:
        fail_start(w, {errc::timeout,
                       fmt::format("worker '{}' did not say who it is in time, "
                                   "as pool.spawn-timeout demands",
                                   sid)});
        break;
      case stage::searching:
      case stage::unreachable:
        lose(w);
        break;
      case stage::resting:
        begin_stop(w, {errc::timeout, "nobody used it"});
        break;
      case stage::stopping:
        act(w, w.ladder.on_time(now));
        break;
      default:
        break;
    }
  }
  return take_effects();
}

} // namespace muster
