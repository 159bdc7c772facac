// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/pool/worker_protocol.hpp"
#include "actors/process/socket_port.hpp"

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>

namespace muster {

/// Runs a strategy in a worker process. What the worker says comes in by its
/// connection; the session is woken and takes it with `advance`.
class worker_host final : public strategy_host {
public:
  // -- constructors and destructors -------------------------------------------

  /// @param connection on which the worker was greeted.
  /// @param settings must outlive the host.
  /// @param patience how long a worker that has something to do may be silent.
  /// @param steady_ns see `environment`.
  /// @param wake makes the session call `advance`; from any thread.
  worker_host(std::shared_ptr<socket_port> sockets, connection_id connection,
              const strategy_settings& settings,
              std::chrono::milliseconds patience,
              std::function<std::int64_t()> steady_ns,
              std::function<void()> wake);

  /// Hears nothing more; the connection is left to whoever gave it.
  ~worker_host() override;

  // -- strategy_host ----------------------------------------------------------

  void start(strategy_start what) override;

  [[nodiscard]] host_report advance() override;

  void resolve(host_result result) override;

  void answer(std::vector<answered_event> answers) override;

  void committed(std::uint64_t seq) override;

  [[nodiscard]] std::vector<log_line> take_logs() override;

  [[nodiscard]] std::uint64_t memory_bytes() const override;

private:
  // -- member types -----------------------------------------------------------

  /// Where the thread of the sockets leaves what came.
  class inbox {
  public:
    explicit inbox(std::function<void()> wake) : wake_(std::move(wake)) {
      // nop
    }

    void put(socket_event event);

    std::optional<socket_event> take();

    /// Wakes nobody any more.
    void close();

  private:
    std::mutex mutex_;
    std::function<void()> wake_;
    std::deque<socket_event> events_;
  };

  // -- implementation details -------------------------------------------------

  void say(std::string frame);

  /// Says the first of them; the others follow when the worker has taken it.
  void say_all(expected<std::vector<std::string>> frames);

  void say_next();

  /// The worker has something to do from now on.
  void expect();

  /// What a worker's message means for the session, if anything.
  std::optional<host_report> on(worker_reply reply);

  // -- member variables -------------------------------------------------------

  std::shared_ptr<socket_port> sockets_;
  connection_id connection_;
  const strategy_settings& settings_;
  std::chrono::milliseconds patience_;
  std::function<std::int64_t()> steady_ns_;
  std::shared_ptr<inbox> inbox_;

  /// Until when the worker has to say something, if it has to.
  std::optional<std::int64_t> limit_ns_;

  /// Frames for which the worker is not ready.
  std::deque<std::string> unsaid_;

  /// Why the worker can be used no more.
  std::optional<failure> lost_;
  bool told_ = false;

  std::vector<log_line> logs_;
  std::uint64_t memory_bytes_ = 0;
};

} // namespace muster
