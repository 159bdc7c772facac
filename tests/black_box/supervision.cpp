// SPDX-License-Identifier: Apache-2.0

// `muster node --restart`: the node dies, and there is a new one.

#define CAF_SUITE black_box.supervision

#include "tests/black_box/eventually.hpp"
#include "tests/black_box/program.hpp"
#include "tests/support/suite.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include <signal.h>
#include <unistd.h>

using namespace muster;
using namespace muster::test;
using namespace std::chrono_literals;

namespace {

bool is_alive(pid_t pid) {
  std::ifstream in{fmt::format("/proc/{}/stat", pid)};
  std::string text{std::istreambuf_iterator<char>{in}, {}};
  auto name_end = text.rfind(')');
  return name_end != std::string::npos
         && text.compare(name_end + 2, 1, "Z") != 0;
}

/// A node and who watches it.
struct watched_node {
  explicit watched_node(std::vector<std::string> more = {}) {
    more.emplace_back("--restart");
    box.require_start(more);
    pid = box.ready()["pid"];
    CAF_REQUIRE_NOT_EQUAL(pid, box.node().pid());
  }

  /// The next node; the one before has been killed.
  void expect_another() {
    auto before = pid;
    auto line = json::parse(box.node().read_line(60s), nullptr, false);
    CAF_REQUIRE(line.is_object());
    CAF_CHECK_EQUAL(line["event"], "ready");
    pid = line["pid"];
    CAF_CHECK_NOT_EQUAL(pid, before);
  }

  black_box box;
  pid_t pid = 0;
};

} // namespace

CAF_TEST(a node that is killed is started again and its sessions go on) {
  watched_node watched;
  auto& box = watched.box;
  auto id = box.run_script("return alc.llm('q')")["session_id"];
  ::kill(watched.pid, SIGKILL);
  watched.expect_another();
  CAF_CHECK_EQUAL(box.run({"session", "feed", id, "x"}).out, "\"x\"\n");
  auto ended = box.stop();
  CAF_CHECK_EQUAL(ended.code, 0);
  CAF_CHECK(!is_alive(watched.pid));
  CAF_CHECK(!std::filesystem::exists(box.state() + "/node.json"));
}

CAF_TEST(a node that dies again and again is started after longer pauses) {
  black_box box;
  process watcher{{MUSTER_PROGRAM, "--state-dir", box.state(), "node", "--port",
                   "0", "--restart"},
                  {}};
  for (int i = 0; i < 3; ++i) {
    CAF_CHECK_EQUAL(watcher.read_line(60s).find("muster is ready"), 0u);
    std::ifstream in{box.state() + "/node.json"};
    pid_t pid = json::parse(in)["pid"];
    ::kill(pid, SIGKILL);
  }
  CAF_CHECK_EQUAL(watcher.read_line(60s).find("muster is ready"), 0u);
  watcher.signal(SIGTERM);
  auto ended = watcher.wait(60s);
  CAF_REQUIRE(ended);
  CAF_CHECK_EQUAL(ended->code, 0);
  for (auto* pause : {"in 200 ms", "in 400 ms", "in 800 ms"})
    CAF_CHECK(ended->err.find(pause) != std::string::npos);
}

CAF_TEST(a signal between two nodes is heard) {
  watched_node watched;
  // So that there is a pause worth the name.
  for (int i = 0; i < 2; ++i) {
    ::kill(watched.pid, SIGKILL);
    watched.expect_another();
  }
  // Dead and not there again: this is the pause.
  ::kill(watched.pid, SIGKILL);
  CAF_REQUIRE(eventually([&] {
    return !std::filesystem::exists(fmt::format("/proc/{}", watched.pid));
  }));
  watched.box.node().signal(SIGTERM);
  auto ended = watched.box.node().wait(30s);
  CAF_REQUIRE(ended);
  CAF_CHECK_EQUAL(ended->code, 0);
  // No other was started.
  CAF_CHECK_EQUAL(std::count(ended->out.begin(), ended->out.end(), '\n'), 3);
}

CAF_TEST(a signal while a node starts is heard) {
  // At many instants, as nobody knows when the program starts another.
  for (int i = 0; i < 20; ++i) {
    black_box box;
    process watcher{{MUSTER_PROGRAM, "--state-dir", box.state(), "node",
                     "--port", "0", "--restart"},
                    {}};
    std::this_thread::sleep_for(std::chrono::milliseconds(i));
    watcher.signal(SIGTERM);
    auto ended = watcher.wait(30s);
    CAF_MESSAGE("after " << i << " ms");
    CAF_REQUIRE(ended);
    // Before it listens to signals, there is nothing to stop in order.
    CAF_CHECK(ended->code == 0 || ended->code == -SIGTERM);
  }
}

CAF_TEST(a node goes in order when who watches it is killed) {
  watched_node watched;
  auto& box = watched.box;
  auto id = box.run_script("return alc.llm('q')")["session_id"];
  box.kill();
  CAF_CHECK(eventually([&] { return !is_alive(watched.pid); }));
  CAF_CHECK(!std::filesystem::exists(box.state() + "/node.json"));
  box.require_start();
  CAF_CHECK_EQUAL(box.run({"session", "feed", id, "x"}).out, "\"x\"\n");
  CAF_CHECK_EQUAL(box.stop().code, 0);
}

CAF_TEST(what a terminal sends to all of them is one order to stop) {
  black_box box;
  // In a group of their own, as a shell would start them.
  process watcher{{"/usr/bin/setsid", MUSTER_PROGRAM, "--state-dir",
                   box.state(), "node", "--port", "0", "--restart"},
                  {}};
  CAF_CHECK_EQUAL(watcher.read_line(60s).find("muster is ready"), 0u);
  std::ifstream in{box.state() + "/node.json"};
  CAF_CHECK_NOT_EQUAL(::getpgid(json::parse(in)["pid"]), watcher.pid());
  ::kill(-watcher.pid(), SIGINT);
  auto ended = watcher.wait(60s);
  CAF_REQUIRE(ended);
  CAF_CHECK_EQUAL(ended->code, 0);
  CAF_CHECK(!std::filesystem::exists(box.state() + "/node.json"));
}
