// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/errors.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace muster {

// -- what clients see ---------------------------------------------------------

/// Where a worker process stands.
enum class worker_phase : std::uint8_t {
  /// Its process is being started, or looked for after a restart of the node.
  starting = 1,
  /// Waits for a session.
  idle,
  /// Has a session.
  busy,
  /// Lives, but is of another version: it can only be stopped.
  mismatched,
  /// Lives, but does not answer.
  unreachable,
  /// Shall end.
  stopping,
};

[[nodiscard]] std::string to_string(worker_phase phase);

/// One worker of the pool.
struct worker_view {
  /// `p-<ms since epoch>-<128 random bits>`, both in hexadecimal.
  std::string sid;
  /// 0 until it is known.
  std::int32_t pid = 0;
  /// The session that it has.
  std::optional<std::string> session;
  worker_phase phase = worker_phase::starting;
  /// The absolute path of its socket.
  std::string sock;
  /// The version of its program.
  std::string version;
  /// ISO 8601, UTC.
  std::string created_at;
  /// Memory of its process; absent if it cannot be read.
  std::optional<std::uint64_t> rss_bytes;
  /// Processor time of its process.
  std::optional<std::uint64_t> cpu_ms;

  friend bool operator==(const worker_view&, const worker_view&) = default;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, worker_view& x) {
  return f(x.sid, x.pid, x.session, x.phase, x.sock, x.version, x.created_at,
           x.rss_bytes, x.cpu_ms);
}

/// A worker that could not be stopped, and why.
struct worker_failure {
  std::string sid;
  failure why;

  friend bool operator==(const worker_failure&, const worker_failure&)
    = default;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, worker_failure& x) {
  return f(x.sid, x.why);
}

/// What became of a stop.
struct pool_stop_reply {
  /// Those whose end is confirmed.
  std::vector<std::string> stopped;
  std::vector<worker_failure> errors;

  friend bool operator==(const pool_stop_reply&, const pool_stop_reply&)
    = default;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, pool_stop_reply& x) {
  return f(x.stopped, x.errors);
}

// -- what a session gets ------------------------------------------------------

/// A worker that a session may use until it gives it back.
struct worker_lease {
  std::string sid;
  /// Its connection, see `socket_port`.
  std::uint64_t connection = 0;
  /// Whether it has the session already, and stands at rest behind the event
  /// that was named. Otherwise it has none, and must be given a history.
  bool has_session = false;
  /// The signal of a crash that ended the worker which had the session before;
  /// 0 if it ended otherwise, or if there was none.
  std::int32_t crashed_by = 0;

  friend bool operator==(const worker_lease&, const worker_lease&) = default;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, worker_lease& x) {
  return f(x.sid, x.connection, x.has_session, x.crashed_by);
}

} // namespace muster
