// SPDX-License-Identifier: Apache-2.0

#define CAF_SUITE session.state

#include "tests/session/core_fixture.hpp"

#include <fmt/format.h>

#include <random>

using namespace muster;
using namespace muster::test;

CAF_TEST_FIXTURE_SCOPE(state_tests, core_fixture)

// -- coming to be -------------------------------------------------------------

CAF_TEST(a spawn is answered when it is on disk and not before) {
  auto t = spawn();
  CAF_CHECK(views.empty());
  CAF_CHECK(!has_machine);
  write();
  CAF_CHECK_EQUAL(views.count(t), 1u);
  CAF_CHECK(has_machine);
}

CAF_TEST(a spawn that cannot be kept never was) {
  auto t = spawn();
  refuse();
  CAF_CHECK_EQUAL(refusals[t].code, errc::storage_full);
  CAF_CHECK(vanished);
  CAF_CHECK(!has_machine);
}

CAF_TEST(a start goes to disk with its first event) {
  auto t = spawn(feed_mode::next_event);
  CAF_CHECK(has_machine);
  CAF_CHECK(!out);
  pause({"a"});
  CAF_CHECK_EQUAL(out->last_seq, 2u);
  CAF_CHECK(views.empty());
  write();
  CAF_CHECK_EQUAL(views[t].phase, session_phase::paused);
}

CAF_TEST(a start that takes long is on disk before its first event) {
  auto t = spawn(feed_mode::next_event);
  CAF_CHECK(commit_timer);
  perform(core.commit_time(now));
  CAF_CHECK_EQUAL(out->last_seq, 1u);
  // The machine goes on meanwhile, and its step waits for the commit.
  pause({"a"});
  CAF_CHECK_EQUAL(out->last_seq, 1u);
  write();
  CAF_CHECK(views.empty());
  CAF_CHECK_EQUAL(out->first_seq, 2u);
  write();
  CAF_CHECK_EQUAL(views[t].phase, session_phase::paused);
}

// -- feeding ------------------------------------------------------------------

CAF_TEST(a feed and the pause that it leads to are one commit) {
  pause_at({"a"});
  auto t = feed({{"q-0", "x"}});
  CAF_CHECK(!out);
  CAF_CHECK_EQUAL(fed.at(0).response, "x");
  pause({"b"});
  CAF_CHECK_EQUAL(out->first_seq, 3u);
  CAF_CHECK_EQUAL(out->last_seq, 4u);
  // Nobody sees it yet.
  CAF_CHECK_EQUAL(core.view().queries.at(0).id, "q-0");
  CAF_CHECK(feeds.empty());
  write();
  CAF_CHECK_EQUAL(feeds[t].session.queries.at(0).id, "q-1");
}

CAF_TEST(a feed whose machine takes long is on disk before the next event) {
  pause_at({"a"});
  auto t = feed({{"q-0", "x"}});
  commit_timer = false;
  perform(core.commit_time(now)); // set for the spawn or for this one
  if (!out)
    perform(core.commit_time(now));
  CAF_CHECK_EQUAL(out->last_seq, 3u);
  write();
  CAF_CHECK_EQUAL(phase(), session_phase::running);
  CAF_CHECK(feeds.empty());
  // Whoever comes now is told to wait.
  auto late = feed({{"q-0", "y"}});
  CAF_CHECK_EQUAL(refusals[late].code, errc::busy);
  finish();
  write();
  CAF_CHECK_EQUAL(feeds[t].session.phase, session_phase::done);
}

CAF_TEST(a resume is answered when the answer is on disk) {
  pause_at({"a"});
  auto t = feed({{"q-0", "x"}}, feed_mode::accepted);
  CAF_CHECK(fed.empty());
  write();
  CAF_CHECK_EQUAL(feeds[t].session.phase, session_phase::running);
  CAF_CHECK_EQUAL(fed.at(0).response, "x");
}

CAF_TEST(
  answers may come in any order and reach the script in that of the queries) {
  pause_at({"a", "b", "c"});
  auto first = feed({{"q-2", "C"}});
  write();
  CAF_CHECK_EQUAL(feeds[first].session.queries.size(), 2u);
  auto second = feed({{"q-0", "A"}});
  write();
  CAF_CHECK_EQUAL(feeds[second].session.queries.size(), 1u);
  feed({{"q-1", "B"}});
  CAF_REQUIRE_EQUAL(fed.size(), 3u);
  CAF_CHECK_EQUAL(fed[0].response + fed[1].response + fed[2].response, "ABC");
}

