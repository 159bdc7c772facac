// SPDX-License-Identifier: Apache-2.0

// The part of the RECOVERY REGISTRY that knows the groups. Until their
// documents are read, requests wait; each group is a handler, see
// recovery_passes.hpp.

#pragma once

#include "actors/recovery/recovery_registry.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace muster::recovery {

/// Reads the documents of all groups, and starts those.
void read_groups(recovery_registry_pointer self);

// -- requests -----------------------------------------------------------------

/// Makes a group; answered once it is on disk.
/// @param request_id the same makes one group, however often it is asked for.
[[nodiscard]] caf::result<slot_group_view>
create_group(recovery_registry_pointer self, const slot_group_definition& what,
             const std::string& request_id);

/// Gives all groups in the order of their names.
[[nodiscard]] caf::result<std::vector<slot_group_view>>
list_groups(recovery_registry_pointer self);

[[nodiscard]] caf::result<slot_group_view>
show_group(recovery_registry_pointer self, const std::string& name);

[[nodiscard]] caf::result<slot_group_view>
scale_group(recovery_registry_pointer self, const std::string& name,
            std::uint8_t slots);

[[nodiscard]] caf::result<slot_group_view>
reset_group(recovery_registry_pointer self, const std::string& name);

/// Answered once all that occupied its slots has ended.
[[nodiscard]] caf::result<caf::ok_atom>
delete_group(recovery_registry_pointer self, const std::string& name);

// -- what happens -------------------------------------------------------------

/// An actor has ended.
/// @returns whether that was a group which came to its end as it was told to.
bool group_down(recovery_registry_pointer self, const caf::down_msg& x);

/// Something happened to what occupies a slot.
void slot_changed(recovery_registry_pointer self, slot_event& x);

/// So many slots of the group of that id are healthy, and so many wanted.
void health_changed(recovery_registry_pointer self, const std::string& id,
                    std::uint64_t healthy, std::uint64_t wanted);

/// Refuses what is not answered, and ends all groups; what occupies their slots
/// lives on.
void stop_groups(recovery_registry_pointer self);

} // namespace muster::recovery
