// SPDX-License-Identifier: Apache-2.0

#include "actors/persistence/sqlite.hpp"

#include "actors/persistence/log_check.hpp"

#include <fmt/format.h>
#include <sqlite3.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <tuple>
#include <vector>

namespace muster::sqlite {

namespace {

/// What the operating system said of the write-ahead log last.
int log_errno(sqlite3* handle) {
  sqlite3_file* log = nullptr;
  auto found
    = sqlite3_file_control(handle, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log);
  if (found != SQLITE_OK || log == nullptr || log->pMethods == nullptr)
    return 0;
  int result = 0;
  log->pMethods->xFileControl(log, SQLITE_FCNTL_LAST_ERRNO, &result);
  return result;
}

error make_error(sqlite3* handle, int code) {
  error result{code, sqlite3_system_errno(handle), sqlite3_errmsg(handle)};
  // Of a commit that fails SQLite does not say why.
  if ((code & 0xff) == SQLITE_IOERR && result.system_error == 0)
    result.system_error = log_errno(handle);
  return result;
}

/// For calls of a file, of which the connection does not know.
void check_file(int code) {
  if (code != SQLITE_OK)
    throw error{code, 0, sqlite3_errstr(code)};
}

reader reader_of(sqlite3_file* file) {
  sqlite3_int64 end = 0;
  check_file(file->pMethods->xFileSize(file, &end));
  return [=](std::uint64_t offset, std::size_t size) {
    auto rest
      = static_cast<std::uint64_t>(end)
        - std::min<std::uint64_t>(offset, static_cast<std::uint64_t>(end));
    std::string bytes(std::min<std::uint64_t>(size, rest), '\0');
    if (!bytes.empty())
      check_file(file->pMethods->xRead(file, bytes.data(),
                                       static_cast<int>(bytes.size()),
                                       static_cast<sqlite3_int64>(offset)));
    return bytes;
  };
}

bool is_no_room(const error& e) {
  return (e.code & 0xff) == SQLITE_FULL || e.system_error == ENOSPC
         || e.system_error == EDQUOT || e.system_error == EFBIG;
}

bool is_read_only(const error& e) {
  auto primary = e.code & 0xff;
  return primary == SQLITE_READONLY || primary == SQLITE_CANTOPEN
         || primary == SQLITE_PERM || e.system_error == EROFS;
}

bool is_sync(int code) {
  return code == SQLITE_IOERR_FSYNC || code == SQLITE_IOERR_DIR_FSYNC;
}

} // namespace

bool is_final(const error& e) {
  if (is_sync(e.code))
    return true;
  return (e.code & 0xff) == SQLITE_IOERR && !is_no_room(e) && !is_read_only(e);
}

failure to_failure(const error& e, std::string_view file) {
  auto why = e.system_error != 0 ? fmt::format("{} ({})", e.message,
                                               std::strerror(e.system_error))
                                 : e.message;
  if (!is_sync(e.code) && is_no_room(e))
    return {errc::storage_full,
            fmt::format("there is no room to write to '{}': {}; free some and "
                        "try again",
                        file, why)};
  if (!is_sync(e.code) && is_read_only(e))
    return {errc::read_only,
            fmt::format("'{}' cannot be written: {}", file, why)};
  switch (e.code & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_FORMAT:
      return {errc::registry_corrupted,
              fmt::format("'{}' cannot be read as a database: {}; it was left "
                          "as it is",
                          file, why)};
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return {errc::in_use,
              fmt::format("'{}' is in use by another program: {}", file, why)};
    default:
      return {errc::storage_failed,
              fmt::format("the disk failed at '{}': {}", file, why)};
  }
}

// -- statement ----------------------------------------------------------------

statement::statement(sqlite3* connection, const char* sql)
  : connection_(connection) {
  sqlite3_stmt* result = nullptr;
  check(sqlite3_prepare_v3(connection, sql, -1, SQLITE_PREPARE_PERSISTENT,
                           &result, nullptr));
  statement_.reset(result);
}

statement& statement::bind(std::int64_t value) {
  check(sqlite3_bind_int64(statement_.get(), next_++, value));
  return *this;
}

statement& statement::bind(std::string_view text) {
  // Not copied: statements run before their arguments end.
  check(sqlite3_bind_text64(statement_.get(), next_++,
                            text.data() != nullptr ? text.data() : "",
                            text.size(), SQLITE_STATIC, SQLITE_UTF8));
  return *this;
}

statement& statement::bind_blob(std::string_view bytes) {
  check(sqlite3_bind_blob64(statement_.get(), next_++,
                            bytes.data() != nullptr ? bytes.data() : "",
                            bytes.size(), SQLITE_STATIC));
  return *this;
}

statement& statement::bind_null() {
  check(sqlite3_bind_null(statement_.get(), next_++));
  return *this;
}

bool statement::step() {
  auto code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW)
    return true;
  if (code == SQLITE_DONE) {
    reset();
    return false;
  }
  auto failed = make_error(connection_, sqlite3_extended_errcode(connection_));
  reset();
  throw failed;
}

void statement::run() {
  while (step()) {
    // nop
  }
}

void statement::reset() {
  // Repeats the error of the last step, which was reported there.
  sqlite3_reset(statement_.get());
  next_ = 1;
}

std::int64_t statement::integer(int column) const {
  return sqlite3_column_int64(statement_.get(), column);
}

