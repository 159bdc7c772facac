// SPDX-License-Identifier: Apache-2.0

#include "actors/strategy/values.hpp"

#include "actors/strategy/library.hpp"
#include "actors/strategy/machine.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

namespace muster::lua {

namespace {

/// Tables nested deeper than this are refused, in both directions.
constexpr int max_depth = 128;

/// Registry key of the metatable that marks arrays.
constexpr const char* array_mark = "muster.array";

/// Registry key of the table that numbers objects.
constexpr const char* serials = "muster.serials";

/// What values take in memory on their way to JSON, beside their texts.
constexpr std::uint64_t value_bytes = 24;
constexpr std::uint64_t member_bytes = 96;

/// Thrown for a value that takes too much: one table can stand in many places.
struct too_large {};

/// Why a value is no JSON, and where: the path grows while it is thrown on.
struct not_json {
  std::string reason;
  std::string path;
};

// -- from Lua -----------------------------------------------------------------

class encoder {
public:
  encoder(lua_State* lua, non_finite policy, std::uint64_t max_bytes)
    : lua_(lua), policy_(policy), max_bytes_(max_bytes) {
    // nop
  }

  /// What the value takes, as far as it was encoded.
  [[nodiscard]] std::uint64_t bytes() const {
    return bytes_;
  }

  json encode(int index) {
    spend(value_bytes);
    switch (lua_type(lua_, index)) {
      case LUA_TNIL:
        return nullptr;
      case LUA_TBOOLEAN:
        return lua_toboolean(lua_, index) != 0;
      case LUA_TNUMBER:
        return encode_number(index);
      case LUA_TSTRING:
        return encode_string(index);
      case LUA_TTABLE:
        return encode_table(index);
      case LUA_TLIGHTUSERDATA:
        if (lua_touserdata(lua_, index) == nullptr)
          return nullptr;
        [[fallthrough]];
      default:
        throw not_json{fmt::format("unsupported value type '{}'",
                                   luaL_typename(lua_, index)),
                       {}};
    }
  }

private:
  void spend(std::uint64_t bytes) {
    bytes_ += bytes;
    if (bytes_ > max_bytes_)
      throw too_large{};
  }

  json encode_number(int index) {
    if (lua_isinteger(lua_, index))
      return lua_tointeger(lua_, index);
    auto number = lua_tonumber(lua_, index);
    if (std::isfinite(number))
      return number;
    if (policy_ == non_finite::refuse)
      throw not_json{std::isnan(number) ? "NaN is not a JSON number"
                                        : "infinity is not a JSON number",
                     {}};
    return nullptr;
  }

  json encode_string(int index) {
    std::size_t size = 0;
    auto* text = lua_tolstring(lua_, index, &size);
    spend(size);
    if (!is_utf8({text, size}))
      throw not_json{"a string is not valid UTF-8", {}};
    return std::string{text, size};
  }

  json encode_table(int index) {
    index = lua_absindex(lua_, index);
    auto* self = lua_topointer(lua_, index);
    for (auto* outer : nesting_)
      if (outer == self)
        throw not_json{"recursive table detected", {}};
    if (nesting_.size() >= max_depth)
      throw not_json{"tables are nested too deeply", {}};
    luaL_checkstack(lua_, 4, "too many nested tables");
    nesting_.push_back(self);
    auto size = static_cast<lua_Integer>(lua_rawlen(lua_, index));
    auto out = size > 0 || is_array(index) ? encode_array(index, size)
                                           : encode_object(index);
    nesting_.pop_back();
    return out;
  }

  bool is_array(int index) {
    if (!lua_getmetatable(lua_, index))
      return false;
    lua_getfield(lua_, LUA_REGISTRYINDEX, array_mark);
    bool same = lua_rawequal(lua_, -1, -2) != 0;
    lua_pop(lua_, 2);
    return same;
  }

  json encode_array(int index, lua_Integer size) {
    auto out = json::array();
    for (lua_Integer i = 1; i <= size; ++i) {
      lua_rawgeti(lua_, index, i);
      out.push_back(encode_field([i] { return fmt::format("[{}]", i); }));
      lua_pop(lua_, 1);
    }
    return out;
  }

  json encode_object(int index) {
    auto out = json::object();
    for (auto key : sorted_keys(index)) {
      lua_pushlstring(lua_, key.data(), key.size());
      encode_string(-1);
      lua_rawget(lua_, index);
      auto value = encode_field([key] { return fmt::format(".{}", key); });
      out.emplace(std::string{key}, std::move(value));
      lua_pop(lua_, 1);
    }
    return out;
  }

  /// The keys of an object, which keeps their texts. In order, so that of many
  /// faults every run reports the same.
  std::vector<std::string_view> sorted_keys(int index) {
    std::vector<std::string_view> keys;
    auto other = LUA_TNONE;
    lua_pushnil(lua_);
    while (lua_next(lua_, index) != 0) {
      lua_pop(lua_, 1);
      spend(member_bytes);
      if (auto type = lua_type(lua_, -1); type != LUA_TSTRING) {
        other = other == LUA_TNONE ? type : std::min(other, type);
        continue;
      }
      std::size_t size = 0;
      auto* text = lua_tolstring(lua_, -1, &size);
      keys.emplace_back(text, size);
    }
    if (other != LUA_TNONE)
      throw not_json{fmt::format("object keys must be strings, not {}s",
                                 lua_typename(lua_, other)),
                     {}};
    std::sort(keys.begin(), keys.end());
    return keys;
  }

