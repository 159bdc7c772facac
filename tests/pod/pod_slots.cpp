// SPDX-License-Identifier: Apache-2.0

// Pods that occupy the slots of groups, and those that hang.

#define CAF_SUITE pod.slots

#include "tests/pod/pod_bench.hpp"

#include <signal.h>

using namespace muster;
using namespace muster::test;
using namespace std::chrono_literals;

namespace {

using changes_t = std::vector<slot_change>;

struct fixture : pod_bench {
  slot_id slot{"g-1", 3, 7};

  /// The pod of the slot, ready.
  /// @returns its id.
  std::string occupied(const pod_order& order = order_of("crew-3", "w:/a")) {
    auto t = spawn_slot(slot, order);
    run();
    return get<pod::reply_pod>(t).pod.id;
  }

  connection_id connection_of(const std::string& id) {
    auto all = sockets.at(socket_of(id));
    CAF_REQUIRE_EQUAL(all.size(), 1u);
    return all[0];
  }

  /// A pod loses its connection, and answers on no other.
  void cut_off(const std::string& id) {
    pod_at(id).is_silent = true;
    sockets.hang_up(connection_of(id));
    run();
    advance(settings.probe_timeout);
  }

  pod_phase phase(const std::string& name) {
    return view(name).phase;
  }
};

} // namespace

CAF_TEST_FIXTURE_SCOPE(pod_slot_tests, fixture)

// -- requests -----------------------------------------------------------------

CAF_TEST(a slot gets one pod however often that is asked for) {
  begin();
  auto order = order_of("crew-3", "w:/a", "begin");
  auto first = spawn_slot(slot, order);
  auto second = spawn_slot(slot, order);
  CAF_CHECK(!is_answered(first));
  run();
  auto third = spawn_slot(slot, order);
  auto pod = get<pod::reply_pod>(first).pod;
  CAF_CHECK_EQUAL(pod.phase, pod_phase::ready);
  CAF_CHECK_EQUAL(pod.lender, pod_operator);
  CAF_CHECK_EQUAL(get<pod::reply_pod>(second).pod.id, pod.id);
  CAF_CHECK_EQUAL(get<pod::reply_pod>(third).pod.id, pod.id);
  CAF_CHECK_EQUAL(processes.running(), 1u);
  CAF_CHECK_EQUAL(on_disk("crew-3")["request_id"], "slot:g-1:3:7");
  CAF_CHECK(told.empty());
}

CAF_TEST(a pod of another term does not take the place of one that lives) {
  begin();
  auto id = occupied();
  auto t = spawn_slot({"g-1", 3, 8}, order_of("crew-3", "w:/b"));
  CAF_CHECK_EQUAL(refusal(t).code, errc::conflict);
  CAF_CHECK_EQUAL(get<pod::reply_pod>(find_slot(slot)).pod.id, id);
}

CAF_TEST(all that occupy slots are listed and others are not ) {
  begin();
  auto id = occupied();
  spawned("other", "w:/b");
  processes.scripts.push_back({{}, std::nullopt, obedience::ends});
  spawn_slot({"g-2", 0, 1}, order_of("solo-0", "w:/c"));
  auto all = occupants();
  CAF_REQUIRE_EQUAL(all.size(), 2u);
  CAF_CHECK(
    (all[0] == slot_occupant{slot, id, pod_at(id).who.pid, std::nullopt}));
  CAF_CHECK((all[1].slot == slot_id{"g-2", 0, 1}));
}

CAF_TEST(nobody is found where nobody was started) {
  begin();
  occupied();
  CAF_CHECK_EQUAL(refusal(find_slot({"g-1", 3, 6})).code, errc::not_found);
  auto t = stop_slot({"g-1", 3, 6});
  CAF_CHECK(is_answered(t));
  CAF_CHECK_EQUAL(processes.running(), 1u);
}

CAF_TEST(a stop is answered once the pod of a slot has gone) {
  begin();
  auto id = occupied();
  pod_at(id).obeys = false;
  auto t = stop_slot(slot);
  run();
  CAF_CHECK(!is_answered(t));
  advance(settings.stop.ask);
  CAF_CHECK(is_answered(t));
  CAF_CHECK(!processes.lives(id));
  CAF_CHECK_EQUAL(refusal(find_slot(slot)).code, errc::not_found);
}

