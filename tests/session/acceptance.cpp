// SPDX-License-Identifier: Apache-2.0

// The behaviour that clients of sessions rely on, each row under its id. The
// whole node runs, on a simulated disk and a clock of its own.

#define CAF_SUITE session.acceptance

#include "tests/support/node_bench.hpp"
#include "tests/support/suite.hpp"

#include "messages/ids.hpp"
#include "messages/session_json.hpp"

#include <fmt/format.h>

#include <algorithm>

using namespace muster;
using namespace muster::test;
using namespace std::chrono_literals;

namespace {

struct fixture : node_bench {
  fixture() {
    require_start();
  }

  /// The code of an error, or `ok`.
  template <class T>
  static std::string code(const expected<T>& x) {
    return x ? "ok" : to_string(x.error().code);
  }

  /// A session that waits for an answer.
  std::string paused(const std::string& code_text) {
    auto view = run_code(code_text);
    CAF_REQUIRE(view);
    CAF_REQUIRE_EQUAL(view->phase, session_phase::paused);
    return view->session_id;
  }

  /// The snapshots of the sessions that have not ended.
  json alive() {
    auto text = ask<std::string>(snapshot_atom::value, snapshot_options{});
    CAF_REQUIRE(text);
    return json::parse(*text);
  }

  /// The statistics of a session that ended.
  static json stats(const expected<session_view>& view) {
    CAF_REQUIRE(view);
    return json::parse(view->stats)["auto"];
  }

  /// A session that ended is none that goes on; it is kept for its retention,
  /// and then it is gone.
  void check_retention(const std::string& id) {
    CAF_CHECK_EQUAL(
      list({session_phase::running, session_phase::paused})->size(), 0u);
    CAF_CHECK_EQUAL(alive()["active_sessions"], 0);
    advance(settings.session.retention - 1min);
    CAF_CHECK_EQUAL(code(show(id)), "ok");
    advance(5min);
    CAF_CHECK_EQUAL(code(show(id)), "not_found");
    CAF_CHECK_EQUAL(list()->size(), 0u);
  }
};

const std::string one_query = "return alc.llm('one')";
const std::string batch_of_two
  = "return alc.llm_batch({{prompt = 'a'}, {prompt = 'b'}})";
const std::string batch_of_three
  = "return alc.llm_batch({{prompt = 'a'}, {prompt = 'b'}, {prompt = 'c'}})";

/// Remembers what an observer is sent; acknowledges if told to.
struct watch_log {
  std::vector<observed_event> events;
  std::vector<std::uint64_t> lagged;
  bool acknowledges = true;

  std::vector<std::string> kinds() const {
    std::vector<std::string> out;
    for (auto& event : events)
      for (auto& text : event.progress)
        out.push_back(json::parse(text)["kind"]);
    return out;
  }
};

using watch_log_ptr = std::shared_ptr<watch_log>;

observer_actor::behavior_type watch(observer_actor::pointer self,
                                    node_actor node, watch_log_ptr log) {
  return {
    [=](const observed_event& event) {
      log->events.push_back(event);
      if (log->acknowledges)
        self->send(node, acknowledge_atom::value, event.session_id, event.seq,
                   observer_actor{self});
    },
    [=](lagged_atom, const std::string&, std::uint64_t count) {
      log->lagged.push_back(count);
    },
  };
}

struct watching_fixture : fixture {
  std::vector<observer_actor> watchers;

  ~watching_fixture() {
    for (auto& watcher : watchers)
      caf::anon_send_exit(watcher, caf::exit_reason::user_shutdown);
  }

  observer_actor watcher(const watch_log_ptr& log) {
    watchers.push_back(
      system().spawn(watch, caf::actor_cast<node_actor>(node()), log));
    return watchers.back();
  }

  watch_log_ptr observe(const std::string& id, std::uint64_t after = 0) {
    auto log = std::make_shared<watch_log>();
    CAF_REQUIRE(
      ask<session_view>(observe_atom::value, id, after, watcher(log)));
    return log;
  }
};

} // namespace

CAF_TEST_FIXTURE_SCOPE(acceptance_tests, watching_fixture)

// -- version 1: start and feed ------------------------------------------------

CAF_TEST(A01 a script that returns is completed with its result) {
  auto view = run_code("return 3");
  CAF_REQUIRE(view);
  auto shown = event_json(*view);
  CAF_CHECK_EQUAL(shown["status"], "completed");
  CAF_CHECK_EQUAL(shown["result"], 3);
  CAF_CHECK(shown["stats"].contains("auto"));
  CAF_CHECK(shown["stats"].contains("custom"));
  CAF_CHECK_EQUAL(show(view->session_id)->result, "3");
  check_retention(view->session_id);
}

