// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <chrono>
#include <cstdint>

namespace muster {

/// How sessions are kept. Each member is an option of the same name in
/// `config/muster.ini`.
struct session_settings {
  // -- time -------------------------------------------------------------------

  /// How long a session is kept after its end.
  std::chrono::milliseconds retention = std::chrono::hours(3);
  /// How long a paused session may wait for an answer before it is cancelled.
  std::chrono::milliseconds idle_ttl = std::chrono::hours(24 * 7);
  /// Pause between two rounds of garbage collection.
  std::chrono::milliseconds collect_interval = std::chrono::seconds(60);
  /// How long a paused session keeps its virtual machine without being fed.
  std::chrono::milliseconds passivate_after = std::chrono::minutes(10);
  /// How long an answer waits for the event that it leads to, so that both go
  /// to disk at once.
  std::chrono::milliseconds commit_after{20};
  /// Pause before a step is tried again that the disk refused.
  std::chrono::milliseconds retry_after = std::chrono::seconds(1);

  // -- limits -----------------------------------------------------------------

  /// Events of one session.
  std::uint64_t max_events = 200'000;
  /// What these add up to on disk.
  std::uint64_t max_bytes = 256ull << 20;
  /// One answer.
  std::uint64_t max_response_bytes = 4ull << 20;
  /// The reason of a cancel.
  std::uint64_t max_reason_bytes = 64ull << 10;
  /// The text of a script.
  std::uint64_t max_code_bytes = 1ull << 20;
  /// The ctx of a script, as JSON.
  std::uint64_t max_ctx_bytes = 4ull << 20;
  /// Requests that wait for a commit of one session.
  std::uint64_t max_queued = 256;
  /// Clients that may wait for one session: so many who cancel it, who wait for
  /// its next pause or its end, who observe it, and who read its history.
  std::uint64_t max_waiting = 1'000;
  /// How often in a row a step may be refused because others changed what it
  /// read, before the script is told.
  std::uint64_t max_conflicts = 16;
  /// Sessions that have an actor, running or recently used.
  std::uint64_t max_active = 200'000;
  /// Virtual machines that paused sessions may keep between them.
  std::uint64_t max_machines = 5'000;
  /// Sessions that are brought back from disk at a time.
  std::uint64_t max_activations = 16;
  /// Events that an observer may leave unacknowledged.
  std::uint64_t observer_window = 256;

  // -- what is shown ----------------------------------------------------------

  /// Unicode scalar values of a prompt in a preview.
  std::uint32_t preview_chars = 200;
};

} // namespace muster
