// SPDX-License-Identifier: Apache-2.0

#include "actors/strategy/library.hpp"
#include "actors/strategy/machine.hpp"
#include "actors/strategy/values.hpp"

#include <string>

namespace muster::lua {

namespace {

// Upvalues of `require`.
constexpr int loaded = lua_upvalueindex(1);
constexpr int preload = lua_upvalueindex(2);

/// Keeps what the body of a module returned, and gives it.
int finish_module(lua_State* lua, int, lua_KContext) {
  // As everywhere: a body that gives nothing, and did not enter itself, is
  // true.
  if (!lua_isnil(lua, -1)) {
    lua_pushvalue(lua, 1);
    lua_pushvalue(lua, -2);
    lua_settable(lua, loaded);
  }
  lua_settop(lua, 1);
  lua_pushvalue(lua, 1);
  if (lua_gettable(lua, loaded) == LUA_TNIL) {
    lua_pop(lua, 1);
    lua_pushboolean(lua, 1);
    lua_pushvalue(lua, 1);
    lua_pushvalue(lua, -2);
    lua_settable(lua, loaded);
  }
  return 1;
}

/// Runs the body on top of the stack with the module's name and its file. The
/// body may wait: for modules of its own, for clocks and for answers.
int run_module(lua_State* lua, const std::string& file) {
  lua_pushvalue(lua, 1);
  lua_pushlstring(lua, file.data(), file.size());
  lua_callk(lua, 2, 1, 0, finish_module);
  return finish_module(lua, LUA_OK, 0);
}

/// Goes on with the text of the module, or without.
int load_module(lua_State* lua, int, lua_KContext) {
  auto found = std::move(machine::of(lua).module());
  auto name = check_text(lua, 1);
  if (!found.error.empty())
    return luaL_error(lua, "module '%s' cannot be read: %s", name.data(),
                      found.error.c_str());
  if (!found.text)
    return luaL_error(lua, "module '%s' not found", name.data());
  auto chunk = "@" + found.name;
  if (luaL_loadbufferx(lua, found.text->data(), found.text->size(),
                       chunk.c_str(), "t")
      != LUA_OK)
    return luaL_error(lua, "error loading module '%s' from file '%s':\n\t%s",
                      name.data(), found.name.c_str(), lua_tostring(lua, -1));
  return run_module(lua, found.name);
}

int require(lua_State* lua) {
  std::string name{check_utf8(lua, 1, "the name of a module")};
  lua_settop(lua, 1);
  lua_pushvalue(lua, 1);
  lua_gettable(lua, loaded);
  if (lua_toboolean(lua, -1) != 0)
    return 1;
  lua_settop(lua, 1);
  lua_pushvalue(lua, 1);
  if (lua_gettable(lua, preload) == LUA_TFUNCTION)
    return run_module(lua, ":preload:");
  lua_settop(lua, 1);
  auto& m = machine::of(lua);
  m.check_suspendable(lua, "require");
  return m.suspend(lua, machine_requires{std::move(name)},
                   guarded_next<load_module>);
}

} // namespace

void open_package(lua_State* lua) {
  lua_createtable(lua, 0, 2); // package
  lua_newtable(lua);          // package.loaded
  for (auto* name : {"_G", "string", "table", "math", "utf8", "coroutine", "os",
                     "io", "debug"}) {
    lua_getglobal(lua, name);
    lua_setfield(lua, -2, name);
  }
  lua_pushvalue(lua, -1);
  lua_setfield(lua, -3, "loaded");
  lua_newtable(lua); // package.preload
  lua_pushvalue(lua, -1);
  lua_setfield(lua, -4, "preload");
  lua_pushcclosure(lua, guarded<require>, 2);
  lua_setglobal(lua, "require");
  lua_pushvalue(lua, -1);
  lua_setglobal(lua, "package");
  lua_pop(lua, 1);
}

} // namespace muster::lua
