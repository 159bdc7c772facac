// SPDX-License-Identifier: Apache-2.0

#include "tests/strategy/generated_run.hpp"

#include "tests/strategy/program_generator.hpp"
#include "tests/strategy/switches.hpp"
#include "tests/support/script_runner.hpp"

#include "messages/json.hpp"

#include <fmt/format.h>

#include <array>

namespace muster::test {

namespace {

/// An answer that only the query decides.
answered_event answer_of(const query& q) {
  std::uint32_t hash = 2'166'136'261;
  for (auto c : q.id + q.prompt)
    hash = (hash ^ static_cast<unsigned char>(c)) * 16'777'619;
  return {q.id, fmt::format("a{} of {}", hash % 97, hash % 11), std::nullopt};
}

/// Changes when memory is collected.
void collect_otherwise(lua_State* lua, std::uint64_t how) {
  switch (how % 4) {
    case 0:
      lua_gc(lua, LUA_GCSTOP);
      break;
    case 1:
      lua_gc(lua, LUA_GCGEN, 5, 50);
      break;
    case 2:
      lua_gc(lua, LUA_GCINC, 100, 400, 4);
      lua_gc(lua, LUA_GCCOLLECT);
      break;
    default:
      break;
  }
}

std::string shown(const history_event& event) {
  return comparable({event});
}

/// The first difference of two runs, if there is one.
std::optional<std::string> difference(const script_outcome& one,
                                      const script_outcome& other) {
  for (std::size_t i = 1; i < one.events.size(); ++i) {
    if (i == other.events.size())
      return fmt::format("event {} is missing: {}", i, shown(one.events[i]));
    if (shown(one.events[i]) != shown(other.events[i]))
      return fmt::format("event {} is {}\nand replayed {}", i,
                         shown(one.events[i]), shown(other.events[i]));
  }
  if (one.events.size() != other.events.size())
    return "there are more events";
  if (one.state != other.state)
    return "the shared state is another";
  if (one.logs.size() != other.logs.size())
    return "there are more or fewer lines in the log";
  for (std::size_t i = 0; i < one.logs.size(); ++i)
    if (one.logs[i].message != other.logs[i].message
        || one.logs[i].level != other.logs[i].level)
      return fmt::format("line {} of the log is '{}', and replayed '{}'", i,
                         one.logs[i].message, other.logs[i].message);
  return std::nullopt;
}

std::string stats_of(const history_event& end) {
  if (auto* done = std::get_if<done_event>(&end.body))
    return done->stats;
  auto* failed = std::get_if<failed_event>(&end.body);
  return failed != nullptr ? failed->stats : std::string{};
}

} // namespace

generated_run run_generated(std::uint64_t seed) {
  constexpr std::array<std::uint64_t, 4> slices{10'000, 1'000, 3'000, 5'000};
  generated_run out;
  out.seed = seed;
  bool nests = seed % 2 == 0;
  out.program = program_generator{seed, nests}.program();
  script_runner runner;
  runner.name = "generated.lua";
  runner.answer = answer_of;
  runner.max_slices = 5'000;
  runner.state = {{"text", "\"old\""}, {"a", "5"}};
  runner.seed = fmt::format("{:032x}", seed * 0x9e3779b97f4a7c15);
  runner.settings.packages = {MUSTER_TEST_DIR "/strategies/packages"};
  runner.settings.slice_instructions = slices[seed / 2 % 4];
  if (seed % 5 == 0)
    runner.ctx = R"({"budget":{"max_llm_calls":30,"max_elapsed_ms":900000}})";
  auto began = runner.wall_ms;
  auto straight = runner.run(out.program);
  out.events = comparable(straight.events);
  runner.wall_ms = began;
  runner.replays = true;
  runner.before_replay = [&] {
    ++out.replays;
    if (!nests)
      runner.settings.slice_instructions = slices[(seed / 8 + out.replays) % 4];
  };
  changed_machines otherwise{[&](lua_State* lua) {
    // The stacks of deep calls shrink when memory is collected, and to grow
    // again is work.
    if (!nests)
      collect_otherwise(lua, seed + out.replays);
  }};
  out.fault = difference(straight, runner.run(out.program));
  // Behind its last event, too.
  auto report = runner.replay(straight);
  auto* step = std::get_if<strategy_step>(&report);
  if (!out.fault && step == nullptr)
    out.fault = "the replay of all did not come to its end";
  if (!out.fault) {
    history_event end;
    std::visit([&](auto& x) { end.body = x; }, step->end);
    if (shown(end) != shown(straight.events.back()))
      out.fault = fmt::format("the end is {}\nand replayed {}",
                              shown(straight.events.back()), shown(end));
  }
  out.returned = straight.error().empty();
  if (!out.fault && !out.returned
      && straight.error_kind() != failure_kind::lua_error)
    out.fault = "it broke a limit: " + straight.error();
  for (auto& event : straight.events)
    out.pauses += std::holds_alternative<paused_event>(event.body) ? 1 : 0;
  if (auto stats = stats_of(straight.events.back()); !stats.empty())
    out.hits = json::parse(stats).at("hits").get<decltype(out.hits)>();
  return out;
}

} // namespace muster::test
