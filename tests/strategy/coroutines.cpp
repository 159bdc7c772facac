// SPDX-License-Identifier: Apache-2.0

#define CAF_SUITE strategy.coroutines

#include "tests/support/script_runner.hpp"
#include "tests/support/suite.hpp"

using namespace muster;
using namespace muster::test;

namespace {

struct fixture : script_runner {
  std::string result(const std::string& code) {
    auto outcome = run(code);
    return outcome.error().empty() ? outcome.result() : outcome.error();
  }
};

} // namespace

CAF_TEST_FIXTURE_SCOPE(coroutine_tests, fixture)

CAF_TEST(coroutines pass values as everywhere) {
  CAF_CHECK_EQUAL(result(R"lua(
    local co = coroutine.create(function(a, b)
      local c = coroutine.yield(a + b)
      local d, e = coroutine.yield(c * 2)
      return d .. e
    end)
    local _, x = coroutine.resume(co, 1, 2)
    local _, y = coroutine.resume(co, 10)
    local _, z = coroutine.resume(co, "p", "q")
    return {x, y, z, coroutine.status(co), (coroutine.resume(co))}
  )lua"),
                  R"lua([3,20,"pq","dead",false])lua");
}

CAF_TEST(a query passes out through three coroutines and back in) {
  auto code = R"lua(
    local inner = coroutine.create(function(a)
      local got = {a}
      for i = 1, 3 do
        got[#got + 1] = alc.llm("inner " .. i)
        got[#got + 1] = coroutine.yield(got[#got])
      end
      return table.concat(got, "+")
    end)
    local outer = coroutine.wrap(function()
      for i = 1, 4 do
        local ok, v = coroutine.resume(inner, "x" .. i)
        coroutine.yield(v)
      end
      return alc.llm("outer")
    end)
    local out = {}
    for i = 1, 5 do out[i] = outer() end
    return {out, coroutine.status(inner), alc.llm("last")}
  )lua";
  auto expected = R"lua([["A(inner 1)","A(inner 2)","A(inner 3)",)lua"
                  R"lua("x1+A(inner 1)+x2+A(inner 2)+x3+A(inner 3)+x4",)lua"
                  R"lua("A(outer)"],"dead","A(last)"])lua";
  CAF_CHECK_EQUAL(result(code), expected);
  replays = true;
  CAF_CHECK_EQUAL(result(code), expected);
}

CAF_TEST(the end of a slice is not an early return ) {
  auto outcome = run(R"lua(
    local function spin(n) local s = 0 for i = 1, n do s = s + i end return s end
    local co = coroutine.wrap(function()
      for i = 1, 3 do coroutine.yield(spin(100000) + i) end
    end)
    return {co(), co(), co()}
  )lua");
  CAF_CHECK_EQUAL(outcome.result(), "[5000050001,5000050002,5000050003]");
  CAF_CHECK(outcome.slices > 20);
}

CAF_TEST(coroutines too short to report what they do count nevertheless) {
  auto outcome = run("for i = 1, 10000 do coroutine.wrap(function() end)() end "
                     "return 'done'");
  CAF_CHECK_EQUAL(outcome.result(), "\"done\"");
  // The loop itself takes less than ten slices.
  CAF_CHECK(outcome.slices > 20);
}

CAF_TEST(an error in a coroutine reaches whoever resumed it) {
  CAF_CHECK_EQUAL(result(R"lua(
    local co = coroutine.create(function() alc.llm("q") error("inside", 0) end)
    return {coroutine.resume(co)}
  )lua"),
                  R"lua([false,"inside"])lua");
  CAF_CHECK_EQUAL(result(R"lua(
    local co = coroutine.wrap(function() error({code = 7}) end)
    local _, e = pcall(co)
    return e.code
  )lua"),
                  "7");
}

CAF_TEST(the script itself is the main coroutine) {
  CAF_CHECK_EQUAL(result("return {select(2, coroutine.running()), "
                         "coroutine.isyieldable()}"),
                  "[true,false]");
  CAF_CHECK(result("coroutine.yield(1)")
              .find("attempt to yield from outside a coroutine")
            != std::string::npos);
  CAF_CHECK_EQUAL(result(R"lua(
    local main = coroutine.running()
    return coroutine.wrap(function()
      return {coroutine.status(main), (coroutine.resume(main)),
              coroutine.isyieldable()}
    end)()
  )lua"),
                  R"lua(["normal",false,true])lua");
}

CAF_TEST(a coroutine can be closed with its variables) {
  CAF_CHECK_EQUAL(result(R"lua(
    local log = {}
    local co = coroutine.create(function()
      local x <close> = setmetatable({}, {__close = function()
        log[#log + 1] = "closed"
      end})
      coroutine.yield()
    end)
    coroutine.resume(co)
    return {coroutine.close(co), log[1], coroutine.status(co)}
  )lua"),
                  R"lua([true,"closed","dead"])lua");
  CAF_CHECK(result("coroutine.close(coroutine.running())")
              .find("cannot close a running coroutine")
            != std::string::npos);
}

CAF_TEST(a coroutine that resumes itself is told that it cannot) {
  CAF_CHECK_EQUAL(result("return {coroutine.resume(coroutine.running())}"),
                  R"lua([false,"cannot resume non-suspended coroutine"])lua");
}

CAF_TEST(closing one coroutine after the other cannot overflow the stack) {
  // Each of them is closed by the one before it, and none is nested when it is
  // resumed.
  CAF_CHECK_EQUAL(result(R"lua(
    local all = {}
    for i = 1, 30000 do
      all[i] = coroutine.create(function()
        local x <close> = setmetatable({}, {__close = function()
          if all[i + 1] then
            assert(coroutine.close(all[i + 1]))
          end
        end})
        coroutine.yield()
      end)
      coroutine.resume(all[i])
    end
    local ok, e = coroutine.close(all[1])
    return {ok, e:match("C stack overflow"), (coroutine.close(all[20]))}
  )lua"),
                  R"lua([false,"C stack overflow",false])lua");
}

CAF_TEST(a query where a C function is in between is refused and not asked) {
  for (auto* code : {R"lua(local t = setmetatable({}, {__index = function()
             return alc.llm("no") end})
           table.concat(t, "", 1, 1))lua",
                     R"lua(tostring(setmetatable({}, {__tostring = function()
             return alc.llm("no") end})))lua",
                     R"lua(tostring(setmetatable({}, {__tostring = function()
             return coroutine.wrap(function() return alc.llm("no") end)()
           end})))lua",
                     R"lua(local co = coroutine.create(function()
             local x <close> = setmetatable({}, {__close = function()
               alc.llm("no") end})
             coroutine.yield()
           end)
           coroutine.resume(co)
           local ok, e = coroutine.close(co)
           error(e, 0))lua"}) {
    auto outcome = run(code);
    CAF_CHECK(outcome.error().find("alc.llm cannot be called here")
              != std::string::npos);
    CAF_CHECK_EQUAL(outcome.prompts().size(), 0u);
    // Only the spawn and the failure: nothing was recorded on the way.
    CAF_CHECK_EQUAL(outcome.events.size(), 2u);
  }
}

