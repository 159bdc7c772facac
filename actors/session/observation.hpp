// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/session.hpp"

#include <cstdint>
#include <deque>
#include <vector>

namespace muster {

/// The newest events of a session, for those who observe it.
class event_ring {
public:
  explicit event_ring(std::size_t capacity) : capacity_(capacity) {
    // nop
  }

  /// Adds the next event; the oldest goes if there are too many.
  void push(observed_event event);

  /// The event of that number, or the oldest one behind it; null if there is
  /// none.
  [[nodiscard]] const observed_event* find(std::uint64_t seq) const;

private:
  std::size_t capacity_;
  std::deque<observed_event> events_;
};

/// How far one observer has come. Keeps what is under way within a window: an
/// observer that does not acknowledge gets no more, and when the ring has moved
/// on meanwhile it is told how much it missed.
class observation {
public:
  // -- constructors -----------------------------------------------------------

  /// @param seq the number of the last event that the observer need not see.
  /// @param backlog the events behind it that are not in the ring.
  /// @param window how many events may be under way.
  observation(std::uint64_t seq, std::vector<observed_event> backlog,
              std::uint64_t window);

  // -- member types -----------------------------------------------------------

  /// What can be sent now.
  struct delivery {
    std::vector<observed_event> events;
    /// Events that were missed before the last ones of these.
    std::uint64_t lagged = 0;
  };

  // -- modifiers --------------------------------------------------------------

  /// Takes out what can be sent.
  [[nodiscard]] delivery next(const event_ring& ring);

  /// The observer has worked off everything up to this number.
  void acknowledge(std::uint64_t seq);

  // -- properties -------------------------------------------------------------

  /// Whether the observer has seen the end of the session.
  [[nodiscard]] bool is_over() const {
    return ended_ && under_way_.empty();
  }

private:
  // -- implementation details -------------------------------------------------

  void send(observed_event event, delivery& out);

  // -- member variables -------------------------------------------------------

  std::uint64_t seq_;
  std::deque<observed_event> backlog_;
  std::uint64_t window_;
  std::deque<std::uint64_t> under_way_;
  bool ended_ = false;
};

} // namespace muster
