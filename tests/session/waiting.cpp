// SPDX-License-Identifier: Apache-2.0

// Those who wait for a session, and what they may take: each of them has a
// limit, and leaves nothing behind.

#define CAF_SUITE session.waiting

#include "tests/support/node_bench.hpp"
#include "tests/support/suite.hpp"

#include <algorithm>
#include <random>

using namespace muster;
using namespace muster::test;
using namespace std::chrono_literals;

namespace {

/// Notes the events that it is sent, and never answers.
observer_actor::behavior_type
watch(observer_actor::pointer,
      std::shared_ptr<std::vector<std::uint64_t>> seen) {
  return {
    [=](const observed_event& event) { seen->push_back(event.seq); },
    [](lagged_atom, const std::string&, std::uint64_t) {
      // nop
    },
  };
}

struct fixture : node_bench {
  fixture() {
    settings.session.max_waiting = 3;
    run_limit = 20'000;
    require_start();
  }

  ~fixture() {
    for (auto& client : clients)
      caf::anon_send_exit(client, caf::exit_reason::user_shutdown);
  }

  void restart() {
    kill();
    require_start();
  }

  observer_actor observer() {
    seen = std::make_shared<std::vector<std::uint64_t>>();
    auto handle = system().spawn(watch, seen);
    clients.push_back(caf::actor_cast<caf::actor>(handle));
    return handle;
  }

  std::string paused(const std::string& code_text = "return alc.llm('q')") {
    auto view = run_code(code_text);
    CAF_REQUIRE(view);
    CAF_REQUIRE_EQUAL(view->phase, session_phase::paused);
    return view->session_id;
  }

  /// Sends several of the same, works them off, and gives what became of each.
  template <class T, class F>
  std::vector<std::string> several(int count, F send_one) {
    std::vector<answer_ptr<T>> answers;
    for (int i = 0; i < count; ++i)
      answers.push_back(send_one());
    run();
    std::vector<std::string> out;
    for (auto& x : answers)
      out.push_back(!*x ? "waits" : **x ? "ok" : to_string((*x)->error().code));
    return out;
  }

  static std::size_t count(const std::vector<std::string>& all,
                           const std::string& what) {
    return static_cast<std::size_t>(std::count(all.begin(), all.end(), what));
  }

  std::uint64_t machines() {
    advance(30s);
    return status()["sessions"]["machines"].get<std::uint64_t>();
  }

  std::vector<caf::actor> clients;
  /// The events that the last of them was sent.
  std::shared_ptr<std::vector<std::uint64_t>> seen;
};

} // namespace

CAF_TEST_FIXTURE_SCOPE(waiting_tests, fixture)

// -- limits -------------------------------------------------------------------

CAF_TEST(no more wait for an end than the limit allows) {
  auto id = paused();
  auto answers = several<session_view>(5, [&] {
    return send_as_client<session_view>(await_atom::value, id, wait_for::end);
  });
  CAF_CHECK_EQUAL(count(answers, "waits"), 3u);
  CAF_CHECK_EQUAL(count(answers, "overloaded"), 2u);
  // All others have their turn.
  CAF_CHECK(show(id));
  CAF_CHECK(feed(id, "", "x"));
}

CAF_TEST(no more observe a session than the limit allows) {
  auto id = paused();
  auto answers = several<session_view>(5, [&] {
    return send<session_view>(observe_atom::value, id, std::uint64_t{0},
                              observer());
  });
  CAF_CHECK_EQUAL(count(answers, "ok"), 3u);
  CAF_CHECK_EQUAL(count(answers, "overloaded"), 2u);
  // One who observes already may do so from somewhere else.
  auto again
    = ask<session_view>(observe_atom::value, id, std::uint64_t{2},
                        caf::actor_cast<observer_actor>(clients.front()));
  CAF_CHECK(again);
}

CAF_TEST(no more cancel a session than the limit allows) {
  auto id = paused();
  auto answers = several<session_view>(20, [&] {
    return send<session_view>(cancel_atom::value, id,
                              cancel_reason{cancel_code::user, "now", 0});
  });
  CAF_CHECK(count(answers, "ok") >= 3u);
  CAF_CHECK(count(answers, "overloaded") > 0u);
  CAF_CHECK_EQUAL(count(answers, "ok") + count(answers, "overloaded"), 20u);
  CAF_CHECK_EQUAL(show(id)->phase, session_phase::cancelled);
}

CAF_TEST(no more read a session than the limit allows) {
  settings.session.max_waiting = 1;
  restart();
  auto id = paused();
  auto answers = several<std::string>(
    20, [&] { return send<std::string>(transcript_atom::value, id); });
  CAF_CHECK(count(answers, "ok") >= 1u);
  CAF_CHECK(count(answers, "overloaded") > 0u);
  CAF_CHECK_EQUAL(count(answers, "ok") + count(answers, "overloaded"), 20u);
  CAF_CHECK(ask<std::string>(transcript_atom::value, id));
}

