// SPDX-License-Identifier: Apache-2.0

#define CAF_SUITE strategy.patterns

#include "tests/support/script_runner.hpp"
#include "tests/support/suite.hpp"

#include "messages/json.hpp"

#include <fmt/format.h>
#include <lua.hpp>

#include <algorithm>
#include <cstdlib>
#include <initializer_list>
#include <random>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <pthread.h>

using namespace muster;
using namespace muster::test;

namespace {

/// Shows what a function returns or raises, in printable characters.
const std::string tools = R"lua(
local out, calls = {}, 0
local function quoted(text)
  if utf8.len(text) then return ("%q"):format(text) end
  local bytes = {}
  for i = 1, #text do bytes[i] = text:byte(i) end
  return table.concat(bytes, "\\")
end
local function show(...)
  local list = table.pack(...)
  for i = 1, list.n do
    local x = list[i]
    list[i] = type(x) == "string" and quoted(x) or tostring(x)
  end
  return table.concat(list, " ")
end
local function try(...)
  calls = calls + 1
  out[#out + 1] = calls .. ": " .. show(pcall(...))
end
local function each(...)
  calls = calls + 1
  local ok, next = pcall(string.gmatch, ...)
  if not ok then out[#out + 1] = show(next) return end
  for i = 1, 40 do
    local found = table.pack(pcall(next))
    out[#out + 1] = calls .. ": " .. show(table.unpack(found, 1, found.n))
    if not found[1] or found[2] == nil then break end
  end
end
local words = setmetatable({a = "<a>", b = false, ab = 12, c = {}},
                           {__index = function(_, k) return k == "d" and k end})
local function swap(x, y) if y then return y, x end return x ~= "c" and x end
)lua";

/// What Lua itself says to a script that returns a text.
std::string in_lua(const std::string& code) {
  auto* lua = luaL_newstate();
  luaL_openlibs(lua);
  auto status = luaL_loadbufferx(lua, code.data(), code.size(), "=test", "t");
  if (status == LUA_OK)
    status = lua_pcall(lua, 0, 1, 0);
  std::size_t size = 0;
  auto* text = lua_tolstring(lua, -1, &size);
  auto result = text != nullptr ? std::string{text, size} : std::string{};
  lua_close(lua);
  if (status != LUA_OK)
    CAF_FAIL(result);
  return result;
}

/// A literal of any bytes.
std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (auto c : text)
    result += fmt::format("\\{:03}", static_cast<unsigned char>(c));
  return result + '"';
}

struct fixture : script_runner {
  fixture() {
    settings.max_memory_bytes = 256 << 20;
    max_slices = 50'000'000;
  }

  /// What a script returns, a text, or its error.
  std::string value(const std::string& code) {
    auto outcome = run(code);
    if (!outcome.error().empty())
      return outcome.error();
    auto result = json::parse(outcome.result());
    return result.is_string() ? result.get<std::string>() : result.dump();
  }

  /// Calls that have to come out as in Lua, line by line.
  void same_as_lua(const std::string& calls) {
    auto code = tools + calls + "return table.concat(out, '\\n')";
    auto expected = in_lua(code);
    auto found = value(code);
    CAF_CHECK(found == expected);
    if (found == expected)
      return;
    auto at = std::mismatch(found.begin(), found.end(), expected.begin(),
                            expected.end());
    auto line = [](const std::string& text, std::size_t position) {
      auto begin = text.rfind('\n', position);
      begin = begin == std::string::npos ? 0 : begin + 1;
      return text.substr(begin, text.find('\n', position) - begin);
    };
    auto where = static_cast<std::size_t>(at.first - found.begin());
    auto here = line(expected, where);
    // Of calls that stand line by line, the one that begins with the number.
    std::istringstream in{calls};
    std::string call;
    for (auto n = std::atoi(here.c_str()); n > 0; --n)
      std::getline(in, call);
    CAF_FAIL(call << ": expected " << here << ", got " << line(found, where));
  }
};

/// Makes texts and patterns, also such that are none.
class generator {
public:
  explicit generator(std::uint64_t seed) : random_(seed) {
    // nop
  }

  std::size_t below(std::size_t end) {
    return random_() % end;
  }

  std::string some_of(const std::vector<std::string>& parts, std::size_t most) {
    std::string result;
    for (auto left = below(most + 1); left > 0; --left)
      result += parts[below(parts.size())];
    return result;
  }

  std::string subject() {
    return some_of({"a", "a", "b", "c", "d", "A", "(", ")", " ", "1", "]", "%",
                    "-", "^", "$", std::string(1, '\0'), "\xe4"},
                   12);
  }

  /// At most twelve characters take part, so the longest search is short.
  std::string pattern() {
    auto result = some_of({"a",
                           "b",
                           "c",
                           "d",
                           ".",
                           "%a",
                           "%A",
                           "%d",
                           "%s",
                           "%w",
                           "%x",
                           "%z",
                           "%p",
                           "[ab]",
                           "[^a",
                           "[a-c",
                           "]",
                           "[^b]",
                           "[%a-]",
                           "[]a]",
                           "[^]]",
                           "[",
                           "%",
                           "%%",
                           "-",
                           "*",
                           "+",
                           "?",
                           "a*",
                           "a-",
                           ".-",
                           "b?",
                           "(",
                           "(",
                           ")",
                           ")",
                           "()",
                           "(a)",
                           "(.-)",
                           "(b*)",
                           "%1",
                           "%2",
                           "%0",
                           "%b",
                           "%b()",
                           "%bab",
                           "%f",
                           "%f[a]",
                           "%f[^a]",
                           "$",
                           "^",
                           "[%",
                           "%f[",
                           "[a-]",
                           "[b-a]",
                           "[%w%s]",
                           "[c-%a]",
                           "%]",
                           std::string(1, '\0'),
                           "\xe4"},
                          7);
    return below(6) == 0 ? "^" + result : result;
  }

  std::string replacement() {
    return some_of(
      {"x", "%0", "%1", "%2", "%%", "<", ">", "%1", "%0", "%", "%x", "%9"}, 4);
  }

  std::string init() {
    return below(2) == 0 ? std::string{"nil"}
                         : std::to_string(static_cast<int>(below(34)) - 17);
  }

  /// Calls of each function with the same subject and pattern.
  std::string calls() {
    auto texts = quoted(subject()) + ", " + quoted(pattern());
    auto most = below(3) == 0 ? std::to_string(static_cast<int>(below(5)) - 1)
                              : std::string{"nil"};
    return fmt::format("try(string.find, {0}, {1})\n"
                       "try(string.find, {0}, {5})\n"
                       "try(string.match, {0}, {1})\n"
                       "each({0}, {1})\n"
                       "try(string.gsub, {0}, {2}, {3})\n"
                       "try(string.gsub, {0}, {4}, {3})\n"
                       "try(string.gsub, {0}, words, {3})\n"
                       "try(string.gsub, {0}, swap, {3})\n",
                       texts, init(), quoted(replacement()), most,
                       below(2) == 0 ? "'[%1]'" : "7",
                       init() + (below(2) == 0 ? ", true" : ""));
  }

private:
  std::mt19937_64 random_;
};

} // namespace

CAF_TEST_FIXTURE_SCOPE(pattern_tests, fixture)

CAF_TEST(each construct means what the manual says) {
  using row = std::pair<const char*, const char*>;
  for (auto& [expression, expected] : std::initializer_list<row>{
         {"('hello'):find('l')", "3 3"},
         {"('hello'):find('l', 4)", "4 4"},
         {"('hello'):find('l', -2)", "4 4"},
         {"('hello'):find('', 6)", "6 5"},
         {"('hello'):find('', 7)", "nil"},
         {"('a.b'):find('.', 2, true)", "2 2"},
         {"('a+b'):find('+')", "2 2"},
         {"('a)b'):find(')')", "2 2"},
         {"('x=1, y=2'):find('(%w)=(%d)', 3)", "6 8 \"y\" \"2\""},
         {"('hello'):match('^h(.-)o$')", "\"ell\""},
         {"('hello'):match('^e')", "nil"},
         {"('a^b$c'):match('a^b$c')", "\"a^b$c\""},
         {"('abc'):match('()b()')", "2 3"},
         {"('aaa'):match('a-$')", "\"aaa\""},
         {"('aXb'):match('aX?X?b')", "\"aXb\""},
         {"('[x]'):match('[]x]+', 2)", "\"x]\""},
         {"('a-z'):match('[a%-z]+')", "\"a-z\""},
         {"('a-z'):match('[^a-y]+')", "\"-z\""},
         {"('f(a(b)c)d'):match('%b()')", "\"(a(b)c)\""},
         {"('f((a)'):match('%b()')", "\"(a)\""},
         {"('xabx'):match('%bxx')", "\"xabx\""},
         {"('THE (quick) fox'):find('%f[%a]%a+%f[%A]', 2)", "6 10"},
         {"('say \"hi\" or'):match([[(['\"])(.-)%1]])", "\"\\\"\" \"hi\""},
         {"('abcabc'):match('((a)(b)c)%1')", "\"abc\" \"a\" \"b\""},
         {"('a\\0b'):find('\\0')", "2 2"},
         {"('a\\0b'):match('%z(.)')", "\"b\""},
         {"string.match(12345, '3.')", "\"34\""},
         {"('hello world'):gsub('o', '0', 1)", "\"hell0 world\" 1"},
         {"('abc'):gsub('%w', '%0%0')", "\"aabbcc\" 3"},
         {"('abc'):gsub('', '-')", "\"-a-b-c-\" 4"},
         {"('abc'):gsub('b*', 'x')", "\"xaxcx\" 3"},
         {"('aaa'):gsub('^a', 'x')", "\"xaa\" 1"},
         {"('key=1'):gsub('(%w+)=(%w+)', '%2=%1')", "\"1=key\" 1"},
         {"('ab'):gsub('()', '%1')", "\"1a2b3\" 3"},
         {"('10%'):gsub('%%', '%%%%')", "\"10%%\" 1"},
         {"('a b'):gsub('%a', {a = 1, b = false})", "\"1 b\" 2"},
         {"('a b'):gsub('%a', function(c) return c == 'a' and c:upper() end)",
          "\"A b\" 2"},
         {"('abc'):gsub('.', 'x', -1)", "\"abc\" 0"},
         {"('abc'):gsub('b', 1.5)", "\"a1.5c\" 1"}}) {
    auto code = tools + "return show(" + expression + ")";
    CAF_CHECK_EQUAL(in_lua(code), expected);
    CAF_CHECK_EQUAL(value(code), expected);
  }
}

CAF_TEST(what is wrong with a pattern is told in the words of Lua) {
  using row = std::pair<const char*, const char*>;
  auto many = std::string{"(('a'):rep(300)):match(('a?'):rep(200))"};
  auto open = std::string{"('a'):match(('('):rep(33))"};
  for (auto& [expression, expected] : std::initializer_list<row>{
         {"('a'):match('%')", "malformed pattern (ends with '%')"},
         {"('a'):match('[a')", "malformed pattern (missing ']')"},
         {"('a'):match('[]')", "malformed pattern (missing ']')"},
         {"('a'):match('[a%]')", "malformed pattern (missing ']')"},
         {"('a'):match('%bx')",
          "malformed pattern (missing arguments to '%b')"},
         {"('a'):match('%fa')", "missing '[' after '%f' in pattern"},
         {"('a'):match('a)')", "invalid pattern capture"},
         {"('a'):match('(a')", "unfinished capture"},
         {"('a'):find('(a')", "unfinished capture"},
         {"('a'):gsub('(a', '%1')", "unfinished capture"},
         {"('a'):match('%1')", "invalid capture index %1"},
         {"('a'):match('(%1)')", "invalid capture index %1"},
         {"('a'):match('a%0')", "invalid capture index %0"},
         {"('a'):gsub('a', '%2')", "invalid capture index %2"},
         {"('a'):gsub('a', '%')", "invalid use of '%' in replacement string"},
         {"('a'):gsub('a', '%x')", "invalid use of '%' in replacement string"},
         {"('a'):gsub('a', function() return {} end)",
          "invalid replacement value (a table)"},
         {"('a'):gsub('a', {a = true})",
          "invalid replacement value (a boolean)"},
         {many.c_str(), "pattern too complex"},
         {open.c_str(), "too many captures"},
         {"('a'):gsub('a')", "bad argument #2 to 'gsub' "
                             "(string/function/table expected, got no value)"},
         {"('a'):gsub('a', nil, 'x')",
          "bad argument #3 to 'gsub' (number expected, got string)"},
         {"('a'):find()",
          "bad argument #1 to 'find' (string expected, got no value)"},
         {"('a'):gmatch({})",
          "bad argument #1 to 'gmatch' (string expected, got table)"},
         {"('a'):gmatch('%')()", "malformed pattern (ends with '%')"}}) {
    auto code = fmt::format("return select(2, pcall(function() return {} end))",
                            expression);
    auto found = value(code);
    auto of_lua = in_lua(code);
    // Behind the place, which names the file.
    auto reason = [](const std::string& text) {
      return text.substr(text.find(": ") + 2);
    };
    CAF_CHECK_EQUAL(reason(of_lua), expected);
    CAF_CHECK_EQUAL(reason(found), expected);
  }
}

CAF_TEST(every character belongs to the same classes as in Lua) {
  same_as_lua(R"lua(
    for c = 0, 255 do
      for _, p in ipairs {"%a", "%c", "%d", "%g", "%l", "%p", "%s", "%u", "%w",
                          "%x", "%z", "%A", "%S", "%G", "%Z", "%q", "[a-\xff]",
                          "[^%s]"} do
        try(string.find, string.char(c), p)
      end
    end
  )lua");
}

CAF_TEST(a pattern is too complex where it is in Lua) {
  same_as_lua(R"lua(
    for n = 190, 210 do
      for _, item in ipairs {"a?", "a*", "a-", "()", "a"} do
        local text = ("a"):rep(n)
        try(string.find, text, item:rep(n))
        try(string.find, text, "(" .. item:rep(n) .. ")")
        try(string.gsub, text, "(a?" .. item:rep(n - 2) .. ")", "<%1>")
      end
    end
    for n = 30, 34 do
      try(string.match, ("a"):rep(n), ("(a)"):rep(n))
      try(string.match, ("a"):rep(n), ("()"):rep(n))
    end
  )lua");
}

CAF_TEST(random patterns do what they do in Lua) {
  auto seed = std::random_device{}();
  CAF_MESSAGE("seed " << seed);
  generator make{seed};
  for (int scripts = 0; scripts < 150; ++scripts) {
    // Every other time the turn ends in the middle of the searches.
    settings.slice_instructions
      = scripts % 2 == 0 ? 10'000 : make.below(20) + 1;
    std::string calls;
    for (int i = 0; i < 60; ++i)
      calls += make.calls();
    same_as_lua(calls);
  }
}

CAF_TEST(long texts do what they do in Lua) {
  auto calls = R"lua(
    local text = ("some words (and (more)) of it, 12.5 = x_1\n"):rep(200)
    for _, pattern in ipairs {
      "%w+", "[%w_]+ = ", "(%a+) (%a+)", "%b()", ".-\n", "[^\n]*\n", "^.*=",
      "(.)%1", "%f[%a]%a+", "x.-y", "%s*$", "(.-)%s*$", "()o()", "[a-f]*%d",
      "%b(\n", "more", "\n%S+%s"} do
      try(string.find, text, pattern)
      try(string.find, text, pattern, 5000)
      try(string.match, text, pattern, -300)
      each(text, pattern, 7000)
      try(string.gsub, text, pattern, "<%0>")
      try(string.gsub, text, pattern, words)
      try(string.gsub, text, pattern, swap, 100)
      try(string.find, text, "of it, 12.5 =", 100, true)
      try(string.find, text, "not in there", 1, true)
    end
    -- Runs that are given back to their first character.
    for _, pattern in ipairs {"[ab]*b", "%a*b", "^.*b", "a*b", "a+$", "(b?a*)b",
                              "b[ab]+b", "[^c]-b$", "%bba", "%baz", "%baa"} do
      try(string.find, "b" .. ("a"):rep(600), pattern)
      try(string.find, ("a"):rep(600) .. "b" .. ("z"):rep(600), pattern)
    end
  )lua";
  same_as_lua(calls);
  settings.slice_instructions = 37;
  same_as_lua(calls);
}

