// SPDX-License-Identifier: Apache-2.0

// Sessions whose scripts run in workers, through every death that there is. The
// whole node, and workers whose processes and sockets alone are scripted.

#define CAF_SUITE session.workers

#include "tests/support/node_bench.hpp"
#include "tests/support/suite.hpp"

#include "messages/session_json.hpp"

#include <fmt/format.h>

#include <set>

#include <signal.h>

using namespace muster;
using namespace muster::test;
using namespace std::chrono_literals;

namespace {

constexpr const char* three_questions = R"(
  local out = {}
  for i = 1, 3 do
    out[i] = alc.llm("question " .. i)
  end
  return out
)";

struct fixture : node_bench {
  fixture() {
    require_start();
  }

  void restart() {
    kill();
    require_start();
  }

  static session_spec in_worker(const std::string& code) {
    session_spec spec;
    spec.code = code;
    spec.name = "test.lua";
    spec.isolation = session_isolation::worker;
    return spec;
  }

  expected<session_view> start_in_worker(const std::string& code) {
    return ask<session_view>(start_atom::value, in_worker(code), once);
  }

  std::string paused(const std::string& code) {
    auto view = start_in_worker(code);
    CAF_REQUIRE(view);
    CAF_REQUIRE_EQUAL(view->phase, session_phase::paused);
    return view->session_id;
  }

  std::vector<worker_view> pool() {
    auto out
      = ask<std::vector<worker_view>>(pool_atom::value, list_atom::value);
    CAF_REQUIRE(out);
    return *out;
  }

  /// The only worker.
  std::string worker() {
    auto all = workers->living();
    CAF_REQUIRE_EQUAL(all.size(), 1u);
    return all.front();
  }

  /// The queries that were ever asked, in order, and the answers.
  std::vector<std::string> told(const std::string& id) {
    auto all = ask<std::string>(transcript_atom::value, id);
    CAF_REQUIRE(all);
    std::vector<std::string> out;
    for (auto& item : json::parse(*all))
      out.push_back(item.at("query_id").get<std::string>() + " "
                    + (item.at("response").is_null()
                         ? "-"
                         : item.at("response").get<std::string>()));
    return out;
  }

  /// Answers whatever the session still asks.
  session_view finish(const std::string& id) {
    for (int i = 0; i < 10; ++i) {
      auto view = show(id);
      CAF_REQUIRE(view);
      if (view->phase != session_phase::paused)
        return *view;
      auto fed = feed(id, view->queries.at(0).id,
                      "answer to " + view->queries.at(0).id);
      CAF_REQUIRE(fed);
    }
    CAF_FAIL("the session has no end");
    return {};
  }

  /// Each worker that somebody has is that of a session which goes on.
  void check_busy() {
    for (auto& x : pool())
      if (x.session) {
        auto view = show(*x.session);
        if (!view || is_terminal(view->phase))
          CAF_ERROR("worker " << x.sid << " has session " << *x.session << ", "
                              << (view ? "which is over" : "which is none"));
      }
  }

  void check_whole(const std::string& id) {
    auto view = finish(id);
    CAF_CHECK_EQUAL(view.phase, session_phase::done);
    CAF_CHECK_EQUAL(view.result,
                    R"(["answer to q-0","answer to q-1","answer to q-2"])");
    CAF_CHECK_EQUAL(told(id), (std::vector<std::string>{"q-0 answer to q-0",
                                                        "q-1 answer to q-1",
                                                        "q-2 answer to q-2"}));
    CAF_CHECK(workers->living().empty());
    CAF_CHECK(pool().empty());
  }
};

} // namespace

CAF_TEST_FIXTURE_SCOPE(worker_tests, fixture)

// -- alive --------------------------------------------------------------------

CAF_TEST(a session lives in one worker from its first event to its last) {
  auto id = paused(three_questions);
  auto all = pool();
  CAF_REQUIRE_EQUAL(all.size(), 1u);
  CAF_CHECK_EQUAL(all[0].session.value_or("none"), id);
  CAF_CHECK_EQUAL(to_string(all[0].phase), "busy");
  CAF_CHECK(feed(id, "q-0", "answer to q-0"));
  CAF_CHECK_EQUAL(worker(), all[0].sid);
  check_whole(id);
  CAF_CHECK_EQUAL(workers->started(), 1u);
}

CAF_TEST(C06 a worker whose session is over leaves neither entry nor process) {
  for (auto* code : {"return 3", "error('no')"}) {
    auto view = start_in_worker(code);
    CAF_REQUIRE(view);
    CAF_CHECK(is_terminal(view->phase));
  }
  auto id = paused("return alc.llm('a')");
  CAF_CHECK(cancel(id));
  CAF_CHECK(pool().empty());
  CAF_CHECK(workers->living().empty());
  CAF_CHECK_EQUAL(workers->started(), 3u);
}

