// SPDX-License-Identifier: Apache-2.0

#include "actors/strategy/pattern_functions.hpp"

#include "actors/strategy/library.hpp"
#include "actors/strategy/machine.hpp"
#include "actors/strategy/pattern_calls.hpp"
#include "actors/strategy/values.hpp"

#include <algorithm>
#include <cstring>
#include <new>
#include <string_view>
#include <tuple>

namespace muster::lua {

namespace {

/// Where to begin, from 0 on, as the argument says. May be beyond the end.
std::size_t start_from(lua_State* lua, int argument, std::size_t size) {
  auto start = luaL_optinteger(lua, argument, 1);
  if (start > 0)
    return static_cast<std::size_t>(start) - 1;
  if (start == 0 || start < -static_cast<lua_Integer>(size))
    return 0;
  return size - (0 - static_cast<std::size_t>(start));
}

// -- find and match -----------------------------------------------------------

constexpr int found_search_at = 3;
constexpr int found_room_at = 4;

int find_on(lua_State* lua, pattern_search& search, bool wants_place);

int find_next(lua_State* lua, int, lua_KContext wants_place) {
  return find_on(lua, kept<pattern_search>(lua, found_search_at),
                 wants_place != 0);
}

int find_on(lua_State* lua, pattern_search& search, bool wants_place) {
  switch (search_on(lua, search, found_room_at)) {
    case pattern_search::outcome::unfinished:
      keep(lua, search, found_search_at);
      return machine::of(lua).end_turn(lua, guarded_next<find_next>,
                                       wants_place ? 1 : 0);
    case pattern_search::outcome::found:
      break;
    default:
      lua_pushnil(lua);
      return 1;
  }
  if (!wants_place)
    return push_captures(lua, search, count_of(search));
  lua_pushinteger(lua, search.match_begin() - search.subject_begin() + 1);
  lua_pushinteger(lua, search.match_end() - search.subject_begin());
  return 2 + push_captures(lua, search, search.captures());
}

/// Finds a text as it stands.
int find_plain(lua_State* lua, std::string_view subject, std::string_view text,
               std::size_t from) {
  auto rest = subject.substr(from);
  auto* found = static_cast<const char*>(
    memmem(rest.data(), rest.size(), text.data(), text.size()));
  auto gone_through = found == nullptr
                        ? rest.size()
                        : static_cast<std::size_t>(found - rest.data());
  machine::of(lua).charge((gone_through + text.size()) / bytes_per_step);
  if (found == nullptr) {
    lua_pushnil(lua);
    return 1;
  }
  auto begin = static_cast<lua_Integer>(from + gone_through);
  lua_pushinteger(lua, begin + 1);
  lua_pushinteger(lua, begin + static_cast<lua_Integer>(text.size()));
  return 2;
}

/// Whether a pattern can only mean itself. As in Lua, a single `)` or `]` does,
/// although a `)` would be an error in a pattern.
bool is_plain(std::string_view pattern) {
  return pattern.find_first_of("^$*+?.([%-") == std::string_view::npos;
}

int find_or_match(lua_State* lua, bool wants_place) {
  auto subject = check_text(lua, subject_at);
  auto pattern = check_text(lua, pattern_at);
  auto from = start_from(lua, 3, subject.size());
  if (from > subject.size()) {
    lua_pushnil(lua);
    return 1;
  }
  if (wants_place && (lua_toboolean(lua, 4) != 0 || is_plain(pattern)))
    return find_plain(lua, subject, pattern, from);
  bool anchored = pattern.starts_with('^');
  lua_settop(lua, found_room_at);
  pattern_search search{subject, pattern.substr(anchored ? 1 : 0), anchored};
  search.begin(subject.data() + from);
  return find_on(lua, search, wants_place);
}

// -- gmatch -------------------------------------------------------------------

/// How far a traversal has come. Upvalues: subject, pattern, this.
struct traversal {
  const char* from;
  /// Where the last match ended.
  const char* last;
};

constexpr int traversal_search_at = 1;
constexpr int traversal_room_at = 2;

int traverse_on(lua_State* lua, pattern_search& search);

int traverse_next(lua_State* lua, int, lua_KContext) {
  return traverse_on(lua, kept<pattern_search>(lua, traversal_search_at));
}

int traverse_on(lua_State* lua, pattern_search& search) {
  switch (search_on(lua, search, traversal_room_at)) {
    case pattern_search::outcome::unfinished:
      keep(lua, search, traversal_search_at);
      return machine::of(lua).end_turn(lua, guarded_next<traverse_next>, 0);
    case pattern_search::outcome::found:
      break;
    default:
      return 0;
  }
  auto& way = kept<traversal>(lua, lua_upvalueindex(3));
  way.from = way.last = search.match_end();
  return push_captures(lua, search, count_of(search));
}

int traverse(lua_State* lua) {
  lua_settop(lua, traversal_room_at);
  auto& way = kept<traversal>(lua, lua_upvalueindex(3));
  // A `^` anchors nothing here: there would be no second match.
  pattern_search search{text_at(lua, lua_upvalueindex(1)),
                        text_at(lua, lua_upvalueindex(2)), false};
  search.begin(way.from, way.last);
  return traverse_on(lua, search);
}

} // namespace

int find_pattern(lua_State* lua) {
  return find_or_match(lua, true);
}

int match_pattern(lua_State* lua) {
  return find_or_match(lua, false);
}

int gmatch_pattern(lua_State* lua) {
  auto subject = check_text(lua, subject_at);
  std::ignore = check_text(lua, pattern_at);
  auto from = std::min(start_from(lua, 3, subject.size()), subject.size() + 1);
  lua_settop(lua, pattern_at);
  auto* way = lua_newuserdatauv(lua, sizeof(traversal), 0);
  new (way) traversal{subject.data() + from, nullptr};
  lua_pushcclosure(lua, guarded<traverse>, 3);
  return 1;
}

} // namespace muster::lua
