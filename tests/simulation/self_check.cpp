// SPDX-License-Identifier: Apache-2.0

// That the simulation is worth something: it repeats itself, and it notices.

#define CAF_SUITE simulation.self_check

#include "tests/simulation/simulation.hpp"
#include "tests/support/suite.hpp"

using namespace muster;
using namespace muster::test;

CAF_TEST(a seed gives the same run every time) {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    simulation_options options;
    options.seed = seed;
    options.trace = true;
    auto first = simulation{options}.run();
    auto second = simulation{options}.run();
    CAF_CHECK(first.trace.size() > 50u);
    CAF_CHECK(first.trace == second.trace);
    CAF_CHECK_EQUAL(first.syncs, second.syncs);
  }
}

CAF_TEST(a sync that is left out is noticed) {
  auto drops = [](std::string ending) {
    return [=](node_bench& bench) {
      bench.disk.drops_sync = [=](const std::string& path) {
        return path.size() >= ending.size()
               && path.compare(path.size() - ending.size(), ending.size(),
                               ending)
                    == 0;
      };
    };
  };
  for (auto* ending : {"-wal", ".db"}) {
    int noticed = 0;
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
      simulation_options options;
      options.seed = seed;
      options.prepare = drops(ending);
      if (simulation{std::move(options)}.run().fault)
        ++noticed;
    }
    CAF_MESSAGE("without syncs of " << ending << ": noticed by " << noticed
                                    << " of 20 seeds");
    CAF_CHECK(noticed > 0);
  }
}
