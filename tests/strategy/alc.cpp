// SPDX-License-Identifier: Apache-2.0

#define CAF_SUITE strategy.alc

#include "tests/support/script_runner.hpp"
#include "tests/support/suite.hpp"

#include "messages/json.hpp"

using namespace muster;
using namespace muster::test;

namespace {

struct fixture : script_runner {
  fixture() {
    settings.packages = {std::string{MUSTER_TEST_DIR} + "/strategies/packages"};
  }

  std::string result(const std::string& code) {
    auto outcome = run(code);
    return outcome.error().empty() ? outcome.result() : outcome.error();
  }

  bool fails_with(const std::string& code, const std::string& part) {
    auto outcome = run(code);
    if (outcome.error().find(part) != std::string::npos)
      return true;
    CAF_MESSAGE("got: " << outcome.error() << outcome.result());
    return false;
  }

  query asked(const std::string& code) {
    auto outcome = run(code);
    for (auto& event : outcome.events)
      if (auto* pause = std::get_if<paused_event>(&event.body))
        return pause->queries.at(0);
    CAF_FAIL("nothing was asked: " << outcome.error());
  }
};

} // namespace

CAF_TEST_FIXTURE_SCOPE(alc_tests, fixture)

// -- queries ------------------------------------------------------------------

CAF_TEST(a query has its options and defaults for what is of a wrong type) {
  auto q = asked("return alc.llm('p', {system = 's', max_tokens = 7, grounded "
                 "= true, underspecified = 1, temperature = 0.5, model = {}})");
  CAF_CHECK_EQUAL(q.prompt, "p");
  CAF_CHECK_EQUAL(*q.system, "s");
  CAF_CHECK_EQUAL(q.max_tokens, 7u);
  CAF_CHECK(q.grounded && q.underspecified);
  q = asked("return alc.llm('p', {system = 3, max_tokens = 'many', grounded = "
            "false})");
  CAF_CHECK(!q.system);
  CAF_CHECK_EQUAL(q.max_tokens, 1024u);
  CAF_CHECK(!q.grounded && !q.underspecified);
  for (auto* tokens : {"-1", "0", "1.5", "1e20", "{}", "5000000000"})
    CAF_CHECK_EQUAL(
      asked(std::string{"alc.llm('p', {max_tokens = "} + tokens + "})")
        .max_tokens,
      1024u);
  CAF_CHECK_EQUAL(asked("alc.llm('p', {max_tokens = '9'})").max_tokens, 9u);
  CAF_CHECK_EQUAL(asked("alc.llm(42)").prompt, "42");
}

CAF_TEST(a query that cannot be asked raises and can be caught) {
  CAF_CHECK(fails_with("alc.llm()", "bad argument #1 to 'llm'"));
  CAF_CHECK(fails_with("alc.llm({})", "bad argument #1 to 'llm'"));
  CAF_CHECK(fails_with("alc.llm('p', 3)", "bad argument #2 to 'llm'"));
  CAF_CHECK(fails_with("alc.llm('\\xff')", "not valid UTF-8"));
  CAF_CHECK(fails_with("alc.llm('x', {system = '\\xff'})", "not valid UTF-8"));
  CAF_CHECK_EQUAL(result("return (pcall(alc.llm))"), "false");
}

CAF_TEST(ids count up over all pauses) {
  auto outcome = run("alc.llm('a') alc.llm_batch({{prompt = 'b'}, {prompt = "
                     "'c'}}) return alc.llm('d')");
  std::vector<std::string> ids;
  for (auto& event : outcome.events)
    if (auto* pause = std::get_if<paused_event>(&event.body))
      for (auto& q : pause->queries)
        ids.push_back(q.id);
  CAF_CHECK_EQUAL(ids, (std::vector<std::string>{"q-0", "q-1", "q-2", "q-3"}));
}

