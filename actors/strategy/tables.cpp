// SPDX-License-Identifier: Apache-2.0

#include "actors/strategy/library.hpp"
#include "actors/strategy/machine.hpp"

#include <algorithm>
#include <string_view>

namespace muster::lua {

namespace {

/// How many elements a single call may go through. Loops in C are not counted
/// as instructions, and lengths may be lies of a metatable.
constexpr lua_Integer max_elements = 10'000'000;

// -- sort ---------------------------------------------------------------------

// A merge sort from the bottom up: stable, with as many comparisons in the same
// order in every run, and able to wait in each of them. All that it knows
// between two comparisons stands in one userdata, so that it can go on.

struct sorting {
  lua_Integer size;
  /// Length of the runs that are being merged.
  lua_Integer width = 1;
  /// The two runs at work: [left, middle) and [right, end).
  lua_Integer left = 0;
  lua_Integer middle = 0;
  lua_Integer right = 0;
  lua_Integer end = 0;
  /// Where the next element goes.
  lua_Integer out = 0;
};

// Where things stand on the stack.
constexpr int input = 1;
constexpr int comparator = 2;
constexpr int from = 3;
constexpr int to = 4;
constexpr int state = 5;

/// Takes over one element.
void take(lua_State* lua, lua_Integer& position, sorting& s) {
  lua_rawgeti(lua, from, ++position);
  lua_rawseti(lua, to, ++s.out);
}

/// Begins with the next two runs, or with the next round.
/// @returns whether there is anything left to merge.
bool next_runs(lua_State* lua, sorting& s) {
  while (s.left < s.middle)
    take(lua, s.left, s);
  while (s.right < s.end)
    take(lua, s.right, s);
  if (s.out == s.size) {
    // The round is over: what was written is read next.
    lua_pushvalue(lua, from);
    lua_copy(lua, to, from);
    lua_replace(lua, to);
    s.width *= 2;
    s.out = 0;
    s.end = 0;
    if (s.width >= s.size)
      return false;
  }
  s.left = s.end;
  s.middle = s.right = std::min(s.left + s.width, s.size);
  s.end = std::min(s.middle + s.width, s.size);
  return true;
}

/// Whether two values on top of the stack can be compared without calling the
/// script.
bool are_plain(lua_State* lua) {
  auto a = lua_type(lua, -1);
  return a == lua_type(lua, -2) && (a == LUA_TNUMBER || a == LUA_TSTRING);
}

int merge(lua_State* lua, sorting& s);

/// Uses the answer of a comparison: whether the right one comes first.
void take_smaller(lua_State* lua, sorting& s) {
  bool right_first = lua_toboolean(lua, -1) != 0;
  lua_pop(lua, 1);
  take(lua, right_first ? s.right : s.left, s);
}

int merge_next(lua_State* lua, int, lua_KContext compared) {
  auto& s = *static_cast<sorting*>(lua_touserdata(lua, state));
  if (compared != 0)
    take_smaller(lua, s);
  return merge(lua, s);
}

/// Copies the sorted elements back. Only now does the table change.
int write_back(lua_State* lua, const sorting& s) {
  for (lua_Integer i = 1; i <= s.size; ++i) {
    lua_rawgeti(lua, from, i);
    lua_seti(lua, input, i);
  }
  return 0;
}

int merge(lua_State* lua, sorting& s) {
  auto& m = machine::of(lua);
  for (;;) {
    while (s.left == s.middle || s.right == s.end)
      if (!next_runs(lua, s))
        return write_back(lua, s);
    if (m.count_work(lua, 5))
      return m.end_turn(lua, guarded_next<merge_next>, 0);
    lua_rawgeti(lua, from, s.right + 1);
    lua_rawgeti(lua, from, s.left + 1);
    if (lua_isnil(lua, comparator) && are_plain(lua)) {
      bool less = lua_compare(lua, -2, -1, LUA_OPLT) != 0;
      lua_pop(lua, 2);
      lua_pushboolean(lua, less);
    } else {
      // The comparator, or a Lua function that does `a < b`, so that methods
      // of the elements can wait as well.
      lua_pushvalue(lua, lua_isnil(lua, comparator) ? lua_upvalueindex(1)
                                                    : comparator);
      lua_insert(lua, -3);
      lua_callk(lua, 2, 1, 1, guarded_next<merge_next>);
    }
    take_smaller(lua, s);
  }
}

int sort(lua_State* lua) {
  luaL_checktype(lua, 1, LUA_TTABLE);
  auto size = luaL_len(lua, 1);
  if (size < 2)
    return 0;
  luaL_argcheck(lua, size <= max_elements, 1, "array too big");
  if (!lua_isnoneornil(lua, 2))
    luaL_checktype(lua, 2, LUA_TFUNCTION);
  lua_settop(lua, 2);
  machine::of(lua).charge(static_cast<std::uint64_t>(size));
  lua_createtable(lua, static_cast<int>(size), 0);
  lua_createtable(lua, static_cast<int>(size), 0);
  for (lua_Integer i = 1; i <= size; ++i) {
    lua_geti(lua, input, i);
    lua_rawseti(lua, from, i);
  }
  auto* s = static_cast<sorting*>(lua_newuserdatauv(lua, sizeof(sorting), 0));
  *s = sorting{size};
  next_runs(lua, *s);
  return merge(lua, *s);
}

// -- bounds for the rest ------------------------------------------------------

/// Counts a range that a loop in C goes through, and refuses one that would
/// take too long.
void check_range(lua_State* lua, lua_Integer first, lua_Integer last,
                 int argument) {
  auto count
    = static_cast<lua_Unsigned>(last) - static_cast<lua_Unsigned>(first);
  luaL_argcheck(lua,
                last < first || count < static_cast<lua_Unsigned>(max_elements),
                argument, "too many elements");
  if (first <= last)
    machine::of(lua).charge(count);
}

/// Without a position only the end changes; with one, everything behind it.
void check_shift(lua_State* lua, bool has_position) {
  if (!lua_istable(lua, 1))
    return;
  auto size = luaL_len(lua, 1);
  auto position = has_position ? lua_tointeger(lua, 2) : size;
  check_range(lua, std::clamp<lua_Integer>(position, 1, std::max(size, 1LL)),
              size, 1);
}

int bounded_insert(lua_State* lua) {
  check_shift(lua, lua_gettop(lua) > 2);
  return call_original(lua);
}

int bounded_remove(lua_State* lua) {
  check_shift(lua, lua_gettop(lua) > 1);
  return call_original(lua);
}

int counted_unpack(lua_State* lua) {
  auto results = call_original(lua);
  machine::of(lua).charge(static_cast<std::uint64_t>(results));
  return results;
}

/// `concat(t, separator, i, j)` goes from i to j.
int bounded_concat(lua_State* lua) {
  if (lua_istable(lua, 1))
    check_range(lua, luaL_optinteger(lua, 3, 1),
                lua_isnoneornil(lua, 4) ? luaL_len(lua, 1)
                                        : luaL_checkinteger(lua, 4),
                4);
  return call_original(lua);
}

/// `move(a, first, last, to)` goes from first to last.
int bounded_move(lua_State* lua) {
  if (lua_istable(lua, 1))
    check_range(lua, luaL_checkinteger(lua, 2), luaL_checkinteger(lua, 3), 3);
  return call_original(lua);
}

} // namespace

void open_table(lua_State* lua) {
  luaL_requiref(lua, LUA_TABLIBNAME, luaopen_table, 1);
  wrap_function(lua, "insert", bounded_insert);
  wrap_function(lua, "remove", bounded_remove);
  wrap_function(lua, "unpack", counted_unpack);
  wrap_function(lua, "concat", bounded_concat);
  wrap_function(lua, "move", bounded_move);
  constexpr std::string_view less = "local a, b = ... return a < b";
  if (luaL_loadbufferx(lua, less.data(), less.size(), "=sort", "t") != LUA_OK)
    lua_error(lua);
  lua_pushcclosure(lua, guarded<sort>, 1);
  lua_setfield(lua, -2, "sort");
  lua_pop(lua, 1);
}

} // namespace muster::lua
