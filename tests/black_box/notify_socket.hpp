// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <chrono>
#include <string>

namespace muster::test {

/// The end at which the service manager hears how a program is doing.
class notify_socket {
public:
  explicit notify_socket(const std::string& path);

  ~notify_socket();

  notify_socket(const notify_socket&) = delete;

  notify_socket& operator=(const notify_socket&) = delete;

  /// The next message; empty if none comes before the deadline.
  std::string receive(std::chrono::milliseconds limit) const;

private:
  int descriptor_;
};

} // namespace muster::test
