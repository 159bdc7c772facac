// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "tests/simulation/audience.hpp"
#include "tests/simulation/crews.hpp"
#include "tests/simulation/model.hpp"
#include "tests/simulation/recoverers.hpp"
#include "tests/simulation/scripts.hpp"
#include "tests/simulation/workforce.hpp"
#include "tests/support/node_bench.hpp"

#include <cstdint>
#include <functional>
#include <list>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace muster::test {

class damage;

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
  /// Requests that were sent again.
  std::uint64_t repeats = 0;
  std::uint64_t acknowledged = 0;
  std::uint64_t sessions = 0;
  std::uint64_t starts = 0;
  std::uint64_t kills = 0;
  std::uint64_t power_cuts = 0;
  std::uint64_t disk_faults = 0;
  std::uint64_t syncs = 0;
  /// Events that observers saw, and those that they were told they missed.
  std::uint64_t observed = 0;
  std::uint64_t missed = 0;
  /// Ordered stops.
  std::uint64_t stops = 0;
  /// Files that were damaged before a start; starts that were refused for it;
  /// damages that nobody noticed, see docs/reliability.md.
  std::uint64_t damages = 0;
  std::uint64_t damages_refused = 0;
  std::uint64_t damages_unnoticed = 0;
  /// Worker processes that were started, and what happened to them.
  std::uint64_t workers = 0;
  std::uint64_t workers_killed = 0;
  std::uint64_t workers_crashed = 0;
  std::uint64_t workers_hung = 0;
  std::uint64_t workers_survived = 0;
  std::uint64_t sockets_usurped = 0;
  /// Sessions that were given up, as their workers crashed.
  std::uint64_t given_up = 0;
  /// Groups that were created, occupants that were started for their slots, and
  /// slots that they have put back.
  std::uint64_t groups = 0;
  std::uint64_t occupants = 0;
  std::uint64_t recovered = 0;
  /// Passes, and how often they asked handlers that failed or did not.
  std::uint64_t passes = 0;
  std::uint64_t handlers_asked = 0;
  std::uint64_t handlers_failed = 0;

  /// Adds the numbers of another run.
  void add(const simulation_report& other);

  /// All numbers, for people.
  [[nodiscard]] std::string text() const;
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
  /// Sessions beyond which none are asked for.
  static constexpr std::size_t max_sessions = 14;

  /// A request without an answer yet.
  struct open_request {
    /// Looks for the answer; when it is there, tells the model and gives true.
    std::function<bool()> harvest;
  };

  /// A request with an id, which may be sent any number of times.
  struct request_record {
    std::string request_id;
    /// Sends it again.
    std::function<void(std::shared_ptr<request_record>)> again;
    /// What it was answered with, once it was executed.
    std::optional<std::string> result;
  };

  using request_record_ptr = std::shared_ptr<request_record>;

  // -- what may happen --------------------------------------------------------

  void step();

  void request_something();

  /// A client did not hear what became of a request, or says so.
  void repeat_something();

  void spawn_session();

  /// Sends a request for a session, for the first time or again.
  void send_spawn(session_spec spec, bool starts, request_record_ptr record);

  void feed_session(const std::string& id);

  /// The same for answers.
  void send_feed(const std::string& id, std::vector<answer> answers,
                 feed_mode mode, request_record_ptr record);

  /// Keeps a request, so that it may be sent again.
  [[nodiscard]] request_record_ptr
  keep(std::function<void(request_record_ptr)> again);

  void show_session(const std::string& id);

  void await_session(const std::string& id);

  void cancel_session(const std::string& id);

  /// Lists all sessions, page by page.
  /// @param before the last of the page before; empty for the first.
  void list_sessions(std::uint32_t limit, std::string before,
                     std::set<std::string> listed,
                     std::vector<std::string> known);

  /// Deletes sessions that have ended.
  void prune_sessions();

  /// Writes or reads a value that no script uses.
  void use_state();

  /// Asks for workers, stops some of them, or looks at them.
  void use_pool();

  void spawn_worker();

  /// The same for the first time or again.
  void send_spawn_worker(request_record_ptr record);

  /// @param prefix empty for all.
  void stop_workers(const std::string& prefix);

  void disturb();

  /// Lets an actor or a worker do something.
  void run_something();

  // -- life of the node -------------------------------------------------------

  /// Starts the node; faults of the disk may make it fail, and are over then.
  void start();

  void die(bool power);

  /// The next node starts where another one has gone.
  void change_node();

  void cut_power();

  /// The node is told to stop, and leaves nothing behind.
  void stop();

  /// Damages a file and starts the node: it refuses the file by its name and
  /// leaves it as it is, or has everything. Then the file is as before.
  void start_damaged();

  /// A node whose pool is damaged refuses its verbs and leaves it as it is, or
  /// does not notice.
  void check_damaged_pool(const damage& harm);

  /// What a node on a damaged disk tells is as before, or refused loudly.
  void audit_damaged(const damage& harm);

  /// Dies if the process was killed, the power was cut, or the node gave up.
  void die_if_due();

  void harvest();

  // -- the end ----------------------------------------------------------------

  /// No more faults: every session must come to its end, and all must be as the
  /// clients were told.
  void settle();

  /// All groups are full in time, behind another death of the node too, and
  /// then deleted.
  void settle_groups();

  /// All workers go, and nothing is left of them.
  void end_workers();

  /// What is counted at any time adds up.
  void check_counters();

  /// Nobody wants anything: nothing is left of what was under way.
  void check_leftovers();

  void finish_session(const std::string& id);

  /// Compares what was observed with what is on disk.
  void check_record(const std::string& id);

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

  /// The sessions that were acknowledged.
  [[nodiscard]] std::vector<std::string> known_sessions() const;

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
  audience audience_;
  workforce workforce_;
  recoverers recoverers_;
  crews crews_;
  /// Whether clients have groups in this life.
  bool has_groups_ = false;
  std::list<open_request> open_;
  /// What was sent with an id.
  std::vector<request_record_ptr> repeatable_;
  /// Requests for sessions without an id, and with one.
  std::uint64_t spawn_requests_ = 0;
  /// The operation of the disk at which the process is killed, or the power
  /// goes.
  std::optional<std::uint64_t> ends_at_;
  bool by_power_ = false;
  /// Only a sync will do: what it was to sync is written and still there.
  bool at_sync_ = false;
  bool has_ended_ = false;
  std::uint64_t responses_ = 0;
  std::uint64_t reasons_ = 0;
  /// Whether operators delete sessions in this life.
  bool prunes_ = false;
  /// Actors and files of a node that has nothing to do.
  std::size_t idle_actors_ = 0;
  std::size_t idle_files_ = 0;
  /// Values that the state may have, the last that was sent, and the version of
  /// the last that was acknowledged.
  std::set<std::uint64_t> possible_values_{0};
  std::uint64_t sent_value_ = 0;
  std::uint64_t value_version_ = 0;
  bool is_writing_ = false;
};

} // namespace muster::test
