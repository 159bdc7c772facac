// SPDX-License-Identifier: Apache-2.0

#include "tests/support/real_child.hpp"

#include <fstream>
#include <stdexcept>
#include <utility>

#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace muster::test {

namespace {

/// What the child does: each message is a name to take, answered when taken.
[[noreturn]] void obey(int orders) {
  char name[17] = {};
  for (;;) {
    auto size = ::read(orders, name, 16);
    if (size <= 0)
      ::_exit(0);
    name[size] = '\0';
    ::prctl(PR_SET_NAME, name);
    if (::write(orders, "x", 1) != 1)
      ::_exit(1);
  }
}

} // namespace

real_child::real_child(kin whose) : whose_(whose) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
    throw std::runtime_error{"cannot make a pair of sockets"};
  auto pid = ::fork();
  if (pid < 0)
    throw std::runtime_error{"cannot make a child"};
  if (pid == 0) {
    ::close(ends[0]);
    if (whose == kin::grandchild && ::fork() != 0)
      ::_exit(0);
    auto me = ::getpid();
    if (::write(ends[1], &me, sizeof(me)) == sizeof(me))
      obey(ends[1]);
    ::_exit(1);
  }
  ::close(ends[1]);
  orders_ = ends[0];
  if (::read(orders_, &pid_, sizeof(pid_)) != sizeof(pid_))
    throw std::runtime_error{"the child does not say who it is"};
  if (whose == kin::grandchild)
    ::waitpid(pid, nullptr, 0);
}

real_child::real_child(real_child&& other) noexcept
  : whose_(other.whose_), pid_(std::exchange(other.pid_, 0)),
    orders_(std::exchange(other.orders_, -1)) {
  // nop
}

real_child& real_child::operator=(real_child&& other) noexcept {
  std::swap(whose_, other.whose_);
  std::swap(pid_, other.pid_);
  std::swap(orders_, other.orders_);
  return *this;
}

real_child::~real_child() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    if (whose_ == kin::child)
      reap();
  }
  if (orders_ >= 0)
    ::close(orders_);
}

std::optional<real_child> real_child::with_pid(pid_t pid) {
  // Others make processes, too, and may take it.
  for (int tries = 0; tries < 100; ++tries) {
    std::ofstream last{"/proc/sys/kernel/ns_last_pid"};
    if (!(last << pid - 1 << std::flush))
      return std::nullopt;
    real_child child;
    if (child.pid() == pid)
      return child;
  }
  return std::nullopt;
}

void real_child::call_itself(const std::string& name) {
  char answer = 0;
  if (::write(orders_, name.data(), name.size())
        != static_cast<ssize_t>(name.size())
      || ::read(orders_, &answer, 1) != 1)
    throw std::runtime_error{"the child does not listen"};
}

void real_child::become_zombie() {
  siginfo_t info{};
  ::kill(pid_, SIGKILL);
  ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT);
}

void real_child::reap() {
  ::waitpid(std::exchange(pid_, 0), nullptr, 0);
}

} // namespace muster::test