CAF_TEST(the pod of a slot is found again behind a restart) {
  begin();
  auto id = occupied();
  restart();
  load();
  // Until all are looked for, nobody knows.
  auto t = find_slot(slot);
  CAF_CHECK(!is_answered(t));
  run();
  CAF_CHECK_EQUAL(get<pod::reply_pod>(t).pod.id, id);
  CAF_CHECK(told.empty());
}

CAF_TEST(one that starts is found once it is ready) {
  begin();
  spawn_slot(slot, order_of("crew-3", "w:/a"));
  auto t = find_slot(slot);
  CAF_CHECK(!is_answered(t));
  run();
  CAF_CHECK(is_answered(t));
  CAF_CHECK_EQUAL(get<pod::reply_pod>(t).pod.phase, pod_phase::ready);
}

CAF_TEST(a start that the node did not survive is not found once it is gone) {
  begin();
  processes.on_start = [](fake_pod& x) { x.is_silent = true; };
  spawn_slot(slot, order_of("crew-3", "w:/a"));
  run();
  restart();
  load();
  auto t = find_slot(slot);
  CAF_CHECK(!is_answered(t));
  run();
  CAF_CHECK_EQUAL(refusal(t).code, errc::not_found);
  CAF_CHECK_EQUAL(processes.running(), 0u);
  CAF_CHECK(told.empty());
}

CAF_TEST(a pod that has ended is neither found nor given again) {
  begin();
  auto id = occupied();
  processes.die(id);
  run();
  CAF_CHECK_EQUAL(refusal(find_slot(slot)).code, errc::not_found);
  CAF_CHECK(occupants().empty());
  auto next = occupied();
  CAF_CHECK(next != id);
  CAF_CHECK(processes.lives(next));
}

CAF_TEST(a program that is gone before it is on disk occupies no slot) {
  begin();
  auto order = order_of("crew-3", "w:/a");
  order.kind = pod_class::plain;
  auto t = spawn_slot(slot, order);
  save();
  hear();
  processes.end(processes.pods.begin()->second.who,
                {process_exit::manner::exited, 3});
  run();
  CAF_CHECK_EQUAL(refusal(t).code, errc::program_failed);
  CAF_CHECK_EQUAL(refusal(find_slot(slot)).code, errc::not_found);
  CAF_CHECK(changes() == changes_t{slot_change::ended});
}

CAF_TEST(the pod of a slot that takes no task can be stopped) {
  begin();
  processes.on_start = [](fake_pod& x) { x.is_busy = true; };
  auto t = spawn_slot(slot, order_of("crew-3", "w:/a", "begin"));
  run();
  CAF_CHECK_EQUAL(refusal(t).code, errc::busy);
  CAF_CHECK(refusal(t).message.find("remains") == std::string::npos);
  CAF_CHECK_EQUAL(processes.running(), 1u);
  auto stopped = stop_slot(slot);
  run();
  CAF_CHECK(is_answered(stopped));
  CAF_CHECK_EQUAL(processes.running(), 0u);
}

// -- what is told -------------------------------------------------------------

CAF_TEST(a pod that ends by itself has ended and says how) {
  for (int code : {0, 3}) {
    fixture x;
    x.begin();
    auto id = x.occupied();
    x.processes.end(x.pod_at(id).who, {process_exit::manner::exited, code});
    x.run();
    CAF_REQUIRE_EQUAL(x.told.size(), 1u);
    CAF_CHECK(x.told[0].slot == x.slot);
    CAF_CHECK(x.told[0].what == slot_change::ended);
    CAF_CHECK(x.told[0].why.message.find(std::to_string(code))
              != std::string::npos);
  }
}

CAF_TEST(a pod that is stopped is released whoever asks for that) {
  for (bool by_client : {false, true}) {
    fixture x;
    x.begin();
    x.occupied();
    if (by_client)
      x.stop("crew-3");
    else
      x.stop_slot(x.slot);
    CAF_CHECK(x.told.empty());
    x.run();
    CAF_CHECK(x.changes() == changes_t{slot_change::released});
  }
}

CAF_TEST(a stop that comes behind the end of a pod does not release it) {
  begin();
  auto id = occupied();
  processes.leave_behind(id);
  processes.die(id);
  run();
  // What it has left behind ends first, and its slot is not free before.
  CAF_CHECK(told.empty());
  auto t = stop_slot(slot);
  advance(1s);
  CAF_CHECK(is_answered(t));
  CAF_CHECK(changes() == changes_t{slot_change::ended});
}

