// SPDX-License-Identifier: Apache-2.0

// A script that takes the whole process down, and what becomes of the others.
// The process dies where the script looks at the clock.

#define CAF_SUITE session.crashes

#include "tests/support/node_bench.hpp"
#include "tests/support/suite.hpp"

#include "actors/process/crash_handler.hpp"

#include <set>

#include <signal.h>

using namespace muster;
using namespace muster::test;
using namespace std::chrono_literals;

namespace {

struct fixture : node_bench {
  fixture() {
    require_start();
  }

  /// Lets all work until a script looks at the clock, and the process dies
  /// there.
  /// @param number the signal; SIGKILL leaves no note.
  /// @returns whether there was such a script.
  bool run_into_crash(int number = SIGSEGV) {
    bool is_dead = false;
    on_wall_clock = [&] {
      crash_line line;
      auto size = running_script::write_line(line, number);
      if (size == 0 || is_dead)
        return;
      std::string note{line.data(), size};
      auto id = note.substr(0, note.find(' '));
      last_seen.push_back(id);
      actors_at_last = actors();
      is_dead = harmless.count(id) == 0;
      if (is_dead && number != SIGKILL)
        disk.set_contents(crash_path,
                          disk.contents(crash_path).value_or("") + note);
    };
    for (int i = 0; i < 5'000 && !is_dead; ++i)
      run(1);
    on_wall_clock = nullptr;
    if (is_dead)
      kill();
    return is_dead;
  }

  /// The node dies under its scripts until there is none any more that does it.
  int die_as_often_as_it_does() {
    run_at_start = false;
    int deaths = 0;
    for (; deaths < 20 && run_into_crash(); ++deaths)
      require_start();
    run_at_start = true;
    return deaths;
  }

  std::string paused(const std::string& code) {
    auto view = run_code(code);
    CAF_REQUIRE(view);
    CAF_REQUIRE_EQUAL(view->phase, session_phase::paused);
    return view->session_id;
  }

  /// Answers the query of a session; what it does then is for the next node.
  void feed_for_later(const std::vector<std::string>& ids) {
    for (auto& id : ids)
      CAF_REQUIRE(feed(id, "", "x", feed_mode::accepted));
    kill();
    run_at_start = false;
    require_start();
    run_at_start = true;
  }

  void check_failed(const std::string& id, int deaths) {
    auto view = show(id);
    CAF_REQUIRE(view);
    CAF_CHECK_EQUAL(view->phase, session_phase::failed);
    CAF_CHECK_EQUAL(view->error_kind, failure_kind::engine_error);
    CAF_CHECK(
      view->error.starts_with("the node died " + std::to_string(deaths)
                              + " times in a row, of signal 11 at last"));
  }

  const std::string crash_path = "/state/crashes";

  /// Sessions that may look at the clock.
  std::set<std::string> harmless;

  /// Those who did, in order.
  std::vector<std::string> last_seen;

  /// Actors that lived when the last of them did.
  std::size_t actors_at_last = 0;
};

const std::string crashes = "alc.llm('q') os.time() while true do end";

} // namespace

CAF_TEST_FIXTURE_SCOPE(crash_tests, fixture)

CAF_TEST(a session under which the node died three times is not run again) {
  auto other = paused("local x = alc.llm('q') for i = 1, 20000 do end "
                      "return x .. '!'");
  auto id = paused(crashes);
  feed_for_later({id, other});
  CAF_CHECK_EQUAL(die_as_often_as_it_does(), 3);
  check_failed(id, 3);
  CAF_CHECK_EQUAL(show(other)->result, "\"x!\"");
  // It has ended for good, and is in nobody's way.
  kill();
  require_start();
  check_failed(id, 3);
  advance(30s);
  CAF_CHECK_EQUAL(status()["sessions"]["resuming"], 0);
}

CAF_TEST(how often that may be is an option) {
  kill();
  settings.strategy.max_crashes = 5;
  require_start();
  auto id = paused(crashes);
  feed_for_later({id});
  CAF_CHECK_EQUAL(die_as_often_as_it_does(), 5);
  check_failed(id, 5);
}

CAF_TEST(a crash ahead of the disk counts for the step that it was in) {
  auto id = paused(crashes);
  // The machine is there and goes ahead; the answer is lost with it.
  auto lost
    = send<feed_reply>(feed_atom::value, id, std::vector<answer>{{"", "x", {}}},
                       feed_mode::next_event, once);
  CAF_CHECK(run_into_crash());
  require_start();
  CAF_CHECK_EQUAL(show(id)->phase, session_phase::paused);
  CAF_CHECK_EQUAL(crash_notes{*disk.contents(crash_path)}.deaths(id, 1), 1u);
  feed_for_later({id});
  CAF_CHECK_EQUAL(die_as_often_as_it_does(), 2);
  check_failed(id, 3);
}

CAF_TEST(a spawn that crashes the node counts as well) {
  session_spec spec;
  spec.code = "os.time() while true do end";
  auto id = send<std::string>(spawn_atom::value, spec, once);
  while (!*id)
    run(1);
  kill();
  run_at_start = false;
  require_start();
  CAF_CHECK_EQUAL(die_as_often_as_it_does(), 3);
  check_failed(***id, 3);
}

CAF_TEST(a session that came further is not blamed for what was before) {
  // Long enough to be under way still when the node is killed.
  auto id = paused("local function work() os.time() for i = 1, 2e6 do end end "
                   "alc.llm('one') work() alc.llm('two') work() "
                   "return 'end'");
  feed_for_later({id});
  run_at_start = false;
  for (int i = 0; i < 2; ++i) {
    CAF_CHECK(run_into_crash());
    require_start();
  }
  // The third time it gets through.
  run();
  CAF_CHECK_EQUAL(show(id)->queries.at(0).prompt, "two");
  feed_for_later({id});
  run_at_start = false;
  for (int i = 0; i < 2; ++i) {
    CAF_CHECK(run_into_crash());
    require_start();
  }
  run();
  CAF_CHECK_EQUAL(show(id)->result, "\"end\"");
}

CAF_TEST(a node that is killed under a script blames nobody) {
  auto id = paused("alc.llm('q') os.time() for i = 1, 2e6 do end "
                   "return 'end'");
  feed_for_later({id});
  run_at_start = false;
  for (int i = 0; i < 10; ++i) {
    CAF_CHECK(run_into_crash(SIGKILL));
    require_start();
  }
  run();
  CAF_CHECK_EQUAL(show(id)->result, "\"end\"");
  CAF_CHECK(!disk.contents(crash_path));
}

CAF_TEST(suspects come behind all others) {
  kill();
  settings.session.max_activations = 2;
  require_start();
  // By their age they would be the first.
  std::vector<std::string> suspects;
  for (int i = 0; i < 3; ++i)
    suspects.push_back(paused(crashes));
  std::string notes;
  for (auto& id : suspects) {
    crash_line line;
    notes.append(line.data(), write_crash_line(line, id, 1, SIGSEGV));
  }
  for (int i = 0; i < 10; ++i)
    harmless.insert(paused(crashes));
  disk.set_contents(crash_path, notes);
  std::vector<std::string> ids;
  auto all = *list();
  for (auto& summary : all)
    ids.push_back(summary.session_id);
  feed_for_later(ids);
  CAF_CHECK(run_into_crash());
  CAF_CHECK_EQUAL(last_seen.size(), 11u);
  CAF_CHECK_EQUAL(harmless.count(last_seen.back()), 0u);
}

CAF_TEST(suspects come one at a time) {
  auto without_sessions = actors();
  std::vector<std::string> suspects;
  for (int i = 0; i < 5; ++i)
    suspects.push_back(paused(crashes));
  std::string notes;
  for (auto& id : suspects) {
    crash_line line;
    notes.append(line.data(), write_crash_line(line, id, 1, SIGSEGV));
  }
  disk.set_contents(crash_path, notes);
  feed_for_later(suspects);
  CAF_CHECK(run_into_crash());
  // Nobody else was on the way.
  CAF_CHECK_EQUAL(actors_at_last, without_sessions + 1);
}

CAF_TEST(a stop in order forgets) {
  auto id = paused(crashes);
  feed_for_later({id});
  CAF_CHECK(run_into_crash());
  require_start();
  CAF_CHECK(disk.contents(crash_path));
  stop();
  CAF_CHECK(!disk.contents(crash_path));
  run_at_start = false;
  require_start();
  CAF_CHECK_EQUAL(die_as_often_as_it_does(), 3);
}

CAF_TEST(notes that have grown too large are begun anew) {
  auto id = paused(crashes);
  kill();
  crash_line line;
  std::string note{line.data(), write_crash_line(line, id, 1, SIGSEGV)};
  std::string notes;
  while (notes.size() <= max_crash_bytes)
    notes += note;
  disk.set_contents(crash_path, notes);
  require_start();
  CAF_CHECK(!disk.contents(crash_path));
  feed_for_later({id});
  CAF_CHECK_EQUAL(die_as_often_as_it_does(), 3);
}

CAF_TEST_FIXTURE_SCOPE_END()
