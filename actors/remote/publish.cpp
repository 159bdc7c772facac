// SPDX-License-Identifier: Apache-2.0

#include "actors/remote/publish.hpp"

#include "actors/remote/tls_connection.hpp"
#include "actors/remote/tls_stream.hpp"

#include <caf/all.hpp>
#include <caf/io/all.hpp>
#include <caf/io/basp_broker.hpp>
#include <caf/io/network/default_multiplexer.hpp>
#include <caf/io/network/stream_impl.hpp>
#include <fmt/format.h>
#include <openssl/err.h>
#include <spdlog/spdlog.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include <poll.h>

namespace muster {

namespace {

namespace net = caf::io::network;

constexpr const char* loopback = "127.0.0.1";

// -- what the framework sees of a connection ----------------------------------

/// A connection in the hands of the framework.
class tls_scribe final : public caf::io::scribe {
public:
  /// @param socket is closed by the framework; `stream` uses it.
  /// @param is_over see `tls_stream`.
  /// @param max_bytes what the other side may send at once.
  tls_scribe(net::default_multiplexer& multiplexer, int socket,
             tls_stream stream, std::shared_ptr<bool> is_over,
             std::size_t max_bytes)
    : scribe(net::conn_hdl_from_socket(socket)),
      stream_(multiplexer, socket, std::move(stream)), peer_(peer_of(socket)),
      is_over_(std::move(is_over)), max_bytes_(max_bytes) {
    // nop
  }

  void configure_read(caf::io::receive_policy::config config) override {
    // The framework makes room for all of it before the first byte is there.
    if (config.second > max_bytes_) {
      spdlog::warn("closed the connection of {}: it is about to send {} bytes "
                   "at once, more than twice node.max-message",
                   show_address(peer_.first, peer_.second), config.second);
      *is_over_ = true;
      config = caf::io::receive_policy::exactly(1);
    }
    stream_.configure_read(config);
    if (!std::exchange(is_started_, true))
      stream_.start(this);
  }

  void ack_writes(bool enable) override {
    stream_.ack_writes(enable);
  }

  std::vector<char>& wr_buf() override {
    return stream_.wr_buf();
  }

  std::vector<char>& rd_buf() override {
    return stream_.rd_buf();
  }

  void flush() override {
    stream_.flush(this);
  }

  void graceful_shutdown() override {
    stream_.graceful_shutdown();
    detach(&stream_.backend(), false);
  }

  void add_to_loop() override {
    stream_.activate(this);
  }

  void remove_from_loop() override {
    stream_.passivate();
  }

  std::string addr() const override {
    return peer_.first;
  }

  std::uint16_t port() const override {
    return peer_.second;
  }

private:
  net::stream_impl<tls_stream> stream_;
  std::pair<std::string, std::uint16_t> peer_;
  std::shared_ptr<bool> is_over_;
  std::size_t max_bytes_;
  bool is_started_ = false;
};

caf::io::scribe_ptr
make_scribe(net::default_multiplexer& multiplexer, tls_connection connection,
            std::shared_ptr<std::string> why, std::size_t max_bytes) {
  auto is_over = std::make_shared<bool>(false);
  tls_stream stream{std::move(connection.session), std::move(connection.token),
                    std::move(why), is_over};
  return caf::make_counted<tls_scribe>(multiplexer, connection.socket.release(),
                                       std::move(stream), std::move(is_over),
                                       max_bytes);
}

/// Brings what the gate lets in to the framework.
class tls_doorman final : public caf::io::doorman {
public:
  tls_doorman(net::default_multiplexer& multiplexer, gate& by)
    // A number that no socket of the framework has.
    : doorman(caf::io::accept_handle::from_int(-2)), multiplexer_(multiplexer),
      gate_(by) {
    // nop
  }

  void launch() override {
    gate_.start([self = caf::intrusive_ptr<tls_doorman>{this}](
                  tls_connection connection) {
      self->multiplexer_.post([self, guest = std::move(connection)]() mutable {
        self->welcome(std::move(guest));
      });
    });
  }

  bool new_connection() override {
    // Connections come by the gate, not by the loop of the framework.
    return false;
  }

  void graceful_shutdown() override {
    detach(&multiplexer_, false);
  }

  void add_to_loop() override {
    // nop
  }

  void remove_from_loop() override {
    // nop
  }

  std::string addr() const override {
    return loopback;
  }

  std::uint16_t port() const override {
    return gate_.port();
  }

private:
  /// Runs in the loop of the framework.
  void welcome(tls_connection guest) {
    // The system may be about to end.
    if (detached())
      return;
    auto scribe = make_scribe(multiplexer_, std::move(guest), nullptr,
                              2 * gate_.max_message_bytes());
    auto handle = scribe->hdl();
    parent()->add_scribe(std::move(scribe));
    doorman::new_connection(&multiplexer_, handle);
  }

