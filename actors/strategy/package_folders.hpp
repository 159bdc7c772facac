// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace muster {

/// The text of a module, or that there is none.
struct module_text {
  std::optional<std::string> text;
  /// What error messages call it: its path below the folder it was found in.
  std::string name;
  /// Why it could not be read, although it is there.
  std::string error;
};

/// Looks for a module: `a.b` is `a/b.lua`, else `a/b/init.lua`, in the first
/// folder that has either. A file that is there but cannot be read is an error
/// and ends the search.
/// @param max_bytes a larger file counts as one that cannot be read.
[[nodiscard]] module_text find_module(const std::vector<std::string>& folders,
                                      std::string_view name,
                                      std::uint64_t max_bytes);

} // namespace muster
