// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "tests/support/scripted_processes.hpp"
#include "tests/support/scripted_sockets.hpp"

#include "actors/pool/worker_core.hpp"

#include <deque>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace muster::test {

/// Worker processes that run in this one: what each of them decides is the real
/// thing, and its process and its sockets are scripted. They work when the test
/// lets them.
class simulated_workers : public scripted_processes {
public:
  // -- member types -----------------------------------------------------------

  /// A worker that lives.
  struct worker {
    std::string sock;
    process_identity who;
    std::unique_ptr<worker_core> core;
    /// Whether it does nothing at the moment.
    bool hangs = false;
    /// What it was sent meanwhile, and whether it was told to end.
    std::deque<std::pair<connection_id, std::string>> unread;
    bool is_told_to_end = false;
    /// Whether it ends by the first thing that it is told.
    bool dies_at_hello = false;
    /// How late all comes that it says, on connections that begin now.
    std::chrono::milliseconds delay{0};
    /// When the last node left it, or when it began.
    std::int64_t alone_since_ns = 0;
    /// How long it waits for the first node, and for another one.
    std::chrono::milliseconds greet_timeout{0};
    std::chrono::milliseconds orphan_timeout{0};
  };

  // -- constructors -----------------------------------------------------------

  /// @param clocks what their scripts see.
  explicit simulated_workers(strategy_clocks clocks)
    : clocks_(std::move(clocks)) {
    // nop
  }

  // -- the port ---------------------------------------------------------------

  expected<process_identity> start(const process_order& order,
                                   process_listener listener) override;

  expected<void> send(const process_identity& who, int signal) override;

  // -- what the test decides --------------------------------------------------

  std::shared_ptr<scripted_sockets> sockets
    = std::make_shared<scripted_sockets>();

  /// What those that start from now on are a version of.
  std::string version = "test";

  /// How many of those that start from now on end by the first thing that they
  /// are told.
  std::size_t dying_at_hello = 0;

  /// Lets every worker run one slice of its script.
  /// @returns whether any of them had something to do.
  bool work();

  /// The same for one of them, that chance picks.
  bool work_one(std::mt19937_64& random);

  /// A second goes by for the workers. Those that no node has needed for too
  /// long end.
  void beat();

  /// A worker can be spoken to, and says that it is ready.
  void become_ready(const std::string& sid);

  /// A worker dies of a signal.
  void die(const std::string& sid, int signal = 9);

  /// All of them die.
  void die_all();

  /// The power is cut: no process is left, and the node is gone as well.
  void cut_power();

  /// A worker does nothing any more, like one that was stopped with SIGSTOP.
  void hang(const std::string& sid);

  /// One that hangs goes on with what it was sent meanwhile.
  void wake(const std::string& sid);

  /// What a worker says comes late, on connections that begin now.
  void delay(const std::string& sid, std::chrono::milliseconds time);

  /// Another program takes the socket of a worker that is gone, and says what a
  /// worker would say.
  /// @param pid what it gets, if that is free.
  void usurp(const std::string& sock, std::int32_t pid);

  /// The node dies: all connections are over, and the workers go on. Whatever
  /// the node still does reaches nobody.
  void lose_node();

  /// Another node begins.
  void restart_node();

  // -- what the test sees -----------------------------------------------------

  /// The ids of those that live.
  [[nodiscard]] std::vector<std::string> living() const;

  [[nodiscard]] const std::map<std::string, worker>& all() const {
    return workers_;
  }

  [[nodiscard]] worker_standing standing(const std::string& sid) const;

  /// Who was started, in order.
  std::vector<std::pair<std::string, process_identity>> begun;

  /// How many were started in all.
  [[nodiscard]] std::size_t started() const {
    return begun.size();
  }

private:
  /// Lets others connect to it.
  void listen(const std::string& sid, worker& x);

  void perform(const std::string& sid, worker_effects effects);

  /// Takes out those that have ended.
  void clean();

  strategy_clocks clocks_;
  std::map<std::string, worker> workers_;
  std::map<process_identity, worker_core> usurpers_;
};

} // namespace muster::test
