// SPDX-License-Identifier: Apache-2.0

#include "actors/recovery/slot_group_core.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace muster {

namespace {

std::int64_t ns(std::chrono::milliseconds x) {
  return std::chrono::nanoseconds(x).count();
}

} // namespace

// -- constructors -------------------------------------------------------------

slot_group_core::slot_group_core(const slot_group_settings& settings,
                                 std::uint64_t seed)
  : settings_(settings), seed_(seed) {
  // nop
}

// -- coming to be -------------------------------------------------------------

slot_group::effects slot_group_core::create(slot_group::ticket from,
                                            slot_group_document document,
                                            std::int64_t now_ns) {
  if (auto fine = check(document.definition); !fine) {
    effects_.push_back(slot_group::reply_refusal{from, fine.error()});
    return std::exchange(effects_, {});
  }
  document_ = std::move(document);
  wished_ = on_disk();
  fill();
  change();
  answer_when_saved(from);
  return take_effects(now_ns);
}

slot_group::effects slot_group_core::restore(slot_group_document document,
                                             std::int64_t now_ns) {
  document_ = std::move(document);
  wished_ = on_disk();
  for (auto& record : std::exchange(document_.slots, {})) {
    auto& x = slots_.emplace_back(make_slot(std::move(record)));
    x.guard.restore(x.record.guard, now_ns);
  }
  fill();
  for (auto& x : slots_) {
    switch (x.record.health) {
      case slot_health::starting:
      case slot_health::healthy:
      case slot_health::unhealthy:
        begin_search(x, now_ns);
        break;
      case slot_health::stopping:
        begin_stop(x, now_ns);
        break;
      case slot_health::backing_off:
      case slot_health::failed:
        x.was_lost = true;
        break;
      case slot_health::empty:
        break;
    }
  }
  stop_unwanted(now_ns);
  return take_effects(now_ns);
}

// -- requests -----------------------------------------------------------------

slot_group::effects slot_group_core::scale(slot_group::ticket from,
                                           std::uint8_t slots,
                                           std::int64_t now_ns) {
  if (refuse_if_deleted(from))
    return take_effects(now_ns);
  wished_.slots = slots;
  fill();
  change();
  answer_when_saved(from);
  return take_effects(now_ns);
}

slot_group::effects slot_group_core::reset(slot_group::ticket from,
                                           std::int64_t now_ns) {
  if (refuse_if_deleted(from))
    return take_effects(now_ns);
  is_reset_due_ = true;
  change();
  answer_when_saved(from);
  return take_effects(now_ns);
}

slot_group::effects slot_group_core::remove(slot_group::ticket from,
                                            std::int64_t now_ns) {
  removers_.push_back(from);
  if (!wished_.is_deleted) {
    wished_.is_deleted = true;
    change();
  }
  return take_effects(now_ns);
}

slot_group::effects slot_group_core::tick(std::uint64_t budget,
                                          std::int64_t now_ns) {
  for (auto& x : slots_)
    repeat_overdue(x, now_ns);
  auto left = std::min(budget, settings_.max_recoveries);
  auto count = slots_.size();
  // Each slot has its turn before one has another.
  for (std::size_t n = 0, first = cursor_; n < count && left > 0; ++n) {
    auto at = (first + n) % count;
    if (work_on(slots_[at], now_ns)) {
      --left;
      cursor_ = at + 1;
    }
  }
  return take_effects(now_ns);
}

// -- what the disk did --------------------------------------------------------

