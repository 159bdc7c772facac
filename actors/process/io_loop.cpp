// SPDX-License-Identifier: Apache-2.0

#include "actors/process/io_loop.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include <sys/epoll.h>
#include <sys/eventfd.h>

namespace muster {

namespace {

/// How many are served before the limits are looked at again.
constexpr int events_at_once = 64;

/// How long the thread sleeps at most.
constexpr std::int64_t max_patience_ms = 60'000;

/// What the thread is woken by.
constexpr io_loop::key wake_key = 0;

bool control(const descriptor& epoll, int operation, int file, io_loop::key key,
             std::uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = key;
  return ::epoll_ctl(epoll.get(), operation, file, &event) == 0;
}

failure cannot_watch() {
  return {errc::overloaded,
          fmt::format("cannot watch descriptors: {}", std::strerror(errno))};
}

} // namespace

// -- constructors and destructors ---------------------------------------------

expected<std::shared_ptr<io_loop>> io_loop::open() {
  std::shared_ptr<io_loop> out{new io_loop};
  if (!out->epoll_ || !out->wake_
      || !control(out->epoll_, EPOLL_CTL_ADD, out->wake_.get(), wake_key,
                  EPOLLIN))
    return tl::unexpected<failure>{cannot_watch()};
  out->thread_ = std::thread{[self = out.get()] { self->run(); }};
  out->thread_id_ = out->thread_.get_id();
  return out;
}

io_loop::io_loop()
  : epoll_(::epoll_create1(EPOLL_CLOEXEC)),
    wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  // nop
}

io_loop::~io_loop() {
  stop();
}

// -- what is waited for -------------------------------------------------------

expected<io_loop::key> io_loop::watch(int file, std::uint32_t events,
                                      callback ready) {
  std::lock_guard guard{mutex_};
  auto what = ++last_key_;
  if (!control(epoll_, EPOLL_CTL_ADD, file, what, events))
    return tl::unexpected<failure>{cannot_watch()};
  entries_[what] = {file, clock::time_point::max(),
                    std::make_shared<callback>(std::move(ready))};
  return what;
}

void io_loop::change(key what, std::uint32_t events) {
  std::lock_guard guard{mutex_};
  auto i = entries_.find(what);
  if (i != entries_.end() && i->second.file >= 0)
    control(epoll_, EPOLL_CTL_MOD, i->second.file, what, events);
}

io_loop::key io_loop::call_at(clock::time_point limit, callback late) {
  std::lock_guard guard{mutex_};
  auto what = ++last_key_;
  entries_[what] = {-1, limit, std::make_shared<callback>(std::move(late))};
  auto next = limits_.emplace(limit, what).first;
  if (next == limits_.begin())
    wake();
  return what;
}

void io_loop::forget(key what) {
  // What it holds ends without the lock.
  entry gone;
  std::lock_guard guard{mutex_};
  auto i = entries_.find(what);
  if (i == entries_.end())
    return;
  // Also though it is closed soon: a child that is being started may have a
  // copy for a moment, and would keep it watched.
  if (i->second.file >= 0)
    control(epoll_, EPOLL_CTL_DEL, i->second.file, what, 0);
  limits_.erase({i->second.limit, what});
  gone = std::move(i->second);
  entries_.erase(i);
}

// -- the thread ---------------------------------------------------------------

void io_loop::settle() {
  if (std::this_thread::get_id() == thread_id_)
    return;
  std::unique_lock lock{mutex_};
  settled_.wait(
    lock, [this, calls = calls_] { return !is_calling_ || calls_ != calls; });
}

void io_loop::stop() {
  {
    std::lock_guard guard{mutex_};
    done_ = true;
  }
  wake();
  if (thread_.joinable())
    thread_.join();
}

void io_loop::run() {
  std::array<epoll_event, events_at_once> events;
  while (auto patience = expire()) {
    auto count
      = ::epoll_wait(epoll_.get(), events.data(), events_at_once, *patience);
    for (int i = 0; i < count; ++i)
      on_event(events[static_cast<std::size_t>(i)].data.u64);
  }
}

std::optional<int> io_loop::expire() {
  std::unique_lock lock{mutex_};
  // One that sets itself another limit must wait for its next turn.
  auto now = clock::now();
  while (!done_ && !limits_.empty() && limits_.begin()->first <= now) {
    auto i = entries_.find(limits_.begin()->second);
    auto late = std::move(i->second.call);
    entries_.erase(i);
    limits_.erase(limits_.begin());
    call(lock, std::move(late));
  }
  if (done_)
    return std::nullopt;
  if (limits_.empty())
    return -1;
  auto left = std::chrono::ceil<std::chrono::milliseconds>(
    limits_.begin()->first - clock::now());
  return static_cast<int>(
    std::clamp<std::int64_t>(left.count(), 0, max_patience_ms));
}

void io_loop::on_event(key what) {
  if (what == wake_key) {
    eventfd_t count = 0;
    ::eventfd_read(wake_.get(), &count);
    return;
  }
  std::unique_lock lock{mutex_};
  auto i = entries_.find(what);
  // What was called before this one may have forgotten it.
  if (i != entries_.end() && !done_)
    call(lock, i->second.call);
}

void io_loop::call(std::unique_lock<std::mutex>& lock,
                   std::shared_ptr<callback> f) {
  is_calling_ = true;
  lock.unlock();
  (*f)();
  // What it holds ends with the call, not later.
  f.reset();
  lock.lock();
  is_calling_ = false;
  ++calls_;
  settled_.notify_all();
}

void io_loop::wake() {
  ::eventfd_write(wake_.get(), 1);
}

} // namespace muster
