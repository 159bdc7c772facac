// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/remote/certificates.hpp"
#include "actors/remote/socket.hpp"

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>

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

/// Somebody who listens at a port of 127.0.0.1 and hangs up on whoever
/// connects.
class hasty_listener {
public:
  hasty_listener();

  ~hasty_listener();

  [[nodiscard]] std::uint16_t port() const {
    return port_of(socket_);
  }

  /// How many have connected.
  [[nodiscard]] std::uint64_t guests() const {
    return guests_;
  }

private:
  socket_handle socket_;
  std::atomic<std::uint64_t> guests_ = 0;
  std::jthread thread_;
};

/// Goes through a handshake of TLS as a client that looks at nothing, and reads
/// until something comes.
/// @param own what to show; null means nothing.
/// @returns why it was refused; empty if it was let in.
[[nodiscard]] std::string shake_hands(std::uint16_t port,
                                      const credential* own);

} // namespace muster::test
