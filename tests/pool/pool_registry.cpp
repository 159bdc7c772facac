// SPDX-License-Identifier: Apache-2.0

#define CAF_SUITE pool.registry

#include "tests/pool/registry_bench.hpp"

#include "actors/persistence/state_directory.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <set>

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

using namespace muster;
using namespace muster::test;
using namespace std::chrono_literals;

CAF_TEST_FIXTURE_SCOPE(registry_tests, registry_bench)

CAF_TEST(C01 no document is no worker) {
  begin();
  CAF_CHECK(listed().empty());
  CAF_CHECK(!disk.contents("/state/pool/registry.json"));
}

CAF_TEST(
  C01 N16 a broken document is the answer to all verbs and stays as it is) {
  for (std::string text : {"{\"sessions\":[", R"({"sessions":[{"sid":1}]})"}) {
    std::ignore = disk.make_folder("/state/pool");
    disk.remove("/state/pool/registry.json.broken");
    disk.set_contents("/state/pool/registry.json", text);
    start();
    // Also of those that come before it is read.
    auto early = spawn();
    run();
    CAF_CHECK_EQUAL(code(early), errc::registry_corrupted);
    auto listing
      = send<std::vector<worker_view>>(pool_atom::value, list_atom::value);
    auto late = spawn();
    auto taking = take("s-1");
    auto stopping = stop();
    auto collecting = collect();
    run();
    for (auto x : {code(listing), code(late), code(taking), code(stopping),
                   code(collecting)})
      CAF_CHECK_EQUAL(x, errc::registry_corrupted);
    CAF_CHECK_EQUAL(*disk.contents("/state/pool/registry.json"), text);
    CAF_CHECK_EQUAL(*disk.contents("/state/pool/registry.json.broken"), text);
    // All else that is on disk goes on, and the order to stop is obeyed.
    auto other = std::make_shared<bool>(false);
    system->spawn([other, to = storage](caf::event_based_actor* self) {
      self
        ->request(to, caf::infinite, save_atom::value, std::string{"x.json"},
                  std::string{"{}"})
        .then([=](caf::ok_atom) { *other = true; });
    });
    auto done = send<caf::ok_atom>(stop_atom::value);
    run();
    CAF_CHECK(*other);
    value(done);
    kill();
  }
}

CAF_TEST(C02 two writers lose nothing) {
  begin();
  std::vector<answer_ptr<worker_view>> all;
  for (int i = 0; i < 50; ++i)
    for (auto* writer : {"a", "b"})
      all.push_back(spawn(fmt::format("{}-{}", writer, i)));
  run();
  std::set<std::string> sids;
  for (auto& x : all)
    sids.insert(value(x).sid);
  CAF_CHECK_EQUAL(sids.size(), 100u);
  CAF_CHECK_EQUAL(document()["sessions"].size(), 100u);
  CAF_CHECK_EQUAL(listed().size(), 100u);
}

CAF_TEST(
  C02 N20 a loss of power at any operation leaves what was acknowledged) {
  begin();
  auto kept = spawned();
  kill();
  auto first = disk.operations();
  begin();
  spawned();
  auto needed = disk.operations() - first;
  kill();
  CAF_CHECK(needed > 10);
  for (std::uint64_t n = 1; n <= needed; ++n) {
    begin();
    auto limit = disk.operations() + n;
    disk.set_fault([&](disk_operation, const std::string&, std::uint64_t i) {
      return i >= limit ? EIO : 0;
    });
    auto x = spawn();
    run();
    auto acknowledged = *x && **x ? (***x).sid : std::string{};
    disk.set_fault(nullptr);
    kill();
    disk.cut_power();
    // The document is the old one or the new one, and never less than what
    // somebody was told.
    auto text = json::parse(*disk.contents("/state/pool/registry.json"));
    std::set<std::string> sids;
    for (auto& entry : text["sessions"])
      sids.insert(entry["sid"].get<std::string>());
    CAF_CHECK(sids.contains(kept));
    CAF_CHECK(acknowledged.empty() || sids.contains(acknowledged));
  }
}

CAF_TEST(a failed sync ends it all and the workers live on) {
  begin();
  auto sid = spawned();
  disk.set_fault([](disk_operation x, const std::string&, std::uint64_t) {
    return x == disk_operation::sync_folder ? EIO : 0;
  });
  auto x = take("s-1");
  run();
  CAF_CHECK(*x && !**x);
  disk.set_fault(nullptr);
  restart();
  CAF_CHECK(workers->lives(sid));
  CAF_CHECK_EQUAL(listed().size(), 1u);
}

