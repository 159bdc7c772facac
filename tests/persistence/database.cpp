// SPDX-License-Identifier: Apache-2.0

#define CAF_SUITE persistence.database

#include "actors/persistence/database.hpp"

#include "tests/support/simulated_disk.hpp"
#include "tests/support/suite.hpp"

#include "actors/persistence/schema.hpp"

#include "messages/ids.hpp"

#include <fmt/format.h>
#include <sqlite3.h>

using namespace muster;
using namespace std::chrono_literals;
using namespace muster::test;

namespace {

struct fixture {
  simulated_disk disk;
  persistence_settings settings;
  std::int64_t wall_ms = 1'700'000'000'000;
  std::int64_t steady_ns = 1'000'000'000;
  std::unique_ptr<database> db;

  fixture() {
    settings.directory = "/state";
    settings.file_system = disk.file_system();
    reopen();
  }

  ~fixture() {
    db.reset();
  }

  environment env() {
    return {[this] { return wall_ms; }, [this] { return steady_ns; },
            [] { return random_bits{}; }};
  }

  expected<void> open() {
    db.reset();
    auto opened = database::open(settings, env());
    if (!opened)
      return tl::unexpected<failure>{opened.error()};
    db = std::move(*opened);
    return {};
  }

  void reopen() {
    auto opened = open();
    if (!opened)
      CAF_FAIL(opened.error().message);
  }

  /// The process dies, and another opens what is there.
  void crash() {
    disk.is_off = true;
    db.reset();
    disk.is_off = false;
    disk.kill_process();
    reopen();
  }

  /// How many rows a table has. The database is closed for a moment.
  int rows(const std::string& table) {
    db.reset();
    sqlite3* raw = nullptr;
    sqlite3_open_v2("/state/sessions.db", &raw, SQLITE_OPEN_READWRITE,
                    settings.file_system.c_str());
    int count = -1;
    auto note = [](void* out, int, char** values, char**) {
      *static_cast<int*>(out) = std::stoi(values[0]);
      return 0;
    };
    // Without shared memory, of which a simulated disk has none.
    sqlite3_exec(raw, "PRAGMA locking_mode=exclusive", nullptr, nullptr,
                 nullptr);
    sqlite3_exec(raw, ("SELECT count(*) FROM " + table).c_str(), note, &count,
                 nullptr);
    sqlite3_close(raw);
    reopen();
    return count;
  }

  void lose_power() {
    disk.is_off = true;
    db.reset();
    disk.is_off = false;
    disk.cut_power();
    reopen();
  }

  commit_request request(const std::string& id, std::int64_t row = 0,
                         std::uint64_t seq = 1,
                         session_phase phase = session_phase::running) {
    commit_request x;
    x.session_id = id;
    x.row = row;
    x.first_seq = x.last_seq = seq;
    x.payload = "[\"" + id + " " + std::to_string(seq) + "\"]";
    x.phase = phase;
    x.at_ms = x.last_active_ms = wall_ms;
    return x;
  }

  expected<commit_ack> commit(commit_request x) {
    return db->commit({std::move(x)}).at(0);
  }

  std::int64_t create(const std::string& id,
                      session_phase phase = session_phase::running) {
    auto ack = commit(request(id, 0, 1, phase));
    CAF_REQUIRE(ack);
    return ack->row;
  }

  static std::string code(const failure& x) {
    return to_string(x.code);
  }
};

const state_key counter{"default", "counter"};

} // namespace

CAF_TEST_FIXTURE_SCOPE(database_tests, fixture)

// -- commits ------------------------------------------------------------------

