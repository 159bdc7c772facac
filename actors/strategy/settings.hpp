// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace muster {

/// What a strategy may use up. Each limit is an option of the same name in
/// `config/muster.ini`; breaking one ends the session with an error that names
/// it.
struct strategy_settings {
  /// Instructions after which others get their turn.
  std::uint64_t slice_instructions = 10'000;
  /// Instructions from one pause to the next.
  std::uint64_t max_instructions = 50'000'000'000;
  /// Instructions in a place where the script cannot be interrupted, such as
  /// its `__tostring`.
  std::uint64_t max_unyielding = 10'000'000;
  /// How often in a row the process may die while it runs a session, before
  /// that is run no more.
  std::uint64_t max_crashes = 3;
  /// Memory of one virtual machine.
  std::uint64_t max_memory_bytes = 64ull << 20;
  /// Queries that one pause may ask.
  std::uint64_t max_queries = 1'000;
  /// One prompt, its system text included.
  std::uint64_t max_prompt_bytes = 4ull << 20;
  /// The result of a session, as JSON.
  std::uint64_t max_result_bytes = 16ull << 20;
  /// What a script may ask the host between two pauses: clocks, state, modules.
  std::uint64_t max_effects = 10'000;
  /// What the answers to these may add up to, and what the values may that it
  /// changes.
  std::uint64_t max_effect_bytes = 16ull << 20;
  /// One value of the shared state, as JSON.
  std::uint64_t max_state_bytes = 1ull << 20;
  /// What `alc.stats` holds, as JSON.
  std::uint64_t max_stats_bytes = 1ull << 20;
  /// One module that a script loads.
  std::uint64_t max_source_bytes = 4ull << 20;
  /// Log lines between two pauses; what comes after is counted, not kept.
  std::uint64_t max_log_lines = 1'000;
  /// One log line; longer ones are cut.
  std::uint64_t max_log_line_bytes = 8ull << 10;
  /// Folders in which `require` looks, after those of the session itself.
  std::vector<std::string> packages;
};

} // namespace muster
