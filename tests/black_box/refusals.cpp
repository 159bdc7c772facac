// SPDX-License-Identifier: Apache-2.0

// What is refused: with which code and exit code, naming what, and changing
// nothing.

#define CAF_SUITE black_box.refusals

#include "tests/black_box/command_line.hpp"
#include "tests/support/suite.hpp"

using namespace muster;
using namespace muster::test;

namespace {

struct fixture {
  /// Limits that a test can reach.
  static std::vector<std::string> node_arguments(black_box& box) {
    return {"--config", box.folder.write("limits.ini", "[session]\n"
                                                       "max-response = 100\n"
                                                       "max-code = 1KiB\n"
                                                       "max-ctx = 200\n"
                                                       "[strategy]\n"
                                                       "max-prompt = 2KiB\n"
                                                       "max-result = 300\n"
                                                       "max-queries = 5\n")};
  }

  black_box& box = shared_node<fixture>();

  /// Everything that a refused command could have changed.
  std::string world() {
    auto list = box.run_json({"session", "list"}).document();
    return list.dump();
  }

  /// Checks that a command is refused.
  /// @param parts what the message must have.
  void refused(const std::vector<std::string>& arguments, int exit_code,
               const std::string& code, const std::vector<std::string>& parts,
               program_options how = {}) {
    auto before = world();
    auto result = box.run_json(arguments, how);
    CAF_CHECK_EQUAL(result.code, exit_code);
    CAF_CHECK_EQUAL(result.out, "");
    auto document = only_document(result.err);
    CAF_CHECK_EQUAL(fields_of(document), "error");
    CAF_CHECK_EQUAL(fields_of(document["error"]), "code message");
    CAF_CHECK_EQUAL(document["error"]["code"], code);
    auto message = document["error"]["message"].get<std::string>();
    for (auto& part : parts)
      if (!contains(message, part))
        CAF_ERROR("'" << part << "' is missing in: " << message);
    CAF_CHECK_EQUAL(world(), before);
    // The same for a person: no JSON, the same exit code.
    auto plain = box.run(arguments, std::move(how));
    CAF_CHECK_EQUAL(plain.code, exit_code);
    CAF_CHECK_EQUAL(plain.out, "");
    CAF_CHECK(plain.err.starts_with("muster: "));
    CAF_CHECK_EQUAL(world(), before);
  }

  /// The same with a session that must stay as it is.
  void
  refused_by(const std::string& id, const std::vector<std::string>& arguments,
             int exit_code, const std::string& code,
             const std::vector<std::string>& parts, program_options how = {}) {
    auto full = [&] {
      auto document
        = box.run_json({"session", "show", id, "--full", "--history"})
            .document();
      // Time passes by itself.
      document["snapshot"]["metrics"].erase("elapsed_ms");
      return document.dump();
    };
    auto before = full();
    refused(arguments, exit_code, code, parts, std::move(how));
    CAF_CHECK_EQUAL(full(), before);
  }

  std::string script(const std::string& code) {
    return box.folder.write("script.lua", code);
  }
};

constexpr const char* ask = "return alc.llm('why?')";
constexpr const char* ask_two
  = "return alc.llm_batch({{prompt = 'a'}, {prompt = 'b'}})";
constexpr const char* unknown_id = "s-1-00000000000000000000000000000000";

} // namespace

CAF_TEST_FIXTURE_SCOPE(refusal_tests, fixture)

// -- answers ------------------------------------------------------------------

CAF_TEST(an answer that is too large is refused) {
  auto id = paused_session(box, ask);
  auto large = std::string(101, 'x');
  refused_by(id, {"session", "feed", id, large}, 2, "too_large",
             {"q-0", "101", "session.max-response", "100"});
  program_options how;
  how.input = large;
  refused_by(id, {"session", "feed", id}, 2, "too_large", {"q-0"}, how);
  // What is just small enough is taken, and a newline at its end is not its.
  how.input = std::string(100, 'x') + "\n";
  CAF_CHECK_EQUAL(box.run({"session", "feed", id}, how).code, 0);
}

CAF_TEST(an answer that is no valid text is refused) {
  auto id = paused_session(box, ask);
  refused_by(id, {"session", "feed", id, "a\xff"}, 2, "not_utf8", {"q-0"});
  for (auto* bytes : {"a\xff", "\xc3", "\xed\xa0\x80", "\xc0\x80"}) {
    program_options how;
    how.input = bytes;
    refused_by(id, {"session", "feed", id}, 2, "not_utf8", {"q-0"}, how);
  }
}

CAF_TEST(an answer must name its query if several are open) {
  auto id = paused_session(box, ask_two);
  refused_by(id, {"session", "feed", id, "x"}, 2, "ambiguous",
             {"2 queries pending; specify query_id explicitly"});
}

CAF_TEST(an answer to an unknown query is refused) {
  auto id = paused_session(box, ask);
  for (auto* query : {"q-1", "q-00", "Q-0", "q", "nonsense", "q-\xff"})
    refused_by(id, {"session", "feed", id, "x", "--query", query}, 3,
               "not_found", {id});
  refused_by(id, {"session", "feed", id, "x", "--query", "q-7"}, 3, "not_found",
             {"unknown query_id: q-7", id});
}

