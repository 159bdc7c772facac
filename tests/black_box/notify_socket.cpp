// SPDX-License-Identifier: Apache-2.0

#include "tests/black_box/notify_socket.hpp"

#include <cstring>
#include <stdexcept>

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace muster::test {

notify_socket::notify_socket(const std::string& path)
  : descriptor_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path))
    throw std::runtime_error{"the path is too long for a socket: " + path};
  std::memcpy(address.sun_path, path.data(), path.size());
  if (::bind(descriptor_, reinterpret_cast<sockaddr*>(&address),
             sizeof(address))
      != 0)
    throw std::runtime_error{"cannot bind " + path};
}

notify_socket::~notify_socket() {
  ::close(descriptor_);
}

std::string notify_socket::receive(std::chrono::milliseconds limit) const {
  pollfd end{descriptor_, POLLIN, 0};
  if (::poll(&end, 1, static_cast<int>(limit.count())) != 1)
    return {};
  char text[4'096];
  auto n = ::recv(descriptor_, text, sizeof(text), 0);
  return {text, n > 0 ? static_cast<std::size_t>(n) : 0};
}

} // namespace muster::test
