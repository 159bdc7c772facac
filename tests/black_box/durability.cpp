// SPDX-License-Identifier: Apache-2.0

// The promise: kill -9 at any instant loses nothing that was acknowledged. Real
// processes, real signals, a real disk. What the clients were told is the
// oracle.

#define CAF_SUITE black_box.durability

#include "tests/black_box/program.hpp"
#include "tests/support/suite.hpp"

#include "messages/session_json.hpp"

#include <fmt/format.h>

#include <atomic>
#include <mutex>
#include <random>
#include <set>
#include <thread>

#include <signal.h>

using namespace muster;
using namespace muster::test;
using namespace std::chrono_literals;

namespace {

constexpr int session_count = 50;
constexpr int client_count = 10;
constexpr int kill_count = 25;
/// The workload may be over before the last of them.
constexpr int least_kill_count = 10;

/// Eight pauses, a batch among them, state that all share, and random numbers.
std::string script(int number) {
  return fmt::format(R"lua(
local name = alc.llm("session {0}, first")
local both = alc.parallel({{"left", "right", "middle"}}, function(x)
  return x .. " of " .. name
end)
alc.state.incr("finished answers", #both)
local log = {{}}
for round = 1, 5 do
  log[round] = alc.llm("round " .. round .. " " .. both[(round - 1) % 3 + 1])
end
alc.state.incr("finished sessions")
return {{name, both, log, alc.llm("last of " .. table.concat(log, "+"))}}
)lua",
                     number);
}

/// What every query is answered with: the same in every run.
std::string answer_to(const query& q) {
  return fmt::format("<{}>", q.prompt);
}

/// What the clients were told, and what they may rely on.
struct ledger {
  std::mutex mutex;
  std::map<int, std::string> ids;
  std::map<std::string, std::set<std::string>> acknowledged;
  std::map<int, std::string> results;
  std::vector<std::string> faults;

  void fault(std::string text) {
    std::lock_guard lock{mutex};
    faults.push_back(std::move(text));
  }
};

struct workload {
  black_box& box;
  ledger& book;
  std::atomic<int> in_flight{0};
  std::atomic<int> done{0};
  /// Held by whoever needs the node to be up.
  std::mutex restarting = {};

  /// A connection to the node as it is now.
  std::unique_ptr<client> connect() {
    for (;;) {
      std::unique_lock lock{restarting};
      auto link = box.connect();
      lock.unlock();
      if (link)
        return std::move(*link);
      std::this_thread::sleep_for(5ms);
    }
  }

  /// Runs sessions `first`, `first + client_count` and so on to their ends.
  void serve(int first) {
    auto link = connect();
    for (int number = first; number < session_count; number += client_count)
      while (!finish(*link, number))
        link = connect();
  }

  /// Takes one session as far as the connection holds.
  /// @returns whether it has ended.
  bool finish(client& link, int number) {
    auto id = ensure_spawned(link, number);
    if (id.empty())
      return false;
    for (;;) {
      auto view = link.await(id, wait_for::event);
      if (!view) {
        if (view.error().code == errc::not_found)
          book.fault("session " + id + " was acknowledged and is gone");
        return view.error().code == errc::not_found;
      }
      check_pending(*view);
      if (is_terminal(view->phase)) {
        std::lock_guard lock{book.mutex};
        book.results[number] = event_json(*view)["result"].dump();
        ++done;
        return true;
      }
      // One answer at a time, as a person would; the last of a pause waits for
      // the next event or not, by turns.
      auto& q = view->queries.front();
      std::vector<answer> answers{{q.id, answer_to(q), std::nullopt}};
      ++in_flight;
      auto reply
        = number % 2 == 0 ? link.feed(id, answers) : link.resume(id, answers);
      --in_flight;
      if (!reply && reply.error().code == errc::connection_lost)
        return false;
      if (!reply && reply.error().code != errc::shutting_down)
        book.fault("feed of " + id + ": " + reply.error().message);
      if (!reply)
        return false;
      auto& refused = reply->results.at(0).refused;
      if (refused && refused->code != errc::already_answered)
        book.fault("answer to " + id + " " + q.id + ": " + refused->message);
      if (!refused) {
        std::lock_guard lock{book.mutex};
        if (!book.acknowledged[id].insert(q.id).second)
          book.faults.push_back(id + " " + q.id + " was taken twice");
      }
    }
  }

