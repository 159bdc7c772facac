// SPDX-License-Identifier: Apache-2.0

#include "actors/recovery/backoff.hpp"

#include <algorithm>

namespace muster {

namespace {

std::int64_t ns(std::chrono::milliseconds x) {
  return std::chrono::nanoseconds(x).count();
}

} // namespace

// -- constructors -------------------------------------------------------------

backoff::backoff(const restart_policy& policy, std::uint64_t seed)
  : policy_(policy),
    chance_(static_cast<std::minstd_rand::result_type>(seed ^ (seed >> 32))),
    next_ns_(ns(policy.initial)) {
  // The first number of this generator hardly depends on its seed.
  chance_.discard(4);
}

// -- events -------------------------------------------------------------------

void backoff::on_started(std::int64_t now_ns) {
  if (!started_ns_)
    started_ns_ = now_ns;
}

void backoff::on_failure(std::int64_t now_ns) {
  ++failures_;
  auto was_stable
    = started_ns_ && now_ns - *started_ns_ >= ns(policy_.stable_run);
  started_ns_.reset();
  if (has_failed_)
    return;
  if (was_stable) {
    next_ns_ = ns(policy_.initial);
    until_ns_ = now_ns;
    is_paused_ = false;
    recent_.clear();
  }
  if (policy_.max_restarts != 0) {
    std::erase_if(recent_,
                  [&](auto x) { return now_ns - x > ns(policy_.period); });
    recent_.push_back(now_ns);
  }
  if (!recent_.empty() && recent_.size() >= policy_.max_restarts) {
    recent_.clear();
    is_paused_ = !policy_.gives_up;
    has_failed_ = policy_.gives_up;
    until_ns_ = now_ns + ns(policy_.pause);
    return;
  }
  // Where somebody started it in a pause, that is no shorter for it.
  if (phase(now_ns) != backoff_phase::paused)
    is_paused_ = false;
  until_ns_ = std::max(until_ns_, now_ns + next_delay());
}

bool backoff::reset(std::int64_t now_ns) {
  auto was_waiting = phase(now_ns) != backoff_phase::ready;
  next_ns_ = ns(policy_.initial);
  until_ns_ = now_ns;
  is_paused_ = false;
  has_failed_ = false;
  recent_.clear();
  failures_ = 0;
  return was_waiting;
}

void backoff::restore(const backoff_record& record, std::int64_t now_ns) {
  auto longest_wait = std::max(ns(policy_.pause), ns(policy_.max));
  next_ns_ = std::clamp(record.next_ns, ns(policy_.initial), ns(policy_.max));
  until_ns_
    = now_ns + std::clamp(record.wait_ns, std::int64_t{0}, longest_wait);
  is_paused_ = record.is_paused;
  has_failed_ = record.has_failed;
}

// -- properties ---------------------------------------------------------------

backoff_phase backoff::phase(std::int64_t now_ns) const {
  if (has_failed_)
    return backoff_phase::failed;
  if (now_ns >= until_ns_)
    return backoff_phase::ready;
  return is_paused_ ? backoff_phase::paused : backoff_phase::backing_off;
}

std::optional<std::int64_t> backoff::until_ns() const {
  if (has_failed_)
    return std::nullopt;
  return until_ns_;
}

std::int64_t backoff::wait_ns(std::int64_t now_ns) const {
  return has_failed_ ? 0 : std::max(until_ns_ - now_ns, std::int64_t{0});
}

backoff_record backoff::record(std::int64_t now_ns) const {
  auto next_ns = next_ns_ == ns(policy_.initial) ? 0 : next_ns_;
  auto left_ns = wait_ns(now_ns);
  return {next_ns, left_ns, is_paused_ && left_ns > 0, has_failed_};
}

// -- implementation details ---------------------------------------------------

std::int64_t backoff::next_delay() {
  auto delay_ns = next_ns_;
  auto max_ns = ns(policy_.max);
  next_ns_
    = next_ns_ > max_ns / policy_.factor ? max_ns : next_ns_ * policy_.factor;
  auto span_ns = delay_ns / 100 * policy_.jitter_percent;
  if (span_ns == 0)
    return delay_ns;
  // At most 24 h in ns times 2^31 does not fit: a permille is fine enough.
  auto permille = static_cast<std::int64_t>(chance_() % 1'001);
  return delay_ns - span_ns / 1'000 * permille;
}

} // namespace muster
