// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/persistence/settings.hpp"
#include "actors/session/settings.hpp"
#include "actors/strategy/settings.hpp"
#include "actors/tick/settings.hpp"

#include <chrono>
#include <cstdint>
#include <string>

namespace muster {

/// Everything that can be set about a node.
struct node_settings {
  /// Where it listens. Only the machine itself can reach it there.
  std::string host = "127.0.0.1";
  /// 0 takes any that is free.
  std::uint16_t port = 7411;
  /// What an ordered stop may take before the process ends as it is.
  std::chrono::milliseconds drain_timeout = std::chrono::seconds(10);
  persistence_settings storage;
  session_settings session;
  strategy_settings strategy;
  tick_settings tick;
};

} // namespace muster
