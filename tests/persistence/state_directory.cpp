// SPDX-License-Identifier: Apache-2.0

// Who may have the state directory.

#define CAF_SUITE persistence.state_directory

#include "actors/persistence/state_directory.hpp"

#include "tests/support/suite.hpp"

#include "actors/process/descriptor.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace muster;

namespace {

struct fixture {
  fixture() {
    std::string name{"/tmp/muster-test-XXXXXX"};
    CAF_REQUIRE(::mkdtemp(name.data()) != nullptr);
    folder = name;
  }

  ~fixture() {
    std::filesystem::remove_all(folder);
  }

  /// Holds the lock, in which that pid stands.
  descriptor hold(long pid) const {
    std::ofstream{folder + "/lock"} << pid << "\n";
    descriptor lock{::open((folder + "/lock").c_str(), O_RDWR | O_CLOEXEC)};
    CAF_REQUIRE_EQUAL(::flock(lock.get(), LOCK_EX | LOCK_NB), 0);
    return lock;
  }

  /// A pid that nobody has.
  static long dead_pid() {
    auto child = ::fork();
    if (child == 0)
      ::_exit(0);
    ::waitpid(child, nullptr, 0);
    return child;
  }

  /// How often this process has the lock open.
  std::size_t times_open() const {
    std::size_t out = 0;
    for (auto& x : std::filesystem::directory_iterator{"/proc/self/fd"}) {
      std::error_code gone;
      if (std::filesystem::read_symlink(x.path(), gone) == folder + "/lock")
        ++out;
    }
    return out;
  }

  std::string folder;
};

} // namespace

CAF_TEST_FIXTURE_SCOPE(state_directory_tests, fixture)

CAF_TEST(C11 what a living process holds is refused at once) {
  auto lock = hold(::getppid());
  auto refused = state_directory::open(folder);
  CAF_REQUIRE(!refused);
  CAF_CHECK_EQUAL(refused.error().code, errc::in_use);
  CAF_CHECK(
    refused.error().message.find(fmt::format("the process {};", ::getppid()))
    != std::string::npos);
}

CAF_TEST(what a dead node left to a child is waited for) {
  auto lock = hold(dead_pid());
  bool opened = false;
  std::thread other{
    [&] { opened = state_directory::open(folder).has_value(); }};
  while (times_open() < 2)
    std::this_thread::yield();
  // The child becomes another program.
  lock = descriptor{};
  other.join();
  CAF_CHECK(opened);
}

CAF_TEST_FIXTURE_SCOPE_END()
