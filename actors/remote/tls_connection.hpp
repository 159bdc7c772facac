// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/remote/openssl.hpp"
#include "actors/remote/socket.hpp"

#include <memory>

namespace muster {

/// Lets a session use a socket, which stays with its owner. A write to one that
/// the other side has closed is an error and no signal: a client has no handler
/// for it, and must not need one.
/// @returns whether there was memory for it.
[[nodiscard]] bool attach(SSL* session, int socket);

/// A connection behind its handshake: both sides have shown certificates.
struct tls_connection {
  // The session must go before its socket does.
  socket_handle socket;
  openssl_ptr<SSL> session;
  /// Counts this connection for as long as it lives, if anybody counts.
  std::shared_ptr<void> token;
};

} // namespace muster