CAF_TEST(A02 a script that raises is an error with its text) {
  auto view = run_code("error('out of luck')");
  CAF_REQUIRE(view);
  auto shown = event_json(*view);
  CAF_CHECK_EQUAL(shown["status"], "error");
  CAF_CHECK_EQUAL(shown["error"], "test.lua:1: out of luck");
  CAF_CHECK_EQUAL(shown["kind"], "lua_error");
  CAF_CHECK(!shown.contains("stats"));
  // Whatever breaks is told apart.
  auto broken = run_code("while true do alc.llm(('x'):rep(1 << 24)) end");
  CAF_CHECK_EQUAL(event_json(*broken)["kind"], "limit_exceeded");
  check_retention(view->session_id);
}

CAF_TEST(A03 one query pauses flat and is listed) {
  auto view = run_code(one_query);
  CAF_REQUIRE(view);
  auto shown = event_json(*view);
  CAF_CHECK_EQUAL(shown["status"], "needs_response");
  CAF_CHECK_EQUAL(shown["query_id"], "q-0");
  CAF_CHECK_EQUAL(shown["prompt"], "one");
  CAF_CHECK(shown["system"].is_null());
  CAF_CHECK_EQUAL(shown["max_tokens"], 1024);
  CAF_CHECK(!shown.contains("queries") && !shown.contains("grounded"));
  auto sessions = list({session_phase::paused});
  CAF_REQUIRE_EQUAL(sessions->size(), 1u);
  CAF_CHECK_EQUAL(sessions->at(0).pending, 1u);
  auto status = alive();
  CAF_CHECK_EQUAL(status["active_sessions"], 1);
  CAF_CHECK_EQUAL(status["sessions"][0]["session_id"], view->session_id);
  CAF_CHECK_EQUAL(status["sessions"][0]["state"], "paused");
  CAF_CHECK_EQUAL(status["sessions"][0]["pending_queries"], 1);
}

CAF_TEST(A04 a feed without a query goes to the only one) {
  auto id = paused(one_query);
  auto view = feed(id, "", "an answer");
  CAF_REQUIRE(view);
  CAF_CHECK_EQUAL(view->result, "\"an answer\"");
  // At a later pause as well.
  id = paused("local a = alc.llm('one') return a .. alc.llm('two')");
  CAF_CHECK_EQUAL(feed(id, "", "1")->phase, session_phase::paused);
  CAF_CHECK_EQUAL(feed(id, "", "2")->result, "\"12\"");
}

CAF_TEST(A05 a feed without a query is refused when there are several) {
  auto id = paused(batch_of_two);
  auto view = feed(id, "", "x");
  CAF_REQUIRE(!view);
  CAF_CHECK_EQUAL(view.error().code, errc::ambiguous);
  CAF_CHECK_EQUAL(view.error().message,
                  "2 queries pending; specify query_id explicitly");
  CAF_CHECK_EQUAL(code(ask<std::string>(pending_atom::value, id)), "ambiguous");
  // With one answered the other is meant.
  feed(id, "q-0", "A");
  CAF_CHECK_EQUAL(*ask<std::string>(pending_atom::value, id), "q-1");
  CAF_CHECK_EQUAL(feed(id, "", "B")->result, R"(["A","B"])");
}

CAF_TEST(A06 answers in any order reach the script in that of the queries) {
  auto id = paused(batch_of_three);
  auto first = feed_all(id, {{"q-2", "C"}});
  CAF_CHECK_EQUAL(feed_json(*first)["status"], "accepted");
  CAF_CHECK_EQUAL(feed_json(*first)["remaining"], 2);
  auto second = feed_all(id, {{"q-0", "A"}});
  CAF_CHECK_EQUAL(feed_json(*second)["remaining"], 1);
  auto third = feed_all(id, {{"q-1", "B"}});
  CAF_CHECK_EQUAL(feed_json(*third)["status"], "completed");
  CAF_CHECK_EQUAL(third->session.result, R"(["A","B","C"])");
}

