// SPDX-License-Identifier: Apache-2.0

// Whatever happens to occupants, the disk and the node, and in whatever order a
// group hears of it.

#define CAF_SUITE recovery.slot_group_property

#include "tests/recovery/slot_bench.hpp"

#include <random>

using namespace muster;
using namespace muster::test;
using namespace std::chrono_literals;

namespace {

/// How many events a run has, and how many runs there are.
constexpr int steps = 400;
constexpr std::uint32_t seeds = 200;

/// Lets chance decide, and looks after each step whether all is well.
struct model : slot_bench {
  explicit model(std::uint32_t the_seed) : seed(the_seed), chance(the_seed) {
    definition.slots = 6;
    definition.policy.jitter_percent = 20;
    definition.policy.pause = 20s;
    definition.policy.max = 8s;
    settings.start_timeout = 5s;
    settings.stop_timeout = 3s;
    settings.find_timeout = 2s;
    settings.patience = 1s;
  }

  std::uint64_t pick(std::uint64_t n) {
    return (chance() >> 8) % n;
  }

  void require(bool holds, const char* what) {
    if (!holds)
      CAF_FAIL(what << ", seed " << seed << ", step " << step);
  }

  /// Takes any one out of what is to be done.
  template <class T>
  std::optional<T> some(std::vector<T>& from) {
    if (from.empty())
      return std::nullopt;
    auto i = from.begin() + static_cast<std::ptrdiff_t>(pick(from.size()));
    auto out = *i;
    from.erase(i);
    return out;
  }

  /// What starts an occupant: the same term always gives the same one, and none
  /// once that was stopped.
  void make(const slot_group::start& x) {
    require(disk.find(fmt::format("\"term\":{},", x.term)) != disk.npos
              || disk.find(fmt::format("\"term\":{}}}", x.term)) != disk.npos,
            "a start is not on disk");
    require(made.insert(x.term).second, "a term has two occupants");
    for (auto& [term, other] : alive)
      require(other.index != x.index, "a slot has two occupants");
    alive[x.term] = {x.index, x.term, fmt::format("p-{}", x.term)};
    require(alive.size() <= 10, "there are more occupants than slots");
  }

  void act() {
    switch (pick(16)) {
      case 0:
      case 1:
        if (auto x = some(starts); x && !ended.contains(x->term)) {
          auto how = pick(6);
          if (how == 0) {
            ended.insert(x->term);
            take(core->start_failed(x->index, x->term,
                                    {errc::program_failed, "no"}, "", now_ns));
          } else {
            make(*x);
            // Some never say that they are ready.
            if (how != 1)
              words.push_back(alive[x->term]);
          }
        }
        break;
      case 2:
      case 3:
        if (auto x = some(words); x)
          take(core->started(x->index, x->term, x->name, "", now_ns));
        break;
      case 4:
      case 5:
        // Some stops are lost.
        if (auto x = some(stops); x && pick(5) != 0)
          stop(*x);
        break;
      case 6:
      case 7:
        if (auto x = some(finds); x && pick(5) != 0)
          answer_find(*x);
        break;
      case 8:
        if (!alive.empty() && pick(2) == 0) {
          auto i = alive.begin();
          std::advance(i, static_cast<std::ptrdiff_t>(pick(alive.size())));
          auto x = i->second;
          alive.erase(i);
          ended.insert(x.term);
          take(core->occupant_ended(x.index, x.term,
                                    {errc::internal, "it crashed"}, now_ns));
        }
        break;
      case 9:
        if (!alive.empty()) {
          auto& x = alive.begin()->second;
          take(core->occupant_unhealthy(x.index, x.term,
                                        {errc::timeout, "silent"}, now_ns));
        }
        break;
      case 10:
        if (out && pick(8) == 0)
          fail_save();
        else if (out)
          save();
        break;
      case 11:
        if (out)
          save();
        break;
      case 12:
        if (pick(8) == 0)
          scale(static_cast<std::uint8_t>(pick(9)));
        break;
      case 13:
        if (pick(10) == 0 && !disk.empty()) {
          // What was asked for but not done yet may still be, by others.
          auto late = std::exchange(starts, {});
          words.clear();
          restart();
          for (auto& x : late)
            ended.insert(x.term);
        }
        break;
      default:
        wait(static_cast<std::int64_t>(pick(1'500)));
        tick();
    }
  }

  void stop(const slot_group::stop& x) {
    alive.erase(x.term);
    ended.insert(x.term);
    take(core->stopped(x.index, x.term, now_ns));
  }

  void answer_find(const slot_group::find& x) {
    if (!alive.contains(x.term))
      ended.insert(x.term);
    answer(x);
  }

  /// With all faults healed, everything is well before long.
  void heal() {
    for (int n = 0; n < 240; ++n) {
      for (bool busy = true; busy;) {
        busy = false;
        if (out) {
          save();
          busy = true;
        }
        while (auto x = some(starts)) {
          busy = true;
          if (ended.contains(x->term))
            continue;
          make(*x);
          words.push_back(alive[x->term]);
        }
        while (auto x = some(words)) {
          busy = true;
          take(core->started(x->index, x->term, x->name, "", now_ns));
        }
        while (auto x = some(stops)) {
          busy = true;
          stop(*x);
        }
        while (auto x = some(finds)) {
          busy = true;
          answer_find(*x);
        }
      }
      auto wanted = core->definition().slots;
      if (core->healthy() == wanted && alive.size() == wanted
          && core->slots(now_ns).size() == wanted)
        return;
      wait(500);
      tick();
    }
    require(false,
            "not all slots are healthy two minutes after the last fault");
  }

  void check_all() {
    // Who is healthy lives, and everybody who lives has a slot.
    for (auto& x : core->slots(now_ns))
      if (x.health == slot_health::healthy)
        require(alive.contains(x.term),
                "a slot is healthy and nobody is there");
  }

  std::uint32_t seed;
  std::minstd_rand chance;
  int step = 0;
  /// The terms that ever had an occupant, and those that have none any more.
  std::set<std::uint64_t> made;
  std::set<std::uint64_t> ended;
  /// Those who are ready and have not said so.
  std::vector<fake_occupant> words;
};

} // namespace

CAF_TEST(no slot is doubled or forgotten whatever happens) {
  for (std::uint32_t seed = 1; seed <= seeds; ++seed) {
    model it{seed};
    it.create();
    it.save();
    for (it.step = 0; it.step < steps; ++it.step) {
      it.act();
      it.check_all();
    }
    it.heal();
    it.check_all();
  }
}
