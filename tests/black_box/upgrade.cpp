// SPDX-License-Identifier: Apache-2.0

// What nodes of earlier formats left behind is opened by this one, and each
// session goes on. `tests/golden/make` says what is in there.

#define CAF_SUITE black_box.upgrade

#include "tests/black_box/command_line.hpp"
#include "tests/support/suite.hpp"

#include "actors/persistence/database.hpp"
#include "actors/persistence/sqlite.hpp"

#include <filesystem>
#include <fstream>

using namespace muster;
using namespace muster::test;
using namespace std::chrono_literals;

namespace {

constexpr auto patience = 60s;

std::string golden(int format) {
  return fmt::format("{}/golden/format-{}", MUSTER_TEST_DIR, format);
}

std::string read_file(const std::string& path) {
  std::ifstream in{path, std::ios::binary};
  return {std::istreambuf_iterator<char>{in}, {}};
}

/// A copy of a golden state directory, with a node.
struct old_state {
  explicit old_state(int format)
    : ids(json::parse(read_file(golden(format) + "/names.json"))) {
    std::filesystem::create_directory(box.state());
    std::filesystem::copy(golden(format) + "/sessions.db", box.state());
    // What ended has been there for longer than nodes keep it.
    box.require_start({"--session.retention", "3650d"});
    link = *box.connect();
  }

  [[nodiscard]] session_view show(const char* name) {
    auto view = link->show(ids.at(name), patience);
    CAF_REQUIRE(view);
    return *view;
  }

  session_view feed(const char* name, const char* response,
                    const char* query = "") {
    auto reply = link->feed(ids.at(name), {{query, response, {}}}, {patience});
    CAF_REQUIRE(reply);
    CAF_CHECK(!reply->results.at(0).refused);
    return reply->session;
  }

  black_box box;
  std::unique_ptr<client> link;
  json ids;
};

} // namespace

CAF_TEST(every format that was ever written has its golden state) {
  for (int format = 1; format <= database::format; ++format)
    CAF_CHECK(std::filesystem::exists(golden(format) + "/sessions.db"));
}

CAF_TEST(each session of an earlier format goes on) {
  for (int format = 1; format <= database::format; ++format) {
    CAF_MESSAGE("format " << format);
    old_state old{format};
    auto& ids = old.ids;
    CAF_CHECK_EQUAL(old.link->list({})->sessions.size(), ids.size());
    // Paused behind an answer; what it drew before is drawn again.
    CAF_CHECK_EQUAL(old.show("paused").queries.at(0).prompt,
                    "second behind one");
    CAF_CHECK_EQUAL(json::parse(old.feed("paused", "two").result),
                    json::parse(R"(["one","two",false,true])"));
    // A batch with one answer of three.
    auto batch = old.show("batch");
    CAF_CHECK_EQUAL(batch.queries.size(), 2u);
    CAF_CHECK_EQUAL(batch.queries.at(1).prompt, "which right");
    CAF_CHECK_EQUAL(batch.queries.at(1).system.value_or(""), "short");
    old.feed("batch", "R", "q-2");
    CAF_CHECK_EQUAL(old.feed("batch", "L").result, R"(["L","M","R"])");
    // A module whose file is gone.
    CAF_CHECK_EQUAL(old.feed("package", "you").result, "\"hello you\"");
    // Shared state, and what it logged.
    auto counted = old.feed("counting", "y");
    CAF_CHECK_EQUAL(counted.phase, session_phase::done);
    CAF_CHECK_EQUAL(json::parse(counted.result), json(2));
    auto log = old.link->log(ids["counting"], 0);
    CAF_REQUIRE(log);
    CAF_REQUIRE_EQUAL(log->size(), 2u);
    CAF_CHECK_EQUAL(log->at(0).message, "counted 1");
    CAF_CHECK_EQUAL(
      old.link->state_get({"default", "settings"})->value.value_or(""),
      R"({"depth": 3, "name": "grün"})");
    // Ends.
    auto done = old.show("done");
    CAF_CHECK_EQUAL(done.phase, session_phase::done);
    CAF_CHECK_EQUAL(
      json::parse(done.result),
      json::parse(
        R"(["\"quoted\"\nand in two lines",{"nested":[1,2.5,true]}])"));
    auto failed = old.show("failed");
    CAF_CHECK_EQUAL(failed.phase, session_phase::failed);
    CAF_CHECK(contains(failed.error, "it failed, as it should"));
    auto cancelled = old.show("cancelled");
    CAF_CHECK_EQUAL(cancelled.phase, session_phase::cancelled);
    CAF_CHECK_EQUAL(cancelled.reason.detail.value_or(""), "not needed");
    // One that ran is taken up again by itself, and can be ended.
    CAF_CHECK_EQUAL(old.show("running").phase, session_phase::running);
    CAF_CHECK_EQUAL(old.link->cancel(ids["running"], {}, patience)->phase,
                    session_phase::cancelled);
    old.link.reset();
    CAF_CHECK_EQUAL(old.box.stop().code, 0);
    // It has this format now, and all that became of it is there.
    {
      sqlite::connection db{old.box.state() + "/sessions.db", ""};
      CAF_CHECK_EQUAL(db.number("PRAGMA user_version"), database::format);
      CAF_CHECK_EQUAL(db.text("PRAGMA integrity_check"), "ok");
    }
    old.box.require_start({"--session.retention", "3650d"});
    old.link = *old.box.connect();
    CAF_CHECK_EQUAL(old.show("batch").result, R"(["L","M","R"])");
    CAF_CHECK_EQUAL(
      old.link->list({{session_phase::done}, {}, 0})->sessions.size(), 5u);
    old.link.reset();
    CAF_CHECK_EQUAL(old.box.stop().code, 0);
  }
}

CAF_TEST(a newer format is refused and nothing in its folder is touched) {
  black_box box;
  std::filesystem::create_directory(box.state());
  std::filesystem::copy(golden(database::format) + "/sessions.db", box.state());
  auto path = box.state() + "/sessions.db";
  {
    sqlite::connection db{path, ""};
    db.run(fmt::format("PRAGMA user_version={}", database::format + 1).c_str());
    db.remove_log_at_close();
  }
  auto before = read_file(path);
  // With a log, too, as of a node that was killed.
  box.folder.write("state/sessions.db-wal", "");
  auto refused = box.run_json({"node", "--port", "0"});
  CAF_CHECK_EQUAL(refused.code, 8);
  CAF_CHECK_EQUAL(refused.out, "");
  CAF_CHECK_EQUAL(refused.error_code(), "newer_format");
  CAF_CHECK(contains(refused.err, path));
  CAF_CHECK(read_file(path) == before);
  auto doctor = box.run_json({"doctor"});
  CAF_CHECK_NOT_EQUAL(doctor.code, 0);
  CAF_CHECK(read_file(path) == before);
}
