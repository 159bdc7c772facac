// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <caf/all.hpp>
#include <caf/io/basp_broker.hpp>
#include <caf/io/network/test_multiplexer.hpp>
#include <caf/scheduler/test_coordinator.hpp>

#include <cstddef>

namespace muster::test {

/// Puts an actor system on the deterministic scheduler, and its middleman on
/// buffers instead of sockets.
void use_test_network(caf::actor_system_config& config);

[[nodiscard]] caf::scheduler::test_coordinator&
scheduler_of(caf::actor_system& system);

[[nodiscard]] caf::io::network::test_multiplexer&
network_of(caf::actor_system& system);

/// What speaks the framework's protocol, and knows who is connected.
[[nodiscard]] caf::io::basp_broker& broker_in(caf::actor_system& system);

/// Lets the connections of a system work off what there is to read, to accept
/// and to do. Nobody else works.
/// @returns whether there was anything.
bool work_network(caf::actor_system& system);

/// Tells a system that a connection has broken.
void break_connection(caf::actor_system& system,
                      caf::io::connection_handle connection);

} // namespace muster::test
