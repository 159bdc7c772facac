// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <chrono>
#include <cstdint>

namespace muster {

/// Keeps others from filling the log: lets a few lines pass in each window of
/// time, and counts the rest.
class log_limit {
public:
  // -- member types -----------------------------------------------------------

  using time_point = std::chrono::steady_clock::time_point;

  // -- constants --------------------------------------------------------------

  static constexpr std::uint64_t lines = 10;

  static constexpr std::chrono::seconds window{10};

  // -- lines ------------------------------------------------------------------

  /// Whether one more line may be written now; if not, it is counted.
  [[nodiscard]] bool pass(time_point now);

  /// How many lines were left out in a window that is over; each is told of
  /// once. 0 if there is nothing to say.
  [[nodiscard]] std::uint64_t take_left_out(time_point now);

  /// Whether there will be something to say.
  [[nodiscard]] bool has_left_out() const {
    return left_out_ > 0;
  }

private:
  time_point began_{};
  std::uint64_t passed_ = 0;
  std::uint64_t left_out_ = 0;
};

} // namespace muster