  std::string ensure_spawned(client& link, int number) {
    {
      std::lock_guard lock{book.mutex};
      if (auto i = book.ids.find(number); i != book.ids.end())
        return i->second;
    }
    session_spec spec;
    spec.code = script(number);
    ++in_flight;
    auto id = link.spawn(std::move(spec));
    --in_flight;
    if (!id)
      return {};
    std::lock_guard lock{book.mutex};
    book.ids[number] = *id;
    return *id;
  }

  /// No query whose answer was acknowledged is asked again.
  void check_pending(const session_view& view) {
    std::lock_guard lock{book.mutex};
    for (auto& q : view.queries)
      if (book.acknowledged[view.session_id].count(q.id) > 0)
        book.faults.push_back(view.session_id + " asks " + q.id
                              + " again, which was acknowledged");
  }
};

/// Runs the whole workload.
/// @param kills how often the node is killed meanwhile.
void run_workload(black_box& box, ledger& book, int kills, std::uint64_t seed) {
  workload work{box, book};
  std::mt19937_64 random{seed};
  std::vector<std::thread> clients;
  for (int i = 0; i < client_count; ++i)
    clients.emplace_back([&work, i] { work.serve(i); });
  int killed = 0;
  while (work.done < session_count) {
    if (killed == kills) {
      std::this_thread::sleep_for(1ms);
      continue;
    }
    // In the middle of something, at a random microsecond of it.
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 6'000));
    for (int spins = 0;
         work.in_flight == 0 && work.done < session_count && spins < 100'000;
         ++spins)
      std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 700));
    std::lock_guard lock{work.restarting};
    box.kill();
    ++killed;
    box.require_start();
  }
  for (auto& client : clients)
    client.join();
  CAF_MESSAGE("killed " << killed << " times");
  CAF_CHECK(killed >= std::min(kills, least_kill_count));
}

} // namespace

CAF_TEST(fifty sessions end as if nobody had killed the node all the time) {
  ledger undisturbed;
  std::string finished;
  {
    black_box box;
    box.require_start();
    run_workload(box, undisturbed, 0, 1);
    finished = box.run({"state", "get", "finished sessions"}).out;
    CAF_CHECK_EQUAL(box.stop().code, 0);
  }
  CAF_CHECK_EQUAL(undisturbed.faults.size(), 0u);
  CAF_CHECK_EQUAL(undisturbed.results.size(), std::size_t{session_count});
  CAF_CHECK_EQUAL(finished, "50.0\n");
  auto seed = std::random_device{}();
  CAF_MESSAGE("seed " << seed);
  black_box box;
  box.require_start();
  ledger book;
  run_workload(box, book, kill_count, seed);
  for (auto& fault : book.faults)
    CAF_ERROR("seed " << seed << ": " << fault);
  CAF_CHECK(book.results == undisturbed.results);
  // What the sessions share was counted once for each, too.
  CAF_CHECK_EQUAL(box.run({"state", "get", "finished sessions"}).out, finished);
  CAF_CHECK_EQUAL(box.run({"state", "get", "finished answers"}).out, "150.0\n");
  // A spawn that was not acknowledged may have come through, but nothing else.
  auto page = (*box.connect())->list({});
  CAF_REQUIRE(page);
  for (auto& [number, id] : book.ids)
    CAF_CHECK(std::any_of(page->sessions.begin(), page->sessions.end(),
                          [&](auto& x) { return x.session_id == id; }));
  CAF_CHECK_EQUAL(box.stop().code, 0);
}

