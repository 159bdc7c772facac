// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "tests/support/scripted_processes.hpp"
#include "tests/support/scripted_sockets.hpp"

#include "actors/pool/worker_protocol.hpp"

#include <functional>
#include <map>
#include <memory>
#include <string>

namespace muster::test {

/// A worker process that a test plays.
struct fake_worker {
  std::string sid;
  std::string sock;
  std::string nonce;
  std::string version = "1.0";
  /// Whether it greets nodes of other versions, too.
  bool greets_all = false;
  process_identity who;
  /// The pid that the kernel would say; 0 stands for its own.
  std::int32_t peer_pid = 0;
  worker_standing standing;
  /// Whether it answers nothing, like one that was stopped with SIGSTOP.
  bool is_silent = false;
};

/// Processes that are workers, with their sockets. One that ends takes its
/// connections along, and leaves its socket to whoever removes that.
class fake_workers : public scripted_processes {
public:
  // -- the port ---------------------------------------------------------------

  expected<process_identity> start(const process_order& order,
                                   process_listener listener) override;

  expected<void> send(const process_identity& who, int signal) override;

  // -- what the test decides --------------------------------------------------

  std::shared_ptr<scripted_sockets> sockets
    = std::make_shared<scripted_sockets>();

  /// Called for each worker that starts.
  std::function<void(fake_worker&)> on_start;

  /// A worker dies.
  void die(const std::string& sid);

  /// A worker stops to answer, and hears SIGKILL alone.
  void silence(const std::string& sid);

  /// Puts a process at the path of a socket that was there before the test.
  void put(fake_worker x);

  // -- what the test sees -----------------------------------------------------

  /// Workers by id, also those that have ended.
  std::map<std::string, fake_worker> workers;

  [[nodiscard]] bool lives(const std::string& sid);

  /// Those that live.
  [[nodiscard]] std::size_t living();

private:
  /// Ends the connections of a worker, if it has ended.
  void clean(const std::string& sid);

  void on_frame(const std::string& sid, connection_id id,
                const std::string& frame);

  std::map<process_identity, std::string> sids_;
};

} // namespace muster::test
