// SPDX-License-Identifier: Apache-2.0

// Simulates as many lives of a node as one has time for, and says what they
// were like; or one of them with everything that happened in it.

#include "tests/simulation/simulation.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <mutex>
#include <thread>

using namespace muster::test;

namespace {

struct summary {
  std::mutex mutex;
  simulation_report sum;
  std::uint64_t runs = 0;
  std::uint64_t failed = 0;

  void add(const simulation_report& one) {
    std::lock_guard lock{mutex};
    ++runs;
    sum.add(one);
    if (!one.fault)
      return;
    ++failed;
    fmt::print("seed {}: {}\n", one.seed, *one.fault);
    std::fflush(stdout);
  }

  void print() const {
    fmt::print("{} lives, {} failed: {}\n", runs, failed, sum.text());
  }
};

int trace(simulation_options options) {
  options.trace = true;
  auto report = simulation{std::move(options)}.run();
  for (auto& line : report.trace)
    fmt::print("{}\n", line);
  if (report.fault)
    fmt::print("FAILED: {}\n", *report.fault);
  return report.fault ? 1 : 0;
}

} // namespace

int main(int argc, char** argv) {
  CLI::App app{"Simulates lives of a node"};
  std::uint64_t first = 1;
  std::uint64_t count = 10'000;
  std::optional<std::uint64_t> traced;
  simulation_options options;
  unsigned jobs = std::max(1u, std::thread::hardware_concurrency());
  app.add_option("--first", first, "The first seed");
  app.add_option("--seeds", count, "How many seeds");
  app.add_option("--steps", options.steps, "Steps of each life");
  app.add_option("--jobs", jobs, "Lives at a time")->check(CLI::Range(1, 64));
  app.add_option("--trace", traced, "Only this seed, with all that happens");
  CLI11_PARSE(app, argc, argv);
  if (traced) {
    options.seed = *traced;
    return trace(std::move(options));
  }
  summary all;
  std::atomic<std::uint64_t> next{first};
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < jobs; ++i)
    threads.emplace_back([&] {
      for (auto seed = next++; seed < first + count; seed = next++) {
        auto mine = options;
        mine.seed = seed;
        all.add(simulation{std::move(mine)}.run());
      }
    });
  for (auto& thread : threads)
    thread.join();
  all.print();
  return all.failed > 0 ? 1 : 0;
}