  /// Encodes the value on top of the stack, a part of the one around it.
  /// @param step names the part.
  template <class F>
  json encode_field(F step) {
    try {
      return encode(-1);
    } catch (not_json& fault) {
      fault.path.insert(0, step());
      throw;
    }
  }

  lua_State* lua_;
  non_finite policy_;
  std::uint64_t max_bytes_;
  std::uint64_t bytes_ = 0;
  std::vector<const void*> nesting_;
};

// -- to Lua -------------------------------------------------------------------

void push_nested(lua_State* lua, const json& value, int depth) {
  if (depth > max_depth)
    luaL_error(lua, "JSON is nested too deeply");
  luaL_checkstack(lua, 4, "too many nested tables");
  switch (value.type()) {
    case json::value_t::null:
      lua_pushlightuserdata(lua, nullptr);
      break;
    case json::value_t::boolean:
      lua_pushboolean(lua, value.get<bool>());
      break;
    case json::value_t::number_integer:
      lua_pushinteger(lua, value.get<lua_Integer>());
      break;
    case json::value_t::number_unsigned:
      if (value.get<std::uint64_t>() <= static_cast<std::uint64_t>(INT64_MAX))
        lua_pushinteger(lua, value.get<lua_Integer>());
      else
        lua_pushnumber(lua, value.get<double>());
      break;
    case json::value_t::number_float:
      lua_pushnumber(lua, value.get<double>());
      break;
    case json::value_t::string: {
      auto& text = value.get_ref<const std::string&>();
      lua_pushlstring(lua, text.data(), text.size());
      break;
    }
    case json::value_t::array: {
      lua_createtable(lua, static_cast<int>(value.size()), 0);
      lua_Integer i = 0;
      for (auto& item : value) {
        push_nested(lua, item, depth + 1);
        lua_rawseti(lua, -2, ++i);
      }
      luaL_setmetatable(lua, array_mark);
      break;
    }
    default:
      lua_createtable(lua, 0, static_cast<int>(value.size()));
      for (auto& [key, item] : value.items()) {
        lua_pushlstring(lua, key.data(), key.size());
        push_nested(lua, item, depth + 1);
        lua_rawset(lua, -3);
      }
  }
}

/// Is told what stands in a text, and builds it on the stack. The tables that
/// are open stand on top of each other, those that are objects with a key.
class builder {
public:
  explicit builder(lua_State* lua) : lua_(lua) {
    // nop
  }

  bool null() {
    begin();
    lua_pushlightuserdata(lua_, nullptr);
    return end();
  }

  bool boolean(bool x) {
    begin();
    lua_pushboolean(lua_, x);
    return end();
  }

  bool number_integer(json::number_integer_t x) {
    begin();
    lua_pushinteger(lua_, x);
    return end();
  }

  bool number_unsigned(json::number_unsigned_t x) {
    begin();
    if (x <= static_cast<std::uint64_t>(INT64_MAX))
      lua_pushinteger(lua_, static_cast<lua_Integer>(x));
    else
      lua_pushnumber(lua_, static_cast<lua_Number>(x));
    return end();
  }

  bool number_float(json::number_float_t x, const std::string&) {
    begin();
    lua_pushnumber(lua_, x);
    return end();
  }

  bool string(std::string& x) {
    begin();
    lua_pushlstring(lua_, x.data(), x.size());
    return end();
  }

  bool binary(json::binary_t&) {
    return false;
  }

  bool start_object(std::size_t) {
    return open(in_object);
  }

  bool key(std::string& x) {
    lua_pushlstring(lua_, x.data(), x.size());
    return true;
  }

  bool end_object() {
    open_.pop_back();
    return end();
  }

  bool start_array(std::size_t) {
    return open(0);
  }

  bool end_array() {
    open_.pop_back();
    luaL_setmetatable(lua_, array_mark);
    return end();
  }

  bool parse_error(std::size_t, const std::string&, const json::exception& e) {
    return luaL_error(lua_, "%s", e.what()) != 0;
  }

private:
  static constexpr lua_Integer in_object = -1;

  void begin() {
    if (open_.size() > max_depth)
      luaL_error(lua_, "JSON is nested too deeply");
    luaL_checkstack(lua_, 4, "too many nested tables");
  }

  bool open(lua_Integer items) {
    begin();
    lua_newtable(lua_);
    open_.push_back(items);
    return true;
  }

  /// Puts the value on top of the stack where it belongs.
  bool end() {
    if (open_.empty())
      return true;
    if (open_.back() == in_object)
      lua_rawset(lua_, -3);
    else
      lua_rawseti(lua_, -2, ++open_.back());
    return true;
  }

  lua_State* lua_;

