// SPDX-License-Identifier: Apache-2.0

#define CAF_SUITE simulation.seeds

#include "tests/simulation/simulation.hpp"
#include "tests/support/suite.hpp"

using namespace muster;
using namespace muster::test;

namespace {

simulation_report simulate(std::uint64_t seed) {
  simulation_options options;
  options.seed = seed;
  return simulation{std::move(options)}.run();
}

} // namespace

CAF_TEST(
  nothing that was acknowledged is lost in three hundred simulated lives) {
  simulation_report sum;
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    auto report = simulate(seed);
    if (report.fault)
      CAF_ERROR("seed " << seed << ": " << *report.fault
                        << "; for what happened: simulate --trace " << seed);
    CAF_CHECK(report.syncs > 0);
    sum.add(report);
  }
  CAF_MESSAGE(sum.text());
  // If little happens, little is proven.
  CAF_CHECK(sum.acknowledged > 300u * 10);
  CAF_CHECK(sum.observed > 300u * 10);
  CAF_CHECK(sum.missed > 20u);
  CAF_CHECK(sum.kills + sum.power_cuts > 300u * 2);
  CAF_CHECK(sum.stops > 300u);
  CAF_CHECK(sum.disk_faults > 300u * 2);
  CAF_CHECK(sum.damages > 300u);
  CAF_CHECK(sum.damages_refused > 30u);
  CAF_CHECK(sum.workers > 300u * 10);
  CAF_CHECK(sum.workers_killed > 300u);
  CAF_CHECK(sum.workers_crashed > 300u);
  CAF_CHECK(sum.workers_hung > 300u);
  CAF_CHECK(sum.workers_survived > 100u);
  CAF_CHECK(sum.sockets_usurped > 100u);
  CAF_CHECK(sum.given_up > 3u);
}

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
