// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <utility>

#include <unistd.h>

namespace muster {

/// A file descriptor, closed in the end.
class descriptor {
public:
  // -- constructors and destructors -------------------------------------------

  descriptor() = default;

  explicit descriptor(int number) : number_(number) {
    // nop
  }

  descriptor(descriptor&& other) noexcept
    : number_(std::exchange(other.number_, -1)) {
    // nop
  }

  descriptor& operator=(descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }

  ~descriptor() {
    close();
  }

  // -- properties -------------------------------------------------------------

  [[nodiscard]] int get() const {
    return number_;
  }

  explicit operator bool() const {
    return number_ >= 0;
  }

  /// Closes it at once.
  void close() {
    if (number_ >= 0)
      ::close(std::exchange(number_, -1));
  }

private:
  int number_ = -1;
};

} // namespace muster
