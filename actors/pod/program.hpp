// SPDX-License-Identifier: Apache-2.0

// What a shell knows about programs.

#pragma once

#include "messages/errors.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace muster {

/// Where programs are looked for if no variable says so.
constexpr std::string_view default_search_path = "/usr/local/bin:/usr/bin:/bin";

/// Finds a program. One whose name has a slash is that file; others are looked
/// for in the folders of a search path, of which relative ones do not count.
/// @returns its path; `not_found`, or `not_allowed` for what cannot be
/// executed.
[[nodiscard]] expected<std::string> find_program(const std::string& name,
                                                 std::string_view search_path);

/// What the kernel starts if it is told to start that file: what the first line
/// of a script names, what that names if it is a script, too, and so on. As far
/// as they can be executed, as otherwise none of it begins.
[[nodiscard]] std::vector<std::string>
interpreters_of(const std::string& program);

} // namespace muster
