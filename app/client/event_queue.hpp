// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "app/client/line.hpp"

#include "messages/actors.hpp"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>

namespace muster {

/// Brings the events of an observed session from the actor that gets them to
/// the thread that looks at them. The node sends no more than it may have under
/// way, so the queue is short.
class event_queue {
public:
  // -- member types -----------------------------------------------------------

  /// An observation that has begun.
  struct beginning {
    session_view session;
    observer_actor observer;
  };

  // -- the actors -------------------------------------------------------------

  void begin(beginning x);

  void push(observed_event event);

  /// Nothing comes behind this.
  void fail(failure why);

  // -- the thread -------------------------------------------------------------

  /// Waits for the beginning.
  [[nodiscard]] expected<beginning> begun(call_end end);

  /// Waits for the next event.
  [[nodiscard]] expected<observed_event> next(call_end end);

private:
  // -- implementation details -------------------------------------------------

  template <class Predicate>
  std::optional<failure>
  wait(std::unique_lock<std::mutex>& guard, call_end end, Predicate is_there);

  // -- member variables -------------------------------------------------------

  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<beginning> beginning_;
  std::deque<observed_event> events_;
  std::optional<failure> over_;
};

/// Puts events into a queue.
observer_actor::behavior_type watch(observer_actor::pointer self,
                                    std::shared_ptr<event_queue> into);

} // namespace muster
