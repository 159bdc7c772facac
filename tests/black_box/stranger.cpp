// SPDX-License-Identifier: Apache-2.0

#include "tests/black_box/stranger.hpp"

#include "actors/remote/openssl.hpp"

#include <openssl/err.h>
#include <openssl/pem.h>

#include <cerrno>
#include <chrono>
#include <stdexcept>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>

namespace muster::test {

namespace {

/// Nothing that a test waits for takes longer, also on a busy machine.
time_limit patience() {
  return std::chrono::steady_clock::now() + std::chrono::seconds(60);
}

socket_handle connected(std::uint16_t port) {
  auto socket = connect_to("127.0.0.1", port, patience());
  if (!socket)
    throw std::runtime_error{socket.error().message};
  return std::move(*socket);
}

openssl_ptr<BIO> reader(const std::string& text) {
  return openssl_ptr<BIO>{
    BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))};
}

} // namespace

stranger::stranger(std::uint16_t port) : socket_(connected(port)) {
  // nop
}

void stranger::send(const std::string& bytes) {
  // What does not fit any more was not asked for.
  std::ignore = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
}

hasty_listener::hasty_listener() {
  auto socket = listen_on("127.0.0.1", 0);
  if (!socket)
    throw std::runtime_error{socket.error().message};
  socket_ = std::move(*socket);
  thread_ = std::jthread{[this](const std::stop_token& token) {
    while (!token.stop_requested()) {
      pollfd end{socket_.get(), POLLIN, 0};
      constexpr int interval_ms = 10;
      if (::poll(&end, 1, interval_ms) > 0 && accept_from(socket_))
        ++guests_;
    }
  }};
}

hasty_listener::~hasty_listener() {
  thread_.request_stop();
  thread_.join();
}

bool stranger::is_turned_away() {
  auto limit = patience();
  for (;;) {
    pollfd end{socket_.get(), POLLIN, 0};
    if (::poll(&end, 1, milliseconds_left(limit)) == 0)
      return false;
    char buffer[4'096];
    auto size = ::recv(socket_.get(), buffer, sizeof(buffer), 0);
    if (size == 0 || (size < 0 && errno == ECONNRESET))
      return true;
  }
}

std::string shake_hands(std::uint16_t port, const credential* own) {
  openssl_ptr<SSL_CTX> context{SSL_CTX_new(TLS_method())};
  if (own != nullptr) {
    openssl_ptr<X509> certificate{PEM_read_bio_X509(
      reader(own->certificate).get(), nullptr, nullptr, nullptr)};
    openssl_ptr<EVP_PKEY> key{PEM_read_bio_PrivateKey(
      reader(own->key).get(), nullptr, nullptr, nullptr)};
    SSL_CTX_use_certificate(context.get(), certificate.get());
    SSL_CTX_use_PrivateKey(context.get(), key.get());
  }
  auto socket = connected(port);
  ::fcntl(socket.get(), F_SETFL, 0);
  timeval limit{60, 0};
  ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  openssl_ptr<SSL> session{SSL_new(context.get())};
  SSL_set_fd(session.get(), socket.get());
  ERR_clear_error();
  char byte = 0;
  // Of a refusal one hears behind the handshake. Whoever writes meanwhile must
  // not hear of a broken connection instead.
  if (SSL_connect(session.get()) == 1) {
    pollfd end{socket.get(), POLLIN, 0};
    ::poll(&end, 1, 60'000);
    for (int i = 0; i < 3; ++i)
      if (SSL_write(session.get(), "hello", 5) != 5)
        return "the connection broke";
    if (SSL_read(session.get(), &byte, 1) == 1)
      return "";
  }
  auto why = take_openssl_error();
  return why.empty() ? "closed" : why;
}

} // namespace muster::test
