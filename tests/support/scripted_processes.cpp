// SPDX-License-Identifier: Apache-2.0

#include "tests/support/scripted_processes.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

#include <signal.h>

namespace muster::test {

namespace {

/// How one ends that could not become another program, as a shell would.
constexpr process_exit exec_failed{process_exit::manner::exited, 127};

failure stopped() {
  return {errc::shutting_down, "no more processes are started or held"};
}

} // namespace

// -- the port -----------------------------------------------------------------

expected<process_identity>
scripted_processes::start(const process_order& order,
                          process_listener listener) {
  if (done_)
    return tl::unexpected<failure>{stopped()};
  if (size() >= max_processes)
    return fail(
      errc::overloaded,
      fmt::format("{} processes are held, which is the limit", max_processes));
  process_script script{{}, "ready", obedience::ends};
  if (!scripts.empty()) {
    script = std::move(scripts.front());
    scripts.pop_front();
  }
  if (script.refused)
    return tl::unexpected<failure>{*script.refused};
  auto who = next_identity();
  auto& x = processes_[who];
  x.program = order.program;
  x.on_signal = script.on_signal;
  x.ready_within = order.ready_within;
  x.ready_by = order.ready_by;
  if (order.ready_within.count() > 0)
    x.limit = now_ + order.ready_within;
  else
    x.is_ready = true;
  hold(x, std::move(listener));
  orders.push_back(order);
  if (script.says && x.limit)
    say(who, *script.says);
  return who;
}

expected<void> scripted_processes::adopt(const process_identity& who,
                                         process_listener listener) {
  if (done_)
    return tl::unexpected<failure>{stopped()};
  if (!*is_alive(who))
    return fail(errc::not_found, fmt::format("{} is gone", show(who)));
  if (size() >= max_processes)
    return fail(
      errc::overloaded,
      fmt::format("{} processes are held, which is the limit", max_processes));
  auto& x = at(who);
  if (x.listener)
    return fail(errc::conflict, fmt::format("{} is held already", show(who)));
  hold(x, std::move(listener));
  return {};
}

expected<void> scripted_processes::send(const process_identity& who,
                                        int signal) {
  auto i = processes_.find(who);
  if (i == processes_.end() || !i->second.listener)
    return fail(errc::not_found, fmt::format("{} is not held", show(who)));
  signals.emplace_back(who, signal);
  auto ends = i->second.on_signal == obedience::ends
              || (i->second.on_signal == obedience::ignores_requests
                  && signal == SIGKILL);
  if (ends && !i->second.is_zombie && signal != 0)
    end(who, {process_exit::manner::signalled, signal});
  return {};
}

expected<bool> scripted_processes::is_alive(const process_identity& who) {
  auto i = processes_.find(who);
  return i != processes_.end() && !i->second.is_zombie;
}

std::size_t scripted_processes::size() const {
  return held_;
}

void scripted_processes::stop() {
  if (done_)
    return;
  std::vector<process_identity> unready;
  for (auto& [who, x] : processes_)
    if (x.listener && !x.is_ready)
      unready.push_back(who);
  for (auto& who : unready)
    kill(who, stopped());
  lose_holder();
}

// -- what the test decides ----------------------------------------------------

void scripted_processes::say(const process_identity& who,
                             const std::string& line) {
  auto& x = at(who);
  if (x.is_ready)
    throw std::logic_error{"a process is ready only once"};
  if (x.ready_by == readiness::exec) {
    auto report = read_exec_report(line + "\n");
    if (report && !*report) {
      x.never_ready = report->error();
      return end(who, exec_failed);
    }
  }
  x.is_ready = true;
  x.limit.reset();
  // One that nobody holds says it to nobody.
  if (auto listener = x.listener)
    listener(process_ready{who, line});
}

void scripted_processes::end(const process_identity& who, process_exit how) {
  auto x = std::move(at(who));
  processes_.erase(who);
  if (!x.listener)
    return;
  --held_;
  if (!x.is_ready && !x.never_ready)
    x.never_ready
      = failure{errc::program_failed, fmt::format("'{}' {} before it was ready",
                                                  x.program, show(how))};
  x.listener(
    process_ended{who, x.is_child ? how : process_exit{}, x.never_ready});
}

void scripted_processes::obey(const process_identity& who, obedience how) {
  at(who).on_signal = how;
}

void scripted_processes::become_zombie(const process_identity& who) {
  at(who).is_zombie = true;
}

void scripted_processes::advance(std::chrono::milliseconds time) {
  now_ += time;
  std::vector<process_identity> late;
  for (auto& [who, x] : processes_)
    if (x.limit && *x.limit <= now_)
      late.push_back(who);
  for (auto& who : late) {
    auto& x = at(who);
    kill(who, {errc::timeout, fmt::format("'{}' was not ready within {} ms",
                                          x.program, x.ready_within.count())});
  }
}

void scripted_processes::lose_holder() {
  for (auto& [who, x] : processes_) {
    x.listener = nullptr;
    x.limit.reset();
    x.is_child = false;
  }
  held_ = 0;
  done_ = true;
}

void scripted_processes::restart_holder() {
  lose_holder();
  done_ = false;
}

void scripted_processes::reboot() {
  processes_.clear();
  held_ = 0;
  next_pid = 1'000;
  ticks_ = 0;
  boot_ += "'";
  done_ = false;
}

process_identity scripted_processes::begin_stranger(std::int32_t pid) {
  auto next = std::exchange(next_pid, pid);
  auto who = next_identity();
  next_pid = next;
  auto& x = processes_[who];
  x.is_ready = true;
  x.is_child = false;
  x.is_stranger = true;
  return who;
}

// -- what the test sees -------------------------------------------------------

std::size_t scripted_processes::running() const {
  return static_cast<std::size_t>(
    std::count_if(processes_.begin(), processes_.end(),
                  [](auto& x) { return !x.second.is_zombie; }));
}

std::optional<process_identity>
scripted_processes::find(std::int32_t pid) const {
  for (auto i = processes_.lower_bound({pid, 0, {}});
       i != processes_.end() && i->first.pid == pid; ++i)
    if (!i->second.is_zombie)
      return i->first;
  return std::nullopt;
}

bool scripted_processes::is_held(const process_identity& who) const {
  auto i = processes_.find(who);
  return i != processes_.end() && i->second.listener;
}

std::optional<process_identity> scripted_processes::held_stranger() const {
  for (auto& [who, x] : processes_)
    if (x.is_stranger && x.listener)
      return who;
  return std::nullopt;
}

bool scripted_processes::is_ready(const process_identity& who) const {
  auto i = processes_.find(who);
  return i != processes_.end() && i->second.is_ready;
}

// -- implementation details ---------------------------------------------------

process_identity scripted_processes::next_identity() {
  auto is_taken = [this](std::int32_t pid) {
    auto i = processes_.lower_bound({pid, 0, {}});
    return i != processes_.end() && i->first.pid == pid;
  };
  while (is_taken(next_pid))
    ++next_pid;
  return {next_pid++, ++ticks_, boot_};
}

scripted_processes::process&
scripted_processes::at(const process_identity& who) {
  auto i = processes_.find(who);
  if (i == processes_.end())
    throw std::logic_error{"there is no such process"};
  return i->second;
}

void scripted_processes::hold(process& x, process_listener listener) {
  x.listener = std::move(listener);
  ++held_;
}

void scripted_processes::kill(const process_identity& who, failure why) {
  auto& x = at(who);
  x.never_ready = std::move(why);
  x.limit.reset();
  std::ignore = send(who, SIGKILL);
}

} // namespace muster::test
