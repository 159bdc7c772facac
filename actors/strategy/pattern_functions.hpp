// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <lua.hpp>

namespace muster::lua {

// The functions of `string` that take a pattern. Lua's own cannot be suspended,
// and a pattern may take for ever. These end their turn in the middle of a
// search, and are otherwise the same.

/// `string.find`
int find_pattern(lua_State* lua);

/// `string.match`
int match_pattern(lua_State* lua);

/// `string.gmatch`
int gmatch_pattern(lua_State* lua);

/// `string.gsub`; what it calls may wait, as anything else in a script.
int gsub_pattern(lua_State* lua);

} // namespace muster::lua