CAF_TEST(a batch gives the answers in the order of its items) {
  CAF_CHECK_EQUAL(result("return alc.llm_batch({{prompt = 'a'}, {prompt = "
                         "'b'}})"),
                  R"x(["A(a)","A(b)"])x");
  CAF_CHECK(
    fails_with("alc.llm_batch({})", "alc.llm_batch: empty items array"));
  CAF_CHECK(
    fails_with("alc.llm_batch({{prompt = 'a'}, {}})", "item 2 has no prompt"));
  CAF_CHECK(fails_with("alc.llm_batch({'a'})", "item 1 is not a table"));
  CAF_CHECK(fails_with("alc.llm_batch()", "bad argument #1"));
}

CAF_TEST(parallel asks for all items at once) {
  CAF_CHECK_EQUAL(
    result("return alc.parallel({'x', 'y'}, function(v, i) return "
           "v .. i end)"),
    R"x(["A(x1)","A(y2)"])x");
  CAF_CHECK_EQUAL(
    result("return alc.parallel({'x'}, function() return {prompt = "
           "'t'} end, {post_fn = function(r, v, i) return v .. i "
           ".. r end})"),
    R"x(["x1A(t)"])x");
  CAF_CHECK_EQUAL(*asked("alc.parallel({1}, tostring, {system = 's'})").system,
                  "s");
  CAF_CHECK(!asked("alc.parallel({1}, function() return {prompt = 'p'} end, "
                   "{system = 's'})")
               .system);
  for (auto* items : {"{}", "3", "nil"})
    CAF_CHECK(fails_with(std::string{"alc.parallel("} + items + ", tostring)",
                         "alc.parallel: items must be a non-empty array"));
  CAF_CHECK(fails_with("alc.parallel({1}, 3)",
                       "alc.parallel: prompt_fn must be a function"));
  CAF_CHECK(fails_with("alc.parallel({1}, function() return 3 end)",
                       "alc.parallel: prompt_fn must return string or table, "
                       "got number at index 1"));
  CAF_CHECK(fails_with("alc.parallel({1}, function() return {} end)",
                       "alc.parallel: prompt_fn returned table without .prompt "
                       "at index 1"));
}

CAF_TEST(specify and ground mark a query and leave the options alone) {
  auto q = asked("alc.specify('p', {max_tokens = 3, underspecified = false})");
  CAF_CHECK(q.underspecified && !q.grounded);
  CAF_CHECK_EQUAL(q.max_tokens, 3u);
  CAF_CHECK(asked("alc.ground('p')").grounded);
  CAF_CHECK_EQUAL(result("local o = {} alc.specify('p', o) return "
                         "o.underspecified"),
                  "null");
}

// -- budget -------------------------------------------------------------------

CAF_TEST(a budget counts calls and tokens and time) {
  ctx = R"x({"budget":{"max_llm_calls":2}})x";
  CAF_CHECK_EQUAL(result("alc.llm('a') alc.llm('b') return "
                         "{pcall(alc.llm, 'c')}"),
                  "[false,\"budget_exceeded: max_llm_calls (2) reached (2 "
                  "used)\"]");
  // One look for a whole batch, which may go beyond.
  CAF_CHECK_EQUAL(result("alc.llm('a') return #alc.llm_batch({{prompt = 'b'}, "
                         "{prompt = 'c'}})"),
                  "2");
  ctx = R"x({"budget":{"max_tokens":5}})x";
  CAF_CHECK(fails_with("alc.llm('hello world') alc.llm('b')",
                       "budget_exceeded: max_tokens (5) reached ("));
  ctx = R"x({"budget":{"max_elapsed_ms":50}})x";
  wall_step = 30;
  CAF_CHECK(fails_with("for i = 1, 9 do alc.llm('a') end",
                       "budget_exceeded: max_elapsed_ms (50ms) reached ("));
}

