// SPDX-License-Identifier: Apache-2.0

#include "tests/simulation/recoverers.hpp"

#include "messages/recovery_json.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

namespace muster::test {

namespace {

/// So many numbers are there for the slots of a handler.
constexpr std::uint8_t most_slots = 250;

constexpr std::size_t most_members = 8;

} // namespace

const recovery_registry_state& recovery_state(const node_bench& bench) {
  return static_cast<
           recovery_registry_impl::stateful_pointer<recovery_registry_state>>(
           caf::actor_cast<caf::abstract_actor*>(bench.parts().recovery))
    ->state;
}

recoverers::recoverers(
  node_bench& bench, std::mt19937_64& random,
  std::function<void(const std::function<std::string()>&)> note)
  : bench_(bench), random_(random), note_(std::move(note)) {
  // nop
}

recoverers::~recoverers() {
  go();
}

// -- life ---------------------------------------------------------------------

void recoverers::begin() {
  add_witness();
  for (auto count = roll(4); count > 0; --count)
    chance(2) ? add_function() : add_actor();
}

void recoverers::go() {
  for (auto& who : actors_)
    caf::anon_send_exit(who, caf::exit_reason::user_shutdown);
  for (auto& [name, who] : members_)
    who->is_over = true;
  actors_.clear();
  members_.clear();
  witness_ = nullptr;
  results_.clear();
  placed_.clear();
  passes_seen_ = 0;
  ++nodes_;
}

void recoverers::act() {
  auto what = roll(8);
  if (what == 0 && members_.size() < most_members) {
    chance(2) ? add_function() : add_actor();
    return;
  }
  if (actors_.empty())
    return;
  auto i = actors_.begin() + static_cast<std::ptrdiff_t>(roll(actors_.size()));
  if (what == 1) {
    note_([] { return "a recovery handler goes"; });
    caf::anon_send_exit(*i, caf::exit_reason::kill);
    actors_.erase(i);
  } else {
    caf::anon_send(*i, beat_atom::value);
  }
}

std::uint64_t recoverers::passes() const {
  return recovery_state(bench_).table->counters().passes;
}

void recoverers::told(std::uint64_t node, std::uint64_t before,
                      const recovery_pass& result) {
  // Each node counts its passes anew.
  if (node != nodes_)
    return;
  auto number = result.number;
  if (number <= before)
    throw violation{fmt::format("pass {} was asked for behind the end of "
                                "pass {}",
                                number, before)};
  auto [known, is_new] = results_.emplace(number, result);
  if (!is_new && known->second != result)
    throw violation{fmt::format("pass {} has two results: {} and {}", number,
                                to_json(known->second).dump(),
                                to_json(result).dump())};
  if (!is_new)
    return;
  for (auto& x : result.slots) {
    // Groups put the same slot back again and again.
    auto who = members_.find(x.handler);
    if (who == members_.end())
      continue;
    if (x.index >= who->second->given)
      throw violation{fmt::format("pass {} has slot {} of handler '{}', which "
                                  "it never put back",
                                  number, x.index, x.handler)};
    auto [place, is_first]
      = placed_.emplace(std::pair{x.handler, x.index}, number);
    if (!is_first)
      throw violation{fmt::format("slot {} of handler '{}' is in pass {} and "
                                  "in pass {}",
                                  x.index, x.handler, place->second, number)};
  }
}

// -- what must hold -----------------------------------------------------------

void recoverers::check() {
  if (!fault_.empty())
    throw violation{fault_};
  if (!witness_ || !bench_.is_running() || bench_.has_died())
    return;
  auto& table = *recovery_state(bench_).table;
  auto ended = table.counters().passes;
  if (ended < passes_seen_)
    throw violation{fmt::format("pass {} was the last one, and now pass {} is",
                                passes_seen_, ended)};
  all_passes_ += ended - passes_seen_;
  passes_seen_ = ended;
  // One pass after the other asks the witness, each of them once.
  auto begun = ended + (table.is_running() ? 1 : 0);
  if (witness_->asked > 0 && begun != passes_before_ + witness_->asked)
    throw violation{fmt::format("{} passes have begun, and {} have asked a "
                                "handler that was there since pass {}",
                                begun, witness_->asked, passes_before_ + 1)};
  std::uint64_t given = 0;
  for (auto& x : table.list(bench_.steady_ms() * 1'000'000)) {
    auto who = members_.find(x.name);
    if (who != members_.end() && x.recovered > who->second->given)
      throw violation{fmt::format("handler '{}' has put back {} slots, and {} "
                                  "are counted",
                                  x.name, who->second->given, x.recovered)};
    given += x.recovered;
  }
  if (given > table.counters().recovered)
    throw violation{fmt::format("handlers have put back {} slots, and {} are "
                                "counted in all",
                                given, table.counters().recovered)};
}

// -- those who are asked ------------------------------------------------------

recoverers::member_ptr recoverers::make_member(const char* kind) {
  auto out = std::make_shared<member>();
  out->name = fmt::format("{}-{}", kind, ++last_name_);
  members_[out->name] = out;
  return out;
}

handler_policy recoverers::some_policy() {
  return chance(2) ? handler_policy::evict : handler_policy::quarantine;
}

void recoverers::add_witness() {
  auto me = witness_ = make_member("witness");
  auto* registry = &recovery_state(bench_);
  caf::anon_send(
    caf::actor_cast<recovery_registry_impl>(bench_.parts().recovery),
    recovery_atom::value, register_atom::value,
    local_handler{{me->name}, [=, this](std::uint64_t budget) {
                    if (me->is_over)
                      return slots{};
                    auto ended = registry->table->counters().passes;
                    if (me->asked == 0)
                      passes_before_ = ended;
                    asked(*me, ended + 1);
                    me->owes = false;
                    return some_slots(*me, budget);
                  }});
}

void recoverers::add_function() {
  auto me = make_member("function");
  auto* registry = &recovery_state(bench_);
  caf::anon_send(
    caf::actor_cast<recovery_registry_impl>(bench_.parts().recovery),
    recovery_atom::value, register_atom::value,
    local_handler{{me->name, some_policy()}, [=, this](std::uint64_t budget) {
                    if (me->is_over)
                      return slots{};
                    asked(*me, registry->table->counters().passes + 1);
                    me->owes = false;
                    if (chance(8)) {
                      ++times_failed_;
                      throw std::runtime_error{"it broke"};
                    }
                    return some_slots(*me, budget);
                  }});
}

void recoverers::add_actor() {
  auto me = make_member("actor");
  auto who = bench_.system().spawn(behave, this, me);
  actors_.push_back(who);
  caf::anon_send(bench_.parts().recovery, recovery_atom::value,
                 register_atom::value,
                 handler_definition{me->name, some_policy()},
                 caf::actor_cast<recovery_handler_actor>(who));
}

recoverers::recoverer_actor::behavior_type
recoverers::behave(recoverer_actor::stateful_pointer<actor_state> self,
                   recoverers* all, member_ptr me) {
  return {
    [=](recover_atom, std::uint64_t pass,
        std::uint64_t budget) -> caf::result<slots> {
      if (me->is_over)
        return slots{};
      all->asked(*me, pass);
      if (all->chance(8)) {
        ++all->times_failed_;
        me->owes = false;
        return make_error(errc::internal, "it cannot");
      }
      if (all->chance(2)) {
        me->owes = false;
        return all->some_slots(*me, budget);
      }
      self->state.open = self->make_response_promise<slots>();
      return self->state.open;
    },
    [=](beat_atom) {
      if (!me->owes || me->is_over)
        return;
      me->owes = false;
      self->state.open.deliver(all->some_slots(*me, 1 + all->roll(4)));
    },
  };
}

void recoverers::asked(member& who, std::uint64_t pass) {
  ++times_asked_;
  ++who.asked;
  if (who.owes)
    broken(fmt::format("pass {} asks handler '{}', which owes pass {} its "
                       "answer",
                       pass, who.name, who.pass));
  if (pass <= who.pass)
    broken(fmt::format("pass {} asks handler '{}' behind pass {}", pass,
                       who.name, who.pass));
  who.pass = pass;
  who.owes = true;
}

recoverers::slots recoverers::some_slots(member& who, std::uint64_t budget) {
  slots out;
  for (auto count = std::min<std::uint64_t>(budget, roll(3));
       count > 0 && !is_healed_ && who.given < most_slots; --count)
    out.push_back(who.given++);
  return out;
}

void recoverers::broken(std::string what) {
  if (fault_.empty())
    fault_ = std::move(what);
}

} // namespace muster::test
