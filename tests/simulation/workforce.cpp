// SPDX-License-Identifier: Apache-2.0

#include "tests/simulation/workforce.hpp"

#include "actors/recovery/slot_group_document.hpp"

#include "messages/history.hpp"
#include "messages/json.hpp"

#include <fmt/format.h>

#include <algorithm>

#include <signal.h>

using namespace std::chrono_literals;

namespace muster::test {

namespace {

constexpr const char* document_path = "/state/pool/registry.json";
constexpr const char* group_folder = "/state/groups/";

} // namespace

workforce::workforce(
  node_bench& bench, model& known, std::mt19937_64& random,
  std::function<void(const std::function<std::string()>&)> note)
  : bench_(bench), model_(known), random_(random), note_(std::move(note)) {
  // nop
}

// -- life ---------------------------------------------------------------------

void workforce::disturb() {
  auto what = roll(16);
  if (what < 4)
    spoil_start();
  else if (what < 7)
    end_silence();
  else if (what < 8)
    reuse_pid();
  auto sid = what < 8 ? std::string{} : some();
  if (sid.empty())
    return;
  auto& x = bench_.workers->all().at(sid);
  switch (what) {
    case 8:
      crash(sid);
      break;
    case 9:
      crashing_ = x.core->standing().session_id.value_or("");
      crashes_left_ = crashing_.empty() ? 0 : 1 + static_cast<int>(roll(4));
      break;
    case 10:
    case 11:
      hang(sid, chance(3));
      break;
    case 12:
    case 13:
      wake(sid);
      break;
    case 14:
      disturbed_.insert(sid);
      bench_.workers->delay(sid, std::chrono::milliseconds{1 + roll(700)});
      note_([&] { return "worker " + sid + " is slow"; });
      break;
    default:
      kill(sid);
      break;
  }
}

void workforce::go_on_alone() {
  std::chrono::milliseconds passed{0};
  for (auto rounds = roll(4); rounds > 0; --rounds) {
    for (auto slices = roll(20); slices > 0; --slices)
      bench_.workers->work();
    if (!is_healed_ && chance(4))
      disturb();
    if (!is_healed_ && chance(4))
      usurp();
    if (chance(4)) {
      std::chrono::milliseconds time{1 + roll(3'000)};
      passed += time;
      bench_.move_clock(time);
    }
  }
  if (passed >= bench_.settings.pool.orphan_timeout)
    survivors_.clear();
}

void workforce::forget() {
  survivors_.clear();
  hopeless_.clear();
  signals_seen_ = bench_.workers->signals.size();
}

void workforce::heal() {
  is_healed_ = true;
  bench_.workers->scripts.clear();
  bench_.workers->dying_at_hello = 0;
  crashes_left_ = 0;
  for (auto& sid : bench_.workers->living())
    wake(sid);
  for (auto& sid : bench_.workers->living())
    if (!bench_.workers->all().at(sid).hangs)
      bench_.workers->become_ready(sid);
}

void workforce::clear_away() {
  for (auto& sid : bench_.workers->living())
    if (hopeless_.contains(sid) && !names(sid))
      kill(sid);
}

// -- what happens to them -----------------------------------------------------

void workforce::kill(const std::string& sid) {
  ++counters_.killed;
  survivors_.erase(sid);
  note_([&] { return "worker " + sid + " is killed"; });
  bench_.workers->die(sid, SIGKILL);
}

void workforce::crash(const std::string& sid) {
  ++counters_.crashed;
  survivors_.erase(sid);
  read_document();
  auto entry = document_.entries.find(sid);
  auto session = bench_.workers->standing(sid).session_id.value_or(
    entry != document_.entries.end() ? entry->second : std::string{});
  model_.crashed(session);
  note_([&] { return "worker " + sid + " crashes, of session " + session; });
  bench_.workers->die(sid, SIGSEGV);
}

void workforce::hang(const std::string& sid, bool for_ever) {
  ++counters_.hung;
  survivors_.erase(sid);
  disturbed_.insert(sid);
  if (for_ever)
    hopeless_.insert(sid);
  note_([&] {
    return "worker " + sid + (for_ever ? " hangs for ever" : " hangs");
  });
  bench_.workers->hang(sid);
}

void workforce::wake(const std::string& sid) {
  if (hopeless_.contains(sid) || !bench_.workers->all().at(sid).hangs)
    return;
  note_([&] { return "worker " + sid + " goes on"; });
  bench_.workers->wake(sid);
}

void workforce::spoil_start() {
  auto& workers = *bench_.workers;
  if (workers.scripts.size() + workers.dying_at_hello > 2)
    return;
  switch (roll(6)) {
    case 0:
      note_([] { return "the next worker is not started"; });
      workers.scripts.push_back(
        {failure{errc::overloaded, "there is no room for a process"},
         std::nullopt, obedience::ends});
      break;
    case 1:
      note_([] { return "the next worker dies when it is greeted"; });
      ++workers.dying_at_hello;
      break;
    default:
      note_([] { return "the next worker does not say that it is ready"; });
      workers.scripts.push_back({std::nullopt, std::nullopt, obedience::ends});
      break;
  }
}

void workforce::end_silence() {
  auto& workers = *bench_.workers;
  for (auto& [sid, x] : workers.all())
    if (!x.hangs && !workers.is_ready(x.who)) {
      auto silent = sid;
      if (chance(4)) {
        kill(silent);
      } else {
        note_([&] { return "worker " + silent + " is ready"; });
        workers.become_ready(silent);
      }
      return;
    }
}

void workforce::reuse_pid() {
  if (pids_.empty())
    return;
  auto pid = pids_[roll(pids_.size())];
  note_([&] { return fmt::format("pid {} is used again", pid); });
  if (chance(2))
    bench_.workers->next_pid = pid;
  else
    std::ignore = bench_.workers->begin_stranger(pid);
}

void workforce::usurp() {
  read_document();
  for (auto& [sid, sock] : document_.socks) {
    // One that nobody has greeted could still be anybody.
    if (lives(sid) && !bench_.workers->all().at(sid).core->was_greeted()
        && chance(2))
      kill(sid);
    if (lives(sid) || !chance(2))
      continue;
    ++counters_.usurped;
    note_([&, &sid = sid] { return "a stranger answers for worker " + sid; });
    bench_.workers->usurp(sock, pids_.empty() ? 1 : pids_[roll(pids_.size())]);
  }
}

void workforce::go_on_crashing() {
  for (auto& sid : bench_.workers->living())
    if (crashes_left_ > 0
        && bench_.workers->standing(sid).session_id == crashing_) {
      --crashes_left_;
      crash(sid);
    }
}

// -- what must hold -----------------------------------------------------------

void workforce::check() {
  auto& workers = *bench_.workers;
  note_begun();
  go_on_crashing();
  read_document();
  std::map<std::string, std::string> holders;
  for (auto& [sid, x] : workers.all()) {
    auto session = x.core->standing().session_id;
    if (!session)
      continue;
    auto [other, is_new] = holders.emplace(*session, sid);
    if (!is_new)
      throw violation{fmt::format("session {} is in worker {} and in worker {}",
                                  *session, other->second, sid)};
    if (!document_.entries.contains(sid))
      throw violation{fmt::format("worker {} has session {} and is not named "
                                  "on disk",
                                  sid, *session)};
  }
  for (; signals_seen_ < workers.signals.size(); ++signals_seen_) {
    auto& [who, number] = workers.signals[signals_seen_];
    if (!identities_.contains(who))
      throw violation{fmt::format("process {} is no worker and gets signal {}",
                                  who.pid, number)};
  }
  if (auto held = workers.held_stranger())
    throw violation{
      fmt::format("process {} is no worker and is held as one", held->pid)};
}

void workforce::expect_survivors() {
  survivors_.clear();
  auto& workers = *bench_.workers;
  for (auto& [sid, x] : workers.all()) {
    auto standing = x.core->standing();
    if (standing.session_id && standing.at_rest && !x.hangs
        && !disturbed_.contains(sid) && !is_to_go(sid))
      survivors_[sid] = {x.who.pid, *standing.session_id, standing.seq};
  }
}

bool workforce::is_to_go(const std::string& sid) const {
  auto may_be_of_a_deleted_one = false;
  for (auto& path : bench_.disk.names()) {
    if (!path.starts_with(group_folder) || !path.ends_with(".json"))
      continue;
    auto group = read_slot_group(*bench_.disk.contents(path), path);
    if (!group)
      continue;
    for (auto& slot : group->slots)
      if (slot.occupant == sid)
        return group->is_deleted || slot.index >= group->definition.slots
               || slot.health != slot_health::healthy;
    // Its workers may not be in its document yet.
    may_be_of_a_deleted_one = may_be_of_a_deleted_one || group->is_deleted;
  }
  return may_be_of_a_deleted_one;
}

void workforce::check_survivors() {
  auto expected = std::exchange(survivors_, {});
  if (expected.empty())
    return;
  auto known
    = bench_.ask<std::vector<worker_view>>(pool_atom::value, list_atom::value);
  // The disk has its faults as well.
  if (!known || bench_.has_died() || bench_.disk.is_off)
    return;
  for (auto& [sid, x] : expected) {
    auto stored = bench_.stored(x.session);
    if (!stored || bench_.has_died() || bench_.disk.is_off)
      return;
    history events;
    std::string code_hash;
    for (auto& batch : stored->events)
      if (auto more = decode_history(batch.payload, code_hash))
        events.insert(events.end(), more->begin(), more->end());
    // What was answered meanwhile goes on, here or elsewhere.
    if (events.size() != x.seq
        || !std::holds_alternative<paused_event>(events.back().body))
      continue;
    auto same = std::any_of(known->begin(), known->end(), [&](auto& one) {
      return one.sid == sid && one.pid == x.pid && one.session == x.session;
    });
    if (!same || !lives(sid))
      throw violation{fmt::format("worker {} waited in a pause of session {} "
                                  "and does not go on with the next node",
                                  sid, x.session)};
    ++counters_.survived;
  }
}

void workforce::check_rest() {
  read_document();
  for (auto& sid : bench_.workers->living())
    if (!document_.entries.contains(sid))
      throw violation{
        fmt::format("worker {} lives and is not named on disk", sid)};
  for (auto& [sid, session] : document_.entries)
    if (!lives(sid))
      throw violation{
        fmt::format("worker {} is named on disk and does not live", sid)};
  auto all = bench_.list();
  if (!all)
    throw violation{"the sessions cannot be listed: " + all.error().message};
  std::set<std::string> going_on;
  for (auto& line : *all)
    if (!is_terminal(line.phase))
      going_on.insert(line.session_id);
  for (auto& [sid, session] : document_.entries)
    if (!session.empty() && !going_on.contains(session))
      throw violation{fmt::format("worker {} has session {}, which is over or "
                                  "never was",
                                  sid, session)};
}

void workforce::check_end() {
  auto left = bench_.workers->living();
  if (!left.empty())
    throw violation{fmt::format("worker {} is left", left.front())};
  if (bench_.workers->sockets->size() > 0)
    throw violation{
      fmt::format("{} connections are left", bench_.workers->sockets->size())};
  if (bench_.workers->size() > 0)
    throw violation{
      fmt::format("{} processes are held", bench_.workers->size())};
  check_rest();
}

// -- introspection ------------------------------------------------------------

std::string workforce::some() {
  auto all = bench_.workers->living();
  return all.empty() ? std::string{} : all[roll(all.size())];
}

bool workforce::has_begun(const std::string& sid) {
  note_begun();
  return sids_.contains(sid);
}

bool workforce::names(const std::string& sid) {
  read_document();
  return document_.entries.contains(sid);
}

std::map<std::string, slot_id> workforce::occupants() {
  read_document();
  std::map<std::string, slot_id> out;
  for (auto& [sid, slot] : document_.slots)
    if (lives(sid))
      out.emplace(sid, slot);
  return out;
}

// -- implementation details ---------------------------------------------------

void workforce::note_begun() {
  auto& begun = bench_.workers->begun;
  for (; counters_.started < begun.size(); ++counters_.started) {
    auto& [sid, who] = begun[counters_.started];
    sids_.insert(sid);
    identities_.insert(who);
    pids_.push_back(who.pid);
  }
}

void workforce::read_document() {
  auto text = bench_.disk.contents(document_path).value_or("");
  if (text == document_.text)
    return;
  document_ = {};
  document_.text = text;
  if (text.empty())
    return;
  auto read = json::parse(text, nullptr, false);
  if (!read.is_object())
    throw violation{"the document of the pool cannot be read: " + text};
  for (auto* list : {"sessions", "starting"})
    for (auto& entry : read[list]) {
      auto sid = entry["sid"].get<std::string>();
      document_.entries[sid]
        = entry.contains("session") && entry["session"].is_string()
            ? entry["session"].get<std::string>()
            : std::string{};
      document_.socks[sid] = entry["sock"].get<std::string>();
      if (entry.contains("request_id"))
        if (auto slot = slot_id_from(entry["request_id"].get<std::string>()))
          document_.slots.emplace(sid, std::move(*slot));
    }
}

} // namespace muster::test
