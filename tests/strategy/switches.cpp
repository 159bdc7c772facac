// SPDX-License-Identifier: Apache-2.0

#include "tests/strategy/switches.hpp"

#include <stdexcept>
#include <string>
#include <utility>

namespace muster::test {

namespace {

thread_local std::function<void(lua_State*)> change_machine;

} // namespace

// -- what the linker knows ----------------------------------------------------

/// `muster::lua::open_alc`, which a machine calls last.
void open_last(lua_State* lua) __asm__(
  "__real__ZN6muster3lua8open_alcEP9lua_State");

/// What machines call instead.
void open_last_and_change(lua_State* lua) __asm__(
  "__wrap__ZN6muster3lua8open_alcEP9lua_State");

void open_last_and_change(lua_State* lua) {
  open_last(lua);
  if (change_machine)
    change_machine(lua);
}

// -- libraries ----------------------------------------------------------------

namespace {

/// A name in its parts: `table.sort` is in "table"; `pairs` in no library.
std::pair<std::string, std::string> parts_of(std::string_view name) {
  auto dot = name.rfind('.');
  if (dot == std::string_view::npos)
    return {{}, std::string{name}};
  return {std::string{name.substr(0, dot)}, std::string{name.substr(dot + 1)}};
}

/// Pushes a table such as that of `table` or `alc.state`; without a name, that
/// of the globals.
void push_library(lua_State* lua, const std::string& name) {
  lua_pushglobaltable(lua);
  for (std::size_t begin = 0; begin < name.size();) {
    auto end = std::min(name.find('.', begin), name.size());
    lua_getfield(lua, -1, name.substr(begin, end - begin).c_str());
    lua_remove(lua, -2);
    begin = end + 1;
  }
}

/// Pushes a library as the interpreter opens it, and leaves ours as it is.
void push_stock_library(lua_State* lua, const std::string& name) {
  using row = std::pair<const char*, lua_CFunction>;
  for (auto& [known, opener] :
       {row{LUA_TABLIBNAME, luaopen_table}, row{LUA_STRLIBNAME, luaopen_string},
        row{LUA_MATHLIBNAME, luaopen_math}, row{LUA_OSLIBNAME, luaopen_os},
        row{LUA_COLIBNAME, luaopen_coroutine}})
    if (name == known) {
      // It also makes its table the methods of all texts.
      lua_pushliteral(lua, "");
      lua_getmetatable(lua, -1);
      lua_pushcfunction(lua, opener);
      lua_call(lua, 0, 1);
      lua_insert(lua, -3);
      lua_setmetatable(lua, -2);
      lua_pop(lua, 1);
      return;
    }
  if (!name.empty())
    throw std::invalid_argument{"there is no stock library " + name};
  // This one opens into the globals, whatever they are by then.
  lua_rawgeti(lua, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
  lua_newtable(lua);
  lua_pushvalue(lua, -1);
  lua_rawseti(lua, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
  lua_pushcfunction(lua, luaopen_base);
  lua_call(lua, 0, 0);
  lua_insert(lua, -2);
  lua_rawseti(lua, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
}

} // namespace

// -- changes ------------------------------------------------------------------

changed_machines::changed_machines(std::function<void(lua_State*)> change)
  : outside_(change_machine) {
  change_machine
    = [outside = outside_, change = std::move(change)](lua_State* lua) {
        if (outside)
          outside(lua);
        change(lua);
      };
}

changed_machines::~changed_machines() {
  change_machine = std::move(outside_);
}

void put_back(lua_State* lua, std::initializer_list<std::string_view> names) {
  for (auto name : names) {
    auto [library, field] = parts_of(name);
    push_library(lua, library);
    push_stock_library(lua, library);
    if (lua_getfield(lua, -1, field.c_str()) != LUA_TFUNCTION)
      throw std::invalid_argument{"there is no stock function " + field};
    lua_setfield(lua, -3, field.c_str());
    lua_pop(lua, 2);
  }
}

void put(lua_State* lua, std::string_view name, lua_CFunction function) {
  auto [library, field] = parts_of(name);
  push_library(lua, library);
  lua_pushcfunction(lua, function);
  lua_setfield(lua, -2, field.c_str());
  lua_pop(lua, 1);
}

} // namespace muster::test
