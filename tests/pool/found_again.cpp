// SPDX-License-Identifier: Apache-2.0

// What a node finds when it comes back: its own workers, those that are gone,
// and what another program wrote down.

#define CAF_SUITE pool.found_again

#include "tests/pool/table_bench.hpp"

#include <fmt/format.h>

#include <signal.h>

using namespace muster;
using namespace muster::test;
using namespace std::chrono_literals;

CAF_TEST_FIXTURE_SCOPE(found_again_tests, table_bench)

// -- finding again ------------------------------------------------------------

CAF_TEST(workers are found again with what they have) {
  begin();
  auto idle = spawned();
  auto taken = leased("s-1", 7).sid;
  CAF_CHECK_EQUAL(idle, taken);
  auto other = leased("s-2", 3).sid;
  processes.workers.at(other).standing.at_rest = false;
  auto third = spawned();
  restart();
  load();
  // Verbs wait until all were asked.
  auto t = take("s-1", 7);
  CAF_CHECK_EQUAL(answers.count(t), 0u);
  run();
  auto lease = get<pool::reply_lease>(t).lease;
  CAF_CHECK_EQUAL(lease.sid, taken);
  CAF_CHECK(lease.has_session);
  CAF_CHECK_EQUAL(table->counters().found, 3u);
  // One that works is replayed elsewhere.
  auto again = leased("s-2", 3);
  CAF_CHECK(again.sid != other);
  CAF_CHECK(!processes.lives(other));
  CAF_CHECK_EQUAL(again.sid, third);
  CAF_CHECK(!again.has_session);
}

CAF_TEST(a worker that stands elsewhere is replaced) {
  begin();
  auto sid = leased("s-1", 7).sid;
  restart();
  begin();
  auto lease = leased("s-1", 8);
  CAF_CHECK(lease.sid != sid);
  CAF_CHECK(!lease.has_session);
  CAF_CHECK(!processes.lives(sid));
}

CAF_TEST(sockets of those whom nobody knows any more are swept) {
  begin();
  // Nothing is on disk, so none is kept.
  CAF_REQUIRE(kept_sockets);
  CAF_CHECK(kept_sockets->empty());
  auto sid = spawned();
  kept_sockets.reset();
  restart();
  load();
  run();
  CAF_REQUIRE(kept_sockets);
  CAF_CHECK_EQUAL(*kept_sockets,
                  std::set<std::string>{processes.workers.at(sid).sock});
}

CAF_TEST(C05 a worker that was not written down is found by its intent) {
  begin();
  take("s-1");
  save(); // the intent; the process runs
  CAF_CHECK_EQUAL(processes.living(), 1u);
  auto sid = processes.workers.begin()->first;
  restart();
  begin();
  auto all = listed();
  CAF_REQUIRE_EQUAL(all.size(), 1u);
  CAF_CHECK_EQUAL(all[0].sid, sid);
  CAF_CHECK_EQUAL(all[0].phase, worker_phase::idle);
  CAF_CHECK_EQUAL(all[0].pid, who(sid).pid);
  CAF_CHECK_EQUAL(document()["sessions"][0]["start_ticks"],
                  who(sid).start_ticks);
  CAF_CHECK_EQUAL(leased("s-2").sid, sid);
}

CAF_TEST(C05 an intent without a worker is removed) {
  begin();
  spawn();
  save();
  auto sid = processes.workers.begin()->first;
  processes.die(sid);
  restart();
  begin();
  CAF_CHECK(listed().empty());
  CAF_CHECK(document()["starting"].empty());
  CAF_CHECK_EQUAL(removed.size(), 1u);
}

CAF_TEST(an intent that somebody else answers for is removed and nobody signalled) {
  begin();
  spawn();
  save();
  processes.workers.begin()->second.nonce = "guessed";
  restart();
  begin();
  CAF_CHECK(listed().empty());
  CAF_CHECK(processes.signals.empty());
}

CAF_TEST(C03 whoever is gone is pruned at the start and by a collect) {
  begin();
  auto a = spawned();
  auto b = leased("s-1").sid;
  auto c = leased("s-2").sid;
  processes.die(c);
  restart();
  begin();
  CAF_CHECK_EQUAL(listed().size(), 1u);
  CAF_CHECK_EQUAL(a, b);
  // One whose end is not told: a zombie.
  processes.become_zombie(who(b));
  auto t = collect();
  run();
  CAF_CHECK_EQUAL(get<pool::reply_ids>(t).ids, std::vector<std::string>{b});
  CAF_CHECK(document()["sessions"].empty());
  auto none = collect();
  run();
  CAF_CHECK(get<pool::reply_ids>(none).ids.empty());
}

CAF_TEST(C03 what cannot be looked at is not dead) {
  begin();
  auto sid = spawned();
  look_fails = failure{errc::not_allowed, "EPERM"};
  auto t = collect();
  run();
  CAF_CHECK(get<pool::reply_ids>(t).ids.empty());
  CAF_CHECK_EQUAL(phase(), worker_phase::idle);
  sockets.peers[processes.workers.at(sid).sock].refused
    = failure{errc::not_allowed, "somebody else's"};
  restart();
  begin();
  CAF_CHECK_EQUAL(phase(), worker_phase::unreachable);
}

