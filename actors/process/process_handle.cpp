// SPDX-License-Identifier: Apache-2.0

#include "actors/process/process_handle.hpp"

#include "actors/process/system_call.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>

namespace muster {

namespace {

// The header that declares these calls forgets that C++ exists.
expected<descriptor> open_pidfd(std::int32_t pid) {
  descriptor out{static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))};
  if (out)
    return out;
  auto code = errno == ESRCH ? errc::not_found
              : errno == EMFILE || errno == ENFILE || errno == ENOMEM
                ? errc::overloaded
                : errc::internal;
  return fail(
    code, fmt::format("cannot hold process {}: {}", pid, std::strerror(errno)));
}

bool is_readable(int file, std::chrono::milliseconds patience) {
  using clock = std::chrono::steady_clock;
  auto limit = clock::now() + patience;
  pollfd end{file, POLLIN, 0};
  for (;;) {
    auto left
      = std::chrono::ceil<std::chrono::milliseconds>(limit - clock::now());
    auto result = ::poll(
      &end, 1, static_cast<int>(std::max<std::int64_t>(left.count(), 0)));
    if (result >= 0 || errno != EINTR)
      return result > 0;
  }
}

} // namespace

// -- constructors -------------------------------------------------------------

process_handle::process_handle(process_identity who, descriptor pidfd)
  : who_(std::move(who)), pidfd_(std::move(pidfd)) {
  // nop
}

expected<process_handle> process_handle::hold(const process_identity& who) {
  if (auto fine = check_pid(who.pid); !fine)
    return tl::unexpected<failure>{fine.error()};
  auto pidfd = open_pidfd(who.pid);
  if (!pidfd)
    return tl::unexpected<failure>{pidfd.error()};
  // Only now: what had the pid when it was opened is what has it still, for a
  // later owner would have started later than the one that is sought.
  auto alive = is_alive(who);
  if (!alive)
    return tl::unexpected<failure>{alive.error()};
  if (!*alive)
    return fail(errc::not_found, fmt::format("{} is gone", show(who)));
  return process_handle{who, std::move(*pidfd)};
}

expected<process_handle> process_handle::hold_child(std::int32_t pid) {
  if (auto fine = check_pid(pid); !fine)
    return tl::unexpected<failure>{fine.error()};
  auto pidfd = open_pidfd(pid);
  if (!pidfd)
    return tl::unexpected<failure>{pidfd.error()};
  auto who = identify(pid);
  if (!who)
    return tl::unexpected<failure>{who.error()};
  return process_handle{std::move(*who), std::move(*pidfd)};
}

// -- properties ---------------------------------------------------------------

bool process_handle::has_ended() const {
  return is_readable(pidfd_.get(), std::chrono::milliseconds(0));
}

// -- what can be done with it -------------------------------------------------

expected<void> process_handle::send(int signal) const {
  if (::syscall(SYS_pidfd_send_signal, pidfd_.get(), signal, nullptr, 0) == 0)
    return {};
  auto code = errno == ESRCH   ? errc::not_found
              : errno == EPERM ? errc::not_allowed
                               : errc::invalid_argument;
  return fail(code, fmt::format("cannot send {} to {}: {}", signal_name(signal),
                                show(who_), std::strerror(errno)));
}

std::optional<process_exit> process_handle::reap() const {
  siginfo_t info{};
  auto result = uninterrupted([&] {
    return ::waitid(P_PIDFD, static_cast<id_t>(pidfd_.get()), &info,
                    WEXITED | WNOHANG);
  });
  if (result != 0)
    return has_ended() ? std::optional{process_exit{}} : std::nullopt;
  if (info.si_pid == 0)
    return std::nullopt;
  return process_exit{info.si_code == CLD_EXITED
                        ? process_exit::manner::exited
                        : process_exit::manner::signalled,
                      info.si_status};
}

std::optional<process_exit>
process_handle::reap_within(std::chrono::milliseconds patience) const {
  is_readable(pidfd_.get(), patience);
  return reap();
}

} // namespace muster
