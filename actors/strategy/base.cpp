// SPDX-License-Identifier: Apache-2.0

#include "actors/strategy/iteration.hpp"
#include "actors/strategy/library.hpp"
#include "actors/strategy/machine.hpp"
#include "actors/strategy/values.hpp"

#include <string>

namespace muster::lua {

namespace {

// -- errors -------------------------------------------------------------------

/// Goes on behind the called function, whether it was suspended or not.
/// @param context how many values below its results are ours.
int finish_call(lua_State* lua, int status, lua_KContext context) {
  if (status != LUA_OK && status != LUA_YIELD) {
    machine::of(lua).check_caught(lua, status);
    lua_pushboolean(lua, 0);
    lua_pushvalue(lua, -2);
    return 2;
  }
  return lua_gettop(lua) - static_cast<int>(context);
}

int protected_call(lua_State* lua) {
  luaL_checkany(lua, 1);
  lua_pushboolean(lua, 1);
  lua_insert(lua, 1);
  auto status
    = lua_pcallk(lua, lua_gettop(lua) - 2, LUA_MULTRET, 0, 0, finish_call);
  return finish_call(lua, status, 0);
}

/// Calls the script's own handler, the upvalue, with the error at index 1. Not
/// when a limit was hit: that error comes out of the hook that counts, so the
/// handler would run uncounted.
int call_handler(lua_State* lua) {
  if (machine::of(lua).is_broken())
    return 1;
  lua_settop(lua, 1);
  lua_pushvalue(lua, lua_upvalueindex(1));
  lua_insert(lua, 1);
  lua_call(lua, 1, 1);
  return 1;
}

int protected_call_with_handler(lua_State* lua) {
  auto arguments = lua_gettop(lua);
  luaL_checktype(lua, 2, LUA_TFUNCTION);
  lua_pushvalue(lua, 2);
  lua_pushcclosure(lua, call_handler, 1);
  lua_replace(lua, 2);
  lua_pushboolean(lua, 1);
  lua_pushvalue(lua, 1);
  lua_rotate(lua, 3, 2);
  auto status = lua_pcallk(lua, arguments - 2, LUA_MULTRET, 2, 2, finish_call);
  return finish_call(lua, status, 2);
}

// -- values -------------------------------------------------------------------

int to_string(lua_State* lua) {
  luaL_checkany(lua, 1);
  push_text(lua, 1);
  return 1;
}

/// Weak tables and finalisers would show the script when the collector runs.
int set_metatable(lua_State* lua) {
  auto kind = lua_type(lua, 2);
  luaL_checktype(lua, 1, LUA_TTABLE);
  luaL_argexpected(lua, kind == LUA_TNIL || kind == LUA_TTABLE, 2,
                   "nil or table");
  if (luaL_getmetafield(lua, 1, "__metatable") != LUA_TNIL)
    return luaL_error(lua, "cannot change a protected metatable");
  if (kind == LUA_TTABLE)
    for (auto* field : {"__mode", "__gc"}) {
      lua_pushstring(lua, field);
      if (lua_rawget(lua, 2) != LUA_TNIL)
        return luaL_error(lua, "a metatable cannot have the field '%s' here",
                          field);
      lua_pop(lua, 1);
    }
  lua_settop(lua, 2);
  lua_setmetatable(lua, 1);
  return 1;
}

/// Compiles text, never bytecode: that could reach outside of the sandbox.
int load_text(lua_State* lua) {
  lua_settop(lua, lua_isnone(lua, 4) ? 3 : 4);
  lua_pushliteral(lua, "t");
  lua_replace(lua, 3);
  if (lua_type(lua, 1) == LUA_TSTRING)
    machine::of(lua).charge(lua_rawlen(lua, 1));
  return call_original(lua);
}

/// Does nothing: when the collector runs is ours to decide.
int collect_garbage(lua_State* lua) {
  constexpr const char* options[]
    = {"collect",      "stop",        "restart",    "count",
       "step",         "setpause",    "setstepmul", "isrunning",
       "generational", "incremental", nullptr};
  std::string_view what = options[luaL_checkoption(lua, 1, "collect", options)];
  if (what == "count")
    lua_pushnumber(lua, 0);
  else if (what == "step" || what == "isrunning")
    lua_pushboolean(lua, 1);
  else if (what == "incremental" || what == "generational")
    lua_pushliteral(lua, "incremental");
  else
    lua_pushinteger(lua, 0);
  return 1;
}

/// Writes to the session's log; standard output belongs to others.
int print(lua_State* lua) {
  std::string line;
  auto count = lua_gettop(lua);
  auto& m = machine::of(lua);
  for (int i = 1; i <= count; ++i) {
    if (i > 1)
      line += '\t';
    // What does not fit is cut in any case; one text may be given many times.
    line += push_text(lua, i).substr(0, m.settings().max_log_line_bytes);
    lua_pop(lua, 1);
  }
  trim_newlines(line);
  m.port().log("info", "alc.lua.print", line);
  return 0;
}

} // namespace

void open_base(lua_State* lua) {
  luaL_requiref(lua, LUA_GNAME, luaopen_base, 1);
  remove_fields(lua, {"dofile", "loadfile", "warn"});
  wrap_function(lua, "load", load_text);
  set_functions(lua, {{"pcall", protected_call},
                      {"xpcall", protected_call_with_handler},
                      {"tostring", guarded<to_string>},
                      {"setmetatable", set_metatable},
                      {"collectgarbage", guarded<collect_garbage>},
                      {"print", guarded<print>},
                      {"pairs", guarded<ordered_pairs>},
                      {"next", guarded<ordered_next>}});
  lua_pop(lua, 1);
}

} // namespace muster::lua
