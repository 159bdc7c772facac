// SPDX-License-Identifier: Apache-2.0

#define CAF_SUITE process.handle

#include "actors/process/process_handle.hpp"

#include "tests/support/real_child.hpp"
#include "tests/support/suite.hpp"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace muster;
using namespace std::chrono_literals;
using muster::test::real_child;

namespace {

constexpr auto patience = 30s;

process_exit exited(int code) {
  return {process_exit::manner::exited, code};
}

process_exit signalled(int number) {
  return {process_exit::manner::signalled, number};
}

/// A child that ends at once, not reaped.
process_handle ended_with(int code) {
  auto pid = ::fork();
  if (pid == 0)
    ::_exit(code);
  return *process_handle::hold_child(pid);
}

} // namespace

CAF_TEST(the exit code of a child is seen once) {
  auto child = ended_with(3);
  CAF_CHECK_EQUAL(*child.reap_within(patience), exited(3));
  CAF_CHECK(child.has_ended());
  // Nobody can know any more, but it has ended.
  CAF_CHECK_EQUAL(*child.reap(), process_exit{});
}

CAF_TEST(the signal that killed a child is seen) {
  real_child child;
  auto handle = *process_handle::hold_child(child.pid());
  CAF_CHECK(!handle.has_ended());
  CAF_CHECK(!handle.reap());
  CAF_CHECK(handle.send(SIGTERM));
  CAF_CHECK_EQUAL(*handle.reap_within(patience), signalled(SIGTERM));
  child.forget();
}

CAF_TEST(a reaped child gets no signal) {
  auto child = ended_with(0);
  CAF_CHECK(child.reap_within(patience));
  CAF_CHECK_EQUAL(child.send(SIGKILL).error().code, errc::not_found);
}

CAF_TEST(a zombie cannot be held by its identity) {
  real_child child;
  auto who = *identify(child.pid());
  CAF_CHECK(process_handle::hold(who));
  child.become_zombie();
  CAF_CHECK_EQUAL(process_handle::hold(who).error().code, errc::not_found);
}

CAF_TEST(a process that got the pid of another is not held for it) {
  real_child child;
  auto who = *identify(child.pid());
  --who.start_ticks;
  CAF_CHECK_EQUAL(process_handle::hold(who).error().code, errc::not_found);
}

CAF_TEST(a signal never reaches the next owner of a pid) {
  real_child first;
  auto handle = *process_handle::hold_child(first.pid());
  first.become_zombie();
  first.reap();
  auto second = real_child::with_pid(handle.who().pid);
  if (!second) {
    CAF_MESSAGE("this user cannot choose pids");
    return;
  }
  CAF_CHECK_EQUAL(handle.send(SIGKILL).error().code, errc::not_found);
  CAF_CHECK(handle.has_ended());
  CAF_CHECK(*is_alive(*identify(second->pid())));
}

CAF_TEST(what is no pid is not held) {
  for (std::int32_t pid : {0, -1, 4'194'305}) {
    CAF_CHECK_EQUAL(process_handle::hold_child(pid).error().code,
                    errc::invalid_argument);
    CAF_CHECK_EQUAL(process_handle::hold({pid, 1, "b"}).error().code,
                    errc::invalid_argument);
  }
}

CAF_TEST(the end of a process that is no child is seen) {
  real_child stranger{real_child::kin::grandchild};
  auto handle = process_handle::hold(*identify(stranger.pid()));
  CAF_REQUIRE(handle);
  CAF_CHECK(!handle->has_ended());
  CAF_CHECK(!handle->reap());
  CAF_CHECK(handle->send(SIGKILL));
  CAF_CHECK_EQUAL(*handle->reap_within(patience), process_exit{});
}

CAF_TEST(a process of another user gets no signal) {
  if (::getuid() != 0) {
    CAF_MESSAGE("only root can become another user");
    return;
  }
  real_child child;
  // In a process of its own, as that is for good.
  auto pid = ::fork();
  if (pid == 0) {
    if (::setuid(65'534) != 0)
      ::_exit(1);
    auto handle = process_handle::hold(*identify(child.pid()));
    ::_exit(handle && handle->send(SIGTERM).error().code == errc::not_allowed
              ? 0
              : 2);
  }
  auto handle = *process_handle::hold_child(pid);
  CAF_CHECK_EQUAL(*handle.reap_within(patience), exited(0));
  CAF_CHECK(*is_alive(*identify(child.pid())));
}

CAF_TEST(an end is told in words) {
  CAF_CHECK_EQUAL(show(exited(3)), "ended with exit code 3");
  CAF_CHECK_EQUAL(show(signalled(SIGKILL)), "was killed by SIGKILL");
  CAF_CHECK_EQUAL(show(process_exit{}), "ended");
}
