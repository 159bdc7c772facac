// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "tests/bench/rounds.hpp"

#include <vector>

namespace muster::bench {

/// What one subject measured, and what it has to reach.
struct group {
  std::vector<row> rows;
  std::vector<bar> bars;
};

/// Feeds and spawns next to a raw disk and to Redis.
[[nodiscard]] group durable(const options& how);

/// What clients get that are in other processes, over TLS, next to gRPC.
[[nodiscard]] group remote(const options& how);

/// Sessions in workers next to those in the node, and the roll of many workers.
[[nodiscard]] group pool(const options& how);

/// What may be lent among many, and how soon a pod is ready.
[[nodiscard]] group pods(const options& how);

/// How long a pass takes, and how soon what died is replaced.
[[nodiscard]] group recovery(const options& how);

/// How long a tick takes that has a lot to look after.
[[nodiscard]] group tick(const options& how);

/// How quickly recorded answers are replayed.
[[nodiscard]] group replay(const options& how);

/// What a paused session holds.
[[nodiscard]] group memory(const options& how);

/// How soon a node with many sessions on disk is ready.
[[nodiscard]] group restart(const options& how);

/// A status under load, and many starts and stops.
[[nodiscard]] group life(const options& how);

} // namespace muster::bench
