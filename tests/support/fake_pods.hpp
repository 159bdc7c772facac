// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "tests/support/scripted_processes.hpp"
#include "tests/support/scripted_sockets.hpp"

#include "actors/pod/pod_protocol.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace muster::test {

/// A pod that a test plays.
struct fake_pod {
  std::string id;
  std::string folder;
  process_identity who;
  bool is_plain = false;
  /// Whether it answers nothing, like one that was stopped with SIGSTOP.
  bool is_silent = false;
  /// Whether it refuses runs, as one does that runs a turn.
  bool is_busy = false;
  /// Whether it confirms what it is told.
  bool confirms = true;
  /// Whether it ends when it is asked to.
  bool obeys = true;
  std::uint64_t turns = 0;
  std::uint64_t last_event = 0;
  /// What it said that was not confirmed, by number; said again on the next
  /// connection.
  std::map<std::uint64_t, pod::from_pod> unconfirmed;
  /// Runs that it has accepted, with their turns.
  std::map<std::string, std::uint64_t> runs;
  /// What it was given to do, also what it refused.
  std::vector<std::string> texts;
  /// What it was told, each time.
  std::vector<pod::to_pod> told;
  std::vector<pod::result> results;
};

/// Processes that are pods, with their sockets and with what they leave behind.
/// One that ends takes its connections along.
class fake_pods : public scripted_processes {
public:
  // -- the port ---------------------------------------------------------------

  expected<process_identity> start(const process_order& order,
                                   process_listener listener) override;

  expected<void> send(const process_identity& who, int signal) override;

  // -- what the test decides --------------------------------------------------

  std::shared_ptr<scripted_sockets> sockets
    = std::make_shared<scripted_sockets>();

  /// Called for each pod that starts.
  std::function<void(fake_pod&)> on_start;

  /// A pod dies.
  void die(const std::string& id);

  /// A pod stops to answer, and hears SIGKILL alone.
  void silence(const std::string& id);

  /// A pod starts a process of its own, which outlives it.
  process_identity leave_behind(const std::string& id);

  /// A pod says that it has ended a turn, or that one has failed.
  void end_turn(const std::string& id);

  void fail_turn(const std::string& id, const std::string& message);

  /// A pod says something on each of its connections.
  void say(const std::string& id, const pod::from_pod& what);

  /// What processes do that were started as a pod: they are killed.
  void kill(const process_identity& who);

  using scripted_processes::say;

  // -- what the test sees -----------------------------------------------------

  /// Pods by id, also those that have ended.
  std::map<std::string, fake_pod> pods;

  [[nodiscard]] bool lives(const std::string& id);

  /// The processes that were started as a pod or by it, and run.
  [[nodiscard]] std::vector<process_identity>
  processes_of(const std::string& id);

  /// The same for all that run.
  [[nodiscard]] std::map<std::string, std::vector<process_identity>> all();

private:
  /// Ends the connections of a pod, if it has ended.
  void clean(const std::string& id);

  void on_frame(const std::string& id, connection_id on,
                const std::string& frame);

  std::map<process_identity, std::string> ids_;
  std::map<std::string, std::vector<process_identity>> left_;
};

} // namespace muster::test
