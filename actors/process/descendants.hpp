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
  /// Those of which nobody knows, as they change their programs. What they were
  /// started with is known in a moment.
  std::vector<process_identity> unknown;
  /// Why there may be more; absent if there are none. `overloaded` without
  /// descriptors or memory, and if processes come and go faster than they can
  /// be looked at.
  std::optional<failure> unsure;
};

/// The processes that run and have a variable in the environment that they were
/// started with. Those whose environment may not be read are left out; a
/// process that was started without it is not found.
///
/// The kernel shows no environment of a process within `execve`, and none of
/// one whose first thread has ended; and one that ends while this looks may
/// have started another that was not there when the look began. None of these
/// is overlooked: it is found, or it is in `unknown`. Never waits.
[[nodiscard]] carriers find_by_variable(std::string_view name);

/// Whether the process of that pid was started with that variable and value;
/// absent if nobody can tell yet. Never waits.
[[nodiscard]] std::optional<bool> was_started_with(std::int32_t pid,
                                                   std::string_view name,
                                                   std::string_view value);

} // namespace muster