CAF_TEST(A07 the first answer to a query counts) {
  auto id = paused(batch_of_two);
  feed(id, "q-0", "first");
  auto before = *snapshot(id);
  auto again = feed(id, "q-0", "second and longer");
  CAF_REQUIRE(!again);
  CAF_CHECK_EQUAL(again.error().code, errc::already_answered);
  CAF_CHECK_EQUAL(again.error().message.find("already responded"), 0u);
  CAF_CHECK_EQUAL(snapshot(id)->at("metrics"), before["metrics"]);
  auto end = feed(id, "q-1", "b");
  CAF_CHECK_EQUAL(end->result, R"(["first","b"])");
  CAF_CHECK_EQUAL(stats(end)["total_response_chars"], 6);
  // The same within one feed.
  id = paused(batch_of_two);
  auto both = feed_all(id, {{"q-0", "first"}, {"q-0", "second"}, {"q-1", "b"}});
  CAF_REQUIRE_EQUAL(both->results.size(), 3u);
  CAF_CHECK(!both->results[0].refused && !both->results[2].refused);
  CAF_REQUIRE(both->results[1].refused);
  CAF_CHECK_EQUAL(both->results[1].refused->code, errc::already_answered);
  CAF_CHECK_EQUAL(both->session.result, R"(["first","b"])");
}

CAF_TEST(A08 an answer to an unknown query changes nothing) {
  auto id = paused(one_query);
  auto before = *snapshot(id);
  auto listed = list()->at(0).last_active_ms;
  advance(5s);
  auto view = feed(id, "q-7", "a long answer");
  CAF_REQUIRE(!view);
  CAF_CHECK_EQUAL(view.error().code, errc::not_found);
  CAF_CHECK_EQUAL(view.error().message.find("unknown query_id: q-7"), 0u);
  auto after = *snapshot(id);
  CAF_CHECK_EQUAL(after["last_activity_at"], before["last_activity_at"]);
  CAF_CHECK_EQUAL(list()->at(0).last_active_ms, listed);
  CAF_CHECK_EQUAL(after["state"], "paused");
  CAF_CHECK_EQUAL(after["pending_queries"], 1);
  // Only time has passed.
  before["metrics"].erase("elapsed_ms");
  after["metrics"].erase("elapsed_ms");
  CAF_CHECK_EQUAL(after["metrics"], before["metrics"]);
  auto end = feed(id, "q-0", "x");
  CAF_CHECK_EQUAL(end->result, "\"x\"");
  CAF_CHECK_EQUAL(stats(end)["total_response_chars"], 1);
  CAF_CHECK_EQUAL(stats(end)["response_tokens"]["tokens"], 1);
}

CAF_TEST(A09 a session that ended is finished and later not found) {
  settings.session.retention = 1min;
  settings.session.collect_interval = 1s;
  stop();
  require_start();
  auto id = paused(one_query);
  feed(id, "", "x");
  CAF_CHECK_EQUAL(code(feed(id, "q-0", "y")), "finished");
  CAF_CHECK_EQUAL(show(id)->result, "\"x\"");
  advance(3min);
  auto gone = feed(id, "q-0", "y");
  CAF_REQUIRE(!gone);
  CAF_CHECK_EQUAL(gone.error().code, errc::not_found);
  CAF_CHECK_EQUAL(gone.error().message,
                  fmt::format("session '{}' not found", id));
  // One that never was is told the same.
  auto never = make_session_id(1, {2, 3});
  CAF_CHECK_EQUAL(feed(never, "q-0", "y").error().message,
                  fmt::format("session '{}' not found", never));
  CAF_CHECK_EQUAL(code(show("nonsense")), "not_found");
}

