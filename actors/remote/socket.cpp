// SPDX-License-Identifier: Apache-2.0

#include "actors/remote/socket.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstring>
#include <future>
#include <memory>
#include <system_error>
#include <thread>

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace muster {

namespace {

/// Names that may be looked up at a time. Each takes a thread, which nobody may
/// wait for any more.
constexpr int max_lookups = 16;

using addresses = std::unique_ptr<addrinfo, void (*)(addrinfo*)>;

/// Looks a name up.
expected<addresses> look_up(const std::string& host, std::uint16_t port,
                            int flags, errc code) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (auto result = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(),
                                  &hints, &found);
      result != 0)
    return fail(code, fmt::format("'{}' is no address of a host: {}", host,
                                  ::gai_strerror(result)));
  return addresses{found, ::freeaddrinfo};
}

/// The same, given up on when the time is over. The system has no deadline for
/// that, and a name server may not answer for minutes; so a thread waits for
/// it, and goes on doing so if nobody waits for that any more.
expected<addresses> look_up_in_time(const std::string& host, std::uint16_t port,
                                    time_limit limit) {
  // What is no name takes no time.
  if (auto found = look_up(host, port, AI_NUMERICHOST, errc::unreachable))
    return found;
  static std::atomic<int> under_way{0};
  if (++under_way > max_lookups) {
    --under_way;
    return fail(errc::unreachable,
                fmt::format("'{}' cannot be looked up: {} other names are, and "
                            "no name server answers",
                            host, max_lookups));
  }
  auto result = std::make_shared<std::promise<expected<addresses>>>();
  auto answer = result->get_future();
  try {
    std::thread{[=] {
      result->set_value(look_up(host, port, 0, errc::unreachable));
      --under_way;
    }}.detach();
  } catch (const std::system_error& error) {
    --under_way;
    return fail(errc::unreachable, fmt::format("'{}' cannot be looked up: {}",
                                               host, error.what()));
  }
  if (answer.wait_until(limit) != std::future_status::ready)
    return fail(
      errc::unreachable,
      fmt::format("no name server has told in time where '{}' is", host));
  return answer.get();
}

socket_handle open_for(const addrinfo& address) {
  return socket_handle{::socket(
    address.ai_family, address.ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC,
    address.ai_protocol)};
}

void set_option(const socket_handle& socket, int level, int name) {
  int on = 1;
  ::setsockopt(socket.get(), level, name, &on, sizeof(on));
}

/// Waits until an attempt to connect has come to its end.
/// @returns the error, or 0.
int finish_connect(const socket_handle& socket, time_limit limit) {
  pollfd end{socket.get(), POLLOUT, 0};
  int ready = 0;
  do
    ready = ::poll(&end, 1, milliseconds_left(limit));
  while (ready < 0 && errno == EINTR);
  if (ready == 0)
    return ETIMEDOUT;
  int error = 0;
  socklen_t size = sizeof(error);
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0)
    return errno;
  return error;
}

} // namespace

socket_handle::~socket_handle() {
  if (descriptor_ >= 0)
    ::close(descriptor_);
}

int milliseconds_left(time_limit limit) {
  auto left = std::chrono::ceil<std::chrono::milliseconds>(
    limit - std::chrono::steady_clock::now());
  return static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, INT_MAX));
}

expected<socket_handle> listen_on(const std::string& host, std::uint16_t port) {
  auto found = look_up(host, port, AI_PASSIVE, errc::invalid_argument);
  if (!found)
    return tl::unexpected<failure>{found.error()};
  auto socket = open_for(**found);
  // Behind a killed node, its connections may keep the port for a minute.
  if (socket)
    set_option(socket, SOL_SOCKET, SO_REUSEADDR);
  if (socket
      && ::bind(socket.get(), (*found)->ai_addr, (*found)->ai_addrlen) == 0
      && ::listen(socket.get(), SOMAXCONN) == 0)
    return socket;
  if (errno == EADDRINUSE)
    return fail(errc::in_use,
                fmt::format("cannot listen on {}; another program may use the "
                            "port, give another one or 0",
                            show_address(host, port)));
  return fail(errc::invalid_argument,
              fmt::format("cannot listen on {}: {}", show_address(host, port),
                          std::strerror(errno)));
}

socket_handle accept_from(const socket_handle& listener) {
  socket_handle socket{
    ::accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)};
  if (socket)
    set_option(socket, IPPROTO_TCP, TCP_NODELAY);
  return socket;
}

expected<socket_handle> connect_to(const std::string& host, std::uint16_t port,
                                   time_limit limit) {
  auto found = look_up_in_time(host, port, limit);
  if (!found)
    return tl::unexpected<failure>{found.error()};
  int error = ENOENT;
  for (auto* address = found->get(); address != nullptr;
       address = address->ai_next) {
    auto socket = open_for(*address);
    error = errno;
    if (!socket)
      continue;
    error = ::connect(socket.get(), address->ai_addr, address->ai_addrlen) == 0
              ? 0
              : errno;
    if (error == EINPROGRESS)
      error = finish_connect(socket, limit);
    if (error == 0) {
      set_option(socket, IPPROTO_TCP, TCP_NODELAY);
      return socket;
    }
  }
  auto why = error == ECONNREFUSED ? std::string{}
             : error == ETIMEDOUT  ? " in time"
                                   : fmt::format(": {}", std::strerror(error));
  return fail(errc::unreachable,
              fmt::format("no node answers on {}{}; is it running?",
                          show_address(host, port), why));
}

std::uint16_t port_of(const socket_handle& socket) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  if (::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size)
      != 0)
    return 0;
  if (address.ss_family == AF_INET6)
    return ntohs(reinterpret_cast<sockaddr_in6*>(&address)->sin6_port);
  return ntohs(reinterpret_cast<sockaddr_in*>(&address)->sin_port);
}

std::pair<std::string, std::uint16_t> peer_of(int descriptor) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  std::array<char, NI_MAXHOST> host{};
  std::array<char, NI_MAXSERV> port{};
  if (::getpeername(descriptor, generic, &size) != 0
      || ::getnameinfo(generic, size, host.data(), host.size(), port.data(),
                       port.size(), NI_NUMERICHOST | NI_NUMERICSERV)
           != 0)
    return {"somebody who is gone", 0};
  return {host.data(), static_cast<std::uint16_t>(std::atoi(port.data()))};
}

std::string show_address(const std::string& host, std::uint16_t port) {
  auto is_ipv6 = host.find(':') != std::string::npos;
  return is_ipv6 ? fmt::format("[{}]:{}", host, port)
                 : fmt::format("{}:{}", host, port);
}

} // namespace muster
