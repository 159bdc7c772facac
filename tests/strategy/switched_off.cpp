// SPDX-License-Identifier: Apache-2.0

// For everything that could make two runs of a script differ: a script that is
// the same in every replay, and that is not if the one thing is switched off
// that keeps it so.

#define CAF_SUITE strategy.switched_off

#include "tests/strategy/switches.hpp"
#include "tests/support/script_runner.hpp"
#include "tests/support/suite.hpp"

#include "actors/strategy/machine.hpp"
#include "actors/strategy/values.hpp"

#include <algorithm>
#include <clocale>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

using namespace muster;
using namespace muster::test;

namespace {

/// Changes a machine, given its number in a run; the first one is 0.
using change = std::function<void(lua_State*, int)>;

change stock(std::initializer_list<std::string_view> names) {
  return [names = std::vector<std::string_view>(names)](lua_State* lua, int) {
    for (auto name : names)
      put_back(lua, {name});
  };
}

/// A clock that no history knows: the same time is never read twice.
int unrecorded_clock(lua_State* lua) {
  static lua_Integer time = 0;
  lua_pushinteger(lua, ++time);
  return 1;
}

struct fixture : script_runner {
  /// A folder of this test alone.
  std::filesystem::path folder;

  fixture() {
    auto name = std::filesystem::temp_directory_path() / "muster-XXXXXX";
    auto text = name.string();
    CAF_REQUIRE(mkdtemp(text.data()) != nullptr);
    folder = text;
    replays = true;
  }

  ~fixture() {
    std::error_code unused;
    std::filesystem::remove_all(folder, unused);
  }

  void write(const std::string& file, const std::string& text) const {
    std::ofstream{folder / file} << text;
  }

  script_outcome run_changed(const std::string& code, const change& off) {
    int machines = 0;
    changed_machines changed{[&](lua_State* lua) { off(lua, machines++); }};
    return run(code);
  }

  /// As it is, the script asks and comes to its end.
  void is_steady(const std::string& code) {
    auto outcome = run(code);
    CAF_CHECK_EQUAL(outcome.error(), "");
    CAF_CHECK(!outcome.prompts().empty());
  }

  /// A replay in machines that are changed does something else. Where an
  /// address or a seed decides, two machines can agree by chance.
  void diverges(const std::string& code, const change& off) {
    constexpr int max_runs = 30;
    auto outcome = run_changed(code, off);
    for (int i = 1; i < max_runs && outcome.error().empty(); ++i)
      outcome = run_changed(code, off);
    CAF_CHECK(outcome.error().find("did something else") != std::string::npos);
    if (!outcome.error().empty())
      CAF_CHECK_EQUAL(outcome.error_kind(), failure_kind::replay_diverged);
  }

  void differs_only_without(const std::string& code, const change& off) {
    CAF_MESSAGE(code);
    is_steady(code);
    diverges(code, off);
  }
};

} // namespace

CAF_TEST_FIXTURE_SCOPE(switched_off_tests, fixture)

// -- tables -------------------------------------------------------------------

CAF_TEST(the order of keys is another in every machine) {
  differs_only_without(R"lua(
    local t, order = {}, {}
    for i = 1, 60 do t["key " .. i] = i end
    for key in pairs(t) do order[#order + 1] = key end
    return alc.llm(table.concat(order, " "))
  )lua",
                       stock({"pairs"}));
  differs_only_without(R"lua(
    local t, order, key = {}, {}, nil
    for i = 1, 60 do t["key " .. i] = i end
    repeat
      key = next(t, key)
      order[#order + 1] = key
    until key == nil
    return alc.llm(table.concat(order, " "))
  )lua",
                       stock({"next"}));
}

CAF_TEST(a sort compares as a clock has it) {
  // The three elements that stock Lua looks at first are the smallest: it then
  // begins to roll dice, with a clock.
  auto code = R"lua(
    local list, calls = {}, 0
    for i = 1, 6000 do list[i] = (i * 7919) % 6007 end
    list[1], list[1500], list[6000] = -3, -2, -1
    table.sort(list, function(a, b) calls = calls + 1 return a < b end)
    return alc.llm(calls .. " comparisons")
  )lua";
  differs_only_without(code, stock({"table.sort"}));
}

CAF_TEST(a comparator cannot wait) {
  auto code = R"lua(
    local list = {2, 1}
    table.sort(list, function(a, b) return a < b and alc.llm("sure?") ~= "" end)
    return list
  )lua";
  CAF_CHECK_EQUAL(run(code).result(), "[1,2]");
  auto outcome = run_changed(code, stock({"table.sort"}));
  CAF_CHECK(outcome.error().find("alc.llm cannot be called here")
            != std::string::npos);
}

