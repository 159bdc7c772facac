// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "tests/black_box/program.hpp"

#include <cstddef>
#include <string>

namespace muster::test {

/// A file system of its own that soon is full: in memory, of a few MiB. To be
/// mounted takes root; without it the test fails. Only this thread and the
/// processes that it starts see it, so that it never outlives them.
class small_disk {
public:
  explicit small_disk(std::size_t bytes);

  /// Unmounts it, also if something on it is still open.
  ~small_disk();

  small_disk(const small_disk&) = delete;

  small_disk& operator=(const small_disk&) = delete;

  [[nodiscard]] std::string path() const {
    return folder_.path() + "/disk";
  }

  /// Room for whoever writes next.
  [[nodiscard]] std::size_t free_bytes() const;

  /// Takes all room but about so much with a file.
  void fill(std::size_t left = 0);

  /// Removes that file.
  void make_room() const;

  /// Only possible while nothing on it is open for writing.
  void make_read_only();

private:
  void mount(unsigned long flags);

  temporary_folder folder_;
  std::string options_;
};

} // namespace muster::test
