// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "tests/support/scripted_processes.hpp"
#include "tests/support/scripted_sockets.hpp"

#include "actors/pool/worker_core.hpp"

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace muster::test {

/// Worker processes that run in this one: what each of them decides is the real
/// thing, and its process and its sockets are scripted. They work when the test
/// lets them.
class simulated_workers : public scripted_processes {
public:
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

  /// Lets every worker run one slice of its script.
  /// @returns whether any of them had something to do.
  bool work();

  /// A second goes by for the workers.
  void beat();

  /// A worker dies of a signal.
  void die(const std::string& sid, int signal = 9);

  /// All of them die: the power is cut.
  void die_all();

  /// A worker does nothing any more, like one that was stopped with SIGSTOP.
  void hang(const std::string& sid);

  /// The node dies: all connections are over, and the workers go on.
  void restart_node();

  // -- what the test sees -----------------------------------------------------

  /// The ids of those that live.
  [[nodiscard]] std::vector<std::string> living();

  [[nodiscard]] worker_standing standing(const std::string& sid) const;

  /// How many were started in all.
  [[nodiscard]] std::size_t started() const {
    return workers_.size();
  }

private:
  struct worker {
    std::string sock;
    process_identity who;
    std::unique_ptr<worker_core> core;
    bool hangs = false;
  };

  [[nodiscard]] bool lives(const worker& x);

  void perform(const std::string& sid, worker_effects effects);

  /// Ends the connections of those that have ended.
  void clean();

  strategy_clocks clocks_;
  std::map<std::string, worker> workers_;
};

} // namespace muster::test
