// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/session.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace muster {

// -- the events of a session --------------------------------------------------
//
// A session on disk is this list and nothing else. A virtual machine is rebuilt
// from it by running the script again and handing it the same list.

/// The session exists. Always the first event.
struct spawned_event {
  /// What to do. On disk the Lua text stands once under its hash.
  session_spec spec;
  /// Seeds the script's random numbers: 32 hexadecimal digits.
  std::string seed;
  /// What ran it first, such as `muster 0.1.0, Lua 5.4.4, glibc 2.36`.
  std::string versions;

  friend bool operator==(const spawned_event&, const spawned_event&) = default;
};

/// The script asked the host something whose answer is not a function of the
/// history.
struct effect_event {
  /// What was asked, such as `clock` or `source`.
  std::string kind;
  /// Hash of the arguments; a replay that asks something else is stopped.
  std::string arguments;
  /// The answer as JSON; empty if there is an error instead.
  std::string result;
  /// What the script was told instead of an answer.
  std::string error;

  friend bool operator==(const effect_event&, const effect_event&) = default;
};

/// The script waits for answers.
struct paused_event {
  std::vector<query> queries;
  /// Hash over everything that the script did so far.
  std::string digest;
  /// What `alc.stats.record` holds, as JSON; empty if nothing.
  std::string stats;
  /// What `alc.progress` said last, as JSON; empty if nothing.
  std::string progress;

  friend bool operator==(const paused_event&, const paused_event&) = default;
};

/// An answer was acknowledged.
struct answered_event {
  std::string query_id;
  std::string response;
  std::optional<token_usage> usage;

  friend bool operator==(const answered_event&, const answered_event&)
    = default;
};

/// The script returned.
struct done_event {
  /// The result as JSON.
  std::string result;
  std::string digest;
  std::string stats;

  friend bool operator==(const done_event&, const done_event&) = default;
};

/// The script raised an error, broke a limit or could not be replayed.
struct failed_event {
  std::string message;
  failure_kind kind = failure_kind::lua_error;
  std::string digest;
  std::string stats;

  friend bool operator==(const failed_event&, const failed_event&) = default;
};

/// Somebody cancelled it.
struct cancelled_event {
  cancel_reason reason;

  friend bool operator==(const cancelled_event&, const cancelled_event&)
    = default;
};

using history_body
  = std::variant<spawned_event, effect_event, paused_event, answered_event,
                 done_event, failed_event, cancelled_event>;

/// One event of a session.
struct history_event {
  /// Wall clock in milliseconds, for people; nothing is decided by it.
  std::int64_t at_ms = 0;
  history_body body;

  friend bool operator==(const history_event&, const history_event&) = default;
};

/// Consecutive events, numbered from `first`.
using history = std::vector<history_event>;

/// Renders events as a JSON array, as they stand on disk. The text of a `run`
/// is left out: `code_hash` names it instead.
[[nodiscard]] std::string encode_history(const history& events,
                                         const std::string& code_hash);

/// Reads what `encode_history` wrote.
/// @param code_hash receives the hash of a `run`'s text, if one is named.
/// @returns `registry_corrupted`, naming the place, if the text is anything
///          else.
[[nodiscard]] expected<history> decode_history(std::string_view text,
                                               std::string& code_hash);

} // namespace muster
