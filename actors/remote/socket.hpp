// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/errors.hpp"

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>

namespace muster {

/// A socket, closed in the end.
class socket_handle {
public:
  // -- constructors and destructors -------------------------------------------

  socket_handle() = default;

  explicit socket_handle(int descriptor) : descriptor_(descriptor) {
    // nop
  }

  socket_handle(socket_handle&& other) noexcept : descriptor_(other.release()) {
    // nop
  }

  socket_handle& operator=(socket_handle&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }

  ~socket_handle();

  // -- properties -------------------------------------------------------------

  [[nodiscard]] int get() const {
    return descriptor_;
  }

  /// Gives it away.
  [[nodiscard]] int release() {
    return std::exchange(descriptor_, -1);
  }

  explicit operator bool() const {
    return descriptor_ >= 0;
  }

private:
  int descriptor_ = -1;
};

/// When something has to be done.
using time_limit = std::chrono::steady_clock::time_point;

/// What is left of the time, for `poll`; 0 if nothing.
[[nodiscard]] int milliseconds_left(time_limit limit);

/// A socket that does not block, and listens.
/// @param port 0 takes any that is free.
/// @returns `in_use` if another one has the port, else `invalid_argument`.
[[nodiscard]] expected<socket_handle> listen_on(const std::string& host,
                                                std::uint16_t port);

/// Takes a connection that waits; the socket does not block.
/// @returns no socket if there is none, with the reason in `errno`.
[[nodiscard]] socket_handle accept_from(const socket_handle& listener);

/// A socket that does not block, and is connected.
/// @returns `unreachable` if nobody listens there, or not in time.
[[nodiscard]] expected<socket_handle>
connect_to(const std::string& host, std::uint16_t port, time_limit limit);

/// The port of this side; 0 if there is none.
[[nodiscard]] std::uint16_t port_of(const socket_handle& socket);

/// The address and the port of the other side.
[[nodiscard]] std::pair<std::string, std::uint16_t> peer_of(int descriptor);

/// An address with its port: `127.0.0.1:7411`, `[::1]:7411`.
[[nodiscard]] std::string show_address(const std::string& host,
                                       std::uint16_t port);

} // namespace muster