CAF_TEST(what was committed is there after a crash and after a loss of power) {
  auto row = create("s-1");
  CAF_REQUIRE(commit(request("s-1", row, 2, session_phase::paused)));
  for (int i = 0; i < 20; ++i) {
    if (i % 2 == 0)
      crash();
    else
      lose_power();
    auto loaded = db->load("s-1");
    CAF_REQUIRE(loaded);
    CAF_REQUIRE_EQUAL(loaded->events.size(), 2u);
    CAF_CHECK_EQUAL(loaded->events[1].payload, "[\"s-1 2\"]");
    CAF_CHECK_EQUAL(loaded->row, row);
    CAF_CHECK_EQUAL(db->count(session_phase::paused), 1u);
    CAF_CHECK_EQUAL(db->count(session_phase::running), 0u);
  }
}

CAF_TEST(one sync serves a whole batch) {
  create("s-0");
  auto syncs = disk.syncs();
  std::vector<commit_request> batch;
  for (int i = 1; i <= 50; ++i)
    batch.push_back(request("s-" + std::to_string(i)));
  for (auto& ack : db->commit(std::move(batch)))
    CAF_CHECK(ack);
  CAF_CHECK_EQUAL(disk.syncs() - syncs, 1u);
  CAF_CHECK_EQUAL(db->count(session_phase::running), 51u);
}

CAF_TEST(every commit is synced before it is acknowledged) {
  create("s-0");
  for (int i = 0; i < 10; ++i) {
    auto before = disk.syncs();
    create("s-" + std::to_string(i + 1));
    CAF_CHECK(disk.syncs() > before);
  }
}

CAF_TEST(a commit of a batch that cannot be taken is refused alone) {
  auto row = create("s-1");
  std::vector<commit_request> batch{request("s-2"), request("s-1", row, 1),
                                    request("s-3")};
  batch[1].writes.push_back({counter, "1"});
  auto acks = db->commit(std::move(batch));
  CAF_CHECK(acks[0]);
  CAF_REQUIRE(!acks[1]);
  CAF_CHECK_EQUAL(code(acks[1].error()), "internal");
  CAF_CHECK(acks[1].error().message.find("event 1 of session 's-1' is on disk "
                                         "already")
            == 0);
  CAF_CHECK(acks[2]);
  crash();
  CAF_CHECK(db->load("s-2"));
  CAF_CHECK(db->load("s-3"));
  CAF_CHECK_EQUAL(db->load("s-1")->events.size(), 1u);
  // Nothing of what was refused is left, its writes and counts included.
  CAF_CHECK(!db->get(counter)->value);
  CAF_CHECK_EQUAL(db->count(session_phase::running), 3u);
}

CAF_TEST(texts are kept once and go with the last session that needs them) {
  auto with_source = [&](const std::string& id) {
    auto x = request(id);
    x.sources.push_back({"hash-a", "return 1"});
    x.sources.push_back({"hash-" + id, "only " + id});
    CAF_REQUIRE(commit(x));
  };
  with_source("s-1");
  with_source("s-2");
  CAF_CHECK_EQUAL(db->load("s-2")->sources.size(), 2u);
  CAF_CHECK_EQUAL(*db->erase({"s-1"}), 1u);
  auto left = db->load("s-2")->sources;
  CAF_REQUIRE_EQUAL(left.size(), 2u);
  CAF_CHECK_EQUAL(left[0].text, "return 1");
  CAF_CHECK_EQUAL(rows("sources"), 2);
  CAF_CHECK(db->erase({"s-2"}));
  // A new session that brings the text again finds no leftovers.
  CAF_CHECK_EQUAL(rows("sources"), 0);
  CAF_CHECK_EQUAL(rows("session_sources"), 0);
  with_source("s-3");
  CAF_CHECK_EQUAL(db->load("s-3")->sources.size(), 2u);
}

CAF_TEST(payloads and texts hold any bytes) {
  auto x = request("s-1");
  x.payload = std::string{"zero \0 and \xff", 12};
  x.sources.push_back({"h", std::string{"\0\0", 2}});
  x.logs.push_back({1, 2, "info", "src", std::string{"a\0b", 3}});
  CAF_REQUIRE(commit(x));
  crash();
  auto loaded = db->load("s-1");
  CAF_CHECK_EQUAL(loaded->events[0].payload, x.payload);
  CAF_CHECK_EQUAL(loaded->sources[0].text, x.sources[0].text);
  CAF_CHECK_EQUAL(db->log("s-1", 0)->at(0).message, x.logs[0].message);
}

