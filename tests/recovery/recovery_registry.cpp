// SPDX-License-Identifier: Apache-2.0

// Who is asked to put back what died, in a whole node whose clock the test
// moves.

#define CAF_SUITE recovery.registry

#include "actors/recovery/recovery_registry.hpp"

#include "tests/support/node_bench.hpp"
#include "tests/support/suite.hpp"

#include <fmt/format.h>

#include <stdexcept>

using namespace muster;
using namespace muster::test;
using namespace std::chrono_literals;

namespace {

using slots = std::vector<std::uint8_t>;
using names = std::vector<std::string>;

/// A handler that is an actor; how it answers is the test's.
struct scripted_handler {
  std::size_t asked = 0;
  std::uint64_t budget = 0;
  slots gives;
  bool fails = false;
  bool is_silent = false;
  caf::typed_response_promise<slots> open;
};

using script = std::shared_ptr<scripted_handler>;

using handler_impl = recovery_handler_actor::extend<caf::reacts_to<beat_atom>>;

handler_impl::behavior_type handler(handler_impl::pointer self, script x) {
  return {
    [=](recover_atom, std::uint64_t,
        std::uint64_t budget) -> caf::result<slots> {
      ++x->asked;
      x->budget = budget;
      if (x->fails)
        return make_error(errc::internal, "it cannot");
      if (!x->is_silent)
        return x->gives;
      x->open = self->make_response_promise<slots>();
      return x->open;
    },
    // Only the actor that made a promise may keep it.
    [=](beat_atom) { x->open.deliver(x->gives); },
  };
}

struct fixture : node_bench {
  fixture() {
    require_start();
  }

  ~fixture() {
    for (auto& x : scripts)
      x->open = {};
    for (auto& x : handlers)
      anon_send_exit(x, caf::exit_reason::kill);
    handlers.clear();
    last = nullptr;
    run_all();
  }

  recovery_registry_impl recovery() {
    return caf::actor_cast<recovery_registry_impl>(parts().recovery);
  }

  template <class T>
  static T value(const answer_ptr<T>& x) {
    CAF_REQUIRE(*x);
    CAF_REQUIRE(**x);
    return ***x;
  }

  template <class T>
  static errc code(const answer_ptr<T>& x) {
    CAF_REQUIRE(*x);
    CAF_REQUIRE(!**x);
    return (**x).error().code;
  }

  std::uint64_t add(const std::string& name, recovery_function run,
                    handler_policy policy = handler_policy::evict) {
    auto x = send_to<std::uint64_t>(
      recovery(), recovery_atom::value, register_atom::value,
      local_handler{{name, policy}, std::move(run)});
    run_all();
    return value(x);
  }

  void run_all() {
    node_bench::run();
  }

  script add_actor(const std::string& name,
                   handler_policy policy = handler_policy::evict) {
    auto x = std::make_shared<scripted_handler>();
    auto who = system().spawn(handler, x);
    last = caf::actor_cast<caf::actor>(who);
    handlers.push_back(last);
    scripts.push_back(x);
    auto added
      = send<std::uint64_t>(recovery_atom::value, register_atom::value,
                            handler_definition{name, policy},
                            caf::actor_cast<recovery_handler_actor>(who));
    run_all();
    value(added);
    return x;
  }

  recovery_pass pass() {
    auto x = ask<recovery_pass>(recovery_atom::value, run_atom::value);
    CAF_REQUIRE(x);
    return *x;
  }

  std::vector<handler_view> listed() {
    auto x
      = ask<std::vector<handler_view>>(recovery_atom::value, list_atom::value);
    CAF_REQUIRE(x);
    return *x;
  }

  /// The handler that was added last, and all of them.
  caf::actor last;
  std::vector<caf::actor> handlers;
  std::vector<script> scripts;
};

} // namespace

CAF_TEST_FIXTURE_SCOPE(recovery_registry_tests, fixture)

CAF_TEST(R1 a pass collects what handlers put back and drops one that throws) {
  CAF_CHECK(listed().empty());
  auto a = std::make_shared<int>(0);
  auto b = std::make_shared<int>(0);
  CAF_CHECK_EQUAL(add("a",
                      [=](std::uint64_t) {
                        ++*a;
                        return slots{0, 1};
                      }),
                  1u);
  CAF_CHECK_EQUAL(add("b",
                      [=](std::uint64_t) -> slots {
                        ++*b;
                        throw std::runtime_error{"it broke"};
                      }),
                  2u);
  auto first = pass();
  CAF_CHECK_EQUAL(first.indices(), (slots{0, 1}));
  CAF_CHECK_EQUAL(first.failed, names{"b"});
  CAF_CHECK_EQUAL(listed().size(), 1u);
  CAF_CHECK_EQUAL(*a, 1);
  CAF_CHECK_EQUAL(*b, 1);
  CAF_CHECK_EQUAL(pass().indices(), (slots{0, 1}));
  CAF_CHECK_EQUAL(*a, 2);
  CAF_CHECK_EQUAL(*b, 1);
}

