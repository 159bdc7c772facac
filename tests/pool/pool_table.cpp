// SPDX-License-Identifier: Apache-2.0

#define CAF_SUITE pool.table

#include "tests/pool/table_bench.hpp"

#include <fmt/format.h>

#include <signal.h>

using namespace muster;
using namespace muster::test;
using namespace std::chrono_literals;

namespace {

struct fixture : table_bench {
  /// All workers die, and nothing is known of any.
  void end_all() {
    for (auto& [sid, x] : std::map(processes.workers))
      if (processes.lives(sid))
        processes.die(sid);
    run();
    processes.workers.clear();
    disk.clear();
  }
};

} // namespace

CAF_TEST_FIXTURE_SCOPE(table_tests, fixture)

// -- starting -----------------------------------------------------------------

CAF_TEST(
  N12 a worker is on disk before its process and who it is before its use) {
  begin();
  auto t = spawn();
  // The intent is on its way, and nothing runs.
  CAF_REQUIRE(out);
  CAF_CHECK_EQUAL(processes.orders.size(), 0u);
  auto intent = json::parse(*out)["starting"];
  CAF_CHECK_EQUAL(intent.size(), 1u);
  CAF_CHECK(intent[0]["nonce_sha256"].is_string());
  save();
  CAF_CHECK_EQUAL(processes.orders.size(), 1u);
  hear();
  // It has said who it is, and nobody may have it.
  CAF_REQUIRE(out);
  CAF_CHECK(answers.empty());
  auto x = json::parse(*out);
  CAF_CHECK(x["starting"].empty());
  CAF_CHECK_EQUAL(x["sessions"][0]["pid"],
                  processes.workers.begin()->second.who.pid);
  CAF_CHECK_EQUAL(x["sessions"][0]["boot_id"], "boot");
  save();
  auto worker = get<pool::reply_worker>(t).worker;
  CAF_CHECK_EQUAL(worker.phase, worker_phase::idle);
  CAF_CHECK_EQUAL(worker.created_at, "2023-11-14T22:13:21Z");
  CAF_CHECK_EQUAL(worker.sock, "/state/pool/sockets/" + worker.sid + ".sock");
}

CAF_TEST(the nonce is nowhere on disk) {
  begin();
  auto sid = spawned();
  CAF_CHECK(disk.find(processes.workers.at(sid).nonce) == std::string::npos);
}

CAF_TEST(a repeat of a spawn gives the same worker) {
  begin();
  auto first = spawn("r-1");
  auto second = spawn("r-1");
  run();
  auto third = spawn("r-1");
  run();
  auto sid = get<pool::reply_worker>(first).worker.sid;
  CAF_CHECK_EQUAL(get<pool::reply_worker>(second).worker.sid, sid);
  CAF_CHECK_EQUAL(get<pool::reply_worker>(third).worker.sid, sid);
  restart();
  begin();
  auto fourth = spawn("r-1");
  run();
  CAF_CHECK_EQUAL(get<pool::reply_worker>(fourth).worker.sid, sid);
  CAF_CHECK_EQUAL(refusal(spawn("\n")).code, errc::invalid_argument);
}

CAF_TEST(a socket that would not fit is refused and names the way out) {
  settings.folder = "/" + std::string(60, 'x');
  begin();
  auto why = refusal(spawn());
  CAF_CHECK_EQUAL(why.code, errc::invalid_argument);
  CAF_CHECK(why.message.find("--state-dir") != std::string::npos);
  CAF_CHECK(!out);
}

CAF_TEST(there are no more workers than are allowed) {
  settings.max_workers = 2;
  begin();
  leased("s-1");
  leased("s-2");
  auto why = refusal(take("s-3"));
  CAF_CHECK_EQUAL(why.code, errc::overloaded);
  CAF_CHECK(why.message.find("pool.max-workers") != std::string::npos);
}

CAF_TEST(starts that come too fast wait for their turn) {
  settings.max_starts_at_once = 3;
  settings.max_starts_per_second = 10;
  begin();
  for (int i = 0; i < 6; ++i)
    spawn();
  run();
  CAF_CHECK_EQUAL(answers.size(), 3u);
  advance(99ms);
  CAF_CHECK_EQUAL(answers.size(), 3u);
  advance(1ms);
  CAF_CHECK_EQUAL(answers.size(), 4u);
  advance(200ms);
  CAF_CHECK_EQUAL(answers.size(), 6u);
}

