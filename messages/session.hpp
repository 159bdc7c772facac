// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/errors.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace muster {

// -- what a client asks for ---------------------------------------------------

/// What kind of work a session does.
enum class session_kind : std::uint8_t {
  /// Runs a Lua text.
  run = 1,
  /// Calls `run(ctx)` of an installed package.
  advice,
};

[[nodiscard]] std::string to_string(session_kind kind);

/// Where a session's script runs.
enum class session_isolation : std::uint8_t {
  /// In the process of the node.
  node = 1,
  /// In a worker process, which is given back when the session needs it no
  /// more.
  worker,
};

[[nodiscard]] std::string to_string(session_isolation isolation);

/// What a session is to do. Fixed for its life.
struct session_spec {
  session_kind kind = session_kind::run;
  /// The Lua text; for `run` only.
  std::string code;
  /// What error messages call the text, such as its file name.
  std::string name;
  /// The package whose `run` is called; for `advice` only.
  std::string strategy;
  /// What becomes `ctx.task`; for `advice` only.
  std::optional<std::string> task;
  /// A JSON object: the global `ctx`. For `advice` the options beside the task.
  std::string ctx = "{}";
  /// Folders that `require` searches before those of the node, in this order.
  std::vector<std::string> packages;
  session_isolation isolation = session_isolation::node;

  friend bool operator==(const session_spec&, const session_spec&) = default;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, session_spec& x) {
  return f(x.kind, x.code, x.name, x.strategy, x.task, x.ctx, x.packages,
           x.isolation);
}

/// Tokens that an answer cost, as its giver counted them.
struct token_usage {
  std::optional<std::uint64_t> prompt_tokens;
  std::optional<std::uint64_t> completion_tokens;

  friend bool operator==(const token_usage&, const token_usage&) = default;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, token_usage& x) {
  return f(x.prompt_tokens, x.completion_tokens);
}

/// One question of a strategy to a language model.
struct query {
  std::string id;
  std::string prompt;
  std::optional<std::string> system;
  std::uint32_t max_tokens = 1024;
  /// The answer should rest on sources.
  bool grounded = false;
  /// The host may ask a person.
  bool underspecified = false;

  friend bool operator==(const query&, const query&) = default;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, query& x) {
  return f(x.id, x.prompt, x.system, x.max_tokens, x.grounded,
           x.underspecified);
}

/// An answer to one query.
struct answer {
  /// The query that it answers; empty means the only one that is open.
  std::string query_id;
  std::string response;
  std::optional<token_usage> usage;

  friend bool operator==(const answer&, const answer&) = default;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, answer& x) {
  return f(x.query_id, x.response, x.usage);
}

/// When a feed is answered.
enum class feed_mode : std::uint8_t {
  /// When the session has come to its next pause or its end.
  next_event = 1,
  /// When the answer is on disk.
  accepted,
};

/// What a wait waits for.
enum class wait_for : std::uint8_t {
  /// The session is paused or has ended.
  event = 1,
  /// The session has ended.
  end,
};

/// Why a session was cancelled.
enum class cancel_code : std::uint8_t {
  user = 1,
  timeout,
  parent_dropped,
  system_shutdown,
  internal,
};

[[nodiscard]] std::string to_string(cancel_code code);

/// The caller's reason for a cancel, kept word for word.
struct cancel_reason {
  cancel_code code = cancel_code::user;
  std::optional<std::string> detail;
  /// Wall clock in milliseconds; set by the node when it takes the request.
  std::int64_t requested_at = 0;

  friend bool operator==(const cancel_reason&, const cancel_reason&) = default;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, cancel_reason& x) {
  return f(x.code, x.detail, x.requested_at);
}

// -- what a client is told ----------------------------------------------------

/// Where a session stands. The last three are final.
enum class session_phase : std::uint8_t {
  running = 1,
  paused,
  done,
  failed,
  cancelled,
};

[[nodiscard]] std::string to_string(session_phase phase);

/// The phase of that name, or nothing.
[[nodiscard]] std::optional<session_phase>
session_phase_from(std::string_view name);

/// Whether a session in this phase has ended.
[[nodiscard]] constexpr bool is_terminal(session_phase phase) {
  return phase >= session_phase::done;
}

/// Why a strategy failed.
enum class failure_kind : std::uint8_t {
  /// The script raised an error, or did not compile, or gave no JSON.
  lua_error = 1,
  /// A limit was hit; the message names it.
  limit_exceeded,
  /// A replay did something else than the first run.
  replay_diverged,
  /// The machine could not be built or run.
  engine_error,
};

[[nodiscard]] std::string to_string(failure_kind kind);