CAF_TEST(what is left of a budget is told) {
  CAF_CHECK_EQUAL(result("return {alc.budget_remaining() == nil, "
                         "alc.budget_check()}"),
                  "[true,true]");
  ctx = R"x({"budget":{"max_llm_calls":1,"max_tokens":100}})x";
  CAF_CHECK_EQUAL(result("local a = alc.budget_remaining() local b = "
                         "alc.budget_check() alc.llm('12345678') return {a, b, "
                         "alc.budget_remaining(), alc.budget_check()}"),
                  R"x([{"llm_calls":1,"tokens":100},true,)x"
                  R"x({"llm_calls":0,"tokens":95},false])x");
  // What is no limit sets none.
  for (auto* none :
       {"{}", R"({"max_llm_calls":-1})", R"({"max_llm_calls":1.5})",
        R"x({"max_llm_calls":"2"})x", "3", "null"}) {
    ctx = std::string{R"x({"budget":)x"} + none + "}";
    CAF_CHECK_EQUAL(result("return alc.budget_remaining()"), "null");
  }
}

// -- JSON ---------------------------------------------------------------------

CAF_TEST(values are written as JSON in one way only) {
  CAF_CHECK_EQUAL(result("return alc.json_encode({b = 1, a = {1, 2.0, 'x', "
                         "true}, [\"c d\"] = {}})"),
                  json(R"x({"a":[1,2.0,"x",true],"b":1,"c d":{}})x").dump());
  CAF_CHECK_EQUAL(result("return alc.json_encode(nil)"), "\"null\"");
  CAF_CHECK_EQUAL(result("return alc.json_encode(0/0) .. "
                         "alc.json_encode(1/0)"),
                  "\"nullnull\"");
  CAF_CHECK_EQUAL(result("return alc.json_encode(1e100)"), "\"1e+100\"");
  CAF_CHECK_EQUAL(result("return alc.json_encode(math.mininteger)"),
                  "\"-9223372036854775808\"");
  CAF_CHECK(fails_with("alc.json_encode(print)", "unsupported value type"));
  CAF_CHECK(fails_with("local t = {} t.a = {t} alc.json_encode(t)",
                       "recursive table detected at $.a[1]"));
  CAF_CHECK(
    fails_with("alc.json_encode({[true] = 1})", "object keys must be strings"));
  CAF_CHECK(fails_with("alc.json_encode('\\xff')", "not valid UTF-8"));
  // Of many faults each run names the same: its text may get into a prompt.
  for (int i = 0; i < 20; ++i) {
    CAF_CHECK(fails_with("alc.json_encode({dd = print, cc = print, bb = print, "
                         "aa = 1, ee = coroutine.create(print)})",
                         "unsupported value type 'function' at $.bb"));
    CAF_CHECK(fails_with("alc.json_encode({[print] = 1, [1.5] = 1, a = print, "
                         "[true] = 1})",
                         "object keys must be strings, not booleans"));
  }
  CAF_CHECK(fails_with("local t = {} for i = 1, 200 do t = {t} end "
                       "alc.json_encode(t)",
                       "nested too deeply"));
  // The same table twice is no cycle.
  CAF_CHECK_EQUAL(result("local t = {} return {t, t}"), "[{},{}]");
}

CAF_TEST(JSON is read and written back as it was) {
  for (auto* text : {R"([])", R"({})", R"({"a":[],"b":{}})", R"([1,2.5,"x"])",
                     R"([null,1])", R"({"n":null})", R"(-7)", R"("text")",
                     R"(true)", R"([[[]]])", R"(1.0)"})
    CAF_CHECK_EQUAL(
      json::parse(result(std::string{"return alc.json_encode(alc.json_decode('"}
                         + text + "'))")),
      text);
  CAF_CHECK_EQUAL(result("return alc.json_decode('null') == nil"), "true");
  CAF_CHECK_EQUAL(result("return {math.type(alc.json_decode('1')), "
                         "math.type(alc.json_decode('1.0')), "
                         "math.type(alc.json_decode('18446744073709551615'))}"),
                  R"x(["integer","float","float"])x");
  for (auto* text : {"", "{", "[1,]", "nope", "1 2", "{\"a\":1e999}"})
    CAF_CHECK(fails_with(std::string{"alc.json_decode('"} + text + "')",
                         "alc.json_decode:"));
  CAF_CHECK(fails_with("alc.json_decode(('['):rep(1000) .. (']'):rep(1000))",
                       "nested too deeply"));
}