CAF_TEST(a thousand sessions stand paused over a kill and are all finished) {
  black_box box;
  box.require_start();
  std::vector<std::string> ids(1'000);
  auto in_parallel = [&](auto f) {
    std::atomic<std::size_t> next{0};
    std::atomic<int> faults{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i)
      threads.emplace_back([&] {
        auto link = box.connect();
        for (auto n = next++; n < ids.size(); n = next++)
          if (!link || !f(**link, n))
            ++faults;
      });
    for (auto& thread : threads)
      thread.join();
    CAF_CHECK_EQUAL(faults.load(), 0);
  };
  in_parallel([&](client& link, std::size_t n) {
    session_spec spec;
    spec.code = fmt::format("return alc.llm('q') .. ' {}'", n);
    auto view = link.start(std::move(spec));
    if (view)
      ids[n] = view->session_id;
    return view && view->phase == session_phase::paused;
  });
  CAF_CHECK_EQUAL(
    (*box.connect())->list({{session_phase::paused}, {}, 0})->sessions.size(),
    1'000u);
  box.kill();
  box.require_start();
  CAF_CHECK_EQUAL(
    (*box.connect())->list({{session_phase::paused}, {}, 0})->sessions.size(),
    1'000u);
  in_parallel([&](client& link, std::size_t n) {
    auto reply = link.feed(ids[n], {{"q-0", "x", {}}});
    return reply && reply->session.result == fmt::format("\"x {}\"", n);
  });
  auto status = json::parse(*(*box.connect())->status());
  // Pushed at the next tick, so at most that old.
  std::this_thread::sleep_for(1s);
  status = json::parse(*(*box.connect())->status());
  CAF_CHECK_EQUAL(status["storage"]["sessions"]["done"], 1'000);
  CAF_CHECK_EQUAL(box.stop().code, 0);
}

CAF_TEST(a stop ends a node all of whose threads are held by callbacks) {
  black_box box;
  box.require_start({"--node.drain-timeout", "200ms",
                     "--strategy.max-unyielding", "100000000000"});
  auto connection = box.connect();
  CAF_REQUIRE(connection);
  // A callback that cannot be interrupted and is allowed to go on for minutes,
  // more often than the node has threads.
  session_spec spec;
  spec.code = "return tostring(setmetatable({}, {__tostring = function() while "
              "true do end end}))";
  auto threads = std::max(std::thread::hardware_concurrency(), 4u);
  for (unsigned i = 0; i < threads + 2; ++i)
    std::ignore = (*connection)->spawn(spec, {2s});
  box.node().signal(SIGTERM);
  auto ended = box.node().wait(120s);
  CAF_REQUIRE(ended);
  CAF_CHECK_EQUAL(ended->code, 7);
}

CAF_TEST(endless scripts and memory bombs leave the others alone) {
  black_box box;
  box.require_start();
  auto link = *box.connect();
  std::vector<std::string> ids;
  for (auto* code :
       {"while true do end",
        "while true do pcall(function() while true do end end) end",
        "coroutine.wrap(function() while true do end end)()",
        "while true do coroutine.wrap(function() end)() end",
        "table.sort({3, 2, 1}, function() while true do end end)",
        "return (('x'):rep(2000000):gsub('(x*)y', ''))",
        "return (('a'):rep(40) .. 'b'):match(('a?'):rep(40) .. ('a'):rep(40) "
        ".. 'c')",
        "while true do xpcall(error, function() end) end"})
    for (int i = 0; i < 3; ++i) {
      session_spec spec;
      spec.code = code;
      ids.push_back(*link->spawn(std::move(spec)));
    }
  session_spec bomb;
  bomb.code = "local t = {} while true do pcall(function() t[#t + 1] = "
              "('x'):rep(1000) .. #t end) end";
  auto bomb_id = *link->spawn(std::move(bomb));
  // Others are served meanwhile.
  for (int i = 0; i < 5; ++i) {
    session_spec spec;
    spec.code = "return alc.llm('q')";
    auto view = link->start(std::move(spec), {30s});
    CAF_REQUIRE(view);
    auto reply = link->feed(view->session_id, {{"", "x", {}}}, {30s});
    CAF_REQUIRE(reply);
    CAF_CHECK_EQUAL(reply->session.result, "\"x\"");
    CAF_CHECK(link->status(30s));
  }
  auto ended = link->await(bomb_id, wait_for::end, 50s);
  CAF_REQUIRE(ended);
  CAF_CHECK_EQUAL(ended->error_kind, failure_kind::limit_exceeded);
  CAF_CHECK_EQUAL(ended->error.find("strategy.max-memory"), 0u);
  for (auto& id : ids) {
    auto view = link->cancel(id, {cancel_code::user, "enough", 0}, 30s);
    CAF_REQUIRE(view);
    CAF_CHECK_EQUAL(view->phase, session_phase::cancelled);
  }
  link.reset();
  CAF_CHECK_EQUAL(box.stop().code, 0);
}
