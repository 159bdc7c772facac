// SPDX-License-Identifier: Apache-2.0

// Groups in a whole node, whose workers alone are scripted.

#define CAF_SUITE recovery.groups

#include "tests/support/node_bench.hpp"
#include "tests/support/suite.hpp"

#include "messages/recovery_json.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

using namespace muster;
using namespace muster::test;
using namespace std::chrono_literals;

namespace {

constexpr const char* question = R"(return alc.llm("question"))";

struct fixture : node_bench {
  slot_group_definition what;

  fixture() {
    settings.tick.interval = 500ms;
    what.name = "crew";
    what.slots = 3;
    require_start();
  }

  void restart() {
    kill();
    require_start();
  }

  expected<slot_group_view> create(const std::string& request_id = {}) {
    return ask<slot_group_view>(group_atom::value, create_atom::value, what,
                                request_id);
  }

  expected<slot_group_view> shown(const std::string& name = "crew") {
    return ask<slot_group_view>(group_atom::value, show_atom::value, name);
  }

  expected<slot_group_view> scale(std::uint8_t count) {
    return ask<slot_group_view>(group_atom::value, scale_atom::value,
                                std::string{"crew"}, count);
  }

  expected<slot_group_view> reset() {
    return ask<slot_group_view>(group_atom::value, reset_atom::value,
                                std::string{"crew"});
  }

  expected<caf::ok_atom> remove() {
    return ask<caf::ok_atom>(group_atom::value, delete_atom::value,
                             std::string{"crew"});
  }

  slot_view slot(std::size_t index) {
    auto x = shown();
    if (!x)
      CAF_FAIL(x.error().message);
    CAF_REQUIRE(index < x->slots.size());
    return x->slots[index];
  }

  std::vector<slot_view> slots() {
    auto x = shown();
    CAF_REQUIRE(x);
    return x->slots;
  }

  std::size_t healthy() {
    auto x = shown();
    CAF_REQUIRE(x);
    return static_cast<std::size_t>(
      std::count_if(x->slots.begin(), x->slots.end(),
                    [](auto& y) { return y.health == slot_health::healthy; }));
  }

  /// The workers of all slots.
  std::set<std::string> occupants() {
    std::set<std::string> out;
    auto x = shown();
    if (!x)
      CAF_FAIL(x.error().message);
    for (auto& y : x->slots)
      if (!y.occupant.empty())
        out.insert(y.occupant);
    return out;
  }

  std::vector<worker_view> pool() {
    auto x = ask<std::vector<worker_view>>(pool_atom::value, list_atom::value);
    CAF_REQUIRE(x);
    return *x;
  }

  /// A full group.
  void begin(std::uint8_t count = 3) {
    what.slots = count;
    CAF_REQUIRE(create());
    advance(1s);
    CAF_REQUIRE_EQUAL(healthy(), std::size_t{count});
  }

  json document() {
    return json::parse(*disk.contents("/state/groups/crew.json"));
  }

  session_spec in_worker() {
    session_spec out;
    out.code = question;
    out.isolation = session_isolation::worker;
    return out;
  }
};

} // namespace

CAF_TEST_FIXTURE_SCOPE(slot_group_tests, fixture)

CAF_TEST(a group is on disk before anybody is told and is filled behind that) {
  auto made = create();
  CAF_REQUIRE(made);
  CAF_CHECK_EQUAL(made->slots.size(), 3u);
  CAF_CHECK_EQUAL(document()["name"], "crew");
  advance(1s);
  CAF_CHECK_EQUAL(healthy(), 3u);
  CAF_CHECK_EQUAL(pool().size(), 3u);
  for (auto& x : slots()) {
    CAF_CHECK(x.pid != 0);
    CAF_CHECK(!x.session);
    CAF_CHECK_EQUAL(x.restarts, 0u);
  }
  auto all
    = ask<std::vector<slot_group_view>>(group_atom::value, list_atom::value);
  CAF_REQUIRE(all);
  CAF_CHECK_EQUAL(all->size(), 1u);
  CAF_CHECK_EQUAL(status()["recovery"]["groups"][0]["healthy"], 3);
}

