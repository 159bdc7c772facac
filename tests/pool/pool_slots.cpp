// SPDX-License-Identifier: Apache-2.0

// Workers that occupy the slots of groups, and those that hang.

#define CAF_SUITE pool.slots

#include "tests/pool/table_bench.hpp"

#include <signal.h>

using namespace muster;
using namespace muster::test;
using namespace std::chrono_literals;

namespace {

using changes_t = std::vector<slot_change>;

struct fixture : table_bench {
  slot_id slot{"g-1", 3, 7};

  /// The worker of the slot, ready.
  std::string occupied() {
    auto t = spawn_slot(slot);
    run();
    return get<pool::reply_worker>(t).worker.sid;
  }

  /// A session takes that worker.
  void lease(const std::string& sid, const std::string& session) {
    CAF_REQUIRE_EQUAL(leased(session).sid, sid);
  }

  void hang_up(const std::string& sid) {
    for (auto on : sockets.at(processes.workers.at(sid).sock))
      sockets.hang_up(on);
    run();
  }

  /// A worker loses its connection, and answers on no other.
  void cut_off(const std::string& sid) {
    processes.workers.at(sid).is_silent = true;
    hang_up(sid);
    advance(settings.probe_timeout);
  }

  worker_phase phase(const std::string& sid) {
    for (auto& x : listed())
      if (x.sid == sid)
        return x.phase;
    CAF_FAIL("no worker " << sid);
  }
};

} // namespace

CAF_TEST_FIXTURE_SCOPE(pool_slot_tests, fixture)

// -- requests -----------------------------------------------------------------

CAF_TEST(a slot gets one worker however often that is asked for) {
  begin();
  auto first = spawn_slot(slot);
  auto second = spawn_slot(slot);
  CAF_CHECK_EQUAL(answers.count(first), 0u);
  run();
  auto third = spawn_slot(slot);
  auto sid = get<pool::reply_worker>(first).worker.sid;
  CAF_CHECK_EQUAL(get<pool::reply_worker>(second).worker.sid, sid);
  CAF_CHECK_EQUAL(get<pool::reply_worker>(third).worker.sid, sid);
  CAF_CHECK_EQUAL(processes.living(), 1u);
  auto other = spawn_slot({"g-1", 3, 8});
  run();
  CAF_CHECK(get<pool::reply_worker>(other).worker.sid != sid);
  CAF_CHECK(told.empty());
}

CAF_TEST(all that occupy slots are listed and others are not ) {
  begin();
  auto sid = occupied();
  lease(sid, "s-1");
  spawned();
  auto all = occupants();
  CAF_REQUIRE_EQUAL(all.size(), 1u);
  CAF_CHECK((all[0] == slot_occupant{slot, sid, who(sid).pid, "s-1"}));
}

CAF_TEST(a worker is found behind a restart until it is stopped) {
  begin();
  auto sid = occupied();
  restart();
  load();
  auto t = find_slot(slot);
  CAF_CHECK_EQUAL(answers.count(t), 0u);
  run();
  CAF_CHECK_EQUAL(get<pool::reply_worker>(t).worker.sid, sid);
  CAF_CHECK(told.empty());
  auto stopped = stop_slot(slot);
  CAF_CHECK_EQUAL(answers.count(stopped), 0u);
  run();
  CAF_CHECK(get<pool::reply_stop>(stopped).reply.errors.empty());
  CAF_CHECK_EQUAL(processes.living(), 0u);
  CAF_CHECK_EQUAL(refusal(find_slot(slot)).code, errc::not_found);
  CAF_CHECK_EQUAL(answers.count(stop_slot(slot)), 1u);
  CAF_CHECK(occupants().empty());
}

CAF_TEST(a worker of a slot does not end because nobody uses it) {
  begin();
  auto other = spawned();
  auto sid = occupied();
  advance(settings.idle_timeout);
  CAF_CHECK(processes.lives(sid));
  CAF_CHECK(!processes.lives(other));
  restart();
  begin();
  advance(settings.idle_timeout * 2);
  CAF_CHECK(processes.lives(sid));
  CAF_CHECK(told.empty());
}

// -- what is told -------------------------------------------------------------

CAF_TEST(a worker that dies has ended) {
  for (bool is_leased : {false, true}) {
    fixture x;
    x.begin();
    auto sid = x.occupied();
    if (is_leased)
      x.lease(sid, "s-1");
    x.processes.die(sid);
    x.run();
    CAF_REQUIRE(!x.told.empty());
    CAF_CHECK(x.told.back().slot == x.slot);
    CAF_CHECK(x.told.back().what == slot_change::ended);
    CAF_CHECK(x.told.back().why.message.find(sid) != std::string::npos);
  }
}

