// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/errors.hpp"

#include <chrono>
#include <cstdint>
#include <string>

namespace muster {

/// The variable of the environment in which a worker finds its nonce. An
/// argument could be read by everybody.
inline constexpr const char* worker_nonce_variable = "MUSTER_WORKER_NONCE";

/// How a worker process runs.
struct worker_options {
  /// Of its program.
  std::string version;
  /// What it says to prove that it is the one that was started.
  std::string nonce;
  /// The absolute path of its socket. It may remove what is in that folder.
  std::string socket;
  /// How long it lives without a node, once it had one.
  std::chrono::milliseconds orphan_timeout = std::chrono::minutes(30);
  /// How long it lives before the first one says hello.
  std::chrono::milliseconds greet_timeout = std::chrono::seconds(10);
  /// Memory of the process; 0 means any amount.
  std::uint64_t max_memory_bytes = std::uint64_t{2} << 30;
};

/// Listens, confines the process, says so on `ready_descriptor`, and serves
/// until the worker is told to end, or nobody needs it any more. Must be called
/// before the process has another thread. Does not come back from an ordered
/// end, as the script may still run: it takes the socket away and exits with 0.
/// @returns why the worker could not begin.
[[nodiscard]] failure run_worker(const worker_options& options);

} // namespace muster
