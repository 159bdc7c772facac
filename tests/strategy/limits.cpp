// SPDX-License-Identifier: Apache-2.0

#define CAF_SUITE strategy.limits

#include "tests/support/script_runner.hpp"
#include "tests/support/suite.hpp"

#include <utility>

#include <sys/resource.h>

using namespace muster;
using namespace muster::test;

namespace {

/// The most memory that this process ever had.
std::uint64_t peak_bytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::uint64_t>(usage.ru_maxrss) * 1'024;
}

struct fixture : script_runner {
  fixture() {
    settings.max_instructions = 300'000;
    settings.max_unyielding = 100'000;
    settings.max_memory_bytes = 4 << 20;
  }

  /// Runs a script that must break the limit of that name, whatever it does to
  /// catch the error.
  void breaks(const std::string& limit, const std::string& code) {
    auto outcome = run(code);
    CAF_CHECK_EQUAL(outcome.result(), "");
    CAF_CHECK_EQUAL(outcome.error_kind(), failure_kind::limit_exceeded);
    if (outcome.error().compare(0, limit.size(), limit) != 0)
      CAF_FAIL("expected " << limit << ", got: " << outcome.error());
  }
};

} // namespace

CAF_TEST_FIXTURE_SCOPE(limit_tests, fixture)

CAF_TEST(an endless script is stopped wherever it hides) {
  for (auto* code :
       {"while true do end",
        "while true do pcall(function() while true do end end) end",
        "pcall(pcall, function() while true do end end) return 1",
        "xpcall(function() while true do end end, function() while true do "
        "end end) return 1",
        "while true do coroutine.wrap(function() end)() end",
        "coroutine.resume(coroutine.create(function() while true do end end)) "
        "return 1",
        "coroutine.wrap(function() while true do end end)() return 1",
        "table.sort({3, 2, 1}, function() while true do end end)",
        "local t = setmetatable({}, {__index = function(t, k) return k end}) "
        "for _ in ipairs(t) do end",
        "local x <close> = setmetatable({}, {__close = function() while true "
        "do end end}) while true do end",
        R"lua(("x"):gsub("x", function() while true do end end))lua",
        R"lua(pcall(string.gsub, "x", "x", function() while true do end end)
           return 1)lua",
        R"lua(("x"):gsub("x", setmetatable({}, {__index = function()
             while true do end end})))lua",
        R"lua(("x"):gsub("x", function()
             coroutine.wrap(function() while true do end end)() end))lua",
        "goto top ::top:: goto top", "local function f() return f() end f()"})
    breaks("strategy.max-instructions", code);
}

CAF_TEST(every kind of endless script gives its thread back) {
  settings.max_instructions = 10'000'000;
  max_slices = 100;
  for (auto* code :
       {"while true do end",
        "while true do pcall(function() while true do end end) end",
        "while true do coroutine.wrap(function() end)() end",
        "table.sort({3, 2, 1}, function() while true do end end)"})
    // Still at it after a hundred slices, none of which took long.
    CAF_CHECK_EQUAL(run(code).error(), "the script is endless");
}

CAF_TEST(a callback that cannot be interrupted has a limit of its own) {
  for (auto* code :
       {R"lua(tostring(setmetatable({}, {__tostring = function()
             while true do end end})))lua",
        R"lua(pcall(tostring, setmetatable({}, {__tostring = function()
             while true do end end})) return 1)lua",
        R"lua(table.concat(setmetatable({}, {__index = function()
             while true do end end}), "", 1, 1))lua",
        R"lua(tostring(setmetatable({}, {__tostring = function()
             coroutine.wrap(function() while true do end end)() end})))lua",
        R"lua(local co = coroutine.create(function()
             local x <close> = setmetatable({}, {__close = function()
               while true do end end})
             coroutine.yield()
           end)
           coroutine.resume(co)
           coroutine.close(co)
           return 1)lua",
        R"lua(load(function() while true do end end))lua"})
    breaks("strategy.max-unyielding", code);
}

