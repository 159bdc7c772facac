// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/remote/identity.hpp"
#include "actors/remote/log_limit.hpp"
#include "actors/remote/settings.hpp"
#include "actors/remote/socket.hpp"
#include "actors/remote/tls_connection.hpp"

#include "messages/errors.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include <sys/stat.h>

namespace muster {

/// The port of a node. Lets in who shows a certificate of our authority;
/// whoever does not never reaches the framework, whose own protocol can be
/// crashed by a malformed packet. Has a thread of its own, so that strangers
/// keep nobody waiting but one another.
///
/// The files are read again when the list of revoked certificates has changed,
/// and while they cannot be used, nobody is let in.
class gate {
public:
  // -- member types -----------------------------------------------------------

  /// Takes a connection over, in the thread of the gate.
  using admission = std::function<void(tls_connection)>;

  // -- constructors and destructors -------------------------------------------

  /// Reads all files and opens the port.
  /// @param wall_ms the clock that certificates are checked by.
  /// @returns `bad_certificate`, naming the file, `in_use` if the port is
  ///          taken, or `invalid_argument` if it cannot be had otherwise.
  [[nodiscard]] static expected<std::unique_ptr<gate>>
  open(gate_settings settings, std::function<std::int64_t()> wall_ms);

  /// Closes the port, and what has not been admitted.
  ~gate();

  gate(const gate&) = delete;

  gate& operator=(const gate&) = delete;

  /// Begins to let others in.
  void start(admission admit);

  /// Closes the port. Nobody is admitted behind this.
  void stop();

  // -- properties -------------------------------------------------------------

  [[nodiscard]] std::uint16_t port() const {
    return port_;
  }

  /// See `gate_settings`.
  [[nodiscard]] std::size_t max_message_bytes() const {
    return settings_.max_message_bytes;
  }

private:
  // -- member types -----------------------------------------------------------

  using time_point = std::chrono::steady_clock::time_point;

  /// A connection that is not let in yet.
  struct handshake {
    tls_connection connection;
    std::string peer;
    time_point limit;
    /// What `poll` has to wait for.
    short awaited = 0;
    bool is_ready = false;
    /// Whether it was refused, and stays only to hear why.
    bool is_refused = false;
    /// What it has sent since.
    std::size_t unread_bytes = 0;
    /// Whose certificate was refused, if it came to that.
    std::string name;
  };

  /// What tells one state of a file from another.
  struct file_version {
    ino_t number = 0;
    std::int64_t changed_ns = 0;

    friend bool operator==(const file_version&, const file_version&) = default;
  };

  // -- constructors -----------------------------------------------------------

  gate(gate_settings settings, std::function<std::int64_t()> wall_ms);

  // -- implementation details -------------------------------------------------

  void run();

  /// Waits until there is something to do.
  /// @returns whether somebody wants to come in.
  bool wait();

  [[nodiscard]] int patience(time_point now) const;

  void accept_some(time_point now);

  void begin(socket_handle socket, time_point now);

  /// Goes on with a handshake; it is over if `awaited` is 0 behind this.
  void advance(handshake& x);

  /// Takes what somebody still says who was refused.
  void see_off(handshake& x);

  /// Ends the oldest, who has not come through.
  /// @param why is told to the log, unless it was refused before.
  void drop_oldest(std::string_view why);

  void expire(time_point now);

  /// Says why somebody was not let in.
  void refuse(const std::string& peer, std::string_view why);

  /// Says how many lines the log was spared.
  void tell_left_out(time_point now);

  /// The files as they are now.
  [[nodiscard]] expected<SSL_CTX*> context();

  [[nodiscard]] file_version look_at_revoked() const;

  static int check_certificate(int is_fine, X509_STORE_CTX* store);

  // -- member variables -------------------------------------------------------

  gate_settings settings_;
  std::function<std::int64_t()> wall_ms_;
  socket_handle listener_;
  std::uint16_t port_ = 0;
  /// Wakes the thread.
  socket_handle wake_;

  // Of the thread, once it runs.
  expected<openssl_ptr<SSL_CTX>> context_;
  file_version version_;
  std::list<handshake> handshakes_;
  /// Alive as long as the connections that it counts.
  std::shared_ptr<std::atomic<std::size_t>> open_;
  log_limit log_;
  /// Until then nobody is accepted, because the last attempt failed.
  time_point rest_until_{};
  admission admit_;
  std::atomic<bool> done_{false};
  std::thread thread_;
};

} // namespace muster
