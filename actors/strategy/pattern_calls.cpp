// SPDX-License-Identifier: Apache-2.0

#include "actors/strategy/pattern_calls.hpp"

#include "actors/strategy/machine.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdlib>

namespace muster::lua {

namespace {

/// After so much work a search looks whether its slice is over.
constexpr std::uint64_t work_at_once = 1'000;

[[noreturn]] void raise_fault(lua_State* lua, const pattern_search& search) {
  if (search.number() < 0)
    luaL_error(lua, "%s", search.fault());
  luaL_error(lua, "%s%d", search.fault(), search.number());
  std::abort(); // not reached: the line above throws
}

void push_part(lua_State* lua, const char* begin, const char* end) {
  lua_pushlstring(lua, begin, static_cast<std::size_t>(end - begin));
}

} // namespace

pattern_search::outcome search_on(lua_State* lua, pattern_search& search,
                                  int room) {
  auto& m = machine::of(lua);
  auto at_once = std::min(work_at_once, m.settings().slice_instructions);
  for (;;) {
    auto outcome = search.go_on(at_once);
    if (outcome == pattern_search::outcome::unfinished) {
      if (m.count_work(lua, search.work()))
        return outcome;
      continue;
    }
    m.charge(search.work());
    if (outcome == pattern_search::outcome::crowded) {
      search.give_room(lua_newuserdatauv(lua, pattern_search::room_bytes, 0));
      lua_replace(lua, room);
      continue;
    }
    if (outcome == pattern_search::outcome::malformed)
      raise_fault(lua, search);
    return outcome;
  }
}

std::string_view text_at(lua_State* lua, int index) {
  std::size_t size = 0;
  auto* text = lua_tolstring(lua, index, &size);
  return {text, size};
}

void push_capture(lua_State* lua, const pattern_search& search, int index) {
  if (index >= search.captures()) {
    if (index != 0)
      luaL_error(lua, "invalid capture index %%%d", index + 1);
    push_part(lua, search.match_begin(), search.match_end());
    return;
  }
  auto& capture = search.captured(index);
  if (capture.size == pattern_search::unclosed)
    luaL_error(lua, "unfinished capture");
  if (capture.size == pattern_search::position)
    lua_pushinteger(lua, capture.begin - search.subject_begin() + 1);
  else
    push_part(lua, capture.begin, capture.begin + capture.size);
}

int push_captures(lua_State* lua, const pattern_search& search, int count) {
  luaL_checkstack(lua, count, "too many captures");
  for (int i = 0; i < count; ++i)
    push_capture(lua, search, i);
  return count;
}

int count_of(const pattern_search& search) {
  return std::max(search.captures(), 1);
}

} // namespace muster::lua
