// SPDX-License-Identifier: Apache-2.0

#include "actors/remote/tls_connection.hpp"

#include <cerrno>
#include <cstdint>

#include <sys/socket.h>

namespace muster {

namespace {

int socket_of(BIO* end) {
  return static_cast<int>(reinterpret_cast<std::intptr_t>(BIO_get_data(end)));
}

/// Whether a call may be repeated later.
bool is_for_later(ssize_t result) {
  return result < 0 && (errno == EAGAIN || errno == EINTR);
}

int write_some(BIO* end, const char* bytes, int size) {
  BIO_clear_retry_flags(end);
  auto result = ::send(socket_of(end), bytes, static_cast<std::size_t>(size),
                       MSG_NOSIGNAL);
  if (is_for_later(result))
    BIO_set_retry_write(end);
  return static_cast<int>(result);
}

int read_some(BIO* end, char* bytes, int size) {
  BIO_clear_retry_flags(end);
  auto result
    = ::recv(socket_of(end), bytes, static_cast<std::size_t>(size), 0);
  if (is_for_later(result))
    BIO_set_retry_read(end);
  return static_cast<int>(result);
}

/// There is nothing to flush; all else is not needed.
long control(BIO*, int command, long, void*) {
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

/// Made once, and needed until the process ends.
BIO_METHOD* socket_method() {
  static BIO_METHOD* method = [] {
    auto* out
      = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket");
    if (out != nullptr) {
      BIO_meth_set_write(out, write_some);
      BIO_meth_set_read(out, read_some);
      BIO_meth_set_ctrl(out, control);
    }
    return out;
  }();
  return method;
}

} // namespace

bool attach(SSL* session, int socket) {
  auto* method = socket_method();
  auto* end = method != nullptr ? BIO_new(method) : nullptr;
  if (end == nullptr)
    return false;
  BIO_set_data(end, reinterpret_cast<void*>(std::intptr_t{socket}));
  BIO_set_init(end, 1);
  SSL_set_bio(session, end, end);
  return true;
}

} // namespace muster
