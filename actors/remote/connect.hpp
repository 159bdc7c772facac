// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/remote/identity.hpp"

#include "messages/errors.hpp"

#include <caf/actor_control_block.hpp>
#include <caf/actor_system.hpp>

#include <chrono>
#include <cstdint>
#include <set>
#include <string>

namespace muster {

/// What somebody else has published.
struct remote_actor {
  caf::strong_actor_ptr whom;
  /// The messages that it takes.
  std::set<std::string> interface;
};

/// Connects to a node. A connection that the other side ends before it has
/// answered is made again: nothing was asked yet.
/// @param own what the node shall know us by; absent means without TLS, to
///        127.0.0.1 only.
/// @returns `unreachable` if nobody answers there in time, `not_allowed` if
///          the node refuses our certificate or we its, and `version_mismatch`
///          if what answers is no node.
[[nodiscard]] expected<remote_actor>
connect(caf::actor_system& system, const std::string& host, std::uint16_t port,
        const identity* own, std::chrono::milliseconds patience);

} // namespace muster
