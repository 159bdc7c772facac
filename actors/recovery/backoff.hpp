// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/recovery.hpp"

#include <cstdint>
#include <deque>
#include <optional>
#include <random>

namespace muster {

/// Whether something may be started, and if not, why.
enum class backoff_phase {
  ready,
  /// Waits for its delay.
  backing_off,
  /// Has failed too often, and waits for the end of the pause.
  paused,
  /// Has failed too often, and waits for a reset.
  failed,
};

/// What has to be kept on disk.
struct backoff_record {
  /// The next delay before chance shortens it; 0 means the first one.
  std::int64_t next_ns = 0;
  /// What is left of the present delay or pause.
  std::int64_t wait_ns = 0;
  bool is_paused = false;
  bool has_failed = false;

  friend bool operator==(const backoff_record&, const backoff_record&)
    = default;
};

/// When something that fails may be started again. Says when; the clock is the
/// caller's.
///
/// Only a run makes the next delay short again: time that is spent waiting is
/// none.
class backoff {
public:
  // -- constructors -----------------------------------------------------------

  /// @param seed decides what chance takes away.
  backoff(const restart_policy& policy, std::uint64_t seed);

  // -- events -----------------------------------------------------------------

  /// It has started and is well. That shortens no delay and no pause. Whoever
  /// says so again changes nothing.
  void on_started(std::int64_t now_ns);

  /// It has failed, or could not be started.
  void on_failure(std::int64_t now_ns);

  /// Forgets all failures.
  /// @returns whether anything had to be waited for.
  bool reset(std::int64_t now_ns);

  /// Goes on where another life of the node was.
  void restore(const backoff_record& record, std::int64_t now_ns);

  // -- properties -------------------------------------------------------------

  [[nodiscard]] backoff_phase phase(std::int64_t now_ns) const;

  /// Whether it may be started; true at the very end of a delay.
  [[nodiscard]] bool may_start(std::int64_t now_ns) const {
    return phase(now_ns) == backoff_phase::ready;
  }

  /// When it may be started; absent if never.
  [[nodiscard]] std::optional<std::int64_t> until_ns() const;

  /// How long that is from now; 0 if never.
  [[nodiscard]] std::int64_t wait_ns(std::int64_t now_ns) const;

  /// Failures since the last reset.
  [[nodiscard]] std::uint64_t failures() const {
    return failures_;
  }

  [[nodiscard]] backoff_record record(std::int64_t now_ns) const;

private:
  // -- implementation details -------------------------------------------------

  /// The delay that is due, less what chance takes away.
  [[nodiscard]] std::int64_t next_delay();

  // -- member variables -------------------------------------------------------

  restart_policy policy_;
  std::minstd_rand chance_;
  std::int64_t next_ns_ = 0;
  std::int64_t until_ns_ = 0;
  bool is_paused_ = false;
  bool has_failed_ = false;
  /// Since when it runs; absent if it does not.
  std::optional<std::int64_t> started_ns_;
  /// The failures of the last period, since the last pause.
  std::deque<std::int64_t> recent_;
  std::uint64_t failures_ = 0;
};

} // namespace muster
