// SPDX-License-Identifier: Apache-2.0

#include "actors/strategy/library.hpp"
#include "actors/strategy/machine.hpp"

namespace muster::lua {

// When a script suspends for the host inside of its own coroutines, the wish
// has to pass out through all of them, and the answer back in to the innermost.
// So each function here that runs a coroutine goes on in a continuation, and
// none of this is ever visible to the script.

namespace {

/// What resuming a coroutine counts for, so that many short ones, which never
/// come to report their instructions, do not go unseen.
constexpr std::uint64_t resume_work = 50;

lua_State* check_coroutine(lua_State* lua) {
  auto* co = lua_tothread(lua, 1);
  luaL_argexpected(lua, co != nullptr, 1, "coroutine");
  return co;
}

/// Resumes `co`.
/// @param arguments how many values on top of its stack it gets.
/// @param results receives how many it leaves there.
/// @returns its status; `LUA_YIELD` with `passing_out` set is for the host.
int run(lua_State* lua, lua_State* co, int arguments, int& results) {
  auto& m = machine::of(lua);
  std::ignore = m.count_work(lua, resume_work);
  machine::running now{m, co};
  // What runs below a place that cannot be suspended cannot be either.
  if (m.can_suspend(lua))
    return lua_resume(co, lua, arguments, &results);
  machine::pin pin{m};
  return lua_resume(co, lua, arguments, &results);
}

/// Moves the arguments of a resume over to the coroutine.
/// @returns whether that was possible; if not, the reason is on the stack.
bool hand_in(lua_State* lua, lua_State* co, int count) {
  if (lua_checkstack(co, count) == 0) {
    lua_pushliteral(lua, "too many arguments to resume");
    return false;
  }
  lua_xmove(lua, co, count);
  return true;
}

// -- coroutine.resume ---------------------------------------------------------

/// Runs the coroutine at index 1 until it yields to the script.
int resume_and_report(lua_State* lua, int arguments);

int resume_next(lua_State* lua, int, lua_KContext) {
  return resume_and_report(lua, 0);
}

int resume_and_report(lua_State* lua, int arguments) {
  auto* co = lua_tothread(lua, 1);
  int results = 0;
  auto status = run(lua, co, arguments, results);
  auto& m = machine::of(lua);
  if (status == LUA_YIELD && m.passing_out()) {
    lua_pop(co, results);
    return lua_yieldk(lua, 0, 0, resume_next);
  }
  if (status != LUA_OK && status != LUA_YIELD) {
    m.check_caught(lua, status);
    // In this order: a coroutine may have tried to resume itself.
    lua_xmove(co, lua, 1);
    lua_pushboolean(lua, 0);
    lua_insert(lua, -2);
    return 2;
  }
  if (lua_checkstack(lua, results + 1) == 0) {
    lua_pop(co, results);
    lua_pushboolean(lua, 0);
    lua_pushliteral(lua, "too many results to resume");
    return 2;
  }
  lua_pushboolean(lua, 1);
  lua_xmove(co, lua, results);
  return results + 1;
}

int resume(lua_State* lua) {
  auto* co = check_coroutine(lua);
  auto arguments = lua_gettop(lua) - 1;
  if (!hand_in(lua, co, arguments)) {
    lua_pushboolean(lua, 0);
    lua_insert(lua, -2);
    return 2;
  }
  return resume_and_report(lua, arguments);
}

// -- coroutine.wrap -----------------------------------------------------------

/// Closings within each other. The interpreter bounds how deep its calls nest
/// for each coroutine apart, and forgets about that of the others here: without
/// a bound of ours a chain of closings would overflow the stack of the thread.
constexpr unsigned max_closings = 8;

/// Closes the variables that a coroutine left open. Their handlers run below C
/// code that cannot wait.
/// @returns a status; if it is an error, that is on the stack of `co`.
int close_variables(lua_State* lua, lua_State* co) {
  machine::closing closing{machine::of(lua)};
  if (closing.depth() > max_closings)
    return luaL_error(lua, "C stack overflow");
  machine::running now{machine::of(lua), co};
  return lua_resetthread(co);
}

/// Raises the error of a wrapped coroutine, with the place of the call in front
/// if it is a text.
int raise_wrapped(lua_State* lua, lua_State* co, int status) {
  machine::of(lua).check_caught(lua, status);
  if (auto left = lua_status(co); left != LUA_OK && left != LUA_YIELD)
    machine::of(lua).check_caught(lua, close_variables(lua, co));
  lua_xmove(co, lua, 1);
  if (lua_type(lua, -1) == LUA_TSTRING) {
    luaL_where(lua, 1);
    lua_insert(lua, -2);
    lua_concat(lua, 2);
  }
  return lua_error(lua);
}

int run_wrapped(lua_State* lua, int arguments);

int wrapped_next(lua_State* lua, int, lua_KContext) {
  return run_wrapped(lua, 0);
}

int run_wrapped(lua_State* lua, int arguments) {
  auto* co = lua_tothread(lua, lua_upvalueindex(1));
  int results = 0;
  auto status = run(lua, co, arguments, results);
  if (status == LUA_YIELD && machine::of(lua).passing_out()) {
    lua_pop(co, results);
    return lua_yieldk(lua, 0, 0, wrapped_next);
  }
  if (status != LUA_OK && status != LUA_YIELD)
    return raise_wrapped(lua, co, status);
  luaL_checkstack(lua, results, "too many results to resume");
  lua_xmove(co, lua, results);
  return results;
}

int call_wrapped(lua_State* lua) {
  auto* co = lua_tothread(lua, lua_upvalueindex(1));
  auto arguments = lua_gettop(lua);
  if (!hand_in(lua, co, arguments)) {
    luaL_where(lua, 1);
    lua_insert(lua, -2);
    lua_concat(lua, 2);
    return lua_error(lua);
  }
  return run_wrapped(lua, arguments);
}

// -- the rest -----------------------------------------------------------------

int create(lua_State* lua) {
  luaL_checktype(lua, 1, LUA_TFUNCTION);
  auto* co = lua_newthread(lua);
  lua_pushvalue(lua, 1);
  lua_xmove(lua, co, 1);
  return 1;
}

int wrap(lua_State* lua) {
  create(lua);
  lua_pushcclosure(lua, guarded<call_wrapped>, 1);
  return 1;
}

/// The script's own text runs in a coroutine of ours, which it must not see.
int yield(lua_State* lua) {
  if (machine::of(lua).is_script(lua))
    return luaL_error(lua, "attempt to yield from outside a coroutine");
  return lua_yield(lua, lua_gettop(lua));
}

int is_yieldable(lua_State* lua) {
  auto* co = lua_isthread(lua, 1) ? lua_tothread(lua, 1) : lua;
  lua_pushboolean(lua,
                  !machine::of(lua).is_script(co) && lua_isyieldable(co) != 0);
  return 1;
}

int running(lua_State* lua) {
  lua_pushthread(lua);
  lua_pushboolean(lua, machine::of(lua).is_script(lua));
  return 2;
}

/// Whether `co` is neither running nor waiting for one that it resumed.
bool is_at_rest(lua_State* lua, lua_State* co) {
  lua_Debug unused;
  return lua != co
         && (lua_status(co) != LUA_OK || lua_getstack(co, 0, &unused) == 0);
}

int close(lua_State* lua) {
  auto* co = check_coroutine(lua);
  if (!is_at_rest(lua, co))
    return luaL_error(lua, "cannot close a %s coroutine",
                      lua == co ? "running" : "normal");
  auto status = close_variables(lua, co);
  machine::of(lua).check_caught(lua, status);
  lua_pushboolean(lua, status == LUA_OK);
  if (status == LUA_OK)
    return 1;
  lua_xmove(co, lua, 1);
  return 2;
}

} // namespace

void open_coroutine(lua_State* lua) {
  luaL_requiref(lua, LUA_COLIBNAME, luaopen_coroutine, 1);
  set_functions(lua, {{"create", create},
                      {"resume", guarded<resume>},
                      {"wrap", wrap},
                      {"yield", yield},
                      {"isyieldable", is_yieldable},
                      {"running", running},
                      {"close", guarded<close>}});
  lua_pop(lua, 1);
}

} // namespace muster::lua
