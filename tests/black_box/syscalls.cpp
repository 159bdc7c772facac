// SPDX-License-Identifier: Apache-2.0

// The real program, and a fault at every single system call by which it reaches
// its state directory: from the start over a piece of work to the stop. What
// the client was told is the oracle.

#define CAF_SUITE black_box.syscalls

#include "tests/black_box/eventually.hpp"
#include "tests/black_box/program.hpp"
#include "tests/black_box/strace.hpp"
#include "tests/black_box/told_work.hpp"
#include "tests/support/suite.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <mutex>
#include <random>
#include <thread>

#include <signal.h>

using namespace muster;
using namespace muster::test;
using namespace std::chrono_literals;

namespace {

constexpr auto patience = 60s;

/// The calls that change something on disk, and those that open it.
constexpr const char* disk_calls
  = "openat,write,pwrite64,fdatasync,fsync,rename,unlink,ftruncate";

/// A node over one life: how it finds its state directory, and how often it
/// copies its log.
struct life {
  const char* name;
  bool was_stopped;
  const char* checkpoint_pages;
};

constexpr life lives[] = {
  // Copies its log after almost every commit.
  {"behind a stop", true, "8"},
  // Finds a log that it has to copy, and copies its own at its end.
  {"behind a kill", false, "4000"},
};

/// A node in a copy of a state directory that was prepared, run by strace.
struct traced_node {
  traced_node(const black_box& prepared, const life& how,
              const system_calls& calls)
    : work(box) {
    std::filesystem::copy(prepared.state(), box.state(),
                          std::filesystem::copy_options::recursive);
    program_options options;
    options.runner = under_strace(log(), with_paths(calls));
    box.launch({"--storage.checkpoint-pages", how.checkpoint_pages}, options);
  }

  /// Works until the end or the first failure.
  std::optional<failure> live() {
    is_up = is_up || box.await_ready();
    return is_up ? work.go_on() : failure{errc::unreachable, "it is not up"};
  }

  [[nodiscard]] std::string log() const {
    return box.folder.path() + "/calls";
  }

  /// Whether strace has done what it was told to.
  [[nodiscard]] bool was_hit() const {
    std::ifstream in{log()};
    std::string text{std::istreambuf_iterator<char>{in}, {}};
    return text.find("(INJECTED)") != std::string::npos
           || text.find("killed by SIGKILL") != std::string::npos
           || text.find("stopped by SIGSTOP") != std::string::npos;
  }

  [[nodiscard]] std::vector<std::string> paths() const {
    std::vector<std::string> out{box.state()};
    for (auto* name : {"lock", "sessions.db", "sessions.db-wal", "node.json",
                       ".node.json.1.tmp"})
      out.push_back(box.state() + "/" + name);
    return out;
  }

  /// A node without strace finds all that was acknowledged, and goes on.
  void recover() {
    box.require_start();
    work.finish();
    if (auto ended = box.stop(); ended.code != 0)
      work.add_fault(
        fmt::format("the stop gives {}: {}", ended.code, ended.err));
    work.check_left_behind();
  }

  black_box box;
  told_work work;
  bool is_up = false;

private:
  /// All paths, unless there are some by their names.
  [[nodiscard]] system_calls with_paths(system_calls calls) const {
    if (calls.paths.empty())
      calls.paths = paths();
    else
      for (auto& path : calls.paths)
        path = box.state() + path;
    return calls;
  }
};

/// One call of one thread, in one kind of life.
struct place {
  const life* how;
  call_site site;
  int number;
};

/// Where a fault can happen: all that a node calls in its life.
class places {
public:
  places() {
    for (std::size_t i = 0; i < std::size(lives); ++i) {
      told_work::prepare(prepared_[i], lives[i].was_stopped);
      traced_node node{prepared_[i], lives[i], {disk_calls, {}, {}}};
      CAF_REQUIRE(!node.live());
      CAF_REQUIRE_EQUAL(node.box.stop().code, 0);
      for (auto& [site, count] : count_calls(node.log(), node.paths())) {
        auto relative = site.path.substr(node.box.state().size());
        // SQLite syncs the folder, and does not look how that went. The node
        // has done so itself by then.
        if (site.name == "fdatasync" && relative.empty())
          continue;
        CAF_MESSAGE(lives[i].name << ": " << site.name << " '" << relative
                                  << "' " << count);
        for (int n = 1; n <= count; ++n)
          all_.push_back({&lives[i], {site.name, relative}, n});
      }
      node.recover();
      for (auto& fault : node.work.faults())
        CAF_ERROR(fault);
    }
  }