/// A session as its last committed event left it.
struct session_view {
  std::string session_id;
  session_kind kind = session_kind::run;
  session_phase phase = session_phase::running;
  /// The number of the last committed event.
  std::uint64_t seq = 0;
  /// Wall clock in milliseconds: when it was spawned.
  std::int64_t created_ms = 0;
  /// Wall clock in milliseconds: when it came to this phase.
  std::int64_t since_ms = 0;
  /// Wall clock in milliseconds: when a client last moved it on.
  std::int64_t last_active_ms = 0;
  /// Paused: the queries that still have no answer, in query order.
  std::vector<query> queries;
  /// Paused: how many queries the pause began with.
  std::uint64_t asked = 0;
  /// Done: the result as JSON.
  std::string result;
  /// Terminal: `{"auto":{...},"custom":{...}}`.
  std::string stats;
  /// Done: tokens in all, absent if there was no query.
  std::optional<token_usage> usage;
  /// Failed: what went wrong.
  std::string error;
  failure_kind error_kind = failure_kind::lua_error;
  /// Cancelled: why, and from which phase.
  cancel_reason reason;
  session_phase phase_before = session_phase::running;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, session_view& x) {
  return f(x.session_id, x.kind, x.phase, x.seq, x.created_ms, x.since_ms,
           x.last_active_ms, x.queries, x.asked, x.result, x.stats, x.usage,
           x.error, x.error_kind, x.reason, x.phase_before);
}

/// What became of one answer of a feed.
struct feed_result {
  /// The query that the answer was taken for, or that was named.
  std::string query_id;
  /// Why it was refused; absent if it is on disk.
  std::optional<failure> refused;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, feed_result& x) {
  return f(x.query_id, x.refused);
}

/// What became of a feed.
struct feed_reply {
  /// One for each answer, in the order of the request.
  std::vector<feed_result> results;
  /// The session afterwards. With answers still open it is paused as before;
  /// otherwise it is what `feed_mode` waits for.
  session_view session;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, feed_reply& x) {
  return f(x.results, x.session);
}

/// Which sessions a list shows.
struct session_list_request {
  /// Only those in one of these phases; empty means all.
  std::vector<session_phase> phases;
  /// Only those older than this id; empty begins with the newest.
  std::string before;
  /// At most this many; 0 means as many as a page may hold.
  std::uint32_t limit = 0;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, session_list_request& x) {
  return f(x.phases, x.before, x.limit);
}

/// One line of a list of sessions.
struct session_summary {
  std::string session_id;
  session_kind kind = session_kind::run;
  session_phase phase = session_phase::running;
  std::int64_t created_ms = 0;
  std::int64_t last_active_ms = 0;
  /// Queries without an answer.
  std::uint64_t pending = 0;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, session_summary& x) {
  return f(x.session_id, x.kind, x.phase, x.created_ms, x.last_active_ms,
           x.pending);
}

/// A page of sessions, newest first.
struct session_page {
  std::vector<session_summary> sessions;
  /// Whether there are older ones.
  bool more = false;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, session_page& x) {
  return f(x.sessions, x.more);
}

/// How much of a pending query's prompt a snapshot shows.
enum class prompt_mode : std::uint8_t { off, preview, full };

/// Which fields of pending queries a snapshot shows.
struct pending_filter {
  bool query_id = false;
  bool max_tokens = false;
  bool system = false;
  bool grounded = false;
  bool underspecified = false;
  prompt_mode prompt = prompt_mode::off;
  /// Unicode scalar values that a preview shows.
  std::uint32_t preview_chars = 200;

  friend bool operator==(const pending_filter&, const pending_filter&)
    = default;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, pending_filter& x) {
  return f(x.query_id, x.max_tokens, x.system, x.grounded, x.underspecified,
           x.prompt, x.preview_chars);
}

/// What a snapshot is to contain beside the state and the metrics.
struct snapshot_options {
  /// Absent: the number of open queries and no more.
  std::optional<pending_filter> pending;
  /// Whether to add the newest prompts and answers.
  bool history = false;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, snapshot_options& x) {
  return f(x.pending, x.history);
}

/// What happened to an observed session at one number of its history.
struct observed_event {
  std::string session_id;
  /// The number of the event in the history; a later observation may begin
  /// behind it.
  std::uint64_t seq = 0;
  /// JSON documents, tagged `kind`, in the order in which they happened.
  std::vector<std::string> progress;
  /// Whether the session has ended: nothing follows.
  bool last = false;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, observed_event& x) {
  return f(x.session_id, x.seq, x.progress, x.last);
}

/// One line that a strategy wrote with `print`, `alc.log` or `io.stderr`.
struct log_line {
  /// Counts the lines of a session from 1.
  std::uint64_t number = 0;
  /// Wall clock in milliseconds.
  std::int64_t at_ms = 0;
  std::string level;
  std::string source;
  std::string message;

  friend bool operator==(const log_line&, const log_line&) = default;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, log_line& x) {
  return f(x.number, x.at_ms, x.level, x.source, x.message);
}

} // namespace muster