CAF_TEST(a pattern that takes for ever is stopped as a loop is) {
  settings.max_instructions = 1'000'000;
  settings.max_unyielding = 100'000;
  const std::vector<std::string> endless
    = {"(('x'):rep(300000)):gsub('(x*)y', '')",
       "(('x'):rep(300000)):find('x*y')",
       "(('a'):rep(30) .. 'b'):match(('a?'):rep(30) .. ('a'):rep(30) .. 'c')",
       "for _ in (('x'):rep(30000)):gmatch('.-.-.-y') do end",
       "(('('):rep(300000)):find('%b()')",
       "(('ab'):rep(300000)):match('(.*)%1c')",
       "(('x'):rep(30000)):find('[' .. ('y'):rep(30000) .. ']')",
       "pcall(string.find, ('x'):rep(300000), 'x*x*y')"};
  for (auto& code : endless) {
    auto outcome = run(code);
    CAF_CHECK_EQUAL(outcome.error_kind(), failure_kind::limit_exceeded);
    CAF_CHECK(outcome.error().starts_with("strategy.max-instructions"));
    CAF_CHECK(outcome.slices > 50);
    // And where nothing can be suspended.
    outcome = run("tostring(setmetatable({}, {__tostring = function() " + code
                  + " end}))");
    CAF_CHECK_EQUAL(outcome.error_kind(), failure_kind::limit_exceeded);
    CAF_CHECK(outcome.error().starts_with("strategy.max-unyielding"));
  }
}

