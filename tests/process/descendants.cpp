// SPDX-License-Identifier: Apache-2.0

#define CAF_SUITE process.descendants

#include "actors/process/descendants.hpp"

#include "tests/support/suite.hpp"

#include "actors/process/descriptor.hpp"
#include "actors/process/spawn.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace muster;
using namespace std::chrono_literals;

namespace {

constexpr auto patience = 30s;
constexpr const char* variable = "MUSTER_TEST_DESCENDANT";

struct fixture {
  /// Nobody else has it.
  std::string value = fmt::format("{}.{}=", ::getpid(), ++count);
  std::vector<started_process> children;

  static inline int count = 0;

  ~fixture() {
    for (auto& who : found())
      if (auto handle = process_handle::hold(who))
        std::ignore = handle->send(SIGKILL);
    for (auto& child : children) {
      std::ignore = child.handle.send(SIGKILL);
      CAF_CHECK(child.handle.reap_within(patience));
    }
  }

  process_identity start(const std::string& script,
                         const std::vector<std::string>& environment) {
    process_order order;
    order.program = "/bin/sh";
    order.arguments = {"-c", script};
    order.environment = environment;
    auto child = spawn(order);
    CAF_REQUIRE(child);
    children.push_back(std::move(*child));
    return children.back().handle.who();
  }

  /// One whose first thread has ended, while another one runs.
  process_identity start_headless() {
    auto script = "import ctypes, threading, time\n"
                  "threading.Thread(target=time.sleep, args=(600,)).start()\n"
                  "ctypes.CDLL(None).pthread_exit(None)\n";
    auto who = start("exec python3 -c \"$SCRIPT\"",
                     {entry(), fmt::format("SCRIPT={}", script)});
    auto end = std::chrono::steady_clock::now() + patience;
    auto is_over = [&] {
      auto stat = stat_of(who.pid);
      return stat && *stat && (*stat)->state == 'Z';
    };
    while (!is_over() && std::chrono::steady_clock::now() < end)
      std::this_thread::yield();
    CAF_REQUIRE(is_over());
    return who;
  }

  std::string entry() const {
    return fmt::format("{}={}", variable, value);
  }

  /// Looks until nothing is unknown.
  std::vector<process_identity> found() const {
    auto end = std::chrono::steady_clock::now() + patience;
    auto all = find_by_variable(variable);
    while ((all.unsure || !all.unknown.empty())
           && std::chrono::steady_clock::now() < end)
      all = find_by_variable(variable);
    CAF_CHECK(!all.unsure && all.unknown.empty());
    auto i = all.by_value.find(value);
    return i != all.by_value.end() ? i->second
                                   : std::vector<process_identity>{};
  }

  /// Whether a look finds it, or says that it may be there.
  bool is_not_overlooked(const process_identity& who) const {
    auto all = find_by_variable(variable);
    auto i = all.by_value.find(value);
    auto is_found = i != all.by_value.end()
                    && i->second == std::vector<process_identity>{who};
    auto is_unknown = std::find(all.unknown.begin(), all.unknown.end(), who)
                      != all.unknown.end();
    return is_found || is_unknown || all.unsure;
  }

  /// Waits until so many are found.
  std::vector<process_identity> found(std::size_t size) const {
    auto end = std::chrono::steady_clock::now() + patience;
    auto out = found();
    while (out.size() != size && std::chrono::steady_clock::now() < end) {
      std::this_thread::yield();
      out = found();
    }
    CAF_CHECK_EQUAL(out.size(), size);
    return out;
  }
};

} // namespace

CAF_TEST_FIXTURE_SCOPE(descendant_tests, fixture)

CAF_TEST(a process is found by the variable that it was started with) {
  auto who = start("exec sleep 600", {"A=1", entry(), "B=2"});
  CAF_CHECK(found(1) == std::vector<process_identity>{who});
  CAF_CHECK(was_started_with(who.pid, variable, value) == true);
  CAF_CHECK(was_started_with(who.pid, variable, value + "0") == false);
  CAF_CHECK(was_started_with(::getpid(), variable, value) == false);
}

CAF_TEST(one that is between two programs is found at any time) {
  // The kernel has no environment to show for a process within `execve`.
  auto again = "exec /bin/sh -c \"$AGAIN\"";
  auto who = start(again, {entry(), fmt::format("AGAIN={}", again)});
  found(1);
  int count = 0;
  for (int i = 0; i < 2'000; ++i) {
    CAF_REQUIRE(is_not_overlooked(who));
    auto is_it = was_started_with(who.pid, variable, value);
    CAF_REQUIRE(is_it != false);
    count += is_it ? 1 : 0;
  }
  CAF_CHECK_GREATER(count, 0);
}

