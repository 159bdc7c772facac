// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "app/client/node_location.hpp"

#include "messages/actors.hpp"
#include "messages/interface.hpp"

#include <caf/actor_system.hpp>

#include <chrono>

namespace muster {

/// A node that a client has met.
struct met_node {
  node_actor handle;
  /// What it said of itself.
  greeting says;
};

/// Connects an actor system to a node, for programs that talk to it by
/// messages. The system must have been made with a `client_config`, or with a
/// config that has what this one sets. Blocks.
/// @param patience how long the node may take to answer.
/// @returns the node, or `unreachable` if nothing answers there,
///          `bad_certificate` if one of our files cannot be used, `not_allowed`
///          if the node refuses our certificate or we its, `version_mismatch`
///          if it is no node, or one with another interface.
[[nodiscard]] expected<node_actor>
connect_node(caf::actor_system& system, const node_location& where,
             std::chrono::milliseconds patience = std::chrono::seconds(5));

/// The same, for those who want to know what the node said of itself.
[[nodiscard]] expected<met_node>
meet_node(caf::actor_system& system, const node_location& where,
          std::chrono::milliseconds patience = std::chrono::seconds(5));

} // namespace muster
