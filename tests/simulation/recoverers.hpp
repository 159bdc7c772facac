// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "tests/simulation/model.hpp"
#include "tests/support/node_bench.hpp"

#include "actors/recovery/recovery_registry.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace muster::test {

/// What the RECOVERY REGISTRY of a bench keeps.
[[nodiscard]] const recovery_registry_state&
recovery_state(const node_bench& bench);

/// The recovery handlers of a simulated life: functions that answer or throw,
/// and actors that answer, take their time, refuse or go. Knows what must hold
/// of passes: each asks each handler at most once, and none that has not
/// answered; none begins before the last one has ended; and what a handler has
/// put back is in one result.
class recoverers {
public:
  // -- constructors -----------------------------------------------------------

  /// @param note writes down what happens.
  recoverers(node_bench& bench, std::mt19937_64& random,
             std::function<void(const std::function<std::string()>&)> note);

  ~recoverers();

  // -- life -------------------------------------------------------------------

  /// A node is there: some of them register with it.
  void begin();

  /// The node goes, and they with it.
  void go();

  /// One of them does something, or another one comes.
  void act();

  /// From now on none of them does anything but what it is asked for.
  void heal() {
    is_healed_ = true;
  }

  /// How many passes have ended so far.
  [[nodiscard]] std::uint64_t passes() const;

  /// Which node it is that runs now, of all that there were.
  [[nodiscard]] std::uint64_t node() const {
    return nodes_;
  }

  /// A client was told the result of a pass.
  /// @param node what `node` gave when it asked.
  /// @param before what `passes` gave then.
  void told(std::uint64_t node, std::uint64_t before,
            const recovery_pass& result);

  // -- what must hold ---------------------------------------------------------

  /// At any time.
  void check();

  // -- introspection ----------------------------------------------------------

  /// Actors that they are at the moment.
  [[nodiscard]] std::size_t actors() const {
    return actors_.size();
  }

  /// How often they were asked, and failed; how many passes ended.
  [[nodiscard]] std::uint64_t times_asked() const {
    return times_asked_;
  }

  [[nodiscard]] std::uint64_t times_failed() const {
    return times_failed_;
  }

  [[nodiscard]] std::uint64_t all_passes() const {
    return all_passes_;
  }

private:
  using slots = std::vector<std::uint8_t>;

  /// One registration.
  struct member {
    std::string name;
    /// The last pass that asked it, and whether it owes an answer.
    std::uint64_t pass = 0;
    bool owes = false;
    /// Each slot that it puts back has a number of its own.
    std::uint8_t given = 0;
    /// How often it was asked.
    std::uint64_t asked = 0;
    /// Whether its node is gone, and nobody counts any more.
    bool is_over = false;
  };

  using member_ptr = std::shared_ptr<member>;

  /// What an actor among them keeps.
  struct actor_state {
    caf::typed_response_promise<slots> open;
  };

  /// One of them that is an actor answers now what it was asked before.
  using recoverer_actor
    = recovery_handler_actor::extend<caf::reacts_to<beat_atom>>;

  static recoverer_actor::behavior_type
  behave(recoverer_actor::stateful_pointer<actor_state> self, recoverers* all,
         member_ptr me);

  void add_function();

  void add_actor();

  /// Is always there, never fails, and is asked first.
  void add_witness();

  [[nodiscard]] member_ptr make_member(const char* kind);

  [[nodiscard]] handler_policy some_policy();

  /// A pass asks one of them.
  void asked(member& who, std::uint64_t pass);

  [[nodiscard]] slots some_slots(member& who, std::uint64_t budget);

  /// Nothing may be thrown where a handler is asked: that would be its failure.
  void broken(std::string what);

  std::uint64_t roll(std::uint64_t below) {
    return random_() % below;
  }

  bool chance(std::uint64_t one_in) {
    return roll(one_in) == 0;
  }

  node_bench& bench_;
  std::mt19937_64& random_;
  std::function<void(const std::function<std::string()>&)> note_;
  bool is_healed_ = false;
  std::uint64_t last_name_ = 0;
  std::vector<recoverer_actor> actors_;
  /// Those of this node by name.
  std::map<std::string, member_ptr> members_;
  member_ptr witness_;
  /// The passes that had ended when the witness was asked first.
  std::uint64_t passes_before_ = 0;
  std::uint64_t passes_seen_ = 0;
  std::uint64_t nodes_ = 1;
  /// What clients were told, by number, and where each slot was.
  std::map<std::uint64_t, recovery_pass> results_;
  std::map<std::pair<std::string, std::uint8_t>, std::uint64_t> placed_;
  std::string fault_;
  std::uint64_t times_asked_ = 0;
  std::uint64_t times_failed_ = 0;
  std::uint64_t all_passes_ = 0;
};

} // namespace muster::test
