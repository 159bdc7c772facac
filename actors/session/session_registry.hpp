// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/session/session.hpp"

#include "messages/actors.hpp"

#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

namespace muster {

/// What the SESSION REGISTRY keeps.
struct session_registry_state {
  // -- constants --------------------------------------------------------------

  static inline const char* name = "session-registry";

  // -- member types -----------------------------------------------------------

  /// An active session.
  struct entry {
    session_actor handle;

    /// Set while the session is asked to leave: what comes for it meanwhile is
    /// parked until it has left, or has said that it stays.
    bool leaving = false;

    /// Whether the session is deleted once it has left.
    bool erase = false;

    std::vector<std::function<void()>> parked;

    /// What it does with a virtual machine, and how many events it takes to
    /// build that again.
    machine_use machine = machine_use::none;
    std::uint64_t machine_cost = 0;

    /// Whether it was asked to give the machine back, and has not answered.
    bool asked_back = false;
  };

  // -- introspection ----------------------------------------------------------

  /// The counters below as a JSON object.
  [[nodiscard]] std::string status() const;

  // -- member variables -------------------------------------------------------

  session_context_ptr context;
  status_sink_actor sink;

  /// The active sessions by id. Everything else is on disk.
  std::unordered_map<std::string, entry> active;
  std::unordered_map<caf::actor_addr, std::string> ids;

  /// Set once the node stops: nothing new is taken.
  bool stopping = false;
  std::vector<caf::typed_response_promise<caf::ok_atom>> stoppers;
  /// Requests to the disk that are not answered yet; a stop waits for them.
  std::size_t asked = 0;

  /// Where the round of garbage collection has come to, and when the next one
  /// begins.
  std::int64_t collect_after = 0;
  bool collecting = false;
  std::int64_t next_round_ns = 0;

  /// Sessions with a virtual machine, and those of them that were asked to give
  /// it back.
  std::uint64_t machines = 0;
  std::uint64_t asked_back = 0;

  // What was done since the start.
  std::uint64_t spawned = 0;
  std::uint64_t activated = 0;
  std::uint64_t timed_out = 0;
  std::uint64_t erased = 0;

  /// Sessions that were running when the node died and are on their way back.
  std::uint64_t resuming = 0;

  /// Those of them under which it died; they come last.
  std::vector<std::string> suspects;
};

/// What the SESSION REGISTRY is told by its sessions, and by itself.
using session_registry_impl
  = session_registry_actor::extend_with<session_owner_actor>::extend<
    // Bring back the next sessions that were running when the node died.
    caf::reacts_to<recall_atom, std::int64_t>>;

/// Knows which sessions are active, activates others on demand, makes ids, and
/// collects what nobody needs any more. Holds no session's state: that is the
/// session's.
/// @param sink is told the counters.
session_registry_impl::behavior_type session_registry(
  session_registry_impl::stateful_pointer<session_registry_state> self,
  session_context_ptr context, status_sink_actor sink);

/// Refuses a spec that no session could run: `invalid_spec`, `too_large`,
/// `not_utf8`.
[[nodiscard]] std::optional<failure>
check_spec(const session_spec& spec, const session_settings& settings);

} // namespace muster
