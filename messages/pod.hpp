// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/errors.hpp"
#include "messages/scope.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace muster {

// -- words --------------------------------------------------------------------

/// Where a pod stands.
enum class pod_phase : std::uint8_t {
  /// Its process is being started, or looked for after a restart of the node.
  starting = 1,
  ready,
  /// Lives, but does not answer.
  unreachable,
  /// Shall end.
  stopping,
  /// Has ended; what it was lent has come back. Its output can still be read.
  ended,
};

[[nodiscard]] std::string to_string(pod_phase phase);

/// What can be said to a pod.
enum class pod_class : std::uint8_t {
  /// Any program: it gets its task when it starts, and nothing after that.
  plain = 1,
  /// It speaks the protocol of pods on its socket.
  protocol,
};

[[nodiscard]] std::string to_string(pod_class x);

/// How much the kernel has to confine a pod.
enum class sandbox_mode : std::uint8_t {
  /// All of its scope is enforced, or it does not start.
  required = 1,
  /// As much as the kernel can.
  best_effort,
  /// Nothing: its scope is a promise.
  off,
};

/// `required`, `best-effort` or `off`.
[[nodiscard]] std::string to_string(sandbox_mode mode);

/// @returns `invalid_argument` naming the text.
[[nodiscard]] expected<sandbox_mode> parse_sandbox(const std::string& text);

// -- asking for a pod ---------------------------------------------------------

/// A pod that somebody wants.
struct pod_order {
  /// Unique among those that live: 1 to 48 of `a-z A-Z 0-9 . _ -`, the first
  /// of them a letter or a digit; not `operator`.
  std::string name;
  /// What it shall do.
  std::string task;
  /// Who lends to it; empty means whoever asks.
  std::string lender;
  /// What it is lent. Targets are absolute.
  std::vector<scope_rule> scope;
  /// What of that it may lend on.
  struct scope delegation;
  /// Where it works; empty means the target of its first rule.
  std::string cwd;
  /// The program and its arguments; empty means the reference pod.
  std::vector<std::string> command;
  /// Variables for its environment, `NAME=value`. They are not kept.
  std::vector<std::string> environment;
  pod_class kind = pod_class::protocol;
  sandbox_mode sandbox = sandbox_mode::required;

  friend bool operator==(const pod_order&, const pod_order&) = default;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, pod_order& x) {
  return f(x.name, x.task, x.lender, x.scope, x.delegation, x.cwd, x.command,
           x.environment, x.kind, x.sandbox);
}

/// Who lends what belongs to nobody else: whoever runs the node.
inline constexpr const char* pod_operator = "operator";

/// What a command may have, all of its words together.
inline constexpr std::size_t max_command_bytes = 100'000;

/// Refuses texts that could not be kept or passed on; the variables are neither
/// looked at nor kept.
/// @returns `not_utf8`, `invalid_argument` for a zero byte, `too_large`.
[[nodiscard]] expected<void> check_texts(const pod_order& order);

/// @returns `invalid_argument` naming what is wrong with the name of a pod or
///          of a reader.
[[nodiscard]] expected<void> check_pod_name(const std::string& name);

// -- what clients see ---------------------------------------------------------

/// One pod.
struct pod_view {
  std::string name;
  /// Names this life of it: its name, a dot and 8 hexadecimal digits.
  std::string id;
  /// 0 until it is known, and once it has ended.
  std::int32_t pid = 0;
  pod_phase phase = pod_phase::starting;
  pod_class kind = pod_class::protocol;
  /// The absolute path of its socket; empty for a plain one.
  std::string socket;
  /// The folder that is its own: its output, and its socket.
  std::string folder;
  /// What it was lent.
  std::vector<scope_rule> scope;
  std::string lender;
  /// What the kernel enforces, such as `landlock 7`; empty until it is known.
  std::string sandbox;
  /// ISO 8601, UTC.
  std::string created_at;
  /// Turns of which it said that they have ended well.
  std::uint64_t turns = 0;
  /// The last error that it reported, or how it ended; empty if there is none.
  std::string last_error;

  friend bool operator==(const pod_view&, const pod_view&) = default;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, pod_view& x) {
  return f(x.name, x.id, x.pid, x.phase, x.kind, x.socket, x.folder, x.scope,
           x.lender, x.sandbox, x.created_at, x.turns, x.last_error);
}

/// Where in the output of a pod somebody is.
struct output_cursor {
  /// The number of the file, 1 for the first one; 0 stands before all.
  std::uint64_t segment = 0;
  /// Bytes of it that are read.
  std::uint64_t offset = 0;

  friend bool operator==(const output_cursor&, const output_cursor&) = default;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, output_cursor& x) {
  return f(x.segment, x.offset);
}

/// What somebody wants to read of the output of a pod.
struct pod_read {
  std::string name;
  /// Who reads: a name, as that of a pod; each has a place of its own.
  std::string reader{pod_operator};
  /// Where to read; absent means behind what that reader has read, who goes on.
  std::optional<output_cursor> from;

  friend bool operator==(const pod_read&, const pod_read&) = default;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, pod_read& x) {
  return f(x.name, x.reader, x.from);
}

/// A piece of the output of a pod.
struct pod_output {
  std::string name;
  pod_phase phase = pod_phase::ready;
  /// What it has written, in order; one text for each line of its log that
  /// holds one.
  std::vector<std::string> texts;
  /// Where this piece begins and ends.
  output_cursor from;
  output_cursor to;
  /// Lines that hold no text, or are none of the protocol.
  std::uint64_t skipped = 0;
  /// Whether there is more than fits into one piece.
  bool more = false;

  friend bool operator==(const pod_output&, const pod_output&) = default;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, pod_output& x) {
  return f(x.name, x.phase, x.texts, x.from, x.to, x.skipped, x.more);
}

/// A pod whose end is confirmed, and what came back from it.
struct pod_stop_reply {
  std::string name;
  std::vector<scope_rule> reclaimed;
  /// How it ended, such as `ended with exit code 0`.
  std::string end;

  friend bool operator==(const pod_stop_reply&, const pod_stop_reply&)
    = default;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, pod_stop_reply& x) {
  return f(x.name, x.reclaimed, x.end);
}

} // namespace muster
