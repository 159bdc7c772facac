// SPDX-License-Identifier: Apache-2.0

// Pods that die, hang or hide, nodes that are killed, and what is lent then.

#define CAF_SUITE black_box.pod_faults

#include "tests/black_box/calls.hpp"
#include "tests/black_box/command_line.hpp"
#include "tests/black_box/pod_box.hpp"
#include "tests/support/suite.hpp"

#include <filesystem>
#include <fstream>
#include <random>

#include <signal.h>

using namespace muster;
using namespace muster::test;
using namespace std::chrono_literals;

namespace fs = std::filesystem;

namespace {

constexpr const char* stay = "echo up; sleep 1000";

/// The share of a beat comes late enough for all that must not need it.
const std::vector<std::string> no_beat{"--tick.interval", "1h"};

/// A stop climbs its ladder quickly.
const std::vector<std::string> impatient{"--pods.ask-patience",       "200ms",
                                         "--pods.terminate-patience", "200ms",
                                         "--pods.probe-timeout",      "500ms"};

pid_t pid_of(const json& pod) {
  return pod.at("pid").get<pid_t>();
}

std::string document_path(const pod_box& box) {
  return box.state() + "/pods/pods.json";
}

json document_of(const pod_box& box) {
  std::ifstream in{document_path(box)};
  return json::parse(in);
}

json pods_status(pod_box& box) {
  return box.run_json({"status"}).document().at("pods");
}

} // namespace

// -- pods that die ------------------------------------------------------------

CAF_TEST(what a killed pod was lent comes back without a beat) {
  pod_box box;
  box.require_start(no_beat);
  auto a = box.make_folder("a");
  auto b = box.make_folder("b");
  box.end_process(pid_of(box.spawned("agent", "w:" + a)));
  box.end_process(pid_of(box.spawned_shell("shell", "w:" + b, stay)));
  CAF_CHECK(eventually([&] { return box.borrowers().empty(); }));
  CAF_CHECK_EQUAL(box.disorder(), "");
  auto stopped = box.run_json({"pod", "stop", "agent"});
  CAF_CHECK_EQUAL(stopped.code, 0);
  CAF_CHECK_EQUAL(stopped.document()["end"], "was killed by SIGKILL");
  box.spawned("agent", "w:" + b);
}

CAF_TEST(a pod that ignores the signal to end is killed) {
  pod_box box;
  box.require_start(impatient);
  auto a = box.make_folder("a");
  auto script = "trap '' TERM; echo up; while true; do sleep 1000; done";
  box.spawned_shell("deaf", "w:" + a, script);
  auto stopped = box.run_json({"pod", "stop", "deaf"});
  CAF_CHECK_EQUAL(stopped.code, 0);
  CAF_CHECK_EQUAL(stopped.document()["end"], "was killed by SIGKILL");
  CAF_CHECK(box.pod_processes().empty());
  CAF_CHECK(box.borrowers().empty());
}

CAF_TEST(what a pod leaves behind is killed before its loans come back) {
  pod_box box;
  box.require_start();
  auto a = box.make_folder("a");
  for (std::string child :
       {"sleep 1000 &", "setsid sleep 1000 &",
        "(trap '' TERM; setsid sh -c 'sleep 1000 & wait' &);"}) {
    CAF_MESSAGE(child);
    auto script = child + " echo up; sleep 1000";
    auto pod = box.spawned_shell("parent", "w:" + a, script);
    CAF_CHECK(eventually([&] { return box.pod_processes().size() >= 3; }));
    CAF_CHECK_EQUAL(box.run({"pod", "stop", "parent"}).code, 0);
    CAF_CHECK(box.pod_processes().empty());
    // The same where the parent ends by itself.
    box.spawned_shell("parent", "w:" + a, child + " echo up");
    while (
      box.run({"pod", "spawn", "next", "--scope", "w:" + a, "--", "true"}).code
      == 6)
      continue;
    CAF_CHECK(box.pod_processes().size() <= 1);
    CAF_CHECK(eventually([&] { return box.borrowers().empty(); }));
  }
}

CAF_TEST(a late end of a pod frees nothing of its successor) {
  pod_box box;
  box.require_start();
  auto a = box.make_folder("a");
  for (int i = 0; i < 10; ++i) {
    auto old = pid_of(box.spawned_shell("same", "w:" + a, stay));
    // The node learns of the end when its requests have come already.
    box.node().signal(SIGSTOP);
    ::kill(old, SIGKILL);
    auto stop = launch(box, {"pod", "stop", "same"});
    auto next = launch(box, {"pod", "spawn", "same", "--scope", "w:" + a, "--",
                             "sh", "-c", stay});
    box.node().signal(SIGCONT);
    auto ended = end_of(*next);
    std::ignore = end_of(*stop);
    if (ended.code != 0) {
      // It came before the stop.
      CAF_CHECK_EQUAL(ended.code, 6);
      continue;
    }
    auto now = box.pod("same");
    if (now.empty())
      // The stop came behind it.
      continue;
    CAF_CHECK(pid_of(now) != old);
    CAF_CHECK((box.borrowers() == std::set<std::string>{"same"}));
    CAF_CHECK_EQUAL(box.run({"pod", "stop", "same"}).code, 0);
  }
  CAF_CHECK_EQUAL(box.disorder(), "");
}

