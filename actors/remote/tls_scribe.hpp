// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/remote/tls_connection.hpp"

#include <caf/actor.hpp>
#include <caf/actor_system.hpp>
#include <caf/io/network/default_multiplexer.hpp>
#include <caf/io/scribe.hpp>

#include <cstddef>
#include <memory>
#include <string>

namespace muster {

/// Hands a connection to the framework.
/// @param why receives what ended it, if that was a fault; may be null.
/// @param max_bytes what the other side may send at once; a connection that is
///        about to send more is closed.
[[nodiscard]] caf::io::scribe_ptr
make_scribe(caf::io::network::default_multiplexer& multiplexer,
            tls_connection connection, std::shared_ptr<std::string> why,
            std::size_t max_bytes);

/// The loop of the framework that reads and writes.
[[nodiscard]] caf::io::network::default_multiplexer&
multiplexer_of(caf::actor_system& system);

/// The actor of the framework that speaks its protocol.
[[nodiscard]] caf::actor broker_of(caf::actor_system& system);

} // namespace muster