CAF_TEST(a full disk refuses workers and recovers) {
  begin();
  auto kept = spawned();
  disk.capacity = disk.used();
  auto x = spawn();
  run();
  CAF_CHECK_EQUAL(code(x), errc::storage_full);
  CAF_CHECK_EQUAL(workers->living(), 1u);
  disk.capacity.reset();
  spawned();
  CAF_CHECK_EQUAL(document()["sessions"].size(), 2u);
}

CAF_TEST(C03 the dead go and the living stay) {
  std::ignore = disk.make_folder("/state/pool");
  auto alive = *workers->scripted_processes::start({}, [](auto) {});
  workers->restart_holder();
  auto entry = [](const std::string& sid, std::int64_t pid) {
    return fmt::format(R"({{"sid":"{}","pid":{},"sock":"/x","version":"1",)"
                       R"("created_at":"t"}})",
                       sid, pid);
  };
  disk.set_contents("/state/pool/registry.json",
                    fmt::format("{{\"sessions\":[{},{},{},{}]}}",
                                entry("alive", alive.pid), entry("dead", 999),
                                entry("zero", 0), entry("huge", 1ll << 40)));
  begin();
  auto all = listed();
  CAF_REQUIRE_EQUAL(all.size(), 1u);
  CAF_CHECK_EQUAL(all[0].sid, "alive");
  CAF_CHECK_EQUAL(document()["sessions"].size(), 1u);
  CAF_CHECK_EQUAL(warnings.size(), 3u); // two pids, and one that is silent
  workers->end(alive, {});
  auto x = collect();
  run();
  CAF_CHECK_EQUAL(value(x), std::vector<std::string>{"alive"});
  CAF_CHECK(document()["sessions"].empty());
}

CAF_TEST(C05 a node that dies at any moment of a spawn leaves nothing unknown) {
  // As many messages as a spawn takes, and one less each time.
  begin();
  auto x = take("s-1");
  auto needed = run();
  value(x);
  for (std::size_t n = 0; n < needed; ++n) {
    restart();
    auto gone = stop();
    run();
    value(gone);
    take("s-2");
    run(n);
    restart();
    // Who lives is known, and who is known lives.
    std::size_t known = 0;
    for (auto& worker : listed()) {
      CAF_CHECK(workers->lives(worker.sid));
      ++known;
    }
    CAF_CHECK_EQUAL(workers->living(), known);
    CAF_CHECK(document()["starting"].empty());
  }
}

