// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <lua.hpp>

#include <cstdint>
#include <string_view>

namespace muster::lua {

// What the parts of the library `alc` share.

/// Reads a clock as an effect of the session, so that a replay sees the same
/// time. Ends the session if the script asks too often.
/// @param which see `machine_port::read_clock`.
std::int64_t read_clock(lua_State* lua, std::string_view which);

/// Sets a function that is written in Lua in the table on top of the stack.
/// @param source names its text among those that ship with the program.
void set_lazy(lua_State* lua, const char* name, const char* source);

/// Pushes the table `alc.state`.
void push_state_library(lua_State* lua);

} // namespace muster::lua
