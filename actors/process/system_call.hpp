// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cerrno>

namespace muster {

/// Repeats a system call that a signal cut short.
template <class F>
auto uninterrupted(F f) {
  auto result = f();
  while (result < 0 && errno == EINTR)
    result = f();
  return result;
}

} // namespace muster
