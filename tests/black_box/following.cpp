// SPDX-License-Identifier: Apache-2.0

// `muster session`: the verbs that wait, and those that show the past.

#define CAF_SUITE black_box.following

#include "tests/black_box/command_line.hpp"
#include "tests/support/suite.hpp"

using namespace muster;
using namespace muster::test;
using namespace std::chrono_literals;

namespace {

struct fixture {
  static std::vector<std::string> node_arguments(black_box&) {
    return {};
  }

  black_box& box = shared_node<fixture>();

  /// Feeds a session; does not care what happens next.
  void feed(const std::string& id, const std::string& text) {
    auto result = box.run({"session", "feed", id, text, "--no-wait"});
    CAF_CHECK_EQUAL(result.code, 0);
  }
};

constexpr const char* ask = "return alc.llm('why?')";

/// Nothing takes longer.
constexpr auto patience = 60s;

} // namespace

CAF_TEST_FIXTURE_SCOPE(following_tests, fixture)

// -- wait ---------------------------------------------------------------------

CAF_TEST(all who wait for an end are told) {
  auto id = paused_session(box, ask);
  std::vector<std::unique_ptr<process>> waiting;
  for (int i = 0; i < 3; ++i)
    waiting.push_back(launch(box, {"session", "wait", id, "--json"}));
  feed(id, "x");
  for (auto& one : waiting) {
    auto result = end_of(*one);
    CAF_CHECK_EQUAL(result.code, 0);
    CAF_CHECK_EQUAL(result.err, "");
    CAF_CHECK_EQUAL(only_document(result.out)["result"], "x");
  }
}

CAF_TEST(a wait for a pause ends at a pause) {
  auto id = paused_session(box, ask);
  auto result = box.run_json({"session", "wait", id, "--until", "pause"});
  CAF_CHECK_EQUAL(result.code, 0);
  CAF_CHECK_EQUAL(only_document(result.out), show(box, id));
  auto text = box.run({"session", "wait", id, "--until", "pause"});
  CAF_CHECK_EQUAL(text.out,
                  "session " + id + " waits for 1 answer\n-- q-0 --\nwhy?\n");
}

CAF_TEST(a wait exits with 1 if the session failed or was cancelled) {
  auto failed = paused_session(box, "error(alc.llm('q'))");
  auto waiting = launch(box, {"session", "wait", failed, "--json"});
  feed(failed, "x");
  auto result = end_of(*waiting);
  CAF_CHECK_EQUAL(result.code, 1);
  CAF_CHECK_EQUAL(result.err, "");
  CAF_CHECK_EQUAL(only_document(result.out)["status"], "error");
  auto cancelled = paused_session(box, ask);
  box.run({"session", "cancel", cancelled});
  CAF_CHECK_EQUAL(box.run({"session", "wait", cancelled}).code, 1);
}

CAF_TEST(the timeout of a wait names the session) {
  auto id = paused_session(box, ask);
  auto before = show(box, id);
  for (auto* limit : {"0ms", "20ms"}) {
    auto result = box.run_json({"session", "wait", id, "--timeout", limit});
    CAF_CHECK_EQUAL(result.code, 7);
    CAF_CHECK_EQUAL(result.out, "");
    CAF_CHECK_EQUAL(result.error_code(), "timeout");
    CAF_CHECK(contains(result.err, id));
  }
  CAF_CHECK_EQUAL(show(box, id), before);
}

// -- watch --------------------------------------------------------------------

CAF_TEST(a watch shows what happens and ends with the session) {
  auto id = paused_session(box, ask);
  auto watch = launch(box, {"session", "watch", id, "--json"});
  // What was before is shown first.
  std::vector<json> events;
  while (events.empty() || events.back()["kind"] != "llm_call_begin")
    events.push_back(json::parse(watch->read_line(patience)));
  feed(id, "x");
  auto result = end_of(*watch);
  CAF_CHECK_EQUAL(result.code, 0);
  CAF_CHECK_EQUAL(result.err, "");
  events = documents_of(result.out);
  std::string kinds;
  std::uint64_t seq = 0;
  for (auto& event : events) {
    kinds += event["kind"].get<std::string>() + " ";
    CAF_CHECK_EQUAL(event["session_id"], id);
    CAF_CHECK(event["at"].is_number_unsigned());
    CAF_CHECK(event["seq"] >= seq);
    seq = event["seq"];
  }
  CAF_CHECK_EQUAL(kinds, "tick state_transition pause_requested llm_call_begin "
                         "llm_call_end state_transition resume_accepted "
                         "state_transition ");
  CAF_CHECK_EQUAL(events[2]["info"]["prompts"][0]["prompt"], "why?");
  CAF_CHECK_EQUAL(events.back()["from"], "running");
  CAF_CHECK_EQUAL(events.back()["to"], "done");
}

CAF_TEST(a watch may begin behind an event) {
  auto id = paused_session(box, ask);
  feed(id, "x");
  box.run({"session", "wait", id});
  auto all = documents_of(box.run_json({"session", "watch", id}).out);
  std::vector<json> late;
  std::copy_if(all.begin(), all.end(), std::back_inserter(late),
               [](auto& event) { return event["seq"] > 2; });
  CAF_CHECK(!late.empty());
  CAF_CHECK(
    documents_of(box.run_json({"session", "watch", id, "--after", "2"}).out)
    == late);
}