  net::default_multiplexer& multiplexer_;
  gate& gate_;
};

net::default_multiplexer& multiplexer_of(caf::actor_system& system) {
  return static_cast<net::default_multiplexer&>(system.middleman().backend());
}

/// The actor of the framework that speaks its protocol.
caf::actor broker_of(caf::actor_system& system) {
  return system.middleman().named_broker<caf::io::basp_broker>(
    caf::atom("BASP"));
}

// -- handshakes ---------------------------------------------------------------

/// What a failed handshake means for a client.
failure refusal(const std::string& where, SSL* session,
                const std::string& note) {
  auto verdict = SSL_get_verify_result(session);
  if (verdict != X509_V_OK)
    return {errc::not_allowed,
            fmt::format("what answers on {} is not the node that the "
                        "certificates are for: {}",
                        where, X509_verify_cert_error_string(verdict))};
  if (note.find("alert") != std::string::npos)
    return {errc::not_allowed,
            fmt::format("the node at {} refuses the certificate: {}; ask for "
                        "another one, made with 'muster tls issue'",
                        where, note)};
  return {errc::version_mismatch,
          fmt::format("what answers on {} does not speak TLS as a node does{}",
                      where, note.empty() ? "" : ": " + note)};
}

/// Goes through the handshake, as the one who has connected.
expected<tls_connection> shake_hands(socket_handle socket, SSL_CTX* context,
                                     const std::string& where,
                                     time_limit limit) {
  tls_connection out{std::move(socket), openssl_ptr<SSL>{SSL_new(context)},
                     nullptr};
  auto* session = out.session.get();
  if (session == nullptr || !attach(session, out.socket.get()))
    return fail(errc::internal, take_openssl_error());
  for (;;) {
    ERR_clear_error();
    auto result = SSL_connect(session);
    if (result == 1)
      return out;
    auto error = SSL_get_error(session, result);
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE)
      return tl::unexpected<failure>{
        refusal(where, session, take_openssl_error())};
    pollfd end{
      out.socket.get(),
      static_cast<short>(error == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT), 0};
    ::poll(&end, 1, milliseconds_left(limit));
    if (std::chrono::steady_clock::now() >= limit)
      return fail(
        errc::unreachable,
        fmt::format("no node answers on {} in time; is it running?", where));
  }
}

/// Waits for what the broker has found on the other side of a connection.
template <class Handle>
expected<remote_actor> receive_remote(Handle response, const std::string& where,
                                      const std::string* why) {
  expected<remote_actor> out;
  response.receive(
    [&](const caf::node_id&, caf::strong_actor_ptr& whom,
        std::set<std::string>& interface) {
      out = remote_actor{std::move(whom), std::move(interface)};
    },
    [&](const caf::error& error) {
      auto in_time = error != caf::sec::request_timeout;
      // Of a refused certificate one hears behind the handshake only.
      if (why != nullptr && why->find("alert") != std::string::npos)
        out = fail(errc::not_allowed,
                   fmt::format("the node at {} refuses the certificate: {}; "
                               "ask for another one, made with 'muster tls "
                               "issue'",
                               where, *why));
      else
        out = fail(errc::unreachable,
                   fmt::format("no node answers on {}{}; is it running?", where,
                               in_time ? "" : " in time"));
    });
  return out;
}

} // namespace

// -- a node -------------------------------------------------------------------

void publish(caf::actor_system& system, caf::strong_actor_ptr whom,
             std::set<std::string> interface, gate& by) {
  caf::io::doorman_ptr door
    = caf::make_counted<tls_doorman>(multiplexer_of(system), by);
  caf::anon_send(broker_of(system), caf::publish_atom::value, std::move(door),
                 by.port(), std::move(whom), std::move(interface));
}

expected<std::uint16_t>
publish_insecurely(caf::actor_system& system, caf::strong_actor_ptr whom,
                   std::set<std::string> interface, std::uint16_t port) {
  expected<std::uint16_t> out;
  caf::scoped_actor self{system};
  self
    ->request(system.middleman().actor_handle(), caf::infinite,
              caf::publish_atom::value, port, std::move(whom),
              std::move(interface), std::string{loopback}, true)
    .receive([&](std::uint16_t found) { out = found; },
             [&](const caf::error&) {
               out = fail(errc::in_use,
                          fmt::format("cannot listen on {}; another program "
                                      "may use the port, give another one or 0",
                                      show_address(loopback, port)));
             });
  return out;
}

// -- a client -----------------------------------------------------------------

expected<remote_actor>
connect(caf::actor_system& system, const std::string& host, std::uint16_t port,
        const identity* own, std::chrono::milliseconds patience) {
  auto where = show_address(host, port);
  caf::scoped_actor self{system};
  if (own == nullptr)
    return receive_remote(self->request(system.middleman().actor_handle(),
                                        caf::duration{patience},
                                        caf::connect_atom::value, host, port),
                          where, nullptr);
  auto limit = std::chrono::steady_clock::now() + patience;
  auto why = std::make_shared<std::string>();
  return connect_to(host, port, limit)
    .and_then([&](socket_handle socket) {
      return shake_hands(std::move(socket), own->context.get(), where, limit);
    })
    .and_then([&](tls_connection connection) {
      // A client believes its node.
      auto scribe = make_scribe(multiplexer_of(system), std::move(connection),
                                why, SIZE_MAX);
      return receive_remote(
        self->request(
          broker_of(system),
          caf::duration{std::chrono::milliseconds{milliseconds_left(limit)}},
          caf::connect_atom::value, std::move(scribe), port),
        where, why.get());
    });
}

} // namespace muster
