// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/recovery.hpp"

#include <chrono>
#include <cstdint>
#include <string>

namespace muster {

/// How groups are kept.
struct slot_group_settings {
  /// The absolute path of the folder of their documents.
  std::string folder;
  /// How long a start may take before it is undone.
  std::chrono::milliseconds start_timeout = std::chrono::seconds(30);
  /// How long a stop, and a search, may take before it is asked for again.
  std::chrono::milliseconds stop_timeout = std::chrono::seconds(15);
  std::chrono::milliseconds find_timeout = std::chrono::seconds(10);
  /// How long an occupant may be unhealthy before it is replaced.
  std::chrono::milliseconds patience = std::chrono::seconds(5);
  /// Slots that one pass may work on.
  std::uint64_t max_recoveries = 4;
  /// Occupants of failed places that are remembered.
  std::uint64_t max_strays = 1'024;
};

/// How those are asked who put back what died.
struct recovery_settings {
  std::uint64_t max_handlers = 1'000;
  /// Requests that may wait for the end of a pass.
  std::uint64_t max_waiting = 256;
  /// Slots that may be put back in one pass, by all handlers and by one.
  std::uint64_t max_recoveries = 64;
  std::uint64_t max_recoveries_per_handler = 4;
  /// How long quarantines are.
  restart_policy quarantine;
  std::uint64_t max_groups = 64;
  /// From the beginning of a pass to that of one that does not wait for the
  /// tick.
  std::chrono::milliseconds pass_gap{20};
  slot_group_settings groups;
};

} // namespace muster
