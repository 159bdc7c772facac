// SPDX-License-Identifier: Apache-2.0

#include "actors/session/observation.hpp"

#include <algorithm>
#include <iterator>

namespace muster {

// -- event_ring ---------------------------------------------------------------

void event_ring::push(observed_event event) {
  events_.push_back(std::move(event));
  if (events_.size() > capacity_)
    events_.pop_front();
}

const observed_event* event_ring::find(std::uint64_t seq) const {
  auto i = std::find_if(events_.begin(), events_.end(),
                        [=](auto& event) { return event.seq >= seq; });
  return i != events_.end() ? &*i : nullptr;
}

// -- observation --------------------------------------------------------------

observation::observation(std::uint64_t seq, std::vector<observed_event> backlog,
                         std::uint64_t window)
  : seq_(seq), backlog_(std::make_move_iterator(backlog.begin()),
                        std::make_move_iterator(backlog.end())),
    window_(window) {
  // nop
}

observation::delivery observation::next(const event_ring& ring) {
  delivery out;
  while (under_way_.size() < window_ && !ended_) {
    if (!backlog_.empty()) {
      send(std::move(backlog_.front()), out);
      backlog_.pop_front();
      continue;
    }
    auto* event = ring.find(seq_ + 1);
    if (event == nullptr)
      break;
    send(*event, out);
  }
  return out;
}

void observation::acknowledge(std::uint64_t seq) {
  while (!under_way_.empty() && under_way_.front() <= seq)
    under_way_.pop_front();
}

void observation::send(observed_event event, delivery& out) {
  if (event.seq > seq_ + 1)
    out.lagged += event.seq - seq_ - 1;
  seq_ = event.seq;
  ended_ = event.last;
  under_way_.push_back(event.seq);
  out.events.push_back(std::move(event));
}

} // namespace muster
