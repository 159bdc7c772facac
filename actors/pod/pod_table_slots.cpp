// SPDX-License-Identifier: Apache-2.0

// Pods that occupy the slots of groups, and how it is noticed that a pod hangs.

#include "actors/pod/pod_table.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace muster {

// -- slots --------------------------------------------------------------------

pod::effects pod_table::spawn_slot(pod::ticket from, const slot_id& slot,
                                   const pod_order& order) {
  return enter(from, [=, this] {
    auto request_id = to_string(slot);
    if (auto* e = find_request(request_id))
      answer_with(from, *e);
    else if (auto made = make(pod_operator, order, request_id))
      (*made)->spawners.push_back(from);
    else
      refuse(from, made.error());
  });
}

pod::effects pod_table::check_slots(pod::ticket from,
                                    const std::vector<pod_order>& orders) {
  return enter(from, [=, this] {
    if (orders.size() > settings_.max_pods) {
      refuse(from, {errc::too_large,
                    fmt::format("there cannot be {} pods, as pods.max-pods "
                                "allows {}",
                                orders.size(), settings_.max_pods)});
      return;
    }
    scope_table nobody_else{pod_operator, settings_.grant};
    std::uint64_t number = 0;
    for (auto& order : orders) {
      if (auto fine = check_order(order); !fine) {
        refuse(from, fine.error());
        return;
      }
      lend_request request;
      request.lender = pod_operator;
      request.borrower = order.name;
      request.own.allow = order.scope;
      request.delegation = order.delegation;
      auto lent = nobody_else.lend(
        request, [&] { return fmt::format("check-{}", ++number); });
      if (!lent) {
        refuse(from, lent.error());
        return;
      }
    }
    answer(pod::reply_count{from, orders.size()});
  });
}

pod::effects pod_table::find_slot(pod::ticket from, const slot_id& slot) {
  return enter(from, [=, this] {
    auto* e = find_request(to_string(slot));
    if (!e) {
      refuse(from,
             {errc::not_found, fmt::format("no pod occupies slot {} in term {}",
                                           slot.index, slot.term)});
    } else if (!e->record.was_ready) {
      answer_with(from, *e);
    } else {
      // At once, so that nothing that happens to it is told before.
      answer(pod::reply_pod{from, view_of(*e)});
      if (e->at != stage::live)
        tell(*e, slot_change::unhealthy,
             {errc::unreachable, fmt::format("pod '{}' is {}", e->record.name,
                                             to_string(phase_of(*e)))});
    }
  });
}

pod::effects pod_table::stop_slot(pod::ticket from, const slot_id& slot) {
  return enter(from, [=, this] {
    if (auto* e = find_request(to_string(slot)))
      stop_now(from, pod_operator, e->record.name);
    else
      answer_when_saved(from, pod::reply_stop{from, {}});
  });
}

pod::effects pod_table::list_slots(pod::ticket from) {
  return enter(from, [=, this] {
    pod::reply_slots out{from, {}};
    for (auto& [id, e] : pods_)
      if (auto slot = slot_id_from(e.record.request_id))
        out.occupants.push_back(
          {*slot, id, e.record.who ? e.record.who->pid : 0, std::nullopt});
    answer(std::move(out));
  });
}

pod_table::entry* pod_table::find_request(const std::string& request_id) {
  auto i = std::find_if(pods_.begin(), pods_.end(), [&](auto& x) {
    return x.second.record.request_id == request_id;
  });
  return i != pods_.end() ? &i->second : nullptr;
}

void pod_table::tell(const entry& e, slot_change what, failure why) {
  if (auto slot = slot_id_from(e.record.request_id))
    emit(pod::tell{{std::move(*slot), what, std::move(why)}});
}

// -- the watchdog -------------------------------------------------------------

pod::effects pod_table::probe(pod::ticket from) {
  ++waiting_;
  auto now = env_.steady_ns();
  std::uint64_t count = 0;
  for (auto& [id, e] : pods_) {
    // Nothing can be asked of a program that does not listen.
    auto hears = e.at == stage::live && e.is_greeted;
    if (!hears || !e.pings.is_due(now))
      continue;
    ++count;
    emit(pod::probe{id, e.connection});
  }
  answer(pod::reply_count{from, count});
  return take_effects();
}

pod::effects pod_table::probed(const std::string& id, connection_id on,
                               std::uint64_t frames) {
  auto* e = find_live(id, on);
  if (!e || e->at != stage::live)
    return take_effects();
  auto interval = settings_.ping_interval;
  if (e->pings.may_ask(frames, env_.steady_ns(), interval)) {
    emit(pod::send{id, on, pod::ping{++e->last_ping}});
    return take_effects();
  }
  ++counters_.hung;
  failure why{
    errc::timeout,
    fmt::format("pod '{}', process {}, answered no ping for {} ms",
                e->record.name, e->record.who->pid,
                interval.count()
                  * static_cast<std::int64_t>(watchdog::max_unanswered))};
  emit(pod::warn{why.message});
  // It keeps its connection, and with it what it was asked: it may answer yet.
  become_unreachable(*e, std::move(why));
  return take_effects();
}

void pod_table::become_unreachable(entry& e, failure why) {
  tell(e, slot_change::unhealthy, std::move(why));
  move_to(e, stage::unreachable);
}

} // namespace muster