CAF_TEST(C07 a batch in a worker takes its answers in any order) {
  auto id = paused(R"(return alc.llm_batch({{prompt = "a"}, {prompt = "b"},
                                            {prompt = "c"}}))");
  CAF_CHECK(feed(id, "q-2", "C"));
  CAF_CHECK(feed(id, "q-0", "A"));
  auto end = feed(id, "", "B");
  CAF_REQUIRE(end);
  CAF_CHECK_EQUAL(end->result, R"(["A","B","C"])");
}

CAF_TEST(a script is the same in a worker and in the node) {
  auto* code = R"(
    alc.state.set("count", (alc.state.get("count") or 0) + 1)
    local names = {}
    for key in pairs({b = 1, a = 2, [3] = 3}) do
      names[#names + 1] = tostring(key)
    end
    local x = alc.llm("at " .. alc.time() .. table.concat(names))
    print("log", x)
    return {x, alc.state.get("count"), math.random(1000) > 0}
  )";
  auto there = start_in_worker(code);
  auto here = run_code(code);
  CAF_REQUIRE(there && here);
  CAF_CHECK_EQUAL(there->queries.at(0).id, here->queries.at(0).id);
  auto from_there = feed(there->session_id, "", "x");
  auto from_here = feed(here->session_id, "", "x");
  CAF_REQUIRE(from_there && from_here);
  CAF_CHECK_EQUAL(from_there->result, R"(["x",2,true])");
  CAF_CHECK_EQUAL(from_here->result, R"(["x",2,true])");
  auto lines = ask<std::vector<log_line>>(log_atom::value, there->session_id,
                                          std::uint64_t{0});
  CAF_REQUIRE(lines);
  CAF_REQUIRE_EQUAL(lines->size(), 1u);
  CAF_CHECK_EQUAL(lines->at(0).message, "log\tx");
}

CAF_TEST(a session takes a worker that waits) {
  auto warm = ask<worker_view>(pool_atom::value, spawn_atom::value, once);
  CAF_REQUIRE(warm);
  CAF_CHECK_EQUAL(to_string(warm->phase), "idle");
  paused(three_questions);
  CAF_CHECK_EQUAL(worker(), warm->sid);
}

CAF_TEST(a session that gives its machine back gives its worker back) {
  auto id = paused(three_questions);
  advance(settings.session.passivate_after + 1min);
  CAF_CHECK(workers->living().empty());
  check_whole(id);
}

// -- workers that die ---------------------------------------------------------

CAF_TEST(a worker that dies in a pause loses nothing) {
  auto id = paused(three_questions);
  CAF_CHECK(feed(id, "q-0", "answer to q-0"));
  workers->die(worker());
  run();
  CAF_CHECK_EQUAL(show(id)->phase, session_phase::paused);
  CAF_CHECK(pool().empty());
  check_whole(id);
  CAF_CHECK_EQUAL(workers->started(), 2u);
}

CAF_TEST(a worker that dies while its script runs is replaced at once) {
  auto id = paused(R"(
    local x = alc.llm("question 1")
    local n = 0
    for i = 1, 200000 do n = n + 1 end
    return x .. n
  )");
  auto answer
    = send<feed_reply>(feed_atom::value, id,
                       std::vector<muster::answer>{{"q-0", "x", std::nullopt}},
                       feed_mode::next_event, std::string{once});
  auto first = worker();
  while (workers->standing(first).at_rest)
    run(1);
  CAF_REQUIRE(!*answer);
  workers->die(first);
  run();
  CAF_REQUIRE(*answer);
  CAF_CHECK_EQUAL((**answer)->session.result, R"("x200000")");
  CAF_CHECK_EQUAL(told(id), (std::vector<std::string>{"q-0 x"}));
  CAF_CHECK_EQUAL(workers->started(), 2u);
}

CAF_TEST(a worker that hangs is replaced) {
  auto id = paused(three_questions);
  workers->hang(worker());
  auto answer = send<feed_reply>(
    feed_atom::value, id,
    std::vector<muster::answer>{{"q-0", "answer to q-0", std::nullopt}},
    feed_mode::next_event, std::string{once});
  run();
  CAF_CHECK(!*answer);
  advance(settings.pool.patience + 1s);
  // The steps of its stop.
  for (int i = 0; i < 15; ++i)
    advance(1s);
  CAF_REQUIRE(*answer);
  CAF_CHECK_EQUAL((**answer)->session.queries.at(0).id, "q-1");
  check_whole(id);
}

