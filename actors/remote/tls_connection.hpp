// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/remote/openssl.hpp"
#include "actors/remote/socket.hpp"

#include <memory>

namespace muster {

/// A connection behind its handshake: both sides have shown certificates.
struct tls_connection {
  // The session must go before its socket does.
  socket_handle socket;
  openssl_ptr<SSL> session;
  /// Counts this connection for as long as it lives, if anybody counts.
  std::shared_ptr<void> token;
};

} // namespace muster
