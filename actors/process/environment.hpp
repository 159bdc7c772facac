// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/ids.hpp"

#include <cstdint>
#include <functional>

namespace muster {

/// What the machine gives and no program can compute. Tests give their own.
struct environment {
  /// The wall clock in milliseconds since the epoch. May jump.
  std::function<std::int64_t()> wall_ms;
  /// A clock in nanoseconds that never jumps and goes on while the node lives.
  std::function<std::int64_t()> steady_ns;
  /// Bits that nobody can guess.
  std::function<random_bits()> random;
};

/// The real ones.
[[nodiscard]] environment real_environment();

} // namespace muster
