// SPDX-License-Identifier: Apache-2.0

// `muster session`: the verbs that look at sessions and answer them.

#define CAF_SUITE black_box.sessions

#include "tests/black_box/command_line.hpp"
#include "tests/support/suite.hpp"

using namespace muster;
using namespace muster::test;

namespace {

struct fixture {
  static std::vector<std::string> node_arguments(black_box&) {
    return {};
  }

  black_box& box = shared_node<fixture>();

  /// The one document of `muster session ...`, which must succeed.
  json session(std::vector<std::string> arguments, program_options how = {}) {
    arguments.insert(arguments.begin(), "session");
    auto result = box.run_json(std::move(arguments), std::move(how));
    CAF_CHECK_EQUAL(result.code, 0);
    CAF_CHECK_EQUAL(result.err, "");
    return only_document(result.out);
  }

  json feed(const std::string& id, std::vector<std::string> more) {
    more.insert(more.begin(), {"feed", id});
    return session(std::move(more));
  }

  /// What a session got as its answer when it was read from standard input.
  json fed(const std::string& input, std::vector<std::string> more = {}) {
    program_options how;
    how.input = input;
    auto id = paused_session(box, "return alc.llm('q')");
    more.insert(more.begin(), {"feed", id});
    return session(std::move(more), how)["result"];
  }
};

constexpr const char* ask = "return alc.llm('why?')";
constexpr const char* ask_three = "return alc.llm_batch({{prompt = 'a'}, "
                                  "{prompt = 'b'}, {prompt = 'c'}})";

} // namespace

CAF_TEST_FIXTURE_SCOPE(session_tests, fixture)

// -- list ---------------------------------------------------------------------

CAF_TEST(a list shows the newest first) {
  auto done = box.run_script("return 1")["session_id"];
  auto failed = box.run_script("error('x')")["session_id"];
  auto paused = paused_session(box, ask_three);
  auto cancelled = paused_session(box, ask);
  box.run({"session", "cancel", cancelled});
  auto running = running_session(box, "while true do end");
  auto page = session({"list", "--limit", "5"});
  CAF_CHECK_EQUAL(fields_of(page), "more sessions");
  auto& rows = page["sessions"];
  CAF_REQUIRE_EQUAL(rows.size(), 5u);
  struct row {
    json id;
    const char* state;
    int pending;
  };
  row expected[] = {{running, "running", 0},
                    {cancelled, "cancelled", 0},
                    {paused, "paused", 3},
                    {failed, "failed", 0},
                    {done, "done", 0}};
  for (std::size_t i = 0; i < 5; ++i) {
    CAF_CHECK_EQUAL(fields_of(rows[i]),
                    "created_at kind last_active_at pending session_id state");
    CAF_CHECK_EQUAL(rows[i]["session_id"], expected[i].id);
    CAF_CHECK_EQUAL(rows[i]["state"], expected[i].state);
    CAF_CHECK_EQUAL(rows[i]["pending"], expected[i].pending);
    CAF_CHECK_EQUAL(rows[i]["kind"], "run");
    CAF_CHECK(rows[i]["created_at"].is_number_unsigned());
    CAF_CHECK(rows[i]["last_active_at"] >= rows[i]["created_at"]);
  }
  CAF_CHECK_EQUAL(box.run({"session", "cancel", running}).code, 0);
}

CAF_TEST(a list may be filtered and read page by page) {
  std::vector<json> ids;
  for (int i = 0; i < 3; ++i)
    ids.emplace_back(paused_session(box, ask));
  auto first = session({"list", "--state", "paused", "--limit", "2"});
  CAF_CHECK_EQUAL(first["more"], true);
  CAF_REQUIRE_EQUAL(first["sessions"].size(), 2u);
  CAF_CHECK_EQUAL(first["sessions"][0]["session_id"], ids[2]);
  CAF_CHECK_EQUAL(first["sessions"][1]["session_id"], ids[1]);
  auto next = session({"list", "--state", "paused", "--limit", "1", "--before",
                       ids[1].get<std::string>()});
  CAF_REQUIRE_EQUAL(next["sessions"].size(), 1u);
  CAF_CHECK_EQUAL(next["sessions"][0]["session_id"], ids[0]);
  auto failed = session({"list", "--state", "failed"})["sessions"];
  for (auto& row : failed)
    CAF_CHECK_EQUAL(row["state"], "failed");
}

CAF_TEST(a list for a program has tabs and no header) {
  auto id = paused_session(box, ask_three);
  auto result = box.run({"session", "list", "--limit", "1"});
  CAF_CHECK_EQUAL(result.code, 0);
  auto lines = lines_of(result.out);
  CAF_REQUIRE_EQUAL(lines.size(), 1u);
  CAF_CHECK(lines[0].starts_with(id + "\tpaused\trun\t3\t"));
  CAF_CHECK_EQUAL(std::count(lines[0].begin(), lines[0].end(), '\t'), 5);
}

