// SPDX-License-Identifier: Apache-2.0

#include "actors/process/confinement.hpp"

#include "actors/process/landlock.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include <fcntl.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

namespace muster {

namespace {

tl::unexpected<failure> refused(std::string_view what, int error) {
  return fail(errc::not_allowed,
              fmt::format("cannot confine the process: {}: {}", what,
                          std::strerror(error)));
}

// -- limits -------------------------------------------------------------------

expected<void> limit(int what, rlim_t most, std::string_view name) {
  rlimit both{};
  if (::getrlimit(static_cast<__rlimit_resource>(what), &both) != 0)
    return refused(name, errno);
  // Who has less keeps it.
  if (both.rlim_max != RLIM_INFINITY)
    most = std::min(most, both.rlim_max);
  both = {most, most};
  if (::setrlimit(static_cast<__rlimit_resource>(what), &both) != 0)
    return refused(name, errno);
  return {};
}

expected<void> limit_memory(std::uint64_t bytes) {
#ifdef __SANITIZE_ADDRESS__
  // The sanitizer takes terabytes of addresses.
  bytes = 0;
#endif
  if (bytes == 0)
    return {};
  return limit(RLIMIT_DATA, bytes, "its limit of memory");
}

// -- system calls -------------------------------------------------------------

/// What needs no closer look: it works on what is open, or on the process
/// itself.
constexpr int allowed[] = {
  // Descriptors that are there.
  SCMP_SYS(read), SCMP_SYS(readv), SCMP_SYS(write), SCMP_SYS(writev),
  SCMP_SYS(recvfrom), SCMP_SYS(sendto), SCMP_SYS(close), SCMP_SYS(lseek),
  SCMP_SYS(fstat), SCMP_SYS(newfstatat), SCMP_SYS(shutdown),
  SCMP_SYS(getsockopt), SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(epoll_wait),
  SCMP_SYS(epoll_pwait), SCMP_SYS(epoll_ctl),
  // Memory; `mmap` and `mprotect` stand below.
  SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise),
  // Threads that are there, and signals to the process itself.
  SCMP_SYS(futex), SCMP_SYS(sched_yield), SCMP_SYS(sched_getaffinity),
  SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn),
  SCMP_SYS(rt_sigtimedwait), SCMP_SYS(sigaltstack), SCMP_SYS(restart_syscall),
  SCMP_SYS(gettid), SCMP_SYS(getpid), SCMP_SYS(getuid), SCMP_SYS(geteuid),
  SCMP_SYS(set_robust_list), SCMP_SYS(rseq), SCMP_SYS(exit),
  SCMP_SYS(exit_group),
  // Clocks and chance.
  SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres), SCMP_SYS(clock_nanosleep),
  SCMP_SYS(nanosleep), SCMP_SYS(gettimeofday), SCMP_SYS(time), SCMP_SYS(times),
  SCMP_SYS(getrusage), SCMP_SYS(getrandom)};

class filter {
public:
  filter() : context_(::seccomp_init(SCMP_ACT_ERRNO(EPERM)), seccomp_release) {
    error_ = context_ ? 0 : ENOMEM;
  }

  void attribute(scmp_filter_attr which, std::uint32_t value) {
    if (error_ == 0)
      error_ = -::seccomp_attr_set(context_.get(), which, value);
  }

  /// Allows a call, for one value of an argument if there is one.
  template <class... Comparison>
  void allow(int call, Comparison... of) {
    add(SCMP_ACT_ALLOW, call, of...);
  }

  template <class... Comparison>
  void add(std::uint32_t action, int call, Comparison... of) {
    if (error_ == 0)
      error_ = -::seccomp_rule_add(context_.get(), action, call, sizeof...(of),
                                   of...);
  }

  [[nodiscard]] int load() {
    return error_ != 0 ? error_ : -::seccomp_load(context_.get());
  }

private:
  std::unique_ptr<void, decltype(&seccomp_release)> context_;
  int error_ = 0;
};

/// Of the argument with that number.
scmp_arg_cmp is(unsigned argument, std::uint64_t value) {
  return {argument, SCMP_CMP_EQ, value, 0};
}

scmp_arg_cmp has_not(unsigned argument, std::uint64_t bits) {
  return {argument, SCMP_CMP_MASKED_EQ, bits, 0};
}

} // namespace

expected<std::string> confine_files(const confinement& how) {
  if (auto fine = limit(RLIMIT_CORE, 0, "no memory dumps"); !fine)
    return tl::unexpected<failure>{fine.error()};
  if (auto fine = limit_memory(how.max_memory_bytes); !fine)
    return tl::unexpected<failure>{fine.error()};
  auto version
    = restrict_thread({{{how.socket_folder, path_rights::remove_file}}});
  if (!version)
    return tl::unexpected<failure>{version.error()};
  return *version > 0 ? fmt::format("landlock {}", *version) : "no landlock";
}

expected<std::string> confine_calls(const confinement& how, bool has_landlock) {
  filter rules;
  // Both set no new privileges; whoever brings calls of another architecture
  // has taken the process over.
  rules.attribute(SCMP_FLTATR_CTL_TSYNC, 1);
  rules.attribute(SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
  // A tree instead of a list: most calls are looked at a dozen times less.
  rules.attribute(SCMP_FLTATR_CTL_OPTIMIZE, 2);
  for (auto call : allowed)
    rules.allow(call);
  auto listener = static_cast<std::uint64_t>(how.listener);
  auto self = static_cast<std::uint64_t>(::getpid());
  rules.allow(SCMP_SYS(accept4), is(0, listener));
  rules.allow(SCMP_SYS(mmap), has_not(2, PROT_EXEC));
  rules.allow(SCMP_SYS(mprotect), has_not(2, PROT_EXEC));
  rules.allow(SCMP_SYS(fcntl), is(1, F_GETFD));
  rules.allow(SCMP_SYS(fcntl), is(1, F_GETFL));
  // How a crash ends the process.
  rules.allow(SCMP_SYS(tgkill), is(0, self));
  if (has_landlock)
    rules.allow(SCMP_SYS(unlink));
  for (auto call : {SCMP_SYS(execve), SCMP_SYS(execveat)})
    rules.add(SCMP_ACT_KILL_PROCESS, call);
  if (auto error = rules.load(); error != 0)
    return refused("its system calls", error);
  return std::string{"seccomp"};
}

} // namespace muster
