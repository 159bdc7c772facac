// SPDX-License-Identifier: Apache-2.0

#include "tests/bench/groups.hpp"
#include "tests/bench/in_process_node.hpp"

#include "actors/recovery/recovery_registry.hpp"

#include <fmt/format.h>

#include <chrono>
#include <stdexcept>
#include <thread>

#include <signal.h>

namespace muster::bench {

namespace {

using clock = std::chrono::steady_clock;

using microseconds = std::chrono::duration<double, std::micro>;

using milliseconds = std::chrono::duration<double, std::milli>;

constexpr int many_handlers = 1'000;

// -- passes -------------------------------------------------------------------

/// How long a pass over functions takes that have nothing to do.
double pass_over_functions() {
  recovery_table table{{}};
  for (int i = 0; i < many_handlers; ++i)
    if (!table.add({fmt::format("handler{}", i)}, 0,
                   [](std::uint64_t) { return std::vector<std::uint8_t>{}; }))
      throw std::runtime_error{"a handler cannot be added"};
  constexpr int count = 2'000;
  auto begin = clock::now();
  for (int i = 1; i <= count; ++i)
    if (table.begin_pass(1, i).size() != 1)
      throw std::runtime_error{"a pass has not ended"};
  return microseconds{clock::now() - begin}.count() / count;
}

recovery_handler_actor::behavior_type idle_handler() {
  return {
    [](recover_atom, std::uint64_t, std::uint64_t) {
      return std::vector<std::uint8_t>{};
    },
  };
}

/// A node that asks nobody by itself.
node_settings without_ticks() {
  node_settings out;
  out.tick.interval = std::chrono::hours(1);
  return out;
}

using asking_actor
  = caf::typed_actor<caf::replies_to<run_atom>::with<std::uint64_t>>;

/// Asks all of them, and answers how many have answered.
asking_actor::behavior_type
asker(asking_actor::pointer self,
      const std::vector<recovery_handler_actor>& handlers) {
  return {
    [=](run_atom) {
      auto done = self->make_response_promise<std::uint64_t>();
      auto count = std::make_shared<std::uint64_t>(0);
      for (auto& x : handlers)
        self
          ->request(x, caf::infinite, recover_atom::value, std::uint64_t{1},
                    std::uint64_t{4})
          .then([=, all = handlers.size()](
                  const std::vector<std::uint8_t>&) mutable {
            if (++*count == all)
              done.deliver(*count);
          });
      return done;
    },
  };
}

/// What the framework takes for as many requests and answers.
double requests_to_actors(const options& how) {
  scratch folder{how.folder};
  in_process_node node{folder.path(), without_ticks()};
  caf::scoped_actor self{node.system()};
  std::vector<recovery_handler_actor> handlers;
  for (int i = 0; i < many_handlers; ++i)
    handlers.push_back(self->spawn(idle_handler));
  auto all = self->spawn(asker, handlers);
  std::vector<double> samples;
  for (int i = 0; i < 200; ++i) {
    auto begin = clock::now();
    self->request(all, caf::infinite, run_atom::value)
      .receive([](std::uint64_t) {},
               [](const caf::error& error) {
                 throw std::runtime_error{from_caf(error).message};
               });
    samples.push_back(milliseconds{clock::now() - begin}.count());
  }
  self->send_exit(all, caf::exit_reason::user_shutdown);
  for (auto& x : handlers)
    self->send_exit(x, caf::exit_reason::user_shutdown);
  return median(std::move(samples));
}

/// A pass over actors, in a node.
double pass_over_actors(const options& how) {
  scratch folder{how.folder};
  in_process_node node{folder.path(), without_ticks()};
  caf::scoped_actor self{node.system()};
  std::vector<recovery_handler_actor> handlers;
  for (int i = 0; i < many_handlers; ++i) {
    handlers.push_back(self->spawn(idle_handler));
    node.ask<std::uint64_t>(recovery_atom::value, register_atom::value,
                            handler_definition{fmt::format("handler{}", i)},
                            handlers.back());
  }
  std::vector<double> samples;
  for (int i = 0; i < 200; ++i) {
    auto begin = clock::now();
    node.ask<recovery_pass>(recovery_atom::value, run_atom::value);
    samples.push_back(milliseconds{clock::now() - begin}.count());
  }
  for (int i = 0; i < many_handlers; ++i)
    node.ask<std::uint64_t>(recovery_atom::value, remove_atom::value,
                            fmt::format("handler{}", i));
  for (auto& x : handlers)
    self->send_exit(x, caf::exit_reason::user_shutdown);
  return median(std::move(samples));
}

// -- a group of workers -------------------------------------------------------

/// How long it takes from the death of a worker until another one is ready in
/// its slot, and that is on disk.
double replacement(const options& how) {
  scratch folder{how.folder};
  in_process_node node{folder.path()};
  slot_group_definition what;
  what.name = "crew";
  what.slots = 1;
  what.policy.initial = std::chrono::milliseconds(0);
  what.policy.max_restarts = 0;
  auto group = node.ask<slot_group_view>(group_atom::value, create_atom::value,
                                         what, std::string{once});
  auto wait = [&](std::uint64_t behind) {
    for (;;) {
      auto& slot = group.slots.front();
      if (slot.health == slot_health::healthy && slot.term > behind
          && slot.pid != 0)
        return slot;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      group = node.ask<slot_group_view>(group_atom::value, show_atom::value,
                                        std::string{"crew"});
    }
  };
  std::vector<double> samples;
  auto slot = wait(0);
  for (int i = 0; i < 20; ++i) {
    auto begin = clock::now();
    ::kill(slot.pid, SIGKILL);
    slot = wait(slot.term);
    samples.push_back(milliseconds{clock::now() - begin}.count());
  }
  node.ask<caf::ok_atom>(group_atom::value, delete_atom::value,
                         std::string{"crew"});
  return median(std::move(samples));
}

} // namespace

group recovery(const options& how) {
  group out;
  out.rows
    = run_interleaved(how, {
                             {"recovery, pass over 1,000 idle functions", "us",
                              [] { return pass_over_functions(); }},
                             {"recovery, pass over 1,000 idle actors", "ms",
                              [&] { return pass_over_actors(how); }},
                             {"recovery, 1,000 requests to actors", "ms",
                              [&] { return requests_to_actors(how); }},
                             {"recovery, death of a worker to the next one",
                              "ms", [&] { return replacement(how); }},
                           });
  out.bars = {
    {"recovery, pass over 1,000 idle functions", false, 10, ""},
    {"recovery, pass over 1,000 idle actors", false, 2, ""},
    {"recovery, pass over 1,000 idle actors", false, 2,
     "recovery, 1,000 requests to actors"},
    {"recovery, death of a worker to the next one", false, 100, ""},
  };
  return out;
}

} // namespace muster::bench