CAF_TEST(A10 a session that runs is seen and takes no answers) {
  auto id = *spawn("alc.llm('q') while true do end");
  CAF_CHECK_EQUAL(feed(id, "q-0", "x", feed_mode::accepted)->phase,
                  session_phase::running);
  auto state = send<session_view>(show_atom::value, id);
  run(1'000);
  CAF_REQUIRE(*state);
  CAF_CHECK_EQUAL((**state)->phase, session_phase::running);
  auto late = send<feed_reply>(feed_atom::value, id,
                               std::vector<answer>{{"q-0", "y", {}}},
                               feed_mode::next_event, once);
  run(1'000);
  CAF_REQUIRE(*late);
  CAF_CHECK_EQUAL((**late).error().code, errc::busy);
  auto page = send<session_page>(
    list_atom::value, session_list_request{{session_phase::running}, {}, 0});
  run(1'000);
  CAF_CHECK_EQUAL((**page)->sessions.size(), 1u);
  auto all = alive();
  CAF_CHECK_EQUAL(all["active_sessions"], 1);
  CAF_CHECK_EQUAL(all["sessions"][0]["session_id"], id);
  CAF_CHECK_EQUAL(all["sessions"][0]["state"], "running");
}

CAF_TEST(A11 a caller that goes away loses nothing) {
  // With enough to do that it can happen on the way.
  session_spec spec;
  spec.code = "local function work() for i = 1, 20000 do end end "
              "work() local a = alc.llm('q') work() return a .. '!'";
  auto hdl = caf::actor_cast<node_actor>(node());
  for (std::size_t messages = 0; messages < 60; messages += 2) {
    // Somebody starts a session, and another feeds it; both are gone before
    // they have an answer, or just after that.
    auto starter = system().spawn([=](caf::event_based_actor* self) {
      self->request(hdl, caf::infinite, start_atom::value, spec, once)
        .then([](const session_view&) {});
    });
    run(messages);
    caf::anon_send_exit(starter, caf::exit_reason::kill);
    run();
    auto sessions = list({session_phase::paused});
    CAF_REQUIRE_EQUAL(sessions->size(), 1u);
    auto id = sessions->at(0).session_id;
    auto feeder = system().spawn([=](caf::event_based_actor* self) {
      self
        ->request(hdl, caf::infinite, feed_atom::value, id,
                  std::vector<answer>{{"q-0", "yes", {}}},
                  feed_mode::next_event, once)
        .then([](const feed_reply&) {});
    });
    run(messages);
    caf::anon_send_exit(feeder, caf::exit_reason::kill);
    run();
    CAF_CHECK_EQUAL(show(id)->result, "\"yes!\"");
  }
}

CAF_TEST(A12 a session that nobody comes back to is cancelled and then gone) {
  settings.session.idle_ttl = 10min;
  settings.session.retention = 1min;
  settings.session.collect_interval = 1s;
  stop();
  require_start();
  auto id = paused(one_query);
  auto before = actors();
  advance(9min);
  CAF_CHECK_EQUAL(show(id)->phase, session_phase::paused);
  advance(90s);
  auto view = show(id);
  CAF_REQUIRE(view);
  CAF_CHECK_EQUAL(view->phase, session_phase::cancelled);
  CAF_CHECK_EQUAL(view->reason.code, cancel_code::timeout);
  CAF_CHECK_EQUAL(status()["sessions"]["machines"], 0);
  advance(3min);
  CAF_CHECK_EQUAL(code(show(id)), "not_found");
  CAF_CHECK_EQUAL(code(feed(id, "q-0", "x")), "not_found");
  // Nothing is left of it: no actor, no row.
  CAF_CHECK(actors() < before);
  CAF_CHECK_EQUAL(status()["storage"]["sessions"]["cancelled"], 0);
  CAF_CHECK_EQUAL(list()->size(), 0u);
}

CAF_TEST(A13 a session that is fed in time stays) {
  settings.session.idle_ttl = 10min;
  settings.session.collect_interval = 1s;
  stop();
  require_start();
  auto id = paused("for i = 1, 20 do alc.llm('q' .. i) end return 'done'");
  for (int i = 0; i < 20; ++i) {
    advance(5min);
    CAF_REQUIRE(feed(id, "", "x"));
    // What is listed is the time of that feed.
    CAF_CHECK_EQUAL(list()->at(0).last_active_ms, wall_ms());
    CAF_CHECK_EQUAL(snapshot(id)->at("last_activity_at"), wall_ms());
  }
  CAF_CHECK_EQUAL(show(id)->phase, session_phase::done);
  // What the script does later by itself is not.
  id = *spawn("for i = 1, 3000000 do end return alc.llm('late')");
  auto begun = wall_ms();
  advance(2min);
  CAF_CHECK_EQUAL(show(id)->phase, session_phase::paused);
  CAF_CHECK_EQUAL(list()->at(0).last_active_ms, begun);
}

CAF_TEST(A14 tokens are those that were given or else estimates) {
  auto id = paused("return alc.llm('hello world')");
  auto view
    = feed(id, "", "four score", feed_mode::next_event, token_usage{10, 5});
  auto tokens = json::parse(view->stats)["auto"];
  CAF_CHECK_EQUAL(tokens["prompt_tokens"],
                  (json{{"tokens", 10}, {"source", "provided"}}));
  CAF_CHECK_EQUAL(tokens["response_tokens"],
                  (json{{"tokens", 5}, {"source", "provided"}}));
  CAF_CHECK_EQUAL(tokens["total_tokens"]["tokens"], 15);
  CAF_CHECK_EQUAL(*view->usage->prompt_tokens, 10u);
  id = paused("return alc.llm('hello world')");
  view = feed(id, "", "four score");
  tokens = json::parse(view->stats)["auto"];
  CAF_CHECK_EQUAL(tokens["prompt_tokens"],
                  (json{{"tokens", 3}, {"source", "estimated"}}));
  CAF_CHECK_EQUAL(tokens["response_tokens"],
                  (json{{"tokens", 3}, {"source", "estimated"}}));
  CAF_CHECK_EQUAL(tokens["total_tokens"],
                  (json{{"tokens", 6}, {"source", "estimated"}}));
  // With one of the two given, the other is estimated.
  id = paused("return alc.llm('hello world')");
  view = feed(id, "", "four score", feed_mode::next_event,
              token_usage{std::nullopt, 5});
  CAF_CHECK_EQUAL(stats(view)["prompt_tokens"]["source"], "estimated");
  CAF_CHECK_EQUAL(stats(view)["response_tokens"],
                  (json{{"tokens", 5}, {"source", "provided"}}));
  CAF_CHECK_EQUAL(stats(view)["total_tokens"],
                  (json{{"tokens", 8}, {"source", "estimated"}}));
}

CAF_TEST(A15 a budget that is spent is an error before any pause) {
  auto view = run_code(R"(
    local a, b = alc.llm("one"), alc.llm("two")
    local ok, text = pcall(alc.llm, "three")
    return {ok, text}
  )",
                       R"({"budget":{"max_llm_calls":2}})");
  feed(view->session_id, "", "x");
  auto end = feed(view->session_id, "", "y");
  CAF_CHECK_EQUAL(end->result,
                  R"x([false,"budget_exceeded: max_llm_calls (2) reached )x"
                  R"x((2 used)"])x");
  CAF_CHECK_EQUAL(stats(end)["llm_calls"], 2);
  CAF_CHECK_EQUAL(stats(end)["pauses"], 2);
}