CAF_TEST(a repeat makes no second group and another of its name is refused) {
  auto first = create("r-1");
  CAF_REQUIRE(first);
  CAF_REQUIRE(create("r-1"));
  CAF_CHECK_EQUAL(create("r-2").error().code, errc::conflict);
  CAF_CHECK_EQUAL(create().error().code, errc::conflict);
  auto asked = what;
  ++what.policy.max_restarts;
  CAF_CHECK_EQUAL(create("r-1").error().code, errc::conflict);
  what = asked;
  CAF_REQUIRE(scale(1));
  restart();
  CAF_CHECK(create("r-1"));
  CAF_CHECK_EQUAL(create("r-2").error().code, errc::conflict);
  ++what.policy.max_restarts;
  CAF_CHECK_EQUAL(create("r-1").error().code, errc::conflict);
}

CAF_TEST(what makes no sense is refused and changes nothing) {
  what.name = "a/b";
  CAF_CHECK_EQUAL(create().error().code, errc::invalid_argument);
  what.name = std::string(45, 'a');
  CAF_CHECK_EQUAL(create().error().code, errc::invalid_argument);
  what.name = "crew";
  what.pod.command = {"ls"};
  CAF_CHECK_EQUAL(create().error().code, errc::invalid_argument);
  what.pod = {};
  what.kind = slot_kind::pod;
  CAF_CHECK_EQUAL(create().error().code, errc::invalid_argument);
  what.pod.scope = {{"/data", permission::write, true}};
  CAF_CHECK_EQUAL(create().error().code, errc::invalid_argument);
  CAF_CHECK_EQUAL(shown().error().code, errc::not_found);
  CAF_CHECK(!disk.contents("/state/groups/crew.json"));
}

CAF_TEST(a request id of a client never is that of a slot) {
  CAF_CHECK_EQUAL(create("slot:g-1:0:1").error().code, errc::invalid_argument);
  auto x = ask<worker_view>(pool_atom::value, spawn_atom::value,
                            std::string{"slot:g-1:0:1"});
  CAF_CHECK_EQUAL(x.error().code, errc::invalid_argument);
}

CAF_TEST(what dies is back behind its delay and its slot says so) {
  begin();
  auto old = slot(1);
  workers->die(old.occupant);
  run();
  auto lost = slot(1);
  CAF_CHECK(lost.health == slot_health::backing_off);
  CAF_CHECK(lost.backoff_ms > 0);
  CAF_CHECK(lost.occupant.empty());
  CAF_CHECK(!lost.last_error.empty());
  CAF_CHECK_EQUAL(healthy(), 2u);
  advance(1s);
  auto back = slot(1);
  CAF_CHECK(back.health == slot_health::healthy);
  CAF_CHECK_EQUAL(back.restarts, 1u);
  CAF_CHECK(back.occupant != old.occupant);
  CAF_CHECK(back.term > old.term);
  CAF_CHECK_EQUAL(pool().size(), 3u);
  CAF_CHECK_EQUAL(status()["recovery"]["recovered"], 1);
}

CAF_TEST(without a delay what dies is back before the next beat) {
  settings.tick.interval = 1h;
  restart();
  what.policy.initial = 0ms;
  what.slots = 2;
  CAF_REQUIRE(create());
  advance(100ms);
  CAF_REQUIRE_EQUAL(healthy(), 2u);
  auto old = occupants();
  workers->die(*old.begin());
  advance(100ms);
  CAF_CHECK_EQUAL(healthy(), 2u);
  CAF_CHECK(!occupants().contains(*old.begin()));
}

