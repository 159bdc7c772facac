// SPDX-License-Identifier: Apache-2.0

#include "actors/process/socket_server.hpp"

#include "actors/process/system_call.hpp"

#include <fmt/format.h>

#include <cstring>
#include <thread>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

namespace muster {

namespace {

using clock = std::chrono::steady_clock;

/// How long somebody who holds the folder gets before the next attempt.
constexpr auto folder_retry = std::chrono::milliseconds(5);

tl::unexpected<failure> failed(const char* what, const std::string& path,
                               int error) {
  auto code = errc::internal;
  if (error == ENOENT || error == ENOTDIR)
    code = errc::not_found;
  else if (error == EACCES || error == EPERM || error == EROFS)
    code = errc::not_allowed;
  else if (error == ENOSPC || error == EDQUOT)
    code = errc::storage_full;
  else if (error == EMFILE || error == ENFILE || error == ENOMEM)
    code = errc::overloaded;
  return fail(
    code, fmt::format("cannot {} '{}': {}", what, path, std::strerror(error)));
}

/// Keeps others from taking a path in the folder at the same time: between its
/// birth and its first answer a socket looks dead.
expected<descriptor> lock_folder(const std::string& path) {
  auto folder = path.substr(0, std::max<std::size_t>(path.rfind('/'), 1));
  descriptor out{uninterrupted([&] {
    return ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  })};
  if (!out)
    return failed("open the folder", folder, errno);
  auto end = clock::now() + socket_server::folder_patience;
  while (::flock(out.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR)
      return failed("lock the folder", folder, errno);
    if (clock::now() >= end)
      return fail(errc::in_use,
                  fmt::format("another process has held the folder '{}' for {} "
                              "s now",
                              folder, socket_server::folder_patience.count()));
    std::this_thread::sleep_for(folder_retry);
  }
  return out;
}

/// Takes a socket away that nothing answers.
expected<void> clear(const std::string& path, const sockaddr_un& address) {
  struct stat found {};
  if (::lstat(path.c_str(), &found) != 0)
    return errno == ENOENT ? expected<void>{} : failed("look at", path, errno);
  if (!S_ISSOCK(found.st_mode))
    return fail(errc::in_use,
                fmt::format("'{}' is there already, and no socket", path));
  auto probe = make_unix_socket();
  if (!probe)
    return tl::unexpected<failure>{probe.error()};
  // A queue that is full is somebody's.
  auto error = connect_unix(*probe, address);
  if (error == 0 || error == EAGAIN)
    return fail(errc::in_use,
                fmt::format("another process listens at '{}'", path));
  if (error != ECONNREFUSED && error != ENOENT)
    return failed("probe", path, error);
  if (::unlink(path.c_str()) != 0 && errno != ENOENT)
    return failed("replace", path, errno);
  return {};
}

} // namespace

// -- a connection -------------------------------------------------------------

expected<std::optional<std::string>> served_socket::receive() {
  for (;;) {
    auto frame = in_.next();
    if (!frame)
      return fail(
        frame.error().code,
        fmt::format("the client at '{}' {}", path_, frame.error().message));
    if (*frame)
      return frame;
    switch (read_piece(socket_, in_)) {
      case transfer::some:
        break;
      case transfer::none:
        return std::nullopt;
      case transfer::over:
        return fail(errc::connection_lost,
                    fmt::format("the client at '{}' ended {}", path_,
                                in_.is_inside() ? "in the middle of a frame"
                                                : "the connection"));
    }
  }
}

expected<void> served_socket::send(std::string frame) {
  auto line = to_line(std::move(frame), max_frame_bytes_);
  if (!line)
    return tl::unexpected<failure>{line.error()};
  if (auto fine = out_.push(std::move(*line)); !fine)
    return fine;
  return flush();
}

expected<void> served_socket::flush() {
  if (write_lines(socket_, out_) == transfer::over)
    return fail(errc::connection_lost,
                fmt::format("the client at '{}' takes no more frames", path_));
  return {};
}

// -- the server ---------------------------------------------------------------

expected<socket_server> socket_server::open(const std::string& path,
                                            socket_limits limits, int queue) {
  auto address = unix_address(path);
  if (!address)
    return tl::unexpected<failure>{address.error()};
  auto socket = make_unix_socket();
  if (!socket)
    return tl::unexpected<failure>{socket.error()};
  auto folder = lock_folder(path);
  if (!folder)
    return tl::unexpected<failure>{folder.error()};
  if (auto fine = clear(path, *address); !fine)
    return tl::unexpected<failure>{fine.error()};
  // The file gets the mode that the socket has before it has a name.
  if (::fchmod(socket->get(), S_IRUSR | S_IWUSR) != 0
      || ::bind(socket->get(), reinterpret_cast<const sockaddr*>(&*address),
                sizeof(*address))
           != 0)
    return failed("listen at", path, errno);
  socket_server out{path, limits, std::move(*socket)};
  struct stat own {};
  if (::lstat(path.c_str(), &own) != 0)
    return failed("look at", path, errno);
  out.device_ = own.st_dev;
  out.file_ = own.st_ino;
  if (::listen(out.get(), queue) != 0)
    return failed("listen at", path, errno);
  return out;
}

socket_server::~socket_server() {
  struct stat found {};
  if (socket_ && ::lstat(path_.c_str(), &found) == 0 && found.st_dev == device_
      && found.st_ino == file_)
    ::unlink(path_.c_str());
}

expected<std::optional<served_socket>> socket_server::accept() {
  descriptor socket;
  do {
    socket = descriptor{
      ::accept4(socket_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)};
    // One that has gone away again is nobody.
  } while (!socket && (errno == EINTR || errno == ECONNABORTED));
  if (!socket && (errno == EAGAIN || errno == EWOULDBLOCK))
    return std::nullopt;
  if (!socket)
    return failed("accept at", path_, errno);
  auto peer = peer_of(socket);
  if (auto fine = check_peer(path_, peer, ::geteuid()); !fine)
    return tl::unexpected<failure>{fine.error()};
  return served_socket{path_, std::move(socket), peer, limits_};
}

} // namespace muster
