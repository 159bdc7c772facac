// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/actors.hpp"

#include <caf/all.hpp>

#include <string>
#include <vector>

namespace muster::bench {

// What actors of `system` ask of a node, wherever that runs.

/// A script that asks for ever.
[[nodiscard]] std::string asking_script();

/// Spawns paused sessions, some at a time.
/// @returns their ids.
std::vector<std::string> spawn(caf::actor_system& system,
                               const node_actor& node, const std::string& code,
                               std::size_t count, std::size_t at_a_time = 50);

/// Feeds every session again and again, one answer each at a time.
/// @returns pauses per second, each acknowledged and on disk.
double feed(caf::actor_system& system, const node_actor& node,
            const std::vector<std::string>& ids, double seconds);

/// The same, each feed under an id of its own, as the client library does it.
double feed_with_ids(caf::actor_system& system, const node_actor& node,
                     const std::vector<std::string>& ids, double seconds);

/// Has every session shown again and again, once each at a time.
/// @returns views per second.
double show(caf::actor_system& system, const node_actor& node,
            const std::vector<std::string>& ids, double seconds);

/// Spawns sessions for some time.
/// @returns sessions per second, each on disk.
double spawn_rate(caf::actor_system& system, const node_actor& node,
                  const std::string& code, std::size_t at_a_time,
                  double seconds);

} // namespace muster::bench
