// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/process/spawn.hpp"

#include <functional>
#include <string>
#include <variant>

namespace muster {

/// A process that was started is ready: it said so, or became another program.
/// Comes once, or never.
struct process_ready {
  process_identity who;
  /// What it said, without the end of the line.
  std::string line;
};

/// A process has ended and is reaped. Comes once and last.
struct process_ended {
  process_identity who;
  process_exit end;
  /// Why it never became ready, if it should have: `timeout`, `program_failed`
  /// or `shutting_down`. If it could not become another program, this says in
  /// its own words which one, and why.
  std::optional<failure> never_ready;
};

using process_event = std::variant<process_ready, process_ended>;

/// Hears what happens to one process. Must neither block nor throw, and may be
/// called before the call that it was given to returns.
using process_listener = std::function<void(process_event)>;

/// Processes, as actors see them. One implementation is the operating
/// system's, others are for tests. All of it may be called by any thread, and
/// by listeners.
class process_port {
public:
  virtual ~process_port() = default;

  /// Starts a program. If it is not ready in time, says something else than a
  /// line, or closes its pipe without one, it is killed.
  /// @returns what `spawn` refuses, `overloaded` if there are too many.
  [[nodiscard]] virtual expected<process_identity>
  start(const process_order& order, process_listener listener) = 0;

  /// Holds a process that was found again.
  /// @returns `not_found` if it is gone, `conflict` if it is held already,
  ///          `overloaded` if there are too many.
  [[nodiscard]] virtual expected<void>
  adopt(const process_identity& who, process_listener listener) = 0;

  /// Sends a signal to a process that is held.
  /// @returns `not_found` if it has ended or is not held, `not_allowed`.
  [[nodiscard]] virtual expected<void>
  send(const process_identity& who, int signal) = 0;

  /// Whether a process runs, held or not. An error is no death.
  [[nodiscard]] virtual expected<bool> is_alive(const process_identity& who)
    = 0;

  /// Processes that are held.
  [[nodiscard]] virtual std::size_t size() const = 0;

  /// Lets all go that are ready; kills those that are not. No listener is
  /// called once this has returned, and nothing is started any more.
  virtual void stop() = 0;
};

} // namespace muster