CAF_TEST(a second answer is refused in the same pause and in the next) {
  auto id = paused_session(box, "alc.llm_batch({{prompt = 'a'}, "
                                "{prompt = 'b'}})\nreturn alc.llm('c')");
  box.run({"session", "feed", id, "first", "--query", "q-0"});
  refused_by(id, {"session", "feed", id, "second", "--query", "q-0"}, 6,
             "already_answered", {"already responded to query_id: q-0"});
  box.run({"session", "feed", id, "first"});
  refused_by(id, {"session", "feed", id, "second", "--query", "q-1"}, 6,
             "already_answered", {"q-1", "earlier pause"});
}

CAF_TEST(what has ended takes no answer) {
  auto done = box.run_script("return 1")["session_id"].get<std::string>();
  refused_by(done, {"session", "feed", done, "x"}, 6, "finished",
             {done, "done"});
  auto failed = box.run_script("error('x')")["session_id"].get<std::string>();
  refused_by(failed, {"session", "feed", failed, "x", "--query", "q-0"}, 6,
             "finished", {failed, "failed"});
  auto cancelled = paused_session(box, ask);
  box.run({"session", "cancel", cancelled});
  refused_by(cancelled, {"session", "feed", cancelled, "x"}, 6,
             "already_cancelled", {cancelled});
}

CAF_TEST(what runs takes no answer) {
  auto id = running_session(box, "while true do end");
  refused_by(id, {"session", "feed", id, "x"}, 6, "busy", {id});
  box.run({"session", "cancel", id});
}

CAF_TEST(a batch that makes no sense is refused) {
  auto id = paused_session(box, ask_two);
  struct row {
    const char* text;
    const char* part;
  };
  for (auto& [text, part] :
       {row{"", "batch"}, row{"{}", "array"}, row{"[]", "non-empty"},
        row{"[1]", "item 1"}, row{R"([{"query_id":"q-0"}])", "response"},
        row{R"([{"query_id":"q-0","response":1}])", "response"},
        row{R"([{"query_id":"q-0","response":"a"},{"response":"b"}])",
            "item 2"},
        row{R"([{"query_id":"q-0","response":"a","usage":{"x":1}}])", "x"},
        row{R"([{"query_id":"q-0","response":"a","usage":{)"
            R"("prompt_tokens":-1}}])",
            "prompt_tokens"}}) {
    program_options how;
    how.input = text;
    refused_by(id, {"session", "feed", id, "--batch", "-"}, 2,
               "invalid_argument", {part}, how);
  }
  refused_by(id, {"session", "feed", id, "--batch", "no-such.json"}, 2,
             "invalid_argument", {"no-such.json"});
  refused_by(id, {"session", "feed", id, "x", "--batch", "-"}, 2,
             "invalid_argument", {"--batch"});
}

CAF_TEST(a usage that makes no sense is refused) {
  auto id = paused_session(box, ask);
  for (auto* usage : {"", "[]", "{\"tokens\":1}", "{\"prompt_tokens\":\"1\"}",
                      "{\"completion_tokens\":1.5}"})
    refused_by(id, {"session", "feed", id, "x", "--usage", usage}, 2,
               "invalid_argument", {"usage"});
}

// -- sessions -----------------------------------------------------------------

CAF_TEST(an unknown session is not found by any verb) {
  for (auto& arguments : {std::vector<std::string>{"show"},
                          {"show", "--full"},
                          {"feed", "x"},
                          {"feed", "x", "--no-wait"},
                          {"cancel"},
                          {"wait"},
                          {"watch"},
                          {"log"},
                          {"log", "--follow"},
                          {"log", "--transcript"},
                          {"follow", "--answer", "cat"}})
    for (auto* id : {unknown_id, "s-0", "nonsense", ""}) {
      auto all = arguments;
      all.insert(all.begin(), "session");
      all.insert(all.begin() + 2, id);
      auto result = box.run_json(all);
      CAF_CHECK_EQUAL(result.code, 3);
      CAF_CHECK_EQUAL(result.out, "");
      CAF_CHECK_EQUAL(only_document(result.err)["error"]["code"], "not_found");
      CAF_CHECK(contains(result.err, fmt::format("'{}'", id)));
    }
}

CAF_TEST(a beginning that fits two sessions is refused) {
  auto one = paused_session(box, ask);
  auto two = paused_session(box, ask);
  auto [i, j] = std::mismatch(one.begin(), one.end(), two.begin());
  auto common = std::string(one.begin(), i);
  refused({"session", "show", common}, 2, "ambiguous",
          {"'" + common + "'", "s-"});
  refused_by(one, {"session", "feed", common, "x"}, 2, "ambiguous", {common});
  refused_by(two, {"session", "cancel", common}, 2, "ambiguous", {common});
  // Sessions of other tests may have more in common with it than the other one.
  CAF_CHECK_EQUAL(show(box, one.substr(0, one.size() - 1))["session_id"], one);
}