// -- show ---------------------------------------------------------------------

CAF_TEST(a session in full has its snapshot) {
  auto id = paused_session(box, "alc.log('warn', 'hm')\n"
                                "alc.progress(1, 2, 'half')\n"
                                "alc.llm('one')\n"
                                "return alc.llm('two', {system = 's'})");
  feed(id, {"first"});
  auto document = session({"show", id, "--full"});
  CAF_CHECK_EQUAL(fields_of(document), "max_tokens prompt query_id session_id "
                                       "snapshot status system");
  auto& snapshot = document["snapshot"];
  CAF_CHECK_EQUAL(snapshot["state"], "paused");
  CAF_CHECK_EQUAL(snapshot["phase"], "paused");
  CAF_CHECK_EQUAL(snapshot["pending_queries"], 1);
  CAF_CHECK(!snapshot.contains("pending"));
  CAF_CHECK(snapshot["started_at"].is_number_unsigned());
  CAF_CHECK(snapshot["last_activity_at"].is_number_unsigned());
  auto& metrics = snapshot["metrics"];
  CAF_CHECK_EQUAL(fields_of(metrics), "elapsed_ms llm_calls progress "
                                      "recent_logs rounds tokens");
  CAF_CHECK_EQUAL(metrics["llm_calls"], 2);
  CAF_CHECK_EQUAL(metrics["rounds"], 1);
  CAF_CHECK_EQUAL(metrics["progress"].dump(),
                  R"({"message":"half","step":1,"total":2})");
  CAF_CHECK_EQUAL(fields_of(metrics["tokens"]),
                  "current_query prompt_total response_total total");
  CAF_CHECK_EQUAL(fields_of(metrics["tokens"]["current_query"]),
                  "prompt_tokens query_id started_waiting_at");
  CAF_REQUIRE_EQUAL(metrics["recent_logs"].size(), 1u);
  auto& line = metrics["recent_logs"][0];
  CAF_CHECK_EQUAL(line["level"], "warn");
  CAF_CHECK_EQUAL(line["message"], "hm");
  CAF_CHECK(line.contains("ts") && line.contains("source"));
}

CAF_TEST(a snapshot may have the history and the open queries) {
  auto id = paused_session(box, "alc.llm('one')\n"
                                "return alc.llm('two', {system = 's'})");
  feed(id, {"first"});
  auto history
    = session({"show", id, "--full",
               "--history"})["snapshot"]["metrics"]["conversation_history"];
  CAF_REQUIRE_EQUAL(history.size(), 2u);
  CAF_CHECK_EQUAL(history[0]["prompt"], "one");
  CAF_CHECK_EQUAL(history[0]["response"], "first");
  CAF_CHECK_EQUAL(history[1]["query_id"], "q-1");
  CAF_CHECK(history[1]["response"].is_null());
  auto pending = [&](const char* filter) {
    return session(
             {"show", id, "--full", "--pending", filter})["snapshot"]["pending"]
      .dump();
  };
  CAF_CHECK_EQUAL(pending("meta"), R"([{"max_tokens":1024,"query_id":"q-1"}])");
  CAF_CHECK_EQUAL(pending("preview"),
                  R"([{"max_tokens":1024,"prompt_preview":"two",)"
                  R"("query_id":"q-1"}])");
  CAF_CHECK_EQUAL(pending("full"),
                  R"([{"grounded":false,"max_tokens":1024,"prompt":"two",)"
                  R"("query_id":"q-1","system":"s","underspecified":false}])");
  CAF_CHECK_EQUAL(pending(R"({"prompt":{"mode":"preview","chars":2}})"),
                  R"([{"prompt_preview":"tw"}])");
}

CAF_TEST(the snapshot of an ended session is terminal) {
  auto done = box.run_script("return 1")["session_id"].get<std::string>();
  auto snapshot = session({"show", done, "--full"})["snapshot"];
  CAF_CHECK_EQUAL(snapshot["state"], "terminal");
  CAF_CHECK_EQUAL(snapshot["phase"], "completed");
  CAF_CHECK(!snapshot.contains("pending_queries"));
}

CAF_TEST(a failed session is shown without failing) {
  auto failed = box.run_script("error('x')")["session_id"].get<std::string>();
  CAF_CHECK_EQUAL(session({"show", failed})["status"], "error");
  auto text = box.run({"session", "show", failed});
  CAF_CHECK_EQUAL(text.code, 0);
  CAF_CHECK_EQUAL(text.out, "session " + failed
                              + " failed (lua_error): script.lua:1: x\n");
}

