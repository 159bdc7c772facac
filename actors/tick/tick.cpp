// SPDX-License-Identifier: Apache-2.0

#include "actors/tick/tick.hpp"

#include "messages/json.hpp"

namespace muster {

namespace {

using tick_pointer = tick_impl::stateful_pointer<tick_state>;

/// The time since then in milliseconds, to the microsecond.
double ms_since(tick_pointer self, std::int64_t start_ns) {
  auto us = (self->state.steady_ns() - start_ns) / 1'000;
  return static_cast<double>(us) / 1'000;
}

void finish(tick_pointer self) {
  auto& st = self->state;
  st.running = 0;
  ++st.completed;
  st.last_ms = ms_since(self, st.began_ns);
  for (auto& reporter : st.reporters)
    self->send(reporter, report_atom::value);
  self->send(st.sink, report_atom::value, "tick", st.status());
}

/// Asks the steps from `position` on, each behind the answer of the one before.
void walk(tick_pointer self) {
  auto& st = self->state;
  while (st.position < st.steps.size() && st.steps[st.position].busy) {
    ++st.steps[st.position].skipped;
    ++st.position;
  }
  if (st.position == st.steps.size()) {
    finish(self);
    return;
  }
  auto position = st.position;
  auto number = st.running;
  auto asked_ns = st.steady_ns();
  st.steps[position].busy = true;
  auto answered = [=](std::uint64_t done, std::string error) {
    auto& now = self->state;
    auto& step = now.steps[position];
    step.busy = false;
    step.last_ms = ms_since(self, asked_ns);
    step.done += done;
    step.last_error = std::move(error);
    if (now.running == number && now.position == position) {
      ++now.position;
      walk(self);
    }
  };
  self->request(st.steps[position].what.who, caf::infinite, collect_atom::value)
    .then(
      [=](std::uint64_t done) { answered(done, {}); },
      [=](const caf::error& error) { answered(0, from_caf(error).message); });
  self->delayed_send(self, st.settings.step_deadline, expire_atom::value,
                     number, static_cast<std::uint64_t>(position));
}

void beat(tick_pointer self) {
  auto& st = self->state;
  if (st.running != 0) {
    ++st.overruns;
    return;
  }
  st.running = ++st.begun;
  st.position = 0;
  st.began_ns = st.steady_ns();
  walk(self);
}

} // namespace

std::string tick_state::status() const {
  auto all = json::array();
  for (auto& step : steps) {
    json item{{"name", step.what.name},
              {"last_ms", step.last_ms},
              {"done", step.done},
              {"late", step.late},
              {"skipped", step.skipped}};
    if (!step.last_error.empty())
      item["last_error"] = step.last_error;
    all.push_back(std::move(item));
  }
  return json{{"interval_ms", settings.interval.count()},
              {"completed", completed},
              {"overruns", overruns},
              {"last_ms", last_ms},
              {"steps", std::move(all)}}
    .dump();
}

tick_impl::behavior_type
tick(tick_pointer self, tick_settings settings,
     std::function<std::int64_t()> steady_ns, std::vector<tick_step> steps,
     std::vector<reporting_actor> reporters, status_sink_actor sink) {
  auto& st = self->state;
  st.settings = settings;
  st.steady_ns = std::move(steady_ns);
  st.sink = std::move(sink);
  st.reporters = std::move(reporters);
  for (auto& step : steps)
    st.steps.emplace_back().what = std::move(step);
  self->delayed_send(self, settings.interval, beat_atom::value);
  return {
    [=](beat_atom) {
      // First of all: nothing below may stop the clock.
      self->delayed_send(self, self->state.settings.interval, beat_atom::value);
      beat(self);
    },
    [=](expire_atom, std::uint64_t number, std::uint64_t position) {
      auto& now = self->state;
      if (now.running != number || now.position != position)
        return;
      ++now.steps[position].late;
      ++now.position;
      walk(self);
    },
  };
}

} // namespace muster