CAF_TEST(the end of a delay is not missed between two beats) {
  settings.tick.interval = 1h;
  restart();
  begin();
  workers->die(slot(0).occupant);
  run();
  advance(600ms);
  CAF_CHECK_EQUAL(healthy(), 3u);
}

CAF_TEST(a group takes no more than its share in one pass) {
  settings.tick.interval = 1h;
  settings.recovery.pass_gap = 10min;
  restart();
  what.slots = 10;
  CAF_REQUIRE(create());
  run();
  CAF_CHECK_EQUAL(pool().size(), 4u);
  CAF_REQUIRE(ask<recovery_pass>(recovery_atom::value, run_atom::value));
  CAF_CHECK_EQUAL(pool().size(), 8u);
}

CAF_TEST(a worker that hangs is unhealthy and gone and replaced) {
  begin();
  auto old = slot(2);
  workers->hang(old.occupant);
  // Three pings of two seconds without an answer.
  advance(5s);
  CAF_CHECK_EQUAL(slot(2).occupant, old.occupant);
  advance(5s);
  auto back = slot(2);
  CAF_CHECK(back.health == slot_health::healthy);
  CAF_CHECK(back.occupant != old.occupant);
  CAF_CHECK_EQUAL(pool().size(), 3u);
  CAF_CHECK_EQUAL(status()["pool"]["hung"], 1);
}

CAF_TEST(a session takes a worker of the group and its end fills the slot) {
  begin();
  auto before = occupants();
  auto paused
    = ask<session_view>(start_atom::value, in_worker(), std::string{});
  CAF_REQUIRE(paused);
  CAF_CHECK_EQUAL(pool().size(), 3u);
  auto all = slots();
  auto used = std::find_if(all.begin(), all.end(),
                           [](auto& x) { return x.session.has_value(); });
  CAF_REQUIRE(used != all.end());
  CAF_CHECK_EQUAL(*used->session, paused->session_id);
  CAF_REQUIRE(feed(paused->session_id, "", "answer"));
  advance(1s);
  auto back = slot(used->index);
  CAF_CHECK(back.health == slot_health::healthy);
  CAF_CHECK(back.occupant != used->occupant);
  // That was no failure.
  CAF_CHECK_EQUAL(back.restarts, 0u);
  CAF_CHECK(back.last_error.empty());
}

CAF_TEST(a session loses nothing when its worker dies in a group) {
  begin();
  auto paused
    = ask<session_view>(start_atom::value, in_worker(), std::string{});
  CAF_REQUIRE(paused);
  for (auto& sid : occupants())
    workers->die(sid);
  advance(1s);
  CAF_CHECK_EQUAL(healthy(), 3u);
  auto done = feed(paused->session_id, "", "answer");
  CAF_REQUIRE(done);
  CAF_CHECK_EQUAL(done->result, "\"answer\"");
}

CAF_TEST(a worker of a group is not too long unused) {
  begin();
  auto before = occupants();
  advance(2h);
  CAF_CHECK(occupants() == before);
}

CAF_TEST(a node that comes back has the same group with the same workers) {
  begin();
  auto before = occupants();
  restart();
  advance(1s);
  CAF_CHECK(occupants() == before);
  CAF_CHECK_EQUAL(pool().size(), 3u);
  for (auto& x : slots())
    CAF_CHECK_EQUAL(x.restarts, 0u);
}

CAF_TEST(what died with the node is replaced and nothing is doubled) {
  begin();
  auto old = slot(0).occupant;
  kill();
  workers->die(old);
  require_start();
  advance(2s);
  CAF_CHECK_EQUAL(healthy(), 3u);
  CAF_CHECK(!occupants().contains(old));
  CAF_CHECK_EQUAL(pool().size(), 3u);
}

