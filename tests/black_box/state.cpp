// SPDX-License-Identifier: Apache-2.0

// `muster state`: what sessions share, from outside.

#define CAF_SUITE black_box.state

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

  /// The document of `muster state ...`, which must succeed.
  json state(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "state");
    auto result = box.run_json(std::move(arguments));
    CAF_CHECK_EQUAL(result.code, 0);
    CAF_CHECK_EQUAL(result.err, "");
    return only_document(result.out);
  }

  program_result plain(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "state");
    return box.run(std::move(arguments));
  }
};

} // namespace

CAF_TEST_FIXTURE_SCOPE(state_tests, fixture)

CAF_TEST(a value is written and read and deleted) {
  auto set = state({"set", "a", R"({"x":[1,2.5,null]})"});
  CAF_CHECK_EQUAL(fields_of(set), "key namespace version");
  CAF_CHECK_EQUAL(set["namespace"], "default");
  auto got = state({"get", "a"});
  CAF_CHECK_EQUAL(fields_of(got), "key namespace value version");
  CAF_CHECK_EQUAL(got["key"], "a");
  CAF_CHECK_EQUAL(got["value"].dump(), R"({"x":[1,2.5,null]})");
  CAF_CHECK_EQUAL(got["version"], set["version"]);
  CAF_CHECK(state({"set", "a", "1"})["version"] > set["version"]);
  auto deleted = state({"delete", "a"});
  CAF_CHECK_EQUAL(deleted.dump(),
                  R"({"deleted":true,"key":"a","namespace":"default"})");
  CAF_CHECK_EQUAL(box.run_json({"state", "get", "a"}).error_code(),
                  "not_found");
}

CAF_TEST(without JSON a value is printed as JSON and a write is silent) {
  auto set = plain({"set", "b", R"("text")"});
  CAF_CHECK_EQUAL(set.code, 0);
  CAF_CHECK_EQUAL(set.out, "");
  CAF_CHECK_EQUAL(plain({"get", "b"}).out, "\"text\"\n");
  CAF_CHECK_EQUAL(plain({"delete", "b"}).out, "");
}

CAF_TEST(scripts and the command line see the same values) {
  state({"set", "count", "41"});
  auto end = box.run_script("alc.state.set('from script', {ok = true})\n"
                            "return alc.state.incr('count', 1)");
  CAF_CHECK_EQUAL(end["result"], 42);
  CAF_CHECK_EQUAL(state({"get", "count"})["value"], 42);
  CAF_CHECK_EQUAL(state({"get", "from script"})["value"].dump(),
                  R"({"ok":true})");
}

CAF_TEST(namespaces are apart) {
  state({"set", "k", "1", "--namespace", "left"});
  state({"set", "k", "2", "--namespace", "right"});
  state({"set", "kk", "3", "--namespace", "right"});
  CAF_CHECK_EQUAL(state({"get", "k", "--namespace", "left"})["value"], 1);
  auto end = box.run_script("return alc.state.get('k')",
                            {"--ctx", R"({"_ns":"right"})"});
  CAF_CHECK_EQUAL(end["result"], 2);
  auto spaces = state({"list"})["namespaces"];
  auto find = [&](const char* name) {
    auto i = std::find_if(spaces.begin(), spaces.end(),
                          [&](auto& x) { return x["namespace"] == name; });
    return i != spaces.end() ? i->dump() : "";
  };
  CAF_CHECK_EQUAL(find("left"), R"({"keys":1,"namespace":"left"})");
  CAF_CHECK_EQUAL(find("right"), R"({"keys":2,"namespace":"right"})");
  auto keys = state({"list", "--namespace", "right"});
  CAF_CHECK_EQUAL(fields_of(keys), "keys namespace");
  CAF_REQUIRE_EQUAL(keys["keys"].size(), 2u);
  CAF_CHECK_EQUAL(fields_of(keys["keys"][0]), "bytes key version");
  CAF_CHECK_EQUAL(keys["keys"][1]["key"], "kk");
  CAF_CHECK_EQUAL(
    state({"list", "--namespace", "right", "--prefix", "kk"})["keys"].size(),
    1u);
  CAF_CHECK_EQUAL(
    state({"list", "--namespace", "right", "--limit", "1"})["keys"].size(), 1u);
  auto lines = lines_of(plain({"list", "--namespace", "right"}).out);
  CAF_REQUIRE_EQUAL(lines.size(), 2u);
  CAF_CHECK(lines[0].starts_with("k\t"));
}

CAF_TEST(a key that is not there is not found) {
  for (auto* verb : {"get", "delete"}) {
    auto result = box.run_json({"state", verb, "no such key"});
    CAF_CHECK_EQUAL(result.code, 3);
    CAF_CHECK_EQUAL(result.out, "");
    CAF_CHECK_EQUAL(result.error_code(), "not_found");
    CAF_CHECK(contains(result.err, "no such key"));
    CAF_CHECK(contains(result.err, "default"));
  }
}

CAF_TEST(a value that is not JSON is refused and the old one is kept) {
  state({"set", "kept", "1"});
  auto before = state({"get", "kept"});
  for (auto* value : {"{", "", "x", "1 2", "\"\xff\"", "NaN"}) {
    auto result = box.run_json({"state", "set", "kept", value});
    CAF_CHECK_EQUAL(result.code, 2);
    CAF_CHECK_EQUAL(result.out, "");
    CAF_CHECK_EQUAL(result.error_code(), "invalid_argument");
  }
  CAF_CHECK_EQUAL(state({"get", "kept"}), before);
}

CAF_TEST(a key or namespace that no script could have is refused) {
  auto before = state({"list"});
  struct row {
    const char* key;
    const char* space;
    const char* code;
  };
  for (auto& [key, space, code] :
       {row{"k\xff", "default", "not_utf8"}, row{"k", "n\xff", "not_utf8"},
        row{"k", "", "invalid_argument"}, row{"k", "a/b", "invalid_argument"},
        row{"k", "..", "invalid_argument"}}) {
    auto result
      = box.run_json({"state", "set", key, "1", "--namespace", space});
    CAF_CHECK_EQUAL(result.code, 2);
    CAF_CHECK_EQUAL(result.out, "");
    CAF_CHECK_EQUAL(result.error_code(), code);
  }
  CAF_CHECK_EQUAL(state({"list"}), before);
  auto end
    = box.run_script("return type(alc.state.keys())", {"--timeout", "20s"});
  CAF_CHECK_EQUAL(end["result"], "table");
}

CAF_TEST_FIXTURE_SCOPE_END()
