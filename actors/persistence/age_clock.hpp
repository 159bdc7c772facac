// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <algorithm>
#include <cstdint>

namespace muster {

/// The age of a state directory in milliseconds: what idle time is measured in.
/// While a node runs it follows a clock that does not jump. The time from one
/// node to the next is taken from the wall clock, but never less than nothing
/// and never more than a day: a clock that was set wrong must not make
/// everything look old.
class age_clock {
public:
  static constexpr std::int64_t max_pause_ms = 24 * 60 * 60 * 1'000;

  age_clock() = default;

  /// @param age_ms the age when it was saved last.
  /// @param saved_wall_ms the wall clock at that time.
  age_clock(std::int64_t age_ms, std::int64_t saved_wall_ms,
            std::int64_t wall_ms, std::int64_t steady_ns)
    : base_ms_(
      age_ms
      + std::clamp<std::int64_t>(wall_ms - saved_wall_ms, 0, max_pause_ms)),
      start_ns_(steady_ns) {
    // nop
  }

  [[nodiscard]] std::int64_t now_ms(std::int64_t steady_ns) const {
    return base_ms_ + (steady_ns - start_ns_) / 1'000'000;
  }

private:
  std::int64_t base_ms_ = 0;
  std::int64_t start_ns_ = 0;
};

} // namespace muster
