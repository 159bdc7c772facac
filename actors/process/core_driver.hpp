// SPDX-License-Identifier: Apache-2.0

// How an actor drives a pure core that decides about processes: the core is
// told what happened and gives back effects, in order; the actor performs them
// and tells the core what came of each.

#pragma once

#include "messages/atoms.hpp"
#include "messages/caf_support.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace muster {

/// What such an actor keeps. `Parts` has an `environment env`; `Effect` is a
/// variant in which each answer to a request has its ticket in `to`.
template <class Core, class Parts, class Effect>
struct core_driver {
  using effects = std::vector<Effect>;

  /// Answers one request: with a message of the effect that it is given.
  using answer = std::function<void(Effect&)>;

  std::shared_ptr<const Parts> parts;
  std::unique_ptr<Core> table;

  /// Requests that are not answered, by ticket.
  std::map<std::uint64_t, answer> open;
  std::uint64_t last_ticket = 0;

  /// When the timer that is set goes off, and which one counts.
  std::optional<std::int64_t> timer_ns;
  std::uint64_t timer_number = 0;
};

/// The request that an effect answers; 0 if it answers none.
template <class Effect>
std::uint64_t answered_by(const Effect& x) {
  return std::visit(
    [](auto& reply) -> std::uint64_t {
      if constexpr (requires { reply.to; })
        return reply.to;
      else
        return 0;
    },
    x);
}

/// Tells an actor what happens to something, for as long as the actor is there.
/// @param make makes the message of the event.
template <class Event, class Pointer, class F>
std::function<void(Event)> make_listener(Pointer self, F make) {
  auto weak = caf::actor_cast<caf::weak_actor_ptr>(self);
  return [weak, make = std::move(make)](Event event) {
    if (auto strong = weak.lock())
      caf::anon_send(caf::actor_cast<caf::actor>(strong),
                     make(std::move(event)));
  };
}

/// Sets the timer, unless one goes off before it is needed.
template <class Pointer>
void arm(Pointer self) {
  auto& st = self->state;
  auto limit = st.table->limit_ns();
  if (!limit || (st.timer_ns && *st.timer_ns <= *limit))
    return;
  st.timer_ns = limit;
  auto left = std::max<std::int64_t>(*limit - st.parts->env.steady_ns(), 0);
  // Rounded up: a timer that is early would have to be set again.
  self->delayed_send(self,
                     std::chrono::milliseconds((left + 999'999) / 1'000'000),
                     expire_atom::value, ++st.timer_number);
}

/// Does what a core wants, and what it wants next, in order.
/// @param performer does one effect, and gives what follows from it at once.
template <class Pointer, class Effects, class Performer>
void drive_effects(Pointer self, Effects todo, Performer performer) {
  std::deque<typename Effects::value_type> queue(
    std::make_move_iterator(todo.begin()), std::make_move_iterator(todo.end()));
  while (!queue.empty()) {
    auto effect = std::move(queue.front());
    queue.pop_front();
    if (auto to = answered_by(effect); to != 0) {
      auto request = self->state.open.extract(to);
      if (!request.empty())
        request.mapped()(effect);
      continue;
    }
    auto next = std::visit(performer, effect);
    // What follows from an effect comes before those behind it.
    queue.insert(queue.begin(), std::make_move_iterator(next.begin()),
                 std::make_move_iterator(next.end()));
  }
}

/// The same, and then sets the timer.
template <class Pointer, class Effects, class Performer>
void drive(Pointer self, Effects todo, Performer performer) {
  drive_effects(self, std::move(todo), performer);
  arm(self);
}

/// Remembers a request.
/// @param answer is given the effect that answers it.
/// @returns its ticket.
template <class Pointer, class Answer>
std::uint64_t open_request(Pointer self, Answer answer) {
  auto ticket = ++self->state.last_ticket;
  self->state.open.emplace(ticket, std::move(answer));
  return ticket;
}

/// The same for a request of an actor, which is answered with an effect of kind
/// `Reply`, or with one of kind `Refusal`.
/// @param f makes the answer of it.
/// @param ask is called with the ticket.
template <class T, class Reply, class Refusal, class Pointer, class F,
          class Ask>
caf::result<T> enter(Pointer self, F f, Ask ask) {
  auto rp = self->template make_response_promise<T>();
  ask(open_request(self, [=](auto& x) mutable {
    if (auto* reply = std::get_if<Reply>(&x))
      rp.deliver(f(*reply));
    else if (auto* refusal = std::get_if<Refusal>(&x))
      rp.deliver(to_caf(refusal->why));
  }));
  return rp;
}

/// Keeps a copy of a document that cannot be read, unless there is one.
template <class Pointer, class Persistence>
void keep_broken_copy(Pointer self, const Persistence& disk,
                      std::string document, std::string text) {
  auto path = std::move(document) + ".broken";
  auto ignore = [](const caf::error&) {
    // The document is as it was.
  };
  auto keep = [=](const std::string& known) {
    if (known.empty())
      self->request(disk, caf::infinite, save_atom::value, path, text)
        .then([](caf::ok_atom) {}, ignore);
  };
  self->request(disk, caf::infinite, read_atom::value, path).then(keep, ignore);
}

/// The timer of that number went off.
/// @returns whether it is the one that counts.
template <class Pointer>
bool timer_fired(Pointer self, std::uint64_t number) {
  auto& st = self->state;
  if (number != st.timer_number)
    return false;
  st.timer_ns.reset();
  return true;
}

} // namespace muster