// -- shared state -------------------------------------------------------------

CAF_TEST(a value has another version after every write) {
  CAF_CHECK_EQUAL(db->get(counter)->version, 0u);
  auto first = *db->set(counter, "1", once);
  auto second = *db->set(counter, "1", once);
  CAF_CHECK(second > first && first > 0);
  CAF_CHECK(*db->remove(counter, once));
  CAF_CHECK(!*db->remove(counter, once));
  CAF_CHECK(!db->get(counter)->value);
  // A key that was there before does not get an old version again.
  crash();
  CAF_CHECK(*db->set(counter, "2", once) > second);
}

CAF_TEST(a write is refused when what it was made from has changed) {
  auto version = *db->set(counter, "1", once);
  auto row = create("s-1");
  auto x = request("s-1", row, 2);
  x.expectations.push_back({counter, version});
  x.writes.push_back({counter, "2"});
  CAF_REQUIRE(commit(x));
  x.first_seq = x.last_seq = 3;
  x.writes = {{counter, "3"}};
  auto refused = commit(x);
  CAF_REQUIRE(!refused);
  CAF_CHECK_EQUAL(code(refused.error()), "conflict");
  CAF_CHECK_EQUAL(*db->get(counter)->value, "2");
  CAF_CHECK_EQUAL(db->load("s-1")->events.size(), 2u);
}

CAF_TEST(of two that read the same only one writes in one batch as well) {
  auto a = request("s-1");
  auto b = request("s-2");
  for (auto* x : {&a, &b}) {
    x->expectations.push_back({counter, 0});
    x->writes.push_back({counter, "1"});
  }
  auto acks = db->commit({a, b});
  CAF_CHECK(acks[0]);
  CAF_CHECK(!acks[1]);
  CAF_CHECK_EQUAL(db->list({})->sessions.size(), 1u);
}

// -- requests -----------------------------------------------------------------

CAF_TEST(a request is kept with what it changed or not at all) {
  auto x = request("s-1");
  x.done = receipt{"r-1", "digest", "\"s-1\""};
  CAF_REQUIRE(commit(x));
  crash();
  CAF_CHECK_EQUAL(*db->recall({"r-1", "digest", {}}), "\"s-1\"");
  CAF_CHECK_EQUAL(*db->recall({"r-2", "digest", {}}), "");
  CAF_CHECK_EQUAL(code(db->recall({"r-1", "other", {}}).error()), "conflict");
  // One that is refused leaves nothing.
  auto refused = request("s-2");
  refused.expectations.push_back({counter, 7});
  refused.done = receipt{"r-2", "digest", "\"s-2\""};
  CAF_CHECK(!commit(refused));
  CAF_CHECK_EQUAL(*db->recall({"r-2", "digest", {}}), "");
}

CAF_TEST(of two with one id in a batch the second changes nothing) {
  auto a = request("s-1");
  auto b = request("s-2");
  a.done = receipt{"r-1", "digest", "\"s-1\""};
  b.done = receipt{"r-1", "digest", "\"s-2\""};
  auto c = request("s-3");
  c.done = receipt{"r-1", "other", "\"s-3\""};
  auto acks = db->commit({a, b, c});
  CAF_REQUIRE(acks[0] && acks[1]);
  CAF_CHECK(!acks[0]->repeated);
  CAF_CHECK_EQUAL(acks[1]->repeated.value_or(""), "\"s-1\"");
  CAF_CHECK_EQUAL(code(acks[2].error()), "conflict");
  CAF_CHECK_EQUAL(db->list({})->sessions.size(), 1u);
  CAF_CHECK_EQUAL(db->count(session_phase::running), 1u);
}

