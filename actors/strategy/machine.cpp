// SPDX-License-Identifier: Apache-2.0

#include "actors/strategy/machine.hpp"

#include "actors/strategy/library.hpp"
#include "actors/strategy/values.hpp"

#include <fmt/format.h>

#include <cstdlib>
#include <new>
#include <stdexcept>

namespace muster {

namespace {

/// How often a coroutine reports its instructions. The interpreter counts for
/// each coroutine apart and does not say how far it came, so this is also how
/// much a short coroutine may do unseen.
constexpr int count_every = 1'000;

/// Blocks of memory from this size on count as work for what is written to
/// them, so many bytes for one instruction.
constexpr std::size_t large_block = 16 << 10;
constexpr std::size_t bytes_per_step = 32;

/// What code of the script sees of a broken limit, if it sees anything.
constexpr const char* broken_limit_error = "the session broke a limit";

constexpr const char* call_package = R"lua(
local name = ...
local package = require(name)
if type(package) ~= "table" or type(package.run) ~= "function" then
  error("package '" .. name .. "' has no function run(ctx)", 0)
end
return package.run(ctx)
)lua";

int no_protection(lua_State*) {
  // Out of memory outside of any protected call: nothing to return to.
  throw std::bad_alloc{};
}

machine*& slot_of(lua_State* lua) {
  return *static_cast<machine**>(lua_getextraspace(lua));
}

int open_everything(lua_State* lua) {
  lua::open_values(lua);
  lua::open_base(lua);
  lua::open_coroutine(lua);
  lua::open_table(lua);
  lua::open_string(lua);
  lua::open_math(lua);
  lua::open_system(lua);
  lua::open_package(lua);
  lua::open_alc(lua);
  auto& more = *static_cast<machine_extension*>(lua_touserdata(lua, 1));
  if (more)
    more(lua);
  // Names in error texts come from this table, in an order that differs from
  // run to run. Without it they come from the place of the call.
  lua_newtable(lua);
  lua_setfield(lua, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  return 0;
}

/// Lets the random numbers begin at the session's seed instead of at a clock.
void seed_random(lua_State* lua, const random_bits& seed) {
  lua_getglobal(lua, "math");
  lua_getfield(lua, -1, "randomseed");
  lua_pushinteger(lua, static_cast<lua_Integer>(seed[0]));
  lua_pushinteger(lua, static_cast<lua_Integer>(seed[1]));
  lua_call(lua, 2, 0);
  lua_pop(lua, 1);
}

/// What `load_script` is given.
struct script_source {
  const spawned_event& spawned;
  lua_State* thread = nullptr;
};

int load_script(lua_State* lua) {
  auto& source = *static_cast<script_source*>(lua_touserdata(lua, 1));
  auto& spec = source.spawned.spec;
  auto& context = machine::of(lua).context();
  auto ctx = json::parse(spec.ctx);
  if (spec.task)
    ctx["task"] = *spec.task;
  if (auto space = ctx.find("_ns"); space != ctx.end() && space->is_string())
    context.space = space->get<std::string>();
  if (auto limits = ctx.find("budget"); limits != ctx.end())
    context.spending = budget{*limits};
  seed_random(lua, context.seed);
  lua::push_json(lua, ctx);
  lua_setglobal(lua, "ctx");
  source.thread = lua_newthread(lua);
  lua_setfield(lua, LUA_REGISTRYINDEX, "muster.script");
  bool is_package = spec.kind == session_kind::advice;
  auto text
    = is_package ? std::string_view{call_package} : std::string_view{spec.code};
  auto name = is_package          ? std::string{"=advice"}
              : spec.name.empty() ? std::string{"=script"}
                                  : "@" + spec.name;
  if (luaL_loadbufferx(lua, text.data(), text.size(), name.c_str(), "t")
      != LUA_OK)
    return lua_error(lua);
  lua_xmove(lua, source.thread, 1);
  if (is_package)
    lua_pushlstring(source.thread, spec.strategy.data(), spec.strategy.size());
  return 0;
}

int encode_result(lua_State* lua) {
  auto& out = *static_cast<std::string*>(lua_touserdata(lua, 1));
  out = lua::to_json(lua, 2, lua::non_finite::refuse).dump();
  return 0;
}

/// Renders the error on top of the stack, where the script cannot disturb.
int render_error(lua_State* lua) {
  auto& out = *static_cast<std::string*>(lua_touserdata(lua, 1));
  if (lua_isstring(lua, 2) != 0
      || luaL_getmetafield(lua, 2, "__tostring") != LUA_TNIL)
    out = lua::push_text(lua, 2);
  else
    out = fmt::format("(error object is a {} value)", luaL_typename(lua, 2));
  return 0;
}

int render_trace(lua_State* lua) {
  auto& out = *static_cast<std::string*>(lua_touserdata(lua, 1));
  luaL_traceback(lua, lua_tothread(lua, 2), nullptr, 0);
  out = lua_tostring(lua, -1);
  return 0;
}

} // namespace

// -- constructors and destructors ---------------------------------------------

machine::machine(const strategy_settings& settings, machine_port& port,
                 const machine_extension& more)
  : settings_(settings), port_(port) {
  main_ = lua_newstate(&machine::allocate, this);
  if (main_ == nullptr)
    throw std::bad_alloc{};
  slot_of(main_) = this;
  lua_atpanic(main_, no_protection);
  // What is built here stays; to look through it again and again while it grows
  // takes as long as to build it.
  lua_gc(main_, LUA_GCSTOP);
  auto extension = more;
  if (protect(open_everything, &extension, 0) != LUA_OK) {
    std::string message = lua_tostring(main_, -1);
    lua_close(main_);
    throw std::runtime_error{"the sandbox could not be built: " + message};
  }
  lua_gc(main_, LUA_GCRESTART);
  // What runs here are methods of the script's values, while it is shown.
  lua_sethook(main_, &machine::on_count, LUA_MASKCOUNT, count_every);
}

machine::~machine() {
  // Closing frees memory only: no script can register a finaliser.
  lua_close(main_);
}

// -- driving ------------------------------------------------------------------

void machine::start(const spawned_event& what) {
  auto half = what.seed.size() / 2;
  context_.seed
    = {std::strtoull(what.seed.substr(0, half).c_str(), nullptr, 16),
       std::strtoull(what.seed.substr(half).c_str(), nullptr, 16)};
  script_source source{what};
  if (protect(lua::guarded<load_script>, &source, 0) != LUA_OK) {
    load_error_ = lua::repaired_utf8(lua_tostring(main_, -1));
    lua_pop(main_, 1);
    return;
  }
  script_ = source.thread;
  arguments_ = lua_gettop(script_) - 1;
  lua_sethook(script_, &machine::on_count, LUA_MASKCOUNT, count_every);
}

machine_report machine::advance() {
  if (!load_error_.empty())
    return machine_raised{load_error_};
  wish_ = machine_sliced{};
  passing_out_ = false;
  int results = 0;
  running now{*this, script_};
  auto status
    = lua_resume(script_, nullptr, std::exchange(arguments_, 0), &results);
  if (status == LUA_YIELD) {
    lua_pop(script_, results);
    return std::visit([](auto& x) -> machine_report { return std::move(x); },
                      wish_);
  }
  return status == LUA_OK ? returned(results) : raised(status);
}

void machine::answer(std::vector<answered_event> answers) {
  answers_ = std::move(answers);
  instructions_ = 0;
}

void machine::resolve(host_result result) {
  result_ = std::move(result);
}

void machine::provide(module_text module) {
  module_ = std::move(module);
}

void machine::go_live() {
  live_ = true;
  instructions_ = 0;
  // A replay may have collected less garbage than the first run did.
  if (memory_ > settings_.max_memory_bytes)
    lua_gc(main_, LUA_GCCOLLECT);
}

// -- for the functions of the library -----------------------------------------

machine& machine::of(lua_State* lua) {
  return *slot_of(lua);
}

void machine::check_suspendable(lua_State* lua, const char* who) const {
  if (!can_suspend(lua))
    luaL_error(lua,
               "%s cannot be called here: the call has to wait, and a C "
               "function in between cannot",
               who);
}

int machine::suspend(lua_State* lua, machine_wish wish, lua_KFunction next,
                     lua_KContext context) {
  wish_ = std::move(wish);
  passing_out_ = true;
  return lua_yieldk(lua, 0, context, next);
}

bool machine::count_work(lua_State* lua, std::uint64_t steps) {
  count(lua, steps);
  return slice_is_over() && can_suspend(lua);
}

void machine::charge(std::uint64_t steps) {
  slice_ += steps;
  instructions_ += steps;
  if (current_ == nullptr)
    return;
  if (!can_suspend(current_))
    unyielding_ += steps;
  if (slice_is_over())
    lua_sethook(current_, &machine::on_count, LUA_MASKCOUNT, 1);
}

int machine::end_turn(lua_State* lua, lua_KFunction next,
                      lua_KContext context) {
  return suspend(lua, machine_sliced{}, next, context);
}

void machine::break_limit(lua_State* lua, std::string message) {
  if (broken_.empty())
    broken_ = std::move(message);
  // Whatever the script still runs, such as the handlers of variables that are
  // to be closed, is stopped at its next instruction.
  lua_sethook(lua, &machine::on_count, LUA_MASKCOUNT, 1);
  lua_pushstring(lua, broken_limit_error);
  lua_error(lua);
  std::abort(); // not reached: the line above throws
}

void machine::check_caught(lua_State* lua, int status) {
  if (status == LUA_ERRMEM && broken_.empty())
    broken_ = out_of_memory();
  if (!broken_.empty())
    break_limit(lua, broken_);
}

// -- callbacks of the virtual machine -----------------------------------------

void* machine::allocate(void* self, void* block, std::size_t old_size,
                        std::size_t new_size) {
  auto& m = *static_cast<machine*>(self);
  // For a new block the old size is a type tag.
  if (block == nullptr)
    old_size = 0;
  if (new_size == 0) {
    m.memory_ -= old_size;
    std::free(block);
    return nullptr;
  }
  if (new_size > old_size && m.live_
      && m.memory_ + (new_size - old_size) > m.settings_.max_memory_bytes)
    return nullptr;
  auto* result = std::realloc(block, new_size);
  if (result == nullptr)
    return nullptr;
  m.memory_ += new_size - old_size;
  if (new_size > old_size && new_size >= large_block)
    m.charge(new_size / bytes_per_step);
  return result;
}

void machine::on_count(lua_State* lua, lua_Debug*) {
  auto& m = of(lua);
  auto since_last = lua_gethookcount(lua);
  m.count(lua, static_cast<std::uint64_t>(since_last));
  if (since_last != count_every)
    lua_sethook(lua, &machine::on_count, LUA_MASKCOUNT, count_every);
  if (m.slice_is_over() && m.can_suspend(lua)) {
    m.wish_ = machine_sliced{};
    m.passing_out_ = true;
    lua_yield(lua, 0);
  }
}

// -- implementation details ---------------------------------------------------

int machine::protect(lua_CFunction f, void* argument, int results) {
  auto arguments = lua_gettop(main_);
  lua_pushcfunction(main_, f);
  lua_insert(main_, 1);
  lua_pushlightuserdata(main_, argument);
  lua_insert(main_, 2);
  return lua_pcall(main_, arguments + 1, results, 0);
}

void machine::count(lua_State* lua, std::uint64_t instructions) {
  slice_ += instructions;
  instructions_ += instructions;
  if (!broken_.empty())
    break_limit(lua, broken_);
  unyielding_ = can_suspend(lua) ? 0 : unyielding_ + instructions;
  if (!live_)
    return;
  if (unyielding_ > settings_.max_unyielding)
    break_limit(lua, fmt::format("strategy.max-unyielding: more than {} "
                                 "instructions in a callback that cannot be "
                                 "interrupted",
                                 settings_.max_unyielding));
  if (instructions_ > settings_.max_instructions)
    break_limit(lua, fmt::format("strategy.max-instructions: more than {} "
                                 "instructions since the last pause",
                                 settings_.max_instructions));
}

machine_report machine::returned(int results) {
  if (results == 0)
    return machine_returned{"null"};
  if (lua_checkstack(main_, 4) == 0)
    return machine_raised{out_of_memory(), failure_kind::limit_exceeded};
  lua_settop(script_, lua_gettop(script_) - results + 1);
  lua_xmove(script_, main_, 1);
  std::string result;
  auto status = protect(lua::guarded<encode_result>, &result, 0);
  if (is_broken())
    return machine_raised{broken_, failure_kind::limit_exceeded};
  if (status == LUA_ERRMEM)
    return machine_raised{out_of_memory(), failure_kind::limit_exceeded};
  if (status != LUA_OK) {
    auto reason = lua::repaired_utf8(lua_tostring(main_, -1));
    lua_pop(main_, 1);
    return machine_raised{"the result is not JSON: " + reason};
  }
  if (result.size() > settings_.max_result_bytes)
    return machine_raised{
      fmt::format("strategy.max-result: the result has {} bytes, more than {}",
                  result.size(), settings_.max_result_bytes),
      failure_kind::limit_exceeded};
  return machine_returned{std::move(result)};
}

machine_report machine::raised(int status) {
  if (status == LUA_ERRMEM && broken_.empty())
    broken_ = out_of_memory();
  if (!broken_.empty())
    return machine_raised{broken_, failure_kind::limit_exceeded};
  if (status < 0)
    return machine_raised{"a foreign exception reached the interpreter",
                          failure_kind::engine_error};
  std::string trace;
  std::string message;
  if (lua_checkstack(main_, 4) != 0) {
    lua_getfield(main_, LUA_REGISTRYINDEX, "muster.script");
    if (protect(render_trace, &trace, 0) != LUA_OK)
      lua_pop(main_, 1);
    lua_xmove(script_, main_, 1);
    if (protect(render_error, &message, 0) != LUA_OK) {
      lua_pop(main_, 1);
      message = "(the error could not be shown)";
    }
  }
  message = lua::repaired_utf8(message);
  port_.log("error", "lua", message + "\n" + trace);
  return machine_raised{std::move(message)};
}

std::string machine::out_of_memory() const {
  return fmt::format("strategy.max-memory: the script needs more than {} bytes",
                     settings_.max_memory_bytes);
}

} // namespace muster