CAF_TEST(no more requests wait than are allowed) {
  settings.max_waiting = 2;
  begin();
  spawn();
  spawn();
  auto why = refusal(spawn());
  CAF_CHECK_EQUAL(why.code, errc::overloaded);
  CAF_CHECK(why.message.find("pool.max-waiting") != std::string::npos);
  run();
  spawned();
}

CAF_TEST(a program that cannot be started leaves nothing) {
  begin();
  processes.scripts.push_back(
    {failure{errc::not_found, "no such program"}, {}, {}});
  auto t = take("s-1");
  run();
  CAF_CHECK_EQUAL(refusal(t).message, "no such program");
  CAF_CHECK_EQUAL(table->size(), 0u);
  CAF_CHECK(document()["starting"].empty());
}

CAF_TEST(a worker that dies before it is ready leaves nothing) {
  begin();
  processes.scripts.push_back({{}, std::nullopt, obedience::ends});
  auto t = spawn();
  run();
  auto sid = processes.workers.begin()->first;
  processes.die(sid);
  run();
  CAF_CHECK_EQUAL(refusal(t).code, errc::program_failed);
  CAF_CHECK_EQUAL(removed.at(0), "/state/pool/sockets/" + sid + ".sock");
  CAF_CHECK(document()["starting"].empty());
}

CAF_TEST(a worker that dies after it is ready leaves nothing) {
  for (auto connection_ends_first : {false, true}) {
    restart();
    begin();
    auto t = spawn();
    save();                  // the intent
    deliver(process_events); // ready: the connection stands
    processes.die(processes.workers.begin()->first);
    while (connection_ends_first && deliver(socket_events)) {
      // nop
    }
    run();
    // It is not the client's connection that is lost.
    CAF_CHECK_EQUAL(refusal(t).code, errc::program_failed);
    CAF_CHECK_EQUAL(table->size(), 0u);
    CAF_CHECK(document()["starting"].empty());
    CAF_CHECK(document()["sessions"].empty());
    CAF_CHECK_EQUAL(sockets.size(), 0u);
    processes.workers.clear();
  }
}

CAF_TEST(a worker that dies while it is written down leaves nothing) {
  for (auto dies_first : {true, false}) {
    restart();
    begin();
    auto t = take("s-1");
    save();
    hear();
    CAF_REQUIRE(out); // who it is
    auto sid = processes.workers.rbegin()->first;
    processes.die(sid);
    if (dies_first)
      hear();
    run();
    // Another one is started for who waits.
    CAF_CHECK_EQUAL(answers.count(t), 1u);
    CAF_CHECK_EQUAL(table->size(), 1u);
    CAF_CHECK_EQUAL(document()["sessions"].size(), table->size());
    end_all();
  }
}

CAF_TEST(a worker that is killed at its start is started again for its session) {
  for (auto deaths : {2, 3}) {
    restart();
    begin();
    for (int i = 0; i < deaths; ++i)
      processes.scripts.push_back({{}, std::nullopt, obedience::ends});
    auto t = take("s-1");
    for (int i = 0; i < deaths; ++i) {
      run();
      CAF_REQUIRE_EQUAL(answers.count(t), 0u);
      CAF_REQUIRE_EQUAL(table->size(), 1u);
      for (auto& [sid, x] : std::map(processes.workers))
        if (processes.lives(sid))
          processes.die(sid);
    }
    run();
    CAF_REQUIRE_EQUAL(answers.count(t), 1u);
    CAF_CHECK_EQUAL(table->size(), deaths == 2 ? 1u : 0u);
    if (deaths == 3)
      CAF_CHECK_EQUAL(refusal(t).code, errc::program_failed);
    end_all();
  }
}

