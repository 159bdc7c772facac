// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/process/process_port.hpp"

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace muster::test {

/// What a scripted process does with a signal that would end it.
enum class obedience {
  /// It ends.
  ends,
  /// It ends by SIGKILL alone.
  ignores_requests,
  /// It does not end at all, like one that hangs in the kernel.
  hangs,
};

/// How the next start goes.
struct process_script {
  /// Why it is refused, if it is.
  std::optional<failure> refused;
  /// What it says at once; nothing means that the test lets it speak, or that
  /// time runs out.
  std::optional<std::string> says;
  obedience on_signal = obedience::ends;
};

/// Processes that exist in memory alone, and do what a test tells them to. Time
/// goes on when the test says so, and listeners are called in its thread.
class scripted_processes : public process_port {
public:
  // -- the port ---------------------------------------------------------------

  expected<process_identity> start(const process_order& order,
                                   process_listener listener) override;

  expected<void> adopt(const process_identity& who,
                       process_listener listener) override;

  expected<void> send(const process_identity& who, int signal) override;

  expected<bool> is_alive(const process_identity& who) override;

  std::size_t size() const override;

  void stop() override;

  // -- what the test decides --------------------------------------------------

  /// Scripts of the starts to come, one each; others say `ready` at once.
  std::deque<process_script> scripts;

  /// How many are held at most.
  std::size_t max_processes = 1'000;

  /// The pid that the next process gets, if it is free.
  std::int32_t next_pid = 1'000;

  /// A process says that it is ready. One that is to become another program
  /// does so, unless its line is one of `show_exec_error`: then it ends.
  void say(const process_identity& who, const std::string& line);

  /// A process ends.
  void end(const process_identity& who, process_exit how);

  /// A process takes signals otherwise from now on.
  void obey(const process_identity& who, obedience how);

  /// A process ends, but whoever holds it is not told yet: a zombie.
  void become_zombie(const process_identity& who);

  /// Time goes by; those that are not ready in time are killed.
  void advance(std::chrono::milliseconds time);

  /// The holder is gone: nobody is held any more, and nothing is started.
  void lose_holder();

  /// The holder dies and another one begins: nobody is held any more, and all
  /// go on that were ready.
  void restart_holder();

  /// The machine starts again: nobody is left, and pids and start times begin
  /// anew.
  void reboot();

  /// A process begins that the holder knows nothing of.
  /// @param pid what it gets, if that is free.
  process_identity begin_stranger(std::int32_t pid);

  // -- what the test sees -----------------------------------------------------

  /// All orders that were not refused.
  std::vector<process_order> orders;

  /// All signals that reached a process.
  std::vector<std::pair<process_identity, int>> signals;

  /// Processes that run.
  [[nodiscard]] std::size_t running() const;

  /// Whether it is held, dead or alive.
  [[nodiscard]] bool is_held(const process_identity& who) const;

  /// One that the holder knew nothing of and holds, if there is any.
  [[nodiscard]] std::optional<process_identity> held_stranger() const;

  /// Whether it has said that it is ready.
  [[nodiscard]] bool is_ready(const process_identity& who) const;

  /// Who lives under that pid, zombies excepted.
  [[nodiscard]] std::optional<process_identity> find(std::int32_t pid) const;

private:
  struct process {
    std::string program;
    obedience on_signal = obedience::ends;
    bool is_ready = false;
    bool is_zombie = false;
    bool is_child = true;
    bool is_stranger = false;
    std::optional<std::chrono::milliseconds> limit;
    std::chrono::milliseconds ready_within{0};
    readiness ready_by = readiness::line;
    std::optional<failure> never_ready;
    /// None if it is not held.
    process_listener listener;
  };

  process& at(const process_identity& who);

  /// Who comes next.
  process_identity next_identity();

  void hold(process& x, process_listener listener);

  void kill(const process_identity& who, failure why);

  std::map<process_identity, process> processes_;
  /// How many of them have a listener.
  std::size_t held_ = 0;
  std::chrono::milliseconds now_{0};
  std::string boot_ = "boot";
  std::uint64_t ticks_ = 0;
  bool done_ = false;
};

} // namespace muster::test
