// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <atomic>
#include <functional>
#include <thread>

namespace muster {

/// Hears SIGTERM, SIGINT and SIGHUP in a thread of its own, outside of any
/// signal handler.
class signal_thread {
public:
  // -- constructors and destructors -------------------------------------------

  /// Blocks the signals for this thread and all that it starts. To be called
  /// before there are any others. Also lets writes to closed pipes and to files
  /// at their size limit fail with an error instead of a signal.
  static void prepare();

  /// @param hear is called in the thread, with the number of each signal.
  explicit signal_thread(std::function<void(int)> hear);

  ~signal_thread();

  signal_thread(const signal_thread&) = delete;

  signal_thread& operator=(const signal_thread&) = delete;

private:
  std::atomic<bool> done_{false};
  std::thread thread_;
};

/// The terminal that the process was started from, if any. When that hangs up,
/// everybody there gets a SIGHUP that means: end. From elsewhere, SIGHUP means:
/// start again.
class terminal_watch {
public:
  /// Notes whether there is one. To be called at the start.
  static void prepare();

  /// Whether there was one and is none any more.
  [[nodiscard]] static bool is_lost();
};

} // namespace muster