CAF_TEST(many replacements in one call let others run) {
  settings.max_instructions = 1'000'000'000;
  for (auto* replacement : {"'y'", "{x = 'y'}", "function() return 'y' end"}) {
    auto outcome = run(fmt::format("local s, n = (('x'):rep(100000)):gsub('x', "
                                   "{}) return {{#s, n}}",
                                   replacement));
    CAF_CHECK_EQUAL(outcome.result(), "[100000,100000]");
    CAF_CHECK(outcome.slices > 40);
  }
}

CAF_TEST(a replacement may wait for an answer) {
  auto code = R"lua(
    local one = ("a b c"):gsub("%a", function(c) return alc.llm(c) end)
    local two = ("x y"):gsub("%a", setmetatable({}, {
      __index = function(_, k) return alc.llm(k) end}))
    local list = {}
    for word in ("u v"):gmatch("%a") do list[#list + 1] = alc.llm(word) end
    local three = coroutine.wrap(function()
      return (("^z"):gsub("^^(.)", function(c)
        coroutine.yield("seen")
        return alc.llm(c)
      end))
    end)
    return {one, two, list, three(), three()}
  )lua";
  auto expected = R"lua(["A(a) A(b) A(c)","A(x) A(y)",["A(u)","A(v)"],)lua"
                  R"lua("seen","A(z)"])lua";
  CAF_CHECK_EQUAL(run(code).result(), expected);
  replays = true;
  CAF_CHECK_EQUAL(run(code).result(), expected);
}

