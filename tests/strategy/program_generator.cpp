// SPDX-License-Identifier: Apache-2.0

#include "tests/strategy/program_generator.hpp"

namespace muster::test {

namespace {

/// What every program begins with. `spent` ends its loops, `ask` its queries,
/// and `hit` the few that do far too much nevertheless.
constexpr std::string_view prelude = R"lua(
local fuel, work, asked, hits, out = 100, 900, 0, {}, {}

local function hit(what)
  hits[what] = (hits[what] or 0) + 1
  work = work - 1
  if work < 0 then error("enough was done", 0) end
end

local function spent()
  fuel = fuel - 1
  return fuel < 0
end

local function shown(x)
  return (tostring(x):sub(1, 80):gsub("[^ -~]", "?"))
end

local function say(...)
  local parts = table.pack(...)
  for i = 1, parts.n do parts[i] = shown(parts[i]) end
  if #out < 200 then out[#out + 1] = table.concat(parts, " ") end
end

-- alc.llm, until enough was asked.
local function asker(place)
  if asked >= most then return shown end
  asked = asked + 1
  hit("a query in " .. place)
  return alc.llm
end

local function ask(text, place)
  return asker(place)(shown(text))
end

)lua";

constexpr int max_depth = 4;

} // namespace

// -- constructors -------------------------------------------------------------

program_generator::program_generator(std::uint64_t seed, bool nests)
  : random_(seed), nests_(nests) {
  // nop
}

// -- the whole ----------------------------------------------------------------

std::string program_generator::program() {
  line("local most = {}", 3 + roll(5));
  code_ += prelude;
  open("local function main(...)");
  auto count = 5 + roll(8);
  left_ = 45;
  for (std::uint64_t i = 0; i < count; ++i)
    write_statement();
  if (chance(12)) {
    line("hit('an error at the end')");
    line("{}", fault());
  }
  close();
  line("local ok, problem = pcall(main, 1, nil, 'three')");
  line("alc.stats.record('hits', hits)");
  line("if not ok then error(problem, 0) end");
  line("return {{asked = asked, out = out}}");
  return std::move(code_);
}

// -- variables ----------------------------------------------------------------

std::string program_generator::declare(kind type, std::string_view value) {
  auto name = fresh("v");
  line("local {} = {}", name, value);
  scope_.push_back({name, type});
  return name;
}

std::string program_generator::any(kind type) {
  std::vector<const variable*> found;
  for (auto& v : scope_)
    if (v.type == type)
      found.push_back(&v);
  if (!found.empty())
    return found[roll(found.size())]->name;
  switch (type) {
    case kind::integer:
      return "#out";
    case kind::text:
      return "'none'";
    case kind::list:
      return declare(kind::list, "{3, 1, 2}");
    case kind::map:
      return declare(kind::map, "{a = 1, [2] = 'b', [true] = 3, [1.5] = 'c'}");
    case kind::function:
      return "math.abs";
  }
  return "nil";
}

// -- expressions --------------------------------------------------------------

std::string program_generator::integer(int depth) {
  auto sub = [&] { return integer(depth - 1); };
  switch (roll(depth > 0 ? 14 : 4)) {
    case 0:
      return one_of({"0", "-1", "255", "(1 << 40)", "math.maxinteger",
                     "math.mininteger", "0x7f", "-7"});
    case 1:
    case 2:
      return any(kind::integer);
    case 3:
      return std::to_string(roll(20));
    case 4:
      return fmt::format("({} {} {})", sub(), one_of({"+", "-", "*"}), sub());
    case 5:
      return fmt::format("({} {} {})", sub(), one_of({"//", "%"}),
                         one_of({"3", "-7", "10", "1000003"}));
    case 6:
      return fmt::format("({} {} {})", sub(), one_of({"&", "|", "~"}), sub());
    case 7:
      return fmt::format("({} {} {})", sub(), one_of({"<<", ">>"}), roll(70));
    case 8:
      return fmt::format("#{}", chance(50) ? any(kind::list) : "out");
    case 9:
      return fmt::format("math.random(1, {})", 1 + roll(1'000'000));
    case 10:
      return fmt::format("{}({})", any(kind::function), sub());
    case 11: {
      auto list = any(kind::list);
      return fmt::format("({0}[1 + {1} % (#{0} + 1)] or {2})", list, sub(),
                         roll(9));
    }
    case 12:
      return fmt::format("({}):len()", text(depth - 1));
    default:
      return fmt::format("({} and {} or {})", flag(), sub(), sub());
  }
}

std::string program_generator::number(int depth) {
  switch (roll(6)) {
    case 0:
      return one_of({"0.5", "1e15", "(2^53)", "1e308", "-0.0", "(1 / 3)",
                     "(1 / 0)", "123456789.125", "0x1p-3", "(5 // 0.0)"});
    case 1:
      return fmt::format("({} / {})", integer(depth - 1), 1 + roll(9));
    case 2:
      return fmt::format("math.{}({})",
                         one_of({"sin", "exp", "floor", "sqrt", "abs", "ceil"}),
                         integer(depth - 1));
    case 3:
      return fmt::format("({} * 0.1)", integer(depth - 1));
    case 4:
      return "math.random()";
    default:
      return integer(depth);
  }
}

