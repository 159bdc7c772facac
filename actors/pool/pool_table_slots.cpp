// SPDX-License-Identifier: Apache-2.0

// Workers that occupy the slots of groups, and how it is noticed that a worker
// hangs.

#include "actors/pool/pool_table.hpp"

#include <fmt/format.h>

namespace muster {

// -- slots --------------------------------------------------------------------

pool::effects pool_table::spawn_slot(pool::ticket from, const slot_id& slot) {
  return enter(from, [=, this] { spawn_now(from, to_string(slot)); });
}

pool::effects pool_table::find_slot(pool::ticket from, const slot_id& slot) {
  return enter(from, [=, this] {
    auto* w = find_request(to_string(slot));
    if (!w) {
      refuse(from, {errc::not_found,
                    fmt::format("no worker occupies slot {} in term {}",
                                slot.index, slot.term)});
    } else if (w->is_new) {
      answer_with(from, *w);
    } else {
      // At once, so that nothing that happens to it is told before.
      answer(pool::reply_worker{from, view_of(*w)});
      if (w->at == stage::unreachable || w->at == stage::mismatched)
        tell(*w, slot_change::unhealthy,
             {errc::unreachable, fmt::format("worker '{}' is {}", w->record.sid,
                                             to_string(phase_of(*w)))});
    }
  });
}

pool::effects pool_table::stop_slot(pool::ticket from, const slot_id& slot) {
  return enter(from, [=, this] {
    if (auto* w = find_request(to_string(slot)))
      stop_now(from, w->record.sid);
    else
      answer_when_saved(pool::reply_stop{from, {}});
  });
}

pool::effects pool_table::check_slots(pool::ticket from, std::size_t count) {
  return enter(from, [=, this] {
    if (count > settings_.max_workers)
      refuse(from,
             {errc::too_large, fmt::format("there cannot be {} workers, as "
                                           "pool.max-workers allows {}",
                                           count, settings_.max_workers)});
    else
      answer(pool::reply_count{from, count});
  });
}

pool::effects pool_table::list_slots(pool::ticket from) {
  return enter(from, [=, this] {
    pool::reply_slots out{from, {}};
    for (auto& [sid, w] : workers_)
      if (auto slot = slot_id_from(w.record.request_id))
        out.occupants.push_back({*slot, sid, w.record.pid, w.record.session});
    answer(std::move(out));
  });
}

void pool_table::tell(const worker& w, slot_change what, failure why) {
  if (auto slot = slot_id_from(w.record.request_id))
    emit(pool::tell{{std::move(*slot), what, std::move(why)}});
}

// -- the watchdog -------------------------------------------------------------

pool::effects pool_table::probe(pool::ticket from) {
  ++waiting_;
  auto now = env_.steady_ns();
  std::uint64_t count = 0;
  for (auto& [sid, w] : workers_) {
    auto has_peer = w.at == stage::resting || w.at == stage::leased;
    if (!has_peer || w.connection == 0 || !w.pings.is_due(now))
      continue;
    ++count;
    emit(pool::probe{sid, w.connection});
  }
  answer(pool::reply_count{from, count});
  return take_effects();
}

pool::effects pool_table::probed(const std::string& sid, connection_id id,
                                 std::uint64_t frames) {
  auto* w = find_live(sid, id);
  if (!w || (w->at != stage::resting && w->at != stage::leased))
    return take_effects();
  if (w->pings.may_ask(frames, env_.steady_ns(), settings_.ping_interval))
    emit(pool::ping{id});
  else
    kill_hung(*w);
  return take_effects();
}

void pool_table::kill_hung(worker& w) {
  ++counters_.hung;
  failure why{
    errc::timeout,
    fmt::format("worker '{}', process {}, answered no ping for {} ms",
                w.record.sid, w.record.pid,
                settings_.ping_interval.count()
                  * static_cast<std::int64_t>(watchdog::max_unanswered))};
  emit(pool::warn{why.message});
  tell(w, slot_change::unhealthy, why);
  w.has_failed = true;
  w.why = std::move(why);
  w.reported.reset();
  w.refusal.reset();
  // Whoever hears no ping hears no request to end either.
  w.ladder = stop_ladder{{{}, {}, settings_.stop.kill}};
  move_to(w, stage::stopping);
  act(w, w.ladder.begin(env_.steady_ns()));
}

} // namespace muster
