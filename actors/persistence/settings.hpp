// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace muster {

/// How the disk is used. Each member but the first two is an option of the same
/// name in `config/muster.ini`.
struct persistence_settings {
  /// The state directory. Exists and is locked by this process.
  std::string directory;
  /// The name of the SQLite file system to use; empty means the default.
  std::string file_system;
  /// Commits that may wait for a sync; more are refused as `overloaded`.
  std::uint64_t max_pending = 100'000;
  /// How long a commit may wait for others that are likely to come, so that
  /// they share one sync; never longer than a quarter of what a sync takes.
  std::chrono::milliseconds max_gather{1};
  /// Pages of the write-ahead log after which it is copied into the database.
  std::uint64_t checkpoint_pages = 4'000;
  /// A database of at most this size is checked as a whole at every start.
  std::uint64_t check_max_bytes = 64ull << 20;
  /// Log lines of one session; the oldest go first.
  std::uint64_t max_log_lines = 10'000;
  /// How long it is known of a request with an id that it was executed.
  std::chrono::milliseconds keep_receipts = std::chrono::hours(24);
  /// Of how many requests that is known; the oldest go first.
  std::uint64_t max_receipts = 1'000'000;
  /// Sessions in one page of a list.
  std::uint64_t max_page = 1'000;
};

} // namespace muster
