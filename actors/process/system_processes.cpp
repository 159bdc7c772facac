// SPDX-License-Identifier: Apache-2.0

#include "actors/process/system_processes.hpp"

#include "actors/process/system_call.hpp"

#include <fmt/format.h>

#include <array>

#include <signal.h>
#include <sys/epoll.h>

namespace muster {

namespace {

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
system_processes::open(std::size_t max_processes,
                       std::shared_ptr<io_loop> loop) {
  if (!loop) {
    auto own = io_loop::open();
    if (!own)
      return tl::unexpected<failure>{own.error()};
    loop = std::move(*own);
  }
  // Whoever ignores it, maybe since before this program began, gets no zombies
  // and cannot tell how a child ended.
  struct sigaction action {};
  if (::sigaction(SIGCHLD, nullptr, &action) == 0
      && action.sa_handler == SIG_IGN)
    ::signal(SIGCHLD, SIG_DFL);
  return std::unique_ptr<system_processes>{
    new system_processes{max_processes, std::move(loop)}};
}

system_processes::system_processes(std::size_t max_processes,
                                   std::shared_ptr<io_loop> loop)
  : max_processes_(max_processes), loop_(std::move(loop)) {
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
  x.ready_by = order.ready_by;
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
  entries left;
  {
    std::lock_guard guard{mutex_};
    done_ = true;
    for (auto& [number, x] : entries_)
      for (auto key : {x.end, x.pipe, x.limit})
        loop_->forget(key);
    left.swap(entries_);
    numbers_.clear();
  }
  loop_->settle();
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

void system_processes::on_event(std::uint64_t number, bool may_have_ended) {
  std::vector<process_event> heard;
  process_listener listener;
  {
    std::lock_guard guard{mutex_};
    auto i = entries_.find(number);
    // An event before this one may have been its end.
    if (i == entries_.end())
      return;
    auto& x = i->second;
    listener = x.listener;
    // Also at its end: it may have said that it is ready just before.
    if (x.ready) {
      auto line = x.ready_by == readiness::line ? read_line(x) : read_report(x);
      if (line)
        heard.push_back(process_ready{x.handle.who(), std::move(*line)});
    }
    if (auto end = may_have_ended ? x.handle.reap() : std::nullopt) {
      if (x.ready)
        x.was_silent = true;
      heard.push_back(ended(x, *end));
      erase(i);
    }
  }
  for (auto& event : heard)
    listener(std::move(event));
}

void system_processes::on_late(std::uint64_t number) {
  std::lock_guard guard{mutex_};
  auto i = entries_.find(number);
  if (i != entries_.end() && i->second.ready)
    give_up(i->second, errc::timeout,
            fmt::format("was not ready within {} ms",
                        i->second.ready_within.count()));
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
  if (!done_) {
    auto watched = watch(number, x);
    if (watched) {
      numbers_.emplace(x.handle.who(), number);
      entries_.emplace(number, std::move(x));
      return {};
    }
    why = watched.error();
  }
  if (is_child)
    put_down(x.handle, stop_patience);
  return fail(why.code, fmt::format("cannot watch {}: {}", show(x.handle.who()),
                                    why.message));
}

expected<void> system_processes::watch(std::uint64_t number, entry& x) {
  auto end = loop_->watch(x.handle.get(), EPOLLIN,
                          [this, number] { on_event(number, true); });
  if (!end)
    return tl::unexpected<failure>{end.error()};
  x.end = *end;
  if (!x.ready)
    return {};
  auto pipe = loop_->watch(x.ready.get(), EPOLLIN,
                           [this, number] { on_event(number, false); });
  if (!pipe) {
    loop_->forget(x.end);
    return tl::unexpected<failure>{pipe.error()};
  }
  x.pipe = *pipe;
  x.limit = loop_->call_at(clock::now() + x.ready_within,
                           [this, number] { on_late(number); });
  return {};
}

void system_processes::erase(entries::iterator i) {
  close_pipe(i->second);
  loop_->forget(i->second.end);
  numbers_.erase(i->second.handle.who());
  entries_.erase(i);
}

std::optional<std::string> system_processes::read_line(entry& x) {
  std::array<char, max_ready_bytes> bytes;
  auto size = uninterrupted(
    [&] { return ::read(x.ready.get(), bytes.data(), bytes.size()); });
  if (size < 0)
    return std::nullopt;
  x.said.append(bytes.data(), static_cast<std::size_t>(size));
  auto end = x.said.find('\n');
  if (end != std::string::npos && end < max_ready_bytes) {
    close_pipe(x);
    x.said.resize(end);
    return std::move(x.said);
  }
  if (x.said.size() >= max_ready_bytes) {
    give_up(
      x, errc::program_failed,
      fmt::format("said more than {} bytes and no line", max_ready_bytes));
  } else if (size == 0) {
    give_up_silent(x);
  }
  return std::nullopt;
}

std::optional<std::string> system_processes::read_report(entry& x) {
  std::array<char, max_ready_bytes> bytes;
  ssize_t size = 0;
  do {
    size = uninterrupted(
      [&] { return ::read(x.ready.get(), bytes.data(), bytes.size()); });
    if (size < 0)
      return std::nullopt;
    x.said.append(bytes.data(), static_cast<std::size_t>(size));
  } while (size > 0 && x.said.size() < max_ready_bytes);
  if (x.said.size() >= max_ready_bytes)
    give_up(x, errc::program_failed,
            fmt::format("said more than {} bytes before it became another "
                        "program",
                        max_ready_bytes - 1));
  else if (x.said.empty() || x.said.back() != '\n')
    give_up_silent(x);
  else if (auto report = read_exec_report(x.said); !report)
    give_up(x, errc::program_failed,
            "said something else than that it becomes another program");
  else if (!*report)
    // Its end has closed the pipe, and no signal changes its status any more.
    give_up(x, report->error());
  else {
    close_pipe(x);
    return std::move(**report);
  }
  return std::nullopt;
}

void system_processes::give_up_silent(entry& x) {
  give_up(x, errc::program_failed,
          x.said.empty() ? "closed its pipe before it was ready"
                         : "closed its pipe in the middle of a line");
  x.was_silent = true;
}

void system_processes::give_up(entry& x, errc code, const std::string& why) {
  give_up(x, failure{code, fmt::format("'{}' {}", x.program, why)});
}

void system_processes::give_up(entry& x, failure why) {
  x.never_ready = std::move(why);
  std::ignore = x.handle.send(SIGKILL);
  close_pipe(x);
}

void system_processes::close_pipe(entry& x) {
  if (!x.ready)
    return;
  loop_->forget(x.pipe);
  loop_->forget(x.limit);
  x.ready.close();
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
