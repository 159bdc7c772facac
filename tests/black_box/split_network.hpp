// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>
#include <vector>

namespace muster::test {

/// Two networks with a link between them that can be cut: this thread and
/// whoever it starts is on the near side. Nobody else sees them, and they are
/// gone with those who are in them, however the test ends. Takes root; without
/// it the test fails.
class split_network {
public:
  split_network();

  /// Brings the thread back to where it was.
  ~split_network();

  split_network(const split_network&) = delete;

  split_network& operator=(const split_network&) = delete;

  /// Runs a program on the far side.
  [[nodiscard]] std::vector<std::string> far_side() const;

  /// Where the near side reaches what is on the far one.
  [[nodiscard]] std::string far_address() const;

  /// From here on nothing comes through, and nobody is told.
  void cut();

  void mend();

private:
  int home_ = -1;
  int far_ = -1;
};

} // namespace muster::test
