// SPDX-License-Identifier: Apache-2.0

#include "actors/remote/tls_scribe.hpp"

#include "actors/remote/tls_stream.hpp"

#include <caf/all.hpp>
#include <caf/io/all.hpp>
#include <caf/io/basp_broker.hpp>
#include <caf/io/network/stream_impl.hpp>

#include <atomic>
#include <cstdint>
#include <utility>

namespace muster {

namespace {

namespace net = caf::io::network;

/// A number that no other connection of this process ever has, nor any socket.
/// The framework forgets a connection that has ended some time later, by its
/// handle. Were that the number of the socket, as it is with connections that
/// the framework makes itself, it would take one that came since and has the
/// same socket for the old one, and forget the new one.
caf::io::connection_handle next_handle() {
  constexpr std::int64_t above_all_sockets = std::int64_t{1} << 32;
  static std::atomic<std::int64_t> last{above_all_sockets};
  return caf::io::connection_handle::from_int(++last);
}

/// A connection in the hands of the framework.
class tls_scribe final : public caf::io::scribe {
public:
  /// @param socket is closed by the framework; `stream` uses it.
  /// @param is_over see `tls_stream`.
  tls_scribe(net::default_multiplexer& multiplexer, int socket,
             tls_stream stream, std::shared_ptr<bool> is_over,
             message_limit limit)
    : scribe(next_handle()), stream_(multiplexer, socket, std::move(stream)),
      peer_(peer_of(socket)), is_over_(std::move(is_over)),
      limit_(std::move(limit)) {
    // nop
  }

  void configure_read(caf::io::receive_policy::config config) override {
    // The framework makes room for all of it before the first byte is there.
    if (config.second > limit_.bytes) {
      limit_.tell(show_address(peer_.first, peer_.second), config.second);
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
  message_limit limit_;
  bool is_started_ = false;
};

} // namespace

caf::io::scribe_ptr
make_scribe(net::default_multiplexer& multiplexer, tls_connection connection,
            std::shared_ptr<std::string> why, message_limit limit) {
  auto is_over = std::make_shared<bool>(false);
  tls_stream stream{std::move(connection.session), std::move(connection.token),
                    std::move(why), is_over};
  return caf::make_counted<tls_scribe>(multiplexer, connection.socket.release(),
                                       std::move(stream), std::move(is_over),
                                       std::move(limit));
}

net::default_multiplexer& multiplexer_of(caf::actor_system& system) {
  return static_cast<net::default_multiplexer&>(system.middleman().backend());
}

caf::actor broker_of(caf::actor_system& system) {
  return system.middleman().named_broker<caf::io::basp_broker>(
    caf::atom("BASP"));
}

} // namespace muster