slot_group::effects slot_group_core::saved(const expected<void>& result,
                                           std::int64_t now_ns) {
  is_writing_ = false;
  for (auto to : std::exchange(out_, {})) {
    if (result)
      effects_.push_back(slot_group::reply_done{to});
    else
      effects_.push_back(slot_group::reply_refusal{to, result.error()});
  }
  if (!result) {
    take_back(result.error(), now_ns);
    // The next tick, or the next change, tries again.
    is_dirty_ = true;
    return std::exchange(effects_, {});
  }
  document_.definition.slots = written_.slots;
  document_.is_deleted = written_.is_deleted;
  if (std::exchange(is_reset_written_, false))
    for (auto& x : slots_)
      forget_failures(x, now_ns);
  stop_unwanted(now_ns);
  // One that may be wanted no more waits until that is decided.
  for (auto& x : slots_)
    if (x.at == stage::intending && x.record.term <= written_term_
        && is_wanted(x)) {
      x.at = stage::starting;
      x.limit_ns = now_ns + ns(settings_.start_timeout);
      effects_.push_back(slot_group::start{x.record.index, x.record.term,
                                           document_.failed_places});
    }
  return take_effects(now_ns);
}

slot_group::effects slot_group_core::removed(const expected<void>& result) {
  is_removing_ = false;
  is_gone_ = result.has_value();
  for (auto to : std::exchange(removers_, {})) {
    if (result)
      effects_.push_back(slot_group::reply_done{to});
    else
      effects_.push_back(slot_group::reply_refusal{to, result.error()});
  }
  return std::exchange(effects_, {});
}

// -- what occupants did -------------------------------------------------------

slot_group::effects
slot_group_core::started(std::uint8_t index, std::uint64_t term,
                         const std::string& occupant, const std::string& place,
                         std::int64_t now_ns) {
  auto x = find(index, term);
  auto is_expected
    = x && (x->at == stage::starting || x->at == stage::searching);
  if (is_expected) {
    x->at = stage::nothing;
    x->record.health = slot_health::healthy;
    x->record.occupant = occupant;
    x->record.place = place;
    x->guard.on_started(now_ns);
    change();
    if (document_.failed_places.contains(place)) {
      note_failure(
        *x, {errc::unreachable, fmt::format("'{}' has failed", place)}, now_ns);
      begin_stop(*x, now_ns);
    } else if (std::exchange(x->was_lost, false)) {
      recovered_.insert(index);
    }
    return take_effects(now_ns);
  }
  if (x && x->at == stage::nothing && x->record.occupant == occupant)
    return {};
  if (x && x->at == stage::stopping)
    x->record.occupant = occupant;
  // It came behind its time.
  effects_.push_back(slot_group::stop{index, term, occupant});
  return take_effects(now_ns);
}

slot_group::effects
slot_group_core::start_failed(std::uint8_t index, std::uint64_t term,
                              const failure& why, const std::string& place,
                              std::int64_t now_ns) {
  auto x = find(index, term);
  if (!x || (x->at != stage::starting && x->at != stage::stopping))
    return {};
  if (!place.empty())
    document_.failed_places.insert(place);
  if (x->at == stage::starting)
    note_failure(*x, why, now_ns);
  vacate(*x, now_ns);
  return take_effects(now_ns);
}

slot_group::effects slot_group_core::absent(std::uint8_t index,
                                            std::uint64_t term,
                                            std::int64_t now_ns) {
  auto x = find(index, term);
  if (!x || x->at != stage::searching)
    return {};
  // Of a start that may never have been made, nobody knows that it failed.
  if (!x->record.occupant.empty())
    note_failure(*x,
                 {errc::connection_lost,
                  fmt::format("'{}' was gone when the node came back",
                              x->record.occupant)},
                 now_ns);
  vacate(*x, now_ns);
  return take_effects(now_ns);
}

slot_group::effects
slot_group_core::occupant_ended(std::uint8_t index, std::uint64_t term,
                                const failure& why, std::int64_t now_ns) {
  auto x = find(index, term);
  if (!x || x->at == stage::intending
      || (x->at == stage::nothing && x->record.occupant.empty()))
    return {};
  if (x->at != stage::stopping)
    note_failure(*x, why, now_ns);
  vacate(*x, now_ns);
  return take_effects(now_ns);
}