CAF_TEST(ids may be shortened and documents have the whole one) {
  auto id = paused_session(box, ask);
  auto part = id.substr(0, id.size() - 6);
  CAF_CHECK_EQUAL(session({"show", part})["session_id"], id);
  CAF_CHECK_EQUAL(session({"wait", part, "--until", "pause"})["session_id"],
                  id);
  CAF_CHECK_EQUAL(session({"log", part})["session_id"], id);
  CAF_CHECK_EQUAL(session({"log", part, "--transcript"})["session_id"], id);
  CAF_CHECK_EQUAL(feed(part, {"x", "--no-wait"})["session_id"], id);
  CAF_CHECK_EQUAL(session({"wait", part})["session_id"], id);
  CAF_CHECK_EQUAL(session({"cancel", part})["session_id"], id);
}

// -- feed ---------------------------------------------------------------------

CAF_TEST(an answer may be an argument) {
  auto id = paused_session(box, "return {alc.llm('one'), alc.llm('two')}");
  auto next = feed(id, {"first\n"});
  CAF_CHECK_EQUAL(next["status"], "needs_response");
  CAF_CHECK_EQUAL(next["query_id"], "q-1");
  CAF_CHECK_EQUAL(next["session_id"], id);
  auto end = feed(id, {"", "--query", "q-1"});
  CAF_CHECK_EQUAL(end["status"], "completed");
  CAF_CHECK_EQUAL(end["result"].dump(), R"(["first\n",""])");
}

CAF_TEST(an answer may come from standard input less one newline) {
  CAF_CHECK_EQUAL(fed("from a pipe"), "from a pipe");
  CAF_CHECK_EQUAL(fed("line\n", {"-"}), "line");
  CAF_CHECK_EQUAL(fed("two\nlines\n\n", {"-"}), "two\nlines\n");
  CAF_CHECK_EQUAL(fed(""), "");
  CAF_CHECK_EQUAL(fed("é\r\n"), "é\r");
}

CAF_TEST(answers of a batch may come in any order) {
  auto id = paused_session(box, ask_three);
  auto second = feed(id, {"B", "--query", "q-1"});
  CAF_CHECK_EQUAL(fields_of(second), "remaining session_id status");
  CAF_CHECK_EQUAL(second["status"], "accepted");
  CAF_CHECK_EQUAL(second["remaining"], 2);
  // Only what is open is shown.
  auto open = show(box, id);
  CAF_REQUIRE_EQUAL(open["queries"].size(), 2u);
  CAF_CHECK_EQUAL(open["queries"][0]["id"], "q-0");
  CAF_CHECK_EQUAL(open["queries"][1]["id"], "q-2");
  auto text = box.run({"session", "feed", id, "C", "--query", "q-2"});
  CAF_CHECK_EQUAL(text.out, "accepted; session " + id + " waits for 1 more\n");
  CAF_CHECK_EQUAL(show(box, id)["query_id"], "q-0");
  // The sole one that is left needs no name.
  CAF_CHECK_EQUAL(feed(id, {"A"})["result"].dump(), R"(["A","B","C"])");
}

CAF_TEST(a feed need not wait for the next event) {
  auto id = paused_session(box, "alc.llm('q') while true do end");
  auto reply = feed(id, {"x", "--no-wait"});
  CAF_CHECK_EQUAL(fields_of(reply), "session_id status");
  CAF_CHECK_EQUAL(reply["status"], "running");
  box.run({"session", "cancel", id});
}

CAF_TEST(the timeout of a feed ends the wait and not the work) {
  auto id = paused_session(box, "alc.llm('q') while true do end");
  auto result
    = box.run_json({"session", "feed", id, "kept", "--timeout", "500ms"});
  CAF_CHECK_EQUAL(result.code, 7);
  CAF_CHECK_EQUAL(result.out, "");
  CAF_CHECK_EQUAL(result.error_code(), "timeout");
  CAF_CHECK(contains(result.err, id));
  // The wait of a busy machine may end before the answer is on disk.
  CAF_CHECK(eventually([&] { return show(box, id)["status"] == "running"; }));
  auto transcript = session({"log", id, "--transcript"})["transcript"];
  CAF_CHECK_EQUAL(transcript[0]["response"], "kept");
  box.run({"session", "cancel", id});
}

