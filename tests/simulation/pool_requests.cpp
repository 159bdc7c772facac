// SPDX-License-Identifier: Apache-2.0

// What clients and operators want of the pool.

#include "tests/simulation/simulation.hpp"

#include <fmt/format.h>

namespace muster::test {

void simulation::use_pool() {
  auto what = roll(10);
  if (what < 3) {
    spawn_worker();
  } else if (what < 6) {
    stop_workers(workforce_.some());
  } else if (what < 8) {
    auto dead = bench_.send<std::vector<std::string>>(pool_atom::value,
                                                      collect_atom::value);
    open_.push_back({[this, dead] {
      if (!*dead)
        return false;
      if (!**dead)
        refused("(pool)", (*dead)->error());
      else
        for (auto& sid : ***dead)
          if (workforce_.lives(sid))
            throw violation{"worker " + sid + " lives and was taken out"};
      return true;
    }});
  } else {
    auto known = bench_.send<std::vector<worker_view>>(pool_atom::value,
                                                       list_atom::value);
    open_.push_back({[this, known] {
      if (!*known)
        return false;
      if (!**known)
        refused("(pool)", (*known)->error());
      return true;
    }});
  }
}

void simulation::spawn_worker() {
  note([] { return "a client asks for a worker"; });
  auto record
    = keep([this](request_record_ptr again) { send_spawn_worker(again); });
  send_spawn_worker(record);
}

void simulation::send_spawn_worker(request_record_ptr record) {
  auto worker = bench_.send<worker_view>(pool_atom::value, spawn_atom::value,
                                         record->request_id);
  open_.push_back({[this, worker, record] {
    if (!*worker)
      return false;
    if (!**worker) {
      refused("(pool)", (*worker)->error());
      return true;
    }
    auto& sid = (**worker)->sid;
    note([&] { return "a client has worker " + sid; });
    if (!workforce_.has_begun(sid))
      throw violation{"worker " + sid + " was never started"};
    // One that is gone may be made again.
    auto& before = record->result;
    if (record->request_id != once && before && *before != sid
        && workforce_.lives(*before))
      throw violation{fmt::format("request {} made worker {} and worker {}",
                                  record->request_id, *before, sid)};
    before = sid;
    return true;
  }});
}

void simulation::stop_workers(const std::string& sid) {
  // Seldom all of them.
  auto prefix = chance(4) ? std::string{} : sid;
  note([&] { return "an operator stops worker '" + prefix + "'"; });
  auto reply
    = bench_.send<pool_stop_reply>(pool_atom::value, stop_atom::value, prefix);
  open_.push_back({[this, reply] {
    if (!*reply)
      return false;
    if (!**reply) {
      refused("(pool)", (*reply)->error());
      return true;
    }
    for (auto& stopped : (**reply)->stopped)
      if (workforce_.lives(stopped))
        throw violation{"worker " + stopped + " was stopped and lives"};
    for (auto& error : (**reply)->errors)
      throw violation{
        fmt::format("worker {}: {}", error.sid, error.why.message)};
    return true;
  }});
}

} // namespace muster::test
