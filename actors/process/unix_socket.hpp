// SPDX-License-Identifier: Apache-2.0

// What both ends of a unix socket need.

#pragma once

#include "actors/process/descriptor.hpp"
#include "actors/process/frame_buffer.hpp"
#include "actors/process/socket_port.hpp"

#include <string>

#include <sys/socket.h>
#include <sys/un.h>

namespace muster {

/// @returns `invalid_argument` for a path that is not absolute, or that does
///          not fit: the kernel has room for 107 bytes and the end.
[[nodiscard]] expected<sockaddr_un> unix_address(const std::string& path);

/// A socket that does not block, nor outlive a start of another program.
/// @returns `overloaded` if there is no descriptor left.
[[nodiscard]] expected<descriptor> make_unix_socket();

/// Connects, and does not wait: 0 or an `errno`. EAGAIN says that the queue of
/// the other side is full; the same socket may try again.
[[nodiscard]] int connect_unix(const descriptor& socket,
                               const sockaddr_un& address);

/// Who is at the other end.
[[nodiscard]] peer_credentials peer_of(const descriptor& socket);

/// @returns `not_allowed` if the other end belongs to another user than `own`.
[[nodiscard]] expected<void>
check_peer(const std::string& path, const peer_credentials& peer, uid_t own);

/// What came of an attempt to read or to write.
enum class transfer {
  /// There may be more to do at once.
  some,
  /// The socket takes or has nothing now.
  none,
  /// Nothing more comes, or goes.
  over,
};

/// Reads one piece.
[[nodiscard]] transfer read_piece(const descriptor& socket, frame_buffer& to);

/// Writes what the socket takes, but no more than a piece that others can wait
/// for. Raises no signal.
/// @returns `none` if something is left.
[[nodiscard]] transfer write_lines(const descriptor& socket, line_queue& from);

} // namespace muster