  /// For each open table its items so far, if it is an array.
  std::vector<lua_Integer> open_;
};

/// The number under which the object at `index` is shown.
lua_Integer serial_of(lua_State* lua, int index) {
  index = lua_absindex(lua, index);
  lua_getfield(lua, LUA_REGISTRYINDEX, serials);
  lua_pushvalue(lua, index);
  lua_rawget(lua, -2);
  if (auto known = lua_tointeger(lua, -1); known != 0) {
    lua_pop(lua, 2);
    return known;
  }
  lua_pop(lua, 1);
  // The counter stands in the table itself: an integer is no object.
  lua_rawgeti(lua, -1, 0);
  auto serial = lua_tointeger(lua, -1) + 1;
  lua_pop(lua, 1);
  lua_pushinteger(lua, serial);
  lua_rawseti(lua, -2, 0);
  lua_pushvalue(lua, index);
  lua_pushinteger(lua, serial);
  lua_rawset(lua, -3);
  lua_pop(lua, 1);
  return serial;
}

/// The name that a metatable gives to its objects, if any.
std::string type_name(lua_State* lua, int index) {
  auto kind = luaL_getmetafield(lua, index, "__name");
  std::string name
    = kind == LUA_TSTRING ? lua_tostring(lua, -1) : luaL_typename(lua, index);
  if (kind != LUA_TNIL)
    lua_pop(lua, 1);
  return name;
}

} // namespace

json to_json(lua_State* lua, int index, non_finite policy) {
  auto& m = machine::of(lua);
  auto limit = m.settings().max_memory_bytes;
  auto top = lua_gettop(lua);
  std::string message;
  encoder out{lua, policy, m.is_live() ? limit : UINT64_MAX};
  try {
    auto value = out.encode(index);
    m.charge(out.bytes() / 8);
    return value;
  } catch (const too_large&) {
    m.break_limit(lua, fmt::format("strategy.max-memory: a value takes more "
                                   "than {} bytes as JSON",
                                   limit));
  } catch (const not_json& fault) {
    message = fault.path.empty()
                ? fault.reason
                : fmt::format("{} at ${}", fault.reason, fault.path);
  }
  lua_settop(lua, top);
  lua_pushlstring(lua, message.data(), message.size());
  lua_error(lua);
  return {};
}

void push_json(lua_State* lua, const json& value) {
  push_nested(lua, value, 0);
}

void push_json_text(lua_State* lua, std::string_view text) {
  builder out{lua};
  json::sax_parse(text, &out);
}

void open_values(lua_State* lua) {
  luaL_newmetatable(lua, array_mark);
  lua_pushnil(lua);
  lua_setfield(lua, -2, "__name");
  lua_pushboolean(lua, 0);
  lua_setfield(lua, -2, "__metatable");
  lua_pop(lua, 1);
  // Weak keys: showing an object must not keep it alive. What is collected can
  // never be shown again, so the collector's timing cannot be seen.
  lua_newtable(lua);
  lua_createtable(lua, 0, 1);
  lua_pushliteral(lua, "k");
  lua_setfield(lua, -2, "__mode");
  lua_setmetatable(lua, -2);
  lua_setfield(lua, LUA_REGISTRYINDEX, serials);
}

std::string_view push_text(lua_State* lua, int index) {
  index = lua_absindex(lua, index);
  auto has_text = luaL_getmetafield(lua, index, "__tostring") != LUA_TNIL;
  if (has_text) {
    lua_pushvalue(lua, index);
    lua_call(lua, 1, 1);
    if (!lua_isstring(lua, -1))
      luaL_error(lua, "'__tostring' must return a string");
  } else {
    switch (lua_type(lua, index)) {
      case LUA_TNIL:
      case LUA_TBOOLEAN:
      case LUA_TNUMBER:
      case LUA_TSTRING:
        luaL_tolstring(lua, index, nullptr);
        break;
      case LUA_TLIGHTUSERDATA:
        lua_pushliteral(lua, "null");
        break;
      default: {
        auto text
          = fmt::format("{}: {}", type_name(lua, index), serial_of(lua, index));
        lua_pushlstring(lua, text.data(), text.size());
      }
    }
  }
  std::size_t size = 0;
  auto* text = lua_tolstring(lua, -1, &size);
  return {text, size};
}

std::string_view check_text(lua_State* lua, int argument) {
  std::size_t size = 0;
  auto* text = luaL_checklstring(lua, argument, &size);
  return {text, size};
}

std::string_view check_utf8(lua_State* lua, int argument, const char* what) {
  auto text = check_text(lua, argument);
  if (!is_utf8(text))
    luaL_error(lua, "%s is not valid UTF-8", what);
  return text;
}

void trim_newlines(std::string& line) {
  while (line.ends_with('\n') || line.ends_with('\r'))
    line.pop_back();
}

std::string repaired_utf8(std::string_view text) {
  if (is_utf8(text))
    return std::string{text};
  // The library's own writer knows how to replace; the quotes are cut off by
  // reading the result back.
  return json::parse(json(std::string{text})
                       .dump(-1, ' ', false, json::error_handler_t::replace))
    .get<std::string>();
}

} // namespace muster::lua
