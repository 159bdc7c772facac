// SPDX-License-Identifier: Apache-2.0

// Texts from outside that are not what they should be: JSON for `ctx` and for
// the shared state, and answers. Each is taken as it is or refused by a stable
// code; nothing else changes, and the node goes on.

#define CAF_SUITE black_box.fuzz

#include "tests/black_box/command_line.hpp"
#include "tests/black_box/told_work.hpp"
#include "tests/support/suite.hpp"

#include <random>

using namespace muster;
using namespace muster::test;
using namespace std::chrono_literals;

namespace {

constexpr auto patience = 60s;

/// Texts that are good or nearly so, from a seed.
class texts {
public:
  explicit texts(std::uint64_t seed) : random_(seed) {
    // nop
  }

  /// JSON as a program would write it, most of the time damaged afterwards.
  std::string next() {
    auto text = value(0);
    for (auto damages = pick(4); damages > 0; --damages)
      damage(text);
    return text;
  }

  std::size_t pick(std::size_t n) {
    return random_() % n;
  }

private:
  std::string value(int depth) {
    switch (pick(depth > 6 ? 7 : 10)) {
      case 0:
        return "null";
      case 1:
        return pick(2) == 0 ? "true" : "false";
      case 2:
        return std::to_string(static_cast<std::int64_t>(random_()));
      case 3:
        return std::array{"0",  "-0", "1e308", "1e999", "-1.5e-400",
                          "01", "1.", ".5",    "0x10",  "NaN"}[pick(10)];
      case 4:
        return text();
      case 5:
        return R"("\ud83d\ude00 \ud800 \u0000 \q")";
      case 6:
        return std::to_string(random_()) + std::to_string(random_());
      case 7: {
        // So deep that whoever calls himself for each level falls.
        auto levels = pick(50) == 0 ? 100'000u : pick(20);
        return std::string(levels, '[') + value(depth + 1)
               + std::string(levels, ']');
      }
      case 8: {
        std::string out = "[";
        for (auto n = pick(5); n > 0; --n)
          out += value(depth + 1) + (n > 1 ? "," : "");
        return out + "]";
      }
      default: {
        std::string out = "{";
        for (auto n = pick(5); n > 0; --n)
          out += text() + ":" + value(depth + 1) + (n > 1 ? "," : "");
        return out + "}";
      }
    }
  }

  std::string text() {
    static constexpr const char* some[]
      = {"", "a", "ctx", "grün", "\xf0\x9f\x98\x80", "__proto__", "1", "\\n"};
    return "\"" + std::string{some[pick(std::size(some))]} + "\"";
  }

  void damage(std::string& text) {
    auto at = pick(text.size() + 1);
    switch (pick(6)) {
      case 0:
        text.erase(at);
        break;
      case 1:
        text.insert(at, 1, static_cast<char>(random_()));
        break;
      case 2:
        if (at < text.size())
          text[at] = static_cast<char>(text[at] ^ (1 << pick(8)));
        break;
      case 3:
        text.insert(at, std::array{"\xc3", "\xed\xa0\x80", "\xff\xfe",
                                   "\xc0\x80", "\xf4\x90\x80\x80"}[pick(5)]);
        break;
      case 4:
        text.insert(at, text.substr(0, pick(64)));
        break;
      default:
        text.insert(at, std::array{",", "}", "]", "\"", "\n", ":"}[pick(6)]);
    }
  }

  std::mt19937_64 random_;
};

bool is_refusal(errc code) {
  return code == errc::invalid_argument || code == errc::not_utf8
         || code == errc::too_large || code == errc::invalid_spec;
}

struct fixture {
  fixture() {
    box.require_start({"--session.max-ctx", "300KiB"});
    link = *box.connect();
    seed = std::random_device{}();
    CAF_MESSAGE("seed " << seed);
    size = footprint_of(box.node().pid());
  }

  /// The node is there, and has grown by nothing.
  void check_well() {
    CAF_CHECK(link->status(patience));
    link.reset();
    CAF_CHECK(eventually([&] {
      auto now = footprint_of(box.node().pid());
      return now.descriptors <= size.descriptors && now.threads <= size.threads;
    }));
    CAF_CHECK_EQUAL(box.stop().code, 0);
  }

  black_box box;
  std::unique_ptr<client> link;
  std::uint64_t seed = 0;
  footprint size;
};

} // namespace

