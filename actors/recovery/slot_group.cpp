// SPDX-License-Identifier: Apache-2.0

#include "actors/recovery/slot_group.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace muster {

namespace {

using group_pointer = slot_group_impl::stateful_pointer<slot_group_state>;

/// How long a view waits for what the keeper knows of the occupants.
constexpr std::chrono::milliseconds list_patience = std::chrono::seconds(2);

void perform(group_pointer self, slot_group::effects todo);

std::int64_t now_ns(group_pointer self) {
  return self->state.parts->env.steady_ns();
}

slot_id id_of(group_pointer self, std::uint8_t index, std::uint64_t term) {
  return {self->state.core->id(), index, term};
}

std::string path_of(group_pointer self) {
  return slot_group_path(self->state.core->definition().name);
}

/// The order of a slot. There is nothing to be said about a worker.
pod_order order_of(const slot_group_definition& what, std::uint8_t index) {
  return what.kind == slot_kind::pod ? slot_order(what, index) : pod_order{};
}

/// Asks the keeper something about a slot, and does what follows.
/// @param done is given the answer, and gives effects.
/// @param failed is given the failure instead.
template <class Answer, class Verb, class Done, class Failed, class... Ts>
void ask_keeper(group_pointer self, Verb verb, const slot_id& slot, Done done,
                Failed failed, Ts&&... more) {
  self
    ->request(self->state.parts->keeper, caf::infinite, slot_atom::value, verb,
              slot, std::forward<Ts>(more)...)
    .then(
      [=](Answer& answer) {
        if (!self->state.is_stopping)
          perform(self, done(answer));
      },
      [=](const caf::error& error) {
        if (!self->state.is_stopping)
          perform(self, failed(from_caf(error)));
      });
}

// -- effects ------------------------------------------------------------------

struct performer {
  group_pointer self;

  using effects = slot_group::effects;

  [[nodiscard]] slot_group_core& core() const {
    return *self->state.core;
  }

  effects operator()(slot_group::save& x) const {
    auto done = [self = self](const expected<void>& result) {
      perform(self, self->state.core->saved(result, now_ns(self)));
    };
    self
      ->request(self->state.parts->persistence, caf::infinite, save_atom::value,
                path_of(self), std::move(x.text))
      .then([=](caf::ok_atom) { done({}); },
            [=](const caf::error& error) {
              done(tl::unexpected<failure>{from_caf(error)});
            });
    return {};
  }

  effects operator()(slot_group::remove_document&) const {
    auto done = [self = self](const expected<void>& result) {
      perform(self, self->state.core->removed(result));
      if (self->state.core->is_gone())
        self->quit();
    };
    self
      ->request(self->state.parts->persistence, caf::infinite,
                remove_atom::value, path_of(self))
      .then([=](caf::ok_atom) { done({}); },
            [=](const caf::error& error) {
              done(tl::unexpected<failure>{from_caf(error)});
            });
    return {};
  }

  effects operator()(slot_group::start& x) const {
    auto slot = id_of(self, x.index, x.term);
    auto order = order_of(core().definition(), x.index);
    ask_keeper<slot_occupant>(
      self, spawn_atom::value, slot,
      [self = self, slot](slot_occupant& found) {
        return self->state.core->started(slot.index, slot.term, found.id, {},
                                         now_ns(self));
      },
      [self = self, slot](const failure& why) { return undo(self, slot, why); },
      std::move(order));
    return {};
  }

  /// What could not be started may be there all the same, so it is stopped
  /// first. If that fails, the start has had its time some day.
  static effects undo(group_pointer self, const slot_id& slot,
                      const failure& why) {
    ask_keeper<caf::ok_atom>(
      self, stop_atom::value, slot,
      [=](caf::ok_atom) {
        return self->state.core->start_failed(slot.index, slot.term, why, {},
                                              now_ns(self));
      },
      [=](const failure&) {
        self->state.core->note_trouble(slot.index, slot.term, why);
        return effects{};
      });
    return {};
  }

  effects operator()(slot_group::stop& x) const {
    auto slot = id_of(self, x.index, x.term);
    ask_keeper<caf::ok_atom>(
      self, stop_atom::value, slot,
      [self = self, slot](caf::ok_atom) {
        return self->state.core->stopped(slot.index, slot.term, now_ns(self));
      },
      [self = self, slot](const failure& why) {
        // It is asked for again.
        self->state.core->note_trouble(slot.index, slot.term, why);
        self->state.parts->warn(
          fmt::format("slot {} of group '{}' cannot be emptied: {}", slot.index,
                      self->state.core->definition().name, why.message));
        return effects{};
      });
    return {};
  }