CAF_TEST(showing an error cannot run for ever) {
  auto outcome = run("error(setmetatable({}, {__tostring = function() while "
                     "true do end end}))");
  CAF_CHECK_EQUAL(outcome.result(), "");
  CAF_CHECK(!outcome.error().empty());
}

CAF_TEST(a script that needs too much memory fails and cannot catch it) {
  for (auto* code :
       {"local t = {} while true do t[#t + 1] = {} end",
        "while true do pcall(function() local t = {} while true do t[#t + 1] "
        "= ('x'):rep(1000) .. #t end end) end",
        "return #('x'):rep(1000000000)",
        "local s = 'x' while true do s = s .. s end",
        "coroutine.wrap(function() local t = {} while true do t[#t + 1] = {} "
        "end end)()",
        "coroutine.resume(coroutine.create(function() local t = {} while true "
        "do t[#t + 1] = {} end end)) return 1"}) {
    settings.max_instructions = 100'000'000;
    auto outcome = run(code);
    CAF_CHECK_EQUAL(outcome.result(), "");
    if (outcome.error().find("strategy.max-memory") == std::string::npos
        && outcome.error().find("too many repetitions") == std::string::npos)
      CAF_FAIL("unexpected: " << outcome.error());
  }
}

CAF_TEST(garbage does not count) {
  settings.max_instructions = 100'000'000;
  auto outcome = run("for i = 1, 100000 do local t = {i, tostring(i)} end "
                     "return 'done'");
  CAF_CHECK_EQUAL(outcome.result(), "\"done\"");
}

CAF_TEST(loops in C are bounded) {
  using row = std::pair<const char*, const char*>;
  for (auto& [code, reason] :
       {row{"('x'):rep(1 << 40)", "too many repetitions"},
        row{"table.move({}, 1, 1 << 40, 2)", "too many elements"},
        row{"table.concat(setmetatable({}, {__index = function() return '' "
            "end}), '', 1, 1 << 40)",
            "too many elements"},
        row{"table.concat(setmetatable({}, {__len = function() return 1 << 40 "
            "end}))",
            "too many elements"},
        row{"table.insert(setmetatable({}, {__len = function() return 1 << 40 "
            "end}), 1, 1)",
            "too many elements"},
        row{"table.remove(setmetatable({}, {__len = function() return 1 << 40 "
            "end}), 1)",
            "too many elements"},
        row{"table.unpack({}, 1, 1 << 40)", "too many results to unpack"},
        row{"utf8.char(table.unpack({}, 1, 1 << 40))",
            "too many results to unpack"}}) {
    auto outcome = run(code);
    CAF_CHECK(outcome.slices < 10);
    if (outcome.error().find(reason) == std::string::npos)
      CAF_FAIL("expected " << reason << ", got: " << outcome.error());
  }
  // These come to an end as anywhere else, and at once.
  CAF_CHECK_EQUAL(run("return ('') .. (''):rep(1 << 40)").result(), "\"\"");
  CAF_CHECK_EQUAL(run("return select('#', ('x'):byte(1, -1))").result(), "1");
}

CAF_TEST(a pause asks no more than so many queries) {
  settings.max_queries = 3;
  breaks("strategy.max-queries",
         "local t = {} for i = 1, 4 do t[i] = {prompt = 'x'} end "
         "pcall(alc.llm_batch, t) return 1");
  CAF_CHECK_EQUAL(run("local t = {} for i = 1, 3 do t[i] = {prompt = 'x'} end "
                      "return #alc.llm_batch(t)")
                    .result(),
                  "3");
}

CAF_TEST(a prompt is no longer than so many bytes) {
  settings.max_prompt_bytes = 10;
  breaks("strategy.max-prompt", "pcall(alc.llm, ('x'):rep(11)) return 1");
  breaks("strategy.max-prompt", "pcall(alc.llm, 'x', {system = "
                                "('x'):rep(10)}) return 1");
  CAF_CHECK_EQUAL(run("return #alc.llm(('x'):rep(10))").result(), "13");
}

