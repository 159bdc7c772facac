// SPDX-License-Identifier: Apache-2.0

#pragma once

namespace muster {

/// Marks the file as ours: "must" in ASCII.
inline constexpr int application_id = 0x6d757374;

/// The tables of format 1.
///
/// Events are appended, never changed: `events` grows at its end, and the index
/// over (session, seq) keeps anything from being written twice. Each row holds
/// the events of one commit, and where the session stands after them, so that
/// lists need no other table to be kept up to date.
inline constexpr const char* schema = R"sql(
CREATE TABLE meta(
  one INTEGER PRIMARY KEY CHECK (one = 1),
  age_ms INTEGER NOT NULL,          -- see age_clock
  wall_ms INTEGER NOT NULL,
  state_version INTEGER NOT NULL,   -- the highest version of any state value
  running INTEGER NOT NULL,         -- sessions by phase
  paused INTEGER NOT NULL,
  done INTEGER NOT NULL,
  failed INTEGER NOT NULL,
  cancelled INTEGER NOT NULL
) STRICT;

CREATE TABLE sessions(
  row INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  kind INTEGER NOT NULL,
  created_ms INTEGER NOT NULL,
  ended INTEGER                     -- its last phase; null while it lives
) STRICT;

CREATE INDEX sessions_alive ON sessions(row) WHERE ended IS NULL;

CREATE TABLE events(
  row INTEGER PRIMARY KEY,
  session INTEGER NOT NULL,
  seq INTEGER NOT NULL,             -- of the first event in this row
  last_seq INTEGER NOT NULL,
  phase INTEGER NOT NULL,           -- of the session behind them
  pending INTEGER NOT NULL,         -- queries without an answer
  at_ms INTEGER NOT NULL,
  last_active_ms INTEGER NOT NULL,
  age_ms INTEGER NOT NULL,
  payload BLOB NOT NULL
) STRICT;

CREATE UNIQUE INDEX events_by_session ON events(session, seq);

CREATE TABLE sources(
  hash TEXT NOT NULL UNIQUE,
  text BLOB NOT NULL
) STRICT;

CREATE TABLE session_sources(
  session INTEGER NOT NULL,
  hash TEXT NOT NULL,
  PRIMARY KEY (session, hash)
) STRICT, WITHOUT ROWID;

CREATE INDEX session_sources_by_hash ON session_sources(hash);

CREATE TABLE state(
  space TEXT NOT NULL,
  key TEXT NOT NULL,
  value BLOB NOT NULL,
  version INTEGER NOT NULL,
  PRIMARY KEY (space, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE logs(
  session INTEGER NOT NULL,
  number INTEGER NOT NULL,
  at_ms INTEGER NOT NULL,
  level TEXT NOT NULL,
  source TEXT NOT NULL,
  message TEXT NOT NULL,
  PRIMARY KEY (session, number)
) STRICT, WITHOUT ROWID;

INSERT INTO meta VALUES (1, 0, 0, 0, 0, 0, 0, 0, 0);
)sql";

/// What format 2 has beyond format 1: the requests that were executed. Rows are
/// appended at the end and taken away at the front.
inline constexpr const char* schema_2 = R"sql(
CREATE TABLE receipts(
  row INTEGER PRIMARY KEY,
  request TEXT NOT NULL UNIQUE,
  digest TEXT NOT NULL,
  result TEXT NOT NULL,
  age_ms INTEGER NOT NULL
) STRICT;
)sql";

} // namespace muster