slot_group::effects slot_group_core::occupant_released(std::uint8_t index,
                                                       std::uint64_t term,
                                                       std::int64_t now_ns) {
  auto x = find(index, term);
  auto is_there = x && x->at != stage::intending
                  && (x->at != stage::nothing || !x->record.occupant.empty());
  if (is_there)
    vacate(*x, now_ns);
  return take_effects(now_ns);
}

slot_group::effects
slot_group_core::occupant_unhealthy(std::uint8_t index, std::uint64_t term,
                                    const failure& why, std::int64_t now_ns) {
  auto x = find(index, term);
  if (!x || x->record.health != slot_health::healthy)
    return {};
  x->record.health = slot_health::unhealthy;
  x->record.last_error = why.message;
  x->limit_ns = now_ns + ns(settings_.patience);
  return {};
}

slot_group::effects slot_group_core::occupant_healthy(std::uint8_t index,
                                                      std::uint64_t term) {
  auto x = find(index, term);
  if (x && x->record.health == slot_health::unhealthy)
    x->record.health = slot_health::healthy;
  return {};
}

slot_group::effects slot_group_core::stopped(std::uint8_t index,
                                             std::uint64_t term,
                                             std::int64_t now_ns) {
  if (auto x = find(index, term); x && x->at == stage::stopping)
    vacate(*x, now_ns);
  auto gone = std::erase_if(document_.strays, [&](auto& x) {
    return x.index == index && x.term == term
           && !document_.failed_places.contains(x.place);
  });
  if (gone != 0)
    change();
  return take_effects(now_ns);
}

void slot_group_core::note_trouble(std::uint8_t index, std::uint64_t term,
                                   const failure& why) {
  if (auto x = find(index, term); x && x->at != stage::nothing)
    x->record.last_error = why.message;
}

// -- what places did ----------------------------------------------------------

slot_group::effects slot_group_core::place_failed(const std::string& place,
                                                  std::int64_t now_ns) {
  if (!document_.failed_places.insert(place).second)
    return {};
  change();
  auto& strays = document_.strays;
  for (auto& x : slots_) {
    if (x.record.occupant.empty() || x.record.place != place)
      continue;
    if (strays.size() >= settings_.max_strays)
      strays.erase(strays.begin());
    strays.push_back({x.record.index, x.record.term, x.record.occupant, place});
    if (x.at != stage::stopping)
      note_failure(
        x, {errc::unreachable, fmt::format("'{}' has failed", place)}, now_ns);
    vacate(x, now_ns);
  }
  return take_effects(now_ns);
}

slot_group::effects slot_group_core::place_healthy(const std::string& place,
                                                   std::int64_t now_ns) {
  if (document_.failed_places.erase(place) != 0)
    change();
  std::erase_if(document_.strays, [&](auto& stray) {
    if (stray.place != place)
      return false;
    auto is_there = stray.index < slots_.size();
    auto x = is_there ? &slots_[stray.index] : nullptr;
    auto is_free = x && is_wanted(*x) && x->at == stage::nothing
                   && x->record.occupant.empty();
    if (!is_free) {
      effects_.push_back(
        slot_group::stop{stray.index, stray.term, stray.occupant});
      return false;
    }
    // Nobody has come since, so its term is the present one again.
    x->record.term = stray.term;
    x->record.occupant = stray.occupant;
    x->record.place = place;
    change();
    begin_search(*x, now_ns);
    return true;
  });
  return take_effects(now_ns);
}

// -- properties ---------------------------------------------------------------

std::vector<std::uint8_t> slot_group_core::take_recovered() {
  std::vector<std::uint8_t> out(recovered_.begin(), recovered_.end());
  recovered_.clear();
  return out;
}