CAF_TEST(the length of a table with holes may be another and is noticed) {
  // There is nothing to switch off: which border of a table is its length is
  // left to the interpreter. Here it is another one, as if by other hashes.
  auto code = R"lua(
    local t = setmetatable({1, nil, 3}, {})
    return alc.llm("length " .. #t)
  )lua";
  is_steady(code);
  diverges(code, [](lua_State* lua, int machine) {
    put(lua, "setmetatable", [](lua_State* l) {
      lua_settop(l, 1);
      return 1;
    });
    if (machine > 0)
      put(lua, "setmetatable", [](lua_State* l) {
        lua_settop(l, 1);
        lua_pushnil(l);
        lua_rawseti(l, 1, 3);
        return 1;
      });
  });
}

// -- values -------------------------------------------------------------------

CAF_TEST(addresses are others in every machine) {
  differs_only_without("local t = {} return alc.llm(tostring(t))",
                       stock({"tostring"}));
  differs_only_without("local t = {} return alc.llm(('%s'):format(t))",
                       stock({"string.format"}));
  differs_only_without(
    "local ok, caught = pcall(error, {}) return alc.llm(tostring(caught))",
    stock({"tostring"}));
  differs_only_without(
    "local t = {} return alc.llm(select(2, pcall(string.format, '%p', t)))",
    stock({"string.format"}));
}

CAF_TEST(names in error texts come from a table without order) {
  // One function under many names; which of them an error tells is decided by
  // the order of the globals.
  auto code = R"lua(
    if tell_names then tell_names() end
    for i = 1, 60 do _G["alias" .. i] = string.rep end
    return alc.llm(select(2, pcall(string.rep)))
  )lua";
  differs_only_without(code, [](lua_State* lua, int) {
    put(lua, "tell_names", [](lua_State* l) {
      lua_newtable(l);
      lua_pushglobaltable(l);
      lua_setfield(l, -2, LUA_GNAME);
      lua_setfield(l, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
      return 0;
    });
  });
}

CAF_TEST(the last bit of a sine is another in another library) {
  auto code = "return alc.llm(('%.17g'):format(math.sin(1)))";
  is_steady(code);
  diverges(code, [](lua_State* lua, int machine) {
    if (machine > 0)
      put(lua, "math.sin", [](lua_State* l) {
        lua_pushnumber(l, std::nextafter(std::sin(luaL_checknumber(l, 1)), 2));
        return 1;
      });
  });
}

CAF_TEST(random numbers begin at an address and a clock) {
  differs_only_without("return alc.llm(tostring(math.random(1 << 40)))",
                       stock({"math.random"}));
  differs_only_without("math.randomseed() "
                       "return alc.llm(tostring(math.random(1 << 40)))",
                       [](lua_State* lua, int) {
                         luaL_dostring(lua, "seeded = math.randomseed");
                         luaopen_math(lua);
                         lua_setglobal(lua, "math");
                       });
}

// -- memory -------------------------------------------------------------------

namespace {

/// Lets machines collect garbage at other times: all the time, or never.
void collect_by_turns(lua_State* lua, int machine) {
  if (machine % 2 == 0) {
    lua_gc(lua, LUA_GCSTOP);
  } else {
    lua_gc(lua, LUA_GCINC, 1, 1'000, 30);
    lua_gc(lua, LUA_GCCOLLECT);
  }
}

const char* weak_values = R"lua(
  local weak = {}
  pcall(setmetatable, weak, {__mode = "v"})
  weak[1] = {}
  for i = 1, 100 do local garbage = {i} end
  return alc.llm(weak[1] and "kept" or "collected")
)lua";

const char* finalisers = R"lua(
  local finalised = 0
  pcall(setmetatable, {}, {__gc = function() finalised = finalised + 1 end})
  for i = 1, 100 do local garbage = {i} end
  return alc.llm(finalised .. " finalised")
)lua";

const char* memory_counts = R"lua(
  for i = 1, 100 do local garbage = {i} end
  return alc.llm(collectgarbage("count") .. " KiB")
)lua";

} // namespace