CAF_TEST(
  a node that dies at any moment of a start neither forgets nor doubles) {
  what.policy.initial = 0ms;
  CAF_REQUIRE(create());
  // As many messages as it takes to fill the group, and one less each time.
  auto needed = run();
  for (std::size_t n = 0; n < needed + 50; ++n) {
    kill();
    CAF_REQUIRE(start());
    auto gone = send<pool_stop_reply>(pool_atom::value, stop_atom::value,
                                      std::string{});
    run(n);
    restart();
    advance(3s);
    CAF_CHECK_EQUAL(healthy(), 3u);
    CAF_CHECK_EQUAL(pool().size(), 3u);
  }
}

CAF_TEST(an ordered stop leaves the workers where they are) {
  begin();
  auto before = occupants();
  stop();
  require_start();
  advance(1s);
  CAF_CHECK(occupants() == before);
}

CAF_TEST(what fails too often waits for a reset) {
  what.policy.initial = 100ms;
  what.policy.max_restarts = 3;
  what.policy.gives_up = true;
  begin(1);
  for (int i = 0; i < 3; ++i) {
    workers->die(slot(0).occupant);
    advance(2s);
  }
  CAF_CHECK(slot(0).health == slot_health::failed);
  restart();
  advance(1h);
  CAF_CHECK(slot(0).health == slot_health::failed);
  CAF_CHECK(pool().empty());
  CAF_REQUIRE(reset());
  advance(1s);
  CAF_CHECK(slot(0).health == slot_health::healthy);
}

CAF_TEST(without a limit it is tried for ever) {
  what.policy.initial = 1ms;
  what.policy.max = 1ms;
  what.policy.max_restarts = 0;
  begin(1);
  for (int i = 0; i < 20; ++i) {
    workers->die(slot(0).occupant);
    advance(1s);
    CAF_REQUIRE(slot(0).health == slot_health::healthy);
  }
  CAF_CHECK_EQUAL(slot(0).restarts, 20u);
}

CAF_TEST(a group grows and shrinks from its end) {
  begin();
  auto kept = slot(0).occupant;
  CAF_REQUIRE(scale(5));
  advance(1s);
  CAF_CHECK_EQUAL(healthy(), 5u);
  CAF_REQUIRE(scale(1));
  advance(15s);
  CAF_CHECK_EQUAL(shown()->slots.size(), 1u);
  CAF_CHECK_EQUAL(slot(0).occupant, kept);
  CAF_CHECK_EQUAL(pool().size(), 1u);
  restart();
  advance(1s);
  CAF_CHECK_EQUAL(shown()->slots.size(), 1u);
  CAF_CHECK_EQUAL(slot(0).occupant, kept);
}

CAF_TEST(a group that is deleted takes all with it) {
  begin();
  auto gone = send<caf::ok_atom>(group_atom::value, delete_atom::value,
                                 std::string{"crew"});
  advance(15s);
  CAF_REQUIRE(*gone);
  CAF_CHECK(**gone);
  CAF_CHECK(pool().empty());
  CAF_CHECK_EQUAL(shown().error().code, errc::not_found);
  CAF_CHECK(!disk.contents("/state/groups/crew.json"));
  auto handlers
    = ask<std::vector<handler_view>>(recovery_atom::value, list_atom::value);
  CAF_CHECK(handlers->empty());
  // Its name is free, and nothing of the first one is mistaken for the second.
  begin();
  restart();
  CAF_CHECK_EQUAL(healthy(), 3u);
}

CAF_TEST(a deletion that a death interrupts goes on) {
  begin();
  send<caf::ok_atom>(group_atom::value, delete_atom::value,
                     std::string{"crew"});
  while (run(1) != 0 && !document()["deleted"].get<bool>())
    ;
  restart();
  advance(20s);
  CAF_CHECK_EQUAL(shown().error().code, errc::not_found);
  CAF_CHECK(pool().empty());
}

