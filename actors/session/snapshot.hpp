// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/session/session_fold.hpp"

#include "messages/history.hpp"
#include "messages/json.hpp"
#include "messages/session.hpp"

#include <vector>

namespace muster {

/// One query and what became of it.
struct exchange {
  query asked;
  std::int64_t asked_at = 0;
  std::optional<answered_event> answered;
  std::int64_t answered_at = 0;
};

/// The queries of a history with their answers, in the order in which they were
/// asked.
[[nodiscard]] std::vector<exchange> transcript_of(const history& events);

/// `[{"query_id","prompt","response",...}]`.
[[nodiscard]] json transcript_json(const std::vector<exchange>& transcript);

/// What a snapshot shows beside the fold.
struct snapshot_sources {
  /// The newest lines of the log.
  std::vector<log_line> logs;
  /// The newest exchanges; absent if they were not asked for.
  std::optional<std::vector<exchange>> transcript;
};

/// State, metrics and pending queries of a session.
[[nodiscard]] json
snapshot_json(const session_fold& fold, const snapshot_options& options,
              const snapshot_sources& sources, std::int64_t now_ms);

/// Lines of log and exchanges that a snapshot shows at most.
inline constexpr std::size_t snapshot_logs = 20;
inline constexpr std::size_t snapshot_exchanges = 10;

} // namespace muster
