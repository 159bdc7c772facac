// SPDX-License-Identifier: Apache-2.0

// How the node starts, dies and stops, and what happens to its disk.

#include "tests/simulation/damage.hpp"
#include "tests/simulation/simulation.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

using namespace std::chrono_literals;

namespace muster::test {

void simulation::disturb() {
  auto& disk = bench_.disk;
  switch (roll(14)) {
    case 13:
      ends_at_ = disk.operations() + 1;
      by_power_ = false;
      at_sync_ = true;
      note([] { return "the process will be killed at the next sync"; });
      break;
    case 12:
      stop();
      break;
    case 0:
      note([] { return "the process is killed"; });
      die(false);
      break;
    case 1:
      note([] { return "the power goes"; });
      die(true);
      break;
    case 2:
    case 3:
      ends_at_ = disk.operations() + 1 + roll(30);
      by_power_ = chance(2);
      at_sync_ = false;
      note([&] {
        return fmt::format("{} at operation {}",
                           by_power_ ? "the power will go"
                                     : "the process will be killed",
                           *ends_at_);
      });
      break;
    case 4:
    case 5: {
      auto number = disk.operations() + 1 + roll(12);
      auto error = chance(2) ? EIO : ENOSPC;
      disk.fail_once(number, error);
      ++report_.disk_faults;
      note([&] {
        return fmt::format("operation {} will fail with {}", number,
                           error == EIO ? "EIO" : "ENOSPC");
      });
      break;
    }
    case 6:
      disk.capacity = disk.used() + roll(20'000);
      ++report_.disk_faults;
      note([] { return "the disk is getting full"; });
      break;
    case 7:
    case 8:
    case 9:
      heal();
      break;
    default:
      bench_.wall_offset_ms
        += static_cast<std::int64_t>(roll(172'800'000)) - 86'400'000;
      note([] { return "the wall clock jumps"; });
      break;
  }
}

void simulation::start() {
  bench_.disk.set_fault([this](disk_operation operation,
                               const std::string& path, std::uint64_t number) {
    if (!ends_at_ || number < *ends_at_
        || (at_sync_ && operation != disk_operation::sync))
      return 0;
    note([&] {
      return fmt::format("{} at operation {}: {} {}",
                         by_power_ ? "the power goes" : "the process is killed",
                         number, to_string(operation), path);
    });
    ends_at_.reset();
    has_ended_ = true;
    bench_.disk.is_off = true;
    return EIO;
  });
  for (int attempt = 0;; ++attempt) {
    crews_.expect_node();
    auto started = bench_.start();
    if (started && !has_ended_ && !bench_.has_died())
      break;
    if (!started && attempt > 0)
      throw violation{"the node does not start: " + started.error().message};
    if (!started)
      refused("(start)", started.error());
    // The fault was in the way; it is over.
    if (has_ended_ && by_power_)
      cut_power();
    else if (has_ended_ || started)
      bench_.kill();
    has_ended_ = false;
    bench_.disk.is_off = false;
    heal();
  }
  ++report_.starts;
  note([] { return "the node starts"; });
  if (has_groups_)
    recoverers_.begin();
  if (chance(4))
    audit();
}

void simulation::die(bool power) {
  audience_.go();
  recoverers_.go();
  if (power)
    cut_power();
  else
    bench_.kill();
  ++(power ? report_.power_cuts : report_.kills);
  has_ended_ = false;
  ends_at_.reset();
  // Nobody gets an answer any more.
  open_.clear();
  crews_.go();
  is_writing_ = false;
  if (power && chance(6))
    start_damaged();
  change_node();
}

void simulation::change_node() {
  workforce_.expect_survivors();
  workforce_.go_on_alone();
  start();
  workforce_.check_survivors();
}

void simulation::cut_power() {
  bench_.cut_power();
  workforce_.forget();
}

void simulation::stop() {
  heal();
  note([] { return "the node is told to stop"; });
  audience_.go();
  recoverers_.go();
  try {
    bench_.stop();
  } catch (const std::exception& fault) {
    // Of what happened before.
    if (!has_ended_ && !bench_.has_died())
      throw violation{fault.what()};
    die_if_due();
    return;
  }
  for (auto& request : std::exchange(open_, {}))
    if (!request.harvest())
      throw violation{"a request has no answer, and the node has stopped"};
  open_.clear();
  crews_.go();
  is_writing_ = false;
  if (bench_.disk.open_files() > 0)
    throw violation{
      fmt::format("{} files are left open", bench_.disk.open_files())};
  ++report_.stops;
  change_node();
}

void simulation::start_damaged() {
  damage harm{bench_.disk, random_};
  if (harm.path().empty())
    return;
  ++report_.damages;
  note([&] { return harm.text(); });
  bench_.disk.set_fault(nullptr);
  bench_.disk.capacity.reset();
  bench_.disk.forget_failures();
  auto started = bench_.start();
  if (!started) {
    ++report_.damages_refused;
    auto& why = started.error();
    note([&] { return "the start is refused: " + why.message; });
    if (why.code != errc::registry_corrupted && why.code != errc::newer_format
        && why.code != errc::storage_failed)
      throw violation{harm.text() + ", and a start is refused with "
                      + to_string(why.code)};
    if (why.message.find("/state/sessions.db") == std::string::npos)
      throw violation{harm.text()
                      + ", and nobody is told where: " + why.message};
    if (bench_.disk.contents(harm.path()) != harm.contents())
      throw violation{harm.text() + ", and a refused start has changed it"};
  } else {
    auto before = model_;
    try {
      audit_damaged(harm);
    } catch (const violation& fault) {
      if (harm.is_plain())
        throw violation{harm.text() + ", and a start goes on: " + fault.what()};
      ++report_.damages_unnoticed;
      note([&] { return std::string{"not noticed: "} + fault.what(); });
    }
    model_ = std::move(before);
    check_damaged_pool(harm);
  }
  // Whatever was started on this disk is nothing to the one that it was.
  cut_power();
  harm.undo();
}

void simulation::check_damaged_pool(const damage& harm) {
  if (!harm.path().ends_with("/pool/registry.json"))
    return;
  auto known
    = bench_.ask<std::vector<worker_view>>(pool_atom::value, list_atom::value);
  if (known || bench_.has_died())
    return;
  auto& why = known.error();
  note([&] { return "the pool is refused: " + why.message; });
  if (why.code != errc::registry_corrupted && why.code != errc::newer_format)
    throw violation{harm.text() + ", and the pool is refused with "
                    + to_string(why.code)};
  if (bench_.disk.contents(harm.path()) != harm.contents())
    throw violation{harm.text() + ", and a refused pool has changed it"};
}

void simulation::audit_damaged(const damage& harm) {
  auto is_loud = [&](const failure& why) {
    return bench_.has_died() || why.code == errc::registry_corrupted
           || why.code == errc::storage_failed;
  };
  auto known = model_.sessions();
  for (auto& [id, session] : known) {
    auto view = bench_.show(id);
    if (view) {
      model_.shown(model_.expectation_for(id), *view);
      auto text = bench_.ask<std::string>(transcript_atom::value, id);
      if (text)
        model_.told(id, *text);
      else if (!is_loud(text.error()))
        throw violation{"session " + id + ": " + text.error().message};
      if (text)
        check_record(id);
    } else if (!is_loud(view.error())) {
      model_.refused(id, view.error());
    }
    if (bench_.has_died())
      return;
  }
  crews_.audit_damaged(harm);
}

void simulation::die_if_due() {
  if (has_ended_) {
    auto by_power = by_power_;
    die(by_power);
    // A killed process leaves what it wrote and did not sync, until the power
    // fails. What the next life has seen of that has to stay nevertheless.
    if (!by_power && (at_sync_ || chance(2))) {
      audit();
      die(true);
    }
  } else if (bench_.has_died()) {
    note([] { return "the node gives up"; });
    die(chance(3));
  }
}

void simulation::harvest() {
  audience_.harvest(
    [this](const std::string& id, const failure& why) { refused(id, why); });
  for (auto i = open_.begin(); i != open_.end();)
    i = i->harvest() ? open_.erase(i) : std::next(i);
  die_if_due();
}

} // namespace muster::test
