// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <chrono>
#include <cstdint>

namespace muster {

/// Notices that a process hangs: it is asked again and again whether it is
/// there, and whatever it says is a sign of life.
class watchdog {
public:
  /// Questions without an answer behind which a process hangs.
  static constexpr std::uint64_t max_unanswered = 3;

  /// Whether it is time to ask.
  [[nodiscard]] bool is_due(std::int64_t now_ns) const {
    return now_ns >= next_ns_;
  }

  /// Counts what has been heard of it.
  /// @param frames that have come so far, see `socket_port::heard`.
  /// @param interval until it is time again.
  /// @returns whether to ask now; otherwise it hangs.
  [[nodiscard]] bool may_ask(std::uint64_t frames, std::int64_t now_ns,
                             std::chrono::milliseconds interval) {
    if (frames != frames_)
      unanswered_ = 0;
    frames_ = frames;
    if (unanswered_ >= max_unanswered)
      return false;
    ++unanswered_;
    next_ns_ = now_ns + std::chrono::nanoseconds(interval).count();
    return true;
  }

private:
  /// Frames that had come when it was last asked.
  std::uint64_t frames_ = 0;
  /// How often it was asked since it last said something.
  std::uint64_t unanswered_ = 0;
  /// When it is asked again.
  std::int64_t next_ns_ = 0;
};

} // namespace muster