CAF_TEST(a pod whose remains do not end is unhealthy) {
  begin();
  auto id = occupied();
  sweep_fails = failure{errc::internal, "no /proc"};
  processes.die(id);
  run();
  advance(settings.stop.kill + 1s);
  CAF_CHECK(changes() == changes_t{slot_change::unhealthy});
  sweep_fails.reset();
  advance(1s);
  CAF_CHECK(changes() == changes_t{slot_change::ended});
}

CAF_TEST(a pod that does not answer behind a restart has ended) {
  begin();
  auto id = occupied();
  pod_at(id).is_silent = true;
  restart();
  load();
  auto t = find_slot(slot);
  hear();
  CAF_CHECK(!is_answered(t));
  advance(settings.probe_timeout);
  CAF_CHECK_EQUAL(get<pod::reply_pod>(t).pod.id, id);
  CAF_CHECK(!processes.lives(id));
  CAF_CHECK_EQUAL(changes().back(), slot_change::ended);
}

CAF_TEST(a pod that loses its connection is unhealthy until it answers again) {
  begin();
  auto id = occupied();
  cut_off(id);
  CAF_CHECK(changes() == changes_t{slot_change::unhealthy});
  tick();
  advance(settings.probe_timeout);
  CAF_CHECK(told.empty());
  pod_at(id).is_silent = false;
  tick();
  run();
  CAF_CHECK_EQUAL(phase("crew-3"), pod_phase::ready);
  CAF_CHECK(changes() == changes_t{slot_change::healthy});
}

CAF_TEST(an unreachable pod is found and said to be unhealthy) {
  begin();
  auto id = occupied();
  cut_off(id);
  told.clear();
  // Whoever asks hears of the pod first.
  auto t = find_slot(slot);
  CAF_CHECK_EQUAL(get<pod::reply_pod>(t).pod.id, id);
  CAF_CHECK(changes() == changes_t{slot_change::unhealthy});
  spawn(order_of("b", "w:/b"));
  CAF_REQUIRE(out);
  auto effects = table->find_slot(++tickets, slot);
  CAF_REQUIRE_EQUAL(effects.size(), 2u);
  CAF_CHECK(std::holds_alternative<pod::reply_pod>(effects[0]));
  CAF_CHECK(std::holds_alternative<pod::tell>(effects[1]));
}

CAF_TEST(nothing is told once the node stops) {
  begin();
  auto id = occupied();
  // It has ended, and nobody has heard of it yet.
  processes.die(id);
  shut_down();
  run();
  probe_often(5);
  CAF_CHECK(told.empty());
}

CAF_TEST(pods in no group are no news) {
  begin();
  auto id = spawned("a", "w:/a");
  cut_off(id);
  processes.die(id);
  run();
  spawned("b", "w:/b");
  stop("b");
  run();
  CAF_CHECK(told.empty());
}

// -- the watchdog -------------------------------------------------------------

CAF_TEST(pods are asked when it is time and not before) {
  begin();
  occupied();
  spawned("b", "w:/b");
  CAF_CHECK_EQUAL(get<pod::reply_count>(probe()).count, 2u);
  CAF_CHECK_EQUAL(get<pod::reply_count>(probe()).count, 0u);
  advance(settings.ping_interval - 1ms);
  CAF_CHECK_EQUAL(get<pod::reply_count>(probe()).count, 0u);
  advance(1ms);
  CAF_CHECK_EQUAL(get<pod::reply_count>(probe()).count, 2u);
  probe_often(10);
  CAF_CHECK_EQUAL(phase("b"), pod_phase::ready);
  CAF_CHECK(told.empty());
  CAF_CHECK(warnings.empty());
}

