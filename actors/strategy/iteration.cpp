// SPDX-License-Identifier: Apache-2.0

#include "actors/strategy/iteration.hpp"

#include "actors/strategy/machine.hpp"

#include <algorithm>
#include <string_view>
#include <vector>

namespace muster::lua {

namespace {

// -- the order of keys --------------------------------------------------------

/// A key of a table in a form that can be compared without Lua. Texts are those
/// of the table, which keeps them while nothing else runs.
struct sort_key {
  enum class rank : std::uint8_t { integer, number, text, boolean, object };

  rank kind = rank::integer;
  lua_Integer integer = 0;
  lua_Number number = 0;
  std::string_view text;
  /// Where the key itself stands, for whoever collected the keys.
  lua_Integer position = 0;

  friend bool operator<(const sort_key& a, const sort_key& b) {
    if (a.kind != b.kind)
      return a.kind < b.kind;
    switch (a.kind) {
      case rank::number:
        return a.number < b.number;
      case rank::text:
        return a.text < b.text;
      default:
        return a.integer < b.integer;
    }
  }
};

sort_key key_at(lua_State* lua, int index) {
  sort_key key;
  switch (lua_type(lua, index)) {
    case LUA_TNUMBER:
      if (lua_isinteger(lua, index)) {
        key.integer = lua_tointeger(lua, index);
      } else {
        key.kind = sort_key::rank::number;
        key.number = lua_tonumber(lua, index);
      }
      break;
    case LUA_TSTRING: {
      key.kind = sort_key::rank::text;
      std::size_t size = 0;
      auto* text = lua_tolstring(lua, index, &size);
      key.text = {text, size};
      break;
    }
    case LUA_TBOOLEAN:
      key.kind = sort_key::rank::boolean;
      key.integer = lua_toboolean(lua, index);
      break;
    default:
      key.kind = sort_key::rank::object;
  }
  return key;
}

[[noreturn]] void refuse_objects(lua_State* lua) {
  luaL_error(lua, "the table has more than one key that is a table, function, "
                  "thread or userdata; there is no order of these that would "
                  "be the same in every run");
  std::abort(); // not reached: the line above throws
}

// -- the work -----------------------------------------------------------------

/// What it takes to put a key in its place, in steps of going past one.
constexpr lua_Integer sorting = 16;

void count_keys(lua_State* lua, lua_Integer steps) {
  machine::of(lua).charge(static_cast<std::uint64_t>(steps));
}

// -- sequences ----------------------------------------------------------------

/// The length of a table whose keys are 1 to n and stand in that order, else
/// -1. These need no sorting, and most tables are of this kind.
lua_Integer sequence_length(lua_State* lua, int table) {
  lua_Integer length = 0;
  lua_pushnil(lua);
  while (lua_next(lua, table) != 0) {
    lua_pop(lua, 1);
    if (lua_isinteger(lua, -1) == 0 || lua_tointeger(lua, -1) != ++length) {
      lua_pop(lua, 1);
      return -1;
    }
  }
  return length;
}

// -- snapshots ----------------------------------------------------------------

/// Pushes an array of the table's keys in order.
/// @returns how many there are.
lua_Integer push_sorted_keys(lua_State* lua, int table) {
  lua_newtable(lua);
  auto found = lua_gettop(lua);
  std::vector<sort_key> keys;
  bool has_object = false;
  lua_pushnil(lua);
  while (lua_next(lua, table) != 0) {
    lua_pop(lua, 1);
    auto key = key_at(lua, -1);
    if (key.kind == sort_key::rank::object) {
      if (has_object)
        refuse_objects(lua);
      has_object = true;
    }
    key.position = static_cast<lua_Integer>(keys.size()) + 1;
    keys.push_back(key);
    lua_pushvalue(lua, -1);
    lua_rawseti(lua, found, key.position);
  }
  std::sort(keys.begin(), keys.end());
  lua_createtable(lua, static_cast<int>(keys.size()), 0);
  lua_Integer i = 0;
  for (auto& key : keys) {
    lua_rawgeti(lua, found, key.position);
    lua_rawseti(lua, -2, ++i);
  }
  lua_remove(lua, found);
  return i;
}

// -- pairs --------------------------------------------------------------------

/// One step through a sequence.
/// Upvalues: its length when the traversal began, the position.
int next_in_sequence(lua_State* lua) {
  auto length = lua_tointeger(lua, lua_upvalueindex(1));
  auto position = lua_tointeger(lua, lua_upvalueindex(2));
  luaL_checktype(lua, 1, LUA_TTABLE);
  while (position < length) {
    lua_pushinteger(lua, ++position);
    lua_copy(lua, -1, lua_upvalueindex(2));
    if (lua_rawgeti(lua, 1, position) != LUA_TNIL)
      return 2;
    lua_pop(lua, 2);
  }
  lua_pushnil(lua);
  return 1;
}

/// One step through a snapshot; skips what the table has lost since.
/// Upvalues: the keys, the position.
int next_in_snapshot(lua_State* lua) {
  auto position = lua_tointeger(lua, lua_upvalueindex(2));
  luaL_checktype(lua, 1, LUA_TTABLE);
  for (;;) {
    if (lua_rawgeti(lua, lua_upvalueindex(1), ++position) == LUA_TNIL)
      return 1;
    lua_pushvalue(lua, -1);
    if (lua_rawget(lua, 1) != LUA_TNIL) {
      lua_pushinteger(lua, position);
      lua_replace(lua, lua_upvalueindex(2));
      return 2;
    }
    lua_pop(lua, 2);
  }
}

int give_three(lua_State*, int, lua_KContext) {
  return 3;
}

// -- next ---------------------------------------------------------------------

/// Registry key of the traversal that `next` is in: the table, its keys, the
/// position of the key that was given last.
constexpr const char* traversal = "muster.traversal";

constexpr lua_Integer traversed = 1;
constexpr lua_Integer traversed_keys = 2;
constexpr lua_Integer traversed_position = 3;

/// Forgets the traversal if it is of the table at index 1.
void forget_traversal(lua_State* lua) {
  if (lua_getfield(lua, LUA_REGISTRYINDEX, traversal) == LUA_TTABLE) {
    lua_rawgeti(lua, -1, traversed);
    if (lua_rawequal(lua, 1, -1) != 0) {
      lua_pushnil(lua);
      lua_setfield(lua, LUA_REGISTRYINDEX, traversal);
    }
    lua_pop(lua, 1);
  }
  lua_pop(lua, 1);
}

/// Pushes the first key and its value; nil if the table is empty. Index 2 holds
/// nil and receives the smallest key so far.
int push_first(lua_State* lua) {
  forget_traversal(lua);
  sort_key smallest;
  bool found = false;
  bool has_object = false;
  lua_Integer count = 0;
  lua_pushnil(lua);
  while (lua_next(lua, 1) != 0) {
    lua_pop(lua, 1);
    ++count;
    auto key = key_at(lua, -1);
    if (key.kind == sort_key::rank::object) {
      if (has_object)
        refuse_objects(lua);
      has_object = true;
    }
    if (!found || key < smallest) {
      smallest = key;
      found = true;
      lua_copy(lua, -1, 2);
    }
  }
  count_keys(lua, count);
  if (!found)
    return 1;
  lua_pushvalue(lua, 2);
  lua_rawget(lua, 1);
  return 2;
}

/// Whether the traversal at index 3 is of the table at index 1 and has just
/// given the key at index 2.
bool continues_traversal(lua_State* lua) {
  lua_rawgeti(lua, 3, traversed);
  lua_rawgeti(lua, 3, traversed_keys);
  lua_rawgeti(lua, 3, traversed_position);
  bool same = lua_rawequal(lua, 1, -3) != 0;
  if (same) {
    lua_rawgeti(lua, -2, lua_tointeger(lua, -1));
    same = lua_rawequal(lua, 2, -1) != 0;
    lua_pop(lua, 1);
  }
  lua_pop(lua, 3);
  return same;
}

/// Begins a traversal of the table at index 1 behind the key at index 2.
void begin_traversal(lua_State* lua) {
  auto count = push_sorted_keys(lua, 1);
  count_keys(lua, sorting * count);
  auto keys = lua_gettop(lua);
  auto wanted = key_at(lua, 2);
  lua_Integer low = 0;
  auto high = count;
  while (low < high) {
    auto middle = low + (high - low) / 2;
    lua_rawgeti(lua, keys, middle + 1);
    auto goes_on = !(wanted < key_at(lua, -1));
    lua_pop(lua, 1);
    if (goes_on)
      low = middle + 1;
    else
      high = middle;
  }
  lua_pushvalue(lua, 1);
  lua_rawseti(lua, 3, traversed);
  lua_rawseti(lua, 3, traversed_keys);
  lua_pushinteger(lua, low);
  lua_rawseti(lua, 3, traversed_position);
}

} // namespace

int ordered_pairs(lua_State* lua) {
  luaL_checkany(lua, 1);
  if (luaL_getmetafield(lua, 1, "__pairs") != LUA_TNIL) {
    lua_pushvalue(lua, 1);
    lua_callk(lua, 1, 3, 0, give_three);
    return 3;
  }
  luaL_checktype(lua, 1, LUA_TTABLE);
  lua_settop(lua, 1);
  if (auto length = sequence_length(lua, 1); length >= 0) {
    count_keys(lua, length);
    lua_pushinteger(lua, length);
    lua_pushinteger(lua, 0);
    lua_pushcclosure(lua, next_in_sequence, 2);
  } else {
    count_keys(lua, sorting * push_sorted_keys(lua, 1));
    lua_pushinteger(lua, 0);
    lua_pushcclosure(lua, next_in_snapshot, 2);
  }
  lua_pushvalue(lua, 1);
  lua_pushnil(lua);
  return 3;
}

int ordered_next(lua_State* lua) {
  luaL_checktype(lua, 1, LUA_TTABLE);
  lua_settop(lua, 2);
  if (lua_isnil(lua, 2))
    return push_first(lua);
  luaL_getsubtable(lua, LUA_REGISTRYINDEX, traversal);
  if (!continues_traversal(lua))
    begin_traversal(lua);
  lua_rawgeti(lua, 3, traversed_keys);
  lua_rawgeti(lua, 3, traversed_position);
  auto position = lua_tointeger(lua, -1);
  lua_pop(lua, 1);
  for (;;) {
    if (lua_rawgeti(lua, 4, ++position) == LUA_TNIL) {
      // The end: nothing may keep the table alive.
      lua_pushnil(lua);
      lua_setfield(lua, LUA_REGISTRYINDEX, traversal);
      return 1;
    }
    lua_pushvalue(lua, -1);
    if (lua_rawget(lua, 1) != LUA_TNIL) {
      lua_pushinteger(lua, position);
      lua_rawseti(lua, 3, traversed_position);
      return 2;
    }
    lua_pop(lua, 2);
  }
}

} // namespace muster::lua
