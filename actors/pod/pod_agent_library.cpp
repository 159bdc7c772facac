// SPDX-License-Identifier: Apache-2.0

#include "actors/pod/pod_agent_library.hpp"

#include "actors/strategy/library.hpp"
#include "actors/strategy/values.hpp"

#include <string>

namespace muster {

namespace {

/// Bytes to or from a file that count as one instruction.
constexpr std::uint64_t bytes_per_step = 32;

const pod_agent_tools& tools_of(lua_State* lua) {
  return *static_cast<const pod_agent_tools*>(
    lua_touserdata(lua, lua_upvalueindex(1)));
}

void push(lua_State* lua, std::string_view text) {
  lua_pushlstring(lua, text.data(), text.size());
}

/// nil, the reason, and its code.
int refuse(lua_State* lua, const failure& why) {
  lua_pushnil(lua);
  push(lua, lua::repaired_utf8(why.message));
  push(lua, to_string(why.code));
  return 3;
}

/// files.read_file(path) -> string | nil, reason, code
int read_file(lua_State* lua) {
  auto text = tools_of(lua).files.read_file(lua::check_text(lua, 1));
  if (!text)
    return refuse(lua, text.error());
  machine::of(lua).charge(text->size() / bytes_per_step);
  push(lua, *text);
  return 1;
}

/// files.write_file(path, text) -> true | nil, reason, code
int write_file(lua_State* lua) {
  auto text = lua::check_text(lua, 2);
  auto done = tools_of(lua).files.write_file(lua::check_text(lua, 1), text);
  if (!done)
    return refuse(lua, done.error());
  machine::of(lua).charge(text.size() / bytes_per_step);
  lua_pushboolean(lua, 1);
  return 1;
}

/// files.list_dir(path) -> string[] | nil, reason, code
int list_dir(lua_State* lua) {
  auto names = tools_of(lua).files.list_dir(lua::check_text(lua, 1));
  if (!names)
    return refuse(lua, names.error());
  machine::of(lua).charge(names->size());
  lua_createtable(lua, static_cast<int>(names->size()), 0);
  lua_Integer i = 0;
  for (auto& name : *names) {
    push(lua, name);
    lua_rawseti(lua, -2, ++i);
  }
  return 1;
}

/// files.stat(path) -> {type, size, mtime} | nil, reason, code
int stat(lua_State* lua) {
  auto info = tools_of(lua).files.stat(lua::check_text(lua, 1));
  if (!info)
    return refuse(lua, info.error());
  lua_createtable(lua, 0, 3);
  push(lua, info->type);
  lua_setfield(lua, -2, "type");
  lua_pushinteger(lua, static_cast<lua_Integer>(info->size));
  lua_setfield(lua, -2, "size");
  lua_pushinteger(lua, info->mtime_ms);
  lua_setfield(lua, -2, "mtime");
  return 1;
}

/// report(text)
int report(lua_State* lua) {
  auto text = lua::repaired_utf8(lua::check_text(lua, 1));
  if (auto done = tools_of(lua).report(text); !done) {
    push(lua, lua::repaired_utf8(done.error().message));
    return lua_error(lua);
  }
  machine::of(lua).charge(text.size() / bytes_per_step);
  return 0;
}

void push_function(lua_State* lua, const pod_agent_tools& tools,
                   lua_CFunction f) {
  // The library only reads what is behind it.
  lua_pushlightuserdata(lua, const_cast<pod_agent_tools*>(&tools));
  lua_pushcclosure(lua, f, 1);
}

} // namespace

machine_extension pod_agent_library(const pod_agent_tools& tools) {
  return [&tools](lua_State* lua) {
    lua_createtable(lua, 0, 4);
    for (auto& f : {luaL_Reg{"read_file", lua::guarded<read_file>},
                    luaL_Reg{"write_file", lua::guarded<write_file>},
                    luaL_Reg{"list_dir", lua::guarded<list_dir>},
                    luaL_Reg{"stat", lua::guarded<stat>}}) {
      push_function(lua, tools, f.func);
      lua_setfield(lua, -2, f.name);
    }
    lua_setglobal(lua, "files");
    push_function(lua, tools, lua::guarded<report>);
    lua_setglobal(lua, "report");
  };
}

} // namespace muster
