// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/json.hpp"

#include <lua.hpp>

#include <string>
#include <string_view>

namespace muster::lua {

/// What becomes of numbers that JSON does not have.
enum class non_finite : bool {
  /// They are written as `null`.
  as_null,
  /// They are errors.
  refuse,
};

/// Turns a Lua value into JSON. Raises a Lua error that names the place of what
/// JSON does not have: functions, cycles, keys that are no strings, bytes that
/// are not UTF-8. Tables with a border or with the mark of `push_json` are
/// arrays, all others objects.
[[nodiscard]] json to_json(lua_State* lua, int index,
                           non_finite policy = non_finite::as_null);

/// Pushes a JSON value. Nested nulls become a light userdata that `to_json`
/// knows, arrays carry a mark so that an empty one stays an array.
void push_json(lua_State* lua, const json& value);

/// Pushes the value of a JSON text without a tree of it in between: all that it
/// takes is memory of the virtual machine.
/// @param text passed `check_json`.
void push_json_text(lua_State* lua, std::string_view text);

/// Prepares what `push_json` needs. Once for each virtual machine.
void open_values(lua_State* lua);

/// Pushes the text of a value as `tostring` gives it. An object without a name
/// of its own is numbered when it is first shown: an address would differ in
/// every run.
std::string_view push_text(lua_State* lua, int index);

/// A text argument; numbers are accepted as Lua does.
[[nodiscard]] std::string_view check_text(lua_State* lua, int argument);

/// Like `check_text`; raises an error unless the text is UTF-8.
[[nodiscard]] std::string_view check_utf8(lua_State* lua, int argument,
                                          const char* what);

/// Takes the ends of lines off the end of what goes to the log.
void trim_newlines(std::string& line);

/// The text with every byte that is not UTF-8 replaced by U+FFFD.
[[nodiscard]] std::string repaired_utf8(std::string_view text);

} // namespace muster::lua
