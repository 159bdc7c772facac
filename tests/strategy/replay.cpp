// SPDX-License-Identifier: Apache-2.0

#define CAF_SUITE strategy.replay

#include "tests/support/script_runner.hpp"
#include "tests/support/suite.hpp"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>

using namespace muster;
using namespace muster::test;

namespace {

const std::string strategies = std::string{MUSTER_TEST_DIR} + "/strategies";

struct fixture : script_runner {
  fixture() {
    settings.packages = {strategies + "/packages"};
    state = {{"text", "\"old\""}};
  }

  static std::string read(const std::string& file) {
    std::ifstream in{file};
    return {std::istreambuf_iterator<char>{in}, {}};
  }

  static std::vector<std::string> corpus() {
    std::vector<std::string> files;
    for (auto& entry : std::filesystem::directory_iterator{strategies})
      if (entry.path().extension() == ".lua")
        files.push_back(entry.path().string());
    std::sort(files.begin(), files.end());
    return files;
  }

  script_outcome run_anew(const std::string& code, bool with_replays) {
    wall_ms = 1'700'000'000'000;
    // With replays the clocks are read in other numbers, and still no effect
    // may come out differently: it is read once and then recorded.
    wall_step = 0;
    replays = with_replays;
    return run(code);
  }
};

} // namespace

CAF_TEST_FIXTURE_SCOPE(replay_tests, fixture)

CAF_TEST(every script of the corpus comes out the same with a replay behind
           every event) {
  CAF_REQUIRE(corpus().size() > 10);
  for (auto& file : corpus()) {
    CAF_MESSAGE(file);
    ctx = file.find("budget") != std::string::npos
            ? R"lua({"budget":{"max_llm_calls":3,"max_elapsed_ms":900000}})lua"
            : "{}";
    auto straight = run_anew(read(file), false);
    CAF_CHECK_EQUAL(straight.error(), "");
    CAF_CHECK(!straight.prompts().empty());
    auto replayed = run_anew(read(file), true);
    CAF_CHECK_EQUAL(comparable(replayed.events), comparable(straight.events));
    CAF_CHECK(replayed.state == straight.state);
    CAF_CHECK_EQUAL(replayed.logs.size(), straight.logs.size());
    // In a virtual machine whose hashes are seeded otherwise.
    auto again = run_anew(read(file), false);
    CAF_CHECK_EQUAL(comparable(again.events), comparable(straight.events));
  }
}

CAF_TEST(a script that was changed diverges at the event where it differs) {
  auto past
    = run_anew("local a = alc.llm('one') return alc.llm(a .. ' two')", false);
  CAF_REQUIRE(past.error().empty());
  auto& spec = std::get<spawned_event>(past.events[0].body).spec;
  spec.code = "local a = alc.llm('one') return alc.llm(a .. ' TWO')";
  auto report = replay(past);
  auto& step = std::get<strategy_step>(report);
  auto& end = std::get<failed_event>(step.end);
  CAF_CHECK_EQUAL(end.kind, failure_kind::replay_diverged);
  CAF_CHECK(end.message.find("event 4 of its history") != std::string::npos);
  // Nothing of what it did on the way may be kept.
  CAF_CHECK(step.effects.empty() && step.writes.empty());
}

CAF_TEST(a script that ends where it asked before diverges) {
  for (auto* code : {"return 1", "error('x')", "alc.llm('one') return 1",
                     "os.time() alc.llm('one') alc.llm('A(one) two')"}) {
    auto past
      = run_anew("local a = alc.llm('one') return alc.llm(a .. ' two')", false);
    std::get<spawned_event>(past.events[0].body).spec.code = code;
    auto report = replay(past);
    auto& end = std::get<failed_event>(std::get<strategy_step>(report).end);
    CAF_CHECK_EQUAL(end.kind, failure_kind::replay_diverged);
  }
}

CAF_TEST(a script that asks the host something else diverges) {
  auto past = run_anew("local t = os.time() alc.state.get('a') return "
                       "alc.llm('t' .. t)",
                       false);
  CAF_REQUIRE(past.error().empty());
  using row = std::pair<const char*, int>;
  for (auto& [code, event] :
       {row{"local t = os.clock() alc.state.get('a') return alc.llm('t' .. t)",
            2},
        row{"local t = os.time() alc.state.get('b') return alc.llm('t' .. t)",
            3},
        row{"local t = os.time() alc.state.keys() return alc.llm('t' .. t)", 3},
        row{"local t = os.time() require('kit') return alc.llm('t' .. t)", 3},
        row{"local t = os.time() alc.state.get('a') return alc.llm('t')", 4}}) {
    std::get<spawned_event>(past.events[0].body).spec.code = code;
    auto report = replay(past);
    auto& end = std::get<failed_event>(std::get<strategy_step>(report).end);
    CAF_CHECK_EQUAL(end.kind, failure_kind::replay_diverged);
    // At the first difference: nothing that another asked for is fed to it.
    CAF_CHECK(end.message.find("event " + std::to_string(event) + " of its")
              != std::string::npos);
  }
}

CAF_TEST(a query that was changed on disk is noticed) {
  for (auto change :
       {+[](query& q) { q.prompt = "other"; }, +[](query& q) { q.system = ""; },
        +[](query& q) { ++q.max_tokens; }, +[](query& q) { q.grounded = true; },
        +[](query& q) { q.underspecified = true; }}) {
    auto past = run_anew("return alc.llm('q')", false);
    auto& pause = std::get<paused_event>(past.events.at(1).body);
    change(pause.queries.at(0));
    auto report = replay(past);
    auto& end = std::get<failed_event>(std::get<strategy_step>(report).end);
    CAF_CHECK_EQUAL(end.kind, failure_kind::replay_diverged);
  }
}

