// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/pod/pod_agent_script.hpp"

#include "messages/scope.hpp"

#include <optional>
#include <string>
#include <vector>

namespace muster {

/// How the reference pod runs.
struct pod_agent_options {
  std::string name;
  /// Names this life of it.
  std::string id;
  /// The absolute path that it listens at; empty for a plain pod.
  std::string socket;
  /// The folder that is its own.
  std::string folder;
  std::vector<scope_rule> scope;
  /// Of a plain pod.
  std::optional<std::string> task;
  pod_agent_strategy strategy;
};

/// Runs the reference pod. With a socket it serves until it is told to end, and
/// does not come back from that, as a script may still run: it takes the socket
/// away and exits with 0. Without one it runs its task as its only turn. Must
/// be called before the process has another thread.
/// @returns why it could not begin, or what became of the turn.
[[nodiscard]] expected<void> run_pod_agent(pod_agent_options options);

} // namespace muster
