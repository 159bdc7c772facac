// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/process/descriptor.hpp"

#include "messages/scope.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace muster {

/// What the file tools may take.
struct file_limits {
  /// Of a file that is read or written.
  std::size_t max_file_bytes = std::size_t{1} << 20;
  /// Of a folder that is listed.
  std::size_t max_entries = 10'000;
  /// Attempts to open a path whose folders are moved meanwhile.
  int max_attempts = 32;
};

/// What is known about a file.
struct file_info {
  /// `file`, `folder` or `other`.
  std::string type;
  std::uint64_t size = 0;
  /// When it was changed last, in milliseconds since the epoch.
  std::int64_t mtime_ms = 0;
};

/// Opens `path`, which is relative, below the folder `at`, as `openat2` does.
/// @returns a descriptor, or -1 with the reason in `errno`.
using beneath_opener
  = std::function<int(int at, const char* path, std::uint64_t flags,
                      std::uint64_t mode, std::uint64_t resolve)>;

/// The kernel's.
[[nodiscard]] int open_beneath(int at, const char* path, std::uint64_t flags,
                               std::uint64_t mode, std::uint64_t resolve);

/// Reads and writes files within a scope. Each path is walked by the kernel
/// below a folder that was opened when this began, so that no link leads out of
/// it, whoever moves what meanwhile.
///
/// Paths are absolute, or relative to the folder that the process worked in
/// when this began. A `..` takes away the name in front of it.
///
/// Errors of all of them: `invalid_argument` for what can be no path, or is
/// none of a file or folder as it should be; `not_allowed` for what is not
/// within the scope, also by a link, or not with this permission; `not_found`;
/// `busy` if the path was moved each time; `too_large` naming the limit;
/// `storage_full`; `storage_failed`.
class file_tools {
public:
  /// Opens what the rules name. One that names what is not there gives nothing.
  explicit file_tools(const std::vector<scope_rule>& rules,
                      file_limits limits = {},
                      beneath_opener open = open_beneath);

  /// The bytes of a file.
  [[nodiscard]] expected<std::string> read_file(std::string_view path) const;

  /// Makes a file, or replaces what is in it.
  [[nodiscard]] expected<void> write_file(std::string_view path,
                                          std::string_view bytes) const;

  /// The names in a folder, sorted; those of folders end with `/`.
  [[nodiscard]] expected<std::vector<std::string>>
  list_dir(std::string_view path) const;

  /// Follows links that stay in the scope.
  [[nodiscard]] expected<file_info> stat(std::string_view path) const;

private:
  /// One rule, and where it begins.
  struct place {
    scope_rule rule;
    /// The folder that the paths of the rule are walked from.
    descriptor folder;
    /// The name in it, if the target is no folder itself.
    std::string name;
  };

  /// What is wanted of a path.
  struct wish {
    std::uint64_t flags = 0;
    permission level = permission::read;
    /// Whether what stands in it is wanted, and not it itself.
    bool inside = false;
  };

  [[nodiscard]] expected<descriptor> open(std::string_view path,
                                          const wish& what) const;

  /// @returns -1 with the reason in `errno`.
  [[nodiscard]] int open_at(const place& from, std::string_view path,
                            const wish& what) const;

  file_limits limits_;
  beneath_opener open_;
  /// What relative paths begin at.
  std::string cwd_;
  std::vector<place> places_;
};

} // namespace muster