CAF_TEST(when garbage is collected is nowhere promised) {
  using row = std::pair<const char*, const char*>;
  for (auto [code, name] :
       {row{weak_values, "setmetatable"}, row{finalisers, "setmetatable"},
        row{memory_counts, "collectgarbage"}}) {
    CAF_MESSAGE(code);
    auto steady = run_changed(code, collect_by_turns);
    CAF_CHECK_EQUAL(steady.error(), "");
    diverges(code, [name = name](lua_State* lua, int machine) {
      put_back(lua, {name});
      collect_by_turns(lua, machine);
    });
  }
}

CAF_TEST(a table that becomes weak later is left to the digest) {
  // `setmetatable` cannot know what is written into a metatable afterwards.
  diverges(R"lua(
    local mt = {}
    local weak = setmetatable({}, mt)
    mt.__mode = "v"
    weak[1] = {}
    for i = 1, 100 do local garbage = {i} end
    return alc.llm(weak[1] and "kept" or "collected")
  )lua",
           collect_by_turns);
}

CAF_TEST(a limit that is caught is not hit by a replay) {
  settings.max_memory_bytes = 4 << 20;
  using row = std::pair<const char*, const char*>;
  for (auto [code, name] :
       {row{"local ok = pcall(string.rep, 'x', 8 << 20) "
            "return alc.llm(tostring(ok))",
            "pcall"},
        row{"local ok = xpcall(string.rep, print, 'x', 8 << 20) "
            "return alc.llm(tostring(ok))",
            "xpcall"},
        row{"local co = coroutine.create(string.rep) "
            "return alc.llm(tostring(coroutine.resume(co, 'x', 8 << 20)))",
            "coroutine.resume"}}) {
    CAF_MESSAGE(code);
    auto outcome = run(code);
    CAF_CHECK_EQUAL(outcome.error_kind(), failure_kind::limit_exceeded);
    CAF_CHECK(outcome.prompts().empty());
    diverges(code, stock({name}));
  }
}

CAF_TEST(a replay that minds limits breaks one that the first run had not ) {
  auto code = "for i = 1, 50000 do end return alc.llm('q')";
  before_replay = [&] { settings.max_instructions = 10'000; };
  auto enough = settings.max_instructions;
  is_steady(code);
  settings.max_instructions = enough;
  auto outcome = run_changed(
    code, [](lua_State* lua, int) { machine::of(lua).go_live(); });
  CAF_CHECK(outcome.error().find("strategy.max-instructions")
            != std::string::npos);
}

// -- turns --------------------------------------------------------------------

namespace {

const char* long_coroutine = R"lua(
  local co = coroutine.create(function() for i = 1, 50000 do end end)
  local turns = 0
  while coroutine.status(co) ~= "dead" do
    coroutine.resume(co)
    turns = turns + 1
  end
  return alc.llm(turns .. " turns")
)lua";

const char* long_wrap = R"lua(
  local f = coroutine.wrap(function() for i = 1, 50000 do end return "end" end)
  local got = f()
  return alc.llm("got " .. tostring(got))
)lua";

} // namespace

CAF_TEST(the end of a slice looks like a yield) {
  before_replay = [&] { settings.slice_instructions = 3'000; };
  differs_only_without(long_coroutine, [&](lua_State* lua, int machine) {
    settings.slice_instructions = machine == 0 ? 10'000 : 3'000;
    put_back(lua, {"coroutine.resume"});
  });
  is_steady(long_wrap);
  auto outcome = run_changed(long_wrap, stock({"coroutine.wrap"}));
  auto prompts = outcome.prompts();
  CAF_REQUIRE_EQUAL(prompts.size(), 1u);
  CAF_CHECK_EQUAL(prompts[0], "got nil");
}

CAF_TEST(a query in a coroutine goes to whoever resumed it) {
  using row = std::pair<const char*, const char*>;
  for (auto [code, name] :
       {row{"return select(2, coroutine.resume(coroutine.create(alc.llm), "
            "'q'))",
            "coroutine.resume"},
        row{"return coroutine.wrap(alc.llm)('q')", "coroutine.wrap"}}) {
    CAF_CHECK_EQUAL(run(code).result(), "\"A(q)\"");
    auto outcome = run_changed(code, stock({name}));
    CAF_CHECK(outcome.prompts().empty());
    CAF_CHECK_NOT_EQUAL(outcome.result(), "\"A(q)\"");
  }
}

CAF_TEST(a query where nothing can wait is asked at the next yield) {
  auto code = R"lua(
    local text = setmetatable({}, {__tostring = function()
      return alc.llm("never asked")
    end})
    local ok = pcall(tostring, text)
    local f = coroutine.wrap(function() coroutine.yield(1) return 2 end)
    return {ok, f(), f()}
  )lua";
  auto outcome = run(code);
  CAF_CHECK_EQUAL(outcome.result(), "[false,1,2]");
  CAF_CHECK(outcome.prompts().empty());
  auto unchecked = run_changed(code, [](lua_State* lua, int) {
    put(lua, "alc.llm", [](lua_State* l) {
      machine_asks wish;
      wish.queries.emplace_back();
      wish.queries.back().prompt = luaL_checkstring(l, 1);
      return machine::of(l).suspend(
        l, std::move(wish), [](lua_State*, int, lua_KContext) { return 0; });
    });
  });
  CAF_CHECK_EQUAL(unchecked.prompts().size(), 1u);
  CAF_CHECK_NOT_EQUAL(unchecked.result(), "[false,1,2]");
}

