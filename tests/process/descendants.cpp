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

  std::string entry() const {
    return fmt::format("{}={}", variable, value);
  }

  std::vector<process_identity> found() const {
    auto all = find_by_variable(variable);
    CAF_CHECK(!all.unsure);
    auto i = all.by_value.find(value);
    return i != all.by_value.end() ? i->second
                                   : std::vector<process_identity>{};
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
  CAF_CHECK(was_started_with(who.pid, variable, value));
  CAF_CHECK(!was_started_with(who.pid, variable, value + "0"));
  CAF_CHECK(!was_started_with(::getpid(), variable, value));
}

CAF_TEST(one that is between two programs is found at any time) {
  // The kernel has no environment to show for a process within `execve`.
  auto again = "exec /bin/sh -c \"$AGAIN\"";
  auto who = start(again, {entry(), fmt::format("AGAIN={}", again)});
  found(1);
  for (int i = 0; i < 2'000; ++i) {
    CAF_REQUIRE(found() == std::vector<process_identity>{who});
    CAF_REQUIRE(was_started_with(who.pid, variable, value));
  }
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
  CAF_CHECK(!was_started_with(who.pid, variable, value));
}

CAF_TEST_FIXTURE_SCOPE_END()
