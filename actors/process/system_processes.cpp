// SPDX-License-Identifier: Apache-2.0

#include "actors/process/system_processes.hpp"

#include "actors/process/system_call.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

namespace muster {

namespace {

/// How many are served before the deadlines are looked at again.
constexpr int events_at_once = 64;

/// What the thread is woken by. Process n has 2n, its pipe 2n + 1.
constexpr std::uint64_t wake_key = 0;

bool watch(const descriptor& epoll, int file, std::uint64_t key) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = key;
  return ::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, file, &event) == 0;
}

/// To be called before it is closed: a child that is being started may have a
/// copy for a moment, and would keep it watched.
void unwatch(const descriptor& epoll, int file) {
  ::epoll_ctl(epoll.get(), EPOLL_CTL_DEL, file, nullptr);
}

/// Ends a process that nobody watches.
void put_down(const process_handle& handle, std::chrono::milliseconds limit) {
  std::ignore = handle.send(SIGKILL);
  std::ignore = handle.reap_within(limit);
}

failure stopped() {
  return {errc::shutting_down, "no more processes are started or held"};
}

} // namespace

// -- constructors and destructors ---------------------------------------------

expected<std::unique_ptr<system_processes>>
system_processes::open(std::size_t max_processes) {
  std::unique_ptr<system_processes> out{new system_processes{max_processes}};
  if (!out->epoll_ || !out->wake_
      || !watch(out->epoll_, out->wake_.get(), wake_key))
    return fail(errc::overloaded, fmt::format("cannot watch processes: {}",
                                              std::strerror(errno)));
  // Whoever ignores it, maybe since before this program began, gets no zombies
  // and cannot tell how a child ended.
  struct sigaction action {};
  if (::sigaction(SIGCHLD, nullptr, &action) == 0
      && action.sa_handler == SIG_IGN)
    ::signal(SIGCHLD, SIG_DFL);
  out->thread_ = std::thread{[self = out.get()] { self->run(); }};
  return out;
}

system_processes::system_processes(std::size_t max_processes)
  : max_processes_(max_processes), epoll_(::epoll_create1(EPOLL_CLOEXEC)),
    wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  // nop
}

system_processes::~system_processes() {
  stop();
}

// -- the port -----------------------------------------------------------------

expected<process_identity> system_processes::start(const process_order& order,
                                                   process_listener listener) {
  {
    std::lock_guard guard{mutex_};
    if (auto fine = check_room(); !fine)
      return tl::unexpected<failure>{fine.error()};
    ++reserved_;
  }
  auto child = spawn(order);
  std::lock_guard guard{mutex_};
  --reserved_;
  if (!child)
    return tl::unexpected<failure>{child.error()};
  auto who = child->handle.who();
  entry x{std::move(child->handle)};
  x.ready = std::move(child->ready);
  x.program = order.program;
  x.ready_within = order.ready_within;
  if (x.ready)
    x.limit = clock::now() + x.ready_within;
  x.listener = std::move(listener);
  if (auto fine = insert(std::move(x)); !fine)
    return tl::unexpected<failure>{fine.error()};
  return who;
}

expected<void> system_processes::adopt(const process_identity& who,
                                       process_listener listener) {
  auto handle = process_handle::hold(who);
  if (!handle)
    return tl::unexpected<failure>{handle.error()};
  std::lock_guard guard{mutex_};
  if (auto fine = check_room(); !fine)
    return fine;
  if (numbers_.count(who) > 0)
    return fail(errc::conflict, fmt::format("{} is held already", show(who)));
  entry x{std::move(*handle)};
  x.listener = std::move(listener);
  return insert(std::move(x));
}

expected<void> system_processes::send(const process_identity& who, int signal) {
  std::lock_guard guard{mutex_};
  auto number = numbers_.find(who);
  if (number == numbers_.end())
    return fail(errc::not_found, fmt::format("{} is not held", show(who)));
  return entries_.at(number->second).handle.send(signal);
}

expected<bool> system_processes::is_alive(const process_identity& who) {
  return muster::is_alive(who);
}

std::size_t system_processes::size() const {
  std::lock_guard guard{mutex_};
  return entries_.size();
}

void system_processes::stop() {
  {
    std::lock_guard guard{mutex_};
    done_ = true;
  }
  ::eventfd_write(wake_.get(), 1);
  if (thread_.joinable())
    thread_.join();
  entries left;
  {
    std::lock_guard guard{mutex_};
    left.swap(entries_);
    numbers_.clear();
    limits_.clear();
  }
  auto limit = clock::now() + stop_patience;
  for (auto& [number, x] : left)
    if (x.ready)
      std::ignore = x.handle.send(SIGKILL);
  for (auto& [number, x] : left) {
    if (!x.ready && !x.never_ready)
      continue;
    auto time
      = std::chrono::ceil<std::chrono::milliseconds>(limit - clock::now());
    auto end = x.handle.reap_within(time);
    if (!x.never_ready)
      x.never_ready = stopped();
    x.listener(ended(x, end.value_or(process_exit{})));
  }
}

// -- the thread ---------------------------------------------------------------

