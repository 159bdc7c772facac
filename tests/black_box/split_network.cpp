// SPDX-License-Identifier: Apache-2.0

#include "tests/black_box/split_network.hpp"

#include "tests/black_box/program.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

namespace muster::test {

namespace {

constexpr const char* ip = "/usr/sbin/ip";

constexpr const char* near_address = "10.0.0.1";

constexpr const char* far_address_text = "10.0.0.2";

[[noreturn]] void fail(const std::string& what) {
  throw std::runtime_error{what + ": " + std::strerror(errno)};
}

/// The network that this thread is in; as long as somebody has it open, it is
/// there.
int present_network() {
  auto out = ::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  if (out < 0)
    fail("cannot look at the network");
  return out;
}

void leave_network() {
  if (::unshare(CLONE_NEWNET) != 0)
    fail("cannot have a network of its own, which takes root");
}

void run(std::vector<std::string> arguments) {
  process program{arguments, {}};
  auto result = program.wait(std::chrono::seconds(60));
  if (!result || result->code != 0)
    throw std::runtime_error{
      fmt::format("{} fails: {}", fmt::join(arguments, " "),
                  result ? result->err : "it does not end")};
}

} // namespace

split_network::split_network() : home_(present_network()) {
  leave_network();
  far_ = present_network();
  leave_network();
  auto far_run = [this](std::vector<std::string> arguments) {
    auto all = far_side();
    all.insert(all.end(), arguments.begin(), arguments.end());
    run(std::move(all));
  };
  run({ip, "link", "set", "lo", "up"});
  run({ip, "link", "add", "near", "type", "veth", "peer", "name", "far",
       "netns", fmt::format("/proc/{}/fd/{}", ::getpid(), far_)});
  run({ip, "addr", "add", fmt::format("{}/30", near_address), "dev", "near"});
  run({ip, "link", "set", "near", "up"});
  far_run({ip, "link", "set", "lo", "up"});
  far_run(
    {ip, "addr", "add", fmt::format("{}/30", far_address_text), "dev", "far"});
  far_run({ip, "link", "set", "far", "up"});
}

split_network::~split_network() {
  ::setns(home_, CLONE_NEWNET);
  ::close(home_);
  ::close(far_);
}

std::vector<std::string> split_network::far_side() const {
  return {"/usr/bin/nsenter",
          fmt::format("--net=/proc/{}/fd/{}", ::getpid(), far_)};
}

std::string split_network::far_address() const {
  return far_address_text;
}

void split_network::cut() {
  run({ip, "link", "set", "near", "down"});
}

void split_network::mend() {
  run({ip, "link", "set", "near", "up"});
}

} // namespace muster::test