CAF_TEST(C03 who lives and cannot be held is not dead) {
  begin();
  auto sid = spawned();
  restart();
  processes.max_processes = 0;
  begin();
  CAF_CHECK_EQUAL(phase(), worker_phase::unreachable);
  CAF_CHECK(processes.lives(sid));
  CAF_CHECK_EQUAL(document()["sessions"].size(), 1u);
  processes.max_processes = 1;
  tick();
  run();
  CAF_CHECK_EQUAL(phase(), worker_phase::idle);
}

CAF_TEST(N15 a pid that another process has is pruned and never signalled) {
  begin();
  auto sid = spawned();
  auto old = who(sid);
  processes.die(sid);
  process_events.clear();
  restart();
  // The pid has a new owner, which even answers at the socket.
  processes.next_pid = old.pid;
  auto stranger = *processes.scripted_processes::start({}, [](auto) {});
  CAF_REQUIRE_EQUAL(stranger.pid, old.pid);
  processes.restart_holder();
  fake_worker x;
  x.sid = sid;
  x.sock = "/state/pool/sockets/" + sid + ".sock";
  x.who = stranger;
  processes.put(x);
  begin();
  CAF_CHECK(listed().empty());
  auto t = stop(sid);
  run();
  CAF_CHECK(get<pool::reply_stop>(t).reply == pool_stop_reply{});
  CAF_CHECK(signals_to(stranger).empty());
  CAF_CHECK(document()["sessions"].empty());
}

CAF_TEST(N15 a collect prunes who has left his pid to another process) {
  begin();
  auto sid = spawned();
  auto old = who(sid);
  processes.die(sid);
  process_events.clear(); // nobody is told
  auto stranger = processes.begin_stranger(old.pid);
  CAF_REQUIRE_EQUAL(stranger.pid, old.pid);
  auto t = collect();
  run();
  CAF_CHECK_EQUAL(get<pool::reply_ids>(t).ids, std::vector<std::string>{sid});
  CAF_CHECK(listed().empty());
  CAF_CHECK(signals_to(stranger).empty());
}

CAF_TEST(N15 the right process with the wrong answer is never signalled) {
  begin();
  auto sid = leased("s-1").sid;
  processes.workers.at(sid).nonce = "guessed";
  restart();
  begin();
  CAF_CHECK(listed().empty());
  auto lease = leased("s-1");
  CAF_CHECK(lease.sid != sid);
  CAF_CHECK(processes.lives(sid));
  CAF_CHECK(signals_to(who(sid)).empty());
}

CAF_TEST(N15 a connection that ends at another process is not trusted) {
  begin();
  auto sid = spawned();
  sockets.peers[processes.workers.at(sid).sock].who.pid = 99;
  restart();
  begin();
  CAF_CHECK(listed().empty());
  CAF_CHECK(signals_to(who(sid)).empty());
}

CAF_TEST(a thousand dead ones cost one deadline) {
  begin();
  for (int i = 0; i < 200; ++i)
    spawn();
  run();
  for (auto& [sid, x] : processes.workers)
    processes.silence(sid);
  restart();
  load();
  auto t = list();
  hear();
  CAF_CHECK_EQUAL(answers.count(t), 0u);
  advance(settings.probe_timeout);
  for (auto& x : get<pool::reply_list>(t).workers)
    CAF_CHECK_EQUAL(x.phase, worker_phase::unreachable);
  CAF_CHECK_EQUAL(table->size(), 200u);
}

CAF_TEST(a silent worker is kept and tried again) {
  begin();
  auto sid = leased("s-1", 2).sid;
  processes.silence(sid);
  restart();
  load();
  advance(settings.probe_timeout);
  CAF_CHECK_EQUAL(phase(), worker_phase::unreachable);
  tick();
  run();
  CAF_CHECK_EQUAL(phase(), worker_phase::unreachable);
  advance(settings.probe_timeout);
  processes.workers.at(sid).is_silent = false;
  tick();
  run();
  CAF_CHECK_EQUAL(phase(), worker_phase::busy);
  CAF_CHECK_EQUAL(leased("s-1", 2).sid, sid);
}

CAF_TEST(a silent worker is never handed out but ended first) {
  begin();
  auto sid = leased("s-1", 2).sid;
  processes.silence(sid);
  restart();
  load();
  advance(settings.probe_timeout);
  auto t = take("s-1", 2);
  advance(5s);
  CAF_CHECK(get<pool::reply_lease>(t).lease.sid != sid);
  CAF_CHECK(!processes.lives(sid));
}

CAF_TEST(a worker whose connection is lost is asked again) {
  begin();
  auto sid = spawned();
  for (auto id : sockets.at(processes.workers.at(sid).sock))
    sockets.hang_up(id);
  run();
  CAF_CHECK_EQUAL(phase(), worker_phase::idle);
  CAF_CHECK_EQUAL(leased("s-1").sid, sid);
}

