// SPDX-License-Identifier: Apache-2.0

#include "actors/strategy/library.hpp"
#include "actors/strategy/machine.hpp"
#include "actors/strategy/pattern_functions.hpp"
#include "actors/strategy/values.hpp"

#include <string>
#include <string_view>

namespace muster::lua {

namespace {

/// What `string.rep` may build. Memory would stop it, but not before it looped
/// for minutes over nothing: an empty text repeated often enough.
constexpr lua_Integer max_repetitions = 100'000'000;

int bounded_rep(lua_State* lua) {
  auto count = luaL_checkinteger(lua, 2);
  auto size = static_cast<lua_Integer>(check_text(lua, 1).size());
  std::size_t separator = 0;
  luaL_optlstring(lua, 3, "", &separator);
  if (count > 0 && size == 0 && separator == 0) {
    lua_pushliteral(lua, "");
    return 1;
  }
  luaL_argcheck(lua, count <= max_repetitions, 2, "too many repetitions");
  return call_original(lua);
}

/// Finds the conversion letter of the directive that begins behind a `%`.
/// @returns its position, or npos if the format ends before.
std::size_t conversion_at(std::string_view format, std::size_t position) {
  return format.find_first_not_of("-+ #0123456789.", position);
}

/// Shows values that Lua would show with their address by their number instead.
int stable_format(lua_State* lua) {
  auto format = check_text(lua, 1);
  int argument = 1;
  for (std::size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%')
      continue;
    i = conversion_at(format, i + 1);
    if (i == std::string_view::npos)
      break;
    if (format[i] == '%')
      continue;
    ++argument;
    if (format[i] == 'p')
      return luaL_error(lua, "the conversion '%%p' to 'format' is not "
                             "available: addresses differ in every run");
    if (format[i] == 's' && argument <= lua_gettop(lua)) {
      push_text(lua, argument);
      lua_replace(lua, argument);
    }
  }
  return call_original(lua);
}

/// Goes through the text that is the first argument; counts that as work.
int counted(lua_State* lua) {
  constexpr std::size_t bytes_per_step = 8;
  if (lua_type(lua, 1) == LUA_TSTRING)
    machine::of(lua).charge(lua_rawlen(lua, 1) / bytes_per_step);
  return call_original(lua);
}

} // namespace

void open_string(lua_State* lua) {
  luaL_requiref(lua, LUA_STRLIBNAME, luaopen_string, 1);
  remove_fields(lua, {"dump"});
  wrap_function(lua, "rep", bounded_rep);
  wrap_function(lua, "format", stable_format);
  for (auto* name : {"lower", "upper"})
    wrap_function(lua, name, counted);
  set_functions(lua, {{"find", guarded<find_pattern>},
                      {"match", guarded<match_pattern>},
                      {"gmatch", guarded<gmatch_pattern>},
                      {"gsub", guarded<gsub_pattern>}});
  lua_pop(lua, 1);
  luaL_requiref(lua, LUA_UTF8LIBNAME, luaopen_utf8, 1);
  for (auto* name : {"len", "offset"})
    wrap_function(lua, name, counted);
  lua_pop(lua, 1);
}

} // namespace muster::lua
