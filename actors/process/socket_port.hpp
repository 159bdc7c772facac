// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/errors.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <variant>

#include <sys/types.h>

namespace muster {

/// How long the path of a unix socket may be: what the kernel has room for,
/// without the end.
inline constexpr std::size_t max_socket_path = 107;

/// What connections by unix sockets may cost, on both sides.
struct socket_limits {
  /// Of a frame in either direction, without its end of line.
  std::size_t max_frame_bytes = std::size_t{64} << 20;
  /// Of all that waits to be sent on one connection.
  std::size_t max_waiting_bytes = std::size_t{128} << 20;
  /// Connections, also those that are not over though they were closed.
  std::size_t max_connections = 4'096;
  /// How long the queue of the other side may be full.
  std::chrono::milliseconds connect_within{500};
  /// How long a connection that was closed may send what waits.
  std::chrono::milliseconds close_within{1'000};
};

/// Names one connection of a `socket_port`; never used twice.
using connection_id = std::uint64_t;

/// Who is at the other end, as the kernel says.
struct peer_credentials {
  pid_t pid = 0;
  uid_t uid = 0;

  friend bool operator==(const peer_credentials&, const peer_credentials&)
    = default;
};

/// The connection stands. Comes once, or never. It proves no life: only an
/// answer does.
struct socket_opened {
  connection_id id;
  peer_credentials peer;
};

/// A whole frame came, without its end of line.
struct socket_frame {
  connection_id id;
  std::string text;
};

/// The connection is over, or never stood. Comes once and last. Why:
/// `unreachable`, `timeout` or `overloaded` if it never stood; `not_allowed` if
/// the other side is somebody else's; `connection_lost` if the other side ended
/// it; `too_large` or `not_utf8` if that sent what is no frame;
/// `shutting_down`.
struct socket_closed {
  connection_id id;
  failure why;
};

using socket_event = std::variant<socket_opened, socket_frame, socket_closed>;

/// Hears what happens to one connection. Must neither block nor throw, and may
/// be called before the call that it was given to returns, by any thread.
using socket_listener = std::function<void(socket_event)>;

/// Unix sockets, as actors see them. One implementation is the operating
/// system's, others are for tests. All of it may be called by any thread, and
/// by listeners. Frames are lines of UTF-8.
class socket_port {
public:
  virtual ~socket_port() = default;

  /// Connects to a unix socket. Frames may be sent from now on; they go once
  /// the connection stands.
  /// @returns `invalid_argument` for a path that does not fit, or is not
  ///          absolute; `overloaded` if there are too many.
  [[nodiscard]] virtual expected<connection_id>
  connect(const std::string& path, socket_listener listener) = 0;

  /// From now on another one hears of this connection. Each event goes to one
  /// of the two, in order, and the first one hears nothing more once this has
  /// returned.
  /// @returns `not_found` if the connection is over.
  [[nodiscard]] virtual expected<void>
  listen(connection_id id, socket_listener listener) = 0;

  /// Sends a frame, behind those that wait already.
  /// @returns `not_found` if the connection is over, `too_large` for a frame
  ///          above the limit, `overloaded` if too many bytes wait,
  ///          `invalid_argument` if it holds an end of line.
  [[nodiscard]] virtual expected<void> send(connection_id id, std::string frame)
    = 0;

  /// Frames that have come on a connection; 0 if it is over.
  [[nodiscard]] virtual std::uint64_t heard(connection_id id) const = 0;

  /// Ends a connection: what waits is still sent, for a short time; its
  /// listener hears nothing more once this has returned.
  virtual void close(connection_id id) = 0;

  /// Connections that are neither closed nor over.
  [[nodiscard]] virtual std::size_t size() const = 0;

  /// Ends all at once, and says so to those that listen. No listener is called
  /// once this has returned, and nothing is connected any more.
  virtual void stop() = 0;
};

} // namespace muster