CAF_TEST(requests go after their time and when there are too many) {
  settings.keep_receipts = 1h;
  settings.max_receipts = 10;
  reopen();
  int number = 0;
  auto write = [&] { return db->set(counter, "1", std::to_string(++number)); };
  CAF_REQUIRE(write());
  for (int i = 0; i < 5; ++i) {
    steady_ns += 10ll * 60 * 1'000'000'000;
    CAF_REQUIRE(write());
  }
  CAF_CHECK_EQUAL(rows("receipts"), 6);
  steady_ns += 11ll * 60 * 1'000'000'000;
  CAF_REQUIRE(write());
  // The first is past its time.
  CAF_CHECK_EQUAL(rows("receipts"), 6);
  for (int i = 0; i < 20; ++i)
    CAF_REQUIRE(write());
  CAF_CHECK_EQUAL(rows("receipts"), 10);
  auto last = state_write{counter, "1"};
  CAF_CHECK_NOT_EQUAL(
    *db->recall({std::to_string(number), digest_of(last), {}}), "");
  CAF_CHECK_EQUAL(*db->recall({"1", digest_of(last), {}}), "");
}

// -- lists --------------------------------------------------------------------

CAF_TEST(keys are listed by namespace and beginning) {
  for (auto* key : {"b", "a1", "a2", "ä", "a"})
    CAF_CHECK(db->set({"x", key}, "\"value\"", once));
  CAF_CHECK(db->set({"y", "other"}, "1", once));
  auto spaces = *db->spaces();
  CAF_REQUIRE_EQUAL(spaces.size(), 2u);
  CAF_CHECK_EQUAL(spaces[0].keys, 5u);
  CAF_CHECK_EQUAL(db->keys("x", "", 0)->size(), 5u);
  auto keys = *db->keys("x", "a", 0);
  CAF_REQUIRE_EQUAL(keys.size(), 3u);
  CAF_CHECK_EQUAL(keys[0].key + keys[1].key + keys[2].key, "aa1a2");
  CAF_CHECK_EQUAL(keys[0].bytes, 7u);
  CAF_CHECK_EQUAL(db->keys("x", "a", 2)->size(), 2u);
  CAF_CHECK_EQUAL(db->keys("z", "", 0)->size(), 0u);
}

// -- lists --------------------------------------------------------------------

CAF_TEST(lists show the newest first page by page and phase by phase) {
  for (int i = 1; i <= 5; ++i)
    create("s-" + std::to_string(i),
           i % 2 == 0 ? session_phase::paused : session_phase::done);
  session_list_request x;
  x.limit = 2;
  auto page = *db->list(x);
  CAF_REQUIRE_EQUAL(page.sessions.size(), 2u);
  CAF_CHECK_EQUAL(page.sessions[0].session_id, "s-5");
  CAF_CHECK(page.more);
  x.before = "s-4";
  page = *db->list(x);
  CAF_CHECK_EQUAL(page.sessions[0].session_id, "s-3");
  x = {};
  x.phases = {session_phase::paused};
  page = *db->list(x);
  CAF_REQUIRE_EQUAL(page.sessions.size(), 2u);
  CAF_CHECK_EQUAL(page.sessions[1].session_id, "s-2");
  CAF_CHECK(!page.more);
  x.before = "s-nobody";
  CAF_CHECK_EQUAL(code(db->list(x).error()), "not_found");
}

CAF_TEST(no page is longer than the limit) {
  settings.max_page = 3;
  reopen();
  for (int i = 1; i <= 5; ++i)
    create("s-" + std::to_string(i));
  session_list_request x;
  CAF_CHECK_EQUAL(db->list(x)->sessions.size(), 3u);
  x.limit = 100;
  CAF_CHECK_EQUAL(db->list(x)->sessions.size(), 3u);
}

