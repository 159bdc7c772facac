// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/tick/settings.hpp"

#include "messages/actors.hpp"

#include <functional>
#include <string>
#include <vector>

namespace muster {

/// Somebody's share of each tick.
struct tick_step {
  std::string name;
  ticking_actor who;
};

/// What the TICK knows. No clock in here: the actor passes time in.
struct tick_state {
  // -- constants --------------------------------------------------------------

  static inline const char* name = "tick";

  // -- member types -----------------------------------------------------------

  struct step {
    tick_step what;
    /// Asked and not answered yet; it is not asked again before.
    bool busy = false;
    /// How long its last answer took.
    double last_ms = 0;
    /// What it said it had done, in all.
    std::uint64_t done = 0;
    /// Ticks that went on without its answer, or without asking it.
    std::uint64_t late = 0;
    std::uint64_t skipped = 0;
    std::string last_error;
  };

  // -- introspection ----------------------------------------------------------

  /// The counters below as a JSON object.
  [[nodiscard]] std::string status() const;

  // -- member variables -------------------------------------------------------

  tick_settings settings;
  std::function<std::int64_t()> steady_ns;
  status_sink_actor sink;
  std::vector<step> steps;
  std::vector<reporting_actor> reporters;

  /// The tick that is under way; 0 if none is.
  std::uint64_t running = 0;

  /// The step that it is at.
  std::size_t position = 0;

  /// Ticks that began.
  std::uint64_t begun = 0;

  /// Ticks that came to their last step.
  std::uint64_t completed = 0;

  /// Beats that came while the tick before was still at work.
  std::uint64_t overruns = 0;

  std::int64_t began_ns = 0;
  double last_ms = 0;
};

/// What the TICK sends itself.
using tick_impl = tick_actor::extend<
  // The deadline of a step of that tick is over.
  caf::reacts_to<expire_atom, std::uint64_t, std::uint64_t>>;

/// Beats at an interval and walks through its steps, one after the other, then
/// asks everybody for their counters.
///
/// A step that misses its deadline is left behind and not asked again before it
/// answered. The next beat is set from when this one came, so a late tick is
/// never followed by a burst, and no two ticks overlap.
/// @param steps asked in this order.
/// @param reporters asked for their counters at the end of each tick.
/// @param sink is told the counters of the tick itself.
tick_impl::behavior_type
tick(tick_impl::stateful_pointer<tick_state> self, tick_settings settings,
     std::function<std::int64_t()> steady_ns, std::vector<tick_step> steps,
     std::vector<reporting_actor> reporters, status_sink_actor sink);

} // namespace muster
