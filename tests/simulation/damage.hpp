// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "tests/support/simulated_disk.hpp"

#include <map>
#include <random>
#include <string>

namespace muster::test {

/// Damage to one file of a disk that nobody uses, which can be taken back.
class damage {
public:
  /// Cuts a file off, loses a sector of it, or changes one byte.
  /// @param disk synced as a whole: behind a loss of power.
  damage(simulated_disk& disk, std::mt19937_64& random);

  /// Puts everything back as it was.
  void undo();

  /// What was done, for people.
  [[nodiscard]] const std::string& text() const {
    return text_;
  }

  /// Which file.
  [[nodiscard]] const std::string& path() const {
    return path_;
  }

  /// The file as the damage left it.
  [[nodiscard]] const std::string& contents() const {
    return contents_;
  }

  /// Whether it is one that a start is bound to notice: a database that lost a
  /// part, and not a byte within a page or the end of a log.
  [[nodiscard]] bool is_plain() const {
    return is_plain_;
  }

private:
  simulated_disk& disk_;
  std::map<std::string, std::string> before_;
  std::string path_;
  std::string contents_;
  std::string text_;
  bool is_plain_ = false;
};

} // namespace muster::test
