// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/pool/pool_table.hpp"
#include "actors/process/core_driver.hpp"
#include "actors/process/process_port.hpp"
#include "actors/process/socket_port.hpp"

#include "messages/actors.hpp"

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>

namespace muster {

/// What a POOL REGISTRY is built from.
struct pool_parts {
  pool_settings settings;
  environment env;
  std::shared_ptr<process_port> processes;
  std::shared_ptr<socket_port> sockets;
  persistence_actor persistence;
  /// Who lives under a pid, see `find_process`.
  std::function<expected<std::optional<process_identity>>(std::int32_t)>
    find_process;
  /// What a process uses, see `usage_of`.
  std::function<std::optional<process_usage>(const process_identity&)> usage_of;
  /// Removes a file, which may be gone.
  std::function<void(const std::string& path)> remove_file;
  /// Says something to those who run the node.
  std::function<void(const std::string& text)> warn;
};

/// The same with what the operating system gives; ports and persistence are
/// still missing.
[[nodiscard]] pool_parts system_pool_parts(pool_settings settings);

/// How a worker is started.
[[nodiscard]] process_order
worker_order(const pool_settings& settings, const std::string& sid,
             const std::string& sock, const std::string& nonce);

/// What happened to the process or the connection of a worker. Never leaves
/// this process.
struct worker_event {
  std::string sid;
  std::variant<process_event, socket_event> what;
};

/// What the POOL REGISTRY keeps.
struct pool_registry_state : core_driver<pool_table, pool_parts, pool::effect> {
  static inline const char* name = "pool-registry";

  status_sink_actor sink;
  /// Who is told what happens to those that occupy slots.
  slot_watcher_actor watcher;
  /// Connections on which it is asked whether somebody is there, some at a
  /// time: a tick, and everybody else, goes first.
  std::deque<connection_id> pings;
};

/// What the POOL REGISTRY tells itself, and is told by its ports.
using pool_registry_impl = pool_registry_actor::extend<
  // Something happened to a worker.
  caf::reacts_to<worker_event>,
  // Some workers are still to be asked whether they are there.
  caf::reacts_to<beat_atom>,
  // The timer of that number went off.
  caf::reacts_to<expire_atom, std::uint64_t>>;

/// Knows the worker processes; see `pool_table`, which decides everything.
/// @param sink is told the counters.
pool_registry_impl::behavior_type
pool_registry(pool_registry_impl::stateful_pointer<pool_registry_state> self,
              std::shared_ptr<const pool_parts> parts, status_sink_actor sink);

/// The document of the pool in the state directory.
inline constexpr const char* pool_registry_document = "pool/registry.json";

} // namespace muster

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(muster::worker_event)
