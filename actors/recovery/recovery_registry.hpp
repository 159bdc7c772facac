// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/process/core_driver.hpp"
#include "actors/process/environment.hpp"
#include "actors/recovery/recovery_table.hpp"
#include "actors/recovery/settings.hpp"

#include "messages/actors.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace muster {

/// What a RECOVERY REGISTRY is built from.
struct recovery_parts {
  recovery_settings settings;
  environment env;
  persistence_actor persistence;
  /// Who keeps what occupies the slots of groups.
  slot_keeper_actor workers;
  slot_keeper_actor pods;
  /// Says something to those who run the node.
  std::function<void(const std::string& text)> warn;
};

/// The same with what the operating system gives; the actors are still missing.
[[nodiscard]] recovery_parts system_recovery_parts();

/// A handler that is a function. Never leaves this process.
struct local_handler {
  handler_definition what;
  recovery_function run;
};

/// What the RECOVERY REGISTRY keeps.
struct recovery_registry_state
  : core_driver<recovery_table, recovery_parts, recovery::effect> {
  // -- constants --------------------------------------------------------------

  static inline const char* name = "recovery-registry";

  // -- member types -----------------------------------------------------------

  struct group {
    slot_group_actor who;
    /// See `slot_group_document`.
    std::string id;
    std::string request_id;
    /// What it was made with; it may have other slots by now.
    slot_group_definition definition;
    /// Whether it is on disk; nobody sees it before, but for those who make it.
    bool is_made = false;
    /// Whether it has ended although nobody told it to.
    bool is_lost = false;
    /// Who waits for an answer of it, and is told if it has ended instead.
    std::map<std::uint64_t, std::function<void(const failure&)>> asked;
    /// Who else wants to know when it is: repeats of the request.
    std::vector<std::function<void(const expected<slot_group_view>&)>> makers;
    std::size_t healthy = 0;
    std::size_t wanted = 0;
  };

  // -- introspection ----------------------------------------------------------

  /// The counters and the health of the groups as a JSON object.
  [[nodiscard]] std::string status() const;

  // -- member variables -------------------------------------------------------

  status_sink_actor sink;

  /// Handlers that are actors.
  std::map<handler_id, recovery_handler_actor> handlers;

  /// The groups by name, and their names by id.
  std::map<std::string, group> groups;
  std::map<std::string, std::string> names;

  /// Groups whose documents cannot be read, by name.
  std::map<std::string, failure> broken;
  /// Why none of them could be read, if so.
  std::optional<failure> unreadable;

  /// Documents that are still to be read, and requests that wait for that.
  std::size_t unread = 1;
  std::vector<std::function<void()>> early;

  /// Requests about groups that are not answered, and how each is refused.
  std::map<std::uint64_t, std::function<void(const failure&)>> waiting;
  std::uint64_t last_waiting = 0;

  /// The last number of those who ask a group.
  std::uint64_t last_asked = 0;

  /// When the last pass began, and whether one is planned before the next tick.
  std::optional<std::int64_t> last_pass_ns;
  bool is_planned = false;

  bool is_stopping = false;
};

/// What the RECOVERY REGISTRY tells itself, and is told inside of the node.
using recovery_registry_impl = recovery_registry_actor::extend<
  // Adds a handler that is a function; answers how many there are now.
  caf::replies_to<recovery_atom, register_atom,
                  local_handler>::with<std::uint64_t>,
  // Somebody has something to do before the next tick.
  caf::reacts_to<beat_atom>,
  // The time for that has come.
  caf::reacts_to<recover_atom>,
  // So many slots of the group of that id are healthy, and so many wanted.
  caf::reacts_to<group_atom, report_atom, std::string, std::uint64_t,
                 std::uint64_t>,
  // The timer of that number went off.
  caf::reacts_to<expire_atom, std::uint64_t>>;

using recovery_registry_pointer
  = recovery_registry_impl::stateful_pointer<recovery_registry_state>;

/// Asks all who put back what died, see `recovery_table`, and knows the groups.
/// @param sink is told the counters.
recovery_registry_impl::behavior_type
recovery_registry(recovery_registry_pointer self,
                  std::shared_ptr<const recovery_parts> parts,
                  status_sink_actor sink);

} // namespace muster

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(muster::local_handler)
