// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "tests/support/suite.hpp"

#include "actors/recovery/slot_group_core.hpp"

#include <fmt/format.h>

#include <deque>
#include <map>

namespace muster::test {

constexpr std::int64_t ms = 1'000'000;

/// What a fake occupant is.
struct fake_occupant {
  std::uint8_t index = 0;
  std::uint64_t term = 0;
  std::string name;
};

/// A group, its disk, and whoever starts its occupants. Nothing of that happens
/// before a test lets it.
struct slot_bench {
  slot_group_settings settings;
  slot_group_definition definition;
  std::optional<slot_group_core> core;
  std::int64_t now_ns = 5'000 * ms;
  slot_group::ticket tickets = 0;
  std::uint64_t lives = 0;

  /// What is on disk; empty if there is nothing.
  std::string disk;
  /// What is on its way there.
  std::optional<std::string> out;
  bool wants_removal = false;

  std::vector<slot_group::start> starts;
  std::vector<slot_group::stop> stops;
  std::vector<slot_group::find> finds;
  std::set<slot_group::ticket> done;
  std::map<slot_group::ticket, failure> refusals;

  /// Those that live, by term.
  std::map<std::uint64_t, fake_occupant> alive;

  slot_bench() {
    definition.name = "web";
    definition.slots = 3;
    definition.policy.jitter_percent = 0;
  }

  void take(slot_group::effects effects) {
    for (auto& x : effects) {
      if (auto save = std::get_if<slot_group::save>(&x)) {
        CAF_REQUIRE(!out);
        out = save->text;
      } else if (std::holds_alternative<slot_group::remove_document>(x)) {
        CAF_REQUIRE(!out);
        wants_removal = true;
      } else if (auto start = std::get_if<slot_group::start>(&x)) {
        starts.push_back(*start);
      } else if (auto stop = std::get_if<slot_group::stop>(&x)) {
        stops.push_back(*stop);
      } else if (auto find = std::get_if<slot_group::find>(&x)) {
        finds.push_back(*find);
      } else if (auto yes = std::get_if<slot_group::reply_done>(&x)) {
        done.insert(yes->to);
      } else if (auto no = std::get_if<slot_group::reply_refusal>(&x)) {
        refusals[no->to] = no->why;
      }
    }
  }

  // -- the group --------------------------------------------------------------

  /// What a new group is made from.
  [[nodiscard]] slot_group_document document() const {
    slot_group_document out;
    out.id = "g-1";
    out.definition = definition;
    return out;
  }

  slot_group::ticket create() {
    core.emplace(settings, 1);
    take(core->create(++tickets, document(), now_ns));
    return tickets;
  }

  /// Kills the node; what was on its way is lost, occupants live on.
  void restart() {
    starts.clear();
    stops.clear();
    finds.clear();
    out.reset();
    wants_removal = false;
    auto document = read_slot_group(disk, "groups/web.json");
    if (!document)
      CAF_FAIL(document.error().message);
    core.emplace(settings, 1 + ++lives);
    take(core->restore(std::move(*document), now_ns));
  }

  slot_group::ticket scale(std::uint8_t n) {
    take(core->scale(++tickets, n, now_ns));
    return tickets;
  }

  slot_group::ticket reset() {
    take(core->reset(++tickets, now_ns));
    return tickets;
  }

  slot_group::ticket remove() {
    take(core->remove(++tickets, now_ns));
    return tickets;
  }

  void tick(std::uint64_t budget = 100) {
    take(core->tick(budget, now_ns));
  }

  void wait(std::int64_t how_long_ms) {
    now_ns += how_long_ms * ms;
  }

  // -- the disk ---------------------------------------------------------------

  /// One write succeeds.
  void save() {
    CAF_REQUIRE(out);
    disk = *std::exchange(out, std::nullopt);
    take(core->saved({}, now_ns));
  }

  void fail_save() {
    CAF_REQUIRE(out);
    out.reset();
    take(core->saved(fail(errc::storage_full, "no room"), now_ns));
  }

  /// All do.
  void save_all() {
    while (out)
      save();
  }

  void remove_document() {
    CAF_REQUIRE(std::exchange(wants_removal, false));
    disk.clear();
    take(core->removed({}));
  }

  // -- occupants --------------------------------------------------------------

  void run(const slot_group::start& x, const std::string& place = "") {
    auto name = fmt::format("p-{}", x.term);
    alive[x.term] = {x.index, x.term, name};
    take(core->started(x.index, x.term, name, place, now_ns));
  }

  void end(const slot_group::stop& x) {
    alive.erase(x.term);
    take(core->stopped(x.index, x.term, now_ns));
  }

  void crash(std::uint8_t index) {
    auto term = slot(index).term;
    alive.erase(term);
    take(core->occupant_ended(index, term, {errc::internal, "it crashed"},
                              now_ns));
  }

  /// Everybody does at once what he shall.
  void settle(const std::string& place = "") {
    while (out || !starts.empty() || !stops.empty() || !finds.empty()) {
      if (out)
        save();
      for (auto& x : std::exchange(starts, {}))
        run(x, place);
      for (auto& x : std::exchange(stops, {}))
        end(x);
      for (auto& x : std::exchange(finds, {}))
        answer(x);
    }
  }

  void answer(const slot_group::find& x) {
    if (alive.contains(x.term))
      take(core->started(x.index, x.term, alive[x.term].name, "", now_ns));
    else
      take(core->absent(x.index, x.term, now_ns));
  }

  /// A group all of whose slots are healthy.
  void begin(std::uint8_t slots, const std::string& place = "") {
    definition.slots = slots;
    create();
    settle(place);
    for (int i = 0; i < slots; i += 4) {
      tick();
      settle(place);
    }
    CAF_REQUIRE_EQUAL(core->healthy(), slots);
    (void)core->take_recovered();
  }

  // -- properties -------------------------------------------------------------

  slot_view slot(std::uint8_t index) const {
    return core->slots(now_ns).at(index);
  }

  slot_health health(std::uint8_t index) const {
    return slot(index).health;
  }

  std::vector<std::uint8_t> started_slots() const {
    std::vector<std::uint8_t> all;
    for (auto& x : starts)
      all.push_back(x.index);
    return all;
  }
};

} // namespace muster::test
