// SPDX-License-Identifier: Apache-2.0

#include "tests/bench/groups.hpp"
#include "tests/bench/in_process_node.hpp"

#include <chrono>
#include <filesystem>
#include <fstream>
#include <future>
#include <stdexcept>

#include <malloc.h>
#include <unistd.h>

namespace muster::bench {

namespace {

/// The slowest of many requests for the status while everything is busy, in
/// milliseconds.
double slowest_status(const options& how) {
  scratch folder{how.folder};
  in_process_node node{folder.path()};
  auto ids = node.spawn(asking_script(), 1'000);
  caf::scoped_actor self{node.system()};
  session_spec spinning;
  spinning.code = "while true do end";
  spinning.name = "spin.lua";
  for (int i = 0; i < 50; ++i)
    self
      ->request(node.handle(), std::chrono::seconds(30), spawn_atom::value,
                spinning, once)
      .receive([](const std::string&) {},
               [&](const caf::error& error) {
                 throw std::runtime_error{node.system().render(error)};
               });
  auto feeding = std::async(std::launch::async,
                            [&] { return node.feed(ids, how.seconds + 2); });
  double slowest = 0;
  auto end = std::chrono::steady_clock::now()
             + std::chrono::duration<double>(how.seconds + 1);
  while (std::chrono::steady_clock::now() < end) {
    auto begin = std::chrono::steady_clock::now();
    static_cast<void>(node.status());
    std::chrono::duration<double, std::milli> took
      = std::chrono::steady_clock::now() - begin;
    slowest = std::max(slowest, took.count());
  }
  feeding.get();
  return slowest;
}

double count_entries(const char* folder) {
  double count = 0;
  for ([[maybe_unused]] auto& entry :
       std::filesystem::directory_iterator{folder})
    ++count;
  return count;
}

/// Starts a node, has it do something, and stops it.
void live_once(const std::string& folder) {
  in_process_node node{folder};
  auto ids = node.spawn("alc.llm('q') return 1", 2);
  node.feed(ids, 0);
}

/// What is left over of many lives.
struct leftovers {
  double descriptors = 0;
  double threads = 0;
  double bytes = 0;

  static leftovers now() {
    return {count_entries("/proc/self/fd"), count_entries("/proc/self/task"),
            static_cast<double>(::mallinfo2().uordblks)};
  }
};

} // namespace

group life(const options& how) {
  group out;
  out.rows.push_back(
    run_alone(how,
              {"slowest status, 1,000 sessions fed, 50 scripts that spin", "ms",
               [&] { return slowest_status(how); }},
              3));
  leftovers before;
  leftovers after;
  auto cycles = run_alone(how,
                          {"start and stop of a node", "ms",
                           [&] {
                             scratch folder{how.folder};
                             for (int i = 0; i < 20; ++i)
                               live_once(folder.path());
                             before = leftovers::now();
                             auto begin = std::chrono::steady_clock::now();
                             for (int i = 0; i < how.cycles; ++i)
                               live_once(folder.path());
                             std::chrono::duration<double, std::milli> took
                               = std::chrono::steady_clock::now() - begin;
                             after = leftovers::now();
                             return took.count() / how.cycles;
                           }},
                          1);
  auto ran = !cycles.samples.empty();
  auto left = [&](const char* what, double count, double unit) {
    row x{what, "", {}, {}, cycles.not_run};
    if (ran)
      x.samples = {count / unit};
    x.unit = unit == 1 ? "left" : "bytes per life";
    return x;
  };
  out.rows.push_back(cycles);
  out.rows.push_back(left("descriptors after all starts and stops",
                          after.descriptors - before.descriptors, 1));
  out.rows.push_back(left("threads after all starts and stops",
                          after.threads - before.threads, 1));
  out.rows.push_back(left("memory after all starts and stops",
                          after.bytes - before.bytes, how.cycles));
  out.bars = {
    {"slowest status, 1,000 sessions fed, 50 scripts that spin",
     false,
     100,
     {}},
    {"descriptors after all starts and stops", false, 0, {}},
    {"threads after all starts and stops", false, 0, {}},
    {"memory after all starts and stops", false, 256, {}},
  };
  return out;
}

} // namespace muster::bench