CAF_TEST(N18 a worker that does not get ready in time is killed) {
  begin();
  processes.scripts.push_back({{}, std::nullopt, obedience::ends});
  auto t = spawn();
  run();
  advance(9'999ms);
  CAF_CHECK(answers.empty());
  advance(1ms);
  CAF_CHECK_EQUAL(refusal(t).code, errc::timeout);
  CAF_CHECK_EQUAL(processes.living(), 0u);
  CAF_CHECK_EQUAL(table->size(), 0u);
  CAF_CHECK(document()["starting"].empty());
}

CAF_TEST(N18 a worker that does not say who it is in time is killed) {
  begin();
  processes.on_start = [](auto& x) { x.is_silent = true; };
  auto t = spawn();
  run();
  advance(4'999ms);
  CAF_CHECK(answers.empty());
  advance(1ms);
  CAF_CHECK_EQUAL(refusal(t).code, errc::timeout);
  CAF_CHECK_EQUAL(processes.living(), 0u);
  CAF_CHECK_EQUAL(table->size(), 0u);
}

CAF_TEST(N18 the answer comes when the end of what was started is confirmed) {
  begin();
  processes.scripts.push_back({{}, "ready", obedience::hangs});
  processes.on_start = [](auto& x) { x.is_silent = true; };
  auto t = spawn();
  run();
  advance(5'000ms);
  CAF_CHECK(answers.empty());
  processes.die(processes.workers.begin()->first);
  run();
  CAF_CHECK_EQUAL(refusal(t).code, errc::timeout);
}

CAF_TEST(a new worker that is not the one is killed and not used) {
  for (auto wrong : {1, 2, 3}) {
    restart();
    begin();
    processes.on_start = [&](auto& x) {
      if (wrong == 1)
        x.nonce = "guessed";
      else if (wrong == 2)
        x.version = "2.0";
      else
        x.peer_pid = 1;
    };
    auto t = spawn();
    run();
    CAF_CHECK_EQUAL(refusal(t).code,
                    wrong == 2 ? errc::version_mismatch : errc::conflict);
    CAF_CHECK_EQUAL(processes.living(), 0u);
    CAF_CHECK(document()["sessions"].empty());
  }
}

CAF_TEST(an intent that the disk refuses starts nothing) {
  begin();
  auto t = spawn();
  fail_save();
  run();
  CAF_CHECK_EQUAL(refusal(t).code, errc::storage_full);
  CAF_CHECK_EQUAL(processes.orders.size(), 0u);
  CAF_CHECK_EQUAL(table->size(), 0u);
}

CAF_TEST(a worker whose identity the disk refuses is killed) {
  begin();
  auto t = spawn();
  save();
  hear();
  fail_save();
  run();
  CAF_CHECK_EQUAL(refusal(t).code, errc::storage_full);
  CAF_CHECK_EQUAL(processes.living(), 0u);
  CAF_CHECK_EQUAL(table->size(), 0u);
  CAF_CHECK(document()["sessions"].empty());
}

// -- sessions -----------------------------------------------------------------

CAF_TEST(a session gets a worker that waits before a new one) {
  begin();
  auto sid = spawned();
  auto t = take("s-1");
  // Whose it is has to be on disk.
  CAF_CHECK_EQUAL(answers.count(t), 0u);
  run();
  auto lease = get<pool::reply_lease>(t).lease;
  CAF_CHECK_EQUAL(lease.sid, sid);
  CAF_CHECK(!lease.has_session);
  CAF_CHECK_EQUAL(document()["sessions"][0]["session"], "s-1");
  CAF_CHECK_EQUAL(phase(), worker_phase::busy);
  CAF_CHECK(leased("s-2").sid != sid);
}

CAF_TEST(a worker that waits stays free if the disk refuses) {
  begin();
  auto sid = spawned();
  auto t = take("s-1");
  fail_save();
  CAF_CHECK_EQUAL(refusal(t).code, errc::storage_full);
  run();
  CAF_CHECK_EQUAL(phase(), worker_phase::idle);
  CAF_CHECK_EQUAL(leased("s-2").sid, sid);
}

CAF_TEST(a released worker is stopped and gone) {
  begin();
  auto lease = leased("s-1");
  release(lease.sid, "s-2");
  run();
  CAF_CHECK_EQUAL(processes.living(), 1u);
  release(lease.sid, "s-1");
  run();
  CAF_CHECK_EQUAL(processes.living(), 0u);
  CAF_CHECK(processes.signals.empty());
  CAF_CHECK_EQUAL(table->size(), 0u);
  CAF_CHECK(document()["sessions"].empty());
  CAF_CHECK_EQUAL(removed.size(), 1u);
  CAF_CHECK_EQUAL(sockets.size(), 0u);
}

CAF_TEST(a session that is over takes along whatever worker has it) {
  begin();
  auto over = leased("s-1");
  auto other = leased("s-2");
  auto idle = spawned();
  restart();
  begin();
  release({}, "s-1");
  release({}, "s-3");
  run();
  CAF_CHECK(!processes.lives(over.sid));
  CAF_CHECK(processes.lives(other.sid));
  CAF_CHECK(processes.lives(idle));
  CAF_CHECK_EQUAL(table->size(), 2u);
  CAF_CHECK_EQUAL(document()["sessions"].size(), 2u);
}

CAF_TEST(a session that is over takes along a worker that is on its way) {
  begin();
  auto t = take("s-1");
  hear();
  release({}, "s-1");
  run();
  CAF_CHECK_EQUAL(refusal(t).code, errc::conflict);
  CAF_CHECK_EQUAL(processes.living(), 0u);
  CAF_CHECK_EQUAL(table->size(), 0u);
  // One that waited, and is about to be that of the session.
  spawned();
  t = take("s-1");
  release({}, "s-1");
  run();
  CAF_CHECK_EQUAL(refusal(t).code, errc::conflict);
  CAF_CHECK_EQUAL(processes.living(), 0u);
  CAF_CHECK_EQUAL(table->size(), 0u);
  // What comes later has nothing to do with that.
  CAF_CHECK(!leased("s-1").has_session);
}

CAF_TEST(a session that asks again gets another worker once the first is gone) {
  begin();
  auto first = leased("s-1");
  processes.silence(first.sid);
  auto t = take("s-1");
  run();
  CAF_CHECK(answers.count(t) == 0);
  CAF_CHECK_EQUAL(processes.living(), 1u);
  advance(2'000ms); // the request
  CAF_CHECK_EQUAL(signals_to(who(first.sid)), std::vector<int>{SIGTERM});
  advance(3'000ms);
  CAF_CHECK(!processes.lives(first.sid));
  CAF_CHECK(get<pool::reply_lease>(t).lease.sid != first.sid);
  CAF_CHECK_EQUAL(processes.living(), 1u);
}

CAF_TEST(of two requests for the same session the later one counts) {
  begin();
  auto first = take("s-1");
  auto second = take("s-1");
  run();
  CAF_CHECK_EQUAL(refusal(first).code, errc::conflict);
  get<pool::reply_lease>(second);
  CAF_CHECK_EQUAL(processes.living(), 1u);
}

CAF_TEST(a session whose chosen worker dies gets another one) {
  begin();
  auto sid = spawned();
  auto t = take("s-1");
  processes.die(sid);
  hear();
  run();
  CAF_CHECK(get<pool::reply_lease>(t).lease.sid != sid);
}

CAF_TEST(a session whose old worker hangs is told so and gets no second one) {
  begin();
  auto lease = leased("s-1");
  processes.obey(who(lease.sid), obedience::hangs);
  processes.workers.at(lease.sid).is_silent = true;
  auto t = take("s-1");
  run();
  advance(10s);
  CAF_CHECK_EQUAL(refusal(t).code, errc::timeout);
  CAF_CHECK_EQUAL(refusal(take("s-1")).code, errc::timeout);
  CAF_CHECK_EQUAL(processes.orders.size(), 1u);
  CAF_CHECK_EQUAL(phase(), worker_phase::stopping);
  processes.die(lease.sid);
  run();
  leased("s-1");
}

CAF_TEST(C06 a worker that died is in no list) {
  begin();
  auto lease = leased("s-1");
  processes.die(lease.sid);
  run();
  CAF_CHECK(listed().empty());
  CAF_CHECK(document()["sessions"].empty());
  CAF_CHECK_EQUAL(removed.size(), 1u);
  CAF_CHECK_EQUAL(table->counters().lost, 1u);
}

CAF_TEST(a worker that nobody uses for long is stopped) {
  begin();
  auto sid = spawned();
  advance(settings.idle_timeout - 1ms);
  CAF_CHECK(processes.lives(sid));
  advance(1ms);
  CAF_CHECK(!processes.lives(sid));
  CAF_CHECK_EQUAL(table->size(), 0u);
}

// -- stopping -----------------------------------------------------------------

CAF_TEST(C10 a stop of all of one and of none) {
  begin();
  auto a = spawned();
  auto b = leased("s-1").sid; // a, too: it was idle
  CAF_CHECK_EQUAL(a, b);
  auto c = leased("s-2").sid;
  auto unknown = stop("p-nobody");
  CAF_CHECK(get<pool::reply_stop>(unknown).reply == pool_stop_reply{});
  CAF_CHECK_EQUAL(refusal(stop("p-")).code, errc::ambiguous);
  auto one = stop(c.substr(0, c.size() - 1));
  run();
  CAF_CHECK_EQUAL(get<pool::reply_stop>(one).reply.stopped,
                  std::vector<std::string>{c});
  CAF_CHECK(processes.lives(a));
  auto d = spawned();
  auto all = stop();
  run();
  auto reply = get<pool::reply_stop>(all).reply;
  CAF_CHECK_EQUAL(reply.stopped.size(), 2u);
  CAF_CHECK(reply.errors.empty());
  CAF_CHECK_EQUAL(processes.living(), 0u);
  CAF_CHECK(document()["sessions"].empty());
  CAF_CHECK_EQUAL(removed.size(), 3u);
}

CAF_TEST(C10 a stop is answered when the end is confirmed and not before) {
  begin();
  auto sid = spawned();
  processes.silence(sid);
  auto t = stop(sid);
  run();
  CAF_CHECK_EQUAL(phase(), worker_phase::stopping);
  advance(1'999ms);
  CAF_CHECK(signals_to(who(sid)).empty());
  advance(1ms);
  CAF_CHECK_EQUAL(signals_to(who(sid)), std::vector<int>{SIGTERM});
  advance(2'999ms);
  CAF_CHECK(answers.count(t) == 0);
  advance(1ms);
  CAF_CHECK_EQUAL(get<pool::reply_stop>(t).reply.stopped,
                  std::vector<std::string>{sid});
  CAF_CHECK((signals_to(who(sid)) == std::vector<int>{SIGTERM, SIGKILL}));
}

CAF_TEST(C02 what is answered is on disk) {
  begin();
  auto sid = spawned();
  auto t = stop(sid);
  hear();
  CAF_CHECK(!processes.lives(sid));
  auto all = list();
  auto dead = collect();
  for (auto x : {t, all, dead})
    CAF_CHECK_EQUAL(answers.count(x), 0u);
  save();
  for (auto x : {t, all, dead})
    CAF_CHECK_EQUAL(answers.count(x), 1u);
  CAF_CHECK(document()["sessions"].empty());
}

CAF_TEST(a worker that hangs is told and can be stopped again) {
  begin();
  auto sid = spawned();
  processes.obey(who(sid), obedience::hangs);
  processes.workers.at(sid).is_silent = true;
  auto t = stop(sid);
  advance(10s);
  auto reply = get<pool::reply_stop>(t).reply;
  CAF_CHECK(reply.stopped.empty());
  CAF_REQUIRE_EQUAL(reply.errors.size(), 1u);
  CAF_CHECK_EQUAL(reply.errors[0].why.code, errc::timeout);
  processes.obey(who(sid), obedience::ends);
  auto again = stop(sid);
  advance(10s);
  CAF_CHECK_EQUAL(get<pool::reply_stop>(again).reply.stopped.size(), 1u);
}

CAF_TEST(a stop takes those along that are on their way) {
  settings.max_starts_at_once = 2;
  begin();
  auto a = spawn();
  auto b = take("s-1");
  auto c = spawn(); // waits for its turn
  auto t = stop();
  run();
  for (auto x : {a, b, c})
    CAF_CHECK_EQUAL(refusal(x).code, errc::conflict);
  CAF_CHECK_EQUAL(get<pool::reply_stop>(t).reply.stopped.size(), 3u);
  CAF_CHECK_EQUAL(processes.living(), 0u);
  CAF_CHECK_EQUAL(table->size(), 0u);
}

CAF_TEST(a stop is answered though the disk refuses and is written later) {
  begin();
  auto sid = spawned();
  auto t = stop(sid);
  hear();
  fail_save();
  CAF_CHECK_EQUAL(get<pool::reply_stop>(t).reply.stopped.size(), 1u);
  CAF_CHECK(!out);
  tick();
  run();
  CAF_CHECK(document()["sessions"].empty());
}

// -- the end of the node ------------------------------------------------------

CAF_TEST(
  workers outlive an ordered stop and those that nobody could find do not ) {
  begin();
  auto a = leased("s-1", 4).sid;
  processes.scripts.push_back({{}, std::nullopt, obedience::ends});
  auto never = spawn();
  run();
  auto waits = take("s-3");
  perform(table->shut_down(++tickets));
  auto done = tickets;
  CAF_CHECK_EQUAL(refusal(never).code, errc::shutting_down);
  CAF_CHECK_EQUAL(refusal(waits).code, errc::shutting_down);
  CAF_CHECK_EQUAL(answers.count(done), 0u);
  run();
  get<pool::reply_stopped>(done);
  CAF_CHECK_EQUAL(refusal(spawn()).code, errc::shutting_down);
  CAF_CHECK_EQUAL(processes.living(), 1u);
  CAF_CHECK_EQUAL(sockets.size(), 0u);
  CAF_CHECK(document()["starting"].empty());
  restart();
  begin();
  CAF_CHECK_EQUAL(leased("s-1", 4).sid, a);
}

CAF_TEST(changes that come while the disk writes are written together) {
  begin();
  for (int i = 0; i < 50; ++i)
    spawn();
  save();
  hear();
  // All are ready, and one write says so.
  auto before = table->counters().saves;
  run();
  CAF_CHECK_EQUAL(answers.size(), 50u);
  CAF_CHECK(table->counters().saves - before <= 3);
}

CAF_TEST_FIXTURE_SCOPE_END()
