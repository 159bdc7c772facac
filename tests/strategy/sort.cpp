// SPDX-License-Identifier: Apache-2.0

#define CAF_SUITE strategy.sort

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

CAF_TEST_FIXTURE_SCOPE(sort_tests, fixture)

CAF_TEST(numbers and texts are sorted upwards) {
  CAF_CHECK_EQUAL(result("local t = {3, 1.5, 2, -7} table.sort(t) return t"),
                  "[-7,1.5,2,3]");
  CAF_CHECK_EQUAL(result("local t = {'b', 'a', 'B'} table.sort(t) return t"),
                  R"lua(["B","a","b"])lua");
  CAF_CHECK_EQUAL(result("local t = {} table.sort(t) return #t"), "0");
  CAF_CHECK_EQUAL(result("local t = {1} table.sort(t) return t"), "[1]");
}

CAF_TEST(every length is sorted) {
  CAF_CHECK_EQUAL(result(R"lua(
    for n = 0, 70 do
      local t = {}
      for i = 1, n do t[i] = math.random(20) end
      table.sort(t)
      for i = 2, n do assert(t[i - 1] <= t[i], n) end
      assert(#t == n)
    end
    return "sorted"
  )lua"),
                  "\"sorted\"");
}

CAF_TEST(equal elements keep their order) {
  CAF_CHECK_EQUAL(result(R"lua(
    local t = {}
    for i = 1, 50 do t[i] = {key = i % 3, i = i} end
    table.sort(t, function(a, b) return a.key < b.key end)
    for i = 2, 50 do
      if t[i - 1].key == t[i].key then assert(t[i - 1].i < t[i].i) end
    end
    return "stable"
  )lua"),
                  "\"stable\"");
}

CAF_TEST(a comparator may wait for an answer) {
  answer = [](const query& q) {
    // "a < b" with numbers.
    auto a = std::stoi(q.prompt);
    auto b = std::stoi(q.prompt.substr(q.prompt.find('<') + 1));
    return answered_event{q.id, a < b ? "yes" : "no", std::nullopt};
  };
  auto code = R"lua(
    local t = {4, 2, 3, 1}
    table.sort(t, function(a, b) return alc.llm(a .. "<" .. b) == "yes" end)
    return t
  )lua";
  CAF_CHECK_EQUAL(result(code), "[1,2,3,4]");
  replays = true;
  CAF_CHECK_EQUAL(result(code), "[1,2,3,4]");
}

CAF_TEST(methods of the elements are asked) {
  CAF_CHECK_EQUAL(result(R"lua(
    local order = {__lt = function(a, b) return a.n < b.n end}
    local t = {}
    for i, n in ipairs({3, 1, 2}) do t[i] = setmetatable({n = n}, order) end
    table.sort(t)
    return {t[1].n, t[2].n, t[3].n}
  )lua"),
                  "[1,2,3]");
}

CAF_TEST(a comparator that fails leaves the table as it was) {
  CAF_CHECK_EQUAL(result(R"lua(
    local t = {3, 2, 1}
    local ok = pcall(table.sort, t, function() error("no") end)
    return {ok, t[1], t[2], t[3]}
  )lua"),
                  "[false,3,2,1]");
}

CAF_TEST(what cannot be compared is an error) {
  CAF_CHECK(result("table.sort({1, 'a'})").find("attempt to compare")
            != std::string::npos);
  CAF_CHECK(result("table.sort({2, 1}, 3)").find("bad argument #2 to 'sort'")
            != std::string::npos);
}

CAF_TEST(a long sort lets others run) {
  auto outcome = run(R"lua(
    local t = {}
    for i = 1, 20000 do t[i] = (i * 7919) % 20011 end
    table.sort(t)
    return t[1] .. " " .. t[20000]
  )lua");
  CAF_CHECK_EQUAL(outcome.result(), "\"1 20010\"");
  // Filling the table takes about ten slices, sorting it far more.
  CAF_CHECK(outcome.slices > 50);
}

CAF_TEST(lengths that are lies are refused) {
  CAF_CHECK(result("table.sort(setmetatable({}, {__len = function() return "
                   "1e9 // 1 | 0 end}))")
              .find("array too big")
            != std::string::npos);
}

CAF_TEST_FIXTURE_SCOPE_END()
