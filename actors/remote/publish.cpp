// SPDX-License-Identifier: Apache-2.0

#include "actors/remote/publish.hpp"

#include "actors/remote/tls_scribe.hpp"

#include <caf/all.hpp>
#include <caf/io/all.hpp>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <utility>

namespace muster {

namespace {

namespace net = caf::io::network;

constexpr const char* loopback = "127.0.0.1";

void warn(const std::string& peer, std::size_t bytes) {
  spdlog::warn("closed the connection of {}: it is about to send {} bytes at "
               "once, more than twice node.max-message",
               peer, bytes);
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
                              {2 * gate_.max_message_bytes(), warn});
    auto handle = scribe->hdl();
    parent()->add_scribe(std::move(scribe));
    doorman::new_connection(&multiplexer_, handle);
  }

  net::default_multiplexer& multiplexer_;
  gate& gate_;
};

} // namespace

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

} // namespace muster
