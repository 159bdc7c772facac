// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/json.hpp"

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace muster {

/// One process and no other. A pid alone is given to the next process once its
/// owner is gone, and starts again with each boot.
struct process_identity {
  std::int32_t pid = 0;
  /// When it started, in clock ticks since the boot; there are 100 in a second,
  /// and a pid is not given again before the kernel went through all others.
  std::uint64_t start_ticks = 0;
  /// Which boot that was.
  std::string boot_id;

  friend bool operator==(const process_identity&, const process_identity&)
    = default;

  friend auto operator<=>(const process_identity&, const process_identity&)
    = default;
};

/// What `/proc/<pid>/stat` says about a process.
struct process_stat {
  std::int32_t pid = 0;
  /// What it calls itself; any bytes, also blanks and parentheses.
  std::string name;
  /// `R`, `S`, ..., `Z` for a zombie.
  char state = '?';
  std::int64_t threads = 0;
  std::uint64_t start_ticks = 0;
  /// Processor time in clock ticks, of which there are 100 in a second.
  std::uint64_t cpu_ticks = 0;
  /// Memory that it has, in pages.
  std::uint64_t memory_pages = 0;
  /// Where its code begins in its memory; 0 without memory and until all of it
  /// is set up, and 1 if nobody may know.
  std::uint64_t code_begin = 0;
  /// Where its environment stands in its memory; 0 if nobody may know.
  std::uint64_t environment_begin = 0;
  std::uint64_t environment_end = 0;
  /// Whether it is a thread of the kernel, which has no memory.
  bool is_of_kernel = false;
  /// Whether it is on its way out, or a zombie: it runs no program any more.
  bool is_exiting = false;

  /// Whether nothing of it runs any more. If only the first of its threads has
  /// ended, the state is that of a zombie, too.
  [[nodiscard]] bool is_over() const {
    return state == 'X' || state == 'x' || (state == 'Z' && threads <= 1);
  }
};

/// Refuses what the kernel would not read as one process: 0 and negative
/// numbers mean groups, and no process has a pid above the limit.
[[nodiscard]] expected<std::int32_t> check_pid(std::int64_t pid);

/// Reads the contents of `/proc/<pid>/stat`.
[[nodiscard]] std::optional<process_stat> parse_stat(std::string_view text);

/// What the kernel says about the process that has that pid now; absent if
/// there is none.
/// @returns `invalid_argument` for what is no pid.
[[nodiscard]] expected<std::optional<process_stat>> stat_of(std::int64_t pid);

/// The same of a thread, given by the pid of its process and its own number.
[[nodiscard]] expected<std::optional<process_stat>>
stat_of_thread(std::int64_t pid, std::int64_t thread);

/// The identity of the process that has that pid now, which may be a zombie.
/// @returns `not_found` if there is none.
[[nodiscard]] expected<process_identity> identify(std::int64_t pid);

/// Who lives under that pid now; absent if nobody does, zombies included.
/// @returns `invalid_argument` for what is no pid.
[[nodiscard]] expected<std::optional<process_identity>>
find_process(std::int64_t pid);

/// What a process uses.
struct process_usage {
  std::uint64_t memory_bytes = 0;
  std::uint64_t cpu_ms = 0;
};

/// What that very process uses; absent if it is gone, or if nobody may know.
[[nodiscard]] std::optional<process_usage>
usage_of(const process_identity& who);

/// Whether that very process still runs. Neither a zombie nor another process
/// that got its pid counts. An error means that nobody knows: it is no death.
[[nodiscard]] expected<bool> is_alive(const process_identity& who);

/// Names a process in an error: `process 4711`.
[[nodiscard]] std::string show(const process_identity& who);

/// The form in documents: `{"pid":1,"start_ticks":2,"boot_id":"..."}`.
[[nodiscard]] json to_json(const process_identity& who);

/// Reads that form; fields beside it are left alone.
/// @returns `invalid_argument` naming the field.
[[nodiscard]] expected<process_identity>
process_identity_from(const json& value);

} // namespace muster