CAF_TEST(a worker that is stopped is released whoever asks for that) {
  for (bool by_client : {false, true}) {
    fixture x;
    x.begin();
    auto sid = x.occupied();
    if (by_client)
      x.stop(sid);
    else
      x.stop_slot(x.slot);
    CAF_CHECK(x.told.empty());
    x.run();
    CAF_CHECK(x.changes() == changes_t{slot_change::released});
  }
}

CAF_TEST(a worker whose session is over is released) {
  begin();
  auto sid = occupied();
  lease(sid, "s-1");
  release(sid, "s-1");
  run();
  CAF_CHECK(!processes.lives(sid));
  CAF_CHECK(changes() == changes_t{slot_change::released});
}

CAF_TEST(a worker that failed its session has ended) {
  for (bool is_dead : {true, false}) {
    fixture x;
    x.begin();
    auto sid = x.occupied();
    x.lease(sid, "s-1");
    // The session loses its connection before the end is known, if it ends.
    if (is_dead)
      x.processes.die(sid);
    x.lose_lease(sid, "s-1", {errc::connection_lost, "it says no more"});
    x.run();
    CAF_CHECK(!x.processes.lives(sid));
    CAF_REQUIRE_EQUAL(x.told.size(), 1u);
    CAF_CHECK(x.told.back().what == slot_change::ended);
    auto& why = x.told.back().why;
    CAF_CHECK_EQUAL(why.code, errc::connection_lost);
    CAF_CHECK(why.message.find("it says no more") != std::string::npos);
    CAF_CHECK(why.message.find(is_dead ? "SIGKILL" : "exit code")
              != std::string::npos);
  }
}

CAF_TEST(an end that nobody asked for is warned of and no other) {
  for (bool is_wanted : {true, false}) {
    fixture x;
    x.begin();
    auto sid = x.occupied();
    if (is_wanted)
      x.stop(sid);
    else
      x.processes.die(sid);
    x.run();
    CAF_CHECK(!x.processes.lives(sid));
    CAF_CHECK_EQUAL(x.warnings.empty(), is_wanted);
    if (is_wanted)
      continue;
    CAF_CHECK(x.warnings.back().find(sid) != std::string::npos);
    CAF_CHECK(x.warnings.back().find("SIGKILL") != std::string::npos);
  }
}

CAF_TEST(a worker fails nobody but its own session) {
  begin();
  auto sid = occupied();
  lease(sid, "s-1");
  lose_lease(sid, "s-2", {errc::connection_lost, "none of its"});
  run();
  CAF_CHECK(processes.lives(sid));
  CAF_CHECK(told.empty());
}

CAF_TEST(a start that fails is refused and is no news) {
  begin();
  processes.scripts.push_back({{}, std::nullopt, obedience::ends});
  auto t = spawn_slot(slot);
  run();
  advance(settings.spawn_timeout);
  CAF_CHECK_EQUAL(refusal(t).code, errc::timeout);
  CAF_CHECK_EQUAL(refusal(find_slot(slot)).code, errc::not_found);
  CAF_CHECK(told.empty());
}

CAF_TEST(
  a worker that loses its connection is unhealthy until it answers again) {
  begin();
  auto sid = occupied();
  cut_off(sid);
  CAF_CHECK_EQUAL(phase(sid), worker_phase::unreachable);
  CAF_CHECK(changes() == changes_t{slot_change::unhealthy});
  // Whoever looks for it is told as well.
  auto t = find_slot(slot);
  CAF_CHECK_EQUAL(get<pool::reply_worker>(t).worker.sid, sid);
  CAF_CHECK(changes() == changes_t{slot_change::unhealthy});
  processes.workers.at(sid).is_silent = false;
  tick();
  run();
  CAF_CHECK_EQUAL(phase(sid), worker_phase::idle);
  CAF_CHECK(changes() == changes_t{slot_change::healthy});
  get<pool::reply_worker>(find_slot(slot));
  CAF_CHECK(told.empty());
}

CAF_TEST(whoever finds an unhealthy worker hears of the worker first) {
  begin();
  cut_off(occupied());
  // Something has to be written just now.
  spawn();
  CAF_REQUIRE(out);
  auto effects = table->find_slot(++tickets, slot);
  CAF_REQUIRE_EQUAL(effects.size(), 2u);
  CAF_CHECK(std::holds_alternative<pool::reply_worker>(effects[0]));
  CAF_CHECK(std::holds_alternative<pool::tell>(effects[1]));
}