CAF_TEST(a result that is no JSON fails the session with the place) {
  for (auto& [code, part] : std::vector<std::pair<const char*, const char*>>{
         {"return print", "unsupported value type 'function'"},
         {"return {a = {1, coroutine.create(print)}}", "at $.a[2]"},
         {"local t = {} t.t = t return t", "recursive table detected at $.t"},
         {"return 0/0", "NaN"},
         {"return {x = 1/0}", "infinity is not a JSON number at $.x"},
         {"return '\\xff'", "not valid UTF-8"},
         {"return {[1.5] = 1}", "object keys must be strings"}}) {
    auto outcome = run(code);
    CAF_CHECK_EQUAL(outcome.error_kind(), failure_kind::lua_error);
    CAF_CHECK_EQUAL(outcome.error().find("the result is not JSON: "), 0u);
    if (outcome.error().find(part) == std::string::npos)
      CAF_FAIL(code << " gave " << outcome.error());
  }
  CAF_CHECK_EQUAL(result(""), "null");
  CAF_CHECK_EQUAL(result("return"), "null");
  CAF_CHECK_EQUAL(result("return 1, print"), "1");
}

CAF_TEST(ctx is what the caller gave) {
  ctx = R"x({"task":"t","list":[],"deep":{"n":null}})x";
  CAF_CHECK_EQUAL(result("return ctx"), json::parse(ctx).dump());
  CAF_CHECK_EQUAL(result("return {type(ctx.deep.n), ctx.deep.n == nil, "
                         "tostring(ctx.deep.n)}"),
                  R"x(["userdata",false,"null"])x");
  ctx = "{}";
  CAF_CHECK_EQUAL(result("return ctx.task == nil"), "true");
}

// -- state --------------------------------------------------------------------

CAF_TEST(state is read and written and only written values are kept) {
  state = {{"old", "[1]"}};
  auto outcome = run(R"lua(
    local out = {alc.state.get("old"), alc.state.get("none", "default")}
    alc.state.set("new", {a = 1})
    out[3] = alc.state.get("new")
    out[4] = alc.state.has("new")
    out[5] = alc.state.delete("old")
    out[6] = alc.state.delete("old")
    out[7] = alc.state.has("old")
    out[8] = alc.state.keys()
    alc.state.set("null", nil)
    out[9] = alc.state.has("null")
    out[10] = alc.state.get("null", "default") == "default"
    return out
  )lua");
  CAF_CHECK_EQUAL(outcome.error(), "");
  CAF_CHECK_EQUAL(outcome.result(),
                  R"x([[1],"default",{"a":1},true,true,false,false,["new"],)x"
                  R"x(true,false])x");
  CAF_CHECK_EQUAL(outcome.state.size(), 2u);
  CAF_CHECK_EQUAL(outcome.state["new"], R"x({"a":1})x");
  CAF_CHECK_EQUAL(outcome.state["null"], "null");
}

CAF_TEST(counters and first writers) {
  CAF_CHECK_EQUAL(result(R"lua(
    return {alc.state.incr("n"), alc.state.incr("n", 2.5),
            alc.state.incr("m", 10, 100), alc.state.set_nx("k", "a"),
            alc.state.set_nx("k", "b"), alc.state.get("k"),
            alc.state.update("u", function(v) return v .. "!" end, "x"),
            alc.state.get("u")}
  )lua"),
                  R"x([1.0,3.5,110.0,true,false,"a","x!","x!"])x");
  state = {{"text", "\"t\""}};
  CAF_CHECK(fails_with("alc.state.incr('text')",
                       "incr: value at 'text' is not a number"));
  state = {{"max", "1.7e308"}};
  for (auto* sum :
       {"'n', math.huge", "'n', 0/0", "'n', 1, -math.huge", "'max', 1.7e308"}) {
    auto outcome = run(std::string{"alc.state.incr("} + sum + ")");
    CAF_CHECK(outcome.error().find("is not a finite number")
              != std::string::npos);
    CAF_CHECK_EQUAL(outcome.state, state);
  }
}

