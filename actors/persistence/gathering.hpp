// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>

namespace muster {

/// Decides how long a batch of commits waits for others to share its sync.
///
/// Clients that are answered all at once come back all at once, but not before
/// the first of them has been given a sync of its own: then the others wait for
/// that one, and every second sync is for a few. Whoever has just been
/// answered, and whoever was already waiting by then, is likely to come; the
/// batch waits for as many, but never for longer than a part of what a sync
/// takes. One client alone never waits.
class gathering {
public:
  using duration = std::chrono::nanoseconds;

  /// @param most what a batch may wait at most; zero means never.
  explicit gathering(duration most) : most_(most) {
    // nop
  }

  /// A transaction of so many commits was written.
  void written(std::size_t count, duration took) {
    last_ = count;
    sync_ = sync_ == duration{0} ? took : sync_ + (took - sync_) / 8;
  }

  /// So many commits were waiting when it was.
  void waiting(std::size_t count) {
    likely_ = last_ + count;
  }

  /// Those that were likely to come did not.
  void given_up(std::size_t count) {
    likely_ = count;
  }

  /// How long a batch of so many commits waits for more.
  [[nodiscard]] duration patience(std::size_t count) const {
    if (count >= likely_)
      return duration{0};
    return std::min(most_, sync_ / 4);
  }

private:
  duration most_;
  duration sync_{0};
  std::size_t last_ = 0;
  std::size_t likely_ = 0;
};

} // namespace muster