CAF_TEST(C06 N12 N19 a worker that ends is in no list and its socket is gone) {
  begin();
  auto lease = leased("s-1");
  CAF_CHECK_EQUAL(listed().at(0).phase, worker_phase::busy);
  CAF_CHECK_EQUAL(*listed().at(0).session, "s-1");
  CAF_CHECK_EQUAL(*listed().at(0).rss_bytes, 4'096u);
  CAF_CHECK_EQUAL(*listed().at(0).cpu_ms, 20u);
  workers->die(lease.sid);
  run();
  CAF_CHECK(listed().empty());
  CAF_CHECK(document()["sessions"].empty());
  CAF_CHECK_EQUAL(removed, std::vector<std::string>{"/state/pool/sockets/"
                                                    + lease.sid + ".sock"});
}

CAF_TEST(N12 every way out takes the entry and the socket along) {
  settings.max_starts_at_once = 100;
  begin();
  // Refused, dead before it is ready, silent, released, stopped, dead.
  workers->scripts.push_back({failure{errc::not_found, "none"}, {}, {}});
  auto a = spawn();
  run();
  workers->scripts.push_back({{}, std::nullopt, obedience::ends});
  auto b = spawn();
  run();
  advance(settings.spawn_timeout);
  workers->on_start = [](auto& x) { x.is_silent = true; };
  auto c = spawn();
  run();
  advance(settings.greet_timeout);
  workers->on_start = nullptr;
  CAF_CHECK_EQUAL(code(a), errc::not_found);
  CAF_CHECK_EQUAL(code(b), errc::timeout);
  CAF_CHECK_EQUAL(code(c), errc::timeout);
  auto lease = leased("s-1");
  caf::anon_send(registry, release_atom::value, lease.sid, std::string{"s-1"});
  run();
  spawned();
  auto d = stop();
  run();
  CAF_CHECK_EQUAL(value(d).stopped.size(), 1u);
  workers->die(spawned());
  run();
  CAF_CHECK(document()["sessions"].empty());
  CAF_CHECK(document()["starting"].empty());
  CAF_CHECK_EQUAL(removed.size(), 6u);
  CAF_CHECK_EQUAL(workers->living(), 0u);
  CAF_CHECK_EQUAL(workers->size(), 0u);
  CAF_CHECK_EQUAL(workers->sockets->size(), 0u);
}

CAF_TEST(C10 stops are answered by what they did) {
  begin();
  auto a = spawned();
  auto b = spawned();
  auto none = stop("p-unknown");
  auto one = stop(a);
  run();
  CAF_CHECK(value(none) == pool_stop_reply{});
  CAF_CHECK_EQUAL(value(one).stopped, std::vector<std::string>{a});
  CAF_CHECK_EQUAL(document()["sessions"].size(), 1u);
  workers->silence(b);
  auto all = stop();
  run();
  CAF_CHECK(!*all);
  advance(5s);
  CAF_CHECK_EQUAL(value(all).stopped, std::vector<std::string>{b});
  CAF_CHECK(document()["sessions"].empty());
}

CAF_TEST(C11 N16 a state directory that somebody holds is said to be at once) {
  char name[] = "/tmp/muster-test-XXXXXX";
  std::string folder = ::mkdtemp(name);
  auto held = state_directory::open(folder);
  CAF_REQUIRE(held);
  auto second = state_directory::open(folder);
  CAF_REQUIRE(!second);
  CAF_CHECK_EQUAL(second.error().code, errc::in_use);
  auto pid = std::to_string(::getpid());
  CAF_CHECK(second.error().message.find(pid) != std::string::npos);
  std::filesystem::remove_all(folder);
}

CAF_TEST(N15 a pid that was given to another process is left alone) {
  begin();
  auto sid = spawned();
  auto old = workers->workers.at(sid).who;
  workers->die(sid);
  kill();
  workers->next_pid = old.pid;
  auto stranger = *workers->scripted_processes::start({}, [](auto) {});
  CAF_REQUIRE_EQUAL(stranger.pid, old.pid);
  workers->restart_holder();
  disk.set_contents("/state/pool/registry.json",
                    *disk.contents("/state/pool/registry.json"));
  begin();
  CAF_CHECK(listed().empty());
  auto x = stop();
  run();
  value(x);
  CAF_CHECK(*workers->is_alive(stranger));
  for (auto& [to, number] : workers->signals)
    CAF_CHECK(to != stranger);
}

CAF_TEST(N18 a spawn that takes too long is ended and said so) {
  begin();
  workers->scripts.push_back({{}, std::nullopt, obedience::ignores_requests});
  auto x = spawn();
  run();
  advance(settings.spawn_timeout - 100ms);
  CAF_CHECK(!*x);
  advance(100ms);
  CAF_CHECK_EQUAL(code(x), errc::timeout);
  CAF_CHECK_EQUAL(workers->living(), 0u);
}

CAF_TEST(two hundred at once) {
  settings.max_starts_at_once = 10;
  begin();
  std::vector<answer_ptr<worker_lease>> all;
  for (int i = 0; i < 200; ++i)
    all.push_back(take(fmt::format("s-{}", i)));
  run();
  // Fifty in a second, and ten at once.
  advance(3'800ms);
  std::set<std::string> sids;
  for (auto& x : all)
    sids.insert(value(x).sid);
  CAF_CHECK_EQUAL(sids.size(), 200u);
  restart();
  CAF_CHECK_EQUAL(listed().size(), 200u);
  auto gone = stop();
  run();
  CAF_CHECK_EQUAL(value(gone).stopped.size(), 200u);
  CAF_CHECK_EQUAL(workers->size(), 0u);
  CAF_CHECK_EQUAL(workers->sockets->size(), 0u);
}

CAF_TEST(many workers are asked whether they are there and none is left out) {
  begin();
  std::vector<answer_ptr<worker_view>> all;
  for (int i = 0; i < 100; ++i)
    all.push_back(spawn());
  run();
  // A few more than it takes to be killed.
  for (int i = 0; i < 5; ++i) {
    advance(settings.ping_interval);
    auto asked = send<std::uint64_t>(probe_atom::value);
    run();
    CAF_CHECK_EQUAL(value(asked), 100u);
  }
  CAF_CHECK_EQUAL(workers->living(), 100u);
  CAF_CHECK(warnings.empty());
}

CAF_TEST(the node finds its workers again and goes on with them) {
  begin();
  auto a = leased("s-1", 5);
  auto b = leased("s-2", 9);
  restart();
  auto again = take("s-1", 5);
  run();
  CAF_CHECK_EQUAL(value(again).sid, a.sid);
  CAF_CHECK(value(again).has_session);
  // The connection is the session's from now on.
  std::vector<std::string> heard;
  auto connection = value(again).connection;
  CAF_CHECK(workers->sockets->listen(connection, [&](socket_event x) {
    if (auto* frame = std::get_if<socket_frame>(&x))
      heard.push_back(frame->text);
  }));
  workers->sockets->say(connection, encode(worker_reply{worker_working{}}));
  run();
  CAF_CHECK_EQUAL(heard.size(), 1u);
  CAF_CHECK(leased("s-2", 9).sid == b.sid);
}

CAF_TEST(an ordered stop lets workers live) {
  begin();
  auto a = leased("s-1", 5);
  auto done = send<caf::ok_atom>(stop_atom::value);
  run();
  value(done);
  CAF_CHECK_EQUAL(code([&] {
                    auto x = spawn();
                    run();
                    return x;
                  }()),
                  errc::shutting_down);
  CAF_CHECK_EQUAL(workers->sockets->size(), 0u);
  restart();
  CAF_CHECK_EQUAL(leased("s-1", 5).sid, a.sid);
}

CAF_TEST(its counters say how it is doing) {
  begin();
  spawned();
  caf::anon_send(registry, report_atom::value);
  run();
  auto x = json::parse(report);
  CAF_CHECK_EQUAL(x["workers"]["idle"], 1);
  CAF_CHECK_EQUAL(x["started"], 1);
  CAF_CHECK_EQUAL(x["waiting"], 0);
  auto tick = send<std::uint64_t>(collect_atom::value);
  run();
  CAF_CHECK_EQUAL(value(tick), 0u);
}

// -- groups -------------------------------------------------------------------

CAF_TEST(a group starts finds lists and stops its workers and hears of them) {
  begin();
  auto events = std::make_shared<std::vector<slot_event>>();
  slot_watcher_actor watcher = system->spawn(
    [=](slot_watcher_actor::pointer) -> slot_watcher_actor::behavior_type {
      return {[=](slot_atom, const slot_event& x) { events->push_back(x); }};
    });
  caf::anon_send(registry, slot_atom::value, watch_atom::value, watcher);
  slot_id slot{"g-1", 3, 7};
  auto find = [&] {
    auto x = send<slot_occupant>(slot_atom::value, find_atom::value, slot);
    run();
    return x;
  };
  auto list = [&](const std::string& group) {
    auto x = send<std::vector<slot_occupant>>(slot_atom::value,
                                              list_atom::value, group);
    run();
    return value(x);
  };
  auto stop = [&] {
    auto x = send<caf::ok_atom>(slot_atom::value, stop_atom::value, slot);
    run();
    value(x);
  };
  CAF_CHECK_EQUAL(code(find()), errc::not_found);
  auto started = send<slot_occupant>(slot_atom::value, spawn_atom::value, slot,
                                     pod_order{});
  run();
  auto x = value(started);
  CAF_CHECK(x.slot == slot);
  CAF_CHECK_EQUAL(x.pid, workers->workers.at(x.id).who.pid);
  CAF_CHECK(value(find()) == x);
  CAF_CHECK((list("g-1") == std::vector{x}));
  CAF_CHECK(list("g-2").empty());
  auto asked = send<std::uint64_t>(probe_atom::value);
  run();
  CAF_CHECK_EQUAL(value(asked), 1u);
  stop();
  stop();
  CAF_CHECK(!workers->lives(x.id));
  CAF_CHECK(list("g-1").empty());
  CAF_REQUIRE_EQUAL(events->size(), 1u);
  CAF_CHECK(events->at(0).slot == slot);
  CAF_CHECK(events->at(0).what == slot_change::released);
}

CAF_TEST_FIXTURE_SCOPE_END()
