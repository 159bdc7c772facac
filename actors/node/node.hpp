// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/node/settings.hpp"
#include "actors/persistence/persistence.hpp"
#include "actors/pod/spawned_pod_registry.hpp"
#include "actors/pool/pool_registry.hpp"
#include "actors/process/environment.hpp"
#include "actors/recovery/recovery_registry.hpp"
#include "actors/tick/probes.hpp"

#include "messages/actors.hpp"

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace muster {

/// What a NODE is built from.
struct node_parts {
  node_settings settings;
  environment env;
  std::shared_ptr<storage> disk;
  /// How worker processes are reached; its settings and its persistence actor
  /// are given by the node.
  pool_parts pool;
  /// The same for pods.
  pod_parts pods;
  /// The same for groups of slots.
  recovery_parts recovery;
  /// Called at the end of each tick, if set.
  std::function<void()> on_tick;
  /// Whether the persistence actor has a thread of its own. Not under a test's
  /// scheduler, which would not see it.
  bool detached = true;
};

/// What the NODE keeps.
struct node_state {
  // -- constants --------------------------------------------------------------

  static inline const char* name = "node";

  // -- member types -----------------------------------------------------------

  /// What a part said last, and when.
  struct report {
    std::string counters;
    std::int64_t at_ns = 0;
  };

  /// How many requests of an actor elsewhere wait for their answer. These
  /// share it, and outlive it if the actor ends before they are answered.
  using request_count = std::shared_ptr<std::size_t>;

  // -- introspection ----------------------------------------------------------

  /// How many requests of that client wait for their answer.
  [[nodiscard]] std::size_t requests_of(const caf::node_id& client) const;

  /// The last report of every part with its age, as a JSON object.
  [[nodiscard]] std::string status() const;

  // -- member variables -------------------------------------------------------

  node_settings settings;
  environment env;
  std::int64_t began_ns = 0;
  std::map<std::string, report> reports;

  /// Actors of other processes that have asked for something, by client. Each
  /// is here until it ends, or its connection does.
  std::unordered_map<caf::node_id,
                     std::unordered_map<caf::actor_id, request_count>>
    guests;

  persistence_actor persistence;
  pool_registry_actor pool;
  spawned_pod_registry_actor pods;
  recovery_registry_actor recovery;
  session_registry_actor sessions;
  probes_actor probes;
  tick_actor tick;
  std::function<void()> on_tick;

  /// Set once the node stops: clients are refused from then on.
  bool stopping = false;
  std::vector<caf::typed_response_promise<caf::ok_atom>> stoppers;
};

/// What the NODE is told by its parts and by its process.
using node_impl = node_actor::extend_with<status_sink_actor>::extend<
  // Stop everything in order; answered when all is on disk.
  caf::replies_to<stop_atom>::with<caf::ok_atom>,
  // The ordered stop has had its time.
  caf::reacts_to<expire_atom>,
  // Writes where the node can be reached, for clients on this machine.
  caf::replies_to<save_atom, std::string>::with<caf::ok_atom>>;

/// The root: starts the other actors, passes on what clients want, and stops
/// everything in order. If one of its parts dies the node ends with that error,
/// and whoever watches the process starts it again: there is no half-alive
/// node.
node_impl::behavior_type node(node_impl::stateful_pointer<node_state> self,
                              std::shared_ptr<const node_parts> parts);

/// Where clients on this machine read how to reach the node.
inline constexpr const char* node_document = "node.json";

} // namespace muster
