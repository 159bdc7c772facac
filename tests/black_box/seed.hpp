// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "tests/support/suite.hpp"

#include <cstdint>
#include <cstdlib>
#include <random>

namespace muster::test {

/// What leads through a test that chance drives; `MUSTER_SEED` repeats one.
inline std::uint64_t chosen_seed() {
  auto* given = std::getenv("MUSTER_SEED");
  auto seed = given ? std::strtoull(given, nullptr, 10)
                    : std::uint64_t{std::random_device{}()};
  CAF_MESSAGE("seed " << seed);
  return seed;
}

} // namespace muster::test