std::vector<slot_view> slot_group_core::slots(std::int64_t now_ns) const {
  std::vector<slot_view> out;
  // Nobody is shown a slot that is not on disk, but for what goes on in it.
  for (auto& x : slots_)
    if (on_disk().wants(x) || !x.record.occupant.empty()
        || (x.at != stage::nothing && x.at != stage::intending))
      out.push_back({x.record.index, x.record.health, x.record.term,
                     x.record.occupant, 0, std::nullopt, x.record.restarts,
                     x.guard.wait_ns(now_ns) / 1'000'000, x.record.last_error});
  return out;
}

std::optional<std::int64_t>
slot_group_core::next_start_ns(std::int64_t now_ns) const {
  std::optional<std::int64_t> out;
  for (auto& x : slots_) {
    auto until = x.guard.until_ns();
    if (is_wanted(x) && x.record.health == slot_health::backing_off && until)
      out = std::min(out.value_or(INT64_MAX), std::max(*until, now_ns));
  }
  return out;
}

std::size_t slot_group_core::healthy() const {
  return static_cast<std::size_t>(
    std::count_if(slots_.begin(), slots_.end(), [](auto& x) {
      return x.record.health == slot_health::healthy;
    }));
}

// -- implementation details ---------------------------------------------------

slot_group_core::slot slot_group_core::make_slot(slot_record record) {
  auto seed = seed_ + record.index;
  return {std::move(record), backoff{document_.definition.policy, seed}};
}

slot_group_core::slot* slot_group_core::find(std::uint8_t index,
                                             std::uint64_t term) {
  auto is_there = index < slots_.size() && slots_[index].record.term == term;
  return is_there ? &slots_[index] : nullptr;
}

void slot_group_core::begin_start(slot& x) {
  x.record.term = ++document_.last_term;
  x.record.health = slot_health::starting;
  if (x.was_lost)
    ++x.record.restarts;
  x.at = stage::intending;
  change();
}

void slot_group_core::begin_search(slot& x, std::int64_t now_ns) {
  x.record.health = slot_health::starting;
  x.at = stage::searching;
  x.limit_ns = now_ns + ns(settings_.find_timeout);
  effects_.push_back(
    slot_group::find{x.record.index, x.record.term, x.record.occupant});
}

void slot_group_core::begin_stop(slot& x, std::int64_t now_ns) {
  x.record.health = slot_health::stopping;
  x.at = stage::stopping;
  x.limit_ns = now_ns + ns(settings_.stop_timeout);
  effects_.push_back(
    slot_group::stop{x.record.index, x.record.term, x.record.occupant});
  change();
}

void slot_group_core::take_back(const failure& why, std::int64_t now_ns) {
  wished_ = on_disk();
  is_reset_due_ = false;
  fill();
  // What was not wanted for long enough to be on disk was not started.
  stop_unwanted(now_ns);
  // A deletion that is on disk goes on, whoever waits for it.
  auto refused = std::exchange(next_, {});
  if (!document_.is_deleted)
    for (auto to : std::exchange(removers_, {}))
      refused.push_back(to);
  for (auto to : refused)
    effects_.push_back(slot_group::reply_refusal{to, why});
}

void slot_group_core::forget_failures(slot& x, std::int64_t now_ns) {
  x.guard.reset(now_ns);
  x.record.restarts = 0;
  x.was_lost = false;
  if (x.record.health != slot_health::unhealthy)
    x.record.last_error.clear();
  if (x.record.health == slot_health::backing_off
      || x.record.health == slot_health::failed)
    x.record.health = slot_health::empty;
}

void slot_group_core::stop_unwanted(std::int64_t now_ns) {
  for (auto i = slots_.rbegin(); i != slots_.rend(); ++i) {
    auto& x = *i;
    if (!is_superfluous(x) || x.at == stage::stopping)
      continue;
    if (x.at == stage::intending)
      vacate(x, now_ns);
    else if (x.at != stage::nothing || !x.record.occupant.empty())
      begin_stop(x, now_ns);
  }
}

