// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/strategy/patterns.hpp"

#include <lua.hpp>

#include <cstddef>
#include <cstring>
#include <string_view>
#include <type_traits>

namespace muster::lua {

// What the functions that take a pattern have in common. Each keeps what it
// knows on the stack of its thread, and moves it to a userdata when its turn
// ends. Few searches take that long.

// Where things stand on the stack.
constexpr int subject_at = 1;
constexpr int pattern_at = 2;

/// Bytes that the C library goes through at the cost of one step.
constexpr std::size_t bytes_per_step = 16;

// -- searching ----------------------------------------------------------------

/// Searches until there is something to say, and counts that as work. Raises an
/// error if the pattern is malformed.
/// @param room where on the stack the search may put what it has no room for.
/// @returns whether there is a match; unfinished if the turn has to end.
pattern_search::outcome search_on(lua_State* lua, pattern_search& search,
                                  int room);

/// Moves something to a userdata on the stack, unless it is there already.
template <class T>
void keep(lua_State* lua, const T& what, int index) {
  static_assert(std::is_trivially_copyable_v<T>);
  if (lua_touserdata(lua, index) == &what)
    return;
  std::memcpy(lua_newuserdatauv(lua, sizeof(T), 0), &what, sizeof(T));
  lua_replace(lua, index);
}

template <class T>
T& kept(lua_State* lua, int index) {
  return *static_cast<T*>(lua_touserdata(lua, index));
}

/// The text at an index that is known to hold a text or a number.
std::string_view text_at(lua_State* lua, int index);

// -- captures -----------------------------------------------------------------

/// Pushes a capture; without any, the whole match is the first.
void push_capture(lua_State* lua, const pattern_search& search, int index);

/// Pushes the first captures.
/// @returns how many these are: `count`.
int push_captures(lua_State* lua, const pattern_search& search, int count);

/// How many captures a match gives that has at least one.
int count_of(const pattern_search& search);

} // namespace muster::lua
