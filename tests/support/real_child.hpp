// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <optional>
#include <string>

#include <sys/types.h>

namespace muster::test {

/// A process that waits for orders; ended and reaped in the end.
/// Made with the plainest means, as it stands for a process of somebody else.
class real_child {
public:
  /// Whose child it is. A grandchild's own parent is gone.
  enum class kin { child, grandchild };

  explicit real_child(kin whose = kin::child);

  real_child(real_child&& other) noexcept;

  real_child& operator=(real_child&& other) noexcept;

  ~real_child();

  /// A child with that pid, which must be free; absent if this user must not
  /// choose pids or somebody else was faster.
  [[nodiscard]] static std::optional<real_child> with_pid(pid_t pid);

  [[nodiscard]] pid_t pid() const {
    return pid_;
  }

  /// Gives it a name, which is there once this returns.
  void call_itself(const std::string& name);

  /// Ends it, and leaves it unreaped.
  void become_zombie();

  void reap();

  /// Somebody else has reaped it.
  void forget() {
    pid_ = 0;
  }

private:
  kin whose_ = kin::child;
  pid_t pid_ = 0;
  int orders_ = -1;
};

} // namespace muster::test
