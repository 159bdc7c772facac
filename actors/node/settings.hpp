// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/persistence/settings.hpp"
#include "actors/pod/settings.hpp"
#include "actors/pool/settings.hpp"
#include "actors/recovery/settings.hpp"
#include "actors/remote/settings.hpp"
#include "actors/session/settings.hpp"
#include "actors/strategy/settings.hpp"
#include "actors/tick/settings.hpp"

#include <chrono>

namespace muster {

/// Everything that can be set about a node.
struct node_settings {
  gate_settings gate;
  tls_settings tls;
  /// Whether it listens without TLS, on 127.0.0.1 only; for tests.
  bool insecure_loopback = false;
  /// Requests of one client that may wait for their answer.
  std::size_t max_requests = 4'096;
  /// What an ordered stop may take before the process ends as it is.
  std::chrono::milliseconds drain_timeout = std::chrono::seconds(10);
  persistence_settings storage;
  session_settings session;
  pool_settings pool;
  pod_settings pods;
  recovery_settings recovery;
  strategy_settings strategy;
  tick_settings tick;
};

} // namespace muster