CAF_TEST(R2 a handler may register another which is asked in the next pass) {
  auto is_done = std::make_shared<bool>(false);
  add("first", [=, to = recovery(), &sys = system()](std::uint64_t) {
    if (!std::exchange(*is_done, true))
      sys.spawn([=](caf::event_based_actor* self) {
        self->send(
          to, recovery_atom::value, register_atom::value,
          local_handler{{"second"}, [](std::uint64_t) { return slots{99}; }});
      });
    return slots{7};
  });
  CAF_CHECK_EQUAL(pass().indices(), slots{7});
  CAF_CHECK_EQUAL(listed().size(), 2u);
  // Those that were there come first.
  CAF_CHECK_EQUAL(pass().indices(), (slots{7, 99}));
}

CAF_TEST(R3 a handler that takes its time holds up no registration) {
  auto slow = add_actor("slow");
  slow->is_silent = true;
  auto x = send<recovery_pass>(recovery_atom::value, run_atom::value);
  run_all();
  CAF_CHECK_EQUAL(slow->asked, 1u);
  CAF_CHECK_EQUAL(add("other", [](std::uint64_t) { return slots{}; }), 2u);
  CAF_CHECK(!*x);
  anon_send(last, beat_atom::value);
  run_all();
  CAF_CHECK(*x);
  CAF_CHECK_EQUAL(slow->asked, 1u);
}

CAF_TEST(answers are in the order of registrations whoever answers first) {
  auto a = add_actor("a");
  auto first = last;
  auto b = add_actor("b");
  a->gives = {1};
  b->gives = {2};
  a->is_silent = true;
  auto x = send<recovery_pass>(recovery_atom::value, run_atom::value);
  run_all();
  CAF_CHECK(!*x);
  anon_send(first, beat_atom::value);
  run_all();
  CAF_CHECK_EQUAL(value(x).indices(), (slots{1, 2}));
}

CAF_TEST(a slow handler is late and not evicted and asked no second time) {
  auto slow = add_actor("slow");
  auto slow_hdl = last;
  auto quick = add_actor("quick");
  slow->is_silent = true;
  slow->gives = {5};
  quick->gives = {6};
  auto x = send<recovery_pass>(recovery_atom::value, run_atom::value);
  run_all();
  CAF_CHECK(!*x);
  advance(200ms);
  auto first = value(x);
  CAF_CHECK_EQUAL(first.indices(), slots{6});
  CAF_CHECK_EQUAL(first.late, names{"slow"});
  CAF_CHECK(listed().at(0).is_late);
  CAF_CHECK_EQUAL(pass().indices(), slots{6});
  CAF_CHECK_EQUAL(slow->asked, 1u);
  // What it says at last counts in the pass that comes next.
  slow->is_silent = false;
  anon_send(slow_hdl, beat_atom::value);
  run_all();
  CAF_CHECK_EQUAL(pass().indices(), (slots{5, 5, 6}));
  CAF_CHECK_EQUAL(slow->asked, 2u);
  CAF_CHECK_EQUAL(listed().at(0).recovered, 2u);
}

CAF_TEST(an actor that goes down is evicted) {
  add_actor("a");
  CAF_CHECK_EQUAL(listed().size(), 1u);
  anon_send_exit(last, caf::exit_reason::kill);
  run_all();
  CAF_CHECK(listed().empty());
  CAF_CHECK(!has_died());
}

CAF_TEST(one in quarantine is asked again later) {
  auto x = add_actor("a", handler_policy::quarantine);
  x->fails = true;
  CAF_CHECK_EQUAL(pass().failed, names{"a"});
  auto view = listed().at(0);
  CAF_CHECK(view.quarantine_ms);
  CAF_CHECK_EQUAL(view.last_error, "it cannot");
  pass();
  CAF_CHECK_EQUAL(x->asked, 1u);
  x->fails = false;
  x->gives = {3};
  advance(500ms);
  CAF_CHECK_EQUAL(pass().indices(), slots{3});
}