CAF_TEST(a watch of a session that failed exits with 1) {
  auto id = box.run_script("error('x')")["session_id"].get<std::string>();
  auto result = box.run_json({"session", "watch", id});
  CAF_CHECK_EQUAL(result.code, 1);
  CAF_CHECK_EQUAL(documents_of(result.out).back()["to"], "failed");
  auto text = box.run({"session", "watch", id});
  CAF_CHECK_EQUAL(text.code, 1);
  CAF_CHECK(lines_of(text.out).back().ends_with("  running -> failed"));
}

CAF_TEST(the timeout of a watch exits with 7) {
  auto id = paused_session(box, ask);
  auto result = box.run_json({"session", "watch", id, "--timeout", "50ms"});
  CAF_CHECK_EQUAL(result.code, 7);
  CAF_CHECK_EQUAL(result.error_code(), "timeout");
  CAF_CHECK(contains(result.err, id));
  documents_of(result.out);
  CAF_CHECK_EQUAL(show(box, id)["status"], "needs_response");
}

// -- log ----------------------------------------------------------------------

CAF_TEST(a log shows what the script wrote) {
  auto id = box
              .run_script("alc.log('warn', 'one') print('two', 2)")["session_"
                                                                    "id"]
              .get<std::string>();
  auto result = box.run_json({"session", "log", id});
  CAF_CHECK_EQUAL(result.code, 0);
  auto log = only_document(result.out);
  CAF_CHECK_EQUAL(fields_of(log), "lines session_id");
  CAF_CHECK_EQUAL(log["session_id"], id);
  CAF_REQUIRE_EQUAL(log["lines"].size(), 2u);
  auto& first = log["lines"][0];
  CAF_CHECK_EQUAL(fields_of(first), "level line message source ts");
  CAF_CHECK_EQUAL(first["level"], "warn");
  CAF_CHECK_EQUAL(first["message"], "one");
  CAF_CHECK_EQUAL(first["line"], 1);
  CAF_CHECK_EQUAL(log["lines"][1]["message"], "two\t2");
  auto rest = box.run_json({"session", "log", id, "--after", "1"});
  CAF_CHECK_EQUAL(only_document(rest.out)["lines"].size(), 1u);
  auto text = lines_of(box.run({"session", "log", id}).out);
  CAF_REQUIRE_EQUAL(text.size(), 2u);
  CAF_CHECK(text[0].ends_with(" warn  one"));
}

CAF_TEST(a log that is followed ends with the session) {
  auto id = paused_session(box, "alc.log('info', 'before')\n"
                                "alc.log('info', alc.llm('q'))");
  auto follow = launch(
    box, {"session", "log", id.substr(0, id.size() - 4), "--follow", "--json"});
  CAF_CHECK_EQUAL(json::parse(follow->read_line(patience))["message"],
                  "before");
  feed(id, "behind");
  auto result = end_of(*follow);
  CAF_CHECK_EQUAL(result.code, 0);
  auto lines = documents_of(result.out);
  CAF_REQUIRE_EQUAL(lines.size(), 2u);
  CAF_CHECK_EQUAL(fields_of(lines[1]),
                  "level line message session_id source ts");
  CAF_CHECK_EQUAL(lines[1]["message"], "behind");
  CAF_CHECK_EQUAL(lines[1]["session_id"], id);
}

CAF_TEST(a transcript has every prompt and answer) {
  auto id = paused_session(box, "return {alc.llm('one'), alc.llm('two')}");
  box.run({"session", "feed", id, "first"});
  auto log
    = only_document(box.run_json({"session", "log", id, "--transcript"}).out);
  CAF_CHECK_EQUAL(fields_of(log), "session_id transcript");
  auto& transcript = log["transcript"];
  CAF_REQUIRE_EQUAL(transcript.size(), 2u);
  CAF_CHECK_EQUAL(fields_of(transcript[0]),
                  "completed_at prompt prompt_tokens query_id response "
                  "response_tokens started_at");
  CAF_CHECK_EQUAL(transcript[0]["response"], "first");
  CAF_CHECK(transcript[1]["response"].is_null());
  CAF_CHECK(transcript[1]["completed_at"].is_null());
  CAF_CHECK_EQUAL(box.run({"session", "log", id, "--transcript"}).out,
                  "-- q-0 --\none\n-- answer --\nfirst\n"
                  "-- q-1 --\ntwo\n-- answer --\n(none yet)\n");
}

// -- prune --------------------------------------------------------------------

CAF_TEST(only ended sessions are pruned) {
  black_box own;
  own.require_start();
  auto paused = paused_session(own, ask);
  own.run_script("return 1");
  auto ended = own.run_script("return 1")["session_id"].get<std::string>();
  auto prune = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"session", "prune"});
    auto result = own.run_json(more);
    CAF_CHECK_EQUAL(result.code, 0);
    return only_document(result.out).dump();
  };
  CAF_CHECK_EQUAL(prune({"--older-than", "1h"}), R"({"deleted":0})");
  CAF_CHECK_EQUAL(show(own, ended)["status"], "completed");
  CAF_CHECK_EQUAL(prune({}), R"({"deleted":2})");
  CAF_CHECK(eventually([&] {
    return own.run({"session", "show", ended}).code == 3;
  }));
  CAF_CHECK_EQUAL(show(own, paused)["status"], "needs_response");
  CAF_CHECK_EQUAL(own.run({"session", "prune"}).out, "0 sessions deleted\n");
}

CAF_TEST_FIXTURE_SCOPE_END()
