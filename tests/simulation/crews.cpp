// SPDX-License-Identifier: Apache-2.0

#include "tests/simulation/crews.hpp"

#include "tests/simulation/damage.hpp"

#include "messages/json.hpp"
#include "messages/receipt.hpp"

#include <fmt/format.h>

#include <algorithm>

using namespace std::chrono_literals;

namespace muster::test {

namespace {

constexpr std::uint64_t most_slots = 6;

/// So many ticks may pass until all is as it should be.
constexpr int patience = 240;

std::string path_of(const std::string& name) {
  return fmt::format("/state/groups/{}.json", name);
}

} // namespace

crews::crews(node_bench& bench, workforce& workers, recoverers& handlers,
             std::mt19937_64& random, surroundings around)
  : bench_(bench), workforce_(workers), recoverers_(handlers), random_(random),
    around_(std::move(around)), crews_(2) {
  crews_[0].name = "crew";
  crews_[1].name = "gang";
}

// -- life ---------------------------------------------------------------------

void crews::act() {
  auto& x = crews_[chance(3) ? 1 : 0];
  auto what = roll(16);
  auto is_there = x.possible != std::set<size>{std::nullopt};
  if (what < 2)
    run_pass();
  else if (what < 4)
    show(x);
  else if (x.is_changing)
    return;
  else if (!is_there || what < 6)
    create(x);
  else if (what < 11)
    scale(x);
  else if (what < 14)
    reset(x);
  else
    remove(x);
}

void crews::expect_node() {
  read_documents();
  terms_before_.clear();
  reports_.clear();
  for (auto& [name, x] : documents_)
    terms_before_[x.id] = x.last_term;
}

void crews::go() {
  for (auto& x : crews_)
    x.is_changing = false;
}

// -- what clients want --------------------------------------------------------

slot_group_definition crews::some_group(const std::string& name) {
  slot_group_definition out;
  out.name = name;
  out.slots = static_cast<std::uint8_t>(1 + roll(most_slots));
  out.policy.initial = std::chrono::milliseconds{roll(501)};
  out.policy.max_restarts = chance(2) ? 0 : 3 + static_cast<unsigned>(roll(3));
  out.policy.gives_up = chance(5);
  return out;
}

void crews::create(crew& x) {
  auto is_again = !x.request_id.empty() && chance(3);
  if (!is_again) {
    x.created_as = some_group(x.name);
    x.request_id = chance(3) ? once : fmt::format("g-{}", ++requests_);
  }
  change what{x.possible, {}};
  what.needs_group = false;
  // If it is there already, it stays as it is.
  for (auto& known : x.possible)
    if (known && is_again)
      what.after.insert(known);
  if (!is_again || x.possible.contains(std::nullopt))
    what.after.insert(x.created_as.slots);
  x.most = std::max(x.most, x.created_as.slots);
  around_.note([&] {
    return fmt::format("a client creates group '{}' with {} slots{}", x.name,
                       x.created_as.slots, is_again ? " again" : "");
  });
  send_change<slot_group_view>(x, std::move(what), x.request_id != once,
                               group_atom::value, create_atom::value,
                               x.created_as, x.request_id);
}

bool crews::changes_nothing(errc code) {
  return code == errc::not_found || code == errc::conflict
         || code == errc::too_large;
}

void crews::scale(crew& x) {
  auto count = static_cast<std::uint8_t>(1 + roll(most_slots));
  x.most = std::max(x.most, count);
  around_.note([&] {
    return fmt::format("a client scales group '{}' to {} slots", x.name, count);
  });
  send_change<slot_group_view>(x, {x.possible, {count}}, true,
                               group_atom::value, scale_atom::value, x.name,
                               count);
}

void crews::remove(crew& x) {
  around_.note([&] { return "a client deletes group '" + x.name + "'"; });
  send_change<caf::ok_atom>(x, {x.possible, {std::nullopt}}, true,
                            group_atom::value, delete_atom::value, x.name);
}

void crews::reset(crew& x) {
  around_.note([&] { return "a client resets group '" + x.name + "'"; });
  expect_view(x, bench_.send<slot_group_view>(group_atom::value,
                                              reset_atom::value, x.name));
}

void crews::show(crew& x) {
  expect_view(x, bench_.send<slot_group_view>(group_atom::value,
                                              show_atom::value, x.name));
}

void crews::run_pass() {
  auto node = recoverers_.node();
  auto before = recoverers_.passes();
  auto result
    = bench_.send<recovery_pass>(recovery_atom::value, run_atom::value);
  around_.wait([=, this] {
    if (!*result)
      return false;
    if (**result)
      recoverers_.told(node, before, ***result);
    else
      around_.refused("(pass)", (*result)->error());
    return true;
  });
}

template <class Reply, class... Ts>
void crews::send_change(crew& x, change what, bool is_repeatable,
                        const Ts&... request) {
  auto kept = std::make_shared<change>(std::move(what));
  x.is_changing = true;
  x.possible.insert(kept->after.begin(), kept->after.end());
  x.asked.insert(x.asked.end(), kept->after.begin(), kept->after.end());
  // What has no id is done as often as it is said.
  kept->open = is_repeatable && chance(4) ? 2 : 1;
  for (auto i = kept->open; i > 0; --i)
    around_.wait([this, &x, kept, answer = bench_.send<Reply>(request...)] {
      if (!*answer)
        return false;
      if (!**answer)
        refused(x, *kept, (*answer)->error());
      else if constexpr (std::is_same_v<Reply, slot_group_view>)
        done(x, *kept, &***answer);
      else
        done(x, *kept, nullptr);
      return true;
    });
}

void crews::done(crew& x, change& what, const slot_group_view* view) {
  around_.note([&] { return "(group " + x.name + "): it is done"; });
  if (what.needs_group && what.before == std::set<size>{std::nullopt})
    throw violation{"group '" + x.name + "' was deleted and is back"};
  auto is_leaving = view && view->is_deleted;
  if (view)
    shown(x, is_leaving ? x.possible : what.after, *view);
  if (!is_leaving) {
    if (!what.needs_group && !what.is_done)
      ++created_;
    what.is_done = true;
    x.possible = what.after;
  }
  x.is_changing = --what.open > 0;
}

void crews::too_large(const crew& x, const change& what, const failure& why) {
  around_.note([&] { return "(group " + x.name + "): " + why.message; });
  auto most = bench_.settings.pool.max_workers;
  auto has_room
    = std::all_of(what.after.begin(), what.after.end(),
                  [=](auto& count) { return !count || *count <= most; });
  if (has_room)
    throw violation{fmt::format("group '{}' has room and is refused: {}",
                                x.name, why.message)};
}

void crews::refused(crew& x, change& what, const failure& why) {
  if (why.code == errc::not_found)
    not_found(x, what.is_done ? what.after : what.before);
  else if (why.code == errc::too_large)
    too_large(x, what, why);
  else
    around_.refused("(group " + x.name + ")", why);
  if (why.code == errc::conflict && !what.needs_group
      && what.before == std::set<size>{std::nullopt})
    throw violation{fmt::format("group '{}' is not there and cannot be "
                                "created: {}",
                                x.name, why.message)};
  what.is_void = what.is_void && changes_nothing(why.code);
  x.is_changing = --what.open > 0;
  if (what.open == 0 && !what.is_done && what.is_void)
    x.possible = what.before;
}

void crews::expect_view(crew& x,
                        node_bench::answer_ptr<slot_group_view> answer) {
  around_.wait([this, &x, answer, before = x.possible, sent = x.asked.size()] {
    if (!*answer)
      return false;
    auto fine = allowed(x, before, sent);
    if (**answer)
      shown(x, fine, ***answer);
    else if ((*answer)->error().code == errc::not_found)
      not_found(x, fine);
    else
      around_.refused("(group " + x.name + ")", (*answer)->error());
    return true;
  });
}

std::set<crews::size> crews::allowed(const crew& x, std::set<size> before,
                                     std::size_t sent) {
  before.insert(x.asked.begin() + static_cast<std::ptrdiff_t>(sent),
                x.asked.end());
  return before;
}

void crews::shown(const crew& x, const std::set<size>& allowed,
                  const slot_group_view& view) const {
  if (view.is_deleted && !allowed.contains(std::nullopt))
    throw violation{"group '" + x.name + "' is on its way out, and nobody "
                    + "deleted it"};
  auto wanted = view.definition.slots;
  if (!view.is_deleted && !allowed.contains(wanted))
    throw violation{fmt::format("group '{}' is shown with {} slots, which is "
                                "not what was acknowledged",
                                x.name, wanted)};
  for (auto& slot : view.slots)
    if (slot.index >= wanted && !slot.occupant.empty()
        && slot.health != slot_health::stopping)
      throw violation{fmt::format("group '{}' has {} slots, and '{}' goes on "
                                  "in slot {}",
                                  x.name, wanted, slot.occupant, slot.index)};
}

void crews::not_found(const crew& x, const std::set<size>& allowed) const {
  if (!allowed.contains(std::nullopt) && !x.possible.contains(std::nullopt))
    throw violation{"group '" + x.name + "' was acknowledged and is gone"};
}

// -- what must hold -----------------------------------------------------------

void crews::check() {
  read_documents();
  std::map<std::pair<std::string, std::uint8_t>, std::string> holders;
  for (auto& [sid, slot] : workforce_.occupants()) {
    auto [other, is_new]
      = holders.emplace(std::pair{slot.group, slot.index}, sid);
    if (!is_new)
      throw violation{fmt::format("worker {} and worker {} are in slot {} of "
                                  "group {}",
                                  other->second, sid, slot.index, slot.group)};
    auto name = names_.find(slot.group);
    if (name != names_.end()) {
      auto& known = documents_[name->second];
      if (known.id == slot.group && slot.term > known.last_term)
        throw violation{fmt::format("worker {} is of term {} of group '{}', "
                                    "on whose disk is no more than {}",
                                    sid, slot.term, name->second,
                                    known.last_term)};
    }
    for (auto& x : crews_)
      if (name != names_.end() && name->second == x.name
          && slot.index >= x.most)
        throw violation{fmt::format("worker {} is in slot {} of group '{}', "
                                    "which never had more than {}",
                                    sid, slot.index, x.name, x.most)};
  }
  if (bench_.is_running() && !bench_.has_died())
    check_recovered();
}

void crews::check_recovered() {
  auto& registry = recovery_state(bench_);
  std::map<std::string, std::uint64_t> reported;
  for (auto& x : registry.table->list(bench_.steady_ms() * 1'000'000))
    reported[x.name] = x.recovered;
  for (auto& [name, group] : registry.groups) {
    auto document = documents_.find(name);
    if (document == documents_.end() || document->second.id != group.id)
      continue;
    auto started = document->second.last_term;
    if (auto i = terms_before_.find(group.id); i != terms_before_.end())
      started -= std::min(started, i->second);
    auto count = reported["group:" + name];
    if (count > started)
      throw violation{fmt::format("group '{}' says that it put back {} slots, "
                                  "and has started {} workers",
                                  name, count, started)};
    auto& known = reports_[group.id];
    recovered_ += count - std::min(count, known);
    known = count;
  }
}

void crews::audit() {
  for (auto& x : crews_) {
    auto fine = x.possible;
    auto view = bench_.ask<slot_group_view>(group_atom::value, show_atom::value,
                                            x.name);
    if (bench_.has_died() || bench_.disk.is_off)
      return;
    if (view)
      shown(x, fine, *view);
    else if (view.error().code == errc::not_found)
      not_found(x, fine);
    else
      around_.refused("(group " + x.name + ")", view.error());
    if (bench_.has_died() || bench_.disk.is_off)
      return;
  }
}

void crews::audit_damaged(const damage& harm) {
  for (auto& x : crews_) {
    auto view = bench_.ask<slot_group_view>(group_atom::value, show_atom::value,
                                            x.name);
    if (bench_.has_died())
      return;
    if (view) {
      shown(x, x.possible, *view);
      continue;
    }
    auto& why = view.error();
    if (why.code == errc::not_found)
      not_found(x, x.possible);
    else if (harm.path() != path_of(x.name)
             || (why.code != errc::registry_corrupted
                 && why.code != errc::newer_format))
      throw violation{fmt::format("{}, and group '{}' is refused with {}",
                                  harm.text(), x.name, to_string(why.code))};
    else if (bench_.disk.contents(harm.path()) != harm.contents())
      throw violation{harm.text() + ", and a refused group has changed it"};
  }
}

void crews::check_rest() {
  for (auto& x : crews_) {
    auto answer = bench_.send<slot_group_view>(group_atom::value,
                                               reset_atom::value, x.name);
    // Its workers may still be looked for.
    for (int i = 0; i < 100 && !*answer; ++i)
      bench_.advance(std::chrono::milliseconds(100));
    if (!*answer)
      throw violation{"group '" + x.name + "' does not answer"};
    auto& view = **answer;
    // One that is on its way out goes on.
    if (!view && view.error().code != errc::not_found
        && view.error().code != errc::conflict)
      throw violation{"group '" + x.name
                      + "' cannot be reset: " + view.error().message};
  }
  require([this](std::string& why) {
    return std::all_of(crews_.begin(), crews_.end(),
                       [&](auto& x) { return is_full(x, why); })
           && has_no_strays(why);
  });
}

void crews::end() {
  for (auto& x : crews_) {
    auto gone = bench_.send<caf::ok_atom>(group_atom::value, delete_atom::value,
                                          x.name);
    require([&](std::string& why) {
      why = "group '" + x.name + "' is not deleted";
      return gone->has_value();
    });
    if (!**gone && (**gone).error().code == errc::not_found)
      not_found(x, x.possible);
    else if (!**gone)
      throw violation{"group '" + x.name
                      + "' cannot be deleted: " + (**gone).error().message};
    x.possible = {std::nullopt};
    if (bench_.disk.contents(path_of(x.name)))
      throw violation{"group '" + x.name + "' was deleted and is on disk"};
  }
  if (!workforce_.occupants().empty())
    throw violation{"worker " + workforce_.occupants().begin()->first
                    + " is left of a group that was deleted"};
  audit();
}

void crews::require(const std::function<bool(std::string&)>& is_so) {
  std::string why;
  for (int ticks = 0; !is_so(why); ++ticks) {
    if (ticks == patience)
      throw violation{why};
    bench_.advance(bench_.settings.tick.interval);
    check();
    recoverers_.check();
  }
}

bool crews::is_full(const crew& x, std::string& why) {
  auto view
    = bench_.ask<slot_group_view>(group_atom::value, show_atom::value, x.name);
  if (!view) {
    why = "group '" + x.name + "': " + view.error().message;
    if (view.error().code != errc::not_found)
      return false;
    not_found(x, x.possible);
    return true;
  }
  shown(x, x.possible, *view);
  if (view->is_deleted || view->slots.size() != view->definition.slots) {
    why = fmt::format("group '{}' has {} slots and wants {}", x.name,
                      view->slots.size(), view->definition.slots);
    return false;
  }
  auto living = workforce_.occupants();
  for (auto& slot : view->slots) {
    auto who = living.find(slot.occupant);
    if (slot.health == slot_health::healthy && who != living.end()
        && who->second.index == slot.index && who->second.term == slot.term)
      continue;
    why = fmt::format("slot {} of group '{}' is {}, with worker '{}': {}",
                      slot.index, x.name, to_string(slot.health), slot.occupant,
                      slot.last_error);
    return false;
  }
  return true;
}

bool crews::has_no_strays(std::string& why) {
  std::size_t wanted = 0;
  for (auto& [name, group] : recovery_state(bench_).groups)
    wanted += group.wanted;
  auto living = workforce_.occupants().size();
  why = fmt::format("{} workers have slots, and there are {}", living, wanted);
  return living == wanted;
}

// -- implementation details ---------------------------------------------------

void crews::read_documents() {
  for (auto& x : crews_) {
    auto text = bench_.disk.contents(path_of(x.name)).value_or("");
    auto& known = documents_[x.name];
    if (text == known.text)
      continue;
    auto before = std::exchange(known, {text, {}, 0});
    if (text.empty())
      continue;
    auto read = json::parse(text, nullptr, false);
    if (!read.is_object())
      throw violation{"the document of a group cannot be read: " + text};
    known.id = read["id"].get<std::string>();
    known.last_term = read["last_term"].get<std::uint64_t>();
    names_[known.id] = x.name;
    auto old = before.id == known.id ? before.last_term : 0;
    occupants_ += known.last_term - std::min(known.last_term, old);
  }
}

} // namespace muster::test