CAF_TEST(a loop in C is not counted) {
  using row = std::pair<const char*, const char*>;
  for (auto [code, name] :
       {row{"table.move({}, 1, 1000000, 2)", "table.move"},
        row{"table.insert(setmetatable({}, {__len = function() return 1000000 "
            "end}), 1, 1)",
            "table.insert"},
        row{"table.remove(setmetatable({}, {__len = function() return 1000000 "
            "end}), 1)",
            "table.remove"},
        row{"local s = ('a'):rep(19) "
            "s:find(('a?'):rep(19) .. ('a'):rep(19) .. 'b')",
            "string.find"},
        row{"local s = ('a'):rep(19) "
            "s:match(('a?'):rep(19) .. ('a'):rep(19) .. 'b')",
            "string.match"},
        row{"local s = ('a'):rep(19) "
            "s:gmatch(('a?'):rep(19) .. ('a'):rep(19) .. 'b')()",
            "string.gmatch"},
        row{"local s = ('a'):rep(19) "
            "s:gsub(('a?'):rep(19) .. ('a'):rep(19) .. 'b', '')",
            "string.gsub"}}) {
    CAF_MESSAGE(code);
    settings = {};
    auto goes_on = std::string{code} + " for i = 1, 2000 do end";
    CAF_CHECK(run(goes_on).slices > 0);
    CAF_CHECK_EQUAL(run_changed(goes_on, stock({name})).slices, 0u);
    settings.max_instructions = 200'000;
    CAF_CHECK(run(code).error().starts_with("strategy.max-instructions"));
    CAF_CHECK_EQUAL(run_changed(code, stock({name})).error(), "");
  }
}

CAF_TEST(a loop in C has no bound) {
  // A little more than what is allowed: none of it stops by itself.
  using row = std::pair<const char*, const char*>;
  for (auto [code, name] :
       {row{"return select(2, pcall(table.move, {}, 1, 10000001, 2))",
            "table.move"},
        row{"return select(2, pcall(table.remove, setmetatable({}, {__len = "
            "function() return 10000002 end}), 1))",
            "table.remove"}}) {
    CAF_CHECK(run(code).result().find("too many elements")
              != std::string::npos);
    CAF_CHECK(run_changed(code, stock({name})).result().find("too many")
              == std::string::npos);
  }
}

// -- what is outside ----------------------------------------------------------

CAF_TEST(a clock that is not recorded has moved on) {
  using row = std::pair<const char*, const char*>;
  for (auto [code, name] :
       {row{"return alc.llm('at ' .. os.time())", "os.time"},
        row{"return alc.llm('at ' .. os.clock())", "os.clock"},
        row{"return alc.llm('at ' .. os.date())", "os.date"},
        row{"return alc.llm('at ' .. alc.time())", "alc.time"}})
    differs_only_without(code, [name = name](lua_State* lua, int) {
      put(lua, name, unrecorded_clock);
    });
  // The interpreter's own.
  differs_only_without("return alc.llm('at ' .. os.clock())",
                       stock({"os.clock"}));
}

CAF_TEST(a decision about a budget that is not recorded is another) {
  ctx = R"({"budget":{"max_elapsed_ms":1000}})";
  before_replay = [&] { wall_ms += 60'000; };
  auto code = R"lua(
    if not alc.budget_check() then return "no time left" end
    local answer = alc.llm("first")
    return answer
  )lua";
  is_steady(code);
  diverges(code, [](lua_State* lua, int machine) {
    // As if the time were looked at anew.
    if (machine > 0)
      put(lua, "alc.budget_check", [](lua_State* l) {
        lua_pushboolean(l, 0);
        return 1;
      });
  });
}

