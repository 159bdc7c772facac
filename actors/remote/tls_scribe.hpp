// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/remote/tls_connection.hpp"

#include <caf/actor.hpp>
#include <caf/actor_system.hpp>
#include <caf/io/network/default_multiplexer.hpp>
#include <caf/io/scribe.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace muster {

/// What the other side of a connection may send at once. One that is about to
/// send more is closed.
struct message_limit {
  std::size_t bytes = SIZE_MAX;
  /// Told of it: where the other side is, and how much it was about to send.
  std::function<void(const std::string& peer, std::size_t bytes)> tell;
};

/// Hands a connection to the framework.
/// @param why receives what ended it, if that was a fault; may be null.
[[nodiscard]] caf::io::scribe_ptr
make_scribe(caf::io::network::default_multiplexer& multiplexer,
            tls_connection connection, std::shared_ptr<std::string> why,
            message_limit limit);

/// The loop of the framework that reads and writes.
[[nodiscard]] caf::io::network::default_multiplexer&
multiplexer_of(caf::actor_system& system);

/// The actor of the framework that speaks its protocol.
[[nodiscard]] caf::actor broker_of(caf::actor_system& system);

} // namespace muster