void slot_group_core::note_failure(slot& x, const failure& why,
                                   std::int64_t now_ns) {
  x.record.last_error = why.message;
  x.was_lost = true;
  x.guard.on_failure(now_ns);
}

void slot_group_core::vacate(slot& x, std::int64_t now_ns) {
  x.at = stage::nothing;
  x.record.occupant.clear();
  x.record.place.clear();
  switch (x.guard.phase(now_ns)) {
    case backoff_phase::ready:
      x.record.health = slot_health::empty;
      break;
    case backoff_phase::failed:
      x.record.health = slot_health::failed;
      break;
    default:
      x.record.health = slot_health::backing_off;
  }
  change();
}

bool slot_group_core::work_on(slot& x, std::int64_t now_ns) {
  if (!is_wanted(x))
    return false;
  switch (x.record.health) {
    case slot_health::empty:
    case slot_health::backing_off:
      if (!x.guard.may_start(now_ns))
        return false;
      begin_start(x);
      return true;
    case slot_health::unhealthy:
      if (now_ns < x.limit_ns)
        return false;
      note_failure(x, {errc::timeout, x.record.last_error}, now_ns);
      begin_stop(x, now_ns);
      return true;
    default:
      return false;
  }
}

void slot_group_core::repeat_overdue(slot& x, std::int64_t now_ns) {
  if (now_ns < x.limit_ns)
    return;
  switch (x.at) {
    case stage::starting:
      note_failure(
        x,
        {errc::timeout,
         fmt::format("slot {} was not ready within {} ms", x.record.index,
                     settings_.start_timeout.count())},
        now_ns);
      begin_stop(x, now_ns);
      break;
    case stage::searching:
      begin_search(x, now_ns);
      break;
    case stage::stopping:
      begin_stop(x, now_ns);
      break;
    default:
      break;
  }
}

void slot_group_core::trim() {
  while (!slots_.empty() && is_superfluous(slots_.back())
         && slots_.back().at == stage::nothing
         && slots_.back().record.occupant.empty())
    slots_.pop_back();
}

void slot_group_core::fill() {
  while (slots_.size() < wished_.slots) {
    slot_record record;
    record.index = static_cast<std::uint8_t>(slots_.size());
    slots_.push_back(make_slot(std::move(record)));
  }
}

void slot_group_core::answer_when_saved(slot_group::ticket to) {
  next_.push_back(to);
}

bool slot_group_core::refuse_if_deleted(slot_group::ticket from) {
  if (wished_.is_deleted)
    effects_.push_back(slot_group::reply_refusal{
      from,
      {errc::conflict, fmt::format("the group '{}' is on its way out",
                                   document_.definition.name)}});
  return wished_.is_deleted;
}

void slot_group_core::write_if_due(std::int64_t now_ns) {
  if (is_writing_ || is_removing_ || is_gone_)
    return;
  if (document_.is_deleted && slots_.empty() && !is_dirty_) {
    is_removing_ = true;
    effects_.push_back(slot_group::remove_document{});
    return;
  }
  if (!is_dirty_)
    return;
  is_dirty_ = false;
  is_writing_ = true;
  written_term_ = document_.last_term;
  written_ = wished_;
  is_reset_written_ = std::exchange(is_reset_due_, false);
  out_ = std::exchange(next_, {});
  auto document = document_;
  document.definition.slots = written_.slots;
  document.is_deleted = written_.is_deleted;
  for (auto x : slots_) {
    if (is_reset_written_)
      forget_failures(x, now_ns);
    document.slots.push_back(x.record);
    document.slots.back().guard = x.guard.record(now_ns);
  }
  effects_.push_back(slot_group::save{render(document)});
}

slot_group::effects slot_group_core::take_effects(std::int64_t now_ns) {
  trim();
  write_if_due(now_ns);
  return std::exchange(effects_, {});
}

} // namespace muster