CAF_TEST(a reason that is no valid text is refused) {
  auto paused = paused_session(box, ask);
  refused_by(paused, {"session", "cancel", paused, "--reason", "a\xff"}, 2,
             "not_utf8", {"reason", paused});
  auto running = running_session(box, "while true do end");
  refused_by(running, {"session", "cancel", running, "--reason", "a\xff"}, 2,
             "not_utf8", {"reason", running});
  CAF_CHECK_EQUAL(box.run({"session", "cancel", running}).code, 0);
  CAF_CHECK_EQUAL(show(box, running)["status"], "cancelled");
}

CAF_TEST(options out of range are refused and named) {
  auto id = paused_session(box, ask);
  refused({"session", "list", "--state", "asleep"}, 2, "invalid_argument",
          {"--state", "asleep"});
  refused({"session", "list", "--limit", "-1"}, 2, "invalid_argument",
          {"--limit"});
  refused({"session", "list", "--before", unknown_id}, 3, "not_found",
          {unknown_id});
  refused({"session", "wait", id, "--until", "noon"}, 2, "invalid_argument",
          {"--until", "noon"});
  refused({"session", "prune", "--older-than", "5"}, 2, "invalid_argument",
          {"--older-than", "'5'"});
  refused({"session", "show", id, "--full", "--pending", "all"}, 2,
          "invalid_argument", {"all"});
  refused({"session", "show", id, "--full", "--pending", "{\"x\":1}"}, 2,
          "invalid_argument", {"x"});
  for (auto& arguments : {std::vector<std::string>{"session", "wait", id},
                          {"session", "watch", id},
                          {"session", "feed", id, "x"},
                          {"run", script("return 1")}})
    for (auto* limit : {"5", "-1s", "", "1.5s", "99999999999999999999d"}) {
      auto all = arguments;
      all.insert(all.end(), {"--timeout", limit});
      auto result = box.run_json(all);
      CAF_CHECK_EQUAL(result.code, 2);
      CAF_CHECK_EQUAL(result.error_code(), "invalid_argument");
      CAF_CHECK(contains(result.err, "--timeout"));
    }
  CAF_CHECK_EQUAL(show(box, id)["status"], "needs_response");
}

// -- scripts ------------------------------------------------------------------

CAF_TEST(a script that cannot be read starts no session) {
  refused({"run", "no-such.lua"}, 2, "invalid_argument",
          {"no-such.lua", "No such file"});
  refused({"run", box.folder.path()}, 2, "invalid_argument",
          {box.folder.path(), "folder"});
  refused({"run", script("")}, 2, "invalid_spec", {"code"});
  refused({"run", script(" \n\t")}, 2, "invalid_spec", {"code"});
  refused({"run", script("return '\xff'")}, 2, "not_utf8", {"code"});
}

CAF_TEST(a script that is too large starts no session) {
  refused({"run", script("return '" + std::string(1'024, 'x') + "'")}, 2,
          "too_large", {"1033", "session.max-code", "1024"});
}

CAF_TEST(a ctx that is no JSON object starts no session) {
  auto path = script("return 1");
  struct row {
    const char* ctx;
    const char* part;
  };
  for (auto& [ctx, part] :
       {row{"[]", "an array"}, row{"null", "null"}, row{"\"x\"", "a string"},
        row{"1", "a number"}, row{"{", "not JSON"}, row{"", "not JSON"},
        row{"{} x", "not JSON"}, row{"{\"a\":\"\xff\"}", "not JSON"}})
    refused({"run", path, "--ctx", ctx}, 2, "invalid_argument",
            {"--ctx", part});
}

CAF_TEST(a ctx that is too large starts no session) {
  auto ctx = json{{"a", std::string(200, 'x')}}.dump();
  refused({"run", script("return 1"), "--ctx", ctx}, 2, "too_large",
          {"208", "session.max-ctx", "200"});
}

CAF_TEST(a package folder that is none starts no session) {
  refused({"run", script("return 1"), "--packages", "no-such"}, 2,
          "invalid_argument", {"no-such"});
}

CAF_TEST(limits of a script end its session and are named) {
  struct row {
    const char* code;
    const char* limit;
  };
  for (auto& [code, limit] :
       {row{"return ('x'):rep(1000)", "strategy.max-result"},
        row{"return alc.llm(('x'):rep(3000))", "strategy.max-prompt"},
        row{"local b = {} for i = 1, 6 do b[i] = {prompt = 'x'} end\n"
            "return alc.llm_batch(b)",
            "strategy.max-queries"}}) {
    auto result = box.run_json({"run", script(code)});
    CAF_CHECK_EQUAL(result.code, 1);
    auto end = only_document(result.out);
    CAF_CHECK_EQUAL(end["status"], "error");
    CAF_CHECK_EQUAL(end["kind"], "limit_exceeded");
    CAF_CHECK(contains(end["error"], limit));
  }
}

CAF_TEST_FIXTURE_SCOPE_END()
