// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "tests/simulation/model.hpp"
#include "tests/simulation/scripts.hpp"
#include "tests/support/node_bench.hpp"

#include <cstdint>
#include <functional>
#include <list>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace muster::test {

/// What one simulated run is like.
struct simulation_options {
  std::uint64_t seed = 1;
  /// Steps of the part in which everything may happen.
  int steps = 2'500;
  /// Whether to write down what happens, for a person to read.
  bool trace = false;
  /// Changes the bench before its first start: plants a fault, for one.
  std::function<void(node_bench&)> prepare;
};

/// What became of it.
struct simulation_report {
  std::uint64_t seed = 0;
  /// What went wrong; absent if nothing did.
  std::optional<std::string> fault;
  std::vector<std::string> trace;
  /// Depends on everything that clients were told: two runs of a seed give the
  /// same.
  std::uint64_t digest = 0;
  std::uint64_t requests = 0;
  std::uint64_t acknowledged = 0;
  std::uint64_t sessions = 0;
  std::uint64_t starts = 0;
  std::uint64_t kills = 0;
  std::uint64_t power_cuts = 0;
  std::uint64_t disk_faults = 0;
  std::uint64_t syncs = 0;
};

/// A whole node with its clients, on a scheduler, a clock and a disk that a
/// seed drives: which actor runs next, which operation of the disk fails, when
/// the process is killed and when the power goes. Clients lose their
/// connections with the node, and try again or not.
class simulation {
public:
  explicit simulation(simulation_options options);

  simulation_report run();

private:
  /// A request without an answer yet.
  struct open_request {
    /// Looks for the answer; when it is there, tells the model and gives true.
    std::function<bool()> harvest;
  };

  // -- what may happen --------------------------------------------------------

  void step();

  void request_something();

  void spawn_session();

  void feed_session(const std::string& id);

  void show_session(const std::string& id);

  void await_session(const std::string& id);

  void cancel_session(const std::string& id);

  void list_sessions();

  void disturb();

  // -- life of the node -------------------------------------------------------

  /// Starts the node; faults of the disk may make it fail, and are over then.
  void start();

  void die(bool power);

  /// Dies if the power was cut, or the node gave up.
  void die_if_due();

  void harvest();

  // -- the end ----------------------------------------------------------------

  /// No more faults: every session must come to its end, and all must be as the
  /// clients were told.
  void settle();

  void finish_session(const std::string& id);

  void check_session(const std::string& id, std::int64_t& counted,
                     std::int64_t& listed);

  void audit();

  // -- helpers ----------------------------------------------------------------

  std::uint64_t roll(std::uint64_t below) {
    return random_() % below;
  }

  bool chance(std::uint64_t one_in) {
    return roll(one_in) == 0;
  }

  std::string some_session();

  const simulated_script& script_of(const std::string& id);

  void heal();

  void note(const std::function<std::string()>& text);

  /// Gets rid of a refusal, or hands it to the model.
  void refused(const std::string& id, const failure& why);

  simulation_options options_;
  simulation_report report_;
  std::mt19937_64 random_;
  node_bench bench_;
  model model_;
  std::list<open_request> open_;
  /// The operation of the disk at which the power goes.
  std::optional<std::uint64_t> power_goes_at_;
  bool power_is_gone_ = false;
  std::uint64_t responses_ = 0;
};

} // namespace muster::test
