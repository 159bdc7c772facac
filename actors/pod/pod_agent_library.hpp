// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/pod/file_tools.hpp"
#include "actors/strategy/machine.hpp"

#include <functional>
#include <string_view>

namespace muster {

/// What a strategy in a pod can reach.
struct pod_agent_tools {
  const file_tools& files;
  /// Writes a text to the output log.
  std::function<expected<void>(std::string_view)> report;
};

/// The globals `files` and `report`; docs/pods.md shows them.
/// @param tools must outlive the machine.
[[nodiscard]] machine_extension pod_agent_library(const pod_agent_tools& tools);

} // namespace muster
