// SPDX-License-Identifier: Apache-2.0

// Finds processes by a variable that they were started with: it is passed on to
// whatever they start, and stays when their parents die.

#pragma once

#include "actors/process/process_identity.hpp"

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace muster {

/// What is known of the processes that run.
struct carriers {
  /// Those that have the variable, by its value.
  std::map<std::string, std::vector<process_identity>> by_value;
  /// Why there may be others; absent if there are none. `overloaded` without
  /// descriptors or memory, if a process does not come to the end of its
  /// `execve`, and if processes start faster than they can be looked at.
  std::optional<failure> unsure;
};

/// The processes that run and have a variable in the environment that they were
/// started with. Those whose environment may not be read are left out; a
/// process that was started without it is not found.
///
/// A process within `execve` shows no environment for a moment, and one that is
/// about to end may have started another that was not there when the look
/// began. Both are looked at again, so that none is overlooked.
[[nodiscard]] carriers find_by_variable(std::string_view name);

/// Whether the process of that pid was started with that variable and value;
/// not so if nobody can tell.
[[nodiscard]] bool was_started_with(std::int32_t pid, std::string_view name,
                                    std::string_view value);

} // namespace muster
