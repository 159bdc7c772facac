// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/errors.hpp"

#include <memory>
#include <string>

namespace muster {

/// A state directory that belongs to this process. The lock is held until this
/// object ends, and falls away by itself if the process dies.
class state_directory {
public:
  // -- constructors and destructors -------------------------------------------

  /// Creates the directory if need be, for its owner only, and takes its lock.
  /// @returns `in_use`, naming the process that has the lock, `read_only` or
  ///          `storage_failed`.
  [[nodiscard]] static expected<std::unique_ptr<state_directory>>
  open(const std::string& path);

  ~state_directory();

  state_directory(const state_directory&) = delete;

  state_directory& operator=(const state_directory&) = delete;

  // -- properties -------------------------------------------------------------

  /// The absolute path.
  [[nodiscard]] const std::string& path() const {
    return path_;
  }

private:
  state_directory(std::string path, int lock);

  std::string path_;
  int lock_;
};

} // namespace muster
