// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <chrono>

namespace muster {

/// The beat of a node. Each member is an option of the same name in
/// `config/muster.ini`.
struct tick_settings {
  /// From one beat to the next.
  std::chrono::milliseconds interval{500};
  /// What one step may take before the tick goes on without it.
  std::chrono::milliseconds step_deadline{250};
};

} // namespace muster