CAF_TEST(a pod that misses three pings is unreachable and is left alone) {
  begin();
  auto id = occupied();
  processes.silence(id);
  probe_often(3);
  CAF_CHECK_EQUAL(phase("crew-3"), pod_phase::ready);
  CAF_CHECK(told.empty());
  probe_often(1);
  CAF_CHECK_EQUAL(phase("crew-3"), pod_phase::unreachable);
  CAF_REQUIRE_EQUAL(told.size(), 1u);
  CAF_CHECK(told[0].what == slot_change::unhealthy);
  CAF_CHECK(told[0].why.message.find("no ping for 6000 ms")
            != std::string::npos);
  CAF_REQUIRE_EQUAL(warnings.size(), 1u);
  CAF_CHECK(warnings[0].find("'crew-3'") != std::string::npos);
  CAF_CHECK_EQUAL(table->counters().hung, 1u);
  // It is told once, is asked no more, and nobody else is connected to it.
  auto asked_so_far = sockets.sent.size();
  auto connected = sockets.connected.size();
  for (int i = 0; i < 3; ++i) {
    tick();
    advance(settings.ping_interval);
    CAF_CHECK_EQUAL(get<pod::reply_count>(probe()).count, 0u);
    run();
  }
  CAF_CHECK_EQUAL(told.size(), 1u);
  CAF_CHECK_EQUAL(sockets.sent.size(), asked_so_far);
  CAF_CHECK_EQUAL(sockets.connected.size(), connected);
  CAF_CHECK(signals_to(pod_at(id).who).empty());
  CAF_CHECK(processes.lives(id));
}

CAF_TEST(a hung pod in no group is named and left alone) {
  begin();
  auto id = spawned("a", "w:/a");
  processes.silence(id);
  probe_often(10);
  CAF_CHECK_EQUAL(phase("a"), pod_phase::unreachable);
  CAF_CHECK_EQUAL(warnings.size(), 1u);
  CAF_CHECK(told.empty());
  CAF_CHECK(signals_to(pod_at(id).who).empty());
}

CAF_TEST(a hung pod is ready again when it says anything) {
  begin();
  auto id = occupied();
  pod_at(id).is_silent = true;
  probe_often(4);
  told.clear();
  processes.say(id, pod::other{});
  processes.end_turn(id);
  run();
  CAF_CHECK_EQUAL(phase("crew-3"), pod_phase::ready);
  CAF_CHECK_EQUAL(view("crew-3").turns, 1u);
  CAF_CHECK(changes() == changes_t{slot_change::healthy});
  // It has all of its time again.
  probe_often(3);
  CAF_CHECK_EQUAL(phase("crew-3"), pod_phase::ready);
  probe_often(1);
  CAF_CHECK(changes() == changes_t{slot_change::unhealthy});
}

CAF_TEST(whatever a pod says is a sign of life) {
  begin();
  auto id = occupied();
  pod_at(id).is_silent = true;
  for (int i = 0; i < 5; ++i) {
    probe_often(3);
    processes.end_turn(id);
    run();
  }
  CAF_CHECK_EQUAL(phase("crew-3"), pod_phase::ready);
  CAF_CHECK(told.empty());
}

CAF_TEST(a hung pod can be stopped) {
  begin();
  auto id = occupied();
  processes.silence(id);
  probe_often(4);
  told.clear();
  auto t = stop_slot(slot);
  advance(settings.stop.ask + settings.stop.terminate);
  CAF_CHECK(is_answered(t));
  CAF_CHECK((signals_to(pod_at(id).who) == std::vector{SIGTERM, SIGKILL}));
  CAF_CHECK(changes() == changes_t{slot_change::released});
}

CAF_TEST(a hung pod that loses its connection is looked for again) {
  begin();
  auto id = occupied();
  pod_at(id).is_silent = true;
  probe_often(4);
  told.clear();
  sockets.hang_up(connection_of(id));
  run();
  CAF_CHECK(told.empty());
  pod_at(id).is_silent = false;
  tick();
  run();
  CAF_CHECK_EQUAL(phase("crew-3"), pod_phase::ready);
  CAF_CHECK(changes() == changes_t{slot_change::healthy});
  probe_often(10);
  CAF_CHECK(told.empty());
}

CAF_TEST(a new connection is that of a pod once its ping is answered) {
  begin();
  auto id = occupied();
  pod_at(id).is_silent = true;
  sockets.hang_up(connection_of(id));
  run();
  told.clear();
  processes.end_turn(id);
  run();
  CAF_CHECK_EQUAL(phase("crew-3"), pod_phase::unreachable);
  CAF_CHECK(told.empty());
}

CAF_TEST(programs that do not listen are not asked) {
  begin();
  auto order = order_of("crew-3", "w:/a");
  order.kind = pod_class::plain;
  occupied(order);
  CAF_CHECK_EQUAL(get<pod::reply_count>(probe()).count, 0u);
  probe_often(10);
  CAF_CHECK_EQUAL(phase("crew-3"), pod_phase::ready);
}

CAF_TEST_FIXTURE_SCOPE_END()
