// SPDX-License-Identifier: Apache-2.0

#include "actors/process/unix_socket.hpp"

#include "actors/process/system_call.hpp"

#include <fmt/format.h>

#include <array>
#include <cstring>

namespace muster {

namespace {

constexpr std::size_t bytes_read_at_once = 64 * 1'024;

constexpr std::size_t bytes_written_at_once = 1'024 * 1'024;

bool would_block() {
  return errno == EAGAIN || errno == EWOULDBLOCK;
}

} // namespace

expected<sockaddr_un> unix_address(const std::string& path) {
  sockaddr_un out{};
  out.sun_family = AF_UNIX;
  if (path.empty() || path.front() != '/'
      || path.find('\0') != std::string::npos)
    return fail(errc::invalid_argument,
                fmt::format("'{}' is no absolute path of a socket", path));
  if (path.size() >= sizeof(out.sun_path))
    return fail(errc::invalid_argument,
                fmt::format("'{}' has {} bytes; the path of a socket must have "
                            "less than {}",
                            path, path.size(), sizeof(out.sun_path)));
  std::memcpy(out.sun_path, path.c_str(), path.size() + 1);
  return out;
}

expected<descriptor> make_unix_socket() {
  descriptor out{
    ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
  if (!out)
    return fail(errc::overloaded,
                fmt::format("cannot make a socket: {}", std::strerror(errno)));
  return out;
}

int connect_unix(const descriptor& socket, const sockaddr_un& address) {
  auto result = uninterrupted([&] {
    return ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address),
                     sizeof(address));
  });
  return result == 0 ? 0 : errno;
}

peer_credentials peer_of(const descriptor& socket) {
  // Nobody, for whom nothing is allowed.
  ucred who{0, static_cast<uid_t>(-1), static_cast<gid_t>(-1)};
  socklen_t size = sizeof(who);
  ::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &who, &size);
  return {who.pid, who.uid};
}

expected<void> check_peer(const std::string& path, const peer_credentials& peer,
                          uid_t own) {
  if (peer.uid == own)
    return {};
  return fail(errc::not_allowed,
              fmt::format("the other end of '{}' belongs to user {}, this one "
                          "to user {}",
                          path, peer.uid, own));
}

transfer read_piece(const descriptor& socket, frame_buffer& to) {
  std::array<char, bytes_read_at_once> bytes;
  auto size = uninterrupted(
    [&] { return ::recv(socket.get(), bytes.data(), bytes.size(), 0); });
  if (size < 0)
    return would_block() ? transfer::none : transfer::over;
  if (size == 0)
    return transfer::over;
  to.append({bytes.data(), static_cast<std::size_t>(size)});
  return transfer::some;
}

transfer write_lines(const descriptor& socket, line_queue& from) {
  std::size_t written = 0;
  while (!from.empty()) {
    if (written >= bytes_written_at_once)
      return transfer::none;
    auto bytes = from.front().substr(0, bytes_written_at_once);
    auto size = uninterrupted([&] {
      return ::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    });
    if (size < 0)
      return would_block() ? transfer::none : transfer::over;
    from.pop(static_cast<std::size_t>(size));
    written += static_cast<std::size_t>(size);
  }
  return transfer::some;
}

} // namespace muster