CAF_TEST(a result is no longer than so many bytes) {
  settings.max_result_bytes = 10;
  breaks("strategy.max-result", "return ('x'):rep(9)");
  CAF_CHECK_EQUAL(run("return ('x'):rep(8)").result(), "\"xxxxxxxx\"");
}

CAF_TEST(the host is asked no more than so often between two pauses) {
  settings.max_effects = 5;
  breaks("strategy.max-effects", "for i = 1, 6 do os.time() end");
  breaks("strategy.max-effects", "pcall(function() for i = 1, 6 do "
                                 "alc.state.get('k' .. i) end end) return 1");
  breaks("strategy.max-effects", "for i = 1, 6 do pcall(require, 'm' .. i) "
                                 "end");
  breaks("strategy.max-effects", "for i = 1, 6 do alc.state.set('k' .. i, i) "
                                 "end");
  // A pause begins a new count.
  CAF_CHECK_EQUAL(run("for i = 1, 4 do os.time() end alc.llm('x') for i = 1, 4 "
                      "do os.time() end return 'fine'")
                    .result(),
                  "\"fine\"");
}

CAF_TEST(a value of the shared state is no longer than so many bytes) {
  settings.max_state_bytes = 10;
  breaks("strategy.max-state", "pcall(alc.state.set, 'k', ('x'):rep(9)) "
                               "return 1");
}

CAF_TEST(the values that are changed between two pauses have a limit together) {
  settings.max_effect_bytes = 1'000;
  breaks("strategy.max-effect-bytes",
         "for i = 1, 20 do pcall(alc.state.set, 'k' .. i, ('x'):rep(100)) end "
         "return 1");
  // The last value of a key counts, and a pause begins anew.
  CAF_CHECK_EQUAL(run("for i = 1, 20 do alc.state.set('k', ('x'):rep(400)) end "
                      "alc.llm('q') alc.state.set('l', ('x'):rep(900)) "
                      "return 'fine'")
                    .result(),
                  "\"fine\"");
}

CAF_TEST(statistics have a limit together) {
  settings.max_stats_bytes = 100;
  breaks("strategy.max-stats",
         "for i = 1, 20 do pcall(alc.stats.record, 'k' .. i, i) end "
         "for i = 1, 20 do pcall(alc.stats.record, 'long' .. i, i) end "
         "return 1");
  CAF_CHECK_EQUAL(run("for i = 1, 99 do alc.stats.record('k', i) end "
                      "return 'fine'")
                    .result(),
                  "\"fine\"");
}

CAF_TEST(one value in many places cannot outgrow the memory as JSON) {
  // Each table stands twice in the next one: 2^40 of them as JSON.
  auto make = std::string{"local t = {} for i = 1, 40 do t = {t, t} end "};
  settings.max_instructions = 1'000'000'000;
  for (auto* use : {"pcall(alc.json_encode, t) return 1",
                    "pcall(alc.stats.record, 'k', t) return 1",
                    "pcall(alc.state.set, 'k', t) return 1", "return t"})
    breaks("strategy.max-memory", make + use);
  breaks("strategy.max-memory",
         "local item = {prompt = ('x'):rep(100000)} local all = {} "
         "for i = 1, 100 do all[i] = item end pcall(alc.llm_batch, all) "
         "return 1");
}

CAF_TEST(a loop over functions that take long ends its slice) {
  settings.max_instructions = 1'000'000'000;
  settings.max_memory_bytes = 64 << 20;
  auto text = std::string{"local s = ('x'):rep(1 << 20) "};
  auto list = std::string{"local t = {} for i = 1, 100000 do t[i] = 'x' end "};
  auto keys = std::string{"local t = {} for i = 1, 20000 do t['k' .. i] = 1 "
                          "end "};
  const std::vector<std::string> scripts
    = {text + "for i = 1, 100 do s:find('y', 1, true) end",
       text + "for i = 1, 100 do local x = s .. i end",
       text + "for i = 1, 100 do s:upper() end",
       list + "for i = 1, 100 do table.concat(t) end",
       list + "for i = 1, 100 do select('#', table.unpack(t)) end",
       list + "for i = 1, 100 do table.insert(t, 1, 1) table.remove(t, 1) end",
       keys + "for i = 1, 100 do next(t) end",
       keys + "for i = 1, 100 do pairs(t) end",
       keys + "for i = 1, 100 do alc.json_encode(t) end",
       "local s = '[' .. ('1,'):rep(100000) .. '1]' for i = 1, 100 do "
       "alc.json_decode(s) end"};
  for (auto& code : scripts) {
    auto outcome = run(code);
    CAF_CHECK_EQUAL(outcome.result(), "null");
    if (outcome.slices < 100)
      CAF_FAIL("too few slices: " << outcome.slices << " of " << code);
  }
}

