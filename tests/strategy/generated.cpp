// SPDX-License-Identifier: Apache-2.0

#define CAF_SUITE strategy.generated

#include "tests/strategy/generated_run.hpp"
#include "tests/strategy/switches.hpp"
#include "tests/support/suite.hpp"

#include <map>
#include <string>

using namespace muster::test;

namespace {

/// What the programs must have done, and how often at least. If little happens,
/// little is proven.
const std::map<std::string, std::uint64_t> wanted{
  {"JSON", 1'000},
  {"__add", 1'000},
  {"__call", 1'000},
  {"__eq", 1'000},
  {"__index", 1'000},
  {"__len", 1'000},
  {"__lt", 2'000},
  {"__newindex", 1'000},
  {"__pairs", 1'000},
  {"__tostring", 2'000},
  {"__unm", 1'000},
  {"a batch", 300},
  {"a call of a closure", 2'000},
  {"a call with a handler", 1'000},
  {"a caught error", 2'000},
  {"a change of a list", 1'000},
  {"a change of a map", 2'000},
  {"a clock", 1'000},
  {"a comparison", 60'000},
  {"a coroutine", 7'000},
  {"a coroutine that is closed", 900},
  {"a format", 1'000},
  {"handler", 700},
  {"a jump", 1'000},
  {"a loaded chunk", 500},
  {"a look at the depth", 300},
  {"a match", 4'000},
  {"a module", 1'000},
  {"a place that cannot wait", 1'000},
  {"a protected call", 1'000},
  {"a query in a bare coroutine", 300},
  {"a query in a chunk", 50},
  {"a query in a closing variable", 70},
  {"a query in a closure", 100},
  {"a query in a comparator", 40},
  {"a query in a coroutine", 200},
  {"a query in a function of alc.parallel", 80},
  {"a query in a method", 200},
  {"a query in a nested coroutine", 200},
  {"a query in a place that cannot wait", 200},
  {"a query in a protected call", 200},
  {"a query in a recursion", 70},
  {"a query in a replacement", 80},
  {"a query in a traversal", 100},
  {"a query in an update", 40},
  {"a query in the script", 500},
  {"a recursive call", 3'000},
  {"a replacement", 2'000},
  {"a resume", 10'000},
  {"a sort of a list", 1'000},
  {"a sort with a comparator", 1'000},
  {"a step of ipairs", 3'000},
  {"a step of next", 3'000},
  {"a step of pairs", 5'000},
  {"a turn of a loop", 9'000},
  {"a value from a coroutine", 3'000},
  {"a variable that is closed", 1'000},
  {"a yield", 800},
  {"an error at the end", 100},
  {"an update of shared state", 1'000},
  {"keys that have no order", 100},
  {"parallel queries", 300},
  {"random numbers", 1'000},
  {"shared state", 2'000},
  {"varargs", 2'000},
};

} // namespace

CAF_TEST(two thousand generated programs come out the same with a replay behind
           every event) {
  std::map<std::string, std::uint64_t> hits;
  std::uint64_t pauses = 0;
  std::uint64_t replays = 0;
  int returned = 0;
  for (std::uint64_t seed = 1; seed <= 2'000; ++seed) {
    auto run = run_generated(seed);
    if (run.fault)
      CAF_ERROR("seed " << seed << ": " << *run.fault
                        << "; for its text and events: replay --trace "
                        << seed);
    CAF_CHECK(run.events.size() > 0);
    for (auto& [what, count] : run.hits)
      hits[what] += count;
    pauses += run.pauses;
    replays += run.replays;
    returned += run.returned ? 1 : 0;
  }
  CAF_MESSAGE(pauses << " pauses, " << replays << " replays, " << returned
                     << " programs returned");
  CAF_CHECK(pauses > 2'000u * 3);
  CAF_CHECK(replays > 2'000u * 7);
  CAF_CHECK(returned > 1'200 && returned < 1'900);
  for (auto& [what, least] : wanted)
    if (hits[what] < least)
      CAF_ERROR("too few: " << what << ", only " << hits[what]);
}

CAF_TEST(a seed gives the same program and the same run every time) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    auto first = run_generated(seed);
    auto second = run_generated(seed);
    CAF_CHECK(first.program.size() > 1'000u);
    CAF_CHECK_EQUAL(first.program, second.program);
    CAF_CHECK_EQUAL(first.events, second.events);
  }
}

CAF_TEST(generated programs notice what is switched off) {
  for (auto* name : {"pairs", "tostring", "coroutine.wrap", "os.clock"}) {
    changed_machines stock{[=](lua_State* lua) { put_back(lua, {name}); }};
    int noticed = 0;
    for (std::uint64_t seed = 1; seed <= 60; ++seed)
      noticed += run_generated(seed).fault ? 1 : 0;
    CAF_MESSAGE("with stock " << name << ": noticed by " << noticed
                              << " of 60 programs");
    CAF_CHECK(noticed > 0);
  }
}
