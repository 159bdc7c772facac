// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/errors.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

struct sqlite3;
struct sqlite3_file;
struct sqlite3_stmt;
struct sqlite3_vfs;

namespace muster::sqlite {

/// A call of SQLite that failed. Thrown inside of this folder only; the
/// database turns it into a `failure`.
struct error {
  /// The extended result code.
  int code = 0;
  /// The error number of the operating system, 0 if it was not that.
  int system_error = 0;
  std::string message;
};

/// Whether the disk can no longer be trusted: a sync or a write failed for
/// another reason than a lack of room. What was written since the last good
/// sync may be lost although a later sync succeeds.
[[nodiscard]] bool is_final(const error& e);

/// What to tell whoever asked for it.
[[nodiscard]] failure to_failure(const error& e, std::string_view file);

/// A prepared statement. Bind by position from 1, read columns from 0.
class statement {
public:
  statement(sqlite3* connection, const char* sql);

  // -- binding ----------------------------------------------------------------

  statement& bind(std::int64_t value);

  statement& bind(std::string_view text);

  statement& bind_blob(std::string_view bytes);

  statement& bind_null();

  // -- running ----------------------------------------------------------------

  /// Steps to the next row.
  /// @returns whether there is one. Behind the last, the statement can be bound
  ///          anew.
  bool step();

  /// Runs a statement that gives no rows.
  void run();

  /// Forgets a row that is not wanted to the end.
  void reset();

  // -- reading ----------------------------------------------------------------

  [[nodiscard]] std::int64_t integer(int column) const;

  [[nodiscard]] std::string text(int column) const;

  [[nodiscard]] bool is_null(int column) const;

private:
  void check(int code);

  struct finalize {
    void operator()(sqlite3_stmt* statement) const;
  };

  sqlite3* connection_;
  std::unique_ptr<sqlite3_stmt, finalize> statement_;
  int next_ = 1;
};

/// An open database file that nobody else can open.
class connection {
public:
  /// @param file_system the name of a registered SQLite file system; empty
  ///        means the default.
  connection(const std::string& path, const std::string& file_system);

  /// Runs statements that give no rows.
  void run(const char* sql);

  /// The first column of the first row as a number.
  [[nodiscard]] std::int64_t number(const char* sql);

  /// The first column of the first row as a text.
  [[nodiscard]] std::string text(const char* sql);

  [[nodiscard]] std::int64_t last_row() const;

  /// Rows that the last statement changed.
  [[nodiscard]] std::int64_t changes() const;

  /// Whether the file could be opened for reading only.
  [[nodiscard]] bool is_read_only() const;

  /// Whether there is a write-ahead log beside a file that is empty. The first
  /// page is on disk before there is a log, so such a file has lost what it
  /// had; SQLite would take it for a new one and delete the log.
  [[nodiscard]] bool is_log_alone() const;

  /// Whether the log has commits that were synced and cannot be read. To be
  /// asked before anything is read.
  [[nodiscard]] bool has_lost_commits() const;

  /// Whether the file, or the log with what was not copied yet, has lost its
  /// name or given it to another: it can be written to and synced as before,
  /// and nobody will ever find what was written.
  [[nodiscard]] bool is_gone() const;

  /// Whether a transaction is open.
  [[nodiscard]] bool in_transaction() const;

  [[nodiscard]] sqlite3* get() const {
    return handle_.get();
  }

  /// Pages in the write-ahead log after the last commit.
  [[nodiscard]] std::uint64_t log_pages() const {
    return log_pages_;
  }

  /// Copies the write-ahead log into the database and syncs both.
  void checkpoint();

  /// The same, and leaves nothing in the log.
  void empty_log();

  /// Lets the last step of the life of this object copy the log into the
  /// database and remove it. Without that both are left as they are.
  void remove_log_at_close();

private:
  [[nodiscard]] sqlite3_file* file() const;

  [[nodiscard]] sqlite3_vfs* file_system() const;

  /// Whether a write-ahead log that is not empty stands beside the file.
  [[nodiscard]] bool has_log() const;

  void check(int code) const;

  void checkpoint(int mode);

  static int on_commit(void* self, sqlite3*, const char*, int pages);

  struct close {
    void operator()(sqlite3* handle) const;
  };

  std::unique_ptr<sqlite3, close> handle_;
  std::uint64_t log_pages_ = 0;
};

} // namespace muster::sqlite