CAF_TEST(a namespace that could be a path is refused at first use) {
  for (auto* space : {"", "a/b", "a\\\\b", "..", "a..b", "x\\u0000y"}) {
    ctx = std::string{R"x({"_ns":")x"} + space + "\"}";
    CAF_CHECK(fails_with("alc.state.get('k')", "Invalid namespace: '"));
  }
  ctx = R"x({"_ns":7})x"; // no text: the default
  CAF_CHECK_EQUAL(result("return alc.state.get('k', 'd')"), "\"d\"");
}

CAF_TEST(state that is no JSON or has no key raises) {
  CAF_CHECK(fails_with("alc.state.set('k', print)", "unsupported value type"));
  CAF_CHECK(fails_with("alc.state.set('k')", "bad argument #2"));
  CAF_CHECK(fails_with("alc.state.get()", "bad argument #1"));
  CAF_CHECK(fails_with("alc.state.get('a\\0b')", "cannot contain a NUL"));
}

// -- the rest -----------------------------------------------------------------

CAF_TEST(scores are found in texts) {
  CAF_CHECK_EQUAL(result("local s = alc.parse_score return {s('7.9'), s('-3'), "
                         "s('0'), s('99999999999999999999'), s('none'), "
                         "s('none', 2), s(8), s('a 4 b 9')}"),
                  "[7,3,1,10,5,2,8,4]");
}

CAF_TEST(progress and statistics and time) {
  auto outcome = run("alc.progress(1, 3) alc.stats.record('k', {1}) "
                     "alc.stats.record('k', {2}) local a = alc.llm('q') return "
                     "{alc.stats.get('k'), alc.stats.get('x') == nil, "
                     "alc.stats.llm_calls(), alc.time() > 1.6e9}");
  CAF_CHECK_EQUAL(outcome.result(), "[[2],true,1,true]");
  for (auto& event : outcome.events)
    if (auto* pause = std::get_if<paused_event>(&event.body)) {
      CAF_CHECK_EQUAL(pause->stats, R"x({"k":[2]})x");
      CAF_CHECK_EQUAL(json::parse(pause->progress)["total"], 3);
    }
  CAF_CHECK(fails_with("alc.progress(-1, 3)", "must not be negative"));
  CAF_CHECK(fails_with("alc.progress(1.5, 3)", "bad argument #1"));
  CAF_CHECK(
    fails_with("alc.stats.record('k', print)", "unsupported value type"));
  CAF_CHECK(fails_with("alc.log(nil, 'x')", "bad argument #1 to 'log'"));
  CAF_CHECK(fails_with("alc.log('info')", "bad argument #2 to 'log'"));
}

CAF_TEST(alc is an ordinary table) {
  CAF_CHECK_EQUAL(result("alc.mine = 1 alc.llm = function(p) return p end "
                         "return {alc.mine, alc.llm('p'), alc.specify('s')}"),
                  R"x([1,"p","s"])x");
  CAF_CHECK_EQUAL(result("return type(alc.hash) .. type(alc._dirs)"),
                  "\"nilnil\"");
}

// -- packages -----------------------------------------------------------------

CAF_TEST(a package gives advice) {
  ctx = R"x({"task":"you"})x";
  auto outcome = advise("kit");
  CAF_CHECK_EQUAL(outcome.error(), "");
  CAF_CHECK_EQUAL(json::parse(outcome.result())["result"],
                  "A(while loading), you");
  CAF_CHECK_EQUAL(advise("nothing").error().find("module 'nothing' not found")
                    != std::string::npos,
                  true);
  CAF_CHECK_EQUAL(advise("alc_shapes").error(),
                  "package 'alc_shapes' has no function run(ctx)");
}