CAF_TEST(the digest knows everything that leaves a script) {
  auto digest = [&](const std::string& code) {
    auto outcome = run_anew(code, false);
    CAF_REQUIRE_EQUAL(outcome.error(), "");
    return std::get<done_event>(outcome.events.back().body).digest;
  };
  using row = std::pair<const char*, const char*>;
  for (auto& [one, other] :
       {row{"alc.llm('a')", "alc.llm('b')"},
        row{"alc.llm('q')", "alc.llm('q', {system = ''})"},
        row{"alc.llm('q', {system = 'a'})", "alc.llm('q', {system = 'b'})"},
        row{"alc.llm('q')", "alc.llm('q', {max_tokens = 7})"},
        row{"alc.llm('q')", "alc.llm('q', {grounded = true})"},
        row{"alc.llm('q')", "alc.llm('q', {underspecified = true})"},
        row{"alc.state.set('k', 1)", "alc.state.set('k', 2)"},
        row{"alc.state.set('k', 1)", "alc.state.set('j', 1)"},
        row{"alc.state.set('text', 1)", "alc.state.delete('text')"},
        row{"alc.state.get('k')", "alc.state.get('j')"},
        row{"alc.state.get('k')", "alc.state.keys()"},
        row{"os.time()", "os.clock()"},
        row{"pcall(require, 'x')", "pcall(require, 'y')"},
        row{"return 1", "return 2"}}) {
    CAF_MESSAGE(one << " and " << other);
    CAF_CHECK_NOT_EQUAL(digest(one), digest(other));
    CAF_CHECK_EQUAL(digest(one), digest(one));
  }
  // However long ago it was.
  CAF_CHECK_NOT_EQUAL(digest("alc.llm('a') alc.llm('q') return 1"),
                      digest("alc.llm('b') alc.llm('q') return 1"));
}

CAF_TEST(a write to the state that differs is noticed at the next pause) {
  auto past = run_anew("alc.state.set('k', 1) return alc.llm('q')", false);
  std::get<spawned_event>(past.events[0].body).spec.code
    = "alc.state.set('k', 2) return alc.llm('q')";
  auto report = replay(past);
  auto& end = std::get<failed_event>(std::get<strategy_step>(report).end);
  CAF_CHECK_EQUAL(end.kind, failure_kind::replay_diverged);
}

CAF_TEST(a replay uses the modules as they were) {
  auto past
    = run_anew("local kit = require('kit') return kit.greet('you')", false);
  CAF_REQUIRE_EQUAL(past.result(), "\"A(while loading), you\"");
  // The folder is gone, and still the replay comes to its end.
  settings.packages = {"/nowhere"};
  auto report = replay(past);
  auto& end = std::get<done_event>(std::get<strategy_step>(report).end);
  CAF_CHECK_EQUAL(end.result, "\"A(while loading), you\"");
  CAF_CHECK_EQUAL(end.digest,
                  std::get<done_event>(past.events.back().body).digest);
}

CAF_TEST(a replay uses the library as it was) {
  auto past = run_anew("return alc.parse_score('about 7')", false);
  CAF_REQUIRE_EQUAL(past.result(), "7");
  // The session began when the library was an older one.
  CAF_REQUIRE_EQUAL(sources.size(), 1u);
  sources[0].text = "return function() return 'as of old' end";
  auto report = replay(past);
  CAF_CHECK_EQUAL(
    std::get<done_event>(std::get<strategy_step>(report).end).result,
    "\"as of old\"");
}

CAF_TEST(a replay reads the clocks as they were) {
  auto past
    = run_anew("local t = alc.time() return alc.llm('at ' .. t)", false);
  wall_ms += 86'400'000;
  auto report = replay(past);
  CAF_CHECK(std::get_if<strategy_step>(&report) != nullptr);
  CAF_CHECK_EQUAL(
    std::get<done_event>(std::get<strategy_step>(report).end).result,
    past.result());
}

CAF_TEST(what was logged before is not logged again) {
  auto outcome = run_anew("print('one') alc.llm('q') print('two') alc.llm('r') "
                          "print('three')",
                          true);
  CAF_REQUIRE_EQUAL(outcome.logs.size(), 3u);
  CAF_CHECK_EQUAL(outcome.logs[2].message, "three");
  CAF_CHECK_EQUAL(outcome.logs[2].number, 3u);
}

CAF_TEST(answers may be on disk in any order) {
  auto past = run_anew("return alc.llm_batch({{prompt = 'a'}, {prompt = 'b'}, "
                       "{prompt = 'c'}})",
                       false);
  std::swap(past.events[2], past.events[4]);
  auto report = replay(past);
  CAF_CHECK_EQUAL(
    std::get<done_event>(std::get<strategy_step>(report).end).result,
    past.result());
}

CAF_TEST(a history that is cut or mixed up is no crash) {
  auto past = run_anew(read(strategies + "/state.lua"), false);
  for (std::size_t drop = 1; drop + 1 < past.events.size(); ++drop) {
    auto broken = past;
    broken.events.erase(broken.events.begin()
                        + static_cast<std::ptrdiff_t>(drop));
    auto report = replay(broken);
    auto* step = std::get_if<strategy_step>(&report);
    // Either it stands at a pause, or it says what is wrong.
    if (step != nullptr)
      CAF_CHECK(std::holds_alternative<failed_event>(step->end)
                || std::holds_alternative<paused_event>(step->end)
                || std::holds_alternative<done_event>(step->end));
  }
}

CAF_TEST_FIXTURE_SCOPE_END()
