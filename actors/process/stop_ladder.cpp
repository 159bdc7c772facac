// SPDX-License-Identifier: Apache-2.0

#include "actors/process/stop_ladder.hpp"

namespace muster {

// -- events -------------------------------------------------------------------

stop_step stop_ladder::begin(std::int64_t now_ns) {
  if (has_ended_ || last_ != stop_step::wait)
    return stop_step::wait;
  return climb(now_ns);
}

stop_step stop_ladder::on_time(std::int64_t now_ns) {
  auto limit = limit_ns();
  return limit && now_ns >= *limit ? climb(now_ns) : stop_step::wait;
}

stop_step stop_ladder::on_refused(std::int64_t now_ns) {
  if (!limit_ns() || last_ == stop_step::kill)
    return stop_step::wait;
  return climb(now_ns);
}

// -- properties ---------------------------------------------------------------

std::optional<std::int64_t> stop_ladder::limit_ns() const {
  if (!is_stopping() || last_ == stop_step::report)
    return std::nullopt;
  return limit_ns_;
}

// -- implementation details ---------------------------------------------------

stop_step stop_ladder::climb(std::int64_t now_ns) {
  do {
    last_ = static_cast<stop_step>(static_cast<int>(last_) + 1);
  } while (last_ < stop_step::kill && patience_of(last_).count() <= 0);
  limit_ns_ = now_ns + std::chrono::nanoseconds(patience_of(last_)).count();
  return last_;
}

std::chrono::milliseconds stop_ladder::patience_of(stop_step step) const {
  switch (step) {
    case stop_step::ask:
      return patience_.ask;
    case stop_step::terminate:
      return patience_.terminate;
    case stop_step::kill:
      return patience_.kill;
    default:
      return std::chrono::milliseconds(0);
  }
}

} // namespace muster