void system_processes::run() {
  std::array<epoll_event, events_at_once> events;
  for (;;) {
    int patience = 0;
    {
      std::lock_guard guard{mutex_};
      if (done_)
        return;
      patience = expire();
    }
    auto count
      = ::epoll_wait(epoll_.get(), events.data(), events_at_once, patience);
    for (int i = 0; i < count; ++i)
      on_event(events[static_cast<std::size_t>(i)].data.u64);
  }
}

void system_processes::on_event(std::uint64_t key) {
  if (key == wake_key) {
    eventfd_t count = 0;
    ::eventfd_read(wake_.get(), &count);
    return;
  }
  std::vector<process_event> heard;
  process_listener listener;
  {
    std::lock_guard guard{mutex_};
    auto i = entries_.find(key / 2);
    // An event before this one may have been its end.
    if (i == entries_.end() || done_)
      return;
    auto& x = i->second;
    listener = x.listener;
    // Also at its end: it may have said that it is ready just before.
    if (x.ready) {
      if (auto line = read_line(i))
        heard.push_back(process_ready{x.handle.who(), std::move(*line)});
    }
    if (auto end = key % 2 == 0 ? x.handle.reap() : std::nullopt) {
      if (x.ready)
        x.was_silent = true;
      heard.push_back(ended(x, *end));
      erase(i);
    }
  }
  for (auto& event : heard)
    listener(std::move(event));
}

// -- under the lock -----------------------------------------------------------

expected<void> system_processes::check_room() const {
  if (done_)
    return tl::unexpected<failure>{stopped()};
  if (entries_.size() + reserved_ >= max_processes_)
    return fail(
      errc::overloaded,
      fmt::format("{} processes are held, which is the limit", max_processes_));
  return {};
}

expected<void> system_processes::insert(entry x) {
  auto number = ++last_number_;
  auto is_child = !x.program.empty();
  auto why = stopped();
  if (!done_ && watch(epoll_, x.handle.get(), 2 * number)) {
    if (!x.ready || watch(epoll_, x.ready.get(), 2 * number + 1)) {
      numbers_.emplace(x.handle.who(), number);
      if (x.ready)
        limits_.emplace(x.limit, number);
      entries_.emplace(number, std::move(x));
      // It may be the next one to be late.
      ::eventfd_write(wake_.get(), 1);
      return {};
    }
    why = {errc::overloaded, std::strerror(errno)};
    unwatch(epoll_, x.handle.get());
  } else if (!done_) {
    why = {errc::overloaded, std::strerror(errno)};
  }
  if (is_child)
    put_down(x.handle, stop_patience);
  return fail(why.code, fmt::format("cannot watch {}: {}", show(x.handle.who()),
                                    why.message));
}

void system_processes::erase(entries::iterator i) {
  close_pipe(i);
  unwatch(epoll_, i->second.handle.get());
  numbers_.erase(i->second.handle.who());
  entries_.erase(i);
}

int system_processes::expire() {
  auto now = clock::now();
  while (!limits_.empty() && limits_.begin()->first <= now) {
    auto i = entries_.find(limits_.begin()->second);
    give_up(i, errc::timeout,
            fmt::format("was not ready within {} ms",
                        i->second.ready_within.count()));
  }
  if (limits_.empty())
    return -1;
  auto left = std::chrono::ceil<std::chrono::milliseconds>(
    limits_.begin()->first - now);
  return static_cast<int>(std::min<std::int64_t>(left.count(), 60'000));
}

std::optional<std::string> system_processes::read_line(entries::iterator i) {
  auto& x = i->second;
  std::array<char, max_ready_bytes> bytes;
  auto size = uninterrupted(
    [&] { return ::read(x.ready.get(), bytes.data(), bytes.size()); });
  if (size < 0)
    return std::nullopt;
  x.said.append(bytes.data(), static_cast<std::size_t>(size));
  auto end = x.said.find('\n');
  if (end != std::string::npos && end < max_ready_bytes) {
    close_pipe(i);
    x.said.resize(end);
    return std::move(x.said);
  }
  if (x.said.size() >= max_ready_bytes) {
    give_up(
      i, errc::program_failed,
      fmt::format("said more than {} bytes and no line", max_ready_bytes));
  } else if (size == 0) {
    give_up(i, errc::program_failed,
            x.said.empty() ? "closed its pipe before it was ready"
                           : "closed its pipe in the middle of a line");
    x.was_silent = true;
  }
  return std::nullopt;
}

void system_processes::give_up(entries::iterator i, errc code,
                               const std::string& why) {
  auto& x = i->second;
  x.never_ready = failure{code, fmt::format("'{}' {}", x.program, why)};
  std::ignore = x.handle.send(SIGKILL);
  close_pipe(i);
}

void system_processes::close_pipe(entries::iterator i) {
  auto& x = i->second;
  if (!x.ready)
    return;
  unwatch(epoll_, x.ready.get());
  x.ready.close();
  limits_.erase({x.limit, i->first});
}

process_ended system_processes::ended(const entry& x, process_exit end) {
  process_ended out{x.handle.who(), end, x.never_ready};
  process_exit killed{process_exit::manner::signalled, SIGKILL};
  // A pipe is closed before the process is a zombie. If it was not the signal
  // that ended it, then it ended by itself.
  if (x.was_silent && (end != killed || !x.never_ready))
    out.never_ready
      = failure{errc::program_failed, fmt::format("'{}' {} before it was ready",
                                                  x.program, show(end))};
  return out;
}

} // namespace muster
