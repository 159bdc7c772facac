// SPDX-License-Identifier: Apache-2.0

// Whatever happens to workers, and in whatever order the table hears of it.

#define CAF_SUITE pool.property

#include "tests/pool/table_bench.hpp"

#include <fmt/format.h>

#include <set>

using namespace muster;
using namespace muster::test;
using namespace std::chrono_literals;

namespace {

/// How many events a run has, and how many runs there are.
constexpr int steps = 400;
constexpr std::uint64_t seeds = 150;

/// Lets chance decide, and looks after each step whether all is well.
struct model : table_bench {
  explicit model(std::uint64_t seed) : chance(seed) {
    random.seed(seed);
    settings.max_workers = 12;
    settings.max_starts_at_once = 4;
    settings.max_waiting = 64;
    on_lease = [this](const pool::reply_lease& x) { leased_to(x); };
    processes.on_start = [this](fake_worker& x) {
      // Some hang, some say nothing, some are never ready.
      auto n = chance() % 20;
      x.is_silent = n == 0;
      if (n == 1)
        x.version = "0.9";
      processes.scripts.clear();
      process_script script{{}, "ready", obedience::ends};
      if (n == 2)
        script.says = std::nullopt;
      if (n == 3)
        script.on_signal = obedience::ignores_requests;
      if (n == 4)
        script.refused = failure{errc::overloaded, "no room"};
      processes.scripts.push_back(script);
    };
  }

  std::uint64_t pick(std::uint64_t n) {
    return chance() % n;
  }

  std::string session() {
    return fmt::format("s-{}", pick(6));
  }

  std::string some_worker() {
    if (processes.workers.empty())
      return "p-nobody";
    auto i = processes.workers.begin();
    std::advance(i,
                 static_cast<std::ptrdiff_t>(pick(processes.workers.size())));
    return i->first;
  }

  /// Who asked for which session, by ticket.
  std::map<pool::ticket, std::pair<std::string, std::uint64_t>> asked;
  /// Which session each worker was ever given.
  std::map<std::string, std::string> given;
  std::map<std::string, std::uint64_t> seqs;
  std::set<process_identity> strangers;

  void leased_to(const pool::reply_lease& x) {
    auto [session, seq] = asked.at(x.to);
    auto& sid = x.lease.sid;
    // No other worker that lives has the session, and this has no other one.
    for (auto& [other, owner] : given)
      if (owner == session && other != sid)
        require(!processes.lives(other), "two workers have one session");
    if (auto i = given.find(sid); i != given.end())
      require(i->second == session, "a worker is given a second session");
    auto& worker = processes.workers.at(sid);
    if (x.lease.has_session)
      require(worker.standing.session_id == session && worker.standing.at_rest
                && worker.standing.seq == seq,
              "a worker does not stand where it was said to");
    else
      require(!worker.standing.session_id, "a worker has a session already");
    // What is said is on disk.
    auto is_there = false;
    auto written = document();
    for (auto& entry : written["sessions"])
      is_there |= entry["sid"] == sid && entry["session"] == session;
    require(is_there, "a lease is not on disk");
    given[sid] = session;
    worker.standing = {session, seq, pick(4) != 0};
    seqs[session] = seq;
  }

  void require(bool holds, const char* what) {
    if (!holds)
      CAF_FAIL(what << ", seed " << seed << ", step " << step);
  }

