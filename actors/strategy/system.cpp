// SPDX-License-Identifier: Apache-2.0

#include "actors/strategy/alc.hpp"
#include "actors/strategy/library.hpp"
#include "actors/strategy/machine.hpp"
#include "actors/strategy/values.hpp"

#include <climits>
#include <ctime>
#include <string>
#include <utility>

namespace muster::lua {

namespace {

// -- os -----------------------------------------------------------------------

/// A field of the table that `os.time` takes.
int date_field(lua_State* lua, const char* name, int fallback, int offset) {
  auto kind = lua_getfield(lua, 1, name);
  int is_number = 0;
  auto value = lua_tointegerx(lua, -1, &is_number);
  if (is_number == 0) {
    if (kind != LUA_TNIL)
      return luaL_error(lua, "field '%s' is not an integer", name);
    if (fallback < 0)
      return luaL_error(lua, "field '%s' missing in date table", name);
    value = fallback + offset;
  }
  if (value < INT_MIN / 2 || value > INT_MAX / 2)
    return luaL_error(lua, "field '%s' is out-of-bound", name);
  lua_pop(lua, 1);
  return static_cast<int>(value) - offset;
}

void set_date_fields(lua_State* lua, const std::tm& date) {
  const std::pair<const char*, int> fields[]
    = {{"year", date.tm_year + 1900}, {"month", date.tm_mon + 1},
       {"day", date.tm_mday},         {"hour", date.tm_hour},
       {"min", date.tm_min},          {"sec", date.tm_sec},
       {"yday", date.tm_yday + 1},    {"wday", date.tm_wday + 1}};
  for (auto& [name, value] : fields) {
    lua_pushinteger(lua, value);
    lua_setfield(lua, 1, name);
  }
}

/// The time zone is UTC, whatever the machine's is.
int time(lua_State* lua) {
  if (lua_isnoneornil(lua, 1)) {
    lua_pushinteger(lua, read_clock(lua, "wall") / 1000);
    return 1;
  }
  luaL_checktype(lua, 1, LUA_TTABLE);
  lua_settop(lua, 1);
  std::tm date{};
  date.tm_year = date_field(lua, "year", -1, 1900);
  date.tm_mon = date_field(lua, "month", -1, 1);
  date.tm_mday = date_field(lua, "day", -1, 0);
  date.tm_hour = date_field(lua, "hour", 12, 0);
  date.tm_min = date_field(lua, "min", 0, 0);
  date.tm_sec = date_field(lua, "sec", 0, 0);
  auto seconds = timegm(&date);
  set_date_fields(lua, date);
  lua_pushinteger(lua, static_cast<lua_Integer>(seconds));
  return 1;
}

/// `date(format, time)` in UTC; the time now only if none is given.
int date(lua_State* lua) {
  std::string format{luaL_optstring(lua, 1, "%c")};
  if (lua_isnoneornil(lua, 2)) {
    lua_settop(lua, 1);
    lua_pushinteger(lua, read_clock(lua, "wall") / 1000);
  }
  if (!format.starts_with('!'))
    format.insert(0, 1, '!');
  lua_pushlstring(lua, format.data(), format.size());
  lua_replace(lua, 1);
  return call_original(lua);
}

int clock(lua_State* lua) {
  lua_pushnumber(lua, static_cast<lua_Number>(read_clock(lua, "cpu")) / 1e9);
  return 1;
}

/// A strategy has no environment; packages that look are told so.
int no_variable(lua_State* lua) {
  luaL_checkstring(lua, 1);
  lua_pushnil(lua);
  return 1;
}

// -- io -----------------------------------------------------------------------

int no_file(lua_State* lua) {
  lua_pushnil(lua);
  lua_pushfstring(lua, "%s: a strategy has no files", luaL_checkstring(lua, 1));
  lua_pushinteger(lua, 13); // what permission denied is on this system
  return 3;
}

/// `io.stderr:write(...)` goes to the session's log.
int write_error(lua_State* lua) {
  std::string line;
  auto count = lua_gettop(lua);
  auto& m = machine::of(lua);
  for (int i = 2; i <= count; ++i)
    line += check_text(lua, i).substr(0, m.settings().max_log_line_bytes);
  trim_newlines(line);
  m.port().log("warn", "io.stderr", line);
  lua_settop(lua, 1);
  return 1;
}

} // namespace

void open_system(lua_State* lua) {
  luaL_requiref(lua, LUA_OSLIBNAME, luaopen_os, 1);
  remove_fields(
    lua, {"execute", "exit", "remove", "rename", "setlocale", "tmpname"});
  wrap_function(lua, "date", guarded<date>);
  set_functions(lua, {{"time", guarded<time>},
                      {"clock", guarded<clock>},
                      {"getenv", no_variable}});
  lua_pop(lua, 1);
  lua_newtable(lua);
  set_functions(lua, {{"open", no_file}});
  lua_newtable(lua);
  set_functions(lua, {{"write", guarded<write_error>}});
  lua_setfield(lua, -2, "stderr");
  lua_setglobal(lua, "io");
  luaL_requiref(lua, LUA_DBLIBNAME, luaopen_debug, 0);
  lua_createtable(lua, 0, 1);
  lua_getfield(lua, -2, "traceback");
  lua_setfield(lua, -2, "traceback");
  lua_setglobal(lua, "debug");
  lua_pop(lua, 1);
}

} // namespace muster::lua