CAF_TEST(a module is loaded once and from the first folder that has it) {
  CAF_CHECK_EQUAL(result("return require('kit') == require('kit')"), "true");
  CAF_CHECK_EQUAL(result("return require('kit.deep')"),
                  "\"kit.deep from kit/deep.lua at some time\"");
  CAF_CHECK(fails_with("require('kit.broken')",
                       "error loading module 'kit.broken' from file "
                       "'kit/broken.lua'"));
  CAF_CHECK(fails_with("require('no.such')", "module 'no.such' not found"));
  for (auto* name : {"../strategies", "/etc/passwd", "..", ".", "a..b", ""})
    CAF_CHECK(fails_with(std::string{"require('"} + name + "')", "not found"));
  CAF_CHECK_EQUAL(result("package.preload.mine = function(n) return n .. '!' "
                         "end return require('mine')"),
                  "\"mine!\"");
}

CAF_TEST(a file that is there and cannot be read does not fall through) {
  settings.max_source_bytes = 10;
  CAF_CHECK(fails_with("require('kit')", "cannot be read: "
                                         "strategy.max-source"));
}

CAF_TEST(shapes describe and check values) {
  CAF_CHECK_EQUAL(
    result(R"lua(
    local S = require("alc_shapes")
    local T = S.T
    local person = T.shape({
      name = T.string:describe("what to call them"),
      age = T.number:is_optional(),
      tags = T.array_of(T.one_of({"a", "b"})):is_optional(),
      more = T.map_of(T.string, T.any):is_optional()})
    local function why(v, s) return (select(2, S.check(v, s))) or "fine" end
    return {
      why({name = "x"}, person), why({name = 1}, person),
      why({name = "x", extra = 1}, person),
      why({name = "x", tags = {"a", "c"}}, person),
      why({name = "x", more = {k = 1, [2] = 3}}, person), why(3, person),
      why({kind = "cat", lives = 9}, T.discriminated("kind", {
        cat = T.shape({kind = T.string, lives = T.number})})),
      why({kind = "dog"}, T.discriminated("kind", {cat = T.any})),
      why({a = 1, b = 2}, T.shape({a = T.number}, {open = true})),
      why(1, T.ref("nobody")),
    }
  )lua"),
    R"x(["fine","shape violation at $.name: expected string, got )x"
    R"x(number","shape violation at $.extra: unexpected field",)x"
    R"x("shape violation at $.tags[2]: 'c' is none of the allowed )x"
    R"x(values","shape violation at $.more.2: expected string, got )x"
    R"x(number","shape violation at $: expected table, got )x"
    R"x(number","fine","shape violation at $.kind: 'dog' names no )x"
    R"x(variant","fine","shape violation at $: there is no shape )x"
    R"x(named 'nobody'"])x");
}

CAF_TEST(instrument looks at the declaration of a package) {
  CAF_CHECK_EQUAL(
    result(R"lua(
    local S = require("alc_shapes")
    local M = {meta = {name = "m"}, run = function(ctx) return ctx end}
    M.run = S.instrument(M, "run", {input = S.T.any})
    local function why(...) return (select(2, pcall(S.instrument, ...))) end
    return {M.run(7), why({}, "run"), why({meta = {name = "m"}}, "run"),
            why(M, "run", {input = 1, args = 1}),
            (select(2, pcall(S.assert, 1, S.T.string, "m.run:input")))}
  )lua"),
    R"x([7,"S.instrument: the package needs a meta.name",)x"
    R"x("S.instrument: package 'm' has no function 'run'",)x"
    R"x("S.instrument: 'm.run' declares both input and args",)x"
    R"x("shape violation at $: expected string, got number (ctx: )x"
    R"x(m.run:input)"])x");
}

CAF_TEST_FIXTURE_SCOPE_END()
