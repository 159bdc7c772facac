// SPDX-License-Identifier: Apache-2.0

#include "actors/strategy/alc.hpp"
#include "actors/strategy/library.hpp"
#include "actors/strategy/machine.hpp"
#include "actors/strategy/values.hpp"

#include <fmt/format.h>

#include <cmath>
#include <set>
#include <string>

namespace muster::lua {

// State that outlives a session and is shared by all of its namespace. A read
// asks the host and is an effect; a write waits in a buffer until the step is
// committed. What was read and then written must not have changed by then.

namespace {

/// Whether the value at hand was fetched from the host or is buffered.
enum : lua_KContext { buffered = 0, fetched = 1 };

void check_space(lua_State* lua) {
  auto& space = machine::of(lua).context().space;
  if (space.empty()
      || space.find_first_of(std::string_view{"/\\\0", 3}) != std::string::npos
      || space.find("..") != std::string::npos)
    luaL_error(lua, "Invalid namespace: '%s'", space.c_str());
}

/// The key at index 1, in the namespace of the script.
state_key check_key(lua_State* lua) {
  auto key = check_utf8(lua, 1, "a key of the state");
  luaL_argcheck(lua, key.find('\0') == std::string_view::npos, 1,
                "a key of the state cannot contain a NUL");
  return {machine::of(lua).context().space, std::string{key}};
}

/// Goes on with `next` when the value of the key at index 1 is known.
int with_value(lua_State* lua, lua_KFunction next) {
  check_space(lua);
  auto& m = machine::of(lua);
  auto where = check_key(lua);
  if (m.context().state.written(where) != nullptr)
    return next(lua, LUA_OK, buffered);
  m.check_suspendable(lua, "alc.state");
  return m.suspend(
    lua, machine_calls{{host_call::kind::state_get, std::move(where)}}, next,
    fetched);
}

/// The value of a key, as JSON; absent if there is none.
std::optional<std::string> value_of(lua_State* lua, const state_key& where,
                                    lua_KContext source) {
  auto& m = machine::of(lua);
  if (source == buffered)
    return *m.context().state.written(where);
  auto found = std::move(m.result());
  m.context().state.note_read(where, found.version);
  return found.text;
}

void write(lua_State* lua, const state_key& where,
           std::optional<std::string> value) {
  auto& m = machine::of(lua);
  auto& limits = m.settings();
  auto& state = m.context().state;
  if (m.is_live() && value && value->size() > limits.max_state_bytes)
    m.break_limit(lua, fmt::format("strategy.max-state: the value of '{}' has "
                                   "{} bytes, more than {}",
                                   where.key, value->size(),
                                   limits.max_state_bytes));
  if (m.is_live() && state.count_writes() >= limits.max_effects)
    m.break_limit(lua, fmt::format("strategy.max-effects: the script changed "
                                   "more than {} values since its last pause",
                                   limits.max_effects));
  if (auto reason = m.port().refuse_write(where))
    luaL_error(lua, "alc.state: %s", reason->c_str());
  m.port().did("state", where.space + "\n" + where.key + "\n"
                          + (value ? *value : "deleted"));
  state.write(where, std::move(value));
  if (m.is_live() && state.write_bytes() > limits.max_effect_bytes)
    m.break_limit(lua, fmt::format("strategy.max-effect-bytes: the values that "
                                   "the script changed since its last pause "
                                   "take more than {} bytes",
                                   limits.max_effect_bytes));
}

// -- reading ------------------------------------------------------------------

int get_next(lua_State* lua, int, lua_KContext source) {
  auto value = value_of(lua, check_key(lua), source);
  if (!value)
    lua_settop(lua, 2); // the default, or nil
  else
    push_json(lua, json::parse(*value));
  return 1;
}

/// alc.state.get(key, default?) -> value
int get(lua_State* lua) {
  lua_settop(lua, 2);
  return with_value(lua, guarded_next<get_next>);
}

int has_next(lua_State* lua, int, lua_KContext source) {
  lua_pushboolean(lua, value_of(lua, check_key(lua), source).has_value());
  return 1;
}

/// alc.state.has(key) -> boolean; true for a stored null
int has(lua_State* lua) {
  return with_value(lua, guarded_next<has_next>);
}

int keys_next(lua_State* lua, int, lua_KContext) {
  auto& m = machine::of(lua);
  std::set<std::string> keys;
  for (auto& key : json::parse(m.result().text.value_or("[]")))
    keys.insert(key.get<std::string>());
  for (auto& write : m.context().state.writes()) {
    if (write.where.space != m.context().space)
      continue;
    if (write.value)
      keys.insert(write.where.key);
    else
      keys.erase(write.where.key);
  }
  push_json(lua, json(keys));
  return 1;
}

/// alc.state.keys() -> string[], sorted
int keys(lua_State* lua) {
  check_space(lua);
  auto& m = machine::of(lua);
  m.check_suspendable(lua, "alc.state.keys");
  return m.suspend(
    lua, machine_calls{{host_call::kind::state_keys, {m.context().space, {}}}},
    guarded_next<keys_next>);
}

// -- writing ------------------------------------------------------------------

/// alc.state.set(key, value)
int set(lua_State* lua) {
  check_space(lua);
  luaL_checkany(lua, 2);
  write(lua, check_key(lua), to_json(lua, 2).dump());
  return 0;
}

int set_nx_next(lua_State* lua, int, lua_KContext source) {
  auto where = check_key(lua);
  auto is_new = !value_of(lua, where, source);
  if (is_new)
    write(lua, where, to_json(lua, 2).dump());
  lua_pushboolean(lua, is_new);
  return 1;
}

/// alc.state.set_nx(key, value) -> whether it was written
int set_nx(lua_State* lua) {
  luaL_checkany(lua, 2);
  return with_value(lua, guarded_next<set_nx_next>);
}

int remove_next(lua_State* lua, int, lua_KContext source) {
  auto where = check_key(lua);
  auto existed = value_of(lua, where, source).has_value();
  if (existed)
    write(lua, where, std::nullopt);
  lua_pushboolean(lua, existed);
  return 1;
}

/// alc.state.delete(key) -> whether it existed
int remove(lua_State* lua) {
  return with_value(lua, guarded_next<remove_next>);
}

int incr_next(lua_State* lua, int, lua_KContext source) {
  auto where = check_key(lua);
  auto value = value_of(lua, where, source);
  auto number = luaL_optnumber(lua, 3, 0);
  if (value) {
    auto stored = json::parse(*value);
    if (!stored.is_number())
      return luaL_error(lua, "incr: value at '%s' is not a number",
                        where.key.c_str());
    number = stored.get<lua_Number>();
  }
  number += luaL_optnumber(lua, 2, 1);
  if (!std::isfinite(number))
    return luaL_error(lua, "incr: the sum at '%s' is not a finite number",
                      where.key.c_str());
  write(lua, where, json(number).dump());
  lua_pushnumber(lua, number);
  return 1;
}

/// alc.state.incr(key, delta?, default?) -> the new number
int incr(lua_State* lua) {
  std::ignore = luaL_optnumber(lua, 2, 1);
  std::ignore = luaL_optnumber(lua, 3, 0);
  return with_value(lua, guarded_next<incr_next>);
}

} // namespace

void push_state_library(lua_State* lua) {
  lua_newtable(lua);
  set_functions(lua, {{"get", guarded<get>},
                      {"has", guarded<has>},
                      {"keys", guarded<keys>},
                      {"set", guarded<set>},
                      {"set_nx", guarded<set_nx>},
                      {"delete", guarded<remove>},
                      {"incr", guarded<incr>}});
  set_lazy(lua, "update", "alc/state_update.lua");
}

} // namespace muster::lua
