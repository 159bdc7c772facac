// SPDX-License-Identifier: Apache-2.0

#include "actors/strategy/library.hpp"
#include "actors/strategy/machine.hpp"

namespace muster::lua {

namespace {

/// Seeds the generator: with numbers of the script, or anew from the session's
/// own seed, which is as unpredictable for the script as a clock.
/// Upvalue: the original.
int random_seed(lua_State* lua) {
  if (lua_gettop(lua) == 0) {
    auto& context = machine::of(lua).context();
    auto again = ++context.reseeds;
    lua_pushinteger(lua, static_cast<lua_Integer>(context.seed[0] + again));
    lua_pushinteger(lua, static_cast<lua_Integer>(context.seed[1] ^ again));
  }
  lua_pushvalue(lua, lua_upvalueindex(1));
  lua_insert(lua, 1);
  lua_call(lua, lua_gettop(lua) - 1, LUA_MULTRET);
  return lua_gettop(lua);
}

} // namespace

void open_math(lua_State* lua) {
  luaL_requiref(lua, LUA_MATHLIBNAME, luaopen_math, 1);
  lua_getfield(lua, -1, "randomseed");
  lua_pushcclosure(lua, random_seed, 1);
  lua_setfield(lua, -2, "randomseed");
  lua_pop(lua, 1);
}

} // namespace muster::lua
