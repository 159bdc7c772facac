// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/persistence/disk.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

struct sqlite3_vfs;

namespace muster::test {

/// What an operation on a simulated disk does.
enum class disk_operation {
  create,
  write,
  truncate,
  sync,
  rename,
  remove,
  sync_folder,
  read
};

[[nodiscard]] std::string to_string(disk_operation operation);

/// A disk in memory that keeps two images of every file and of every name: what
/// programs see, and what would be left after a loss of power. Stands under
/// SQLite and under the documents at the same time.
///
/// Every operation has a number; a test can let any of them fail. A loss of
/// power keeps of the writes that were not synced what a real disk might: some,
/// none, or one of them torn at any byte.
class simulated_disk {
public:
  // -- constructors and destructors -------------------------------------------

  /// @param seed decides what a loss of power keeps.
  explicit simulated_disk(std::uint64_t seed = 1);

  ~simulated_disk();

  simulated_disk(const simulated_disk&) = delete;

  simulated_disk& operator=(const simulated_disk&) = delete;

  // -- using it ---------------------------------------------------------------

  /// The name under which SQLite knows this disk.
  [[nodiscard]] const std::string& file_system() const {
    return file_system_;
  }

  /// The disk for documents. May end before or after this object does.
  [[nodiscard]] std::unique_ptr<disk> documents();

  // -- faults -----------------------------------------------------------------

  /// Decides whether an operation fails, and with which error number; 0 means
  /// that it does not. Asked before anything happens.
  using fault = std::function<int(disk_operation, const std::string& path,
                                  std::uint64_t number)>;

  void set_fault(fault f) {
    fault_ = std::move(f);
  }

  /// Lets the operation of this number fail, once.
  void fail_once(std::uint64_t number, int error_number);

  /// Takes back what `fail_once` said.
  void forget_failures() {
    failures_.clear();
    failed_ = 0;
  }

  /// Operations that failed because `fail_once` said so, since they were
  /// forgotten.
  [[nodiscard]] std::uint64_t failures() const {
    return failed_;
  }

  /// Files whose syncs succeed and do nothing, as if a program had left them
  /// out; nothing means none.
  std::function<bool(const std::string& path)> drops_sync;

  /// Bytes that all files together may have; nothing means no limit.
  std::optional<std::uint64_t> capacity;

  /// Whether the power is off: nothing happens any more, everything fails.
  bool is_off = false;

  /// Cuts the power, and forgets what a disk would forget. Files that are open
  /// are of no use any more.
  void cut_power();

  /// The other kind of crash: the process dies, the system goes on. Nothing is
  /// forgotten.
  void kill_process();

  // -- looking at it ----------------------------------------------------------

  /// Operations so far.
  [[nodiscard]] std::uint64_t operations() const {
    return operations_;
  }

  /// Syncs of files and folders so far.
  [[nodiscard]] std::uint64_t syncs() const {
    return syncs_;
  }

  /// Bytes that all files have together.
  [[nodiscard]] std::uint64_t used() const;

  [[nodiscard]] std::optional<std::string>
  contents(const std::string& path) const;

  void set_contents(const std::string& path, std::string bytes);

  [[nodiscard]] std::vector<std::string> names() const;

  /// Open files: what a program forgot to close.
  [[nodiscard]] std::size_t open_files() const;

  // -- member types, for the two front ends -----------------------------------

  struct file;
  class sqlite_front;
  class document_front;

  struct file_handle {
    std::shared_ptr<file> what;
    std::string path;
    std::uint64_t generation = 0;
  };

  /// Each gives an error number, 0 for success.
  int open(const std::string& path, bool create, bool exclusive,
           file_handle& out);

  void close(file_handle& handle);

  int read(const file_handle& handle, std::uint64_t offset, char* bytes,
           std::size_t size, std::size_t& got);

  int write(const file_handle& handle, std::uint64_t offset, const char* bytes,
            std::size_t size);

  int truncate(const file_handle& handle, std::uint64_t size);

  int sync(const file_handle& handle);

  int rename(const std::string& from, const std::string& to);

  int remove(const std::string& path);

  int make_folder(const std::string& path);

  int sync_folder(const std::string& path);

  [[nodiscard]] bool exists(const std::string& path) const;

  /// Whether an open file still has the name that it was opened by.
  [[nodiscard]] bool is_in_place(const file_handle& handle) const;

  [[nodiscard]] std::uint64_t size_of(const file_handle& handle) const;

  std::mt19937_64 random;

private:
  int begin(disk_operation operation, const std::string& path);

  std::string file_system_;
  std::unique_ptr<sqlite_front> front_;
  std::map<std::string, std::shared_ptr<file>> live_;
  std::map<std::string, std::shared_ptr<file>> durable_;
  fault fault_;
  std::map<std::uint64_t, int> failures_;
  std::uint64_t failed_ = 0;
  std::uint64_t operations_ = 0;
  std::uint64_t syncs_ = 0;
  std::uint64_t generation_ = 1;
  std::size_t open_ = 0;
  std::shared_ptr<simulated_disk*> self_;
};

} // namespace muster::test
