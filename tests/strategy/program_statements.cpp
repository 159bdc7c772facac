// SPDX-License-Identifier: Apache-2.0

// The statements that a generated program is made of. Each counts with `hit`
// what it does when it runs: what is only written proves nothing.

#include "tests/strategy/program_generator.hpp"

namespace muster::test {

// -- variables and tables -----------------------------------------------------

void program_generator::write_variable() {
  switch (roll(5)) {
    case 0:
      declare(kind::integer, integer());
      break;
    case 1:
      declare(kind::text, fmt::format("shown({})", text()));
      break;
    case 2:
      declare(kind::list,
              fmt::format("{{{}, {}, {}, {}}}", integer(1), integer(1),
                          integer(1), one_of({"5", "nil", "#{}", "7, 7, 8"})));
      break;
    default: {
      auto map
        = declare(kind::map, fmt::format("{{k1 = {}, [{}] = {}, [{}] = {}, "
                                         "nested = {{x = {}}}}}",
                                         value(), key(), value(), key(),
                                         value(), integer(1)));
      line("for i = 1, {} do {}['k' .. i * {} % 31] = i end", roll(25), map,
           1 + roll(30));
    }
  }
}

void program_generator::write_assignment() {
  if (chance(50)) {
    auto name = any(kind::text);
    if (name.front() == 'v')
      line("{} = shown({})", name, text());
  } else {
    auto name = any(kind::integer);
    if (name.front() == 'v')
      line("{} = {}", name, integer());
  }
}

void program_generator::write_output() {
  line("say({}, {}, {})", text(), number(), flag());
}

void program_generator::write_list_change() {
  auto list = any(kind::list);
  line("hit('a change of a list')");
  switch (roll(5)) {
    case 0:
      line("{0}[#{0} + 1] = {1}", list, integer());
      break;
    case 1:
      line("table.insert({0}, 1 + {1} % (#{0} + 1), {2})", list, roll(9),
           integer());
      break;
    case 2:
      line("say(table.remove({0}, #{0} > 0 and 1 or nil))", list);
      break;
    case 3:
      line("table.move({0}, 1, #{0}, {1}, {0})", list, 1 + roll(2));
      break;
    default:
      line("say(table.unpack({}))", list);
  }
}

void program_generator::write_map_change() {
  auto map = any(kind::map);
  line("hit('a change of a map')");
  line("{}[{}] = {}", map, key(), value());
  line("{}[{}] = nil", map, key());
  if (chance(40))
    line("for i = {}, 30, 3 do {}['k' .. i] = {} end", roll(9), map,
         chance(50) ? "i" : "nil");
}

// -- traversals ---------------------------------------------------------------

void program_generator::write_pairs() {
  auto map = any(kind::map);
  if (chance(8)) {
    line("hit('keys that have no order')");
    line("say(pcall(pairs, {{[{{}}] = 1, [say] = 2, x = 3}}))");
    return;
  }
  auto k = fresh("k");
  auto v = fresh("v");
  open(fmt::format("for {}, {} in pairs({}) do", k, v, map));
  line("if spent() then break end");
  line("hit('a step of pairs')");
  line("say({}, {})", k, v);
  if (chance(40))
    line("{}[{}] = nil", map, chance(50) ? k : key());
  if (chance(50))
    block_in("a traversal");
  close();
}

void program_generator::write_next() {
  auto map = any(kind::map);
  auto k = fresh("k");
  line("local {} = next({})", k, map);
  open(fmt::format("while {} ~= nil and not spent() do", k));
  line("hit('a step of next')");
  line("say({0}, {1}[{0}])", k, map);
  if (chance(30))
    block_in("a traversal");
  if (chance(40))
    line("{}[{}] = nil", map, k);
  line("{0} = next({1}, {0})", k, map);
  close();
}

void program_generator::write_ipairs() {
  auto i = fresh("v");
  open(fmt::format("for {}, x in ipairs({}) do", i, any(kind::list)));
  line("if spent() or {} > 12 then break end", i);
  line("hit('a step of ipairs')");
  auto outside = scope_.size();
  scope_.push_back({i, kind::integer});
  line("say({}, x)", integer(1));
  if (chance(50))
    block();
  scope_.resize(outside);
  close();
}

// -- sorts --------------------------------------------------------------------

void program_generator::write_sort() {
  auto items = fresh("items");
  auto less = fresh("less");
  auto count = chance(5) ? 100 + roll(60) : 2 + roll(20);
  line("local {} = {{}}", items);
  line("for i = 1, {} do {}[i] = {{key = i * {} % {}, at = i}} end", count,
       items, 1 + roll(50), 1 + roll(40));
  open(fmt::format("local function {}(a, b)", less));
  line("hit('a comparison')");
  if (chance(50)) {
    open(fmt::format("if hits['a comparison'] % {} == 0 and not spent() then",
                     2 + roll(15)));
    block_in("a comparator");
    close();
  }
  line("return {}", one_of({"a.key < b.key", "a.key > b.key", "a.key < b.key",
                            "math.random(2) == 1"}));
  close();
  line("hit('a sort with a comparator')");
  if (chance(30))
    line("say(pcall(table.sort, {}, {}))", items, less);
  else
    line("table.sort({}, {})", items, less);
  auto sum = declare(kind::integer, "0");
  line("for _, x in ipairs({1}) do {0} = ({0} * 31 + x.at) % 1000003 end", sum,
       items);
  line("say('sorted', {})", sum);
}

void program_generator::write_list_sort() {
  auto list = any(kind::list);
  line("hit('a sort of a list')");
  line("table.sort({}{})", list,
       one_of({"", ", function(a, b) return a > b end",
               ", function(a, b) return a % 10 < b % 10 end"}));
  line("say(table.concat({}, ' '))", list);
}

// -- functions ----------------------------------------------------------------

void program_generator::write_closure() {
  auto n = declare(kind::integer, std::to_string(roll(10)));
  auto f = fresh("f");
  open(fmt::format("local function {}(x)", f));
  line("hit('a call of a closure')");
  line("if spent() then return 0 end");
  line("{0} = {0} + 1", n);
  auto outside = here_;
  // It may be called from anywhere.
  here_.in_coroutine = false;
  block_in("a closure");
  line("return (x + {}) % {}", n, 2 + roll(1000));
  close();
  here_ = outside;
  scope_.push_back({f, kind::function});
  line("say({0}({1}), {0}({2}))", f, roll(5), roll(5));
}

void program_generator::write_recursion() {
  auto f = fresh("f");
  open(fmt::format("local function {}(n)", f));
  line("hit('a recursive call')");
  line("if n <= 0 or spent() then return 0 end");
  if (chance(50))
    block_in("a recursion");
  line("return {}", one_of({"1 + ", ""}) + f + "(n - 1)");
  close();
  line("say({}({}))", f, 1 + roll(6));
}

void program_generator::write_varargs() {
  auto f = fresh("f");
  open(fmt::format("local function {}(...)", f));
  line("hit('varargs')");
  line("local first, second = ...");
  line("local all = table.pack(...)");
  line("say(select('#', ...), all.n, first, second, (select(-1, ...)))");
  if (chance(50))
    block();
  line("return ...");
  close();
  line("say({0}(1, nil, {1}), ({0}({2}, nil)))", f, text(1), integer(1));
}

// -- flow ---------------------------------------------------------------------

void program_generator::write_condition() {
  open(fmt::format("if {} then", flag()));
  block();
  --indent_;
  open("else");
  block();
  close();
}

void program_generator::write_loop() {
  auto i = fresh("v");
  auto outside = scope_.size();
  switch (roll(3)) {
    case 0:
      open(fmt::format("for {} = {}, {} do", i, roll(5), 3 + roll(5)));
      scope_.push_back({i, kind::integer});
      break;
    case 1:
      open(fmt::format("for {} = 1, 0, -0.25 do", i));
      break;
    default:
      open(fmt::format("while {} do", flag()));
  }
  line("if spent() then break end");
  line("hit('a turn of a loop')");
  line("do");
  auto label = fresh("next");
  line("if {} then goto {} end", flag(), label);
  line("end");
  open("do");
  block();
  close();
  line("::{}::", label);
  close();
  scope_.resize(outside);
}

void program_generator::write_goto() {
  auto n = fresh("n");
  auto label = fresh("again");
  open("do");
  line("local {} = 0", n);
  line("::{}::", label);
  line("{0} = {0} + 1", n);
  open(fmt::format("if {} < {} and not spent() then", n, 2 + roll(3)));
  line("hit('a jump')");
  open("do");
  block();
  close();
  line("goto {}", label);
  close();
  close();
}

// -- errors -------------------------------------------------------------------

void program_generator::write_error() {
  line("hit('a caught error')");
  line("say(pcall(function() {} end))", fault());
}

void program_generator::write_pcall() {
  auto ok = fresh("ok");
  auto caught = fresh("caught");
  open(fmt::format("local {}, {} = pcall(function(a, ...)", ok, caught));
  line("hit('a protected call')");
  block_in("a protected call");
  if (chance(60)) {
    line("if {} then {} end", flag(), fault());
    block_in("a protected call");
  }
  line("return a");
  close(fmt::format("end, {})", integer(0)));
  line("if not {} then hit('a caught error') end", ok);
  line("say({0}, {1}, type({1}))", ok, caught);
  if (chance(30))
    line("if not {} then say(pcall(error, {})) end", ok, caught);
}

void program_generator::write_xpcall() {
  open("say(xpcall(function(a)");
  line("hit('a call with a handler')");
  block_in("a protected call");
  line("if {} then {} end", flag(), fault());
  line("return a");
  --indent_;
  open("end, function(problem)");
  // Not with `hit`: a handler that fails is called again until C is nested too
  // deeply, and how often that is depends on slices.
  line("hits.handler = (hits.handler or 0) + 1");
  line("say(problem, debug.traceback('trace'))");
  line("return {}",
       one_of({"problem", "{problem}", "shown(problem)", "nil, problem",
               "debug.traceback(shown(problem))"}));
  close(fmt::format("end, {}))", integer(0)));
}

void program_generator::write_variable_to_close() {
  bool fails = chance(30);
  if (fails)
    open("say(pcall(function()");
  else
    open("do");
  line("local x <close> = setmetatable({{}}, {{__close = function(_, problem)");
  ++indent_;
  line("hit('a variable that is closed')");
  line("say('closing', problem)");
  block_in("a closing variable");
  if (chance(15))
    line("{}", fault());
  close("end})");
  block();
  if (fails) {
    line("if {} then {} end", flag(), fault());
    close("end))");
  } else {
    close();
  }
}

// -- coroutines ---------------------------------------------------------------

void program_generator::write_generator() {
  auto v = fresh("v");
  open(fmt::format("for {} in coroutine.wrap(function()", v));
  line("hit('a coroutine')");
  block_in_coroutine();
  line("for i = 1, {} do coroutine.yield(i * {}) end", roll(4), 1 + roll(9));
  if (chance(50)) {
    block_in_coroutine();
    line("coroutine.yield({})", integer(1));
  }
  --indent_;
  open("end) do");
  line("if spent() then break end");
  line("hit('a value from a coroutine')");
  line("say({})", v);
  if (chance(50))
    block();
  close();
}

void program_generator::write_resumes() {
  auto co = fresh("co");
  auto turns = fresh("turns");
  open(fmt::format("local {} = coroutine.create(function(a, b)", co));
  line("hit('a coroutine')");
  line("say(a, b, coroutine.isyieldable())");
  block_in_coroutine();
  line("say(coroutine.yield(a, {}))", text(1));
  block_in_coroutine();
  if (chance(30))
    line("{}", fault());
  close("end)");
  line("local {} = 0", turns);
  open(fmt::format("while coroutine.status({}) == 'suspended' and not spent() "
                   "do",
                   co));
  line("{0} = {0} + 1", turns);
  line("hit('a resume')");
  line("say({0}, coroutine.resume({1}, {0}, {2}))", turns, co, value());
  if (chance(30))
    block();
  close();
  line("say({0}, coroutine.status({0}), coroutine.resume({0}))", co);
}

void program_generator::write_scheduler() {
  auto tasks = fresh("tasks");
  line("local {} = {{}}", tasks);
  open(fmt::format("for name = 1, {} do", 2 + roll(3)));
  open(fmt::format("{}[name] = coroutine.create(function()", tasks));
  line("hit('a coroutine')");
  open("for turn = 1, 2 do");
  line("say('task', name, turn)");
  block_in_coroutine();
  line("coroutine.yield()");
  close();
  close("end)");
  close();
  open("for round = 1, 4 do");
  open(fmt::format("for _, task in ipairs({}) do", tasks));
  line("hit('a resume')");
  line("if not spent() then say(coroutine.resume(task)) end");
  close();
  close();
}

void program_generator::write_closed_coroutine() {
  auto co = fresh("co");
  open(fmt::format("local {} = coroutine.create(function()", co));
  line("hit('a coroutine')");
  line("local x <close> = setmetatable({{}}, {{__close = function(_, problem)");
  ++indent_;
  line("say('closed', problem)");
  if (chance(30))
    line("say(pcall(ask, 'too late', 'a place that cannot wait'))");
  if (chance(30))
    line("{}", fault());
  close("end})");
  block_in_coroutine();
  line("coroutine.yield()");
  close("end)");
  line("say(coroutine.resume({}))", co);
  line("hit('a coroutine that is closed')");
  line("say(coroutine.close({0}), coroutine.status({0}))", co);
}

void program_generator::write_bare_coroutine() {
  auto prompt = text(1);
  line("hit('a coroutine')");
  if (chance(50))
    line("say(coroutine.wrap(asker('a bare coroutine'))(shown({})))", prompt);
  else
    line("say(coroutine.resume(coroutine.create(pcall), asker('a bare "
         "coroutine'), shown({})))",
         prompt);
}

void program_generator::write_yield() {
  if (here_.in_coroutine) {
    line("hit('a yield')");
    line("say(coroutine.yield({}, {}))", integer(1), text(1));
  } else {
    line("say(coroutine.running())");
    line("say(pcall(coroutine.yield, 1))");
  }
}

// -- methods of tables --------------------------------------------------------

// There is no `__concat`: in Lua 5.4.4 one that lets the stack of its coroutine
// grow leaves the interpreter with a pointer into the old one.

void program_generator::write_methods() {
  auto object = fresh("object");
  line("local {} = setmetatable({{n = {}}}, {{}})", object, roll(50));
  open(fmt::format("for name, method in pairs({{__index = function(t, k)",
                   object));
  line("hit('__index')");
  open("if not spent() then");
  block_in("a method");
  close();
  line("return k");
  auto method = [&](std::string_view name, std::string_view parameters,
                    std::string_view result) {
    --indent_;
    open(fmt::format("end, {} = function({})", name, parameters));
    line("hit('{}')", name);
    if (chance(35)) {
      open("if not spent() then");
      block_in("a method");
      close();
    }
    line("return {}", result);
  };
  method("__newindex", "t, k, v", "rawset(t, k, v)");
  method("__add", "a, b", "1");
  method("__eq", "a, b", "a.n == b.n");
  method("__lt", "a, b", "a.n < b.n");
  method("__len", "t", std::to_string(roll(9)));
  method("__call", "t, ...", "...");
  method("__unm", "t", "t");
  method("__pairs", "t", "next, {p = 1, q = 2}, nil");
  --indent_;
  open("end, __tostring = function(t)");
  line("hit('__tostring')");
  line("return 'object ' .. t.n");
  close(fmt::format("end}}) do getmetatable({})[name] = method end", object));
  auto other = fresh("object");
  line("local {0} = setmetatable({{n = {1}}}, getmetatable({2}))", other,
       roll(50), object);
  auto index = text(1);
  line("say({0}[{1}], {0} + 1, {0} == {2}, {0} < {2})", object, index, other);
  line("{}.fresh = {}", object, value());
  line("say(#{0}, {0}(1, 2), -{0}, {0})", object);
  line("for k, v in pairs({}) do say(k, v) end", object);
  if (chance(50))
    line("do local list = {{{0}, {1}, {0}}} table.sort(list) say(list[1].n) "
         "end",
         object, other);
}

void program_generator::write_unyieldable() {
  auto prompt = text(1);
  line("hit('a place that cannot wait')");
  line("local function try() return {} end",
       one_of({"ask('no', 'a place that cannot wait')", "alc.state.get('a')",
               "shown(os.time())", "require('kit.deep')",
               "coroutine.wrap(function() return ask('no', 'a place that "
               "cannot wait') end)()"}));
  line("say({}, pcall(function() {} end))", prompt,
       one_of({"return tostring(setmetatable({}, {__tostring = try}))",
               "return table.concat(setmetatable({}, {__index = try}), '', 1, "
               "1)",
               "local read return load(function() if not read then read = true "
               "return try() end end)",
               "print(setmetatable({}, {__tostring = try}))"}));
}

// -- texts --------------------------------------------------------------------

void program_generator::write_gsub() {
  auto subject = text();
  open(fmt::format(
    "say((shown({}) .. ' ab cd'):gsub('{}', function(...)", subject,
    one_of({"%a+", "(%w)(%w)", ".", "()%s", "%f[%w]%w+", "^%a", "[^ ]*"})));
  line("if spent() then return nil end");
  line("hit('a replacement')");
  if (chance(60))
    block_in("a replacement");
  line("return {}", one_of({"...", "nil", "'<>'", "(...) and 7"}));
  close(fmt::format("end, {}))", 1 + roll(8)));
  if (chance(30))
    line("say((shown({}):gsub('%w', {{a = 'b', x = false, l = {}}})))", text(1),
         integer(1));
}

void program_generator::write_gmatch() {
  auto word = fresh("v");
  open(fmt::format("for {} in (shown({}) .. ' k=v'):gmatch('{}') do", word,
                   text(), one_of({"%a+", "(%w)=(%w)", "%S", "()"})));
  line("if spent() then break end");
  line("hit('a match')");
  line("say({})", word);
  if (chance(40))
    block_in("a traversal");
  close();
}

void program_generator::write_format() {
  line("hit('a format')");
  line("say(('%s|%q|%5.2f|%d|%x|%g|%-6s|%c'):format({}, {}, {}, {}, {}, {}, "
       "{}, 65))",
       one_of({"{}", "say", "nil", "coroutine.running()", "ask"}),
       chance(50) ? any(kind::text) : number(), number(), integer(), integer(),
       number(), text(1));
  line("say(string.unpack('<i4', string.pack('<i4', {} & 0xffff)), "
       "utf8.char(0x20ac):byte(1, -1))",
       integer(1));
}

void program_generator::write_json() {
  line("hit('JSON')");
  line("say(alc.json_encode({{z = {}, a = {}, list = {}, n = {}}}))",
       integer(1), text(1), any(kind::list), number());
  line("say(pcall(alc.json_encode, {}))",
       one_of({"{[true] = 1, x = 2}", "say", "{{{}}}", "{a = {b = {c = say}}}",
               "{[1.5] = 1, [2] = 2, y = 3}"}));
}

// -- what the host gives ------------------------------------------------------

void program_generator::write_query() {
  declare(kind::text, fmt::format("ask({}, '{}')", text(), here_.place));
}

void program_generator::write_batch() {
  auto first = text();
  auto second = text();
  open("if asked < most then");
  line("asked = asked + 1");
  line("hit('a batch')");
  line("for _, x in ipairs(alc.llm_batch({{{{prompt = shown({})}}, {{prompt = "
       "shown({}), system = 's', max_tokens = {}}}{}}})) do say(x) end",
       first, second, 1 + roll(99),
       one_of({"", ", {prompt = 'third', grounded = true}"}));
  close();
}

void program_generator::write_parallel() {
  auto list = any(kind::list);
  open(fmt::format("if #{0} > 0 and #{0} < 6 and asked < most then", list));
  line("asked = asked + 1");
  line("hit('parallel queries')");
  open(fmt::format("say(table.unpack(alc.parallel({}, function(x, i)", list));
  if (chance(40))
    block_in("a function of alc.parallel");
  line("return {}", one_of({"'item ' .. x", "{prompt = 'item ' .. i}"}));
  --indent_;
  open("end, {post_fn = function(answer, x, i)");
  if (chance(40))
    block_in("a function of alc.parallel");
  line("return shown(answer):sub(1, 5) .. x");
  close("end})))");
  close();
  if (chance(30))
    line("say(alc.parse_score({}), asked < 3 and alc.{}('is it?'))", text(1),
         one_of({"specify", "ground"}));
}

void program_generator::write_random() {
  line("hit('random numbers')");
  switch (roll(4)) {
    case 0:
      line("math.randomseed()");
      break;
    case 1:
      line("math.randomseed({})", integer(1));
      break;
    default:
      line("say(math.random(0), math.random(10), math.random())");
  }
}

void program_generator::write_clock() {
  line("hit('a clock')");
  line("say({})",
       one_of({"os.time()", "os.clock()", "alc.time()", "os.date('%c')",
               "os.date('!%H:%M:%S', os.time())",
               "os.time({year = 2000, month = 13, day = 40})",
               "alc.json_encode(alc.budget_remaining())", "alc.budget_check()",
               "os.getenv('HOME')", "collectgarbage('count')"}));
}

void program_generator::write_state() {
  auto key = one_of({"'a'", "'b'", "'c'", "'text'"});
  line("hit('shared state')");
  switch (roll(8)) {
    case 0:
      line("alc.state.set({}, {{n = {}, t = {}}})", key, integer(1), text(1));
      break;
    case 1:
      line("say(pcall(alc.state.incr, {}, {}, 3))", key, integer(1));
      break;
    case 2:
      line("say(alc.state.delete({}))", key);
      break;
    case 3:
      line("say(alc.state.set_nx({}, {}))", key, value());
      break;
    case 4:
      line("say(table.unpack(alc.state.keys()))");
      break;
    case 5:
      line("alc.state.set({}, {})", key, any(kind::list));
      break;
    default:
      line("say(alc.json_encode({{alc.state.get({}, 'none')}}))", key);
  }
}

void program_generator::write_update() {
  line("hit('an update of shared state')");
  open(fmt::format("say(pcall(alc.state.update, '{}', function(old)",
                   one_of({"a", "b", "counter"})));
  if (chance(50))
    block_in("an update");
  line("return {}", one_of({"{old}", "shown(old)", "7", "old"}));
  close("end, 0))");
}

void program_generator::write_load() {
  line("hit('a loaded chunk')");
  switch (roll(3)) {
    case 0:
      line("say(load('local a = ... return a + 1')({}))", integer());
      break;
    case 1:
      line("say(load('return return', '=chunk'))");
      break;
    default:
      line("say(load('local ask, x = ... local a = ask(x, \"a chunk\") return "
           "a, x')(ask, {}))",
           text(1));
  }
}

void program_generator::write_require() {
  line("hit('a module')");
  line("say(pcall(require, '{}'))",
       one_of({"kit", "kit.deep", "kit.broken", "no.such", "alc_shapes"}));
}

void program_generator::write_depth() {
  if (!nests_) {
    write_output();
    return;
  }
  auto f = fresh("f");
  line("hit('a look at the depth')");
  open(fmt::format("local function {}(n)", f));
  line("local ok, deepest = pcall({}, n + 1)", f);
  line("return ok and deepest or n");
  close();
  line("say({}(0))", f);
}

// -- how often ----------------------------------------------------------------

const std::vector<program_generator::weighted>&
program_generator::statements() {
  using self = program_generator;
  static const std::vector<weighted> all{
    {8, &self::write_variable},
    {3, &self::write_assignment},
    {4, &self::write_output},
    {7, &self::write_query},
    {2, &self::write_batch},
    {2, &self::write_parallel},
    {3, &self::write_list_change},
    {4, &self::write_map_change},
    {4, &self::write_pairs},
    {2, &self::write_next},
    {2, &self::write_ipairs},
    {3, &self::write_sort},
    {2, &self::write_list_sort},
    {3, &self::write_closure},
    {2, &self::write_recursion},
    {3, &self::write_condition},
    {3, &self::write_loop},
    {2, &self::write_goto},
    {4, &self::write_pcall},
    {2, &self::write_xpcall},
    {3, &self::write_error},
    {4, &self::write_generator},
    {3, &self::write_resumes},
    {2, &self::write_scheduler},
    {2, &self::write_closed_coroutine},
    {2, &self::write_bare_coroutine},
    {4, &self::write_yield},
    {3, &self::write_variable_to_close},
    {3, &self::write_methods},
    {2, &self::write_unyieldable},
    {3, &self::write_gsub},
    {2, &self::write_gmatch},
    {3, &self::write_format},
    {3, &self::write_random},
    {3, &self::write_clock},
    {5, &self::write_state},
    {2, &self::write_update},
    {2, &self::write_varargs},
    {1, &self::write_load},
    {2, &self::write_require},
    {2, &self::write_json},
    {1, &self::write_depth},
  };
  return all;
}

} // namespace muster::test