CAF_TEST(a document that cannot be read is left as it is and named) {
  begin();
  kill();
  int others = 0;
  for (std::string text : {"{", R"({"format":1})", R"({"format":9})"}) {
    disk.remove("/state/groups/crew.json.broken");
    disk.set_contents("/state/groups/crew.json", text);
    require_start();
    auto code = shown().error().code;
    CAF_CHECK(code == errc::registry_corrupted || code == errc::newer_format);
    CAF_CHECK_EQUAL(create().error().code, code);
    CAF_CHECK_EQUAL(*disk.contents("/state/groups/crew.json"), text);
    CAF_CHECK_EQUAL(*disk.contents("/state/groups/crew.json.broken"), text);
    auto why = shown().error().message;
    CAF_CHECK(why.find("'/state/groups/crew.json'") != std::string::npos);
    auto all
      = ask<std::vector<slot_group_view>>(group_atom::value, list_atom::value);
    CAF_REQUIRE(all);
    CAF_CHECK(std::any_of(all->begin(), all->end(), [&](auto& x) {
      return x.definition.name == "crew" && x.error == why;
    }));
    advance(1s);
    CAF_CHECK_EQUAL(status()["recovery"]["broken"][0]["name"], "crew");
    // Others are not concerned.
    what.name = fmt::format("other-{}", ++others);
    CAF_CHECK(create());
    what.name = "crew";
    kill();
  }
}

CAF_TEST(without the roll of its workers a group is shown and not changed) {
  begin();
  auto old = occupants();
  kill();
  auto roll = *disk.contents("/state/pool/registry.json");
  disk.set_contents("/state/pool/registry.json", "{");
  require_start();
  advance(1s);
  auto before = document();
  for (auto code :
       {scale(1).error().code, reset().error().code, remove().error().code})
    CAF_CHECK_EQUAL(code, errc::registry_corrupted);
  what.name = "other";
  CAF_CHECK_EQUAL(create().error().code, errc::registry_corrupted);
  what.name = "crew";
  CAF_CHECK_EQUAL(shown("other").error().code, errc::not_found);
  CAF_CHECK(document() == before);
  CAF_CHECK(slot(0).last_error.find("registry.json") != std::string::npos);
  kill();
  disk.set_contents("/state/pool/registry.json", roll);
  require_start();
  advance(1s);
  CAF_CHECK_EQUAL(healthy(), 3u);
  CAF_CHECK(occupants() == old);
}

CAF_TEST(a full disk refuses what is asked of a group and nothing changes) {
  begin();
  auto old = occupants();
  disk.capacity = disk.used();
  for (auto code :
       {scale(1).error().code, scale(9).error().code, remove().error().code})
    CAF_CHECK_EQUAL(code, errc::storage_full);
  advance(10s);
  CAF_CHECK(occupants() == old);
  CAF_CHECK_EQUAL(pool().size(), 3u);
  CAF_CHECK_EQUAL(shown()->slots.size(), 3u);
  disk.capacity.reset();
  advance(10s);
  CAF_CHECK(occupants() == old);
  CAF_CHECK_EQUAL(shown()->slots.size(), 3u);
}

CAF_TEST(more workers than there can be are refused) {
  kill();
  settings.pool.max_workers = 4;
  require_start();
  begin();
  CAF_CHECK_EQUAL(scale(5).error().code, errc::too_large);
  CAF_REQUIRE(scale(4));
  what.name = "other";
  what.slots = 5;
  CAF_CHECK_EQUAL(create().error().code, errc::too_large);
}

CAF_TEST(a full disk refuses a group and keeps none) {
  disk.capacity = disk.used();
  CAF_CHECK_EQUAL(create().error().code, errc::storage_full);
  CAF_CHECK_EQUAL(shown().error().code, errc::not_found);
  disk.capacity.reset();
  begin();
}

CAF_TEST(a repeat of a group that the disk refuses is refused as well) {
  disk.capacity = disk.used();
  auto first = send<slot_group_view>(group_atom::value, create_atom::value,
                                     what, std::string{"r-1"});
  auto second = send<slot_group_view>(group_atom::value, create_atom::value,
                                      what, std::string{"r-1"});
  run();
  for (auto& x : {first, second}) {
    CAF_REQUIRE(*x);
    CAF_REQUIRE(!**x);
    CAF_CHECK_EQUAL((**x).error().code, errc::storage_full);
  }
}

