// SPDX-License-Identifier: Apache-2.0

// `--answer CMD`: programs that answer queries.

#define CAF_SUITE black_box.answer_program

#include "tests/black_box/command_line.hpp"
#include "tests/support/suite.hpp"

#include <fstream>
#include <iterator>

using namespace muster;
using namespace muster::test;

namespace {

struct fixture {
  static std::vector<std::string> node_arguments(black_box&) {
    return {};
  }

  black_box& box = shared_node<fixture>();

  /// Runs a script that a program answers.
  program_result run(const std::string& code, const std::string& program) {
    auto path = box.folder.write("script.lua", code);
    return box.run_json({"run", path, "--answer", program});
  }

  /// What the script got as its answer, or what became of it instead.
  json answer(const std::string& code, const std::string& program) {
    auto end = only_document(run(code, program).out);
    return end.contains("result") ? end["result"] : end;
  }

  std::string text_of(const std::string& name) {
    std::ifstream in{box.folder.path() + "/" + name, std::ios::binary};
    return {std::istreambuf_iterator<char>{in}, {}};
  }

  /// The newest session.
  std::string newest() {
    auto list = box.run_json({"session", "list", "--limit", "1"}).document();
    return list["sessions"][0]["session_id"];
  }
};

constexpr const char* ask = "return alc.llm('why?')";

} // namespace

CAF_TEST_FIXTURE_SCOPE(answer_program_tests, fixture)

CAF_TEST(no program and nobody to answer are no answers) {
  auto path = box.folder.write("script.lua", ask);
  for (auto& arguments : {std::vector<std::string>{"--answer", ""},
                          {"--answer", "cat", "--detach"}}) {
    auto all = arguments;
    all.insert(all.begin(), {"run", path});
    auto result = box.run_json(all);
    CAF_CHECK_EQUAL(result.code, 2);
    CAF_CHECK_EQUAL(result.error_code(), "invalid_argument");
    CAF_CHECK_EQUAL(result.out, "");
  }
}

// -- what goes in and what comes out ------------------------------------------

CAF_TEST(the prompt reaches the program unchanged) {
  for (auto* prompt : {"x", "", "two\nlines", "ends with a newline\n", "\n\n",
                       "é 漢 🙂", "$HOME `id` \"'\\", "tab\there"}) {
    auto result = box.run_json(
      {"run", box.folder.write("script.lua", "return alc.llm(ctx.prompt)"),
       "--ctx", json{{"prompt", prompt}}.dump(), "--answer",
       "cat > seen; echo ok"});
    CAF_CHECK_EQUAL(result.code, 0);
    CAF_CHECK_EQUAL(result.err, "");
    CAF_CHECK_EQUAL(only_document(result.out)["result"], "ok");
    CAF_CHECK_EQUAL(text_of("seen"), prompt);
  }
}

CAF_TEST(the answer is the output less one newline) {
  struct row {
    const char* program;
    const char* answer;
  };
  for (auto& [program, expected] :
       {row{"printf x", "x"}, row{"printf 'x\\n'", "x"},
        row{"printf 'x\\n\\n'", "x\n"}, row{"printf '\\nx'", "\nx"},
        row{"printf '\\n'", ""}, row{":", ""}, row{"printf 'x\\r\\n'", "x\r"},
        row{"printf ' x '", " x "}, row{"echo é", "é"}})
    CAF_CHECK_EQUAL(answer(ask, program), expected);
}

CAF_TEST(a program may ignore a prompt that fills a pipe many times) {
  CAF_CHECK_EQUAL(answer("return alc.llm(('x'):rep(1024 * 1024))", "echo hi"),
                  "hi");
}

CAF_TEST(a program may answer while it still reads) {
  CAF_CHECK_EQUAL(answer("local p = ('x'):rep(1024 * 1024)\n"
                         "return alc.llm(p) == p",
                         "cat"),
                  true);
}

CAF_TEST(a program knows which query it answers) {
  auto text = answer("return alc.llm('why?', {system = 'sys', max_tokens = 9})",
                     "printf %s \"$MUSTER_QUERY\"");
  auto query = json::parse(text.get<std::string>());
  CAF_CHECK_EQUAL(query["session_id"], newest());
  CAF_CHECK_EQUAL(query["id"], "q-0");
  CAF_CHECK_EQUAL(query["prompt"], "why?");
  CAF_CHECK_EQUAL(query["system"], "sys");
  CAF_CHECK_EQUAL(query["max_tokens"], 9);
  auto plain = answer(ask, "printf %s \"$MUSTER_QUERY\"");
  CAF_CHECK(json::parse(plain.get<std::string>()).at("system").is_null());
}

CAF_TEST(a prompt too long for the environment does not take the system along) {
  auto text = answer("return alc.llm(('x'):rep(200000), {system = 'sys'})",
                     "printf %s \"$MUSTER_QUERY\"");
  auto query = json::parse(text.get<std::string>());
  CAF_CHECK_EQUAL(query["id"], "q-0");
  CAF_CHECK(!query.contains("prompt"));
  CAF_CHECK_EQUAL(query.value("system", ""), "sys");
}

CAF_TEST(a batch is answered in query order) {
  box.folder.write("order", "");
  auto result = run("return alc.llm_batch({{prompt = 'a'}, {prompt = 'b'}, "
                    "{prompt = 'c'}})",
                    "p=$(cat); echo \"$p\" >> order; echo \"<$p>\"");
  CAF_CHECK_EQUAL(result.code, 0);
  CAF_CHECK_EQUAL(only_document(result.out)["result"].dump(),
                  R"(["<a>","<b>","<c>"])");
  CAF_CHECK_EQUAL(text_of("order"), "a\nb\nc\n");
}