CAF_TEST(a program that ends at once was ready all the same) {
  pod_box box;
  box.require_start();
  auto a = box.make_folder("a");
  for (int code : {0, 7, 0, 7}) {
    auto pod
      = box.spawned("quick", "w:" + a,
                    {"--", "sh", "-c", fmt::format("echo up; exit {}", code)});
    CAF_CHECK_EQUAL(box.output_of(pod), "up\n");
    auto stopped = box.run_json({"pod", "stop", "quick"});
    CAF_CHECK_EQUAL(stopped.code, 0);
    CAF_CHECK_EQUAL(stopped.document()["end"],
                    fmt::format("ended with exit code {}", code));
    CAF_CHECK(box.borrowers().empty());
  }
}

// -- nodes that die -----------------------------------------------------------

CAF_TEST(pods are found again under the same pids with the same loans) {
  pod_box box;
  box.require_start();
  auto a = box.make_folder("a");
  auto b = box.make_folder("b");
  auto agent = box.spawned("agent", "w:" + a);
  auto shell = box.spawned_shell("shell", "w:" + b, stay);
  CAF_CHECK_EQUAL(box.said("agent", "report('one') return 'two'"),
                  "one\ntwo\n");
  auto scopes = box.run_json({"pod", "scopes"}).out;
  auto processes = box.pod_processes();
  for (bool is_killed : {true, false}) {
    if (is_killed)
      box.kill();
    else
      CAF_CHECK_EQUAL(box.stop().code, 0);
    CAF_CHECK(box.pod_processes() == processes);
    box.require_start();
    for (auto* before : {&agent, &shell}) {
      auto now = box.pod((*before)["name"].get<std::string>());
      for (auto* same : {"pid", "id", "state", "scope", "folder", "sandbox"})
        CAF_CHECK_EQUAL(now[same], (*before)[same]);
    }
    CAF_CHECK_EQUAL(box.run_json({"pod", "scopes"}).out, scopes);
    // Whoever has read goes on behind that.
    CAF_CHECK_EQUAL(box.said("agent", "return 'three'"), "three\n");
    auto refused = box.run_json({"pod", "spawn", "thief", "--scope", "w:" + a});
    CAF_CHECK_EQUAL(refused.code, 6);
  }
  CAF_CHECK_EQUAL(box.disorder(), "");
}

CAF_TEST(a pod that hangs when the node comes back is ended and reclaimed) {
  pod_box box;
  box.require_start(impatient);
  auto a = box.make_folder("a");
  auto pid = pid_of(box.spawned("hangs", "w:" + a));
  ::kill(pid, SIGSTOP);
  box.kill();
  box.require_start(impatient);
  CAF_CHECK(eventually([&] { return box.pod("hangs").empty(); }));
  CAF_CHECK(box.pod_processes().empty());
  CAF_CHECK(box.borrowers().empty());
  CAF_CHECK(eventually([&] {
    return pods_status(box)["reclaimed_at_start"] == json::array({"hangs"});
  }));
  // What it said can still be read.
  CAF_CHECK_EQUAL(box.run({"pod", "read", "hangs"}).code, 0);
  CAF_CHECK(contains(box.stop().err, "pod 'hangs' was not found again"));
}

CAF_TEST(pods that died with the node are reclaimed at its next start) {
  pod_box box;
  box.require_start();
  auto a = box.make_folder("a");
  auto agent = box.spawned("agent", "w:" + a);
  auto shell = box.spawned_shell("shell", "r:" + a, stay);
  box.kill();
  box.end_process(pid_of(agent));
  box.end_process(pid_of(shell));
  box.require_start();
  box.spawned("next", "w:" + a);
  // What the script had started is killed first.
  CAF_CHECK(eventually(
    [&] { return box.borrowers() == std::set<std::string>{"next"}; }));
  CAF_CHECK_EQUAL(box.disorder(), "");
}