CAF_TEST(no more wait for a session that is loaded than the limit allows) {
  auto id = paused();
  settings.session.max_waiting = 1;
  restart();
  auto answers = several<session_view>(
    20, [&] { return send<session_view>(show_atom::value, id); });
  CAF_CHECK(count(answers, "ok") >= 1u);
  CAF_CHECK(count(answers, "overloaded") > 0u);
  CAF_CHECK_EQUAL(count(answers, "ok") + count(answers, "overloaded"), 20u);
}

CAF_TEST(no more wait for a session that leaves than the limit allows) {
  settings.session.passivate_after = 1min;
  restart();
  auto id = paused();
  // It depends on who is next whether the requests come while it leaves.
  std::mt19937_64 random{1};
  auto refused = 0;
  for (int round = 0; round < 100; ++round) {
    CAF_CHECK(show(id));
    CAF_CHECK(feed(id, "q-7", "x").error().code == errc::not_found);
    move_clock(2min);
    std::vector<answer_ptr<session_view>> answers;
    for (int i = 0; i < 8; ++i)
      answers.push_back(send<session_view>(show_atom::value, id));
    while (run_one(random))
      for (auto& [active_id, entry] : registry().active)
        if (entry.parked.size() > 3)
          CAF_FAIL(entry.parked.size() << " requests are parked");
    for (auto& x : answers) {
      CAF_REQUIRE(*x);
      if (**x)
        continue;
      CAF_CHECK_EQUAL((*x)->error().code, errc::overloaded);
      ++refused;
    }
  }
  CAF_CHECK(refused > 0);
}

CAF_TEST(no more sessions become active than the limit allows) {
  std::vector<std::string> ids;
  for (int i = 0; i < 4; ++i)
    ids.push_back(paused());
  settings.session.max_active = 2;
  restart();
  std::vector<std::string> codes;
  for (auto& id : ids) {
    auto view = ask<session_view>(observe_atom::value, id, std::uint64_t{0},
                                  observer());
    codes.push_back(view ? "ok" : to_string(view.error().code));
  }
  CAF_CHECK_EQUAL(count(codes, "ok"), 2u);
  CAF_CHECK_EQUAL(count(codes, "overloaded"), 2u);
  // By a part of its id as well.
  auto part = show(ids.back().substr(0, ids.back().size() - 1));
  CAF_REQUIRE(!part);
  CAF_CHECK_EQUAL(part.error().code, errc::overloaded);
  CAF_CHECK(part.error().message.find("session.max-active")
            != std::string::npos);
  // Those that are active are there for everybody, and make room for others.
  CAF_CHECK(feed(ids.front(), "", "x"));
  caf::anon_send_exit(clients.front(), caf::exit_reason::user_shutdown);
  run();
  CAF_CHECK(show(ids.back()));
}

CAF_TEST(snapshots of all are complete or refused) {
  paused();
  paused();
  paused();
  settings.session.max_active = 2;
  restart();
  auto all = ask<std::string>(snapshot_atom::value, snapshot_options{});
  CAF_REQUIRE(!all);
  CAF_CHECK_EQUAL(all.error().code, errc::overloaded);
}

CAF_TEST(sessions that ran go on whatever the limit is) {
  for (int i = 0; i < 3; ++i)
    CAF_CHECK(spawn("while true do end"));
  settings.session.max_active = 2;
  settings.session.max_activations = 8;
  restart();
  CAF_CHECK_EQUAL(registry().active.size(), 3u);
}

// -- virtual machines ---------------------------------------------------------

CAF_TEST(machines that wait are given back before those that work) {
  settings.session.max_machines = 3;
  restart();
  // The cheapest ones, which cannot give theirs back.
  CAF_CHECK(spawn("while true do end"));
  CAF_CHECK(spawn("while true do end"));
  for (int i = 0; i < 4; ++i)
    feed(paused("for i = 1, 9 do alc.llm('q') end return 1"), "", "x");
  CAF_CHECK(machines() <= 3u);
}

CAF_TEST(a machine that was asked for in vain is asked for when it waits) {
  settings.session.max_machines = 1;
  restart();
  auto first = *spawn("for i = 1, 1000000 do end return alc.llm('q')");
  auto second = *spawn("for i = 1, 1000000 do end return alc.llm('q')");
  CAF_CHECK_EQUAL(registry().machines, 2u);
  run();
  CAF_CHECK_EQUAL(show(first)->phase, session_phase::paused);
  CAF_CHECK_EQUAL(show(second)->phase, session_phase::paused);
  CAF_CHECK_EQUAL(registry().machines, 1u);
}