CAF_TEST(a batch of answers has one result for each) {
  auto id = paused_session(box, ask_three);
  auto path
    = box.folder.write("batch.json", R"([{"query_id":"q-2","response":"C"},)"
                                     R"({"query_id":"q-0","response":"A",)"
                                     R"("usage":{"completion_tokens":5}}])");
  auto reply = feed(id, {"--batch", path});
  CAF_CHECK_EQUAL(fields_of(reply), "remaining results session_id status");
  CAF_CHECK_EQUAL(reply["remaining"], 1);
  CAF_CHECK_EQUAL(reply["results"].dump(),
                  R"([{"accepted":true,"query_id":"q-2"},)"
                  R"({"accepted":true,"query_id":"q-0"}])");
  // One that is refused does not stop the others.
  program_options how;
  how.input = R"([{"query_id":"q-0","response":"again"},)"
              R"({"query_id":"q-7","response":"?"},)"
              R"({"query_id":"q-1","response":"B"}])";
  auto rest = box.run_json({"session", "feed", id, "--batch", "-"}, how);
  CAF_CHECK_EQUAL(rest.code, 6);
  auto document = only_document(rest.out);
  CAF_CHECK_EQUAL(document["status"], "completed");
  CAF_CHECK_EQUAL(document["result"].dump(), R"(["A","B","C"])");
  auto& results = document["results"];
  CAF_CHECK_EQUAL(results[0]["error"]["code"], "already_answered");
  CAF_CHECK_EQUAL(results[1]["error"]["code"], "not_found");
  CAF_CHECK(contains(results[1]["error"]["message"], "q-7"));
  CAF_CHECK_EQUAL(results[2].dump(), R"({"accepted":true,"query_id":"q-1"})");
}

CAF_TEST(the usage of an answer is counted) {
  auto id = paused_session(box, ask);
  auto end = feed(
    id, {"x", "--usage", R"({"prompt_tokens":30,"completion_tokens":4})"});
  auto& stats = end["stats"]["auto"];
  CAF_CHECK_EQUAL(stats["response_tokens"]["tokens"], 4);
  CAF_CHECK_EQUAL(stats["prompt_tokens"]["tokens"], 30);
  CAF_CHECK(stats["response_tokens"]["source"] != "estimated");
}

CAF_TEST(of two that answer the same query exactly one wins) {
  for (int round = 0; round < 5; ++round) {
    auto id = paused_session(box, "local a = alc.llm('q') alc.llm('r') "
                                  "return a");
    std::vector<std::unique_ptr<process>> feeders;
    for (auto* text : {"left", "right"})
      feeders.push_back(
        launch(box, {"session", "feed", id, text, "--query", "q-0", "--json"}));
    std::vector<program_result> ends;
    for (auto& feeder : feeders)
      ends.push_back(end_of(*feeder));
    auto& winner = ends[0].code == 0 ? ends[0] : ends[1];
    auto& loser = ends[0].code == 0 ? ends[1] : ends[0];
    CAF_CHECK_EQUAL(winner.code, 0);
    CAF_CHECK_EQUAL(only_document(winner.out)["query_id"], "q-1");
    CAF_CHECK_EQUAL(loser.code, 6);
    CAF_CHECK_EQUAL(loser.out, "");
    // Too late by a moment: the session may not have paused again yet.
    auto code = loser.error_code();
    CAF_CHECK(code == "already_answered" || code == "busy");
    auto end = feed(id, {"last"});
    CAF_CHECK_EQUAL(end["result"], ends[0].code == 0 ? "left" : "right");
  }
}

// -- cancel -------------------------------------------------------------------

CAF_TEST(a cancelled session keeps the first reason) {
  auto id = paused_session(box, ask);
  auto reply = session({"cancel", id, "--reason", "not needed"});
  CAF_CHECK_EQUAL(fields_of(reply), "session_id status");
  CAF_CHECK_EQUAL(reply["session_id"], id);
  CAF_CHECK_EQUAL(reply["status"], "cancelled");
  CAF_CHECK_EQUAL(session({"cancel", id, "--reason", "second"})["status"],
                  "cancelled");
  auto end = show(box, id);
  CAF_CHECK_EQUAL(fields_of(end), "reason session_id stats status");
  CAF_CHECK_EQUAL(fields_of(end["reason"]), "code detail requested_at");
  CAF_CHECK_EQUAL(end["reason"]["code"], "user");
  CAF_CHECK_EQUAL(end["reason"]["detail"], "not needed");
  auto text = box.run({"session", "show", id});
  CAF_CHECK_EQUAL(text.out,
                  "session " + id + " was cancelled (user): not needed\n");
}

CAF_TEST(a session may be cancelled while it runs) {
  auto id = running_session(box, "while true do end");
  CAF_CHECK_EQUAL(session({"cancel", id})["status"], "cancelled");
  CAF_CHECK(show(box, id)["reason"]["detail"].is_null());
}

CAF_TEST(cancelling what has ended changes nothing) {
  auto done = box.run_script("return 1");
  auto id = done["session_id"].get<std::string>();
  CAF_CHECK_EQUAL(box.run_json({"session", "cancel", id}).code, 0);
  CAF_CHECK_EQUAL(show(box, id), done);
}

CAF_TEST_FIXTURE_SCOPE_END()
