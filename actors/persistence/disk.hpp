// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/errors.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace muster {

/// A new file that is being written.
class disk_file {
public:
  virtual ~disk_file() = default;

  /// Writes all of it behind what was written before.
  [[nodiscard]] virtual expected<void> write(std::string_view bytes) = 0;

  /// Makes what was written durable.
  [[nodiscard]] virtual expected<void> sync() = 0;

  /// Closes the file; its errors are the last chance to hear of a failed write.
  [[nodiscard]] virtual expected<void> close() = 0;
};

/// What documents are kept on. One implementation is the operating system's,
/// others are for tests. Errors are `storage_full`, `read_only` and, for all
/// that cannot be tried again, `storage_failed`; each names the path.
class disk {
public:
  virtual ~disk() = default;

  /// The contents of a file; absent if there is none.
  [[nodiscard]] virtual expected<std::optional<std::string>>
  read(const std::string& path) = 0;

  /// Creates a file, readable for its owner only, that must not exist.
  [[nodiscard]] virtual expected<std::unique_ptr<disk_file>>
  create(const std::string& path) = 0;

  /// Puts a file in the place of another, or of none. Durable once the folder
  /// is synced.
  [[nodiscard]] virtual expected<void>
  rename(const std::string& from, const std::string& to) = 0;

  /// Removes a file; it is no error if there is none.
  [[nodiscard]] virtual expected<void> remove(const std::string& path) = 0;

  /// Creates a folder for its owner only, unless it is there.
  [[nodiscard]] virtual expected<void> make_folder(const std::string& path) = 0;

  /// Makes the names in a folder durable.
  [[nodiscard]] virtual expected<void> sync_folder(const std::string& path) = 0;

  /// The names in a folder, sorted.
  [[nodiscard]] virtual expected<std::vector<std::string>>
  list(const std::string& path) = 0;
};

/// The disk of the operating system.
[[nodiscard]] std::unique_ptr<disk> make_posix_disk();

/// What a failed system call means: `storage_full`, `read_only` or
/// `storage_failed`.
/// @param what the call in words, such as `write`.
[[nodiscard]] failure disk_failure(int error_number, std::string_view what,
                                   const std::string& path);

} // namespace muster
