// SPDX-License-Identifier: Apache-2.0

#include "actors/strategy/guarded_host.hpp"

#include "actors/process/crash_handler.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace muster {

guarded_host::guarded_host(strategy_host_ptr host,
                           std::shared_ptr<const crash_notes> notes,
                           std::uint64_t max_crashes)
  : host_(std::move(host)), notes_(std::move(notes)),
    max_crashes_(max_crashes) {
  // nop
}

guarded_host::~guarded_host() {
  running_script here{session_id_, pauses_};
  host_.reset();
}

void guarded_host::start(strategy_start what) {
  session_id_ = what.session_id;
  pauses_ = static_cast<std::uint64_t>(
    std::count_if(what.events.begin(), what.events.end(), [](auto& event) {
      return std::holds_alternative<paused_event>(event.body);
    }));
  if (auto deaths = notes_->deaths(session_id_, pauses_);
      deaths >= max_crashes_) {
    host_.reset();
    refusal_ = fmt::format("the node died {} times in a row, of signal {} at "
                           "last, while it ran this session's script, which "
                           "is not run again",
                           deaths, notes_->signal(session_id_));
    return;
  }
  running_script here{session_id_, pauses_};
  host_->start(std::move(what));
}

host_report guarded_host::advance() {
  if (!refusal_.empty()) {
    strategy_step step;
    step.end = failed_event{
      std::exchange(refusal_, {}), failure_kind::engine_error, {}, {}};
    return step;
  }
  if (!host_)
    return host_waiting{};
  running_script here{session_id_, pauses_};
  auto report = host_->advance();
  if (auto* step = std::get_if<strategy_step>(&report))
    if (std::holds_alternative<paused_event>(step->end))
      ++pauses_;
  return report;
}

void guarded_host::resolve(host_result result) {
  running_script here{session_id_, pauses_};
  host_->resolve(std::move(result));
}

void guarded_host::answer(std::vector<answered_event> answers) {
  running_script here{session_id_, pauses_};
  host_->answer(std::move(answers));
}

void guarded_host::committed(std::uint64_t seq) {
  if (host_)
    host_->committed(seq);
}

std::vector<log_line> guarded_host::take_logs() {
  return host_ ? host_->take_logs() : std::vector<log_line>{};
}

std::uint64_t guarded_host::memory_bytes() const {
  return host_ ? host_->memory_bytes() : 0;
}

} // namespace muster