CAF_TEST(a thousand dead pods are reclaimed by one look and few writes) {
  constexpr int count = 1'000;
  pod_box box;
  box.require_start();
  auto a = box.make_folder("a");
  auto pid = pid_of(box.spawned("dead", "r:" + a));
  box.kill();
  box.end_process(pid);
  auto all = document_of(box);
  auto again = [](json list, const char* name) {
    auto out = json::array();
    for (auto& x : list) {
      out.push_back(x);
      for (int i = 1; x.value(name, json{}) == "dead" && i < count; ++i) {
        auto copy = x;
        copy[name] = fmt::format("dead{}", i);
        if (auto id = copy.find("id"); id != copy.end())
          *id = fmt::format(
            "{}.{:08x}",
            id->get<std::string>()[0] == 'l' ? "l-x" : fmt::format("dead{}", i),
            i);
        out.push_back(std::move(copy));
      }
    }
    return out;
  };
  all["pods"] = again(all["pods"], "name");
  auto& scopes = all["scopes"];
  scopes["allocations"] = again(scopes["allocations"], "name");
  scopes["loans"] = again(scopes["loans"], "borrower");
  CAF_CHECK_EQUAL(all["pods"].size(), std::size_t{count});
  std::ofstream{document_path(box)} << all;
  // Nobody reads here meanwhile what the node has to say about each of them.
  program_options quiet;
  quiet.runner = {"/bin/sh", "-c", "exec \"$@\" 2> /dev/null", "sh"};
  auto begin = std::chrono::steady_clock::now();
  box.require_start({}, quiet);
  CAF_CHECK_EQUAL(box.run_json({"pod", "list"}).out, "{\"pods\":[]}\n");
  std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  CAF_MESSAGE(fmt::format("ready and listed after {:.2f} s", took.count()));
  CAF_CHECK(box.borrowers().empty());
  json status;
  CAF_CHECK(eventually([&] {
    status = pods_status(box);
    return status["reclaimed_at_start"].size() == std::size_t{count};
  }));
  CAF_CHECK(status["saves"].get<int>() < 10);
  box.spawned("next", "w:" + a);
}

CAF_TEST(nothing is lost and nobody is forgotten where a node is killed) {
  auto seed = std::random_device{}();
  CAF_MESSAGE(fmt::format("seed {}", seed));
  std::mt19937_64 random{seed};
  constexpr int names = 4;
  pod_box box;
  std::vector<std::string> folders;
  for (int i = 0; i < names; ++i)
    folders.push_back(box.make_folder(fmt::format("f{}", i)));
  // What was acknowledged last, by name: its pid, or 0 for a stop. What was
  // under way when the node died is not known.
  std::map<std::string, std::optional<pid_t>> known;
  for (int round = 0; round < 20; ++round) {
    box.require_start(impatient);
    CAF_CHECK_EQUAL(box.disorder(), "");
    for (auto& [name, pid] : known)
      if (pid) {
        auto now = box.pod(name);
        CAF_CHECK_EQUAL(now.empty() ? 0 : pid_of(now), *pid);
      }
    std::vector<std::future<void>> clients;
    for (int i = 0; i < names; ++i) {
      auto name = fmt::format("pod{}", i);
      auto begin = box.pod(name);
      auto* slot = &(known[name] = begin.empty() ? 0 : pid_of(begin));
      auto options = box.options();
      options.reconnect_for = 0s;
      clients.push_back(
        in_background([=, folder = folders[static_cast<std::size_t>(i)]] {
          auto link = client::connect(options);
          if (!link)
            return;
          pod_order order;
          order.name = name;
          order.scope = {{folder, permission::write, true}};
          if (i % 2 == 0) {
            order.command = {"sh", "-c", "sleep 1000 & sleep 1000"};
            order.kind = pod_class::plain;
          }
          for (auto lives = **slot != 0;; lives = !lives) {
            slot->reset();
            std::optional<failure> why;
            if (lives) {
              auto stopped = (*link)->pod_stop(name, patience);
              if (stopped)
                *slot = 0;
              else
                why = stopped.error();
            } else {
              auto made = (*link)->pod_spawn(order, {patience, {}});
              if (made)
                *slot = made->pid;
              else
                why = made.error();
            }
            if (why)
              return;
          }
        }));
    }
    std::this_thread::sleep_for(
      std::chrono::microseconds(random() % 1'000'000));
    box.kill();
    for (auto& client : clients)
      result_of(client);
  }
  box.require_start(impatient);
  CAF_CHECK_EQUAL(box.disorder(), "");
  for (int i = 0; i < names; ++i)
    std::ignore = box.run({"pod", "stop", fmt::format("pod{}", i)});
  CAF_CHECK(box.borrowers().empty());
  CAF_CHECK_EQUAL(box.disorder(), "");
}

// -- what is held -------------------------------------------------------------

CAF_TEST(thirty pods leave nothing in the node) {
  pod_box box;
  box.require_start();
  auto a = box.make_folder("a");
  box.spawned("agent", "w:" + a);
  CAF_CHECK_EQUAL(box.run({"pod", "stop", "agent"}).code, 0);
  auto before = box.settled();
  auto link = *box.connect();
  for (int i = 0; i < 30; ++i) {
    pod_order order;
    order.name = "agent";
    order.scope = {{a, permission::write, true}};
    if (i % 2 == 0) {
      order.command = {"sleep", "1000"};
      order.kind = pod_class::plain;
    }
    auto made = link->pod_spawn(order, {patience, {}});
    CAF_REQUIRE(made);
    auto stopped = link->pod_stop("agent", patience);
    CAF_REQUIRE(stopped);
  }
  link.reset();
  CAF_CHECK_EQUAL(box.grown_since(before), "");
  CAF_CHECK(box.pod_processes().empty());
}
