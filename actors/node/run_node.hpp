// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/node/settings.hpp"

#include "messages/errors.hpp"

#include <functional>
#include <string>

namespace muster {

/// Where a node can be reached.
struct node_address {
  std::string host;
  std::uint16_t port = 0;
  std::string state_directory;
};

/// Runs a node until it is told to stop by SIGTERM or SIGINT, or until it
/// cannot go on. Prepares the signals of the process, so there must be no other
/// thread yet.
/// @param ready is called once the node can be reached and says so in its state
///        directory.
/// @returns why it could not start or go on; nothing after an ordered stop.
[[nodiscard]] expected<void>
run_node(node_settings settings,
         std::function<void(const node_address&)> ready);

} // namespace muster
