// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/remote/gate.hpp"

#include "messages/errors.hpp"

#include <caf/actor_control_block.hpp>
#include <caf/actor_system.hpp>

#include <cstdint>
#include <set>
#include <string>

namespace muster {

/// Lets those who come in by the gate talk to an actor. The gate must be
/// stopped before the system ends.
/// @param interface the messages that the actor takes.
void publish(caf::actor_system& system, caf::strong_actor_ptr whom,
             std::set<std::string> interface, gate& by);

/// The same without TLS, for tests: **everybody who can connect can do
/// everything, and crash the process.** Listens on 127.0.0.1 only.
/// @returns the port, or `in_use`.
[[nodiscard]] expected<std::uint16_t>
publish_insecurely(caf::actor_system& system, caf::strong_actor_ptr whom,
                   std::set<std::string> interface, std::uint16_t port);

} // namespace muster
