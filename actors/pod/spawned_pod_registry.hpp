// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/pod/pod_table.hpp"
#include "actors/pod/scope_paths.hpp"
#include "actors/process/core_driver.hpp"
#include "actors/process/descendants.hpp"
#include "actors/process/process_port.hpp"
#include "actors/process/socket_port.hpp"

#include "messages/actors.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace muster {

/// What the SPAWNED-POD REGISTRY is built from.
struct pod_parts {
  pod_settings settings;
  environment env;
  std::shared_ptr<process_port> processes;
  std::shared_ptr<socket_port> sockets;
  persistence_actor persistence;
  /// Who lives under a pid, see `find_process`.
  std::function<expected<std::optional<process_identity>>(std::int32_t)>
    find_process;
  /// All processes that were started as pods, by the id of the pod.
  std::function<carriers()> find_pods;
  /// Whether the process of that pid was started as the pod of that id.
  std::function<std::optional<bool>(std::int32_t, const std::string&)> is_pod;
  /// Kills that very process; one that is gone is no error.
  std::function<void(const process_identity&)> kill;
  /// Where a path leads, see `real_path`.
  path_resolver resolve;
  /// Whether a path is a folder.
  std::function<bool(const std::string&)> is_folder;
  /// Makes a folder for its owner only, and those above it.
  std::function<expected<void>(const std::string&)> make_folder;
  /// Removes a folder and all in it, which may be gone.
  std::function<void(const std::string&)> remove_folder;
  /// See `read_output`.
  std::function<expected<output_piece>(const std::string&, output_cursor,
                                       std::uint64_t)>
    read_output;
  /// See `tail_of_output`.
  std::function<std::string(const std::string&, std::size_t)> tail_of_output;
  /// Says something to those who run the node.
  std::function<void(const std::string&)> warn;
};

/// The same with what the operating system gives; ports and persistence are
/// still missing.
[[nodiscard]] pod_parts system_pod_parts(pod_settings settings);

/// How a pod is started: `muster confine`, which becomes its program.
/// @param order its lender is the pod that asked for it; empty if none did.
[[nodiscard]] process_order pod_process(const pod_settings& settings,
                                        const std::string& id,
                                        const pod_order& order);

/// When the places of an order have to be there.
enum class needed { now, later };

/// What is asked for with the places that its paths mean, and with all that was
/// left out.
/// @returns `not_found` for a target or a folder that is not there;
///          `invalid_argument`; `not_allowed` for a working folder that the pod
///          could not read; `too_large`.
[[nodiscard]] expected<pod_order> resolve_order(const pod_parts& parts,
                                                pod_order order,
                                                needed when = needed::now);

/// What happened to the process or the connection of a pod. Never leaves this
/// process.
struct pod_process_event {
  std::string id;
  std::variant<process_event, socket_event> what;
};

/// What the SPAWNED-POD REGISTRY keeps.
struct spawned_pod_registry_state
  : core_driver<pod_table, pod_parts, pod::effect> {
  static inline const char* name = "spawned-pod-registry";

  status_sink_actor sink;
  /// Who is told what happens to those that occupy slots.
  slot_watcher_actor watcher;
};

/// What the SPAWNED-POD REGISTRY tells itself, and is told by its ports.
using spawned_pod_registry_impl = spawned_pod_registry_actor::extend<
  // Something happened to a pod.
  caf::reacts_to<pod_process_event>,
  // The timer of that number went off.
  caf::reacts_to<expire_atom, std::uint64_t>>;

/// Knows the pods; see `pod_table`, which decides everything.
/// @param sink is told the counters.
spawned_pod_registry_impl::behavior_type spawned_pod_registry(
  spawned_pod_registry_impl::stateful_pointer<spawned_pod_registry_state> self,
  std::shared_ptr<const pod_parts> parts, status_sink_actor sink);

/// The document of the pods in the state directory, and what mirrors it for
/// readers of the older one.
inline constexpr const char* pod_registry_document = "pods/pods.json";
inline constexpr const char* pod_mirror_document = "pods/spawned_pods.json";

/// What a pod finds in its environment.
inline constexpr const char* pod_id_variable = "MUSTER_POD_ID";

} // namespace muster

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(muster::pod_process_event)