CAF_TEST(queries beyond the tenth keep their order as well) {
  std::vector<std::string> prompts(12, "p");
  pause_at(prompts);
  std::vector<std::pair<std::string, std::string>> answers;
  for (int i = 11; i >= 0; --i)
    answers.emplace_back(fmt::format("q-{}", i), std::to_string(i));
  feed(answers);
  CAF_CHECK_EQUAL(fed.at(2).query_id, "q-2");
  CAF_CHECK_EQUAL(fed.at(10).query_id, "q-10");
}

CAF_TEST(a batch gets one result for each answer and the good ones count) {
  pause_at({"a", "b"});
  auto t = feed(
    {{"q-0", "A"}, {"q-0", "again"}, {"q-7", "?"}, {"", "B"}, {"q-1", "no"}});
  finish();
  write();
  auto& results = feeds[t].results;
  CAF_REQUIRE_EQUAL(results.size(), 5u);
  CAF_CHECK(!results[0].refused);
  CAF_CHECK_EQUAL(results[1].refused->code, errc::already_answered);
  CAF_CHECK_EQUAL(results[2].refused->code, errc::not_found);
  CAF_CHECK(!results[3].refused);
  CAF_CHECK_EQUAL(results[3].query_id, "q-1");
  CAF_CHECK_EQUAL(results[4].refused->code, errc::already_answered);
  CAF_CHECK_EQUAL(fed[0].response + fed[1].response, "AB");
}