CAF_TEST(a clock can be read where nothing can wait) {
  auto code = R"lua(
    return tostring(setmetatable({}, {__tostring = function()
      return tostring(os.time())
    end}))
  )lua";
  auto outcome = run(code);
  CAF_CHECK_EQUAL(outcome.result(), "\"1700000000\"");
}

CAF_TEST(pcall can wait for an answer) {
  CAF_CHECK_EQUAL(result(R"lua(
    local ok, a = pcall(function() return alc.llm("one") end)
    local ok2, e = pcall(function() alc.llm("two") error("then", 0) end)
    local ok3, e3 = xpcall(function() alc.llm("three") error("x", 0) end,
                           function(m) return m .. "!" end)
    return {ok, a, ok2, e, ok3, e3}
  )lua"),
                  R"lua([true,"A(one)",false,"then",false,"x!"])lua");
}

CAF_TEST(metamethods of the script can wait for an answer) {
  CAF_CHECK_EQUAL(result(R"lua(
    local t = setmetatable({}, {
      __index = function(_, k) return alc.llm(k) end,
      __add = function(a, b) return alc.llm("sum") end})
    return {t.x, t + t}
  )lua"),
                  R"lua(["A(x)","A(sum)"])lua");
}

CAF_TEST_FIXTURE_SCOPE_END()
