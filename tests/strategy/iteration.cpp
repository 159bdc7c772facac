// SPDX-License-Identifier: Apache-2.0

#define CAF_SUITE strategy.iteration

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

/// Goes through `t` and gives the keys in the order in which they come.
const std::string keys_of = R"lua(
  local function keys_of(t)
    local keys = {}
    for k in pairs(t) do keys[#keys + 1] = tostring(k) end
    return table.concat(keys, " ")
  end
)lua";

/// The same with `next`.
const std::string next_of = R"lua(
  local function keys_of(t)
    local keys = {}
    local k = next(t)
    while k ~= nil do
      keys[#keys + 1] = tostring(k)
      k = next(t, k)
    end
    return table.concat(keys, " ")
  end
)lua";

} // namespace

CAF_TEST_FIXTURE_SCOPE(iteration_tests, fixture)

CAF_TEST(keys come as integers and floats and texts and booleans) {
  for (auto& function : {keys_of, next_of})
    CAF_CHECK_EQUAL(
      result(function
             + "return keys_of({b = 1, a = 1, ab = 1, [3] = 1, [-2] = 1, [0] "
               "= 1, [2.5] = 1, [-0.5] = 1, [true] = 1, [false] = 1, "
               "['10'] = 1, ['9'] = 1})"),
      "\"-2 0 3 -0.5 2.5 10 9 a ab b false true\"");
}

CAF_TEST(the order does not depend on how a table came to be) {
  for (auto& function : {keys_of, next_of}) {
    auto forward = result(function
                          + "local t = {} for i = 1, 300 do t['k' .. i] = i "
                            "end return keys_of(t)");
    auto backward = result(function
                           + "local t = {} for i = 300, 1, -1 do t['k' .. i] "
                             "= i end return keys_of(t)");
    CAF_CHECK_EQUAL(forward, backward);
  }
}

CAF_TEST(a sequence is gone through in its order with holes left out) {
  CAF_CHECK_EQUAL(result(keys_of + "return keys_of({10, 20, 30})"),
                  "\"1 2 3\"");
  CAF_CHECK_EQUAL(result(keys_of
                         + "local t = {1, 2, 3, 4} t[2] = nil return "
                           "keys_of(t)"),
                  "\"1 3 4\"");
  // Integers among the other keys, in the reverse of their order.
  CAF_CHECK_EQUAL(result(keys_of
                         + "local t = {x = 1} for i = 5, 1, -1 do t[i] = i end "
                           "return keys_of(t)"),
                  "\"1 2 3 4 5 x\"");
}

CAF_TEST(an empty table has no first key) {
  CAF_CHECK_EQUAL(result("return next({}) == nil"), "true");
  CAF_CHECK_EQUAL(result("local t = {x = 1} t.x = nil return next(t) == nil"),
                  "true");
  CAF_CHECK_EQUAL(result(keys_of + "return keys_of({})"), "\"\"");
}

CAF_TEST(more than one key without an order is an error) {
  auto code = "local a, b = {}, {} local t = {[a] = 1, [b] = 2} ";
  for (auto* use : {"for k in pairs(t) do end", "next(t)"})
    CAF_CHECK(result(std::string{code} + use)
                .find("more than one key that is a table, function, thread or "
                      "userdata")
              != std::string::npos);
  // A single one is the last.
  CAF_CHECK_EQUAL(result(keys_of + "return keys_of({[{}] = 1, z = 2})"),
                  "\"z table: 1\"");
}

CAF_TEST(a traversal goes through the keys that were there when it began) {
  CAF_CHECK_EQUAL(result(R"lua(
    local t, seen = {a = 1, b = 2, c = 3}, {}
    for k in pairs(t) do
      seen[#seen + 1] = k
      t.b = nil            -- still to come: left out
      t.d = 4              -- new: not gone through
    end
    return seen
  )lua"),
                  R"lua(["a","c"])lua");
}

CAF_TEST(next sees a key that came after an earlier traversal) {
  CAF_CHECK_EQUAL(result(R"lua(
    local t = {b = 1, c = 2}
    next(t, next(t))       -- a traversal that is left in the middle
    t.bb = 3
    local first = next(t)
    return {first, (next(t, first))}
  )lua"),
                  R"lua(["b","bb"])lua");
  // Also where the new one begins at the key that the old one gave last.
  CAF_CHECK_EQUAL(result(R"lua(
    local t = {a = 1, b = 2, d = 4}
    next(t, "a")
    t.a, t.c = nil, 3
    local first = next(t)
    return {first, (next(t, first))}
  )lua"),
                  R"lua(["b","c"])lua");
}

CAF_TEST(next goes on behind a key that is gone) {
  CAF_CHECK_EQUAL(result("local t = {a = 1, c = 3} return (next(t, 'b'))"),
                  "\"c\"");
  CAF_CHECK_EQUAL(result("local t = {a = 1} return next(t, 'a') == nil"),
                  "true");
}

CAF_TEST(a table may give its own traversal) {
  CAF_CHECK_EQUAL(result(keys_of + R"lua(
    local t = setmetatable({}, {__pairs = function()
      return function(_, i) if i < 3 then return i + 1 end end, nil, 0
    end})
    return keys_of(t)
  )lua"),
                  "\"1 2 3\"");
}

CAF_TEST(looking through large tables again and again lets others run) {
  const std::string fill = "local t = {} for i = 1, 20000 do t['k' .. i] = i "
                           "end ";
  auto slices = [&](const std::string& code) {
    auto outcome = run(fill + code + " return 'done'");
    CAF_CHECK_EQUAL(outcome.result(), "\"done\"");
    return outcome.slices;
  };
  auto filled = slices("");
  for (auto* code :
       {"for i = 1, 10 do for k in pairs(t) do break end end",
        "for i = 1, 10 do next(t) end",
        "for i = 1, 10 do next(t, 'k' .. i) end",
        "for i = 1, 10 do pcall(next, t) end",
        "for i = 1, 10 do coroutine.wrap(function() next(t) end)() end"}) {
    CAF_MESSAGE(code);
    // Each call goes through more keys than a slice has instructions.
    CAF_CHECK(slices(code) >= filled + 10);
  }
  // What a call gives is the same on the other side of that.
  CAF_CHECK_EQUAL(result(fill + "return {next(t)}"), R"lua(["k1",1])lua");
  CAF_CHECK_EQUAL(result(fill + "return {next(t, 'k1')}"),
                  R"lua(["k10",10])lua");
  CAF_CHECK_EQUAL(result(fill
                         + "local n = 0 for k, v in pairs(t) do n = n + v "
                           "end return n"),
                  "200010000");
  CAF_CHECK_EQUAL(result("local t = {} for i = 1, 20000 do t[i] = i end local "
                         "n = 0 for k, v in pairs(t) do n = n + v end return "
                         "n"),
                  "200010000");
}

CAF_TEST(json is written in the same order) {
  CAF_CHECK_EQUAL(result("return {b = 1, a = {d = 1, c = 2}}"),
                  R"lua({"a":{"c":2,"d":1},"b":1})lua");
}

CAF_TEST_FIXTURE_SCOPE_END()