std::string program_generator::text(int depth) {
  auto sub = [&] { return text(depth - 1); };
  switch (roll(depth > 0 ? 15 : 4)) {
    case 0:
      return one_of({"'lorem ipsum'", "'a b c'", "'x=1, y=22'", "'10'", "''",
                     "'The End.'", "'\\u{e4}\\u{1f600}'", "'(a(b)c)'"});
    case 1:
    case 2:
      return any(kind::text);
    case 3:
      return fmt::format("'w{}'", roll(30));
    case 4:
      return fmt::format("({} .. {})", sub(), integer(depth - 1));
    case 5:
      return fmt::format("tostring({})", number(depth - 1));
    case 6:
      return fmt::format("({}):sub({}, {})", sub(), 1 + roll(4), 2 + roll(9));
    case 7:
      return fmt::format("({}):{}()", sub(),
                         one_of({"upper", "lower", "reverse"}));
    case 8:
      return fmt::format("({}):rep({}, '-')", sub(), roll(4));
    case 9:
      return fmt::format("({}:gsub('%a', '<%0>'))", fmt::format("({})", sub()));
    case 10:
      return fmt::format("table.concat({}, ',')", any(kind::list));
    case 11:
      // What would be an address.
      return fmt::format("tostring({})",
                         chance(50) ? any(kind::map) : any(kind::function));
    case 12:
      return fmt::format("shown({}[{}])", any(kind::map), key());
    case 13:
      return fmt::format("(({}):match('(%w+)') or '-')", sub());
    default:
      return fmt::format("ask({}, '{}')", sub(), here_.place);
  }
}

std::string program_generator::flag() {
  switch (roll(6)) {
    case 0:
      return fmt::format("{} {} {}", integer(1),
                         one_of({"<", "<=", "==", "~="}), integer(1));
    case 1:
      return fmt::format("{} {} {}", text(1), one_of({"<", "==", "~="}),
                         text(1));
    case 2:
      return fmt::format("{}[{}] == nil", any(kind::map), key());
    case 3:
      return fmt::format("math.type({}) == 'integer'", number(1));
    case 4:
      return fmt::format("not ({} < 3)", number(1));
    default:
      return fmt::format("#{} > {}", any(kind::list), roll(5));
  }
}

std::string program_generator::key() {
  switch (roll(6)) {
    case 0:
      return std::to_string(1 + roll(9));
    case 1:
      return one_of({"true", "false", "1.5", "-3", "2^53", "1e100"});
    default:
      return fmt::format("'k{}'", roll(30));
  }
}

std::string program_generator::value() {
  switch (roll(4)) {
    case 0:
      return text(1);
    case 1:
      return number(1);
    default:
      return integer(1);
  }
}

std::string program_generator::fault() {
  if (chance(30))
    return fmt::format("error({}, {})", text(1), roll(3));
  return one_of({
    "error({code = 7})",
    "error(setmetatable({}, {__tostring = function() return 'thing' end}))",
    "error(12)",
    "error()",
    "error(say)",
    "assert(false)",
    "assert(nil, 'asserted')",
    "local x = nil + 1",
    "local x = ({}).a.b",
    "local x = ('x')()",
    "local x = {} < 1",
    "local x = 'a' + 1",
    "local x = 1 // 0",
    "local x = 1.5 | 1",
    "local x <close> = 7",
    "string.rep()",
    "string.rep('x', 1 << 40)",
    "string.find('x', '[')",
    "local x = ('x'):nothing()",
    "math.random(2, 1)",
    "setmetatable({}, {__mode = 'k'})",
    "setmetatable(1, {})",
    "table.sort({1, 'x', {}})",
    "table.concat({1, {}, 2})",
    "select(0)",
    "coroutine.resume(7)",
    "alc.llm()",
    "alc.llm('\\xff')",
    "alc.llm_batch({})",
    "alc.state.set('a', say)",
    "alc.json_decode('{')",
    "string.format('%d', 'x')",
    "string.format('%p', {})",
    "for i = 1, 10, 0 do end",
    "ipairs()",
    "next(7)",
  });
}

// -- blocks -------------------------------------------------------------------

void program_generator::block() {
  auto outside = scope_.size();
  ++depth_;
  auto count = 1 + roll(3);
  for (std::uint64_t i = 0; i < count; ++i)
    write_statement();
  --depth_;
  scope_.resize(outside);
}

void program_generator::block_in(std::string_view place) {
  auto outside = here_;
  here_.place = place;
  block();
  here_ = outside;
}

void program_generator::block_in_coroutine() {
  auto outside = here_;
  here_ = {depth_ > 1 ? "a nested coroutine" : "a coroutine", true};
  block();
  here_ = outside;
}

void program_generator::write_statement() {
  if (left_ <= 0 || depth_ > max_depth) {
    line("say({}, {})", integer(1), text(1));
    return;
  }
  --left_;
  auto& all = statements();
  unsigned total = 0;
  for (auto& s : all)
    total += s.weight;
  auto rolled = roll(total);
  for (auto& s : all) {
    if (rolled < s.weight) {
      (this->*s.write)();
      return;
    }
    rolled -= s.weight;
  }
}

} // namespace muster::test
