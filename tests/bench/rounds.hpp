// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace muster::bench {

/// What all measurements share.
struct options {
  /// How often each row is measured.
  int rounds = 5;
  /// Seconds that one measurement of a rate takes.
  double seconds = 0.7;
  /// Only rows whose name contains this.
  std::string only;
  /// Where files are written. Must be on a disk.
  std::string folder;
  /// Sessions that the restart has to cope with.
  std::size_t stored_sessions = 100'000;
  /// How often a node is started and stopped.
  int cycles = 1'000;
};

/// What one row measured: in one unit, as often as there were rounds.
struct row {
  std::string name;
  std::string unit;
  std::vector<double> samples;
  /// Of each round, in fdatasync calls per second, before and after.
  std::vector<double> raw;
  /// Why it was not run; empty if it was.
  std::string not_run;

  [[nodiscard]] double median() const;
};

/// Something that can be measured. Throws if it cannot be done here.
struct contender {
  std::string name;
  std::string unit;
  std::function<double()> measure;
};

/// What has to be reached.
struct bar {
  std::string row;
  /// At least (true) or at most.
  bool at_least = true;
  double value = 0;
  /// What the row is divided by first; empty means nothing.
  std::string by;
};

/// The middle of some samples.
[[nodiscard]] double median(std::vector<double> samples);

/// Writes of 256 bytes per second, each followed by fdatasync, on the disk of
/// `folder`, measured for a quarter of a second.
[[nodiscard]] double raw_syncs(const std::string& folder);

/// Measures every contender once in each round, so that what drifts meets all
/// of them, with a probe of the raw disk before and after each.
[[nodiscard]] std::vector<row>
run_interleaved(const options& how, const std::vector<contender>& contenders);

/// Measures something that needs no comparison with the disk.
[[nodiscard]] row run_alone(const options& how, const contender& what,
                            int rounds);

/// Prints the rows as a table.
void print(const std::vector<row>& rows);

/// Prints each bar with what was reached.
/// @returns how many were missed.
int print(const std::vector<bar>& bars, const std::vector<row>& rows);

} // namespace muster::bench
