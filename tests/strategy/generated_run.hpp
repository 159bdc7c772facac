// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace muster::test {

/// What became of a generated program.
struct generated_run {
  std::uint64_t seed = 0;
  std::string program;
  /// What was not the same in all runs; absent if nothing.
  std::optional<std::string> fault;
  /// All events of its first run.
  std::string events;
  /// What it did, and how often.
  std::map<std::string, std::uint64_t> hits;
  std::uint64_t pauses = 0;
  std::uint64_t replays = 0;
  /// Whether it returned, and did not raise an error.
  bool returned = false;
};

/// Runs the program of a seed straight through, and once more with a new
/// machine behind every event, and compares all that left it. What must make no
/// difference is another one in the replays: addresses, the seed of the hashes,
/// when memory is collected, and where slices end.
[[nodiscard]] generated_run run_generated(std::uint64_t seed);

} // namespace muster::test