CAF_TEST(a script under which every worker crashes is run no more) {
  auto id = paused(R"(
    alc.llm("question 1")
    while true do end
  )");
  auto answer
    = send<feed_reply>(feed_atom::value, id,
                       std::vector<muster::answer>{{"q-0", "x", std::nullopt}},
                       feed_mode::next_event, std::string{once});
  for (int i = 0; i < 10 && !*answer; ++i) {
    run(2'000);
    for (auto& sid : workers->living())
      workers->die(sid, SIGSEGV);
    advance(2s);
  }
  CAF_REQUIRE(*answer);
  CAF_REQUIRE(**answer);
  CAF_CHECK_EQUAL((**answer)->session.phase, session_phase::failed);
  CAF_CHECK((**answer)->session.error.find("3 workers in a row crashed")
            != std::string::npos);
  CAF_CHECK_EQUAL(workers->started(), 4u);
}

CAF_TEST(a script whose workers are killed by others goes on) {
  auto id = paused(R"(
    alc.llm("question 1")
    local n = 0
    for i = 1, 300000 do n = n + 1 end
    return n
  )");
  auto answer
    = send<feed_reply>(feed_atom::value, id,
                       std::vector<muster::answer>{{"q-0", "x", std::nullopt}},
                       feed_mode::next_event, std::string{once});
  for (int i = 0; i < 6; ++i) {
    run(50);
    for (auto& sid : workers->living())
      workers->die(sid, SIGKILL);
    advance(2s);
  }
  run();
  CAF_REQUIRE(*answer);
  CAF_REQUIRE(**answer);
  CAF_CHECK_EQUAL((**answer)->session.phase, session_phase::done);
}

// -- a node that dies ---------------------------------------------------------

CAF_TEST(C04 a worker in a pause goes on with the next node) {
  auto id = paused(three_questions);
  CAF_CHECK(feed(id, "q-0", "answer to q-0"));
  auto before = pool().at(0);
  restart();
  auto after = pool();
  CAF_REQUIRE_EQUAL(after.size(), 1u);
  CAF_CHECK_EQUAL(after[0].sid, before.sid);
  CAF_CHECK_EQUAL(after[0].pid, before.pid);
  CAF_CHECK_EQUAL(after[0].session.value_or("none"), id);
  check_whole(id);
  CAF_CHECK_EQUAL(workers->started(), 1u);
}

CAF_TEST(a worker goes on though some of its answers were given to both nodes) {
  auto id = paused(R"(return alc.llm_batch({{prompt = "a"}, {prompt = "b"}}))");
  CAF_CHECK(feed(id, "q-1", "B"));
  restart();
  auto end = feed(id, "q-0", "A");
  CAF_REQUIRE(end);
  CAF_CHECK_EQUAL(end->result, R"(["A","B"])");
  CAF_CHECK_EQUAL(workers->started(), 1u);
}

CAF_TEST(an ordered stop lets workers live) {
  auto id = paused(three_questions);
  auto before = worker();
  stop();
  CAF_CHECK_EQUAL(worker(), before);
  require_start();
  check_whole(id);
  CAF_CHECK_EQUAL(workers->started(), 1u);
}

CAF_TEST(whenever the node is killed nothing is asked or answered twice) {
  for (std::size_t messages = 1; messages < 120; ++messages) {
    node_bench::kill();
    workers->die_all();
    fixture other;
    auto id = other.paused(three_questions);
    auto answer = other.send<feed_reply>(
      feed_atom::value, id,
      std::vector<muster::answer>{{"q-0", "answer to q-0", std::nullopt}},
      feed_mode::next_event, std::string{once});
    other.run(messages);
    auto acknowledged = answer->has_value();
    other.restart();
    auto view = other.show(id);
    CAF_REQUIRE(view);
    // An answer that was not acknowledged may be there or not.
    if (acknowledged && view->queries.at(0).id != "q-1")
      CAF_FAIL("after " << messages << " messages: the answer is lost");
    other.run();
    other.check_whole(id);
    CAF_CHECK_LESS(other.workers->started(), 3u);
  }
}

CAF_TEST(
  whenever the node is killed no worker stays with a session that is over) {
  for (std::size_t messages = 1; messages < 120; ++messages)
    for (auto at_its_end : {false, true}) {
      node_bench::kill();
      workers->die_all();
      fixture other;
      if (at_its_end) {
        auto id = other.paused("return alc.llm('a')");
        std::ignore = other.send<feed_reply>(
          feed_atom::value, id,
          std::vector<muster::answer>{{"q-0", "A", std::nullopt}},
          feed_mode::next_event, std::string{once});
      } else {
        std::ignore = other.send<session_view>(start_atom::value,
                                               in_worker("return alc.llm('a')"),
                                               std::string{once});
      }
      other.run(messages);
      other.restart();
      // Who does not answer has had its time.
      other.advance(1s);
      other.check_busy();
    }
}

CAF_TEST(a session that is cancelled behind a restart takes its worker along) {
  auto id = paused(three_questions);
  auto other = paused(three_questions);
  restart();
  CAF_CHECK(cancel(id));
  CAF_CHECK_EQUAL(pool().size(), 1u);
  check_whole(other);
}

CAF_TEST(a session that is cancelled while its worker starts leaves none) {
  for (std::size_t messages = 1; messages < 80; ++messages) {
    // Starts have their pace.
    advance(1s);
    auto id = paused("return alc.llm('a')");
    workers->die(worker());
    run();
    auto fed = send<feed_reply>(
      feed_atom::value, id,
      std::vector<muster::answer>{{"q-0", "A", std::nullopt}},
      feed_mode::next_event, std::string{once});
    run(messages);
    CAF_CHECK(cancel(id));
    run();
    CAF_CHECK(pool().empty());
    CAF_CHECK(workers->living().empty());
    if (active(id) != nullptr)
      CAF_ERROR("after " << messages << " messages: the session stays");
  }
}

CAF_TEST(
  a session that is cancelled before the pool is there leaves no worker) {
  auto id = paused("alc.llm('a') for i = 1, 1e6 do end return 1");
  auto mine = worker();
  auto other = paused(three_questions);
  CAF_CHECK(feed(id, "q-0", "A", feed_mode::accepted));
  kill();
  workers->die(mine);
  // The pool asks it for a while, and the session asks for a new one meanwhile.
  auto silent = worker();
  workers->hang(silent);
  require_start();
  CAF_CHECK(cancel(id));
  advance(10s);
  CAF_CHECK_EQUAL(worker(), silent);
  CAF_CHECK_EQUAL(pool().size(), 1u);
  workers->wake(silent);
  check_whole(other);
}

CAF_TEST(a worker rests in a pause only once that is on disk) {
  auto id = paused(three_questions);
  auto sid = worker();
  auto seq = workers->standing(sid).seq;
  std::ignore = send<feed_reply>(
    feed_atom::value, id,
    std::vector<muster::answer>{{"q-0", "answer to q-0", std::nullopt}},
    feed_mode::next_event, std::string{once});
  auto rests = [&] {
    auto standing = workers->standing(sid);
    return standing.at_rest && standing.seq > seq;
  };
  for (int i = 0; i < 10'000 && !rests(); ++i)
    run(1);
  CAF_REQUIRE(rests());
  cut_power();
  require_start();
  CAF_CHECK_EQUAL(show(id)->queries.at(0).id, "q-1");
  check_whole(id);
}

CAF_TEST(when everything dies at once the session is replayed) {
  auto id = paused(three_questions);
  CAF_CHECK(feed(id, "q-0", "answer to q-0"));
  cut_power();
  require_start();
  CAF_CHECK(pool().empty());
  check_whole(id);
}

// -- a pool that cannot -------------------------------------------------------

CAF_TEST(C01 a broken registry refuses workers and nothing else) {
  auto before = run_code("return alc.llm('a')");
  CAF_REQUIRE(before);
  kill();
  disk.set_contents("/state/pool/registry.json", "{\"sessions\": [");
  require_start();
  auto refused = start_in_worker(three_questions);
  CAF_REQUIRE(!refused);
  CAF_CHECK_EQUAL(refused.error().code, errc::registry_corrupted);
  CAF_CHECK(refused.error().message.find("pool/registry.json")
            != std::string::npos);
  CAF_CHECK_EQUAL(list()->size(), 1u);
  CAF_CHECK(run_code("return 3"));
  CAF_CHECK_EQUAL(feed(before->session_id, "", "x")->phase,
                  session_phase::done);
  CAF_CHECK_EQUAL(*disk.contents("/state/pool/registry.json"),
                  "{\"sessions\": [");
}

CAF_TEST(a session from disk that finds no worker tells those who wait) {
  auto id = paused(three_questions);
  kill();
  workers->die_all();
  disk.set_contents("/state/pool/registry.json", "[]");
  require_start();
  // The answer is on disk, and what comes next does not come.
  auto fed = feed(id, "q-0", "answer to q-0");
  CAF_REQUIRE(!fed);
  CAF_CHECK_EQUAL(fed.error().code, errc::registry_corrupted);
  kill();
  disk.set_contents("/state/pool/registry.json", R"({"sessions":[]})");
  require_start();
  run();
  check_whole(id);
}

CAF_TEST(where there is no room for a worker there is no session) {
  settings.pool.max_workers = 1;
  restart();
  auto id = paused(three_questions);
  auto refused = start_in_worker(three_questions);
  CAF_REQUIRE(!refused);
  CAF_CHECK_EQUAL(refused.error().code, errc::overloaded);
  CAF_CHECK_EQUAL(list()->size(), 1u);
  check_whole(id);
}

CAF_TEST_FIXTURE_SCOPE_END()