CAF_TEST(A16 an answer to an earlier pause is no answer to this one) {
  auto id = paused("local a = alc.llm('one') return a .. alc.llm('two')");
  auto next = feed(id, "q-0", "1");
  CAF_REQUIRE_EQUAL(next->queries.at(0).id, "q-1");
  auto stale = feed(id, "q-0", "late");
  CAF_REQUIRE(!stale);
  CAF_CHECK_EQUAL(stale.error().code, errc::already_answered);
  CAF_CHECK_EQUAL(stale.error().message, "already responded to query_id: q-0 "
                                         "(it belongs to an earlier pause)");
  // Nor after a crash, when the script is run again from the beginning.
  kill();
  require_start();
  CAF_CHECK_EQUAL(code(feed(id, "q-0", "late")), "already_answered");
  CAF_CHECK_EQUAL(show(id)->queries.at(0).id, "q-1");
  auto end = feed(id, "q-1", "2");
  CAF_CHECK_EQUAL(end->result, "\"12\"");
  CAF_CHECK_EQUAL(stats(end)["total_response_chars"], 2);
}

// -- version 2: spawn, resume, cancel, observe, await -------------------------

CAF_TEST(B01 a spawn gives the id before anything ran) {
  session_spec spec;
  spec.code = "while true do end";
  auto id = send<std::string>(spawn_atom::value, spec, once);
  run(60); // enough for the disk, and far from the end of the script
  CAF_REQUIRE(*id);
  CAF_CHECK(is_session_id(***id));
  for (auto* text : {"", " \n\t"}) {
    spec.code = text;
    CAF_CHECK_EQUAL(code(ask<std::string>(spawn_atom::value, spec, once)),
                    "invalid_spec");
  }
  for (auto* text : {"[]", "3", "nonsense", "{"}) {
    spec.code = "return 1";
    spec.ctx = text;
    CAF_CHECK_EQUAL(code(ask<std::string>(spawn_atom::value, spec, once)),
                    "invalid_spec");
  }
  spec = {};
  spec.kind = session_kind::advice;
  spec.strategy = "../up";
  CAF_CHECK_EQUAL(code(ask<std::string>(spawn_atom::value, spec, once)),
                  "invalid_spec");
  spec.strategy = "fine";
  spec.kind = static_cast<session_kind>(3);
  CAF_CHECK_EQUAL(code(ask<std::string>(spawn_atom::value, spec, once)),
                  "invalid_spec");
  // What was refused left nothing.
  CAF_CHECK_EQUAL(list()->size(), 1u);
}

CAF_TEST(B02 a resume with an unknown query leaves the session as it was) {
  auto id = paused(one_query);
  CAF_CHECK_EQUAL(code(feed(id, "q-3", "x", feed_mode::accepted)), "not_found");
  CAF_CHECK_EQUAL(show(id)->phase, session_phase::paused);
  CAF_CHECK_EQUAL(feed(id, "q-0", "x", feed_mode::accepted)->phase,
                  session_phase::running);
  CAF_CHECK_EQUAL(show(id)->result, "\"x\"");
}

