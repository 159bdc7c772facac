// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/process/io_loop.hpp"
#include "actors/process/unix_socket.hpp"

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace muster {

/// The unix sockets of the operating system. The thread of a loop connects and
/// reads them, writes what they do not take at once, and calls the listeners.
class system_sockets : public socket_port {
public:
  // -- constants --------------------------------------------------------------

  /// How long a full queue of the other side gets before the next attempt.
  static constexpr auto retry_after = std::chrono::milliseconds(5);

  // -- constructors and destructors -------------------------------------------

  explicit system_sockets(std::shared_ptr<io_loop> loop,
                          socket_limits limits = {});

  ~system_sockets() override;

  // -- the port ---------------------------------------------------------------

  expected<connection_id> connect(const std::string& path,
                                  socket_listener listener) override;

  expected<void> listen(connection_id id, socket_listener listener) override;

  expected<void> send(connection_id id, std::string frame) override;

  std::uint64_t heard(connection_id id) const override;

  void close(connection_id id) override;

  std::size_t size() const override;

  /// Must not be called by what the loop calls: it waits for its thread.
  void stop() override;

private:
  // -- member types -----------------------------------------------------------

  using clock = io_loop::clock;

  /// Guarded by the lock, but for what the loop's thread alone may touch: it
  /// reads without the lock. So another thread that takes a connection out of
  /// the map keeps the socket until that thread has settled.
  struct connection {
    connection(connection_id number, std::string where,
               const socket_limits& limits)
      : id(number), path(std::move(where)), in(limits.max_frame_bytes),
        out(limits.max_waiting_bytes) {
      // nop
    }

    connection_id id;
    std::string path;
    sockaddr_un address{};
    descriptor socket;
    /// None once it was closed, or is over.
    std::shared_ptr<socket_listener> listener;
    /// Frames that have come.
    std::atomic<std::uint64_t> heard{0};
    /// For the loop's thread alone.
    frame_buffer in;
    line_queue out;
    clock::time_point connect_limit;
    bool is_open = false;
    /// Whether the loop waits until the socket takes more.
    bool is_stuck = false;
    /// Whether the socket takes no more for ever.
    bool is_broken = false;
    /// What the loop waits for: the socket, its next turn without that, and
    /// the time by which it is over though something waits.
    io_loop::key ready = 0;
    io_loop::key turn = 0;
    io_loop::key limit = 0;
  };

  using connection_ptr = std::shared_ptr<connection>;

  // -- in the loop's thread ---------------------------------------------------

  /// Tries to connect.
  void attempt(connection_id id);

  void on_ready(connection_id id);

  /// Ends one that was closed and could not send what waits in time.
  void on_late(connection_id id);

  /// Looks at a connection again, though its socket may say nothing.
  void serve_again(connection& x);

  /// @returns false if nobody listens any more.
  bool tell(connection& x, socket_event event);

  /// Ends a connection, and tells why.
  void end(connection& x, failure why);

  // -- under the lock ---------------------------------------------------------

  [[nodiscard]] connection_ptr find(connection_id id) const;

  /// Takes a connection out, so that nothing finds it any more.
  void remove(connection& x);

  /// Whether a connection was closed, and nothing of it can be sent any more.
  [[nodiscard]] static bool is_done(const connection& x);

  [[nodiscard]] io_loop::key call_on_ready(connection_id id);

  /// Writes what waits, as far as the socket takes it.
  void flush(connection& x);

  // -- member variables -------------------------------------------------------

  std::shared_ptr<io_loop> loop_;
  const socket_limits limits_;
  /// Guards what follows.
  mutable std::mutex mutex_;
  bool done_ = false;
  connection_id last_id_ = 0;
  std::map<connection_id, connection_ptr> connections_;
};

} // namespace muster
