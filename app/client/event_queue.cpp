// SPDX-License-Identifier: Apache-2.0

#include "app/client/event_queue.hpp"

#include <fmt/format.h>

namespace muster {

// -- the actors ---------------------------------------------------------------

void event_queue::begin(beginning x) {
  std::lock_guard guard{mutex_};
  beginning_ = std::move(x);
  changed_.notify_all();
}

void event_queue::push(observed_event event) {
  std::lock_guard guard{mutex_};
  events_.push_back(std::move(event));
  changed_.notify_all();
}

void event_queue::fail(failure why) {
  std::lock_guard guard{mutex_};
  over_ = std::move(why);
  changed_.notify_all();
}

// -- the thread ---------------------------------------------------------------

expected<event_queue::beginning> event_queue::begun(call_end end) {
  std::unique_lock guard{mutex_};
  if (auto why = wait(guard, end, [this] { return beginning_.has_value(); }))
    return tl::unexpected<failure>{std::move(*why)};
  // The handle must not stay here: its actor holds this queue.
  return *std::exchange(beginning_, std::nullopt);
}

expected<observed_event> event_queue::next(call_end end) {
  std::unique_lock guard{mutex_};
  if (auto why = wait(guard, end, [this] { return !events_.empty(); }))
    return tl::unexpected<failure>{std::move(*why)};
  auto event = std::move(events_.front());
  events_.pop_front();
  return event;
}

// -- implementation details ---------------------------------------------------

template <class Predicate>
std::optional<failure> event_queue::wait(std::unique_lock<std::mutex>& guard,
                                         call_end end, Predicate is_there) {
  while (!is_there()) {
    if (over_)
      return over_;
    if (changed_.wait_until(guard, end) == std::cv_status::timeout
        && !is_there() && !over_)
      return failure{errc::timeout, "nothing came in time"};
  }
  return std::nullopt;
}

observer_actor::behavior_type watch(observer_actor::pointer,
                                    std::shared_ptr<event_queue> into) {
  return {
    [=](const observed_event& event) { into->push(event); },
    [=](lagged_atom, const std::string& id, std::uint64_t count) {
      into->push(
        {id, 0, {fmt::format(R"({{"kind":"lagged","n":{}}})", count)}, false});
    },
  };
}

} // namespace muster
