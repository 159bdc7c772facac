// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/process/stop_ladder.hpp"

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace muster {

/// How worker processes are kept.
struct pool_settings {
  // -- time; each is an option of the same name -------------------------------

  /// How long a new worker may take until it is ready and has said who it is.
  std::chrono::milliseconds spawn_timeout = std::chrono::seconds(10);
  /// Which part of that it may take to say who it is.
  std::chrono::milliseconds greet_timeout = std::chrono::seconds(5);
  /// How long a worker that is found again may take to say who it is. All are
  /// asked side by side.
  std::chrono::milliseconds probe_timeout{500};
  /// How long a worker that has something to do may say nothing.
  std::chrono::milliseconds patience = std::chrono::seconds(10);
  /// How often a worker is asked whether it is there. One that says nothing
  /// for three times as long is killed.
  std::chrono::milliseconds ping_interval = std::chrono::seconds(2);
  /// How long a worker is kept that nobody uses, unless it is in a group.
  std::chrono::milliseconds idle_timeout = std::chrono::minutes(30);
  /// How long a worker waits for a node that has gone, before it ends.
  std::chrono::milliseconds orphan_timeout = std::chrono::minutes(30);
  /// What each step of a stop may take: a request, SIGTERM, SIGKILL.
  stop_patience stop{std::chrono::seconds(2), std::chrono::seconds(3),
                     std::chrono::seconds(5)};

  // -- limits -----------------------------------------------------------------

  /// Workers, also those that start and stop.
  std::uint64_t max_workers = 1'000;
  /// Workers that are started in a second; others wait for their turn.
  std::uint64_t max_starts_per_second = 50;
  /// How many of these are started at once.
  std::uint64_t max_starts_at_once = 10;
  /// Requests that may wait for workers.
  std::uint64_t max_waiting = 256;
  /// Memory of one worker process.
  std::uint64_t max_memory_bytes = 512ull << 20;

  // -- where ------------------------------------------------------------------

  /// The absolute path of the folder of `registry.json`.
  std::string folder;

  /// That of the sockets. There is nothing else: workers may remove what is
  /// there.
  [[nodiscard]] std::string socket_folder() const {
    return folder + "/sockets";
  }

  /// The version of this program, which a worker must be of as well.
  std::string version;
  /// The absolute path of the program that is a worker.
  std::string program;
  /// What stands behind its name, before all that is said by the pool.
  std::vector<std::string> arguments{"worker"};
};

} // namespace muster