CAF_TEST(a machine that works again says so and another goes) {
  settings.session.max_machines = 1;
  restart();
  // It waited once, and works from then on.
  auto busy = paused("alc.llm('q') while true do end");
  CAF_CHECK(feed(busy, "", "x", feed_mode::accepted));
  auto other = paused();
  CAF_CHECK_EQUAL(machines(), 1u);
  CAF_CHECK_EQUAL(show(busy)->phase, session_phase::running);
  CAF_CHECK_EQUAL(show(other)->phase, session_phase::paused);
}

// -- what is left behind ------------------------------------------------------

CAF_TEST(whoever observes again is monitored once) {
  auto id = paused();
  auto watcher = observer();
  for (int i = 0; i < 5; ++i)
    CAF_CHECK(
      ask<session_view>(observe_atom::value, id, std::uint64_t{0}, watcher));
  CAF_CHECK_EQUAL(monitors_of(clients.back()), 1u);
  CAF_CHECK_EQUAL(active(id)->observers.size(), 1u);
}

CAF_TEST(whoever observes again sees nothing of what it asked for first) {
  auto id = paused("alc.llm('q') return alc.llm('q')");
  CAF_CHECK(feed(id, "", "x"));
  auto watcher = observer();
  send<session_view>(observe_atom::value, id, std::uint64_t{0}, watcher);
  send<session_view>(observe_atom::value, id, std::uint64_t{2}, watcher);
  run();
  CAF_CHECK_EQUAL(*seen, (std::vector<std::uint64_t>{3, 4}));
}

CAF_TEST(whoever observes no more is not monitored) {
  auto id = paused();
  auto watcher = observer();
  CAF_CHECK(
    ask<session_view>(observe_atom::value, id, std::uint64_t{0}, watcher));
  caf::anon_send(node(), unobserve_atom::value, id, watcher);
  run();
  CAF_CHECK_EQUAL(monitors_of(clients.back()), 0u);
  // Neither is one who has seen the end.
  CAF_CHECK(
    ask<session_view>(observe_atom::value, id, std::uint64_t{0}, watcher));
  auto end = feed(id, "", "x");
  CAF_CHECK_EQUAL(monitors_of(clients.back()), 1u);
  caf::anon_send(node(), acknowledge_atom::value, id, end->seq, watcher);
  run();
  CAF_CHECK_EQUAL(monitors_of(clients.back()), 0u);
}

CAF_TEST(a client that waits and observes may do either alone) {
  auto id = paused("alc.llm('q') for i = 1, 1000000 do end alc.llm('q') "
                   "return alc.llm('q')");
  auto watcher = observer();
  auto client = clients.back();
  CAF_CHECK_EQUAL(feed(id, "", "x", feed_mode::accepted)->phase,
                  session_phase::running);
  CAF_CHECK(
    ask<session_view>(observe_atom::value, id, std::uint64_t{0}, watcher));
  // Its wait is over, and it goes on to observe.
  auto first
    = send<session_view>(await_atom::value, id, wait_for::event, client);
  run();
  CAF_REQUIRE(*first);
  CAF_CHECK_EQUAL((**first)->phase, session_phase::paused);
  CAF_CHECK_EQUAL(monitors_of(client), 1u);
  // It observes no more, and goes on to wait.
  auto second
    = send<session_view>(await_atom::value, id, wait_for::end, client);
  run();
  caf::anon_send(node(), unobserve_atom::value, id, watcher);
  run();
  CAF_CHECK_EQUAL(monitors_of(client), 1u);
  CAF_CHECK(cancel(id));
  CAF_REQUIRE(*second);
  CAF_CHECK_EQUAL((**second)->phase, session_phase::cancelled);
  CAF_CHECK_EQUAL(monitors_of(client), 0u);
}

CAF_TEST(a client that goes is forgotten whatever it wanted) {
  auto id
    = paused("alc.llm('q') for i = 1, 1000000 do end return alc.llm('q')");
  auto watcher = observer();
  feed(id, "", "x", feed_mode::accepted);
  CAF_CHECK(
    ask<session_view>(observe_atom::value, id, std::uint64_t{0}, watcher));
  auto first = send<session_view>(await_atom::value, id, wait_for::event,
                                  clients.back());
  run();
  CAF_REQUIRE(*first);
  auto second
    = send<session_view>(await_atom::value, id, wait_for::end, clients.back());
  run();
  CAF_CHECK_EQUAL(active(id)->observers.size(), 1u);
  CAF_CHECK_EQUAL(active(id)->awaiters.size(), 1u);
  caf::anon_send_exit(clients.back(), caf::exit_reason::user_shutdown);
  run();
  CAF_CHECK_EQUAL(active(id)->observers.size(), 0u);
  CAF_CHECK_EQUAL(active(id)->awaiters.size(), 0u);
}

CAF_TEST_FIXTURE_SCOPE_END()
