// SPDX-License-Identifier: Apache-2.0

// Logs that SQLite itself wrote, damaged in every place.

#define CAF_SUITE persistence.log_check

#include "actors/persistence/log_check.hpp"

#include "tests/support/simulated_disk.hpp"
#include "tests/support/suite.hpp"

#include <sqlite3.h>

#include <algorithm>
#include <string>
#include <string_view>

using namespace muster;
using namespace muster::test;

namespace {

constexpr std::size_t header_size = 32;
constexpr std::size_t frame_size = 24 + 4096;

struct fixture {
  fixture() {
    sqlite3* db = nullptr;
    sqlite3_open_v2("/a.db", &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                    disk.file_system().c_str());
    auto run = [&](const char* text) {
      CAF_REQUIRE_EQUAL(sqlite3_exec(db, text, nullptr, nullptr, nullptr),
                        SQLITE_OK);
    };
    run("PRAGMA locking_mode=exclusive; PRAGMA journal_mode=wal; "
        "CREATE TABLE t(x); PRAGMA wal_checkpoint; INSERT INTO t VALUES(1)");
    // One frame each, and several in the last but one and in the last.
    for (int i = 0; i < 4; ++i)
      run("INSERT INTO t VALUES(2)");
    run("INSERT INTO t VALUES(zeroblob(20000))");
    synced = frames();
    run("INSERT INTO t VALUES(zeroblob(20000))");
    log = *disk.contents("/a.db-wal");
    base = *disk.contents("/a.db");
    sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
    sqlite3_close(db);
  }

  [[nodiscard]] std::size_t frames() const {
    return (disk.contents("/a.db-wal")->size() - header_size) / frame_size;
  }

  /// The log with one bit changed.
  [[nodiscard]] std::string flipped(std::size_t offset) const {
    auto out = log;
    out[offset] = static_cast<char>(out[offset] ^ 4);
    return out;
  }

  /// Whether commits that this log had are lost.
  [[nodiscard]] bool has_lost(std::string_view damaged) const {
    auto reader_of = [](std::string_view bytes) {
      return [=](std::uint64_t offset, std::size_t size) {
        return std::string{
          bytes.substr(std::min<std::uint64_t>(offset, bytes.size()), size)};
      };
    };
    return sqlite::has_lost_commits(reader_of(damaged), reader_of(base));
  }

  simulated_disk disk;
  std::string log;
  std::string base;
  /// Frames that were synced before the last transaction.
  std::size_t synced = 0;
};

} // namespace

CAF_TEST_FIXTURE_SCOPE(log_check_tests, fixture)

CAF_TEST(a log that is whole is in order) {
  CAF_CHECK(synced > 5 && frames() > synced + 3);
  CAF_CHECK(!has_lost(log));
  CAF_CHECK(!has_lost({}));
}

CAF_TEST(a change to what was synced is found) {
  for (std::size_t i = 0; i < synced; ++i)
    for (std::size_t at : {24, 2'000, 4'119, 9, 17}) {
      // Of the last one that was synced only the page: what a frame says of
      // itself could be left from another.
      if (at < 24 && i + 1 == synced)
        continue;
      CAF_CHECK(has_lost(flipped(header_size + i * frame_size + at)));
    }
}

CAF_TEST(what the last transaction left is no damage) {
  for (auto i = synced; i < frames(); ++i)
    for (std::size_t at : {0, 9, 17, 24, 2'000, 4'119})
      CAF_CHECK(!has_lost(flipped(header_size + i * frame_size + at)));
}

CAF_TEST(a log that ends anywhere is no damage) {
  for (std::size_t size = 0; size < log.size(); size += 61)
    CAF_CHECK(!has_lost(std::string_view{log}.substr(0, size)));
}

CAF_TEST_FIXTURE_SCOPE_END()
