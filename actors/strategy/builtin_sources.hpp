// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <functional>
#include <map>
#include <string>

namespace muster {

/// The Lua texts that ship with the program, by their path below
/// `actors/strategy/lua`. Generated when the program is built.
[[nodiscard]] const std::map<std::string, std::string, std::less<>>&
builtin_sources();

} // namespace muster
