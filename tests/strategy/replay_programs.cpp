// SPDX-License-Identifier: Apache-2.0

// Generates as many programs as one has time for, replays each, and says what
// they did; or shows one of them.

#include "tests/strategy/generated_run.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <atomic>
#include <cstdio>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

using namespace muster::test;

namespace {

struct summary {
  std::mutex mutex;
  std::map<std::string, std::uint64_t> hits;
  std::uint64_t runs = 0;
  std::uint64_t failed = 0;
  std::uint64_t returned = 0;
  std::uint64_t pauses = 0;
  std::uint64_t replays = 0;

  void add(const generated_run& one) {
    std::lock_guard lock{mutex};
    ++runs;
    pauses += one.pauses;
    replays += one.replays;
    returned += one.returned ? 1 : 0;
    for (auto& [what, count] : one.hits)
      hits[what] += count;
    if (!one.fault)
      return;
    ++failed;
    fmt::print("seed {}: {}\n", one.seed, *one.fault);
    std::fflush(stdout);
  }

  void print() const {
    for (auto& [what, count] : hits)
      fmt::print("{:>9}  {}\n", count, what);
    fmt::print("{} programs, {} failed: {} returned, {} pauses, {} replays\n",
               runs, failed, returned, pauses, replays);
  }
};

int trace(std::uint64_t seed) {
  auto run = run_generated(seed);
  fmt::print("{}\n{}\n", run.program, run.events);
  if (run.fault)
    fmt::print("FAILED: {}\n", *run.fault);
  return run.fault ? 1 : 0;
}

} // namespace

int main(int argc, char** argv) {
  CLI::App app{"Replays generated programs"};
  std::uint64_t first = 1;
  std::uint64_t count = 10'000;
  std::optional<std::uint64_t> traced;
  unsigned jobs = std::max(1u, std::thread::hardware_concurrency());
  app.add_option("--first", first, "The first seed");
  app.add_option("--seeds", count, "How many seeds");
  app.add_option("--jobs", jobs, "Programs at a time")
    ->check(CLI::Range(1, 64));
  app.add_option("--trace", traced, "Only this seed, with its text and events");
  CLI11_PARSE(app, argc, argv);
  if (traced)
    return trace(*traced);
  summary all;
  std::atomic<std::uint64_t> next{first};
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < jobs; ++i)
    threads.emplace_back([&] {
      for (auto seed = next++; seed < first + count; seed = next++)
        all.add(run_generated(seed));
    });
  for (auto& thread : threads)
    thread.join();
  all.print();
  return all.failed > 0 ? 1 : 0;
}