CAF_TEST(B03 a resume with part of a batch leaves the rest open) {
  auto id = paused(batch_of_three);
  auto view = feed(id, "q-1", "B", feed_mode::accepted);
  CAF_CHECK_EQUAL(view->phase, session_phase::paused);
  CAF_CHECK_EQUAL(view->queries.size(), 2u);
  auto sessions = list({session_phase::paused});
  CAF_REQUIRE_EQUAL(sessions->size(), 1u);
  CAF_CHECK_EQUAL(sessions->at(0).pending, 2u);
  auto next = feed_all(id, {{"q-0", "A"}}, feed_mode::accepted);
  CAF_CHECK_EQUAL(
    feed_json(*next),
    (json{{"session_id", id}, {"status", "accepted"}, {"remaining", 1}}));
  CAF_CHECK_EQUAL(feed(id, "q-2", "C", feed_mode::accepted)->phase,
                  session_phase::running);
  CAF_CHECK_EQUAL(show(id)->result, R"(["A","B","C"])");
}

CAF_TEST(B04 a thousand quick pauses are each seen once) {
  auto id = paused("for i = 1, 1000 do alc.llm('q' .. i) end return 'end'");
  auto log = observe(id);
  for (int i = 0; i < 1000; ++i) {
    auto view = feed(id, make_query_id(static_cast<std::uint64_t>(i)), "x",
                     feed_mode::accepted);
    CAF_REQUIRE(view);
  }
  CAF_CHECK_EQUAL(show(id)->phase, session_phase::done);
  // Each of them, once and in order.
  std::vector<std::string> asked;
  for (auto& event : log->events)
    for (auto& text : event.progress)
      if (auto item = json::parse(text); item["kind"] == "pause_requested")
        asked.push_back(item["info"]["prompts"].at(0)["query_id"]);
  std::vector<std::string> expected_ids;
  for (std::uint64_t i = 0; i < 1000; ++i)
    expected_ids.push_back(make_query_id(i));
  CAF_CHECK(asked == expected_ids);
  auto kinds = log->kinds();
  CAF_CHECK_EQUAL(std::count(kinds.begin(), kinds.end(), "resume_accepted"),
                  1000);
  CAF_CHECK(log->lagged.empty());
}

CAF_TEST(B05 a cancel keeps the first reason and the state before it) {
  auto late = cancel_reason{cancel_code::timeout, "second", 0};
  for (auto& [text, phase] :
       {std::pair{"return alc.llm('q')", session_phase::paused},
        std::pair{"while true do end", session_phase::running}}) {
    auto id = *spawn(text);
    run(100);
    CAF_CHECK_EQUAL(show(id)->phase, phase);
    CAF_CHECK_EQUAL(cancel(id, "first")->phase, session_phase::cancelled);
    CAF_CHECK_EQUAL(ask<session_view>(cancel_atom::value, id, late)->phase,
                    session_phase::cancelled);
    auto state = state_json(*show(id));
    CAF_CHECK_EQUAL(state["reason"]["detail"], "first");
    CAF_CHECK_EQUAL(state["reason"]["code"], "user");
    CAF_CHECK_EQUAL(state["state_before"], (json{{"state", to_string(phase)}}));
  }
  for (auto& [text, phase] : {std::pair{"return 1", session_phase::done},
                              std::pair{"error('x')", session_phase::failed}}) {
    auto ended = run_code(text);
    for (auto* detail : {"first", "second"})
      CAF_CHECK_EQUAL(cancel(ended->session_id, detail)->phase, phase);
  }
  CAF_CHECK_EQUAL(code(cancel(make_session_id(1, {2, 3}))), "not_found");
}

CAF_TEST(B05 the first reason counts however close the second is behind it) {
  auto late = cancel_reason{cancel_code::timeout, "second", 0};
  for (std::size_t messages = 0; messages < 25; ++messages) {
    // Both come while an answer is on its way to the disk, or around that.
    auto id = paused("alc.llm('one') return alc.llm('two')");
    send<feed_reply>(feed_atom::value, id,
                     std::vector<answer>{{"q-0", "x", {}}}, feed_mode::accepted,
                     once);
    run(messages);
    auto first = send<session_view>(cancel_atom::value, id,
                                    cancel_reason{cancel_code::user, "1st", 0});
    auto second = send<session_view>(cancel_atom::value, id, late);
    run();
    CAF_REQUIRE(*first && *second);
    CAF_CHECK(**first && **second);
    auto state = state_json(*show(id));
    CAF_CHECK_EQUAL(state["state"], "cancelled");
    CAF_CHECK_EQUAL(state["reason"]["detail"], "1st");
    CAF_CHECK_NOT_EQUAL(state["state_before"]["state"], "cancelled");
  }
}