CAF_TEST(each pause is answered until the end) {
  auto end = answer("local log = {}\n"
                    "for i = 1, 4 do log[i] = alc.llm('n' .. i) end\n"
                    "return log",
                    "sed s/n/m/");
  CAF_CHECK_EQUAL(end.dump(), R"(["m1","m2","m3","m4"])");
}

CAF_TEST(a script that asks nothing needs no program) {
  CAF_CHECK_EQUAL(run("return 1", "touch was-run; echo x").code, 0);
  CAF_CHECK_EQUAL(run("return 1", "exit 1").code, 0);
  CAF_CHECK(!std::ifstream{box.folder.path() + "/was-run"});
}

CAF_TEST(what a program says on standard error does not spoil the document) {
  auto result = run(ask, "echo working >&2; echo x");
  CAF_CHECK_EQUAL(result.err, "working\n");
  CAF_CHECK_EQUAL(only_document(result.out)["result"], "x");
}

// -- programs that fail -------------------------------------------------------

CAF_TEST(a program that fails leaves the session paused and says so) {
  struct row {
    const char* program;
    const char* cause;
  };
  for (auto& [program, cause] :
       {row{"echo x; exit 3", "exited with 3"}, row{"kill -9 $$", "signal 9"},
        row{"exec no-such-program 2> /dev/null", "exited with 127"}}) {
    auto result = run(ask, program);
    CAF_CHECK_EQUAL(result.code, 1);
    CAF_CHECK_EQUAL(result.out, "");
    auto error = only_document(result.err)["error"];
    CAF_CHECK_EQUAL(error["code"], "program_failed");
    auto message = error["message"].get<std::string>();
    CAF_MESSAGE(message);
    auto id = newest();
    CAF_CHECK(contains(message, program));
    CAF_CHECK(contains(message, cause));
    CAF_CHECK(contains(message, "paused"));
    CAF_CHECK(contains(message, id));
    auto pause = show(box, id);
    CAF_CHECK_EQUAL(pause["status"], "needs_response");
    CAF_CHECK_EQUAL(pause["query_id"], "q-0");
  }
}

CAF_TEST(a failed program is told of without JSON as well) {
  auto path = box.folder.write("script.lua", ask);
  auto result = box.run({"run", path, "--answer", "exit 3"});
  CAF_CHECK_EQUAL(result.code, 1);
  CAF_CHECK_EQUAL(result.out, "");
  CAF_CHECK(contains(result.err, "'exit 3' exited with 3"));
  CAF_CHECK(contains(result.err, "paused"));
  CAF_CHECK(contains(result.err, newest()));
}

CAF_TEST(what was answered before a program failed is kept) {
  auto result = run("return alc.llm_batch({{prompt = 'a'}, {prompt = 'b'}})",
                    "read p; [ $p = a ] && echo first");
  CAF_CHECK_EQUAL(result.code, 1);
  auto id = newest();
  auto pause = show(box, id);
  CAF_CHECK_EQUAL(pause["query_id"], "q-1");
  // Another program takes over.
  auto rest
    = box.run_json({"session", "follow", id, "--answer", "echo second"});
  CAF_CHECK_EQUAL(rest.code, 0);
  CAF_CHECK_EQUAL(only_document(rest.out)["result"].dump(),
                  R"(["first","second"])");
}

CAF_TEST(
  an answer that is no valid text leaves the session paused and says so) {
  auto result = run(ask, "printf 'a\\377'");
  CAF_CHECK_EQUAL(result.code, 2);
  CAF_CHECK_EQUAL(result.out, "");
  CAF_CHECK_EQUAL(result.error_code(), "not_utf8");
  CAF_CHECK(contains(result.err, "paused"));
  CAF_CHECK_EQUAL(show(box, newest())["status"], "needs_response");
}

CAF_TEST(an answer that comes too late is refused) {
  // The program feeds the session by itself, and answers once more.
  auto program = fmt::format(
    "id=$(echo \"$MUSTER_QUERY\" | sed "
    "'s/.*\"session_id\":\"\\([^\"]*\\).*/\\1/'); {} session feed "
    "$id early > /dev/null; echo late",
    MUSTER_PROGRAM);
  auto result = run("return {alc.llm('one'), alc.llm('two')}", program);
  CAF_CHECK_EQUAL(result.code, 6);
  CAF_CHECK_EQUAL(result.error_code(), "already_answered");
  auto pause = show(box, newest());
  CAF_CHECK_EQUAL(pause["query_id"], "q-1");
  auto end = box.run_json({"session", "feed", newest(), "x"}).document();
  CAF_CHECK_EQUAL(end["result"].dump(), R"(["early","x"])");
}

CAF_TEST(following a session answers what is open) {
  auto id = paused_session(box, "return {alc.llm('one'), alc.llm('two')}");
  auto result = box.run_json(
    {"session", "follow", id.substr(0, id.size() - 4), "--answer", "cat"});
  CAF_CHECK_EQUAL(result.code, 0);
  CAF_CHECK_EQUAL(only_document(result.out)["result"].dump(),
                  R"(["one","two"])");
  auto failing = paused_session(box, "error(alc.llm('x'))");
  CAF_CHECK_EQUAL(
    box.run({"session", "follow", failing, "--answer", "cat"}).code, 1);
}

CAF_TEST_FIXTURE_SCOPE_END()