CAF_TEST(adding to the end of a long list takes no turns of its own) {
  settings.max_instructions = 1'000'000'000;
  settings.max_memory_bytes = 64 << 20;
  auto outcome = run("local t = {} for i = 1, 100000 do table.insert(t, i) end "
                     "for i = 1, 100000 do table.remove(t) end return #t");
  CAF_CHECK_EQUAL(outcome.result(), "0");
  CAF_CHECK(outcome.slices < 1'000);
}

CAF_TEST(what a session logs is cut and counted) {
  settings.max_log_lines = 3;
  settings.max_log_line_bytes = 10;
  auto outcome = run("for i = 1, 10 do print(('x'):rep(20)) end alc.llm('q') "
                     "print('after')");
  CAF_REQUIRE_EQUAL(outcome.logs.size(), 4u);
  CAF_CHECK_EQUAL(outcome.logs[0].message, "xxxxxxxxxx");
  CAF_CHECK(outcome.logs[2].message.find("strategy.max-log-lines")
            != std::string::npos);
  CAF_CHECK_EQUAL(outcome.logs[3].message, "after");
}

CAF_TEST(limits are not enforced before a replay has caught up) {
  // The first run had more room. What it survived, a replay must survive.
  settings.max_instructions = 10'000'000;
  settings.max_memory_bytes = 64 << 20;
  auto outcome = run("local t = {} for i = 1, 200000 do t[i] = i end "
                     "local x = alc.llm('q') t = nil return x");
  CAF_REQUIRE_EQUAL(outcome.result(), "\"A(q)\"");
  settings.max_instructions = 100'000;
  settings.max_memory_bytes = 1 << 20;
  outcome.events.pop_back();
  outcome.events.pop_back();
  outcome.events.push_back({});
  auto report = replay(outcome);
  CAF_CHECK(std::holds_alternative<host_restored>(report));
}

CAF_TEST(an option that was lowered does not break a session under way) {
  auto outcome = run("alc.stats.record('k', ('x'):rep(50)) "
                     "for i = 1, 3 do alc.state.set('k' .. i, 'xxxxxxxxx') end "
                     "alc.llm_batch({{prompt = ('x'):rep(50)}, {prompt = 'y'}})"
                     "return alc.llm('q')");
  CAF_REQUIRE_EQUAL(outcome.result(), "\"A(q)\"");
  settings.max_stats_bytes = settings.max_state_bytes = 10;
  settings.max_effects = settings.max_queries = 1;
  settings.max_prompt_bytes = settings.max_effect_bytes = 10;
  auto report = replay(outcome);
  auto* step = std::get_if<strategy_step>(&report);
  CAF_REQUIRE(step != nullptr);
  CAF_CHECK(std::holds_alternative<done_event>(step->end));
}

CAF_TEST(a decoded text takes the memory of the machine and no other) {
  settings.max_memory_bytes = 32 << 20;
  settings.max_instructions = 1'000'000'000;
  auto before = peak_bytes();
  breaks("strategy.max-memory", "return #alc.json_decode('[' .. ('{},'):rep("
                                "3000000) .. '1]')");
  // Some slack for what the parser keeps of the text.
  CAF_CHECK_LESS(peak_bytes() - before, 2 * settings.max_memory_bytes);
}

CAF_TEST_FIXTURE_SCOPE_END()