  /// Some of the places that have one of these calls: so many, or all if the
  /// variable MUSTER_EVERY_FAULT is set.
  std::vector<place> pick(const std::vector<std::string>& names,
                          std::size_t count, std::mt19937_64& random) const {
    std::vector<place> out;
    auto is_wanted = [&](const place& x) {
      return std::find(names.begin(), names.end(), x.site.name) != names.end();
    };
    std::copy_if(all_.begin(), all_.end(), std::back_inserter(out), is_wanted);
    std::shuffle(out.begin(), out.end(), random);
    if (out.size() > count && std::getenv("MUSTER_EVERY_FAULT") == nullptr)
      out.resize(count);
    return out;
  }

  [[nodiscard]] const black_box& prepared(const life& how) const {
    return prepared_[&how - lives];
  }

private:
  black_box prepared_[std::size(lives)];
  std::vector<place> all_;
};

const places& all_places() {
  static const places result;
  return result;
}

/// Lives one life for each of some places, several at a time.
/// @param fault what happens there, in the words of strace.
/// @param live goes on with the node until it has ended.
void at_each_place(const std::vector<std::string>& calls, std::size_t count,
                   const std::string& fault,
                   const std::function<void(traced_node&)>& live) {
  auto& all = all_places();
  auto seed = std::random_device{}();
  std::mt19937_64 random{seed};
  auto chosen = all.pick(calls, count, random);
  CAF_MESSAGE("seed " << seed << ", " << chosen.size() << " places");
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  std::size_t hits = 0;
  std::vector<std::string> faults;
  auto work_off = [&] {
    for (auto i = next++; i < chosen.size(); i = next++) {
      auto& [how, site, number] = chosen[i];
      auto where = fmt::format("{} {} of '{}' {}", site.name, number, site.path,
                               how->name);
      try {
        traced_node node{
          all.prepared(*how),
          *how,
          {site.name, {site.path}, fmt::format("{}:when={}", fault, number)}};
        live(node);
        auto was_hit = node.was_hit();
        node.recover();
        std::lock_guard lock{mutex};
        hits += was_hit ? 1 : 0;
        for (auto& text : node.work.faults())
          faults.push_back(where + ": " + text);
      } catch (const std::exception& e) {
        std::lock_guard lock{mutex};
        faults.push_back(where + ": " + e.what());
      }
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i)
    threads.emplace_back(work_off);
  for (auto& thread : threads)
    thread.join();
  for (auto& text : faults)
    CAF_ERROR(text);
  // Which commits share a transaction is a matter of luck, and with it how many
  // calls there are.
  CAF_MESSAGE(hits << " hit");
  CAF_CHECK(hits > 0);
  CAF_CHECK(hits * 5 >= chosen.size() * 4);
}

/// The end of a node that was told to stop, or ended before.
program_result end_of(traced_node& node) {
  node.box.node().signal(SIGTERM);
  auto ended = node.box.node().wait(patience);
  if (!ended)
    throw std::runtime_error{"the node does not end"};
  return *ended;
}

constexpr auto all = std::string::npos;

} // namespace

CAF_TEST(a node may be killed at any system call) {
  at_each_place({"openat", "write", "pwrite64", "fdatasync", "fsync", "rename",
                 "unlink", "ftruncate"},
                all, "signal=KILL", [](traced_node& node) {
                  std::ignore = node.live();
                  auto ended = end_of(node);
                  if (node.was_hit() && ended.code != -SIGKILL)
                    node.work.add_fault(fmt::format(
                      "it was not killed, but ended with {}", ended.code));
                });
}

CAF_TEST(a node whose sync failed takes nothing more and ends) {
  at_each_place(
    {"fdatasync", "fsync"}, all, "error=EIO", [](traced_node& node) {
      std::ignore = node.live();
      auto must_end = node.was_hit();
      if (must_end) {
        auto before = node.work.acknowledged();
        if (node.is_up && !node.work.go_on())
          node.work.add_fault("it went on behind a failed sync");
        if (node.work.acknowledged() != before)
          node.work.add_fault("it took more behind a failed sync");
        auto ended = node.box.node().wait(patience);
        if (!ended || ended->code != 8)
          node.work.add_fault("it did not end with 8");
      } else if (auto ended = end_of(node);
                 ended.code != 0 && ended.code != 8) {
        node.work.add_fault(fmt::format("the stop gives {}", ended.code));
      }
    });
}

CAF_TEST(a write that finds no room is refused and works the next time) {
  at_each_place(
    {"write", "pwrite64", "rename"}, 60, "error=ENOSPC", [](traced_node& node) {
      auto failed = node.live();
      if (!node.is_up) {
        auto ended = end_of(node);
        if (ended.code != 8 || ended.error_code() != "storage_full")
          node.work.add_fault(
            fmt::format("the start gives {}: {}", ended.code, ended.err));
        return;
      }
      if (failed && failed->code != errc::storage_full)
        node.work.add_fault("the failure is " + failed->message);
      if (failed)
        failed = node.work.go_on();
      if (failed)
        node.work.add_fault("not forgiven: " + failed->message);
      if (auto ended = end_of(node); ended.code != 0)
        node.work.add_fault(fmt::format("the stop gives {}", ended.code));
    });
}

CAF_TEST(a node that cannot open a file works all the same or does not start) {
  at_each_place({"openat"}, all, "error=EMFILE", [](traced_node& node) {
    auto failed = node.live();
    if (node.is_up && failed)
      node.work.add_fault("it is up and does not work: " + failed->message);
    auto ended = end_of(node);
    if (ended.code != (node.is_up ? 0 : 8))
      node.work.add_fault(
        fmt::format("it ends with {}: {}", ended.code, ended.err));
  });
}

CAF_TEST(a node may be stopped at any system call) {
  for (auto signals : {std::vector{SIGTERM}, std::vector{SIGTERM, SIGINT}})
    at_each_place(
      {"write", "pwrite64", "fdatasync", "fsync", "rename", "unlink"}, 30,
      "signal=STOP", [&](traced_node& node) {
        auto& process = node.box.node();
        std::atomic<bool> is_through{false};
        std::atomic<bool> has_ended{false};
        std::thread teller{[&] {
          std::ignore = eventually([&] { return is_through || node.was_hit(); },
                                   patience);
          for (auto number : signals)
            process.signal(number);
          // The place may also be on the way to the end.
          std::ignore = eventually(
            [&] {
              process.signal(SIGCONT);
              return has_ended.load();
            },
            2 * patience);
        }};
        std::ignore = node.live();
        is_through = true;
        auto ended = process.wait(patience);
        has_ended = true;
        teller.join();
        auto forced
          = ended && signals.size() > 1
            && (ended->code == 128 + SIGTERM || ended->code == 128 + SIGINT);
        if (!ended || (ended->code != 0 && !forced))
          node.work.add_fault(
            ended ? fmt::format("it ends with {}: {}", ended->code, ended->err)
                  : "it does not end");
      });
}

CAF_TEST(calls that a signal cuts short are made again) {
  for (auto& how : lives) {
    // Every other call of each kind, in all threads.
    traced_node node{all_places().prepared(how),
                     how,
                     {"openat,pread64,pwrite64,read,write,ftruncate",
                      {},
                      "error=EINTR:when=1+2"}};
    auto failed = node.live();
    if (failed)
      CAF_ERROR(how.name << ": " << failed->message);
    CAF_CHECK(node.was_hit());
    CAF_CHECK_EQUAL(end_of(node).code, 0);
    node.recover();
    for (auto& fault : node.work.faults())
      CAF_ERROR(how.name << ": " << fault);
  }
}