CAF_TEST(a worker of another version is found and said to be unhealthy) {
  begin();
  auto sid = occupied();
  restart();
  settings.version = "2.0";
  begin();
  auto t = find_slot(slot);
  CAF_CHECK_EQUAL(get<pool::reply_worker>(t).worker.sid, sid);
  CAF_REQUIRE_EQUAL(told.size(), 1u);
  CAF_CHECK(told[0].what == slot_change::unhealthy);
  CAF_CHECK(told[0].why.message.find("mismatched") != std::string::npos);
}

CAF_TEST(nothing is told once the node stops) {
  begin();
  auto sid = occupied();
  processes.scripts.push_back({{}, std::nullopt, obedience::ends});
  spawn_slot({"g-1", 4, 8});
  run();
  // It has ended, and nobody has heard of it yet.
  processes.die(sid);
  shut_down();
  run();
  probe_often(5);
  CAF_CHECK(told.empty());
}

CAF_TEST(workers in no group are no news) {
  begin();
  auto sid = spawned();
  cut_off(sid);
  processes.die(sid);
  run();
  spawned();
  stop();
  run();
  CAF_CHECK(told.empty());
}

// -- the watchdog -------------------------------------------------------------

CAF_TEST(workers are asked when it is time and not before) {
  begin();
  auto sid = occupied();
  lease(sid, "s-1");
  spawned();
  CAF_CHECK_EQUAL(get<pool::reply_count>(probe()).count, 2u);
  CAF_CHECK_EQUAL(get<pool::reply_count>(probe()).count, 0u);
  advance(settings.ping_interval - 1ms);
  CAF_CHECK_EQUAL(get<pool::reply_count>(probe()).count, 0u);
  advance(1ms);
  CAF_CHECK_EQUAL(get<pool::reply_count>(probe()).count, 2u);
  probe_often(10);
  CAF_CHECK_EQUAL(processes.living(), 2u);
  CAF_CHECK(told.empty());
  CAF_CHECK(warnings.empty());
}

CAF_TEST(a worker that misses three pings is killed whether it has a session) {
  for (bool is_leased : {false, true}) {
    fixture x;
    x.begin();
    auto sid = x.occupied();
    if (is_leased)
      x.lease(sid, "s-1");
    x.processes.silence(sid);
    x.probe_often(3);
    CAF_CHECK(x.processes.lives(sid));
    CAF_CHECK(x.told.empty());
    x.probe_often(1);
    CAF_CHECK(!x.processes.lives(sid));
    // Nothing gentler would be heard.
    CAF_CHECK_EQUAL(x.signals_to(x.who(sid)), std::vector{SIGKILL});
    CAF_REQUIRE_EQUAL(x.warnings.size(), 1u);
    CAF_CHECK(x.warnings[0].find(sid) != std::string::npos);
    CAF_CHECK_EQUAL(x.table->counters().hung, 1u);
    CAF_REQUIRE_EQUAL(x.told.size(), 2u);
    CAF_CHECK(x.told[1].why.message.find("no ping for 6000 ms")
              != std::string::npos);
    CAF_CHECK(
      (x.changes() == changes_t{slot_change::unhealthy, slot_change::ended}));
  }
}

CAF_TEST(a worker that says something is not killed) {
  for (bool is_leased : {false, true}) {
    fixture x;
    x.begin();
    auto sid = x.occupied();
    if (is_leased)
      x.lease(sid, "s-1");
    x.processes.silence(sid);
    for (int i = 0; i < 5; ++i) {
      x.probe_often(3);
      for (auto on : x.sockets.at(x.processes.workers.at(sid).sock))
        x.sockets.say(on, encode(worker_working{}));
      x.run();
    }
    CAF_CHECK(x.processes.lives(sid));
    CAF_CHECK(x.told.empty());
  }
}

CAF_TEST(a worker that is connected anew has all of its time again) {
  begin();
  auto sid = occupied();
  processes.workers.at(sid).is_silent = true;
  probe_often(3);
  processes.workers.at(sid).is_silent = false;
  hang_up(sid);
  CAF_CHECK_EQUAL(phase(sid), worker_phase::idle);
  processes.silence(sid);
  probe_often(3);
  CAF_CHECK(processes.lives(sid));
  probe_often(1);
  CAF_CHECK(!processes.lives(sid));
}

CAF_TEST_FIXTURE_SCOPE_END()
