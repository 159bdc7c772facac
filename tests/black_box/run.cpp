// SPDX-License-Identifier: Apache-2.0

// `muster run`: scripts, their arguments, and where they come to stand.

#define CAF_SUITE black_box.run

#include "tests/black_box/command_line.hpp"
#include "tests/support/suite.hpp"

#include <filesystem>

using namespace muster;
using namespace muster::test;

namespace {

struct fixture {
  static std::vector<std::string> node_arguments(black_box&) {
    return {};
  }

  black_box& box = shared_node<fixture>();

  std::string script(const std::string& code,
                     const std::string& name = "script.lua") {
    return box.folder.write(name, code);
  }

  /// Runs a script with `--json`.
  program_result run(const std::string& code,
                     std::vector<std::string> more = {}) {
    more.insert(more.begin(), {"run", script(code)});
    return box.run_json(std::move(more));
  }

  json document(const std::string& code, std::vector<std::string> more = {}) {
    return only_document(run(code, std::move(more)).out);
  }
};

} // namespace

CAF_TEST_FIXTURE_SCOPE(run_tests, fixture)

// -- where a script comes to stand --------------------------------------------

CAF_TEST(a script that never pauses prints its end with detach too) {
  for (auto& more : {std::vector<std::string>{}, {"--detach"}}) {
    auto result = run("return {1, 'x', {y = true}}", more);
    CAF_CHECK_EQUAL(result.code, 0);
    CAF_CHECK_EQUAL(result.err, "");
    auto end = only_document(result.out);
    CAF_CHECK_EQUAL(fields_of(end), "result session_id stats status");
    CAF_CHECK_EQUAL(end["status"], "completed");
    CAF_CHECK_EQUAL(end["result"].dump(), R"([1,"x",{"y":true}])");
    CAF_CHECK_EQUAL(fields_of(end["stats"]), "auto custom");
    CAF_CHECK_EQUAL(fields_of(end["stats"]["auto"]),
                    "elapsed_ms llm_calls pauses prompt_tokens response_tokens "
                    "rounds total_prompt_chars total_response_chars "
                    "total_tokens");
    CAF_CHECK_EQUAL(fields_of(end["stats"]["auto"]["total_tokens"]),
                    "source tokens");
    CAF_CHECK_EQUAL(show(box, end["session_id"]), end);
  }
}

CAF_TEST(without JSON the result alone is on standard output) {
  auto result = box.run({"run", script("return {1, 2}")});
  CAF_CHECK_EQUAL(result.code, 0);
  CAF_CHECK_EQUAL(result.out, "[1,2]\n");
  CAF_CHECK(result.err.starts_with("session s-"));
}

CAF_TEST(a script without a result completes with null) {
  CAF_CHECK(document("local x = 1")["result"].is_null());
}

CAF_TEST(a sole query is printed flat) {
  auto result = run("return alc.llm('why?')");
  CAF_CHECK_EQUAL(result.code, 0);
  CAF_CHECK_EQUAL(result.err, "");
  auto pause = only_document(result.out);
  CAF_CHECK_EQUAL(fields_of(pause),
                  "max_tokens prompt query_id session_id status system");
  CAF_CHECK_EQUAL(pause["status"], "needs_response");
  CAF_CHECK_EQUAL(pause["query_id"], "q-0");
  CAF_CHECK_EQUAL(pause["prompt"], "why?");
  CAF_CHECK(pause["system"].is_null());
  CAF_CHECK_EQUAL(pause["max_tokens"], 1024);
  CAF_CHECK_EQUAL(show(box, pause["session_id"]), pause);
}

CAF_TEST(a query shows its options) {
  auto pause = document("return alc.llm('why?', {system = 'be brief', "
                        "max_tokens = 7, grounded = true})");
  CAF_CHECK_EQUAL(pause["system"], "be brief");
  CAF_CHECK_EQUAL(pause["max_tokens"], 7);
  CAF_CHECK_EQUAL(pause["grounded"], true);
  CAF_CHECK(!pause.contains("underspecified"));
}

CAF_TEST(several queries are printed as a list) {
  auto result = run("return alc.llm_batch({{prompt = 'a'}, {prompt = 'b', "
                    "system = 's', underspecified = true}})");
  CAF_CHECK_EQUAL(result.code, 0);
  auto pause = only_document(result.out);
  CAF_CHECK_EQUAL(fields_of(pause), "queries session_id status");
  CAF_CHECK_EQUAL(pause["status"], "needs_response");
  CAF_REQUIRE_EQUAL(pause["queries"].size(), 2u);
  auto& first = pause["queries"][0];
  auto& second = pause["queries"][1];
  CAF_CHECK_EQUAL(fields_of(first), "id max_tokens prompt system");
  CAF_CHECK_EQUAL(fields_of(second),
                  "id max_tokens prompt system underspecified");
  CAF_CHECK_EQUAL(first["id"], "q-0");
  CAF_CHECK_EQUAL(second["id"], "q-1");
  CAF_CHECK_EQUAL(second["prompt"], "b");
}