CAF_TEST_FIXTURE_SCOPE(fuzz_tests, fixture)

CAF_TEST(a value is kept as it was or refused and the old one stays) {
  texts all{seed};
  std::string kept = "\"first\"";
  CAF_REQUIRE(link->state_set({"default", "k"}, kept, {patience}));
  std::size_t refused = 0;
  constexpr std::size_t rounds = 400;
  for (std::size_t i = 0; i < rounds; ++i) {
    auto text = all.next();
    if (auto set = link->state_set({"default", "k"}, text, {patience}))
      kept = text;
    else if (++refused; !is_refusal(set.error().code))
      CAF_ERROR(to_string(set.error().code) << " for " << text.substr(0, 300));
    auto now = link->state_get({"default", "k"}, patience);
    if (!now || now->value != kept)
      CAF_ERROR("kept is another: " << text.substr(0, 300));
  }
  // Neither is all of them.
  CAF_MESSAGE(refused << " of " << rounds << " refused");
  CAF_CHECK(refused > rounds / 10);
  CAF_CHECK(refused < rounds * 9 / 10);
  CAF_CHECK_EQUAL(link->state_keys("default", "", 0, patience)->size(), 1u);
  check_well();
}

CAF_TEST(a ctx is what the script sees or starts no session) {
  texts all{seed};
  std::size_t taken = 0;
  for (int i = 0; i < 200; ++i) {
    session_spec spec;
    spec.code = "return ctx";
    // Objects are all that can be taken.
    auto inner = all.next();
    spec.ctx = all.pick(10) == 0 ? inner : "{\"x\":" + inner + "}";
    auto text = spec.ctx;
    auto view = link->start(std::move(spec), {patience});
    if (!view) {
      if (!is_refusal(view.error().code))
        CAF_ERROR(to_string(view.error().code)
                  << " for " << text.substr(0, 300));
      continue;
    }
    ++taken;
    if (view->phase != session_phase::done
        && view->phase != session_phase::failed)
      CAF_ERROR("neither done nor failed: " << text.substr(0, 300));
  }
  CAF_CHECK(taken > 0);
  CAF_CHECK_EQUAL(link->list({{}, {}, 0})->sessions.size(), taken);
  check_well();
}

CAF_TEST(an answer reaches the script byte by byte or is refused) {
  texts all{seed};
  session_spec spec;
  spec.code = "while true do local x = alc.llm('next') alc.llm(x) end";
  auto view = link->start(std::move(spec), {patience});
  CAF_REQUIRE(view);
  auto id = view->session_id;
  for (int i = 0; i < 200; ++i) {
    auto text = all.next();
    auto fed = link->feed(id, {{"", text, {}}}, {patience});
    auto refused = fed ? fed->results.at(0).refused : fed.error();
    if (refused) {
      if (!is_refusal(refused->code))
        CAF_ERROR(to_string(refused->code) << " for " << text.substr(0, 300));
      CAF_CHECK_EQUAL(link->show(id, patience)->queries.at(0).prompt, "next");
      continue;
    }
    if (fed->session.phase != session_phase::paused
        || fed->session.queries.at(0).prompt != text)
      CAF_FAIL("the script got something else: " << text.substr(0, 300));
    CAF_REQUIRE(link->feed(id, {{"", "", {}}}, {patience}));
  }
  check_well();
}

CAF_TEST(the command line takes and refuses the same) {
  texts all{seed};
  auto script = box.folder.write("script.lua", "return ctx");
  for (int i = 0; i < 40; ++i) {
    auto text = all.next();
    // What a command line can carry.
    auto argument = text.substr(0, 100'000);
    std::erase(argument, '\0');
    program_options input;
    input.input = text;
    for (auto& result :
         {box.run_json({"run", script, "--ctx", argument}),
          box.run_json({"state", "set", "k", "--", argument}),
          box.run_json({"session", "feed", "s-0", "--batch", "-"}, input)}) {
      if (result.code != 0 && result.code != 1 && result.code != 2
          && result.code != 3)
        CAF_ERROR("exit code " << result.code << " for " << text.substr(0, 300)
                               << ": " << result.err);
      if (result.code > 1)
        CAF_CHECK(only_document(result.err).contains("error"));
    }
  }
  check_well();
}

CAF_TEST_FIXTURE_SCOPE_END()