CAF_TEST(a beginning finds what it fits and no more than two) {
  create("s-10a");
  create("s-10b");
  create("s-11");
  CAF_CHECK_EQUAL(db->find("s-10")->size(), 2u);
  CAF_CHECK_EQUAL(db->find("s-10a")->size(), 1u);
  CAF_CHECK_EQUAL(db->find("s-1")->size(), 2u);
  CAF_CHECK_EQUAL(db->find("s-2")->size(), 0u);
}

CAF_TEST(a scan goes through all in pages and finds those that run) {
  for (int i = 1; i <= 10; ++i)
    create("s-" + std::to_string(i),
           i % 5 == 0 ? session_phase::running : session_phase::paused);
  std::size_t seen = 0;
  std::int64_t after = 0;
  do {
    auto page = *db->scan({after, 3, false});
    seen += page.sessions.size();
    after = page.next;
  } while (after != 0);
  CAF_CHECK_EQUAL(seen, 10u);
  auto running = *db->scan({0, 100, true});
  CAF_REQUIRE_EQUAL(running.sessions.size(), 2u);
  CAF_CHECK_EQUAL(running.sessions[0].session_id, "s-5");
}

CAF_TEST(logs keep their newest lines) {
  settings.max_log_lines = 3;
  reopen();
  auto x = request("s-1");
  for (std::uint64_t i = 1; i <= 5; ++i)
    x.logs.push_back({i, 0, "info", "src", std::to_string(i)});
  CAF_REQUIRE(commit(x));
  auto lines = *db->log("s-1", 0);
  CAF_REQUIRE_EQUAL(lines.size(), 3u);
  CAF_CHECK_EQUAL(lines[0].number, 3u);
  CAF_CHECK_EQUAL(db->log("s-1", 4)->size(), 1u);
  CAF_CHECK_EQUAL(db->load("s-1")->log_lines, 5u);
  CAF_CHECK_EQUAL(code(db->log("s-2", 0).error()), "not_found");
}

CAF_TEST(what is deleted is gone with all that was its own) {
  auto x = request("s-1", 0, 1, session_phase::done);
  x.logs.push_back({1, 0, "info", "src", "line"});
  CAF_REQUIRE(commit(x));
  CAF_CHECK_EQUAL(*db->erase({"s-1", "s-unknown"}), 1u);
  crash();
  CAF_CHECK_EQUAL(code(db->load("s-1").error()), "not_found");
  CAF_CHECK_EQUAL(db->count(session_phase::done), 0u);
  for (auto* table : {"sessions", "events", "logs"})
    CAF_CHECK_EQUAL(rows(table), 0);
}

// -- time ---------------------------------------------------------------------

CAF_TEST(idle time goes on while the node is down and jumps of the
           clock do not count) {
  constexpr std::int64_t hour = 3'600'000;
  create("s-1", session_phase::paused);
  auto idle = [&] { return db->scan({0, 1, false})->sessions.at(0).idle_ms; };
  // While it runs only the steady clock counts.
  wall_ms += 1'000 * hour;
  steady_ns += hour * 1'000'000;
  CAF_CHECK_EQUAL(idle(), hour);
  create("s-2"); // saves the age
  // Down for two hours.
  wall_ms += 2 * hour;
  crash();
  CAF_CHECK_EQUAL(idle(), 3 * hour);
  create("s-3");
  // A clock that was set back gives nothing back.
  wall_ms -= 5'000 * hour;
  crash();
  CAF_CHECK_EQUAL(idle(), 3 * hour);
  create("s-4");
  // One that was set forward by years counts as a day.
  wall_ms += 100'000 * hour;
  crash();
  CAF_CHECK_EQUAL(idle(), 27 * hour);
}

// -- opening ------------------------------------------------------------------

CAF_TEST(the log and the lock are as they must be) {
  create("s-1");
  CAF_CHECK(disk.contents("/state/sessions.db-wal"));
  // No shared memory: nobody else can look in.
  CAF_CHECK(!disk.contents("/state/sessions.db-shm"));
}

