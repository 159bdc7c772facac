// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/node/settings.hpp"

#include "messages/errors.hpp"

#include <cstdint>
#include <functional>
#include <string>

namespace muster {

/// Where a node can be reached.
struct node_address {
  std::string host;
  std::uint16_t port = 0;
  std::string state_directory;
};

/// What is to be done behind the end of a node.
enum class node_end : std::uint8_t {
  /// Nothing: it was told to stop.
  stop,
  /// It was told to start again.
  restart,
};

/// Runs a node until it is told to stop by SIGTERM or SIGINT, or to start again
/// by SIGHUP, or until it cannot go on. Prepares the signals of the process, so
/// there must be no other thread yet.
/// @param ready is called once the node can be reached and says so in its state
///        directory.
/// @returns why it could not start or go on, or what to do after an ordered
///          stop.
[[nodiscard]] expected<node_end>
run_node(node_settings settings,
         std::function<void(const node_address&)> ready);

} // namespace muster