CAF_TEST(B06 a session that is not paused says what it is) {
  auto id = paused(one_query);
  cancel(id);
  CAF_CHECK_EQUAL(code(feed(id, "q-0", "x", feed_mode::accepted)),
                  "already_cancelled");
  for (auto* text : {"return 1", "error('x')"}) {
    auto view = run_code(text);
    auto refused = feed(view->session_id, "q-0", "x", feed_mode::accepted);
    CAF_REQUIRE(!refused);
    CAF_CHECK_EQUAL(refused.error().code, errc::finished);
    CAF_CHECK(
      refused.error().message.find("actual state: " + to_string(view->phase))
      != std::string::npos);
  }
  id = *spawn("while true do end");
  auto busy = feed(id, "q-0", "x", feed_mode::accepted);
  CAF_REQUIRE(!busy);
  CAF_CHECK_EQUAL(busy.error().code, errc::busy);
  CAF_CHECK(busy.error().message.find("is running") != std::string::npos);
  CAF_CHECK_EQUAL(show(id)->phase, session_phase::running);
}

CAF_TEST(B07 a script that spins is cancelled within a slice and freed) {
  auto before = actors();
  for (auto* text : {"local t = {} while true do t[1] = {} end",
                     "return (('x'):rep(2000000):gsub('(x*)y', ''))"}) {
    auto id = *spawn(text);
    run(1'000);
    // Others go on meanwhile.
    CAF_CHECK_EQUAL(run_code("return 1")->phase, session_phase::done);
    auto done = send<session_view>(cancel_atom::value, id,
                                   cancel_reason{cancel_code::user, "now", 0});
    // A few messages, not the thousands of slices that the script would go on.
    run(50);
    CAF_REQUIRE(*done);
    CAF_CHECK_EQUAL((**done)->phase, session_phase::cancelled);
    run();
    CAF_CHECK_EQUAL(actors(), before);
    advance(30s);
    CAF_CHECK_EQUAL(status()["sessions"]["machines"], 0);
  }
  // The same where the session's actor has to stay: somebody watches it.
  for (auto* text : {"while true do end", "return alc.llm('q')"}) {
    auto id = *spawn(text);
    auto log = observe(id);
    log->acknowledges = false;
    CAF_CHECK_EQUAL(cancel(id)->phase, session_phase::cancelled);
    CAF_CHECK(run(10'000) < 10'000); // nothing spins any more
    advance(30s);
    CAF_CHECK_EQUAL(status()["sessions"]["machines"], 0);
    CAF_CHECK_EQUAL(status()["sessions"]["active"], 1);
    log->acknowledges = true;
    caf::anon_send(node(), acknowledge_atom::value, id, log->events.back().seq,
                   watchers.back());
    run();
  }
}

CAF_TEST(B08 every observer sees every event and a slow one is told) {
  settings.session.observer_window = 4;
  stop();
  require_start();
  // Nobody watches: no difference.
  CAF_CHECK_EQUAL(run_code("return 1")->phase, session_phase::done);
  auto id = paused("for i = 1, 20 do alc.llm('q') end return 1");
  auto first = observe(id);
  auto second = observe(id);
  auto slow = observe(id);
  slow->acknowledges = false;
  for (int i = 0; i < 20; ++i)
    feed(id, "", "x");
  CAF_CHECK_EQUAL(first->events.size(), 42u);
  CAF_CHECK(first->events.back().last);
  for (std::size_t i = 0; i < first->events.size(); ++i)
    CAF_CHECK_EQUAL(first->events[i].seq, i + 1);
  CAF_CHECK_EQUAL(second->kinds(), first->kinds());
  CAF_CHECK(first->lagged.empty() && second->lagged.empty());
  // The slow one has as much as its window holds, and knows nothing of the
  // rest until it acknowledges.
  CAF_CHECK_EQUAL(slow->events.size(), 2u + 4u);
  slow->acknowledges = true;
  caf::anon_send(node(), acknowledge_atom::value, id, slow->events.back().seq,
                 watchers.back());
  run();
  CAF_REQUIRE_EQUAL(slow->lagged.size(), 1u);
  // 42 events in all; what is missing is what it was told.
  CAF_CHECK_EQUAL(slow->events.size() + slow->lagged[0], 42u);
  CAF_CHECK_EQUAL(slow->events.at(6).seq, 6u + slow->lagged[0] + 1u);
  CAF_CHECK(slow->events.back().last);
}

CAF_TEST(B09 a stream ends with the session and starts with its state) {
  auto id = paused(one_query);
  auto log = observe(id);
  feed(id, "", "x");
  CAF_CHECK(log->events.back().last);
  // Late: the state, the past and the end.
  auto late = std::make_shared<watch_log>();
  auto view = ask<session_view>(observe_atom::value, id, std::uint64_t{0},
                                watcher(late));
  CAF_CHECK_EQUAL(view->phase, session_phase::done);
  CAF_CHECK_EQUAL(late->kinds(), log->kinds());
  CAF_CHECK(late->events.back().last);
  // Behind everything: only the end.
  auto behind = observe(id, view->seq);
  CAF_REQUIRE_EQUAL(behind->events.size(), 1u);
  CAF_CHECK(behind->events[0].last && behind->events[0].progress.empty());
  // From the middle, as after a lost connection.
  auto middle = observe(id, 2);
  CAF_CHECK_EQUAL(middle->events.front().seq, 3u);
}

CAF_TEST(B10 all who wait get the same outcome) {
  auto id = paused(one_query);
  std::vector<answer_ptr<session_view>> answers;
  std::vector<caf::actor> clients;
  for (int i = 0; i < 8; ++i) {
    clients.push_back(
      system().spawn([](caf::event_based_actor*) -> caf::behavior {
        return {[](caf::ok_atom) {}};
      }));
    answers.push_back(
      send<session_view>(await_atom::value, id, wait_for::end, clients[i]));
  }
  run();
  // The second wait of a client takes the place of its first.
  auto again
    = send<session_view>(await_atom::value, id, wait_for::end, clients[0]);
  run();
  CAF_REQUIRE(*answers[0]);
  CAF_CHECK_EQUAL((*answers[0])->error().code, errc::conflict);
  caf::anon_send_exit(clients[1], caf::exit_reason::user_shutdown);
  run();
  // Nobody hears it any more; it must not be forgotten either.
  CAF_REQUIRE(*answers[1]);
  CAF_CHECK_EQUAL((*answers[1])->error().code, errc::connection_lost);
  feed(id, "", "x");
  CAF_REQUIRE(*again);
  CAF_CHECK_EQUAL((**again)->result, "\"x\"");
  for (int i = 2; i < 8; ++i) {
    CAF_REQUIRE(*answers[i]);
    CAF_CHECK_EQUAL(state_json(***answers[i]), state_json(***again));
  }
  // Who comes when it is over waits for nothing.
  CAF_CHECK_EQUAL(
    ask<session_view>(await_atom::value, id, wait_for::end, clients[0])->result,
    "\"x\"");
  for (auto& client : clients)
    caf::anon_send_exit(client, caf::exit_reason::user_shutdown);
}

CAF_TEST(
  B11 an ended session is kept while it is watched and a live one always) {
  settings.session.retention = 1min;
  settings.session.idle_ttl = 24h * 365;
  settings.session.collect_interval = 1s;
  settings.session.retry_after = 1h;
  stop();
  require_start();
  // One that runs, in the middle of a step that finds no room for now.
  auto running = *spawn("for i = 1, 3000000 do end return alc.llm('late')");
  disk.capacity = 1;
  run();
  disk.capacity = std::nullopt;
  auto watched = paused(one_query);
  auto alone = paused(one_query);
  auto waiting = paused(one_query);
  auto log = observe(watched);
  log->acknowledges = false;
  feed(watched, "", "x");
  feed(alone, "", "x");
  advance(10min);
  CAF_CHECK_EQUAL(code(show(alone)), "not_found");
  CAF_CHECK_EQUAL(code(show(watched)), "ok");
  CAF_CHECK_EQUAL(show(waiting)->phase, session_phase::paused);
  CAF_CHECK_EQUAL(show(running)->phase, session_phase::running);
  // They are on disk as well, not only in memory.
  CAF_CHECK_EQUAL(list()->size(), 3u);
  caf::anon_send(node(), acknowledge_atom::value, watched,
                 log->events.back().seq, watchers.back());
  advance(2min);
  CAF_CHECK_EQUAL(code(show(watched)), "not_found");
  CAF_CHECK_EQUAL(list()->size(), 2u);
  advance(1h);
  CAF_CHECK_EQUAL(show(running)->queries.at(0).prompt, "late");
  CAF_CHECK_EQUAL(feed(waiting, "", "x")->result, "\"x\"");
}

CAF_TEST_FIXTURE_SCOPE_END()