  effects operator()(slot_group::find& x) const {
    auto slot = id_of(self, x.index, x.term);
    ask_keeper<slot_occupant>(
      self, find_atom::value, slot,
      [self = self, slot](slot_occupant& found) {
        return self->state.core->started(slot.index, slot.term, found.id, {},
                                         now_ns(self));
      },
      [self = self, slot](const failure& why) {
        // Whatever else it is, it is no death; it is asked again.
        if (why.code == errc::not_found)
          return self->state.core->absent(slot.index, slot.term, now_ns(self));
        self->state.core->note_trouble(slot.index, slot.term, why);
        return effects{};
      });
    return {};
  }

  template <class Reply>
  effects operator()(Reply&) const {
    // Answered by whoever has its promise.
    return {};
  }
};

/// Says how the group is, if that is news.
void note_health(group_pointer self) {
  auto& st = self->state;
  std::pair health{st.core->healthy(),
                   static_cast<std::size_t>(st.core->definition().slots)};
  if (std::exchange(st.noted, health) != health)
    st.parts->note(health.first, health.second);
}

/// Sets the timer for the first slot whose delay is over.
void arm_delay(group_pointer self) {
  auto& st = self->state;
  auto limit = st.core->next_start_ns(now_ns(self));
  if (!limit || (st.timer_ns && *st.timer_ns <= *limit))
    return;
  st.timer_ns = limit;
  auto left = std::max<std::int64_t>(*limit - now_ns(self), 0);
  self->delayed_send(self,
                     std::chrono::milliseconds((left + 999'999) / 1'000'000),
                     expire_atom::value, ++st.timer_number);
}

void perform(group_pointer self, slot_group::effects todo) {
  if (self->state.is_stopping)
    return;
  drive_effects(self, std::move(todo), performer{self});
  note_health(self);
  arm_delay(self);
}

// -- requests -----------------------------------------------------------------

/// Answers with the group as it is, and with what its keeper knows of those
/// who occupy it.
void deliver_view(group_pointer self,
                  caf::typed_response_promise<slot_group_view> rp) {
  auto& core = *self->state.core;
  slot_group_view view{
    core.definition(), core.is_deleted(), core.slots(now_ns(self)), {}};
  self
    ->request(self->state.parts->keeper, list_patience, slot_atom::value,
              list_atom::value, core.id())
    .then(
      [=](std::vector<slot_occupant>& found) mutable {
        for (auto& slot : view.slots)
          for (auto& x : found)
            if (x.slot.index == slot.index && x.slot.term == slot.term) {
              slot.occupant = x.id;
              slot.pid = x.pid;
              slot.session = x.session;
            }
        rp.deliver(std::move(view));
      },
      [=](const caf::error&) mutable { rp.deliver(std::move(view)); });
}

/// Passes a request to the core, and answers with the group once it is done.
template <class Ask>
void enter_view(group_pointer self,
                caf::typed_response_promise<slot_group_view> rp, Ask ask) {
  auto ticket = open_request(self, [=](slot_group::effect& x) mutable {
    if (auto* refusal = std::get_if<slot_group::reply_refusal>(&x))
      rp.deliver(to_caf(refusal->why));
    else {
      // What was asked for may have something to be done.
      self->state.parts->wake();
      deliver_view(self, rp);
    }
  });
  perform(self, ask(ticket));
}

/// The orders of so many slots.
std::vector<pod_order> orders_of(const slot_group_definition& what,
                                 std::uint8_t slots) {
  std::vector<pod_order> out;
  for (unsigned i = 0; i < slots; ++i)
    out.push_back(order_of(what, static_cast<std::uint8_t>(i)));
  return out;
}

/// Lets the keeper refuse what could never be done, before anything is changed.
/// @param run does it, if that is not so.
template <class T, class Run>
caf::result<T>
enter_checked(group_pointer self, std::vector<pod_order> orders, Run run) {
  auto rp = self->make_response_promise<T>();
  self
    ->request(self->state.parts->keeper, caf::infinite, slot_atom::value,
              check_atom::value, std::move(orders))
    .then([=](caf::ok_atom) { run(rp); },
          [=](const caf::error& error) mutable {
            rp.deliver(to_caf(from_caf(error)));
          });
  return rp;
}

slot_group::effects on_event(group_pointer self, const slot_event& x) {
  auto& core = *self->state.core;
  auto& slot = x.slot;
  auto now = now_ns(self);
  switch (x.what) {
    case slot_change::ended:
      return core.occupant_ended(slot.index, slot.term, x.why, now);
    case slot_change::released:
      return core.occupant_released(slot.index, slot.term, now);
    case slot_change::unhealthy:
      return core.occupant_unhealthy(slot.index, slot.term, x.why, now);
    case slot_change::healthy:
      return core.occupant_healthy(slot.index, slot.term);
  }
  return {};
}

std::string filled(std::string text, const std::string& index) {
  for (auto at = text.find(slot_placeholder); at != std::string::npos;
       at = text.find(slot_placeholder, at + index.size()))
    text.replace(at, slot_placeholder.size(), index);
  return text;
}

} // namespace

std::string slot_group_path(const std::string& name) {
  return fmt::format("{}/{}.json", slot_group_folder, name);
}

pod_order slot_order(const slot_group_definition& what, std::uint8_t index) {
  auto out = what.pod;
  auto number = std::to_string(index);
  out.name = fmt::format("{}-{}", what.name, number);
  out.task = filled(std::move(out.task), number);
  out.cwd = filled(std::move(out.cwd), number);
  for (auto& word : out.command)
    word = filled(std::move(word), number);
  for (auto* rules : {&out.scope, &out.delegation.allow, &out.delegation.deny})
    for (auto& rule : *rules)
      rule.target = filled(std::move(rule.target), number);
  return out;
}

slot_group_impl::behavior_type
slot_group_behavior(group_pointer self,
                    std::shared_ptr<const slot_group_parts> parts,
                    slot_group_document document, bool is_new) {
  auto& st = self->state;
  st.parts = std::move(parts);
  auto seed = st.parts->env.random()[0];
  st.core = std::make_unique<slot_group_core>(st.parts->settings, seed);
  auto kept = std::make_shared<slot_group_document>(std::move(document));
  if (!is_new)
    perform(self, st.core->restore(std::move(*kept), now_ns(self)));
  return {
    // -- recovery -------------------------------------------------------------
    [=](recover_atom, std::uint64_t,
        std::uint64_t budget) -> caf::result<std::vector<std::uint8_t>> {
      perform(self, self->state.core->tick(budget, now_ns(self)));
      return self->state.core->take_recovered();
    },
    [=](slot_atom, const slot_event& x) { perform(self, on_event(self, x)); },
    // -- clients --------------------------------------------------------------
    [=](group_atom, show_atom) -> caf::result<slot_group_view> {
      auto rp = self->make_response_promise<slot_group_view>();
      deliver_view(self, rp);
      return rp;
    },
    [=](group_atom, scale_atom, std::uint8_t slots) {
      auto& now = self->state.core->definition();
      // Whatever has become of what was lent, there can be less of it.
      auto orders
        = slots > now.slots ? orders_of(now, slots) : std::vector<pod_order>{};
      return enter_checked<slot_group_view>(
        self, std::move(orders), [=](auto rp) {
          enter_view(self, rp, [=](auto ticket) {
            return self->state.core->scale(ticket, slots, now_ns(self));
          });
        });
    },
    [=](group_atom, reset_atom) {
      return enter_checked<slot_group_view>(self, {}, [=](auto rp) {
        enter_view(self, rp, [=](auto ticket) {
          return self->state.core->reset(ticket, now_ns(self));
        });
      });
    },
    [=](group_atom, delete_atom) {
      return enter_checked<caf::ok_atom>(self, {}, [=](auto rp) {
        auto ticket = open_request(self, [=](slot_group::effect& x) mutable {
          if (auto* refusal = std::get_if<slot_group::reply_refusal>(&x))
            rp.deliver(to_caf(refusal->why));
          else
            rp.deliver(caf::ok_atom::value);
        });
        perform(self, self->state.core->remove(ticket, now_ns(self)));
      });
    },
    // -- the end --------------------------------------------------------------
    [=](stop_atom) {
      self->state.is_stopping = true;
      for (auto& [ticket, answer] : std::exchange(self->state.open, {})) {
        slot_group::effect refusal = slot_group::reply_refusal{
          ticket,
          {errc::shutting_down,
           "the node is about to stop and takes no new work"}};
        answer(refusal);
      }
    },
    // -- the actor itself -----------------------------------------------------
    [=](group_atom, create_atom) {
      return enter_checked<slot_group_view>(
        self, orders_of(kept->definition, kept->definition.slots),
        [=](auto rp) {
          enter_view(self, rp, [=](auto ticket) {
            return self->state.core->create(ticket, std::move(*kept),
                                            now_ns(self));
          });
        });
    },
    [=](expire_atom, std::uint64_t number) {
      if (number != self->state.timer_number)
        return;
      self->state.timer_ns.reset();
      if (!self->state.is_stopping)
        self->state.parts->wake();
    },
  };
}

} // namespace muster