CAF_TEST(a read of the shared state that is not recorded is another) {
  differs_only_without(
    "return alc.llm('state ' .. alc.state.get('key', 0))",
    [](lua_State* lua, int) { put(lua, "alc.state.get", unrecorded_clock); });
}

CAF_TEST(the environment is another) {
  auto set_zone = [](const char* zone) {
    setenv("TZ", zone, 1);
    tzset();
  };
  before_replay = [&] { set_zone("XYZ-7"); };
  using row = std::pair<const char*, const char*>;
  for (auto [code, name] :
       {row{"return alc.llm(tostring(os.getenv('TZ')))", "os.getenv"},
        row{"return alc.llm(os.date('%H', 0))", "os.date"},
        row{"return alc.llm(tostring(os.time({year = 2000, month = 1, day = "
            "1})))",
            "os.time"}}) {
    set_zone("UTC0");
    is_steady(code);
    set_zone("UTC0");
    diverges(code, stock({name}));
  }
  set_zone("UTC0");
}

CAF_TEST(files are what the last run made of them) {
  auto quoted = [&](const std::string& file) {
    return "'" + (folder / file).string() + "'";
  };
  write("one", "");
  differs_only_without("return alc.llm(tostring(os.remove and os.remove("
                         + quoted("one") + ")))",
                       stock({"os.remove"}));
  write("two", "");
  differs_only_without("return alc.llm(tostring(os.rename and os.rename("
                         + quoted("two") + ", " + quoted("three") + ")))",
                       stock({"os.rename"}));
  differs_only_without("return alc.llm(tostring(os.execute and os.execute("
                       "\"mkdir "
                         + quoted("four") + " 2>&-\")))",
                       stock({"os.execute"}));
  differs_only_without(
    "local name = os.tmpname and os.tmpname() or 'none' "
    "if name ~= 'none' then os.remove(name) end return alc.llm(name)",
    stock({"os.tmpname", "os.remove"}));
}

CAF_TEST(a script changes the language of the whole process) {
  auto code = "return os.setlocale and os.setlocale('C.UTF-8', 'ctype')";
  std::string before = std::setlocale(LC_CTYPE, nullptr);
  CAF_REQUIRE_NOT_EQUAL(before, "C.UTF-8");
  CAF_CHECK_EQUAL(run(code).result(), "null");
  CAF_CHECK_EQUAL(std::string{std::setlocale(LC_CTYPE, nullptr)}, before);
  CAF_CHECK_EQUAL(run_changed(code, stock({"os.setlocale"})).result(),
                  "\"C.UTF-8\"");
  CAF_CHECK_EQUAL(std::string{std::setlocale(LC_CTYPE, nullptr)}, "C.UTF-8");
  std::setlocale(LC_CTYPE, before.c_str());
}

CAF_TEST(a module is what its file is now) {
  settings.packages = {folder.string()};
  auto code = "local kit = require('kit') return alc.llm(kit)";
  write("kit.lua", "return 'as it was'");
  before_replay = [&] { write("kit.lua", "return 'as it is'"); };
  is_steady(code);
  write("kit.lua", "return 'as it was'");
  auto path = (folder / "?.lua").string();
  diverges(code, [&](lua_State* lua, int) {
    // Stock `require`, which is in no library.
    luaopen_package(lua);
    lua_pushlstring(lua, path.data(), path.size());
    lua_setfield(lua, -2, "path");
    lua_pop(lua, 1);
  });
}

CAF_TEST(answers are handed over in the order in which they came) {
  auto past
    = run("local a = alc.llm_batch({{prompt = 'a'}, {prompt = 'b'}, {prompt = "
          "'c'}}) return alc.llm(table.concat(a, ' '))");
  CAF_REQUIRE_EQUAL(past.error(), "");
  // Events 2, 3 and 4 are the answers; the last comes first.
  std::swap(past.events.at(2), past.events.at(4));
  auto report = replay(past);
  CAF_CHECK(
    std::holds_alternative<done_event>(std::get<strategy_step>(report).end));
  // A host that does not put them in order hands over what this one does if
  // each answer says that it is the next.
  for (std::size_t i = 0; i < 3; ++i)
    std::get<answered_event>(past.events[2 + i].body).query_id
      = "q-" + std::to_string(i);
  report = replay(past);
  auto& end = std::get<failed_event>(std::get<strategy_step>(report).end);
  CAF_CHECK_EQUAL(end.kind, failure_kind::replay_diverged);
}

CAF_TEST_FIXTURE_SCOPE_END()