CAF_TEST(a database of a newer format is refused and left as it is) {
  {
    db.reset();
    sqlite3* raw = nullptr;
    sqlite3_open_v2("/state/sessions.db", &raw, SQLITE_OPEN_READWRITE,
                    settings.file_system.c_str());
    sqlite3_exec(raw, "PRAGMA locking_mode=exclusive; PRAGMA user_version=99",
                 nullptr, nullptr, nullptr);
    sqlite3_close(raw);
  }
  auto before = *disk.contents("/state/sessions.db");
  auto opened = open();
  CAF_REQUIRE(!opened);
  CAF_CHECK_EQUAL(code(opened.error()), "newer_format");
  CAF_CHECK(opened.error().message.find("format 99") != std::string::npos);
  CAF_CHECK(*disk.contents("/state/sessions.db") == before);
}

CAF_TEST(a database of another program is refused) {
  db.reset();
  disk.remove("/state/sessions.db");
  sqlite3* raw = nullptr;
  sqlite3_open_v2("/state/sessions.db", &raw,
                  SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                  settings.file_system.c_str());
  sqlite3_exec(raw, "CREATE TABLE recipes(name)", nullptr, nullptr, nullptr);
  sqlite3_close(raw);
  auto opened = open();
  CAF_REQUIRE(!opened);
  CAF_CHECK_EQUAL(code(opened.error()), "registry_corrupted");
  CAF_CHECK(opened.error().message.find("another program")
            != std::string::npos);
}