std::string statement::text(int column) const {
  auto* bytes = sqlite3_column_blob(statement_.get(), column);
  auto size = sqlite3_column_bytes(statement_.get(), column);
  if (bytes == nullptr)
    return {};
  return {static_cast<const char*>(bytes), static_cast<std::size_t>(size)};
}

bool statement::is_null(int column) const {
  return sqlite3_column_type(statement_.get(), column) == SQLITE_NULL;
}

void statement::check(int code) {
  if (code == SQLITE_OK)
    return;
  auto failed = make_error(connection_, code);
  if (statement_)
    reset();
  throw failed;
}

void statement::finalize::operator()(sqlite3_stmt* statement) const {
  sqlite3_finalize(statement);
}

// -- connection ---------------------------------------------------------------

connection::connection(const std::string& path,
                       const std::string& file_system) {
  sqlite3* handle = nullptr;
  auto code = sqlite3_open_v2(
    path.c_str(), &handle,
    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX
      | SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_EXRESCODE,
    file_system.empty() ? nullptr : file_system.c_str());
  handle_.reset(handle);
  check(code);
  // Takes the place of SQLite's own hook, which would copy the log back at once
  // and keep its errors to itself. (The pragma that turns that one off would
  // remove ours.)
  sqlite3_wal_hook(handle, &connection::on_commit, this);
  check(
    sqlite3_db_config(handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr));
}

void connection::run(const char* sql) {
  check(sqlite3_exec(handle_.get(), sql, nullptr, nullptr, nullptr));
}

std::int64_t connection::number(const char* sql) {
  statement query{handle_.get(), sql};
  return query.step() ? query.integer(0) : 0;
}

std::string connection::text(const char* sql) {
  statement query{handle_.get(), sql};
  return query.step() ? query.text(0) : std::string{};
}

std::int64_t connection::last_row() const {
  return sqlite3_last_insert_rowid(handle_.get());
}

std::int64_t connection::changes() const {
  return sqlite3_changes64(handle_.get());
}

bool connection::is_read_only() const {
  return sqlite3_db_readonly(handle_.get(), "main") == 1;
}

bool connection::is_log_alone() const {
  sqlite3_int64 size = 0;
  check_file(file()->pMethods->xFileSize(file(), &size));
  return size == 0 && has_log();
}

bool connection::has_lost_commits() const {
  if (!has_log())
    return false;
  auto* base = file();
  auto* files = file_system();
  auto* path = sqlite3_filename_wal(sqlite3_db_filename(handle_.get(), "main"));
  std::vector<std::max_align_t> memory(
    static_cast<std::size_t>(files->szOsFile) / sizeof(std::max_align_t) + 1);
  auto* log = reinterpret_cast<sqlite3_file*>(memory.data());
  check_file(files->xOpen(files, path, log,
                          SQLITE_OPEN_READONLY | SQLITE_OPEN_WAL, nullptr));
  std::unique_ptr<sqlite3_file, void (*)(sqlite3_file*)> closer{
    log, [](sqlite3_file* x) { x->pMethods->xClose(x); }};
  return sqlite::has_lost_commits(reader_of(log), reader_of(base));
}

bool connection::is_gone() const {
  // A file system that cannot say is believed.
  int has_moved = 0;
  std::ignore = sqlite3_file_control(handle_.get(), "main",
                                     SQLITE_FCNTL_HAS_MOVED, &has_moved);
  return has_moved != 0 || (log_pages_ > 0 && !has_log());
}

bool connection::in_transaction() const {
  return sqlite3_get_autocommit(handle_.get()) == 0;
}

void connection::checkpoint() {
  checkpoint(SQLITE_CHECKPOINT_PASSIVE);
}

void connection::empty_log() {
  checkpoint(SQLITE_CHECKPOINT_TRUNCATE);
}

void connection::checkpoint(int mode) {
  int pages = 0;
  int copied = 0;
  check(
    sqlite3_wal_checkpoint_v2(handle_.get(), nullptr, mode, &pages, &copied));
  log_pages_ = static_cast<std::uint64_t>(pages - copied);
}

sqlite3_file* connection::file() const {
  sqlite3_file* result = nullptr;
  check(sqlite3_file_control(handle_.get(), "main", SQLITE_FCNTL_FILE_POINTER,
                             &result));
  return result;
}

sqlite3_vfs* connection::file_system() const {
  sqlite3_vfs* result = nullptr;
  check(sqlite3_file_control(handle_.get(), "main", SQLITE_FCNTL_VFS_POINTER,
                             &result));
  return result;
}

bool connection::has_log() const {
  auto* files = file_system();
  auto* log = sqlite3_filename_wal(sqlite3_db_filename(handle_.get(), "main"));
  int found = 0;
  check_file(files->xAccess(files, log, SQLITE_ACCESS_EXISTS, &found));
  return found != 0;
}

void connection::remove_log_at_close() {
  sqlite3_db_config(handle_.get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0,
                    nullptr);
}

void connection::check(int code) const {
  if (code != SQLITE_OK)
    throw make_error(handle_.get(), sqlite3_extended_errcode(handle_.get()));
}

int connection::on_commit(void* self, sqlite3*, const char*, int pages) {
  static_cast<connection*>(self)->log_pages_
    = static_cast<std::uint64_t>(pages);
  return SQLITE_OK;
}

void connection::close::operator()(sqlite3* handle) const {
  sqlite3_close_v2(handle);
}

} // namespace muster::sqlite
