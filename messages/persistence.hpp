// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/receipt.hpp"
#include "messages/session.hpp"
#include "messages/strategy.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace muster {

/// Consecutive events of one session, and all that must become durable with
/// them or not at all.
struct commit_request {
  std::string session_id;
  /// Where the session stands in the database; 0 creates it.
  std::int64_t row = 0;
  session_kind kind = session_kind::run;
  /// The number of the first event in `payload`. A number that is on disk
  /// already is refused, so that nothing is written twice.
  std::uint64_t first_seq = 0;
  /// The number of the last one.
  std::uint64_t last_seq = 0;
  /// The events, see `encode_history`.
  std::string payload;
  /// Where the session stood before them; of no meaning if it is new.
  session_phase phase_before = session_phase::running;
  /// Where it stands after them.
  session_phase phase = session_phase::running;
  /// Queries without an answer after them.
  std::uint64_t pending = 0;
  /// Wall clock in milliseconds.
  std::int64_t at_ms = 0;
  /// Wall clock in milliseconds: when a client last moved it on.
  std::int64_t last_active_ms = 0;
  std::vector<state_write> writes;
  std::vector<state_expectation> expectations;
  /// Texts that the events name.
  std::vector<source_text> sources;
  std::vector<log_line> logs;
  /// The request that these events are the work of, if it may be repeated.
  std::optional<receipt> done;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, commit_request& x) {
  return f(x.session_id, x.row, x.kind, x.first_seq, x.last_seq, x.payload,
           x.phase_before, x.phase, x.pending, x.at_ms, x.last_active_ms,
           x.writes, x.expectations, x.sources, x.logs, x.done);
}

/// A commit is on disk.
struct commit_ack {
  /// Where the session stands in the database.
  std::int64_t row = 0;
  /// The request that would have created it was executed before, and this is
  /// the kept result; nothing was written.
  std::optional<std::string> repeated;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, commit_ack& x) {
  return f(x.row, x.repeated);
}

/// One committed batch of events.
struct stored_events {
  std::uint64_t first_seq = 0;
  std::string payload;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, stored_events& x) {
  return f(x.first_seq, x.payload);
}

/// All that is on disk of one session.
struct stored_session {
  std::string session_id;
  std::int64_t row = 0;
  session_kind kind = session_kind::run;
  std::int64_t last_active_ms = 0;
  std::vector<stored_events> events;
  std::vector<source_text> sources;
  /// Log lines on disk.
  std::uint64_t log_lines = 0;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, stored_session& x) {
  return f(x.session_id, x.row, x.kind, x.last_active_ms, x.events, x.sources,
           x.log_lines);
}

/// Which sessions to look through, in the order of their creation.
struct scan_request {
  /// Begin behind this row.
  std::int64_t after = 0;
  /// Give this many at most.
  std::uint32_t limit = 0;
  /// Leave out all that are not running.
  bool running_only = false;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, scan_request& x) {
  return f(x.after, x.limit, x.running_only);
}

/// One session that a scan came upon.
struct scanned_session {
  std::string session_id;
  session_phase phase = session_phase::running;
  /// Milliseconds since its last event, counted by a clock that no change of
  /// the wall clock can hurry.
  std::int64_t idle_ms = 0;
  /// The number of that event.
  std::uint64_t seq = 0;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, scanned_session& x) {
  return f(x.session_id, x.phase, x.idle_ms, x.seq);
}

/// A part of all sessions.
struct scan_page {
  std::vector<scanned_session> sessions;
  /// The row to go on behind; 0 when the scan has come to the end.
  std::int64_t next = 0;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, scan_page& x) {
  return f(x.sessions, x.next);
}

/// One key of shared state in a list.
struct state_entry {
  std::string key;
  std::uint64_t version = 0;
  std::uint64_t bytes = 0;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, state_entry& x) {
  return f(x.key, x.version, x.bytes);
}

/// One namespace of shared state.
struct state_space {
  std::string space;
  std::uint64_t keys = 0;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, state_space& x) {
  return f(x.space, x.keys);
}

} // namespace muster
