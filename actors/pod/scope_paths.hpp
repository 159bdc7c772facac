// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/scope.hpp"

#include <functional>
#include <string>
#include <string_view>

namespace muster {

// -- names of files -----------------------------------------------------------

/// Whether `path` is the path of one place and nothing else: absolute, without
/// empty parts, `.` and `..`, and without a slash at its end.
[[nodiscard]] bool is_canonical(std::string_view path);

/// Whether `path` is `top` or below it. Whole names count: `/srcx` is not
/// within `/src`. Both must be canonical.
[[nodiscard]] bool is_within(std::string_view path, std::string_view top);

/// The folder that holds `path`; that of `/` is empty. It must be canonical.
[[nodiscard]] std::string_view parent_of(std::string_view path);

// -- places of files ----------------------------------------------------------

/// Finds where a path leads, all symbolic links followed: an absolute path
/// without any, or `not_found` if nothing is there.
using path_resolver = std::function<expected<std::string>(const std::string&)>;

/// Asks the file system.
/// @returns `not_found` also for links that lead nowhere; `invalid_argument`
/// for those that lead in a circle; `not_allowed` where the node may not look.
[[nodiscard]] expected<std::string> real_path(const std::string& path);

/// The place that a path means. Of one that does not exist, what does is
/// resolved, and the rest is taken as it is written; a `..` in that rest could
/// lead anywhere, and is refused.
/// @returns `invalid_argument` for a relative path and for such a rest; what
/// `resolve` fails with, but for `not_found`.
[[nodiscard]] expected<std::string>
canonical_path(std::string_view path, const path_resolver& resolve = real_path);

/// The rule with the place that its target means.
[[nodiscard]] expected<scope_rule> canonical_rule(const scope_rule& rule,
                                                  const path_resolver& resolve
                                                  = real_path);

/// The scope with the places that its rules mean.
[[nodiscard]] expected<scope>
canonical_scope(const scope& x, const path_resolver& resolve = real_path);

} // namespace muster