CAF_TEST(one of which another thread begins a program is found at any time) {
  // That thread becomes the first one.
  auto again = "import os, sys, threading, time\n"
               "def again():\n"
               "    os.execv(sys.executable, [sys.executable, '-S', '-c', "
               "os.environ['AGAIN']])\n"
               "threading.Thread(target=again).start()\n"
               "time.sleep(600)\n";
  auto who = start("exec python3 -S -c \"$AGAIN\"",
                   {entry(), fmt::format("AGAIN={}", again)});
  found(1);
  for (int i = 0; i < 2'000; ++i)
    CAF_REQUIRE(is_not_overlooked(who));
}

CAF_TEST(one whose first thread has ended is found) {
  auto who = start_headless();
  CAF_CHECK(found() == std::vector<process_identity>{who});
  CAF_CHECK(was_started_with(who.pid, variable, value) == true);
}

CAF_TEST(one whose first thread has ended is found by whoever is not root) {
  // To him the kernel says that nobody may look.
  constexpr uid_t nobody = 65'534;
  auto pid = ::fork();
  CAF_REQUIRE_NOT_EQUAL(pid, -1);
  if (pid == 0) {
    auto is_nobody = ::getuid() != 0
                     || (::setresgid(nobody, nobody, nobody) == 0
                         && ::setresuid(nobody, nobody, nobody) == 0);
    children.clear();
    auto who = start_headless();
    auto is_found = found() == std::vector<process_identity>{who};
    ::kill(who.pid, SIGKILL);
    ::_exit(is_nobody && is_found ? 0 : 1);
  }
  int status = 0;
  CAF_REQUIRE_EQUAL(::waitpid(pid, &status, 0), pid);
  CAF_CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

CAF_TEST(a look without descriptors fails and finds nothing missing) {
  start("exec sleep 600", {entry()});
  found(1);
  descriptor next{::open("/dev/null", O_RDONLY | O_CLOEXEC)};
  rlimit before{};
  CAF_REQUIRE_EQUAL(::getrlimit(RLIMIT_NOFILE, &before), 0);
  auto scarce = before;
  scarce.rlim_cur = static_cast<rlim_t>(next.get());
  next = {};
  CAF_REQUIRE_EQUAL(::setrlimit(RLIMIT_NOFILE, &scarce), 0);
  auto all = find_by_variable(variable);
  CAF_REQUIRE_EQUAL(::setrlimit(RLIMIT_NOFILE, &before), 0);
  CAF_REQUIRE(all.unsure);
  CAF_CHECK(all.unsure->code == errc::overloaded);
  CAF_CHECK(all.unsure->message.find("'/proc'") != std::string::npos);
}

CAF_TEST(neither another value nor a longer name is the same) {
  start("exec sleep 600", {fmt::format("{}={}0", variable, value)});
  start("exec sleep 600", {fmt::format("{}X={}", variable, value)});
  start("exec sleep 600", {fmt::format("{}X{}", variable, value)});
  start("exec sleep 600", {fmt::format("X{}={}", variable, value)});
  start("exec sleep 600", {fmt::format("A={}", entry())});
  auto who = start("exec sleep 600", {entry()});
  CAF_CHECK(found(1) == std::vector<process_identity>{who});
}

CAF_TEST(what a process starts is found also when that one is gone) {
  auto parent = start("sleep 600 & exec true", {entry()});
  CAF_REQUIRE(children.back().handle.reap_within(patience));
  children.clear();
  auto left = found(1);
  CAF_REQUIRE_EQUAL(left.size(), 1u);
  CAF_CHECK(left[0] != parent);
}

CAF_TEST(a process in a session of its own is found) {
  auto who = start("setsid sleep 600 & exec sleep 600", {entry()});
  auto all = found(2);
  CAF_CHECK(std::find(all.begin(), all.end(), who) != all.end());
}

CAF_TEST(one that has ended is not found) {
  auto who = start("exec sleep 600", {entry()});
  found(1);
  CAF_REQUIRE(children.back().handle.send(SIGKILL));
  // Also while nobody has reaped it.
  found(0);
  CAF_CHECK(was_started_with(who.pid, variable, value) == false);
}

CAF_TEST_FIXTURE_SCOPE_END()
