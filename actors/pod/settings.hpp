// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/process/stop_ladder.hpp"

#include "messages/scope.hpp"

#include <chrono>
#include <cstdint>
#include <string>

namespace muster {

/// How pods are kept.
struct pod_settings {
  // -- time; each is an option of the same name -------------------------------

  /// How long a new pod may take until it is ready.
  std::chrono::milliseconds spawn_timeout = std::chrono::seconds(10);
  /// How long a pod may take to answer when it is looked for. All are asked
  /// side by side.
  std::chrono::milliseconds probe_timeout{500};
  /// How often a pod is asked whether it is there. One that says nothing for
  /// three times as long is unreachable.
  std::chrono::milliseconds ping_interval = std::chrono::seconds(2);
  /// How long a pod may take to begin a turn that it was asked for.
  std::chrono::milliseconds send_timeout = std::chrono::seconds(5);
  /// What each step of a stop may take: a message, SIGTERM, SIGKILL.
  stop_patience stop{std::chrono::seconds(2), std::chrono::seconds(3),
                     std::chrono::seconds(5)};

  // -- limits -----------------------------------------------------------------

  /// Pods that live, also those that start and stop.
  std::uint64_t max_pods = 200;
  /// Requests that may wait for pods.
  std::uint64_t max_waiting = 256;
  /// Pods that have ended and are remembered, with their output.
  std::uint64_t max_ended = 100;
  /// Of the task of a pod, and of what is sent to it.
  std::uint64_t max_text_bytes = 1 << 20;
  /// Of one piece of output.
  std::uint64_t max_read_bytes = 1 << 20;

  // -- where ------------------------------------------------------------------

  /// What whoever runs the node may lend.
  scope grant{{{"/", permission::write, true}}, {}};
  /// The absolute path of the folder of `pods.json`; the folders of the pods
  /// are below it.
  std::string folder;
  /// The absolute path of this program.
  std::string program;
};

} // namespace muster
