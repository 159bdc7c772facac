// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <lua.hpp>

#include <exception>
#include <initializer_list>
#include <new>

namespace muster::lua {

// What a script finds. Each function adds one part to the globals; together
// they are the whole sandbox, nothing comes from elsewhere.

/// `pairs`, `pcall`, `tostring`, `load` and the other globals.
void open_base(lua_State* lua);

/// `coroutine`, which lets the host suspend a script at any depth.
void open_coroutine(lua_State* lua);

/// `table`, with a sort that is stable and can be suspended.
void open_table(lua_State* lua);

/// `string` and `utf8`.
void open_string(lua_State* lua);

/// `math`, whose random numbers begin at the session's seed.
void open_math(lua_State* lua);

/// What is safe of `os`, `io` and `debug`.
void open_system(lua_State* lua);

/// `require` and `package`.
void open_package(lua_State* lua);

/// `alc`, the library of the strategies.
void open_alc(lua_State* lua);

/// Makes a function of ours safe to call from a script: a C++ exception that
/// leaves it becomes a Lua error. (Those of Lua itself are no
/// `std::exception`.)
template <lua_CFunction F>
int guarded(lua_State* lua) {
  try {
    return F(lua);
  } catch (const std::bad_alloc&) {
    lua_pushliteral(lua, "not enough memory");
  } catch (const std::exception& error) {
    lua_pushstring(lua, error.what());
  }
  return lua_error(lua);
}

/// The same for what goes on after a suspension.
template <lua_KFunction F>
int guarded_next(lua_State* lua, int status, lua_KContext context) {
  try {
    return F(lua, status, context);
  } catch (const std::bad_alloc&) {
    lua_pushliteral(lua, "not enough memory");
  } catch (const std::exception& error) {
    lua_pushstring(lua, error.what());
  }
  return lua_error(lua);
}

/// Sets functions in the table on top of the stack.
inline void set_functions(lua_State* lua,
                          std::initializer_list<luaL_Reg> functions) {
  for (auto& f : functions) {
    lua_pushcfunction(lua, f.func);
    lua_setfield(lua, -2, f.name);
  }
}

/// Puts a function of ours in front of one in the table on top of the stack.
/// The original is its first upvalue, see `call_original`.
inline void wrap_function(lua_State* lua, const char* name,
                          lua_CFunction wrapper) {
  lua_getfield(lua, -1, name);
  lua_pushcclosure(lua, wrapper, 1);
  lua_setfield(lua, -2, name);
}

/// Runs the wrapped function with the arguments on the stack, in the frame of
/// its wrapper, so that its errors name the function as the script does. The
/// original must have no upvalues.
inline int call_original(lua_State* lua) {
  return lua_tocfunction(lua, lua_upvalueindex(1))(lua);
}

/// Removes fields of the table on top of the stack.
inline void remove_fields(lua_State* lua,
                          std::initializer_list<const char*> names) {
  for (auto* name : names) {
    lua_pushnil(lua);
    lua_setfield(lua, -2, name);
  }
}

} // namespace muster::lua
