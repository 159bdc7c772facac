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

CAF_TEST(nothing that was acknowledged is lost in many simulated lives) {
  constexpr std::uint64_t lives = 150;
  simulation_report sum;
  for (std::uint64_t seed = 1; seed <= lives; ++seed) {
    auto report = simulate(seed);
    if (report.fault)
      CAF_ERROR("seed " << seed << ": " << *report.fault
                        << "; for what happened: simulate --trace " << seed);
    CAF_CHECK(report.syncs > 0);
    sum.add(report);
  }
  CAF_MESSAGE(sum.text());
  // If little happens, little is proven.
  CAF_CHECK(sum.acknowledged > lives * 10);
  CAF_CHECK(sum.observed > lives * 10);
  CAF_CHECK(sum.missed > 20u);
  CAF_CHECK(sum.kills + sum.power_cuts > lives * 2);
  CAF_CHECK(sum.stops > lives);
  CAF_CHECK(sum.disk_faults > lives * 2);
  CAF_CHECK(sum.damages > lives);
  CAF_CHECK(sum.damages_refused > 20u);
  CAF_CHECK(sum.workers > lives * 10);
  CAF_CHECK(sum.workers_killed > lives);
  CAF_CHECK(sum.workers_crashed > lives);
  CAF_CHECK(sum.workers_hung > lives);
  CAF_CHECK(sum.workers_survived > 60u);
  CAF_CHECK(sum.sockets_usurped > 60u);
  CAF_CHECK(sum.given_up > 1u);
  CAF_CHECK(sum.groups > lives);
  CAF_CHECK(sum.occupants > lives * 10);
  CAF_CHECK(sum.recovered > lives);
  CAF_CHECK(sum.passes > lives * 10);
  CAF_CHECK(sum.handlers_failed > lives);
}
