// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/history.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace muster {

// -- shared state -------------------------------------------------------------

/// Names one value of the state that sessions share.
struct state_key {
  std::string space;
  std::string key;

  friend auto operator<=>(const state_key&, const state_key&) = default;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, state_key& x) {
  return f(x.space, x.key);
}

/// A value as it was read.
struct state_value {
  /// JSON; absent if there is no such key.
  std::optional<std::string> value;
  /// Changes with every write and is never used twice; 0 if there is no such
  /// key.
  std::uint64_t version = 0;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, state_value& x) {
  return f(x.value, x.version);
}

/// A change of one value.
struct state_write {
  state_key where;
  /// JSON; absent means delete.
  std::optional<std::string> value;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, state_write& x) {
  return f(x.where, x.value);
}

/// The version at which a value was read before it was written. If it has
/// another one by then, the write is refused.
struct state_expectation {
  state_key where;
  std::uint64_t version = 0;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, state_expectation& x) {
  return f(x.where, x.version);
}

// -- what a strategy does between two pauses ----------------------------------

/// A Lua text, kept once under its hash.
struct source_text {
  /// SHA-256, 64 lower-case hexadecimal digits.
  std::string hash;
  std::string text;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, source_text& x) {
  return f(x.hash, x.text);
}

/// Everything that a strategy did since it went on, up to the event at which it
/// stopped. Goes to disk in one transaction.
struct strategy_step {
  /// What it asked the host, in order.
  std::vector<effect_event> effects;
  /// What it changed: the last write of each key.
  std::vector<state_write> writes;
  /// For each key that was read before it was written, how it was read.
  std::vector<state_expectation> expectations;
  /// The texts that it loaded.
  std::vector<source_text> sources;
  /// Where it stopped.
  std::variant<paused_event, done_event, failed_event> end;
};

// -- the port between a session and what runs its strategy --------------------

/// What a strategy host must be told before it can go on.
struct host_call {
  enum class kind : std::uint8_t {
    /// The value of `where`.
    state_get,
    /// All keys of `where.space`, sorted.
    state_keys,
    /// The module that `require` names, `where.key`, looked for in the folders
    /// of the session and then in those of the node.
    module_source,
  };

  kind what = kind::state_get;
  state_key where;

  friend bool operator==(const host_call&, const host_call&) = default;
};

/// The answer to a `host_call`.
struct host_result {
  /// The value as JSON, the keys as a JSON array, or the module's text; absent
  /// if there is no such value or module.
  std::optional<std::string> text;
  /// Of a value.
  std::uint64_t version = 0;
  /// Of a module: its path below the folder that it was found in.
  std::string name;
  /// Why a module cannot be read, although it is there.
  std::string error;

  friend bool operator==(const host_result&, const host_result&) = default;
};

/// Nothing happened yet: call `advance` again when it is this session's turn.
struct host_busy {};

/// Nothing will happen until the host asks for attention.
struct host_waiting {
  /// Call `advance` again after this time nevertheless; 0 if that is needless.
  std::chrono::nanoseconds look_again{0};
};

/// A replay has come to the pause at which the session stands. Nothing to
/// commit.
struct host_restored {};

/// What ran the strategy is gone, with everything since the last event on disk.
struct host_lost {
  failure why;
};

/// How far a strategy has come.
using host_report = std::variant<host_busy, host_waiting, host_restored,
                                 host_call, strategy_step, host_lost>;

/// What a strategy host begins with.
struct strategy_start {
  std::string session_id;
  /// The whole history, `spawned` first, with the text in its spec.
  history events;
  /// The texts that its effects name.
  std::vector<source_text> sources;
  /// Lines of log on disk.
  std::uint64_t log_lines = 0;
  /// Keys whose next write raises an error, because it was refused too often.
  std::vector<state_key> contended;
};

/// Runs one strategy. Two kinds of hosts do so: one in the node's own process,
/// one in a worker process. A host is driven by one session and never blocks
/// its thread; when told nothing, it does nothing.
class strategy_host {
public:
  virtual ~strategy_host() = default;

  /// Replays what the history holds, then goes on live. Called once, first.
  virtual void start(strategy_start what) = 0;

  /// Works for one slice.
  [[nodiscard]] virtual host_report advance() = 0;

  /// Answers the `host_call` that `advance` reported last.
  virtual void resolve(host_result result) = 0;

  /// Answers the pause that `advance` reported last: one answer for each of its
  /// queries, in query order.
  virtual void answer(std::vector<answered_event> answers) = 0;

  /// The session is on disk up to this event, which is where the host stands.
  virtual void committed(std::uint64_t seq) = 0;

  /// Log lines since the last call of this. Empty during a replay.
  [[nodiscard]] virtual std::vector<log_line> take_logs() = 0;

  /// Bytes that the virtual machine holds.
  [[nodiscard]] virtual std::uint64_t memory_bytes() const = 0;
};

using strategy_host_ptr = std::unique_ptr<strategy_host>;

} // namespace muster
