// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>
#include <string>

#include <sys/types.h>

namespace muster::bench {

/// A Redis server that syncs every write before it acknowledges it, on a free
/// port of this machine, with its files in a folder of the caller's.
class redis {
public:
  /// Starts the server. Throws if there is none to start.
  explicit redis(const std::string& folder);

  ~redis();

  redis(const redis&) = delete;

  redis& operator=(const redis&) = delete;

  /// Writes records of 250 bytes, each to one of 10,000 fields of a hash.
  /// @returns acknowledged writes per second.
  double writes(int clients, double seconds);

private:
  [[nodiscard]] double run_benchmark(int clients, long requests);

  int port_ = 0;
  pid_t pid_ = -1;
};

} // namespace muster::bench
