// SPDX-License-Identifier: Apache-2.0

// The other end of `system_sockets`, for a process that waits by itself: it
// polls these descriptors, and nothing here waits.

#pragma once

#include "actors/process/unix_socket.hpp"

#include <chrono>
#include <optional>
#include <string>

#include <sys/types.h>

namespace muster {

/// One connection that was accepted.
class served_socket {
public:
  served_socket(std::string path, descriptor socket, peer_credentials peer,
                const socket_limits& limits)
    : path_(std::move(path)), socket_(std::move(socket)), peer_(peer),
      max_frame_bytes_(limits.max_frame_bytes), in_(limits.max_frame_bytes),
      out_(limits.max_waiting_bytes) {
    // nop
  }

  /// What to poll: for what can be read, and for room if something waits.
  [[nodiscard]] int get() const {
    return socket_.get();
  }

  [[nodiscard]] const peer_credentials& peer() const {
    return peer_;
  }

  /// To be called until there is nothing.
  /// @returns the next frame, nothing if it is not here yet, `connection_lost`
  ///          if the other side has ended it, `too_large` or `not_utf8` if that
  ///          sent what is no frame.
  [[nodiscard]] expected<std::optional<std::string>> receive();

  /// Sends a frame, behind those that wait already.
  /// @returns `connection_lost`, `too_large` for a frame above the limit,
  ///          `overloaded` if too many bytes wait, `invalid_argument` if it
  ///          holds an end of line.
  [[nodiscard]] expected<void> send(std::string frame);

  /// Sends of what waits as much as is taken now.
  /// @returns `connection_lost`.
  [[nodiscard]] expected<void> flush();

  /// Whether something waits for room.
  [[nodiscard]] bool is_waiting() const {
    return !out_.empty();
  }

private:
  std::string path_;
  descriptor socket_;
  peer_credentials peer_;
  std::size_t max_frame_bytes_;
  frame_buffer in_;
  line_queue out_;
};

/// Listens at a path, which nobody but this user may connect to.
class socket_server {
public:
  // -- constants --------------------------------------------------------------

  /// How long others may hold the folder, to take a path in it.
  static constexpr auto folder_patience = std::chrono::seconds(1);

  // -- constructors and destructors -------------------------------------------

  /// Takes a path; a socket that is there already is replaced if nothing
  /// answers it.
  /// @param queue how many may wait to be accepted.
  /// @returns `invalid_argument` for a path that does not fit, `in_use` if it
  ///          is taken, `not_found` if its folder is not there, `not_allowed`,
  ///          `storage_full`, `overloaded`.
  [[nodiscard]] static expected<socket_server>
  open(const std::string& path, socket_limits limits = {}, int queue = 16);

  socket_server(socket_server&&) = default;

  socket_server& operator=(socket_server&&) = delete;

  /// Takes the socket away, unless another one is there by now.
  ~socket_server();

  // -- properties -------------------------------------------------------------

  /// What to poll, for what can be read.
  [[nodiscard]] int get() const {
    return socket_.get();
  }

  /// Accepts the next one. To be called until there is nothing.
  /// @returns nothing if nobody waits, `not_allowed` for another user, who is
  ///          turned away; `overloaded` if there is no descriptor left, and the
  ///          other one goes on waiting.
  [[nodiscard]] expected<std::optional<served_socket>> accept();

private:
  socket_server(std::string path, socket_limits limits, descriptor socket)
    : path_(std::move(path)), limits_(limits), socket_(std::move(socket)) {
    // nop
  }

  std::string path_;
  socket_limits limits_;
  descriptor socket_;
  /// Which file is its own.
  dev_t device_ = 0;
  ino_t file_ = 0;
};

} // namespace muster
