// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/process/core_driver.hpp"
#include "actors/process/environment.hpp"
#include "actors/recovery/slot_group_core.hpp"

#include "messages/actors.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace muster {

/// What a SLOT GROUP is built from.
struct slot_group_parts {
  slot_group_settings settings;
  environment env;
  persistence_actor persistence;
  /// Who keeps what occupies its slots.
  slot_keeper_actor keeper;
  /// Asks for a pass before the next tick.
  std::function<void()> wake;
  /// Is told how many slots are healthy, and how many are wanted.
  std::function<void(std::size_t, std::size_t)> note;
  /// Says something to those who run the node.
  std::function<void(const std::string& text)> warn;
};

/// What the SLOT GROUP keeps.
struct slot_group_state {
  static inline const char* name = "slot-group";

  using answer = std::function<void(slot_group::effect&)>;

  std::shared_ptr<const slot_group_parts> parts;
  std::unique_ptr<slot_group_core> core;

  /// Requests that are not answered, by ticket.
  std::map<std::uint64_t, answer> open;
  std::uint64_t last_ticket = 0;

  /// When the timer that is set goes off, and which one counts.
  std::optional<std::int64_t> timer_ns;
  std::uint64_t timer_number = 0;

  /// What was said last of its health.
  std::pair<std::size_t, std::size_t> noted{SIZE_MAX, SIZE_MAX};

  /// Whether the node stops, and nothing is done any more.
  bool is_stopping = false;
};

/// What the SLOT GROUP tells itself, and is told by its registry.
using slot_group_impl = slot_group_actor::extend<
  // Writes a new group; answered once it is on disk.
  caf::replies_to<group_atom, create_atom>::with<slot_group_view>,
  // The timer of that number went off.
  caf::reacts_to<expire_atom, std::uint64_t>>;

/// Keeps the slots of a group occupied; see `slot_group_core`, which decides
/// everything.
/// @param document what is on disk, or shall be if it is new.
slot_group_impl::behavior_type
slot_group_behavior(slot_group_impl::stateful_pointer<slot_group_state> self,
                    std::shared_ptr<const slot_group_parts> parts,
                    slot_group_document document, bool is_new);

/// The folder of the documents of groups in the state directory.
inline constexpr const char* slot_group_folder = "groups";

/// The document of a group in the state directory.
[[nodiscard]] std::string slot_group_path(const std::string& name);

/// What runs in a slot of a group of pods.
[[nodiscard]] pod_order slot_order(const slot_group_definition& what,
                                   std::uint8_t index);

} // namespace muster