CAF_TEST(without JSON a pause shows its queries as text) {
  auto path = script("return alc.llm('what\\nnow?', {system = 'sys'})");
  auto result = box.run({"run", path});
  CAF_CHECK_EQUAL(result.code, 0);
  auto id = lines_of(result.err).at(0).substr(8);
  CAF_CHECK_EQUAL(result.out, "session " + id
                                + " waits for 1 answer\n-- q-0 --\n[system] "
                                  "sys\nwhat\nnow?\n");
}

CAF_TEST(a script that fails is a failed session) {
  auto result = run("error('no way')");
  CAF_CHECK_EQUAL(result.code, 1);
  CAF_CHECK_EQUAL(result.err, "");
  auto end = only_document(result.out);
  CAF_CHECK_EQUAL(fields_of(end), "error kind session_id status");
  CAF_CHECK_EQUAL(end["status"], "error");
  CAF_CHECK_EQUAL(end["error"], "script.lua:1: no way");
  CAF_CHECK_EQUAL(end["kind"], "lua_error");
  CAF_CHECK_EQUAL(show(box, end["session_id"]), end);
}

CAF_TEST(a script that does not compile is a failed session) {
  auto result = run("local x = 1\nreturn ((x)");
  CAF_CHECK_EQUAL(result.code, 1);
  auto end = only_document(result.out);
  CAF_CHECK_EQUAL(end["status"], "error");
  CAF_CHECK(end["error"].get<std::string>().starts_with("script.lua:2: "));
  auto text = box.run({"run", script("return ((1)")});
  CAF_CHECK_EQUAL(text.code, 1);
  CAF_CHECK(contains(text.out, "failed (lua_error): script.lua:1: "));
}

CAF_TEST(a result that is not JSON fails the session and says why) {
  struct row {
    const char* code;
    const char* why;
  };
  for (auto& [code, why] :
       {row{"return print", "function"},
        row{"local t = {} t.t = t return t", "recursive table"},
        row{"return {0/0}", "NaN"}, row{"return 1/0", "infinity"},
        row{"return 'a\\xff'", "UTF-8"}, row{"return {[{}] = 1}", "keys"},
        row{"return coroutine.create(print)", "thread"}}) {
    auto result = run(code);
    CAF_CHECK_EQUAL(result.code, 1);
    auto end = only_document(result.out);
    CAF_CHECK_EQUAL(end["status"], "error");
    CAF_CHECK_EQUAL(end["kind"], "lua_error");
    auto error = end["error"].get<std::string>();
    CAF_CHECK(error.starts_with("the result is not JSON: "));
    CAF_MESSAGE(error);
    CAF_CHECK(contains(error, why));
  }
}

// -- what a script is given ---------------------------------------------------

CAF_TEST(a script may come from standard input) {
  program_options options;
  options.input = "return 6 * 7";
  auto result = box.run_json({"run", "-"}, options);
  CAF_CHECK_EQUAL(result.code, 0);
  CAF_CHECK_EQUAL(only_document(result.out)["result"], 42);
}

CAF_TEST(the ctx is a global of the script) {
  auto end = document("return {ctx.a.b, ctx.text}",
                      {"--ctx", R"({"a":{"b":[1,null]},"text":"é"})"});
  CAF_CHECK_EQUAL(end["result"][1], "é");
  CAF_CHECK_EQUAL(end["result"][0][0], 1);
  CAF_CHECK_EQUAL(document("return next(ctx) == nil")["result"], true);
}

CAF_TEST(packages are found in the folders that are named) {
  std::filesystem::create_directory(box.folder.path() + "/one");
  std::filesystem::create_directory(box.folder.path() + "/two");
  box.folder.write("one/kit.lua", "return {name = 'one'}");
  box.folder.write("two/kit.lua", "return {name = 'two'}");
  box.folder.write("two/rest.lua", "return {name = 'rest'}");
  auto path = script("return {require('kit').name, require('rest').name}");
  // Relative to where the command is called, in the order that was given, and
  // before the file as well as behind it.
  for (auto& arguments :
       {std::vector<std::string>{"run", path, "--packages", "one", "--packages",
                                 "two"},
        {"run", "--packages", "one", "--packages", "two", path}}) {
    auto result = box.run_json(arguments);
    CAF_CHECK_EQUAL(result.code, 0);
    CAF_CHECK_EQUAL(only_document(result.out)["result"].dump(),
                    R"(["one","rest"])");
  }
}

CAF_TEST(a timeout ends the wait and not the work) {
  auto result = run("while true do end", {"--timeout", "20ms"});
  CAF_CHECK_EQUAL(result.code, 7);
  CAF_CHECK_EQUAL(result.out, "");
  CAF_CHECK_EQUAL(result.error_code(), "timeout");
  auto running = only_document(
    box.run_json({"session", "list", "--state", "running"}).out)["sessions"];
  CAF_REQUIRE_EQUAL(running.size(), 1u);
  // Whoever does not know the id cannot go on with the session.
  auto id = running[0]["session_id"].get<std::string>();
  CAF_CHECK(contains(result.err, id));
  CAF_CHECK_EQUAL(show(box, id)["status"], "running");
  CAF_CHECK_EQUAL(box.run({"session", "cancel", id}).code, 0);
}

CAF_TEST_FIXTURE_SCOPE_END()