CAF_TEST(C08 a worker of another version can only be stopped) {
  begin();
  auto a = leased("s-1").sid;
  auto b = spawned();
  for (auto& [sid, x] : processes.workers)
    x.version = "0.9";
  restart();
  begin();
  for (auto& x : listed())
    CAF_CHECK_EQUAL(x.phase, worker_phase::mismatched);
  processes.on_start = [](auto& x) { x.version = "1.0"; };
  auto lease = leased("s-1");
  CAF_CHECK(lease.sid != a && lease.sid != b);
  CAF_CHECK(!processes.lives(a));
  auto t = stop(b);
  run();
  CAF_CHECK_EQUAL(get<pool::reply_stop>(t).reply.stopped.size(), 1u);
  CAF_CHECK(processes.signals.empty());
}

CAF_TEST(C08 a worker that greets a node of another version is not used) {
  begin();
  auto sid = leased("s-1").sid;
  processes.workers.at(sid).version = "0.9";
  processes.workers.at(sid).greets_all = true;
  restart();
  begin();
  CAF_CHECK_EQUAL(phase(), worker_phase::mismatched);
  CAF_CHECK_EQUAL(listed()[0].version, "0.9");
  CAF_CHECK(leased("s-1").sid != sid);
  CAF_CHECK(!processes.lives(sid));
}

CAF_TEST(two workers that claim the same session both go) {
  begin();
  auto a = leased("s-1", 1).sid;
  auto b = leased("s-2", 1).sid;
  processes.workers.at(b).standing.session_id = "s-1";
  restart();
  begin();
  auto t = take("s-1", 1);
  run();
  auto lease = get<pool::reply_lease>(t).lease;
  auto others = (processes.lives(a) && lease.sid != a)
                || (processes.lives(b) && lease.sid != b);
  CAF_CHECK(!others);
}

// -- what another program wrote -----------------------------------------------

CAF_TEST(a worker of another program is shown and never signalled) {
  auto stranger = *processes.scripted_processes::start({}, [](auto) {});
  processes.restart_holder();
  disk
    = fmt::format(R"({{"sessions":[{{"sid":"s-9","pid":{},"sock":"/x/s.sock",)"
                  R"("version":"0.1","created_at":"t"}}]}})",
                  stranger.pid);
  begin();
  CAF_CHECK_EQUAL(phase(), worker_phase::unreachable);
  auto t = stop("s-9");
  run();
  auto reply = get<pool::reply_stop>(t).reply;
  CAF_REQUIRE_EQUAL(reply.errors.size(), 1u);
  CAF_CHECK_EQUAL(reply.errors[0].why.code, errc::not_allowed);
  CAF_CHECK(processes.signals.empty());
  CAF_CHECK_EQUAL(phase(), worker_phase::unreachable);
  processes.end(stranger, {});
  tick();
  run();
  CAF_CHECK(listed().empty());
  CAF_CHECK(document()["sessions"].empty());
  // Its socket is none of ours.
  CAF_CHECK(removed.empty());
}

CAF_TEST(a worker that another program wrote down is proven by its answer) {
  begin();
  auto sid = spawned();
  auto x = document();
  for (auto* field : {"start_ticks", "boot_id", "nonce_sha256", "session"})
    x["sessions"][0].erase(field);
  disk = x.dump();
  restart();
  begin();
  CAF_CHECK_EQUAL(phase(), worker_phase::idle);
  auto t = stop(sid);
  run();
  CAF_CHECK_EQUAL(get<pool::reply_stop>(t).reply.stopped.size(), 1u);
}

CAF_TEST(C10 C03 impossible pids are taken out with a warning) {
  disk = R"({"sessions":[
    {"sid":"a","pid":0,"sock":"/state/pool/sockets/a.sock","version":"1","created_at":"t"},
    {"sid":"b","pid":-7,"sock":"/etc/passwd","version":"1","created_at":"t"},
    {"sid":"../c","pid":99999999,"sock":"/state/pool/sockets/../c.sock","version":"1",
     "created_at":"t"}]})";
  begin();
  CAF_CHECK(listed().empty());
  CAF_CHECK_EQUAL(warnings.size(), 3u);
  CAF_CHECK(document()["sessions"].empty());
  CAF_CHECK_EQUAL(removed,
                  std::vector<std::string>{"/state/pool/sockets/a.sock"});
  auto t = stop("a");
  CAF_CHECK(get<pool::reply_stop>(t).reply == pool_stop_reply{});
}

CAF_TEST(C01 a broken document is the answer to everything and stays) {
  disk = R"({"sessions":[{"sid":"p-1"}]})";
  begin();
  CAF_CHECK_EQUAL(copies, std::vector<std::string>{disk});
  for (auto t : {list(), spawn(), take("s-1"), stop(), collect(), tick()})
    CAF_CHECK_EQUAL(refusal(t).code, errc::registry_corrupted);
  run();
  CAF_CHECK(!out);
  CAF_CHECK_EQUAL(table->status()["error"].is_string(), true);
}

CAF_TEST_FIXTURE_SCOPE_END()