  void act() {
    switch (pick(22)) {
      case 0:
      case 1:
        spawn(pick(3) == 0 ? fmt::format("r-{}", pick(4)) : std::string{});
        break;
      case 2:
      case 3:
      case 4: {
        auto name = session();
        auto seq = seqs[name] + (pick(4) == 0 ? 1 : 0);
        asked[tickets + 1] = {name, seq};
        take(name, seq);
        break;
      }
      case 5: {
        auto sid = some_worker();
        release(sid, given.contains(sid) ? given[sid] : "s-0");
        break;
      }
      case 6:
        if (pick(4) == 0)
          stop(pick(4) == 0 ? std::string{} : some_worker());
        break;
      case 7:
        collect();
        break;
      case 8:
        tick();
        break;
      case 9:
        if (pick(3) == 0)
          processes.die(some_worker());
        break;
      case 10:
        if (auto sid = some_worker(); processes.lives(sid) && pick(4) == 0)
          processes.silence(sid);
        break;
      case 11:
        if (out && pick(3) == 0)
          fail_save();
        break;
      case 12:
        pass(std::chrono::milliseconds(pick(4'000)));
        break;
      case 13:
        if (auto sid = some_worker(); pick(3) == 0)
          for (auto id : sockets.at(processes.workers.count(sid) > 0
                                      ? processes.workers.at(sid).sock
                                      : ""))
            sockets.hang_up(id);
        break;
      case 14:
        if (pick(6) == 0)
          crash();
        break;
      case 15:
        list();
        break;
      default:
        if (pick(2) == 0 && out)
          save();
        else if (pick(2) == 0)
          deliver(process_events);
        else
          deliver(socket_events);
        break;
    }
    check();
  }

  /// Time goes by, and what is due is seen late.
  void pass(std::chrono::milliseconds time) {
    now_ns += std::chrono::nanoseconds(time).count();
    processes.advance(time);
    sockets.advance(time);
    perform(table->on_time());
  }

  void crash() {
    restart(pick(2) == 0);
    asked.clear();
    first_ticket = tickets + 1;
    // Some die meanwhile, and their pids are given to others.
    if (pick(2) == 0) {
      auto sid = some_worker();
      if (processes.lives(sid)) {
        auto old = who(sid);
        processes.die(sid);
        processes.next_pid = old.pid;
        processes.scripts.assign(1, {{}, "ready", obedience::ends});
        auto stranger = processes.scripted_processes::start({}, [](auto) {});
        CAF_REQUIRE(stranger);
        strangers.insert(*stranger);
        processes.restart_holder();
      }
    }
    process_events.clear();
    socket_events.clear();
    load();
  }

  void check() {
    for (auto& [to, number] : processes.signals)
      require(!strangers.contains(to), "a stranger was signalled");
    require(read_pool_document(disk.empty() ? "{\"sessions\":[]}" : disk, "x")
              .has_value(),
            "the document cannot be read");
    for (auto& [to, reply] : answers)
      if (auto* x = std::get_if<pool::reply_stop>(&reply))
        for (auto& sid : x->reply.stopped)
          require(!processes.lives(sid), "a worker lives that was stopped");
  }

  /// Everything comes to its end.
  void end() {
    for (auto& [sid, x] : processes.workers)
      if (processes.lives(sid))
        processes.obey(x.who, obedience::ignores_requests);
    // The start, waits for starts, and what is silent.
    for (int i = 0; i < 10; ++i) {
      tick();
      advance(5s);
    }
    require(table->is_ready(), "the table is not ready");
    stop();
    for (int i = 0; i < 10; ++i) {
      tick();
      advance(5s);
    }
    for (pool::ticket t = first_ticket; t <= tickets; ++t)
      require(answers.contains(t), "a request was never answered");
    require(table->size() == 0, "an entry has no way out");
    auto x = document();
    require(x["sessions"].empty() && x["starting"].empty(),
            "an entry is left on disk");
    require(sockets.size() == 0, "a connection is left");
    for (auto& who : strangers)
      require(*processes.is_alive(who), "a stranger has ended");
  }

  void run_all(std::uint64_t number) {
    seed = number;
    load();
    for (step = 0; step < steps; ++step)
      act();
    end();
  }

  std::mt19937_64 chance;
  std::uint64_t seed = 0;
  int step = 0;
  /// The first request behind the last crash.
  pool::ticket first_ticket = 1;
};

} // namespace

CAF_TEST(whatever happens no worker is lost doubled or mistaken) {
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    model x{seed};
    x.run_all(seed);
  }
}