CAF_TEST(a damaged database is refused and left as it is) {
  for (int i = 0; i < 300; ++i)
    create("s-" + std::to_string(i));
  db.reset();
  auto sound = *disk.contents("/state/sessions.db");
  for (auto& damage : std::vector<std::function<void(std::string&)>>{
         [](std::string& x) { x = "no database at all, but long enough"; },
         [](std::string& x) { x.replace(0, 16, "SQLite format 9\0"); },
         [](std::string& x) { x.resize(x.size() / 2); },
         [](std::string& x) { std::fill_n(x.begin() + 4'096, 200, '\xee'); },
         [](std::string& x) { std::fill_n(x.end() - 4'096, 4'096, '\x55'); }}) {
    auto broken = sound;
    damage(broken);
    disk.set_contents("/state/sessions.db", broken);
    auto opened = open();
    CAF_REQUIRE(!opened);
    CAF_CHECK_EQUAL(code(opened.error()), "registry_corrupted");
    CAF_CHECK(opened.error().message.find("/state/sessions.db")
              != std::string::npos);
    CAF_CHECK(*disk.contents("/state/sessions.db") == broken);
  }
  disk.set_contents("/state/sessions.db", sound);
  reopen();
  CAF_CHECK(db->load("s-299"));
}

CAF_TEST(a file system without a log is refused) {
  // As a disk that cannot give what was asked would answer.
  db.reset();
  disk.remove("/state/sessions.db");
  disk.set_fault([](disk_operation, const std::string& path, std::uint64_t) {
    return path.ends_with("-wal") ? EACCES : 0;
  });
  CAF_CHECK(!open());
}

CAF_TEST(an empty file is a database that is not there yet) {
  db.reset();
  disk.set_contents("/state/sessions.db", "");
  reopen();
  create("s-1");
}

// -- faults -------------------------------------------------------------------

CAF_TEST(a failed sync is final) {
  auto row = create("s-1");
  disk.set_fault([](disk_operation x, const std::string&, std::uint64_t) {
    return x == disk_operation::sync ? EIO : 0;
  });
  auto ack = commit(request("s-1", row, 2));
  CAF_REQUIRE(!ack);
  CAF_CHECK_EQUAL(code(ack.error()), "storage_failed");
  CAF_CHECK(db->broken());
  // The disk says that it works again: nobody believes it.
  disk.set_fault(nullptr);
  auto syncs = disk.syncs();
  CAF_CHECK(!commit(request("s-1", row, 2)));
  CAF_CHECK(!db->set(counter, "1", once));
  CAF_CHECK(!db->erase({"s-1"}));
  CAF_CHECK_EQUAL(disk.syncs(), syncs);
  lose_power();
  CAF_CHECK(commit(request("s-1", row, 2)));
}

CAF_TEST(what is written to a file that is gone is not acknowledged) {
  // Whoever has a file open can write to it and sync it all the same.
  for (auto* name : {"/state/sessions.db", "/state/sessions.db-wal"}) {
    CAF_MESSAGE(name);
    fixture each;
    auto row = each.create("s-1");
    CAF_CHECK_EQUAL(each.disk.remove(name), 0);
    auto ack = each.commit(each.request("s-1", row, 2));
    CAF_REQUIRE(!ack);
    CAF_CHECK_EQUAL(code(ack.error()), "storage_failed");
    CAF_CHECK(ack.error().message.find("/state/sessions.db") == 1);
    CAF_CHECK(each.db->broken());
    CAF_CHECK(!each.db->set(counter, "1", once));
  }
}

CAF_TEST(a file that has another in its place is as good as gone) {
  auto row = create("s-1");
  disk.rename("/state/sessions.db", "/state/old.db");
  disk.set_contents("/state/sessions.db", "");
  CAF_CHECK(!db->set(counter, "1", once));
  CAF_CHECK(!commit(request("s-1", row, 2)));
}

CAF_TEST(a file that is gone is noticed without a write) {
  create("s-1");
  db->look_for_files();
  CAF_CHECK(!db->broken());
  CAF_CHECK_EQUAL(disk.remove("/state/sessions.db"), 0);
  db->look_for_files();
  CAF_REQUIRE(db->broken());
  CAF_CHECK_EQUAL(code(*db->broken()), "storage_failed");
}

CAF_TEST(a full disk refuses and takes again when there is room) {
  auto row = create("s-1");
  disk.capacity = 200'000;
  std::uint64_t seq = 2;
  expected<commit_ack> ack;
  std::uint64_t acknowledged = 1;
  for (; seq < 1'000; ++seq) {
    auto x = request("s-1", row, seq);
    x.payload = std::string(3'000, 'x');
    ack = commit(x);
    if (!ack)
      break;
    acknowledged = seq;
  }
  CAF_REQUIRE(!ack);
  CAF_CHECK_EQUAL(code(ack.error()), "storage_full");
  CAF_CHECK(!db->broken());
  // Reading works, and everything that was acknowledged is there.
  CAF_CHECK_EQUAL(db->load("s-1")->events.size(), acknowledged);
  disk.capacity = std::nullopt;
  CAF_REQUIRE(commit(request("s-1", row, seq)));
  crash();
  CAF_CHECK_EQUAL(db->load("s-1")->events.size(), acknowledged + 1);
}

CAF_TEST(a quota or a limit of the file size is like a full disk) {
  auto row = create("s-1");
  std::uint64_t seq = 2;
  for (auto error_number : {EDQUOT, EFBIG, EROFS}) {
    disk.set_fault([=](disk_operation x, const std::string&, std::uint64_t) {
      return x == disk_operation::write ? error_number : 0;
    });
    auto ack = commit(request("s-1", row, seq));
    CAF_REQUIRE(!ack);
    CAF_CHECK_EQUAL(code(ack.error()),
                    error_number == EROFS ? "read_only" : "storage_full");
    CAF_CHECK(!db->broken());
    disk.set_fault(nullptr);
    CAF_CHECK(commit(request("s-1", row, seq++)));
  }
  crash();
  CAF_CHECK_EQUAL(db->load("s-1")->events.size(), 4u);
}

CAF_TEST(the log is copied back in time and its errors are seen) {
  settings.checkpoint_pages = 20;
  reopen();
  auto row = create("s-1");
  for (std::uint64_t seq = 2; seq < 100; ++seq) {
    auto x = request("s-1", row, seq);
    x.payload = std::string(4'000, 'x');
    CAF_REQUIRE(commit(x));
    db->checkpoint_if_due();
  }
  CAF_CHECK(db->checkpoints() > 3);
  CAF_CHECK(db->log_pages() < 30);
  disk.set_fault([](disk_operation x, const std::string& path, std::uint64_t) {
    return x == disk_operation::sync && !path.ends_with("-wal") ? EIO : 0;
  });
  for (std::uint64_t seq = 100; seq < 120 && !db->broken(); ++seq) {
    auto x = request("s-1", row, seq);
    x.payload = std::string(4'000, 'x');
    CAF_REQUIRE(commit(x));
    db->checkpoint_if_due();
  }
  CAF_CHECK(db->broken());
}

CAF_TEST(whatever operation fails nothing acknowledged is lost and nothing is
           doubled) {
  // Which operations a commit needs, and then each of them fails once.
  create("s-0");
  auto first = disk.operations();
  create("s-probe");
  auto needed = disk.operations() - first + 5;
  for (std::uint64_t n = 1; n <= needed; ++n)
    for (auto error : {EIO, ENOSPC, EROFS}) {
      auto id = fmt::format("s-{}-{}", n, error);
      disk.fail_once(disk.operations() + n, error);
      auto ack = commit(request(id));
      auto lost = !ack;
      disk.forget_failures();
      if (lost)
        lose_power();
      auto loaded = db->load(id);
      // What was refused may be there or not, but never in part.
      if (ack)
        CAF_REQUIRE(loaded);
      if (loaded)
        CAF_CHECK_EQUAL(loaded->events.size(), 1u);
      CAF_CHECK(db->check());
    }
}

CAF_TEST(what a new process finds does not go with the power) {
  // The sync failed, so nothing was acknowledged; but the system still has what
  // was written, and whoever starts next reads it.
  auto row = create("s-1");
  for (int round = 0; round < 20; ++round) {
    auto seq = db->load("s-1")->events.back().first_seq + 1;
    disk.set_fault([](disk_operation x, const std::string&, std::uint64_t) {
      return x == disk_operation::sync ? EIO : 0;
    });
    CAF_CHECK(!commit(request("s-1", row, seq)));
    disk.set_fault(nullptr);
    crash();
    auto seen = db->load("s-1")->events.size();
    lose_power();
    CAF_CHECK_EQUAL(db->load("s-1")->events.size(), seen);
  }
}

CAF_TEST(the power may go at any operation) {
  for (std::uint64_t n = 1; n <= 60; ++n) {
    auto id = fmt::format("s-{}", n);
    auto last = disk.operations() + n % 12 + 1;
    disk.set_fault([&](disk_operation, const std::string&, std::uint64_t x) {
      return x >= last ? EIO : 0;
    });
    auto ack = commit(request(id));
    disk.set_fault(nullptr);
    lose_power();
    if (ack)
      CAF_CHECK(db->load(id));
    CAF_CHECK(db->check());
  }
}

CAF_TEST(a database that cannot be read at its start is not called damaged) {
  for (int i = 0; i < 30; ++i)
    create(fmt::format("s-{}", i));
  // Pages that nobody uses are looked at as well.
  auto large = request("s-large");
  large.payload.resize(100'000);
  CAF_CHECK(commit(large));
  CAF_CHECK(db->erase({"s-large"}));
  for (auto error : {EIO, ENOSPC})
    for (std::uint64_t n = 1;; ++n) {
      db.reset();
      disk.fail_once(disk.operations() + n, error);
      auto opened = open();
      auto was_hit = disk.failures() > 0;
      disk.forget_failures();
      if (!opened)
        CAF_CHECK(opened.error().code != errc::registry_corrupted);
      if (!was_hit)
        break;
    }
  reopen();
  CAF_CHECK(db->load("s-29"));
}

CAF_TEST_FIXTURE_SCOPE_END()
