// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/process/socket_port.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <unistd.h>

namespace muster::test {

/// What is at a path, and how it takes those who connect from now on.
struct peer_script {
  /// Why nobody can connect, if it is so.
  std::optional<failure> refused;
  /// Whether its queue is full, so that a connection never stands.
  bool is_full = false;
  peer_credentials who{4'711, ::geteuid()};
  /// How late all comes that it does. What it does late is lost if the
  /// connection ends before.
  std::chrono::milliseconds delay{0};
  /// Whether it reads at all; if not, what is sent waits.
  bool reads = true;
  /// What it does with a frame; nothing means that it is silent. It may use
  /// the port, such as `say` and `hang_up`.
  std::function<void(connection_id, const std::string&)> on_frame;
};

/// Sockets that exist in memory alone, and whose other ends do what a test
/// tells them to. Time goes on when the test says so, and listeners are called
/// in its thread: at once, one after the other, or when the time has come.
class scripted_sockets : public socket_port {
public:
  // -- the port ---------------------------------------------------------------

  expected<connection_id> connect(const std::string& path,
                                  socket_listener listener) override;

  expected<void> listen(connection_id id, socket_listener listener) override;

  expected<void> send(connection_id id, std::string frame) override;

  std::uint64_t heard(connection_id id) const override;

  void close(connection_id id) override;

  std::size_t size() const override;

  void stop() override;

  // -- what the test decides --------------------------------------------------

  /// What is at each path; at others is nothing.
  std::map<std::string, peer_script> peers;

  socket_limits limits;

  /// The other end says something. Ignored if the connection is over.
  void say(connection_id id, const std::string& text);

  /// The other end ends the connection. Ignored if it is over.
  void hang_up(connection_id id,
               failure why = {errc::connection_lost, "it hung up"});

  /// Time goes by: what is late arrives, and who waits too long has failed.
  void advance(std::chrono::milliseconds time);

  /// The holder is gone: all connections are over, and nobody connects.
  void lose_holder();

  /// The holder dies and another one begins: all connections are over, and
  /// nobody hears of it.
  void restart_holder();

  // -- what the test sees -----------------------------------------------------

  /// All frames that were sent and not refused, with the path that they went
  /// to.
  std::vector<std::pair<std::string, std::string>> sent;

  /// All paths that somebody connected to, also in vain.
  std::vector<std::string> connected;

  /// Whether a connection is neither closed nor over.
  [[nodiscard]] bool has(connection_id id) const {
    return connections_.contains(id);
  }

  /// Connections to a path that are neither closed nor over.
  [[nodiscard]] std::vector<connection_id> at(const std::string& path) const;

private:
  struct connection {
    std::string path;
    std::chrono::milliseconds delay{0};
    socket_listener listener;
    bool is_open = false;
    std::size_t waiting_bytes = 0;
    std::uint64_t heard = 0;
    /// Frames for the other end, which come once the connection stands.
    std::vector<std::string> early;
  };

  /// Lets something happen, after all that happens before it.
  void later(std::chrono::milliseconds delay, std::function<void()> what);

  /// Lets all happen whose time has come.
  void run();

  void open(connection_id id, const peer_credentials& who);

  void tell(connection_id id, socket_event event);

  void end(connection_id id, failure why);

  /// Lets the other end have a frame.
  void hand_over(connection_id id, const std::string& frame);

  std::map<connection_id, connection> connections_;
  connection_id last_id_ = 0;
  /// What happens when; equal times in the order in which they were planned.
  std::multimap<std::chrono::milliseconds, std::function<void()>> plan_;
  std::chrono::milliseconds now_{0};
  bool is_running_ = false;
  bool done_ = false;
};

} // namespace muster::test