CAF_TEST(a function in quarantine is run again later) {
  auto fails = std::make_shared<bool>(true);
  auto runs = std::make_shared<int>(0);
  add(
    "f",
    [=](std::uint64_t) {
      ++*runs;
      if (*fails)
        throw std::runtime_error{"not yet"};
      return slots{4};
    },
    handler_policy::quarantine);
  CAF_CHECK_EQUAL(pass().failed, names{"f"});
  CAF_CHECK_EQUAL(listed().at(0).last_error, "not yet");
  pass();
  CAF_CHECK_EQUAL(*runs, 1);
  *fails = false;
  advance(500ms);
  CAF_CHECK_EQUAL(pass().indices(), slots{4});
  CAF_CHECK_EQUAL(listed().at(0).runs, 2u);
  CAF_CHECK_EQUAL(listed().at(0).recovered, 1u);
}

CAF_TEST(functions share what a pass may put back and take turns) {
  settings.recovery.max_recoveries = 5;
  kill();
  require_start();
  auto greedy = [](std::uint8_t first) {
    return [=](std::uint64_t budget) {
      slots out;
      for (std::uint64_t i = 0; i < budget; ++i)
        out.push_back(first);
      return out;
    };
  };
  add("a", greedy(1));
  add("b", greedy(2));
  CAF_CHECK_EQUAL(pass().indices(), (slots{1, 1, 1, 1, 2}));
  CAF_CHECK_EQUAL(pass().indices(), (slots{1, 2, 2, 2, 2}));
}

CAF_TEST(a handler that has no function is refused) {
  auto x
    = send_to<std::uint64_t>(recovery(), recovery_atom::value,
                             register_atom::value, local_handler{{"f"}, {}});
  run_all();
  CAF_CHECK_EQUAL(code(x), errc::invalid_argument);
}

CAF_TEST(one whose failure is to be escalated ends the node) {
  auto x = add_actor("a", handler_policy::escalate);
  x->fails = true;
  send<recovery_pass>(recovery_atom::value, run_atom::value);
  run_all();
  CAF_CHECK(has_died());
}

CAF_TEST(a handler can be taken out by its name) {
  auto x = add_actor("a");
  auto gone = send<std::uint64_t>(recovery_atom::value, remove_atom::value,
                                  std::string{"a"});
  run_all();
  CAF_CHECK_EQUAL(value(gone), 0u);
  pass();
  CAF_CHECK_EQUAL(x->asked, 0u);
  auto again = send<std::uint64_t>(recovery_atom::value, remove_atom::value,
                                   std::string{"a"});
  run_all();
  CAF_CHECK_EQUAL(code(again), errc::not_found);
}

CAF_TEST(a handler without an actor and one of a known name are refused) {
  auto none
    = send<std::uint64_t>(recovery_atom::value, register_atom::value,
                          handler_definition{"a"}, recovery_handler_actor{});
  add_actor("b");
  auto same = send<std::uint64_t>(
    recovery_atom::value, register_atom::value, handler_definition{"b"},
    caf::actor_cast<recovery_handler_actor>(last));
  run_all();
  CAF_CHECK_EQUAL(code(none), errc::invalid_argument);
  CAF_CHECK_EQUAL(code(same), errc::conflict);
  CAF_CHECK_EQUAL(listed().size(), 1u);
}

CAF_TEST(each beat asks all and passes never overlap) {
  settings.tick.interval = 500ms;
  kill();
  require_start();
  auto x = add_actor("a");
  x->gives = {1};
  advance(500ms);
  CAF_CHECK_EQUAL(x->asked, 1u);
  // One that does not answer is left behind by its pass, and by its beat.
  x->is_silent = true;
  advance(500ms);
  CAF_CHECK_EQUAL(x->asked, 2u);
  advance(2s);
  CAF_CHECK_EQUAL(x->asked, 2u);
  auto steps = status()["tick"]["steps"];
  CAF_REQUIRE_EQUAL(steps.size(), 5u);
  CAF_CHECK_EQUAL(steps[0]["name"], "probes");
  CAF_CHECK_EQUAL(steps[1]["name"], "recovery");
  CAF_CHECK_EQUAL(steps[1]["done"], 1);
  CAF_CHECK_EQUAL(steps[2]["name"], "pool");
  CAF_CHECK_EQUAL(status()["recovery"]["recovered"], 1);
}

CAF_TEST(nothing is asked once the node stops) {
  auto x = add_actor("a");
  auto registry = recovery();
  auto stopped = send_to<caf::ok_atom>(registry, stop_atom::value);
  run_all();
  value(stopped);
  auto late
    = send_to<recovery_pass>(registry, recovery_atom::value, run_atom::value);
  run_all();
  CAF_CHECK_EQUAL(code(late), errc::shutting_down);
  CAF_CHECK_EQUAL(x->asked, 0u);
}

CAF_TEST_FIXTURE_SCOPE_END()
