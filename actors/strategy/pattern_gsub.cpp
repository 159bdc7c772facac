// SPDX-License-Identifier: Apache-2.0

#include "actors/strategy/library.hpp"
#include "actors/strategy/machine.hpp"
#include "actors/strategy/pattern_calls.hpp"
#include "actors/strategy/pattern_functions.hpp"
#include "actors/strategy/values.hpp"

#include <algorithm>
#include <cstring>
#include <string_view>

namespace muster::lua {

namespace {

constexpr int replacement_at = 3;
constexpr int state_at = 4;
constexpr int output_at = 5;
constexpr int search_at = 6;
constexpr int room_at = 7;

/// How far a substitution has come.
struct substitution {
  /// Matches to replace, and how many were.
  lua_Integer most;
  lua_Integer count;
  /// Behind the last match: the subject from here on is still to be seen.
  const char* done;
  /// The match that is being replaced.
  const char* begin;
  const char* end;
  /// What was written, in a userdata, and how much room there is.
  char* output;
  std::size_t size;
  std::size_t capacity;
  bool anchored;
  /// Whether anything was replaced.
  bool changed;
};

/// Adds to the output.
void append(lua_State* lua, substitution& s, const char* text,
            std::size_t size) {
  if (size == 0)
    return;
  if (size > s.capacity - s.size) {
    // Room for the rest of the subject: most results are about as long.
    auto subject = text_at(lua, subject_at);
    auto rest = subject.data() + subject.size() - s.done;
    auto capacity = std::max(2 * s.capacity,
                             s.size + size + static_cast<std::size_t>(rest));
    auto* output = static_cast<char*>(lua_newuserdatauv(lua, capacity, 0));
    if (s.size > 0)
      std::memcpy(output, s.output, s.size);
    lua_replace(lua, output_at);
    s.output = output;
    s.capacity = capacity;
  }
  std::memcpy(s.output + s.size, text, size);
  s.size += size;
}

/// Adds the value on top of the stack, which has a text, and pops it.
void append_value(lua_State* lua, substitution& s) {
  auto text = text_at(lua, -1);
  append(lua, s, text.data(), text.size());
  lua_pop(lua, 1);
}

/// Replaces the match by the value on top of the stack. If that is false or
/// nil, the match stays as it is.
void take_value(lua_State* lua, substitution& s) {
  if (lua_toboolean(lua, -1) == 0) {
    lua_pop(lua, 1);
    append(lua, s, s.begin, static_cast<std::size_t>(s.end - s.begin));
    return;
  }
  if (lua_isstring(lua, -1) == 0)
    luaL_error(lua, "invalid replacement value (a %s)", luaL_typename(lua, -1));
  s.changed = true;
  append_value(lua, s);
}

/// Replaces the match by the replacement text, with what its `%` stand for.
void take_text(lua_State* lua, substitution& s, const pattern_search& search) {
  s.changed = true;
  auto text = text_at(lua, replacement_at);
  std::uint64_t work = 0;
  while (!text.empty()) {
    ++work;
    auto percent = std::min(text.find('%'), text.size());
    append(lua, s, text.data(), percent);
    work += percent / bytes_per_step;
    if (percent == text.size())
      break;
    auto what = percent + 1 < text.size() ? text[percent + 1] : '\0';
    if (what == '%') {
      append(lua, s, "%", 1);
    } else if (what == '0') {
      append(lua, s, s.begin, static_cast<std::size_t>(s.end - s.begin));
    } else if (what >= '1' && what <= '9') {
      push_capture(lua, search, what - '1');
      append_value(lua, s);
    } else {
      luaL_error(lua, "invalid use of '%%' in replacement string");
    }
    text.remove_prefix(percent + 2);
  }
  machine::of(lua).charge(work);
}

int substitute_next(lua_State* lua, int, lua_KContext called);

/// Pushes what the replacement, a table or function, says about the match. The
/// script may be suspended meanwhile.
void ask_for_value(lua_State* lua, const pattern_search& search) {
  constexpr auto next = guarded_next<substitute_next>;
  if (lua_type(lua, replacement_at) == LUA_TFUNCTION) {
    lua_pushvalue(lua, replacement_at);
    lua_callk(lua, push_captures(lua, search, count_of(search)), 1, 1, next);
    return;
  }
  push_capture(lua, search, 0);
  lua_pushvalue(lua, -1);
  if (lua_rawget(lua, replacement_at) == LUA_TNIL) {
    auto kind = luaL_getmetafield(lua, replacement_at, "__index");
    if (kind == LUA_TFUNCTION) {
      lua_pushvalue(lua, replacement_at);
      lua_pushvalue(lua, -4);
      lua_callk(lua, 2, 1, 1, next);
    } else if (kind != LUA_TNIL) {
      lua_pushvalue(lua, -3);
      lua_gettable(lua, replacement_at);
    }
  }
}

int finish(lua_State* lua, substitution& s) {
  if (s.changed) {
    auto rest = text_at(lua, subject_at);
    append(lua, s, s.done,
           static_cast<std::size_t>(rest.data() + rest.size() - s.done));
    lua_pushlstring(lua, s.output, s.size);
  } else {
    lua_pushvalue(lua, subject_at);
  }
  lua_pushinteger(lua, s.count);
  return 2;
}

bool is_complete(const substitution& s) {
  return s.count >= s.most || (s.anchored && s.count > 0);
}

int end_turn(lua_State* lua, const substitution& s,
             const pattern_search& search) {
  keep(lua, search, search_at);
  keep(lua, s, state_at);
  return machine::of(lua).end_turn(lua, guarded_next<substitute_next>, 0);
}

/// What a match costs beside its search, to make texts of it and to write.
constexpr std::uint64_t substitution_work = 5;

int substitute(lua_State* lua, substitution& s, pattern_search& search) {
  while (!is_complete(s)) {
    switch (search_on(lua, search, room_at)) {
      case pattern_search::outcome::unfinished:
        return end_turn(lua, s, search);
      case pattern_search::outcome::found:
        break;
      default:
        return finish(lua, s);
    }
    ++s.count;
    s.begin = search.match_begin();
    s.end = search.match_end();
    append(lua, s, s.done, static_cast<std::size_t>(s.begin - s.done));
    s.done = s.end;
    if (lua_type(lua, replacement_at) == LUA_TSTRING) {
      take_text(lua, s, search);
    } else {
      ask_for_value(lua, search);
      take_value(lua, s);
      lua_settop(lua, room_at);
    }
    search.begin(s.done, s.done);
    if (machine::of(lua).count_work(lua, substitution_work))
      return end_turn(lua, s, search);
  }
  return finish(lua, s);
}

std::string_view pattern_of(lua_State* lua, bool& anchored) {
  auto pattern = text_at(lua, pattern_at);
  anchored = pattern.starts_with('^');
  return pattern.substr(anchored ? 1 : 0);
}

int substitute_next(lua_State* lua, int, lua_KContext called) {
  auto& s = kept<substitution>(lua, state_at);
  if (called == 0)
    return substitute(lua, s, kept<pattern_search>(lua, search_at));
  take_value(lua, s);
  lua_settop(lua, room_at);
  auto pattern = pattern_of(lua, s.anchored);
  pattern_search search{text_at(lua, subject_at), pattern, s.anchored};
  search.begin(s.done, s.done);
  return substitute(lua, s, search);
}

} // namespace

int gsub_pattern(lua_State* lua) {
  auto subject = check_text(lua, subject_at);
  auto pattern = check_text(lua, pattern_at);
  auto kind = lua_type(lua, replacement_at);
  substitution s{};
  s.most
    = luaL_optinteger(lua, 4, static_cast<lua_Integer>(subject.size()) + 1);
  luaL_argexpected(lua,
                   kind == LUA_TNUMBER || kind == LUA_TSTRING
                     || kind == LUA_TFUNCTION || kind == LUA_TTABLE,
                   replacement_at, "string/function/table");
  s.done = subject.data();
  pattern = pattern_of(lua, s.anchored);
  lua_settop(lua, replacement_at);
  lua_settop(lua, room_at);
  pattern_search search{subject, pattern, s.anchored};
  search.begin(subject.data());
  if (kind == LUA_TNUMBER)
    lua_tolstring(lua, replacement_at, nullptr);
  if (kind == LUA_TNUMBER || kind == LUA_TSTRING)
    return substitute(lua, s, search);
  // What is called may be suspended, so the state must outlive this frame.
  keep(lua, s, state_at);
  return substitute(lua, kept<substitution>(lua, state_at), search);
}

} // namespace muster::lua
