// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "tests/simulation/model.hpp"
#include "tests/support/node_bench.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace muster::test {

/// What happened to the workers of a life.
struct workforce_counters {
  std::uint64_t started = 0;
  /// Workers that were killed, that crashed, and that hung.
  std::uint64_t killed = 0;
  std::uint64_t crashed = 0;
  std::uint64_t hung = 0;
  /// Those that went on with another node, in the pause in which they were.
  std::uint64_t survived = 0;
  /// Sockets of workers that others took.
  std::uint64_t usurped = 0;
};

/// The worker processes of a simulated life: they die, hang and come back, do
/// not start, and go on without a node. Knows what must hold of them.
class workforce {
public:
  // -- constructors -----------------------------------------------------------

  /// @param note writes down what happens.
  workforce(node_bench& bench, model& known, std::mt19937_64& random,
            std::function<void(const std::function<std::string()>&)> note);

  // -- life -------------------------------------------------------------------

  /// Something happens to one of them, or to the next that is started.
  void disturb();

  /// The node is gone, and they go on for a while.
  void go_on_alone();

  /// The power is cut: they are gone as well.
  void forget();

  /// From now on nothing happens to them, and none hangs that could go on.
  void heal();

  /// Ends those that hang for ever and that no node knows.
  void clear_away();

  // -- what must hold ---------------------------------------------------------

  /// At any time: no two have one session, no node loses sight of one that has
  /// a session, and nobody else is signalled.
  void check();

  /// The node goes: remembers who waits in a pause.
  void expect_survivors();

  /// The next node is there: those who waited in a pause, and whom nothing
  /// happened to, are its workers.
  void check_survivors();

  /// Nothing happens any more: what is on disk is who lives, and whoever has a
  /// session has one that goes on.
  void check_rest();

  /// Nobody needs workers any more: there is nothing left of them.
  void check_end();

  // -- introspection ----------------------------------------------------------

  [[nodiscard]] std::string some();

  /// Whether a worker was ever started.
  [[nodiscard]] bool has_begun(const std::string& sid);

  [[nodiscard]] bool lives(const std::string& sid) const {
    return bench_.workers->all().contains(sid);
  }

  /// Whether the document on disk names a worker.
  [[nodiscard]] bool names(const std::string& sid);

  /// Those that live, are named on disk and occupy slots of groups.
  [[nodiscard]] std::map<std::string, slot_id> occupants();

  [[nodiscard]] const workforce_counters& counters() const {
    return counters_;
  }

private:
  struct survivor {
    std::int32_t pid = 0;
    std::string session;
    std::uint64_t seq = 0;
  };

  /// What the document on disk says.
  struct document {
    std::string text;
    /// The sessions of those that stand in it, empty where there is none.
    std::map<std::string, std::string> entries;
    std::map<std::string, std::string> socks;
    std::map<std::string, slot_id> slots;
  };

  void read_document();

  /// Takes down who was started since.
  void note_begun();

  void kill(const std::string& sid);

  void crash(const std::string& sid);

  void hang(const std::string& sid, bool for_ever);

  void wake(const std::string& sid);

  /// Says how the next one starts.
  void spoil_start();

  /// One that has not said that it is ready does, or never will.
  void end_silence();

  /// The pid of one that is gone gets to somebody else.
  void reuse_pid();

  /// Others take the sockets of those that are gone.
  void usurp();

  /// Crashes all that have the session that was chosen for it.
  void go_on_crashing();

  std::uint64_t roll(std::uint64_t below) {
    return random_() % below;
  }

  bool chance(std::uint64_t one_in) {
    return roll(one_in) == 0;
  }

  /// Whether its group does not want it any more, or not for sure.
  [[nodiscard]] bool is_to_go(const std::string& sid) const;

  node_bench& bench_;
  model& model_;
  std::mt19937_64& random_;
  std::function<void(const std::function<std::string()>&)> note_;
  workforce_counters counters_;
  bool is_healed_ = false;
  document document_;
  /// Those that will never come back.
  std::set<std::string> hopeless_;
  /// Those that nothing has happened to, as far as the node goes.
  std::set<std::string> disturbed_;
  std::map<std::string, survivor> survivors_;
  /// Those that were there once.
  std::set<process_identity> identities_;
  std::vector<std::int32_t> pids_;
  std::set<std::string> sids_;
  std::size_t signals_seen_ = 0;
  /// The session whose workers crash, and how often they still do.
  std::string crashing_;
  int crashes_left_ = 0;
};

} // namespace muster::test
