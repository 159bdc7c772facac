// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "tests/simulation/model.hpp"
#include "tests/simulation/recoverers.hpp"
#include "tests/simulation/workforce.hpp"
#include "tests/support/node_bench.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace muster::test {

class damage;

/// The groups of workers of a simulated life: clients create, scale, reset and
/// delete them, again under the same names, and say the same twice. Knows what
/// must hold of them: what was acknowledged is there behind any restart, no
/// slot has two workers, and each slot that is reported as put back had a
/// worker of its own.
class crews {
public:
  // -- member types -----------------------------------------------------------

  /// Looks for an answer; when it is there, gives true.
  using harvester = std::function<bool()>;

  /// What it needs of the simulation around it.
  struct surroundings {
    /// Writes down what happens.
    std::function<void(const std::function<std::string()>&)> note;
    /// Keeps a request that has no answer yet.
    std::function<void(harvester)> wait;
    /// Is told why a request was refused.
    std::function<void(const std::string&, const failure&)> refused;
  };

  // -- constructors -----------------------------------------------------------

  crews(node_bench& bench, workforce& workers, recoverers& handlers,
        std::mt19937_64& random, surroundings around);

  // -- life -------------------------------------------------------------------

  /// A client wants something of a group, or of a pass.
  void act();

  /// A node is about to start on what is on disk.
  void expect_node();

  /// The node goes: nobody gets an answer any more.
  void go();

  // -- what must hold ---------------------------------------------------------

  /// At any time: no slot has two workers.
  void check();

  /// What the node shows is what was acknowledged, or is in doubt.
  void audit();

  /// The same on a damaged disk: it is as before, or refused and left as it is.
  void audit_damaged(const damage& harm);

  /// Nothing happens any more: behind a reset all slots are full in time, and
  /// nobody else is there.
  void check_rest();

  /// Deletes all groups; nothing is left of them.
  void end();

  // -- introspection ----------------------------------------------------------

  /// Groups that were acknowledged, and occupants that were started for them.
  [[nodiscard]] std::uint64_t created() const {
    return created_;
  }

  [[nodiscard]] std::uint64_t occupants() const {
    return occupants_;
  }

  /// Slots that groups have put back.
  [[nodiscard]] std::uint64_t recovered() const {
    return recovered_;
  }

private:
  /// How many slots a group has; absent if there is no group.
  using size = std::optional<std::uint8_t>;

  /// What is known of the groups of one name.
  struct crew {
    std::string name;
    /// What the disk may say.
    std::set<size> possible{std::nullopt};
    /// What requests would have made of it, in order.
    std::vector<size> asked;
    /// The request that was sent last to create it.
    slot_group_definition created_as;
    std::string request_id;
    /// The most slots that anybody ever asked for.
    std::uint8_t most = 0;
    /// Whether a request that changes it has no answer.
    bool is_changing = false;
  };

  /// A change that was sent, once or twice.
  struct change {
    /// What was possible before, and what is once this is acknowledged.
    std::set<size> before;
    std::set<size> after;
    /// Whether there must be a group.
    bool needs_group = true;
    /// Answers that are missing.
    std::size_t open = 1;
    bool is_done = false;
    /// Whether each refusal said that nothing was done.
    bool is_void = true;
  };

  /// A group as the document on disk has it.
  struct document {
    std::string text;
    std::string id;
    std::uint64_t last_term = 0;
  };

  void create(crew& x);

  void scale(crew& x);

  void reset(crew& x);

  void remove(crew& x);

  void show(crew& x);

  void run_pass();

  /// Sends a change, sometimes twice if that is the same as once.
  template <class Reply, class... Ts>
  void
  send_change(crew& x, change what, bool is_repeatable, const Ts&... request);

  /// What it was answered.
  /// @param view absent if there is none behind a success.
  void done(crew& x, change& what, const slot_group_view* view);

  void refused(crew& x, change& what, const failure& why);

  /// Whether a change that is refused with that was not made.
  [[nodiscard]] static bool changes_nothing(errc code);

  /// More slots than there can be workers are refused, and nothing else is.
  void too_large(const crew& x, const change& what, const failure& why);

  /// Waits for a view of a group that changes nothing.
  void expect_view(crew& x, node_bench::answer_ptr<slot_group_view> answer);

  /// A client is told how a group is.
  void shown(const crew& x, const std::set<size>& allowed,
             const slot_group_view& view) const;

  /// A client is told that there is no such group.
  void not_found(const crew& x, const std::set<size>& allowed) const;

  /// What may be shown to somebody who asked when `before` was possible and so
  /// many changes were sent.
  [[nodiscard]] static std::set<size>
  allowed(const crew& x, std::set<size> before, std::size_t sent);

  void read_documents();

  /// Each slot that was put back had an occupant of its own.
  void check_recovered();

  /// Lets time go by until something is so.
  /// @param is_so is told what is missing.
  void require(const std::function<bool(std::string&)>& is_so);

  [[nodiscard]] slot_group_definition some_group(const std::string& name);

  /// Whether a group is as it should be at last, or gone.
  /// @param why is told what is missing.
  [[nodiscard]] bool is_full(const crew& x, std::string& why);

  /// Whether each worker with a slot has one of a group that is there.
  [[nodiscard]] bool has_no_strays(std::string& why);

  std::uint64_t roll(std::uint64_t below) {
    return random_() % below;
  }

  bool chance(std::uint64_t one_in) {
    return roll(one_in) == 0;
  }

  node_bench& bench_;
  workforce& workforce_;
  recoverers& recoverers_;
  std::mt19937_64& random_;
  surroundings around_;
  std::vector<crew> crews_;
  std::uint64_t requests_ = 0;
  std::uint64_t created_ = 0;
  std::uint64_t occupants_ = 0;
  std::uint64_t recovered_ = 0;
  /// By name.
  std::map<std::string, document> documents_;
  /// The names of all groups that ever were, by id.
  std::map<std::string, std::string> names_;
  /// The last terms of the groups when the node began, by id.
  std::map<std::string, std::uint64_t> terms_before_;
  /// What the groups of this node have put back, by id.
  std::map<std::string, std::uint64_t> reports_;
};

} // namespace muster::test
