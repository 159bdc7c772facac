// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

namespace muster {

/// Where a node listens, and what it bears there.
struct gate_settings {
  /// Where it listens. Only the machine itself can reach it there.
  std::string host = "127.0.0.1";
  /// 0 takes any that is free.
  std::uint16_t port = 7411;
  /// The folder with the certificates of the node.
  std::string folder;
  /// Connections that may be open at a time.
  std::size_t max_connections = 1'000;
  /// Connections that may be in their handshake at a time. One more, and the
  /// oldest of them has to go.
  std::size_t max_handshakes = 256;
  /// One message of a client. A connection that sends twice as much at once is
  /// closed; what lies between is refused by whom it is for.
  std::size_t max_message_bytes = 64ull << 20;
  /// How long a handshake may take.
  std::chrono::milliseconds handshake_timeout = std::chrono::seconds(10);
};

/// How long certificates are good.
struct tls_settings {
  std::chrono::milliseconds authority_lifetime = std::chrono::hours(24 * 3'650);
  std::chrono::milliseconds certificate_lifetime = std::chrono::hours(24 * 365);
};

} // namespace muster
