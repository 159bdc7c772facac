// SPDX-License-Identifier: Apache-2.0

#include "tests/simulation/audience.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace muster::test {

audience::audience(
  node_bench& bench, model& known, std::mt19937_64& random,
  std::function<void(const std::function<std::string()>&)> note)
  : bench_(bench), model_(known), random_(random), note_(std::move(note)),
    seats_(3) {
  seats_[1].patience = 20;
  seats_[2].patience = 2'000;
}

audience::~audience() {
  go();
}

// -- life ---------------------------------------------------------------------

viewer_actor::behavior_type
audience::view(viewer_actor::pointer self, node_actor node,
               std::shared_ptr<std::deque<parcel>> inbox) {
  return {
    [=](const observed_event& event) { inbox->push_back(event); },
    [=](lagged_atom, const std::string& id, std::uint64_t count) {
      inbox->push_back(lagged{id, count});
    },
    [=](observe_atom, const std::string& id, std::uint64_t after) {
      self
        ->request(node, caf::infinite, observe_atom::value, id, after,
                  observer_actor{self})
        .then(
          [=](const session_view& x) {
            inbox->push_back(begun{id, after, x});
          },
          [=](const caf::error& error) {
            inbox->push_back(
              begun{id, after, tl::unexpected<failure>{from_caf(error)}});
          });
    },
  };
}

void audience::act(const std::string& id) {
  auto& who = seats_[roll(seats_.size())];
  enter(who);
  auto& stream = who.streams[id];
  auto what = roll(12);
  if (what < 2) {
    note_([&] { return "an observer goes without a word"; });
    leave(who);
  } else if (stream.attached && what < 4) {
    note_([&] { return "an observer leaves " + id; });
    stream.attached = false;
    caf::anon_send(bench_.node(), unobserve_atom::value, id,
                   observer_actor{who.handle});
  } else if (what < 6) {
    observe(who, id, roll(stream.seq + 1));
  } else if (!stream.attached) {
    observe(who, id, stream.seq);
  }
}

audience::member audience::somebody() {
  auto& who = seats_[roll(seats_.size())];
  enter(who);
  return {caf::actor_cast<caf::actor>(who.handle), who.inbox};
}

void audience::harvest(
  const std::function<void(const std::string&, const failure&)>& refused) {
  for (auto& who : seats_) {
    // What it is told may be that the node is gone.
    for (auto inbox = who.inbox; inbox && !inbox->empty();) {
      auto next = std::move(inbox->front());
      inbox->pop_front();
      if (auto* x = std::get_if<begun>(&next)) {
        auto& stream = who.streams[x->session_id];
        // Whoever is refused for want of room goes on with what he had.
        if (!x->view && x->view.error().code == errc::overloaded
            && stream.attached) {
          refused(x->session_id, x->view.error());
          continue;
        }
        stream = {};
        stream.session_id = x->session_id;
        stream.seq = x->after;
        stream.attached = x->view.has_value();
        if (x->view)
          model_.observing(stream, *x->view);
        else
          refused(x->session_id, x->view.error());
      } else if (auto* event = std::get_if<observed_event>(&next)) {
        ++events_;
        note_([&] {
          return fmt::format("{} is observed at event {}{}", event->session_id,
                             event->seq, event->last ? ", the last" : "");
        });
        model_.saw(who.streams[event->session_id], *event);
        who.unacknowledged[event->session_id] = event->seq;
      } else {
        auto& gap = std::get<lagged>(next);
        missed_ += gap.count;
        note_([&] {
          return fmt::format("an observer of {} missed {}", gap.session_id,
                             gap.count);
        });
        model_.missed(who.streams[gap.session_id], gap.count);
      }
    }
    if (!who.handle || who.unacknowledged.empty() || roll(who.patience) != 0)
      continue;
    for (auto& [id, seq] : std::exchange(who.unacknowledged, {}))
      caf::anon_send(bench_.node(), acknowledge_atom::value, id, seq,
                     observer_actor{who.handle});
  }
}

void audience::go() {
  for (auto& who : seats_)
    leave(who);
}

void audience::hurry() {
  for (auto& who : seats_)
    who.patience = 1;
}

void audience::gather(const std::vector<std::string>& ids) {
  for (auto& who : seats_) {
    enter(who);
    for (auto& id : ids)
      observe(who, id, who.streams[id].seq);
  }
}

void audience::thin_out() {
  leave(seats_[roll(seats_.size())]);
}

void audience::enter(seat& who) {
  if (who.handle)
    return;
  who.inbox = std::make_shared<std::deque<parcel>>();
  who.handle = bench_.system().spawn(
    view, caf::actor_cast<node_actor>(bench_.node()), who.inbox);
}

void audience::leave(seat& who) {
  if (!who.handle)
    return;
  caf::anon_send_exit(who.handle, caf::exit_reason::user_shutdown);
  who.handle = nullptr;
  who.inbox = nullptr;
  who.unacknowledged.clear();
  for (auto& [id, stream] : who.streams)
    stream.attached = false;
}

void audience::observe(seat& who, const std::string& id, std::uint64_t after) {
  note_([&] {
    return fmt::format("a client observes {} from event {}", id, after);
  });
  caf::anon_send(who.handle, observe_atom::value, id, after);
}

// -- what must hold -----------------------------------------------------------

void audience::check_monitors() const {
  for (auto& who : seats_) {
    if (!who.handle)
      continue;
    auto address = who.handle.address();
    std::size_t known = 0;
    for (auto& [id, entry] : bench_.registry().active) {
      auto* session = bench_.active(id);
      if (session == nullptr)
        continue;
      auto& awaiters = session->awaiters;
      auto& observers = session->observers;
      auto waits = std::any_of(awaiters.begin(), awaiters.end(),
                               [&](auto& x) { return x.client == address; });
      auto observes
        = std::any_of(observers.begin(), observers.end(),
                      [&](auto& x) { return x.handle.address() == address; });
      known += waits || observes ? 1 : 0;
    }
    auto monitors = bench_.monitors_of(caf::actor_cast<caf::actor>(who.handle));
    if (monitors != known)
      throw violation{fmt::format("a client is monitored {} times, and known "
                                  "to {} sessions",
                                  monitors, known)};
  }
}

void audience::check_ends() const {
  for (auto& who : seats_)
    for (auto& [id, stream] : who.streams)
      if (stream.attached && !stream.ended)
        throw violation{fmt::format("the stream of session {} stands at event "
                                    "{} and does not end",
                                    id, stream.seq)};
}

std::size_t audience::actors() const {
  return static_cast<std::size_t>(
    std::count_if(seats_.begin(), seats_.end(),
                  [](auto& who) { return static_cast<bool>(who.handle); }));
}

} // namespace muster::test