CAF_TEST(a group that is not on disk is seen by nobody) {
  send<slot_group_view>(group_atom::value, create_atom::value, what,
                        std::string{});
  while (run(1) != 0 && !disk.contents("/state/groups/crew.json")) {
    auto& recovery
      = static_cast<
          recovery_registry_impl::stateful_pointer<recovery_registry_state>>(
          caf::actor_cast<caf::abstract_actor*>(parts().recovery))
          ->state;
    for (auto& [name, group] : recovery.groups)
      CAF_CHECK(!group.is_made);
  }
  run();
  CAF_CHECK(shown());
}

CAF_TEST(two who delete a group are both told that it is gone) {
  begin();
  auto remove_it = [&] {
    return send<caf::ok_atom>(group_atom::value, delete_atom::value,
                              std::string{"crew"});
  };
  auto first = remove_it();
  advance(5s);
  auto second = remove_it();
  auto reading = send<slot_group_view>(group_atom::value, show_atom::value,
                                       std::string{"crew"});
  advance(15s);
  CAF_REQUIRE(*first);
  CAF_CHECK(**first);
  CAF_REQUIRE(*second);
  CAF_CHECK(**second || (**second).error().code == errc::not_found);
  CAF_REQUIRE(*reading);
}

CAF_TEST(what a stop of the node interrupts is refused) {
  begin();
  for (auto& sid : occupants())
    workers->hang(sid);
  auto gone = send<caf::ok_atom>(group_atom::value, delete_atom::value,
                                 std::string{"crew"});
  run();
  CAF_REQUIRE(!*gone);
  stop();
  CAF_REQUIRE(*gone);
  CAF_CHECK_EQUAL((**gone).error().code, errc::shutting_down);
}

CAF_TEST(a deletion that nobody writes is not acknowledged) {
  for (std::size_t steps = 1; steps < 40; ++steps) {
    begin();
    auto gone = send<caf::ok_atom>(group_atom::value, delete_atom::value,
                                   std::string{"crew"});
    run(steps);
    caf::anon_send_exit(parts().persistence,
                        caf::exit_reason::unhandled_exception);
    run();
    auto is_acknowledged = *gone && **gone;
    restart();
    if (is_acknowledged)
      CAF_CHECK(!shown() || document()["deleted"].get<bool>());
    std::ignore = remove();
    advance(15s);
    CAF_REQUIRE(!shown());
  }
}

CAF_TEST(whoever asks a group that ends is answered) {
  for (std::size_t steps = 1; steps < 60; ++steps) {
    what.slots = 0;
    CAF_REQUIRE(create());
    auto name = std::string{"crew"};
    auto first
      = send<caf::ok_atom>(group_atom::value, delete_atom::value, name);
    run(steps);
    auto second
      = send<caf::ok_atom>(group_atom::value, delete_atom::value, name);
    auto view
      = send<slot_group_view>(group_atom::value, show_atom::value, name);
    auto list
      = send<std::vector<slot_group_view>>(group_atom::value, list_atom::value);
    advance(10s);
    CAF_REQUIRE(*first);
    CAF_CHECK(**first);
    CAF_REQUIRE(*second);
    CAF_CHECK(**second || (**second).error().code == errc::not_found);
    CAF_REQUIRE(*view);
    CAF_REQUIRE(*list);
    CAF_CHECK(**list);
  }
}

CAF_TEST(there is a limit to groups) {
  settings.recovery.max_groups = 1;
  restart();
  CAF_REQUIRE(create());
  what.name = "other";
  CAF_CHECK_EQUAL(create().error().code, errc::overloaded);
}

CAF_TEST_FIXTURE_SCOPE_END()