CAF_TEST(a feed of which nothing can be taken changes nothing) {
  pause_at({"a", "b"});
  auto before = core.fold().metrics().response_bytes;
  for (auto& answers :
       std::vector<std::vector<std::pair<std::string, std::string>>>{
         {{"q-9", "x"}},
         {{"", "x"}},
         {{"bad id", "x"}},
         {{"q-01", "x"}},
         {{"q-0", "\xff"}},
         {{"q-0", std::string(settings.max_response_bytes + 1, 'x')}}}) {
    now += 50;
    auto t = feed(answers);
    CAF_CHECK(feeds[t].results.at(0).refused);
    CAF_CHECK(!out);
  }
  CAF_CHECK_EQUAL(core.fold().metrics().response_bytes, before);
  CAF_CHECK_EQUAL(core.view().last_active_ms, 1'000);
  CAF_CHECK_EQUAL(core.view().queries.size(), 2u);
}

CAF_TEST(feeds behind a commit wait for it) {
  pause_at({"a", "b"});
  auto first = feed({{"q-0", "A"}});
  auto twice = feed({{"q-0", "again"}});
  auto second = feed({{"q-1", "B"}});
  CAF_CHECK(feeds.empty());
  write(); // the first
  CAF_CHECK_EQUAL(feeds.count(first), 1u);
  CAF_CHECK_EQUAL(feeds[twice].results[0].refused->code,
                  errc::already_answered);
  pause({"c"});
  write();
  CAF_CHECK_EQUAL(feeds[second].session.queries.at(0).id, "q-2");
}

CAF_TEST(a feed without answers is refused wherever the session stands) {
  pause_at({"a"});
  auto paused = feed({});
  CAF_CHECK_EQUAL(refusals[paused].code, errc::invalid_argument);
  feed({{"q-0", "A"}});
  auto running = feed({});
  CAF_CHECK_EQUAL(refusals[running].code, errc::invalid_argument);
}

CAF_TEST(a reason to cancel has a limit) {
  pause_at({"a"});
  cancel_reason reason;
  reason.detail = std::string(64 * 1'024 + 1, 'x');
  perform(core.cancel(++tickets, reason, now));
  CAF_CHECK_EQUAL(refusals[tickets].code, errc::too_large);
  CAF_CHECK(!out);
  reason.detail->pop_back();
  perform(core.cancel(++tickets, reason, now));
  write();
  CAF_CHECK_EQUAL(views[tickets].phase, session_phase::cancelled);
}

CAF_TEST(no more requests wait than the limit allows) {
  settings.max_queued = 2;
  pause_at({"a", "b"});
  feed({{"q-0", "A"}});
  feed({{"q-1", "B"}});
  feed({{"q-1", "B"}});
  auto t = feed({{"q-1", "B"}});
  CAF_CHECK_EQUAL(refusals[t].code, errc::overloaded);
}

// -- when the disk refuses ----------------------------------------------------

CAF_TEST(an answer that could not be kept was never given) {
  pause_at({"a"});
  auto t = feed({{"q-0", "x"}});
  pause({"b"});
  refuse();
  CAF_CHECK_EQUAL(refusals[t].code, errc::storage_full);
  CAF_CHECK(!has_machine);
  CAF_CHECK_EQUAL(core.view().queries.at(0).id, "q-0");
  // The next one is taken, and goes to disk before the machine is built again.
  next_query = 1;
  auto again = feed({{"q-0", "y"}});
  CAF_CHECK_EQUAL(out->last_seq, 3u);
  write();
  CAF_CHECK(has_machine);
  pause({"b"});
  write();
  CAF_CHECK_EQUAL(feeds[again].session.queries.at(0).id, "q-1");
}

CAF_TEST(a partial answer that could not be kept leaves the machine alone) {
  pause_at({"a", "b"});
  auto t = feed({{"q-0", "x"}});
  refuse();
  CAF_CHECK_EQUAL(refusals[t].code, errc::storage_full);
  CAF_CHECK(has_machine);
}

CAF_TEST(a step that could not be kept is tried again after a while) {
  pause_at({"a"});
  auto t = feed({{"q-0", "x"}}, feed_mode::accepted);
  write();
  CAF_CHECK_EQUAL(feeds.count(t), 1u);
  finish();
  refuse();
  CAF_CHECK(!has_machine);
  CAF_CHECK(retry_timer);
  perform(core.retry(now));
  CAF_CHECK(has_machine);
  finish();
  write();
  CAF_CHECK_EQUAL(phase(), session_phase::done);
}

CAF_TEST(when the answer alone is refused the machine ahead of it goes) {
  pause_at({"a"});
  auto t = feed({{"q-0", "x"}});
  perform(core.commit_time(now));
  if (!out)
    perform(core.commit_time(now));
  finish(); // held back: the commit is out
  refuse();
  CAF_CHECK_EQUAL(refusals[t].code, errc::storage_full);
  CAF_CHECK(!has_machine);
  CAF_CHECK(!out);
  CAF_CHECK_EQUAL(phase(), session_phase::paused);
}

// -- conflicts ----------------------------------------------------------------

CAF_TEST(a step that read what others changed runs again) {
  pause_at({"a"});
  auto t = feed({{"q-0", "x"}});
  strategy_step step;
  step.writes.push_back({{"default", "k"}, "1"});
  step.expectations.push_back({{"default", "k"}, 3});
  step.end = done_event{"1", "d", {}};
  perform(core.machine_stopped(step, now));
  refuse(errc::conflict);
  // First the answer goes to disk, for whoever gave it has waited.
  CAF_CHECK_EQUAL(out->last_seq, 3u);
  CAF_CHECK(out->writes.empty());
  CAF_CHECK(refusals.empty());
  write();
  CAF_CHECK(has_machine);
  perform(core.machine_stopped(step, now));
  write();
  CAF_CHECK_EQUAL(feeds[t].session.phase, session_phase::done);
}

CAF_TEST(a script that loses too often is told so) {
  settings.max_conflicts = 2;
  spawn();
  write();
  strategy_step step;
  step.expectations.push_back({{"default", "k"}, 3});
  step.end = done_event{"1", "d", {}};
  for (int i = 0; i < 2; ++i) {
    perform(core.machine_stopped(step, now));
    refuse(errc::conflict);
    CAF_CHECK(contended.empty());
  }
  perform(core.machine_stopped(step, now));
  refuse(errc::conflict);
  CAF_REQUIRE_EQUAL(contended.size(), 1u);
  CAF_CHECK_EQUAL(contended[0].key, "k");
}

CAF_TEST(a start that loses is kept and runs again) {
  auto t = spawn(feed_mode::next_event);
  strategy_step step;
  step.end = done_event{"1", "d", {}};
  perform(core.machine_stopped(step, now));
  refuse(errc::conflict);
  CAF_CHECK(!vanished);
  CAF_CHECK_EQUAL(out->last_seq, 1u);
  write();
  perform(core.machine_stopped(step, now));
  write();
  CAF_CHECK_EQUAL(views[t].phase, session_phase::done);
}

// -- cancelling ---------------------------------------------------------------

CAF_TEST(a cancel is answered when it is on disk) {
  pause_at({"a"});
  auto t = cancel("why");
  CAF_CHECK(!has_machine);
  CAF_CHECK(views.count(t) == 0);
  write();
  CAF_CHECK_EQUAL(views[t].phase, session_phase::cancelled);
  CAF_CHECK_EQUAL(*views[t].reason.detail, "why");
  CAF_CHECK_EQUAL(views[t].phase_before, session_phase::paused);
}

CAF_TEST(the first reason counts) {
  pause_at({"a"});
  auto first = cancel("first");
  auto second = cancel("second");
  write();
  auto third = cancel("third");
  for (auto t : {first, second, third})
    CAF_CHECK_EQUAL(*views[t].reason.detail, "first");
}

CAF_TEST(a running session keeps the reason of its caller) {
  spawn();
  write();
  auto t = cancel("stop it");
  CAF_CHECK(!has_machine);
  write();
  CAF_CHECK_EQUAL(*views[t].reason.detail, "stop it");
  CAF_CHECK_EQUAL(views[t].phase_before, session_phase::running);
}

CAF_TEST(a cancel behind a commit waits for it) {
  pause_at({"a"});
  auto fed_ticket = feed({{"q-0", "x"}});
  pause({"b"});
  auto t = cancel();
  CAF_CHECK(!has_machine);
  write(); // the pause
  CAF_CHECK_EQUAL(feeds[fed_ticket].session.queries.at(0).id, "q-1");
  write(); // the cancel
  CAF_CHECK_EQUAL(views[t].phase, session_phase::cancelled);
}

CAF_TEST(a session that ends before its cancel stays as it ended) {
  pause_at({"a"});
  feed({{"q-0", "x"}});
  finish();
  auto t = cancel();
  write();
  CAF_CHECK_EQUAL(views[t].phase, session_phase::done);
  CAF_CHECK(!out);
}

CAF_TEST(a cancel keeps the answer that the machine had taken) {
  pause_at({"a"});
  auto fed_ticket = feed({{"q-0", "x"}});
  auto t = cancel();
  CAF_CHECK_EQUAL(out->first_seq, 3u);
  CAF_CHECK_EQUAL(out->last_seq, 4u);
  write();
  CAF_CHECK_EQUAL(feeds[fed_ticket].session.phase, session_phase::cancelled);
  CAF_CHECK_EQUAL(views[t].phase, session_phase::cancelled);
}

CAF_TEST(a session that nobody came back to is timed out) {
  pause_at({"a", "b"});
  perform(core.time_out(++tickets, core.view().seq, now));
  write();
  CAF_CHECK_EQUAL(views.at(tickets).phase, session_phase::cancelled);
  CAF_CHECK_EQUAL(views.at(tickets).reason.code, cancel_code::timeout);
}

CAF_TEST(a session that was used after it was found idle is not timed out) {
  pause_at({"a", "b"});
  auto found_at = core.view().seq;
  auto answered = feed({{"q-0", "x"}});
  // The answer is on its way to the disk.
  perform(core.time_out(++tickets, found_at, now));
  write();
  CAF_CHECK_EQUAL(views.at(tickets).phase, session_phase::paused);
  CAF_CHECK(feeds.contains(answered));
  // It is there.
  perform(core.time_out(++tickets, found_at, now));
  CAF_CHECK(!out);
  CAF_CHECK_EQUAL(views.at(tickets).queries.size(), 1u);
  CAF_CHECK_EQUAL(phase(), session_phase::paused);
}

CAF_TEST(a cancel that could not be kept can be asked again) {
  spawn();
  write();
  auto t = cancel();
  refuse();
  CAF_CHECK_EQUAL(refusals[t].code, errc::storage_full);
  CAF_CHECK_EQUAL(phase(), session_phase::running);
  CAF_CHECK(retry_timer);
  auto again = cancel();
  write();
  CAF_CHECK_EQUAL(views[again].phase, session_phase::cancelled);
}

CAF_TEST(a cancelled session takes no answers) {
  pause_at({"a"});
  cancel();
  write();
  auto t = feed({{"q-0", "x"}});
  CAF_CHECK_EQUAL(refusals[t].code, errc::already_cancelled);
}

// -- limits -------------------------------------------------------------------

CAF_TEST(a session with too many events fails and says which limit it was) {
  settings.max_events = 4;
  pause_at({"a"});
  feed({{"q-0", "x"}});
  strategy_step step;
  step.effects.resize(3);
  step.writes.push_back({{"default", "k"}, "1"});
  step.end = done_event{"1", "d", {}};
  perform(core.machine_stopped(step, now));
  CAF_CHECK(out->writes.empty());
  write();
  CAF_CHECK_EQUAL(phase(), session_phase::failed);
  CAF_CHECK_EQUAL(core.view().error_kind, failure_kind::limit_exceeded);
  CAF_CHECK(core.view().error.find("session.max-events") == 0);
}

CAF_TEST(a session that takes too much room fails and says so) {
  settings.max_bytes = 2'000;
  pause_at({"a"});
  feed({{"q-0", "x"}});
  finish("\"" + std::string(5'000, 'x') + "\"");
  write();
  CAF_CHECK(core.view().error.find("session.max-bytes") == 0);
  CAF_CHECK_EQUAL(disk.size(), 4u);
}

// -- machines -----------------------------------------------------------------

CAF_TEST(a paused session gives its machine back and goes on without it) {
  pause_at({"a"});
  perform(core.passivate());
  CAF_CHECK(!has_machine);
  auto t = feed({{"q-0", "x"}});
  write(); // the answer first
  CAF_CHECK(has_machine);
  pause({"b"});
  write();
  CAF_CHECK_EQUAL(feeds[t].session.queries.at(0).id, "q-1");
}

CAF_TEST(a running session keeps its machine) {
  spawn();
  write();
  perform(core.passivate());
  CAF_CHECK(has_machine);
}

// -- machines that are lost ---------------------------------------------------

CAF_TEST(a machine hears that its pause is on disk) {
  spawn();
  write();
  pause({"a"});
  CAF_CHECK_EQUAL(confirmed, 0u);
  write();
  CAF_CHECK_EQUAL(confirmed, 2u);
  // An answer does not move the machine, so that it need not know of it.
  feed({{"q-0", "x"}}, feed_mode::accepted);
  write();
  CAF_CHECK_EQUAL(confirmed, 2u);
  CAF_CHECK_EQUAL(core.fold().pause_seq(), 2u);
}

CAF_TEST(a machine that is lost in a pause is built again when it is needed) {
  pause_at({"a"});
  perform(core.machine_lost(now));
  CAF_CHECK(!has_machine);
  CAF_CHECK(core.is_idle());
  auto t = feed({{"q-0", "x"}});
  write();
  CAF_CHECK(busy);
  finish();
  write();
  CAF_CHECK_EQUAL(feeds[t].session.phase, session_phase::done);
}

CAF_TEST(a machine that is lost at work is built again at once) {
  spawn();
  write();
  has_machine = busy = false;
  perform(core.machine_lost(now));
  CAF_CHECK(busy);
}

CAF_TEST(the answer that a lost machine had taken goes to disk at once) {
  pause_at({"a"});
  auto t = feed({{"q-0", "x"}});
  CAF_CHECK(!out);
  perform(core.machine_lost(now));
  CAF_REQUIRE(out);
  CAF_CHECK(!has_machine);
  write();
  CAF_CHECK(busy);
  finish();
  write();
  CAF_CHECK_EQUAL(feeds[t].session.phase, session_phase::done);
}

CAF_TEST(a step that is on its way to disk does not need its machine) {
  pause_at({"a"});
  auto t = feed({{"q-0", "x"}});
  pause({"b"});
  perform(core.machine_lost(now));
  write();
  CAF_CHECK_EQUAL(feeds[t].session.queries.at(0).id, "q-1");
  CAF_CHECK(!has_machine);
}

CAF_TEST(a machine that is found again gets the answers that it missed) {
  pause_at({"a", "b"});
  perform(core.machine_lost(now));
  feed({{"q-1", "B"}});
  write();
  CAF_CHECK(!has_machine);
  feed({{"q-0", "A"}});
  write();
  CAF_REQUIRE(busy);
  perform(core.machine_restored(now));
  CAF_REQUIRE_EQUAL(fed.size(), 2u);
  CAF_CHECK_EQUAL(fed[0].response + fed[1].response, "AB");
  CAF_CHECK(busy);
}

CAF_TEST(who waits is told why no machine can be built) {
  auto t = spawn(feed_mode::next_event);
  perform(core.commit_time(now));
  write();
  perform(core.machine_failed({errc::overloaded, "later"}));
  CAF_CHECK(refusals.empty());
  CAF_CHECK(!awaiters_told);
  CAF_CHECK(std::exchange(retry_timer, false));
  perform(core.retry(now));
  CAF_CHECK(busy);
  perform(core.machine_failed({errc::registry_corrupted, "broken"}));
  for (auto& told : {refusals[t], *awaiters_told}) {
    CAF_CHECK_EQUAL(told.code, errc::registry_corrupted);
    CAF_CHECK_EQUAL(told.message,
                    "what session 's-1' was told is on disk, and it goes on as "
                    "soon as it can: broken");
  }
  // It is tried again nevertheless.
  CAF_CHECK(retry_timer);
}

CAF_TEST(a session from disk stands where it stood) {
  pause_at({"a", "b"});
  feed({{"q-1", "B"}});
  write();
  stored_session stored;
  stored.session_id = "s-1";
  stored.row = 7;
  stored.events.push_back({1, encode_history(disk, "hash")});
  stored.sources.push_back({"hash", "return 1"});
  session_state other{"s-1", settings};
  auto effects = other.restore(stored);
  CAF_REQUIRE(effects);
  CAF_CHECK(effects->empty());
  CAF_CHECK_EQUAL(other.view().queries.size(), 1u);
  CAF_CHECK_EQUAL(other.view().queries.at(0).id, "q-0");
  CAF_CHECK_EQUAL(other.fold().answers().size(), 1u);
  CAF_CHECK_EQUAL(*other.sole_pending(), "q-0");
}

CAF_TEST(a session that ran goes on by itself) {
  spawn();
  write();
  stored_session stored;
  stored.row = 7;
  stored.events.push_back({1, encode_history(disk, "hash")});
  stored.sources.push_back({"hash", "return 1"});
  session_state other{"s-1", settings};
  auto effects = other.restore(stored);
  CAF_REQUIRE(effects);
  CAF_REQUIRE_EQUAL(effects->size(), 1u);
  CAF_CHECK(std::holds_alternative<build_machine>(effects->front()));
}

CAF_TEST(a history with a gap or of nonsense is refused) {
  pause_at({"a"});
  for (auto& [seq, text] : std::vector<std::pair<std::uint64_t, std::string>>{
         {2, encode_history(disk, "hash")},
         {1, R"({"not":"a list"})"},
         {1, R"([{"event":"exploded","at":1}])"},
         {1, R"([{"event":"paused","at":1,"queries":[{}]}])"},
         {1, "torn"}}) {
    stored_session stored;
    stored.events.push_back({seq, text});
    session_state other{"s-1", settings};
    auto effects = other.restore(stored);
    CAF_REQUIRE(!effects);
    CAF_CHECK_EQUAL(effects.error().code, errc::registry_corrupted);
  }
}

CAF_TEST(a history that does not begin with a spawn is refused) {
  pause_at({"a"});
  history headless{disk.begin() + 1, disk.end()};
  for (auto& events : {std::vector<stored_events>{},
                       {{1, encode_history({}, "")}},
                       {{1, encode_history(headless, "")}}}) {
    stored_session stored;
    stored.events = events;
    session_state other{"s-1", settings};
    auto effects = other.restore(stored);
    CAF_REQUIRE(!effects);
    CAF_CHECK_EQUAL(effects.error().code, errc::registry_corrupted);
  }
}

// -- what observers see -------------------------------------------------------

CAF_TEST(a session whose script is missing is refused unless it has ended) {
  pause_at({"a"});
  stored_session stored;
  stored.row = 7;
  stored.events.push_back({1, encode_history(disk, "hash")});
  stored.sources.push_back({"other", "return 1"});
  auto refused = session_state{"s-1", settings}.restore(stored);
  CAF_REQUIRE(!refused);
  CAF_CHECK_EQUAL(refused.error().code, errc::registry_corrupted);
  CAF_CHECK(refused.error().message.find("script") != std::string::npos);
  cancel();
  write();
  stored.events = {{1, encode_history(disk, "hash")}};
  session_state ended{"s-1", settings};
  CAF_CHECK(ended.restore(stored));
  CAF_CHECK_EQUAL(ended.view().phase, session_phase::cancelled);
}

CAF_TEST(observers see each event when it is on disk and in order) {
  core.observed = true;
  spawn();
  CAF_CHECK(progress.empty());
  write();
  pause({"a"});
  write();
  feed({{"q-0", "x"}});
  finish();
  CAF_CHECK_EQUAL(progress.size(), 4u);
  write();
  std::vector<std::string> expected{
    "tick",         "state_transition", "pause_requested", "llm_call_begin",
    "llm_call_end", "state_transition", "resume_accepted", "state_transition"};
  CAF_CHECK_EQUAL(progress, expected);
}

// -- everything at once -------------------------------------------------------

/// Random clients, a random machine and a random disk. Whatever happens: each
/// request is answered once, what was acknowledged is on disk, nothing is on
/// disk twice, and the session on disk is the session that is shown.
CAF_TEST(whatever happens in whatever order nothing acknowledged is lost) {
  for (std::uint64_t seed = 1; seed <= 3'000; ++seed) {
    core_fixture f;
    std::mt19937_64 random{seed};
    f.settings.max_queued = 4;
    auto chance = [&](unsigned percent) { return random() % 100 < percent; };
    std::map<ticket, std::vector<std::string>> asked;
    f.spawn(chance(50) ? feed_mode::accepted : feed_mode::next_event);
    for (int step = 0; step < 60 && !f.vanished; ++step) {
      f.now += 1;
      switch (random() % 8) {
        case 0:
        case 1:
          if (f.out)
            f.write();
          break;
        case 2:
          if (f.out && chance(30))
            f.refuse(chance(50) ? errc::conflict : errc::storage_full);
          break;
        case 3:
        case 4: {
          auto& open = f.core.view().queries;
          std::vector<std::pair<std::string, std::string>> answers;
          for (auto& q : open)
            if (chance(60))
              answers.emplace_back(q.id, "a");
          if (chance(20))
            answers.emplace_back("q-99", "?");
          if (answers.empty())
            break;
          auto t = f.feed(answers, chance(50) ? feed_mode::accepted
                                              : feed_mode::next_event);
          for (auto& [id, text] : answers)
            asked[t].push_back(id);
          break;
        }
        case 5:
          // The machine does something, if it has anything to do. What it asks
          // is numbered behind what is on disk and on its way there.
          if (f.busy) {
            f.next_query = f.core.fold().next_query();
            if (chance(70))
              f.pause(std::vector<std::string>(1 + random() % 3, "p"));
            else
              f.finish();
          }
          break;
        case 6:
          f.perform(f.core.commit_time(f.now));
          break;
        default:
          if (chance(4))
            f.cancel();
          else if (f.has_machine && chance(20))
            f.perform(f.core.machine_lost(f.now));
          else if (chance(30))
            f.perform(f.core.retry(f.now));
      }
    }
    // Everything comes to an end.
    for (int i = 0; i < 20 && !f.vanished; ++i) {
      if (f.out)
        f.write();
      f.perform(f.core.commit_time(f.now));
      f.perform(f.core.retry(f.now));
    }
    if (!f.vanished) {
      f.cancel();
      while (f.out)
        f.write();
      CAF_CHECK(is_terminal(f.phase()));
      CAF_CHECK(f.core.is_idle());
    }
    // Each request has exactly one answer.
    for (ticket t = 1; t <= f.tickets; ++t)
      if (f.views.count(t) + f.feeds.count(t) + f.refusals.count(t) != 1)
        CAF_FAIL("seed " << seed << ": request " << t << " has "
                         << f.views.count(t) + f.feeds.count(t)
                              + f.refusals.count(t)
                         << " answers");
    // What was acknowledged is on disk, once.
    std::map<std::string, int> on_disk;
    for (auto& event : f.disk)
      if (auto* x = std::get_if<answered_event>(&event.body))
        ++on_disk[x->query_id];
    for (auto& [id, count] : on_disk)
      if (count != 1)
        CAF_FAIL("seed " << seed << ": " << id << " was answered " << count
                         << " times");
    for (auto& [t, reply] : f.feeds)
      for (auto& result : reply.results)
        if (!result.refused && on_disk[result.query_id] != 1)
          CAF_FAIL("seed " << seed << ": the answer to " << result.query_id
                           << " was acknowledged and is not on disk");
    // The session on disk is the one that is shown.
    session_fold fold{"s-1"};
    for (auto& event : f.disk)
      fold.apply(event);
    if (!f.vanished)
      CAF_CHECK_EQUAL(fold.view().seq, f.core.view().seq);
    if (!f.vanished && fold.phase() != f.phase())
      CAF_FAIL("seed " << seed << ": on disk it is "
                       << to_string(fold.phase()));
  }
}

CAF_TEST_FIXTURE_SCOPE_END()
