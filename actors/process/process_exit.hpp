// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>

namespace muster {

/// How a process ended.
struct process_exit {
  enum class manner {
    /// By itself; the number is its exit code.
    exited,
    /// By a signal; the number says which one.
    signalled,
    /// Nobody here can know, as it was somebody else's child.
    unknown,
  };

  manner how = manner::unknown;
  int number = 0;

  friend bool operator==(const process_exit&, const process_exit&) = default;
};

/// The end of a sentence: `ended with exit code 3`, `was killed by SIGKILL`.
[[nodiscard]] std::string show(const process_exit& end);

/// The name of a signal: `SIGTERM`.
[[nodiscard]] std::string signal_name(int signal);

} // namespace muster
