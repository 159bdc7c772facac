// SPDX-License-Identifier: Apache-2.0

#include "actors/remote/gate.hpp"

#include <fmt/format.h>
#include <openssl/err.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <tuple>
#include <vector>

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

namespace muster {

namespace {

using clock = std::chrono::steady_clock;

/// How many are accepted before those get their turn that are here already.
constexpr int accepted_at_once = 32;

/// What is taken from somebody who was refused.
constexpr std::size_t max_unread_bytes = 64 * 1'024;

/// How long nobody is accepted once there was no descriptor or no memory.
constexpr auto rest = std::chrono::milliseconds(100);

/// A text that a stranger has chosen, as it may stand in a log.
std::string harmless(std::string_view text) {
  std::string out{text.substr(0, 64)};
  std::replace_if(
    out.begin(), out.end(), [](unsigned char c) { return c < ' ' || c > '~'; },
    '?');
  return out;
}

std::string name_in(X509* certificate) {
  std::array<char, 128> name{};
  if (certificate != nullptr)
    X509_NAME_get_text_by_NID(X509_get_subject_name(certificate),
                              NID_commonName, name.data(), name.size());
  return harmless(name.data());
}

/// Why a handshake has failed.
std::string reason_of(SSL* session, const std::string& name) {
  auto verdict = SSL_get_verify_result(session);
  auto note = take_openssl_error();
  if (verdict != X509_V_OK)
    return fmt::format("the certificate of '{}' is refused: {}", name,
                       X509_verify_cert_error_string(verdict));
  if (note.empty())
    return "it went away in the handshake";
  return fmt::format("no handshake: {}", note);
}

} // namespace

// -- constructors and destructors ---------------------------------------------

expected<std::unique_ptr<gate>>
gate::open(gate_settings settings, std::function<std::int64_t()> wall_ms) {
  std::unique_ptr<gate> out{new gate{std::move(settings), std::move(wall_ms)}};
  // The port opens behind the files: nobody shall be turned away at first.
  if (auto fine = out->context(); !fine)
    return tl::unexpected<failure>{fine.error()};
  auto listener = listen_on(out->settings_.host, out->settings_.port);
  if (!listener)
    return tl::unexpected<failure>{listener.error()};
  out->listener_ = std::move(*listener);
  out->port_ = port_of(out->listener_);
  return out;
}

gate::gate(gate_settings settings, std::function<std::int64_t()> wall_ms)
  : settings_(std::move(settings)), wall_ms_(std::move(wall_ms)),
    wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
    context_(fail(errc::internal, "not read yet")),
    open_(std::make_shared<std::atomic<std::size_t>>(0)) {
  // nop
}

gate::~gate() {
  stop();
}

void gate::start(admission admit) {
  admit_ = std::move(admit);
  thread_ = std::thread{[this] { run(); }};
}

void gate::stop() {
  done_ = true;
  ::eventfd_write(wake_.get(), 1);
  if (thread_.joinable())
    thread_.join();
  admit_ = nullptr;
  handshakes_.clear();
  listener_ = socket_handle{};
}

// -- the thread ---------------------------------------------------------------

void gate::run() {
  while (!done_) {
    auto has_guests = wait();
    auto now = clock::now();
    for (auto& x : handshakes_)
      if (x.is_ready)
        advance(x);
    std::erase_if(handshakes_, [](auto& x) { return x.awaited == 0; });
    if (has_guests)
      accept_some(now);
    expire(now);
    tell_left_out(now);
  }
  tell_left_out(time_point::max());
}

bool gate::wait() {
  auto now = clock::now();
  std::vector<pollfd> ends{{wake_.get(), POLLIN, 0}};
  // One that is not polled is no descriptor, but keeps its place.
  ends.push_back({now < rest_until_ ? -1 : listener_.get(), POLLIN, 0});
  for (auto& x : handshakes_)
    ends.push_back({x.connection.socket.get(), x.awaited, 0});
  ::poll(ends.data(), ends.size(), patience(now));
  auto end = ends.begin() + 2;
  for (auto& x : handshakes_)
    x.is_ready = (end++)->revents != 0;
  return (ends[1].revents & POLLIN) != 0;
}

int gate::patience(time_point now) const {
  auto next = now + std::chrono::hours(1);
  // The oldest stands first, and all have the same time.
  if (!handshakes_.empty())
    next = std::min(next, handshakes_.front().limit);
  if (now < rest_until_)
    next = std::min(next, rest_until_);
  if (log_.has_left_out())
    next = std::min(next, now + log_limit::window);
  return milliseconds_left(next);
}

void gate::accept_some(time_point now) {
  for (int i = 0; i < accepted_at_once; ++i) {
    auto socket = accept_from(listener_);
    if (socket) {
      begin(std::move(socket), now);
    } else if (errno == EAGAIN) {
      return;
    } else if (errno != EINTR && errno != ECONNABORTED) {
      refuse("somebody",
             fmt::format("cannot accept: {}", std::strerror(errno)));
      rest_until_ = now + rest;
      return;
    }
  }
}

void gate::begin(socket_handle socket, time_point now) {
  auto [host, port] = peer_of(socket.get());
  auto peer = show_address(host, port);
  if (*open_ >= settings_.max_connections)
    return refuse(peer, fmt::format("node.max-connections = {} are open",
                                    settings_.max_connections));
  auto with = context();
  if (!with)
    return refuse(peer, with.error().message);
  openssl_ptr<SSL> session{SSL_new(*with)};
  if (!session || !attach(session.get(), socket.get()))
    return refuse(peer, take_openssl_error());
  if (handshakes_.size() >= settings_.max_handshakes) {
    drop_oldest(fmt::format("node.max-handshakes = {} are under way, and this "
                            "one took longest",
                            settings_.max_handshakes));
  }
  SSL_set_accept_state(session.get());
  auto& x = handshakes_.emplace_back();
  SSL_set_app_data(session.get(), &x);
  x.connection.socket = std::move(socket);
  x.connection.session = std::move(session);
  x.peer = std::move(peer);
  x.limit = now + settings_.handshake_timeout;
  x.awaited = POLLIN;
}

void gate::advance(handshake& x) {
  if (x.is_refused)
    return see_off(x);
  auto* session = x.connection.session.get();
  ERR_clear_error();
  auto result = SSL_accept(session);
  switch (SSL_get_error(session, result)) {
    case SSL_ERROR_WANT_READ:
      x.awaited = POLLIN;
      return;
    case SSL_ERROR_WANT_WRITE:
      x.awaited = POLLOUT;
      return;
    default:
      x.awaited = 0;
  }
  if (result != 1) {
    refuse(x.peer, reason_of(session, x.name));
    // Were it closed now, with something unread, the other side might hear of
    // a broken connection before it reads why.
    ::shutdown(x.connection.socket.get(), SHUT_WR);
    x.is_refused = true;
    x.awaited = POLLIN;
    return;
  }
  // What was counted when it came may have been let in meanwhile.
  if (open_->fetch_add(1) >= settings_.max_connections) {
    --*open_;
    refuse(x.peer, fmt::format("node.max-connections = {} are open",
                               settings_.max_connections));
    return;
  }
  x.connection.token = {nullptr, [count = open_](void*) { --*count; }};
  SSL_set_app_data(session, nullptr);
  admit_(std::move(x.connection));
}

void gate::expire(time_point now) {
  while (!handshakes_.empty() && now >= handshakes_.front().limit) {
    drop_oldest(fmt::format("no handshake within node.handshake-timeout = {} "
                            "ms",
                            settings_.handshake_timeout.count()));
  }
}

void gate::see_off(handshake& x) {
  std::array<char, 4'096> unread;
  auto size
    = ::recv(x.connection.socket.get(), unread.data(), unread.size(), 0);
  if (size < 0 && (errno == EAGAIN || errno == EINTR))
    return;
  x.unread_bytes += static_cast<std::size_t>(std::max<ssize_t>(size, 0));
  if (size <= 0 || x.unread_bytes > max_unread_bytes)
    x.awaited = 0;
}

void gate::drop_oldest(std::string_view why) {
  auto& oldest = handshakes_.front();
  if (!oldest.is_refused)
    refuse(oldest.peer, why);
  handshakes_.pop_front();
}

void gate::refuse(const std::string& peer, std::string_view why) {
  if (log_.pass(clock::now()))
    spdlog::warn("refused a connection from {}: {}", peer, why);
}

void gate::tell_left_out(time_point now) {
  if (auto count = log_.take_left_out(now); count > 0)
    spdlog::warn("refused {} more connections, and did not log each", count);
}

// -- certificates -------------------------------------------------------------

expected<SSL_CTX*> gate::context() {
  auto version = look_at_revoked();
  // A file that cannot be used may be fine the next time.
  if (!context_ || version != version_) {
    version_ = version;
    context_ = load_node(settings_.folder, wall_ms_()).map([](identity x) {
      SSL_CTX_set_verify(x.context.get(),
                         SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                         check_certificate);
      return std::move(x.context);
    });
  }
  if (!context_)
    return tl::unexpected<failure>{context_.error()};
  return context_->get();
}

gate::file_version gate::look_at_revoked() const {
  struct stat info {};
  auto path = settings_.folder + "/" + tls_file::revoked;
  if (::stat(path.c_str(), &info) != 0)
    return {};
  return {info.st_ino,
          info.st_mtim.tv_sec * 1'000'000'000LL + info.st_mtim.tv_nsec};
}

int gate::check_certificate(int is_fine, X509_STORE_CTX* store) {
  // OpenSSL has decided; this notes whom it was about, for the log.
  auto* session = static_cast<SSL*>(
    X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  auto* x = static_cast<handshake*>(SSL_get_app_data(session));
  if (is_fine == 0 && x != nullptr)
    x->name = name_in(X509_STORE_CTX_get0_cert(store));
  return is_fine;
}

} // namespace muster
