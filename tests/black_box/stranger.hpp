// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/remote/certificates.hpp"
#include "actors/remote/socket.hpp"

#include <cstdint>
#include <string>

namespace muster::test {

/// Somebody who connects to a port and does not say what one says there.
class stranger {
public:
  /// Connects to 127.0.0.1.
  explicit stranger(std::uint16_t port);

  void send(const std::string& bytes);

  /// Whether the other side ends the connection, within a minute.
  [[nodiscard]] bool is_turned_away();

private:
  socket_handle socket_;
};

/// Goes through a handshake of TLS as a client that looks at nothing, and reads
/// until something comes.
/// @param own what to show; null means nothing.
/// @returns why it was refused; empty if it was let in.
[[nodiscard]] std::string shake_hands(std::uint16_t port,
                                      const credential* own);

} // namespace muster::test
