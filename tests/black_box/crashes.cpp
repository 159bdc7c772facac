// SPDX-License-Identifier: Apache-2.0

// The node crashes under a script for real: the thread that runs the script
// gets the signal that a fault of its own would have given it.

#define CAF_SUITE black_box.crashes

#include "tests/black_box/eventually.hpp"
#include "tests/black_box/program.hpp"
#include "tests/support/suite.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

using namespace muster;
using namespace muster::test;
using namespace std::chrono_literals;

namespace {

/// A callback that is not interrupted, so that its thread does nothing else.
constexpr const char* stuck = "alc.llm('q') return tostring(setmetatable({}, "
                              "{__tostring = function() while true do end "
                              "end}))";

const std::vector<std::string> patient
  = {"--strategy.max-unyielding", "100000000000"};

/// Clock ticks that a thread has computed for.
long work_of(pid_t pid, pid_t thread) {
  std::ifstream in{fmt::format("/proc/{}/task/{}/stat", pid, thread)};
  std::string text{std::istreambuf_iterator<char>{in}, {}};
  auto name_end = text.rfind(')');
  if (name_end == std::string::npos)
    return 0;
  std::istringstream fields{text.substr(name_end + 1)};
  std::string skipped;
  for (int i = 0; i < 11; ++i)
    fields >> skipped;
  long ticks = 0;
  fields >> ticks;
  return ticks;
}

/// The thread that has computed more than a node does in its first minutes.
/// @returns 0 if there is none yet.
pid_t busy_thread(pid_t pid) {
  for (auto& entry :
       std::filesystem::directory_iterator{fmt::format("/proc/{}/task", pid)}) {
    auto thread = std::stoi(entry.path().filename().string());
    if (work_of(pid, thread) > 100)
      return thread;
  }
  return 0;
}

/// Sends a signal to the thread that runs the script.
/// @returns how the node ended.
int crash(black_box& box, int number) {
  auto pid = box.node().pid();
  pid_t thread = 0;
  CAF_REQUIRE(eventually([&] { return (thread = busy_thread(pid)) != 0; }));
  ::syscall(SYS_tgkill, pid, thread, number);
  auto ended = box.node().wait(30s);
  CAF_REQUIRE(ended);
  return ended->code;
}

std::string notes_of(const black_box& box) {
  std::ifstream in{box.state() + "/crashes"};
  return {std::istreambuf_iterator<char>{in}, {}};
}

std::string state_of(black_box& box, const std::string& id) {
  auto all = box.run_json({"session", "list"}).document();
  for (auto& session : all["sessions"])
    if (session["session_id"] == id)
      return session["state"];
  return "not there";
}

} // namespace

CAF_TEST(a script under which the node crashed three times is not run again) {
  black_box box;
  box.require_start(patient);
  auto other = box.run_script("return alc.llm('q')")["session_id"];
  std::string id = box.run_script(stuck)["session_id"];
  box.run({"session", "feed", id, "x", "--no-wait"});
  std::string notes;
  for (int number : {SIGSEGV, SIGABRT, SIGBUS}) {
    CAF_CHECK_EQUAL(crash(box, number), -number);
    notes += fmt::format("{} 1 {}\n", id, number);
    CAF_CHECK_EQUAL(notes_of(box), notes);
    box.require_start(patient);
  }
  CAF_CHECK(eventually([&] { return state_of(box, id) == "failed"; }));
  auto shown = box.run_json({"session", "show", id}).document();
  CAF_CHECK_EQUAL(shown["kind"], "engine_error");
  std::string error = shown["error"];
  CAF_CHECK_EQUAL(error.find("the node died 3 times in a row, of signal 7"),
                  0u);
  CAF_CHECK_EQUAL(box.run({"session", "feed", other, "x"}).out, "\"x\"\n");
  CAF_CHECK_EQUAL(box.stop().code, 0);
  CAF_CHECK(!std::filesystem::exists(box.state() + "/crashes"));
}

CAF_TEST(a node that is killed from outside blames nobody) {
  black_box box;
  box.require_start(patient);
  std::string id = box.run_script(stuck)["session_id"];
  box.run({"session", "feed", id, "x", "--no-wait"});
  for (int i = 0; i < 5; ++i) {
    // Whatever the signal: it is for the process, not for a thread of it.
    auto number = i % 2 == 0 ? SIGKILL : SIGSEGV;
    CAF_CHECK(eventually([&] { return busy_thread(box.node().pid()) != 0; }));
    box.node().signal(number);
    auto ended = box.node().wait(30s);
    CAF_REQUIRE(ended);
    CAF_CHECK_EQUAL(ended->code, -number);
    CAF_CHECK(!std::filesystem::exists(box.state() + "/crashes"));
    box.require_start(patient);
  }
  CAF_CHECK_EQUAL(state_of(box, id), "running");
}
