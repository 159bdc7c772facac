// SPDX-License-Identifier: Apache-2.0

// How a pod comes to be, is found again, and ends.

#include "actors/pod/pod_table.hpp"

#include "messages/utc.hpp"

#include <fmt/format.h>

#include <algorithm>

#include <signal.h>

namespace muster {

namespace {

/// How soon a pod that starts is asked again whether it is there.
constexpr std::chrono::milliseconds greet_again{20};

/// How many pods that were not found again are named one by one.
constexpr std::size_t max_named = 10;

/// How soon it is looked again for what a pod left behind.
constexpr std::chrono::milliseconds sweep_again{200};

failure not_started_in_time(const std::string& name) {
  return {errc::timeout,
          fmt::format("pod '{}' was not ready in time, as pods.spawn-timeout "
                      "demands",
                      name)};
}

} // namespace

// -- starting -----------------------------------------------------------------

pod::effects pod_table::started(const std::string& id,
                                const expected<process_identity>& result) {
  auto* e = find_live(id);
  if (!e)
    return take_effects();
  // Its variables may be secrets.
  e->order.environment.clear();
  if (!result) {
    e->why = result.error();
    drop(*e);
    return take_effects();
  }
  ++counters_.started;
  e->record.who = *result;
  e->is_held = true;
  e->start_limit_ns = after(settings_.spawn_timeout);
  move_to(*e, stage::starting, e->start_limit_ns);
  record(*e);
  return take_effects();
}

pod::effects pod_table::ready(const std::string& id,
                              const std::string& enforced) {
  auto* e = find_live(id);
  if (!e || e->at != stage::starting || e->has_started)
    return take_effects();
  e->has_started = true;
  e->record.enforced = enforced;
  change(*e);
  if (e->record.kind == pod_class::protocol) {
    move_to(*e, stage::greeting, e->start_limit_ns);
    emit(pod::connect{id});
  } else {
    advance(*e);
  }
  return take_effects();
}

void pod_table::advance(entry& e) {
  auto is_plain = e.record.kind == pod_class::plain;
  if (!e.is_new || !e.has_started || !e.is_recorded
      || (!is_plain && !e.is_greeted)
      || (e.at != stage::starting && e.at != stage::greeting))
    return;
  if (is_plain || e.order.task.empty()) {
    become_ready(e);
    return;
  }
  move_to(e, stage::tasking);
  auto x = env_.random();
  begin_run(e, fmt::format("t-{:016x}{:016x}", x[0], x[1]), e.order.task, {});
}

void pod_table::become_ready(entry& e) {
  e.is_new = false;
  e.start_limit_ns = 0;
  e.order = {};
  e.record.was_ready = true;
  change(e);
  move_to(e, stage::live);
  for (auto to : std::exchange(e.spawners, {})) {
    pod::effect reply = pod::reply_pod{to, view_of(e)};
    // It lives, though it did not take its task: that is what has to be said.
    if (e.task_failure)
      reply = pod::reply_refusal{to, *e.task_failure};
    answer_when_saved(to, std::move(reply));
  }
  tell(e);
}

void pod_table::fail_start(entry& e, failure why) {
  if (!e.why)
    e.why = std::move(why);
  if (e.at == stage::intending) {
    drop(e);
    return;
  }
  if (e.at == stage::sweeping || (e.at == stage::stopping && !e.reported))
    return;
  hang_up(e);
  e.reported.reset();
  move_to(e, stage::stopping);
  e.ladder = stop_ladder{{{}, {}, settings_.stop.kill}};
  act(e, e.ladder.begin(env_.steady_ns()));
}

// -- finding again ------------------------------------------------------------

void pod_table::seek(entry& e, std::int64_t limit_ns) {
  move_to(e, e.at, limit_ns);
  emit(pod::connect{e.record.id});
}

void pod_table::look(const entry& e) {
  if (e.record.who)
    emit(pod::look{e.record.id, e.record.who->pid});
  else
    emit(pod::find_started{e.record.id});
}

pod::effects
pod_table::looked(const std::string& id,
                  const expected<std::optional<process_identity>>& found) {
  auto* e = find_live(id);
  if (!e || e->is_held || e->at == stage::sweeping)
    return take_effects();
  // An error means that nobody knows: that is no death.
  auto& who = e->record.who;
  if (found && *found && (!who || *who == **found)) {
    who = **found;
    emit(pod::adopt{id, *who});
  } else if (found) {
    e->is_missing = true;
    e->why = failure{errc::not_found, "its process was gone"};
    begin_sweep(*e);
  } else if (e->at == stage::stopping) {
    report(*e, found.error());
  } else {
    move_to(*e, stage::unreachable);
  }
  return take_effects();
}

pod::effects pod_table::adopted(const std::string& id,
                                const expected<void>& result) {
  auto* e = find_live(id);
  if (!e)
    return take_effects();
  e->is_held = result.has_value();
  if (!result && result.error().code == errc::not_found) {
    e->is_missing = e->at == stage::searching;
    e->why = failure{errc::not_found, "its process was gone"};
    begin_sweep(*e);
  } else if (e->at == stage::stopping) {
    if (result)
      act(*e, e->ladder.begin(env_.steady_ns()));
    else
      report(*e, result.error());
  } else if (!result) {
    move_to(*e, stage::unreachable);
  } else if (!e->record.was_ready) {
    // Nobody was told that it is there.
    begin_stop(*e, {errc::conflict, "the node died before it was ready"},
               {{}, {}, settings_.stop.kill});
  } else if (e->record.kind == pod_class::plain) {
    this->found(*e);
  } else if (e->connection == 0) {
    seek(*e, e->limit_ns != 0 ? e->limit_ns : after(settings_.probe_timeout));
  }
  return take_effects();
}

void pod_table::found(entry& e) {
  if (e.at == stage::searching)
    ++counters_.found;
  if (e.at == stage::unreachable)
    tell(e, slot_change::healthy, {});
  move_to(e, stage::live);
  tell(e);
}

void pod_table::lose(entry& e, const failure& why) {
  hang_up(e);
  drop_runs(e, why.message);
  if (e.at != stage::searching || !e.is_held) {
    move_to(e, stage::unreachable);
    return;
  }
  // What does not answer after a restart is not let go on: it could write to
  // what others are lent.
  e.is_missing = true;
  begin_stop(e, {errc::unreachable, why.message},
             {{}, settings_.stop.terminate, settings_.stop.kill});
}

// -- ending -------------------------------------------------------------------

pod::effects pod_table::ended(const std::string& id,
                              const process_ended& what) {
  auto* e = find_live(id);
  if (!e || e->record.who != what.who || e->at == stage::sweeping)
    return take_effects();
  e->ladder.on_ended();
  if (e->is_new && e->at == stage::starting && e->has_started && !e->why
      && e->record.kind == pod_class::plain) {
    // It was ready, and quicker than the disk.
    e->is_new = false;
    e->record.was_ready = true;
  }
  if (e->at == stage::stopping && !e->is_new)
    ++counters_.stopped;
  else if (!e->is_new)
    ++counters_.ended;
  if (!e->why && what.never_ready)
    e->why = what.never_ready;
  if (!e->why || (e->record.was_ready && !e->is_missing))
    e->why = failure{errc::program_failed, show(what.end)};
  begin_sweep(*e);
  return take_effects();
}

void pod_table::begin_sweep(entry& e) {
  hang_up(e);
  if (e.at != stage::sweeping)
    e.sweep_limit_ns = after(settings_.stop.kill);
  move_to(e, stage::sweeping);
  drop_runs(e, e.why ? e.why->message : "it has ended");
  emit(pod::sweep{e.record.id, e.record.who});
}

pod::effects pod_table::swept(const std::string& id,
                              const expected<bool>& is_clean) {
  auto* e = find_live(id);
  if (!e || e->at != stage::sweeping)
    return take_effects();
  if (is_clean && *is_clean) {
    drop(*e);
    return take_effects();
  }
  move_to(*e, stage::sweeping, after(sweep_again));
  if (env_.steady_ns() < e->sweep_limit_ns)
    return take_effects();
  // Its loans stay; whoever waits for them, or for it, is told why.
  failure why{errc::timeout,
              fmt::format("what pod '{}' left behind does not end: {}",
                          e->record.name,
                          is_clean ? "it hangs, though it was killed"
                                   : is_clean.error().message)};
  for (auto to : std::exchange(e->stoppers, {}))
    refuse(to, why);
  for (auto to : std::exchange(e->spawners, {}))
    refuse(to, why);
  if (e->record.was_ready && !std::exchange(e->is_stuck, true))
    tell(*e, slot_change::unhealthy, std::move(why));
  return take_effects();
}

void pod_table::begin_stop(entry& e, failure why, stop_patience patience) {
  if (e.is_new) {
    fail_start(e, std::move(why));
    return;
  }
  if (e.at == stage::sweeping || (e.at == stage::stopping && !e.reported))
    return;
  e.is_released = !e.is_missing;
  e.why = std::move(why);
  e.reported.reset();
  e.refusal.reset();
  e.ladder = stop_ladder{patience};
  drop_runs(e, "it is being stopped");
  move_to(e, stage::stopping);
  if (e.is_held)
    act(e, e.ladder.begin(env_.steady_ns()));
  else if (e.record.who)
    emit(pod::adopt{e.record.id, *e.record.who});
  else
    emit(pod::find_started{e.record.id});
}

void pod_table::act(entry& e, stop_step step) {
  auto& id = e.record.id;
  if (step == stop_step::ask && !e.is_greeted)
    step = e.ladder.on_refused(env_.steady_ns());
  if (step == stop_step::ask)
    emit(pod::send{id, e.connection, pod::shutdown{}});
  else if (step == stop_step::terminate)
    emit(pod::send_signal{id, *e.record.who, SIGTERM});
  else if (step == stop_step::kill)
    emit(pod::send_signal{id, *e.record.who, SIGKILL});
  move_to(e, stage::stopping, e.ladder.limit_ns().value_or(0));
  if (step == stop_step::report)
    report(e, e.refusal.value_or(failure{
                errc::timeout,
                fmt::format("pod '{}' does not end: {} hangs, though it was "
                            "killed",
                            e.record.name, show(*e.record.who))}));
}

pod::effects pod_table::signal_refused(const std::string& id,
                                       const failure& why) {
  auto* e = find_live(id);
  // If it is gone by now, that is heard next.
  if (e && e->at == stage::stopping && why.code != errc::not_found) {
    e->refusal = why;
    act(*e, e->ladder.on_refused(env_.steady_ns()));
  }
  return take_effects();
}

void pod_table::report(entry& e, failure why) {
  emit(pod::warn{why.message});
  e.reported = why;
  for (auto to : std::exchange(e.stoppers, {}))
    refuse(to, why);
  for (auto to : std::exchange(e.spawners, {}))
    refuse(to, e.why.value_or(why));
  // What could not be touched is where it was.
  if (!e.is_held)
    move_to(e, stage::unreachable);
}

void pod_table::drop(entry& gone) {
  hang_up(gone);
  move_to(gone, stage::stopping);
  auto node = pods_.extract(std::string{gone.record.id});
  auto& e = node.mapped();
  auto& name = e.record.name;
  auto why = e.why.value_or(failure{errc::program_failed, "it has ended"});
  ended_pod old;
  old.lender = lender_of(name);
  if (old.lender.empty())
    old.lender = pod_operator;
  names_.erase(name);
  dirty_ = true;
  // What another record of that name stands for may still be used.
  auto is_still_used = std::any_of(broken_pods_.begin(), broken_pods_.end(),
                                   [&](auto& x) { return x.name == name; });
  if (!is_still_used)
    if (auto released = scopes_.release(name))
      old.reclaimed = std::move(released->ended.own.allow);
  pod_stop_reply reply{name, old.reclaimed, why.message};
  for (auto to : std::exchange(e.stoppers, {}))
    answer_when_saved(to, pod::reply_stop{to, reply});
  auto spawners = std::exchange(e.spawners, {});
  auto is_of_slot = is_slot_request(e.record.request_id);
  if (!e.record.was_ready) {
    // Whoever looked for what a restart of the node has undone may know.
    if (is_of_slot && !e.is_new)
      why.code = errc::not_found;
    for (auto to : spawners)
      answer_when_saved(to, pod::reply_refusal{to, why});
    ++counters_.failed;
    next_.then.push_back(pod::remove_folder{e.record.id});
    return;
  }
  tell(e, e.is_released ? slot_change::released : slot_change::ended, why);
  if (e.is_missing) {
    ++counters_.reclaimed;
    reclaimed_.push_back(name);
    // A log that nobody reads could hold up the node.
    if (reclaimed_.size() <= max_named)
      emit(pod::warn{fmt::format("pod '{}' was not found again: {}; what it "
                                 "was lent has come back",
                                 name, why.message)});
    else if (reclaimed_.size() == max_named + 1)
      emit(pod::warn{"more pods were not found again; 'muster status' names "
                     "all"});
  }
  if (auto lender = names_.find(old.lender); lender != names_.end()) {
    auto& to = pods_.at(lender->second);
    note(to, "shut_down", name, why.message);
    if (e.is_missing)
      note(to, "notice", {},
           "Child pods were missing or did not answer after a restart of the "
           "node; what they were lent to write has come back.");
  }
  old.end = why.message;
  old.ended_at = utc_text(env_.wall_ms());
  old.record = std::move(e.record);
  old.record.notices.clear();
  for (auto to : spawners) {
    pod::effect told = pod::reply_pod{to, view_of(old)};
    // One that has gone occupies no slot.
    if (is_of_slot)
      told = pod::reply_refusal{to, why};
    answer_when_saved(to, std::move(told));
  }
  ended_.push_back(std::move(old));
  while (ended_.size() > settings_.max_ended) {
    next_.then.push_back(pod::remove_folder{ended_.front().record.id});
    ended_.pop_front();
  }
}

// -- the clock ----------------------------------------------------------------

std::optional<std::int64_t> pod_table::limit_ns() const {
  std::optional<std::int64_t> out;
  if (closing_)
    return out;
  if (!limits_.empty())
    out = limits_.begin()->first;
  if (!run_limits_.empty())
    out = std::min(out.value_or(INT64_MAX), std::get<0>(*run_limits_.begin()));
  return out;
}

pod::effects pod_table::on_time() {
  auto now = env_.steady_ns();
  while (!closing_ && !run_limits_.empty()
         && std::get<0>(*run_limits_.begin()) <= now) {
    auto [limit, id, run] = *run_limits_.begin();
    auto& e = pods_.at(id);
    end_run(e, run,
            failure{errc::timeout,
                    fmt::format("pod '{}' did not confirm that it begins, "
                                "within pods.send-timeout",
                                e.record.name)},
            0);
  }
  while (!closing_ && !limits_.empty() && limits_.begin()->first <= now) {
    auto& e = pods_.at(std::string{limits_.begin()->second});
    move_to(e, e.at);
    switch (e.at) {
      case stage::starting:
        fail_start(e, not_started_in_time(e.record.name));
        break;
      case stage::greeting:
        if (now >= e.start_limit_ns)
          fail_start(e, not_started_in_time(e.record.name));
        else if (e.connection == 0)
          seek(e, e.start_limit_ns);
        else
          move_to(e, stage::greeting, e.start_limit_ns);
        break;
      case stage::searching:
      case stage::unreachable:
        if (now < e.start_limit_ns && e.connection == 0)
          seek(e, e.start_limit_ns);
        else
          lose(e, {errc::timeout, "it did not answer in time"});
        break;
      case stage::sweeping:
        begin_sweep(e);
        break;
      case stage::stopping:
        act(e, e.ladder.on_time(now));
        break;
      default:
        break;
    }
  }
  return take_effects();
}

// -- connections --------------------------------------------------------------

pod::effects pod_table::connecting(const std::string& id,
                                   const expected<connection_id>& result) {
  auto* e = find_live(id);
  auto wants_one = e && e->connection == 0
                   && (e->at == stage::greeting || e->at == stage::searching
                       || e->at == stage::unreachable);
  if (!wants_one) {
    if (result)
      emit(pod::hang_up{*result});
  } else if (result) {
    e->connection = *result;
  } else if (e->at == stage::greeting) {
    fail_start(*e, result.error());
  } else {
    lose(*e, result.error());
  }
  return take_effects();
}

pod::effects pod_table::opened(const std::string& id, connection_id on,
                               std::optional<bool> is_own) {
  auto* e = find_live(id, on);
  if (!e)
    return take_effects();
  if (!is_own) {
    // It begins another program: it is asked again, within the same time.
    hang_up(*e);
    if (e->at != stage::greeting)
      e->start_limit_ns = e->limit_ns;
    move_to(*e, e->at, std::min(e->start_limit_ns, after(greet_again)));
    return take_effects();
  }
  if (*is_own) {
    greet(*e);
    return take_effects();
  }
  failure why{errc::conflict,
              fmt::format("another process answers at the socket of pod '{}'",
                          e->record.name)};
  if (e->at == stage::greeting)
    fail_start(*e, std::move(why));
  else
    lose(*e, why);
  return take_effects();
}

pod::effects pod_table::closed(const std::string& id, connection_id on,
                               const failure& why) {
  auto* e = find_live(id, on);
  if (!e)
    return take_effects();
  e->connection = 0;
  disconnect(*e, why);
  return take_effects();
}

void pod_table::disconnect(entry& e, const failure& why) {
  hang_up(e);
  switch (e.at) {
    case stage::greeting:
      // It may not have got as far as its socket.
      move_to(e, stage::greeting,
              std::min(e.start_limit_ns, after(greet_again)));
      break;
    case stage::tasking:
      drop_runs(e, why.message);
      [[fallthrough]];
    case stage::live:
      // What it was sent is answered once it is known whether it has died.
      become_unreachable(e, why);
      seek(e, after(settings_.probe_timeout));
      break;
    case stage::searching:
    case stage::unreachable:
      lose(e, why);
      break;
    default:
      break;
  }
}

pod::effects pod_table::send_refused(const std::string& id) {
  if (auto* e = find_live(id)) {
    if (e->at == stage::stopping)
      act(*e, e->ladder.on_refused(env_.steady_ns()));
    else if (e->connection != 0)
      disconnect(*e, {errc::overloaded, "it takes nothing any more"});
  }
  return take_effects();
}

void pod_table::hang_up(entry& e) {
  if (e.connection != 0)
    emit(pod::hang_up{e.connection});
  e.connection = 0;
  e.is_greeted = false;
  e.is_behind = false;
  e.told = 0;
  e.pings = {};
}

} // namespace muster
