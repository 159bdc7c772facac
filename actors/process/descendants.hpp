// SPDX-License-Identifier: Apache-2.0

// Finds processes by a variable that they were started with: it is passed on to
// whatever they start, and stays when their parents die.

#pragma once

#include "actors/process/process_identity.hpp"

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace muster {

/// The processes that run and have a variable in the environment that they were
/// started with, by its value. Those whose environment may not be read are left
/// out; a process that was started without it is not found.
[[nodiscard]] expected<std::map<std::string, std::vector<process_identity>>>
find_by_variable(std::string_view name);

/// Whether the process of that pid was started with that variable and value.
[[nodiscard]] bool was_started_with(std::int32_t pid, std::string_view name,
                                    std::string_view value);

} // namespace muster