CAF_TEST(replacements within each other take little room on the stack) {
  // As deep as the interpreter allows. Each level of that has a search.
  auto code = std::string{R"lua(
    local deepest = 0
    local function nest(n)
      deepest = n
      return (("x"):gsub("x?", function() return nest(n + 1) end))
    end
    local function fail(n)
      deepest = n
      return xpcall(string.find, function() return fail(n + 1) end, "x", "x%")
    end
    local ok, e = pcall(nest, 1)
    local nested = deepest
    fail(1)
    return {nested > 100, deepest > 20, e:find("stack overflow") ~= nil}
  )lua"};
  std::string result;
  auto body = [&] { result = run(code).result(); };
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 768 << 10);
  pthread_t thread;
  auto start = [](void* f) -> void* {
    (*static_cast<decltype(body)*>(f))();
    return nullptr;
  };
  CAF_REQUIRE_EQUAL(pthread_create(&thread, &attributes, start, &body), 0);
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
  CAF_CHECK_EQUAL(result, "[true,true,true]");
}

CAF_TEST(an error in a replacement ends the call) {
  CAF_CHECK_EQUAL(run(R"lua(
    local text = ("x"):rep(20000)
    local n = 0
    local ok, e = pcall(string.gsub, text, "x", function()
      n = n + 1
      if n == 15000 then error("no", 0) end
    end)
    return {ok, e, n, (text:gsub("x", "", 19999))}
  )lua")
                    .result(),
                  R"lua([false,"no",15000,"x"])lua");
}

CAF_TEST_FIXTURE_SCOPE_END()
