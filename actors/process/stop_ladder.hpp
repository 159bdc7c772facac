// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

namespace muster {

/// What has to be done next to a process that shall end.
enum class stop_step {
  /// Nothing before the deadline.
  wait,
  /// The caller's own way, such as a message.
  ask,
  /// SIGTERM.
  terminate,
  /// SIGKILL.
  kill,
  /// Tell whoever wants the end that it does not come: the process hangs in
  /// the kernel. It is still on its way, and its end may yet be confirmed.
  report,
};

/// How long each step is waited for. One that has no time is left out, but for
/// the last.
struct stop_patience {
  std::chrono::milliseconds ask{0};
  std::chrono::milliseconds terminate{0};
  std::chrono::milliseconds kill{0};
};

/// How a process is stopped: each step gets its time before the next, harder
/// one. Says what to do; time, signals and the process are the caller's.
class stop_ladder {
public:
  // -- constructors -----------------------------------------------------------

  explicit stop_ladder(stop_patience patience) : patience_(patience) {
    // nop
  }

  // -- events -----------------------------------------------------------------

  /// The process shall end. Whoever says so again changes nothing.
  [[nodiscard]] stop_step begin(std::int64_t now_ns);

  /// Time went by. However late this is, no step is left out.
  [[nodiscard]] stop_step on_time(std::int64_t now_ns);

  /// What was to be done could not be done: nothing is waited for. A kill that
  /// fails is waited for nevertheless, as nothing is harder.
  [[nodiscard]] stop_step on_refused(std::int64_t now_ns);

  /// The end of the process is confirmed.
  void on_ended() {
    has_ended_ = true;
  }

  // -- properties -------------------------------------------------------------

  /// Whether it has begun, and the end is not confirmed.
  [[nodiscard]] bool is_stopping() const {
    return last_ != stop_step::wait && !has_ended_;
  }

  /// The only proof that the process is gone.
  [[nodiscard]] bool has_ended() const {
    return has_ended_;
  }

  /// When `on_time` has something to do; absent if never.
  [[nodiscard]] std::optional<std::int64_t> limit_ns() const;

private:
  // -- implementation details -------------------------------------------------

  /// Takes the first step behind the last one that has time.
  stop_step climb(std::int64_t now_ns);

  [[nodiscard]] std::chrono::milliseconds patience_of(stop_step step) const;

  // -- member variables -------------------------------------------------------

  stop_patience patience_;
  /// What was last to be done; `wait` before the beginning.
  stop_step last_ = stop_step::wait;
  std::int64_t limit_ns_ = 0;
  bool has_ended_ = false;
};

} // namespace muster
