// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/process/descriptor.hpp"
#include "actors/process/process_exit.hpp"
#include "actors/process/process_identity.hpp"

#include <chrono>
#include <optional>

namespace muster {

/// A process that is held: whoever has its pid later, signals go to this one
/// and its end is seen. The process does not notice, and goes on when the
/// handle is closed.
class process_handle {
public:
  // -- constructors -----------------------------------------------------------

  /// Holds a process found again; it need not be a child of this one.
  /// @returns `not_found` if it is gone, also if its pid has a new owner;
  ///          `overloaded` if there is no descriptor left.
  [[nodiscard]] static expected<process_handle>
  hold(const process_identity& who);

  /// Holds a child that nobody has reaped, whose pid is therefore its own.
  /// @returns `overloaded` if there is no descriptor left.
  [[nodiscard]] static expected<process_handle> hold_child(std::int32_t pid);

  // -- properties -------------------------------------------------------------

  [[nodiscard]] const process_identity& who() const {
    return who_;
  }

  /// The pidfd, readable once the process has ended.
  [[nodiscard]] int get() const {
    return pidfd_.get();
  }

  /// Whether it has ended, reaped or not.
  [[nodiscard]] bool has_ended() const;

  // -- what can be done with it -----------------------------------------------

  /// @returns `not_found` if it has been reaped, `not_allowed` if it belongs to
  ///          a user whose processes are none of ours.
  [[nodiscard]] expected<void> send(int signal) const;

  /// Says how it ended, and lets a child that is a zombie go; absent while it
  /// runs. Never waits.
  [[nodiscard]] std::optional<process_exit> reap() const;

  /// Waits for the end up to a deadline, and reaps it.
  [[nodiscard]] std::optional<process_exit>
  reap_within(std::chrono::milliseconds patience) const;

private:
  process_handle(process_identity who, descriptor pidfd);

  process_identity who_;
  descriptor pidfd_;
};

} // namespace muster
