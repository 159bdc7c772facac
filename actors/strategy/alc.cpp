// SPDX-License-Identifier: Apache-2.0

#include "actors/strategy/alc.hpp"

#include "actors/strategy/library.hpp"
#include "actors/strategy/machine.hpp"
#include "actors/strategy/values.hpp"

#include "messages/tokens.hpp"

#include <fmt/format.h>

#include <string>

namespace muster::lua {

namespace {

// -- queries ------------------------------------------------------------------

/// Reads the options of a query. What has a wrong type counts as absent, and
/// what is not known is left alone: scripts pass on what other hosts know.
void read_options(lua_State* lua, int index, query& q) {
  if (lua_isnoneornil(lua, index))
    return;
  luaL_checktype(lua, index, LUA_TTABLE);
  if (lua_getfield(lua, index, "system") == LUA_TSTRING)
    q.system = std::string{check_utf8(lua, -1, "the system text of a query")};
  lua_getfield(lua, index, "max_tokens");
  int is_whole = 0;
  auto tokens = lua_tointegerx(lua, -1, &is_whole);
  if (is_whole != 0 && tokens > 0 && tokens <= UINT32_MAX)
    q.max_tokens = static_cast<std::uint32_t>(tokens);
  lua_getfield(lua, index, "grounded");
  q.grounded = lua_toboolean(lua, -1) != 0;
  lua_getfield(lua, index, "underspecified");
  q.underspecified = lua_toboolean(lua, -1) != 0;
  lua_pop(lua, 4);
}

void check_size(lua_State* lua, const query& q) {
  auto& m = machine::of(lua);
  auto size = q.prompt.size() + (q.system ? q.system->size() : 0);
  if (m.is_live() && size > m.settings().max_prompt_bytes)
    m.break_limit(lua, fmt::format("strategy.max-prompt: a prompt has {} "
                                   "bytes, more than {}",
                                   size, m.settings().max_prompt_bytes));
}

/// Milliseconds since the session began, if any limit depends on them.
std::uint64_t elapsed_ms(lua_State* lua) {
  auto& m = machine::of(lua);
  if (!m.context().spending.needs_clock())
    return 0;
  return static_cast<std::uint64_t>(read_clock(lua, "elapsed"));
}

/// Raises an error if the budget is used up. Scripts know it by its beginning.
void check_budget(lua_State* lua) {
  auto& spending = machine::of(lua).context().spending;
  if (auto reason = spending.exceeded(elapsed_ms(lua))) {
    lua_pushlstring(lua, reason->data(), reason->size());
    lua_error(lua);
  }
}

int give_response(lua_State* lua, int, lua_KContext) {
  auto& response = machine::of(lua).answers().at(0).response;
  lua_pushlstring(lua, response.data(), response.size());
  return 1;
}

/// alc.llm(prompt, opts?) -> string
int llm(lua_State* lua) {
  machine::of(lua).check_suspendable(lua, "alc.llm");
  query q;
  q.prompt = check_utf8(lua, 1, "the prompt of a query");
  read_options(lua, 2, q);
  check_size(lua, q);
  check_budget(lua);
  machine_asks wish;
  wish.queries.push_back(std::move(q));
  return machine::of(lua).suspend(lua, std::move(wish),
                                  guarded_next<give_response>);
}

int give_responses(lua_State* lua, int, lua_KContext) {
  auto& answers = machine::of(lua).answers();
  lua_createtable(lua, static_cast<int>(answers.size()), 0);
  lua_Integer i = 0;
  for (auto& a : answers) {
    lua_pushlstring(lua, a.response.data(), a.response.size());
    lua_rawseti(lua, -2, ++i);
  }
  return 1;
}

/// alc.llm_batch(items) -> string[]
int llm_batch(lua_State* lua) {
  auto& m = machine::of(lua);
  m.check_suspendable(lua, "alc.llm_batch");
  luaL_checktype(lua, 1, LUA_TTABLE);
  auto count = luaL_len(lua, 1);
  if (count == 0)
    return luaL_error(lua, "alc.llm_batch: empty items array");
  if (m.is_live()
      && static_cast<lua_Unsigned>(count) > m.settings().max_queries)
    m.break_limit(lua, fmt::format("strategy.max-queries: a pause asks {} "
                                   "queries, more than {}",
                                   count, m.settings().max_queries));
  machine_asks wish;
  std::uint64_t bytes = 0;
  for (lua_Integer i = 1; i <= count; ++i) {
    if (lua_geti(lua, 1, i) != LUA_TTABLE)
      return luaL_error(lua, "alc.llm_batch: item %I is not a table", i);
    query q;
    lua_getfield(lua, -1, "prompt");
    if (lua_isstring(lua, -1) == 0)
      return luaL_error(lua, "alc.llm_batch: item %I has no prompt", i);
    q.prompt = check_utf8(lua, lua_gettop(lua), "the prompt of a query");
    lua_pop(lua, 1);
    read_options(lua, lua_gettop(lua), q);
    check_size(lua, q);
    // One text may stand in all of them.
    bytes += q.prompt.size() + (q.system ? q.system->size() : 0);
    if (m.is_live() && bytes > m.settings().max_memory_bytes)
      m.break_limit(lua, fmt::format("strategy.max-memory: the queries of a "
                                     "pause take more than {} bytes",
                                     m.settings().max_memory_bytes));
    wish.queries.push_back(std::move(q));
    lua_pop(lua, 1);
  }
  check_budget(lua);
  return m.suspend(lua, std::move(wish), guarded_next<give_responses>);
}

// -- JSON ---------------------------------------------------------------------

/// alc.json_encode(value) -> string
int json_encode(lua_State* lua) {
  luaL_checkany(lua, 1);
  auto text = to_json(lua, 1).dump();
  lua_pushlstring(lua, text.data(), text.size());
  return 1;
}

/// alc.json_decode(text) -> value; a bare `null` is nil.
int json_decode(lua_State* lua) {
  auto text = check_text(lua, 1);
  machine::of(lua).charge(text.size());
  if (auto checked = check_json(text, "the text"); !checked)
    return luaL_error(lua, "alc.json_decode: %s",
                      checked.error().message.c_str());
  push_json_text(lua, text);
  if (lua_islightuserdata(lua, -1))
    lua_pushnil(lua);
  return 1;
}

// -- log, progress, time ------------------------------------------------------

/// alc.log(level, message)
int log(lua_State* lua) {
  auto level = check_text(lua, 1);
  auto message = check_text(lua, 2);
  machine::of(lua).port().log(level, "alc.log", message);
  return 0;
}

/// alc.progress(step, total, message?)
int progress(lua_State* lua) {
  auto step = luaL_checkinteger(lua, 1);
  auto total = luaL_checkinteger(lua, 2);
  luaL_argcheck(lua, step >= 0, 1, "must not be negative");
  luaL_argcheck(lua, total >= 0, 2, "must not be negative");
  json shown{{"step", step}, {"total", total}, {"message", nullptr}};
  auto& m = machine::of(lua);
  if (!lua_isnoneornil(lua, 3))
    shown["message"]
      = repaired_utf8(check_utf8(lua, 3, "the message of a progress")
                        .substr(0, m.settings().max_log_line_bytes));
  m.context().progress = shown.dump();
  return 0;
}

/// alc.time() -> seconds since the epoch
int time(lua_State* lua) {
  lua_pushnumber(lua,
                 static_cast<lua_Number>(read_clock(lua, "wall")) / 1000.0);
  return 1;
}

/// alc.budget_remaining() -> table, or nil if there is no budget
int budget_remaining(lua_State* lua) {
  auto& spending = machine::of(lua).context().spending;
  if (spending.limited())
    push_json(lua, spending.remaining(elapsed_ms(lua)));
  else
    lua_pushnil(lua);
  return 1;
}

// -- alc.stats ----------------------------------------------------------------

/// alc.stats.record(key, value)
int stats_record(lua_State* lua) {
  std::string key{check_utf8(lua, 1, "the key of a statistic")};
  luaL_checkany(lua, 2);
  auto& m = machine::of(lua);
  auto& context = m.context();
  auto bytes_of
    = [&](const json& value) { return key.size() + value.dump().size(); };
  auto value = to_json(lua, 2);
  if (auto i = context.stats.find(key); i != context.stats.end())
    context.stats_bytes -= bytes_of(*i);
  context.stats_bytes += bytes_of(value);
  context.stats[key] = std::move(value);
  if (m.is_live() && context.stats_bytes > m.settings().max_stats_bytes)
    m.break_limit(lua, fmt::format("strategy.max-stats: the statistics take "
                                   "more than {} bytes",
                                   m.settings().max_stats_bytes));
  return 0;
}

/// alc.stats.get(key) -> value, or nil
int stats_get(lua_State* lua) {
  std::string key{check_text(lua, 1)};
  auto& stats = machine::of(lua).context().stats;
  if (auto i = stats.find(key); i != stats.end())
    push_json(lua, *i);
  else
    lua_pushnil(lua);
  return 1;
}

/// alc.stats.llm_calls() -> how many queries were asked
int stats_llm_calls(lua_State* lua) {
  lua_pushinteger(
    lua, static_cast<lua_Integer>(machine::of(lua).context().spending.calls()));
  return 1;
}

// -- what is written in Lua ---------------------------------------------------

int give_all(lua_State* lua, int, lua_KContext) {
  return lua_gettop(lua);
}

/// Loads the function behind this one when it is called first: all of them
/// together would be a large part of a small machine.
/// Upvalues: the name of its text, the function once it is loaded.
int call_loaded(lua_State* lua) {
  if (lua_isnil(lua, lua_upvalueindex(2))) {
    std::string name = lua_tostring(lua, lua_upvalueindex(1));
    auto text = machine::of(lua).port().builtin(name);
    auto chunk = "@" + name;
    if (luaL_loadbufferx(lua, text.data(), text.size(), chunk.c_str(), "t")
        != LUA_OK)
      return lua_error(lua);
    lua_call(lua, 0, 1);
    lua_replace(lua, lua_upvalueindex(2));
  }
  lua_pushvalue(lua, lua_upvalueindex(2));
  lua_insert(lua, 1);
  lua_callk(lua, lua_gettop(lua) - 1, LUA_MULTRET, 0, give_all);
  return lua_gettop(lua);
}

} // namespace

std::int64_t read_clock(lua_State* lua, std::string_view which) {
  auto& m = machine::of(lua);
  if (auto time = m.port().read_clock(which))
    return *time;
  m.break_limit(lua, fmt::format("strategy.max-effects: the script asked the "
                                 "host more than {} times since its last "
                                 "pause",
                                 m.settings().max_effects));
}

void set_lazy(lua_State* lua, const char* name, const char* source) {
  lua_pushstring(lua, source);
  lua_pushnil(lua);
  lua_pushcclosure(lua, guarded<call_loaded>, 2);
  lua_setfield(lua, -2, name);
}

void open_alc(lua_State* lua) {
  lua_newtable(lua);
  set_functions(lua, {{"llm", guarded<llm>},
                      {"llm_batch", guarded<llm_batch>},
                      {"json_encode", guarded<json_encode>},
                      {"json_decode", guarded<json_decode>},
                      {"log", guarded<log>},
                      {"progress", guarded<progress>},
                      {"time", guarded<time>},
                      {"budget_remaining", guarded<budget_remaining>}});
  set_lazy(lua, "parallel", "alc/parallel.lua");
  set_lazy(lua, "parse_score", "alc/parse_score.lua");
  set_lazy(lua, "specify", "alc/specify.lua");
  set_lazy(lua, "ground", "alc/ground.lua");
  set_lazy(lua, "budget_check", "alc/budget_check.lua");
  lua_createtable(lua, 0, 3);
  set_functions(lua, {{"record", guarded<stats_record>},
                      {"get", guarded<stats_get>},
                      {"llm_calls", guarded<stats_llm_calls>}});
  lua_setfield(lua, -2, "stats");
  push_state_library(lua);
  lua_setfield(lua, -2, "state");
  lua_setglobal(lua, "alc");
}

} // namespace muster::lua
