// SPDX-License-Identifier: Apache-2.0

#include "actors/remote/connect.hpp"

#include "actors/remote/tls_scribe.hpp"

#include <caf/all.hpp>
#include <caf/io/all.hpp>
#include <fmt/format.h>
#include <openssl/err.h>

#include <memory>
#include <thread>
#include <utility>

#include <poll.h>

namespace muster {

namespace {

/// Before it is tried again behind a connection that broke while it began.
constexpr auto pause = std::chrono::milliseconds(100);

/// What a failed handshake means for a client.
/// @param error what OpenSSL calls the kind of the failure.
failure refusal(const std::string& where, SSL* session, int error,
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
  // A node that dies, or has too many connections, hangs up.
  if (error == SSL_ERROR_SYSCALL
      || note.find("unexpected eof") != std::string::npos)
    return {
      errc::connection_lost,
      fmt::format("what listens on {} hung up before it answered", where)};
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
        refusal(where, session, error, take_openssl_error())};
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

/// What it means that the framework did not find a node.
/// @param note what TLS said of the connection.
failure not_found_because(const caf::actor_system& system,
                          const caf::error& error, const std::string& where,
                          const std::string& note) {
  if (error == caf::sec::request_timeout)
    return {
      errc::unreachable,
      fmt::format("no node answers on {} in time; is it running?", where)};
  if (error == caf::sec::cannot_connect_to_node)
    return {errc::unreachable,
            fmt::format("no node answers on {}; is it running?", where)};
  // Of a refused certificate one hears behind the handshake only.
  if (note.find("alert") != std::string::npos)
    return {errc::not_allowed,
            fmt::format("the node at {} refuses the certificate: {}; ask for "
                        "another one, made with 'muster tls issue'",
                        where, note)};
  return {errc::connection_lost,
          fmt::format("what listens on {} hung up before it answered: {}",
                      where, note.empty() ? system.render(error) : note)};
}

/// Waits for what the broker has found on the other side of a connection.
/// @param note what TLS says of the connection meanwhile.
template <class Handle>
expected<remote_actor> receive_remote(const caf::actor_system& system,
                                      Handle response, const std::string& where,
                                      const std::string& note) {
  expected<remote_actor> out;
  response.receive(
    [&](const caf::node_id&, caf::strong_actor_ptr& whom,
        std::set<std::string>& interface) {
      out = remote_actor{std::move(whom), std::move(interface)};
    },
    [&](const caf::error& error) {
      out = tl::unexpected<failure>{
        not_found_because(system, error, where, note)};
    });
  return out;
}

/// @returns `connection_lost` if the other side hung up before it answered.
expected<remote_actor> connect_once(caf::actor_system& system,
                                    const std::string& host, std::uint16_t port,
                                    const identity& own, time_limit limit) {
  auto where = show_address(host, port);
  caf::scoped_actor self{system};
  auto note = std::make_shared<std::string>();
  return connect_to(host, port, limit)
    .and_then([&](socket_handle socket) {
      return shake_hands(std::move(socket), own.context.get(), where, limit);
    })
    .and_then([&](tls_connection connection) {
      // A client believes its node.
      auto scribe
        = make_scribe(multiplexer_of(system), std::move(connection), note, {});
      return receive_remote(
        system,
        self->request(
          broker_of(system),
          caf::duration{std::chrono::milliseconds{milliseconds_left(limit)}},
          caf::connect_atom::value, std::move(scribe), port),
        where, *note);
    });
}

/// The same without TLS.
expected<remote_actor>
connect_once_openly(caf::actor_system& system, const std::string& host,
                    std::uint16_t port, time_limit limit) {
  caf::scoped_actor self{system};
  return receive_remote(system,
                        self->request(system.middleman().actor_handle(),
                                      caf::duration{std::chrono::milliseconds{
                                        milliseconds_left(limit)}},
                                      caf::connect_atom::value, host, port),
                        show_address(host, port), {});
}

} // namespace

expected<remote_actor>
connect(caf::actor_system& system, const std::string& host, std::uint16_t port,
        const identity* own, std::chrono::milliseconds patience) {
  auto limit = std::chrono::steady_clock::now() + patience;
  for (;;) {
    auto out = own != nullptr ? connect_once(system, host, port, *own, limit)
                              : connect_once_openly(system, host, port, limit);
    if (out || out.error().code != errc::connection_lost)
      return out;
    // A node that has too much to do hangs up, and nothing was asked of it.
    if (std::chrono::steady_clock::now() + pause >= limit)
      return fail(errc::unreachable, std::move(out.error().message));
    std::this_thread::sleep_for(pause);
  }
}

} // namespace muster
