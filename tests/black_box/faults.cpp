// SPDX-License-Identifier: Apache-2.0

// What a system can do to a node that runs: take its files, its room, its
// memory, its descriptors and its time.

#define CAF_SUITE black_box.faults

#include "tests/black_box/command_line.hpp"
#include "tests/black_box/strace.hpp"
#include "tests/black_box/told_work.hpp"
#include "tests/support/suite.hpp"

#include <filesystem>
#include <fstream>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace muster;
using namespace muster::test;
using namespace std::chrono_literals;

namespace {

constexpr auto patience = 60s;

session_spec spec_of(std::string code) {
  session_spec spec;
  spec.code = std::move(code);
  return spec;
}

/// A node with the older session of a piece of work.
struct fixture {
  explicit fixture(std::vector<std::string> more = {},
                   program_options options = {})
    : work(box) {
    told_work::prepare(box, true);
    box.require_start(std::move(more), std::move(options));
  }

  /// What the node has of the system when no client is there.
  footprint settled() {
    std::ignore = (*box.connect())->status();
    auto last = footprint_of(box.node().pid());
    std::ignore = eventually([&] {
      auto before = std::exchange(last, footprint_of(box.node().pid()));
      return before == last;
    });
    return last;
  }

  /// The node must come back to what it had.
  void check_settles(const footprint& before) {
    auto now = before;
    if (!eventually([&] {
          now = footprint_of(box.node().pid());
          return now.descriptors <= before.descriptors
                 && now.threads <= before.threads
                 && now.children <= before.children;
        }))
      CAF_ERROR("it had " << to_string(before) << ", and now "
                          << to_string(now));
  }

  /// The end of the work on the node that runs, and what it leaves.
  /// @param others sessions that are not of the work.
  void check_all(std::size_t others = 0) {
    work.finish(others);
    CAF_CHECK_EQUAL(box.stop().code, 0);
    work.check_left_behind();
    for (auto& fault : work.faults())
      CAF_ERROR(fault);
  }

  /// The code and the text of the end of a node that ends by itself.
  program_result end() {
    auto ended = box.node().wait(patience);
    CAF_REQUIRE(ended);
    return *ended;
  }

  black_box box;
  told_work work;
};

void set_limit(pid_t pid, __rlimit_resource what, rlim_t soft) {
  rlimit limit{};
  CAF_REQUIRE_EQUAL(::prlimit(pid, what, nullptr, &limit), 0);
  limit.rlim_cur = std::min(soft, limit.rlim_max);
  CAF_REQUIRE_EQUAL(::prlimit(pid, what, &limit, nullptr), 0);
}

json status_of(black_box& box) {
  auto text = (*box.connect())->status(30s);
  CAF_REQUIRE(text);
  return json::parse(*text);
}

/// Connections that say nothing.
class idle_connections {
public:
  ~idle_connections() {
    for (auto descriptor : all_)
      ::close(descriptor);
  }

  void add(std::uint16_t port) {
    auto descriptor = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    all_.push_back(descriptor);
    CAF_REQUIRE_EQUAL(::connect(descriptor,
                                reinterpret_cast<sockaddr*>(&address),
                                sizeof(address)),
                      0);
  }

private:
  std::vector<int> all_;
};

} // namespace

// -- files that are taken away ------------------------------------------------

CAF_TEST(a node whose state directory was deleted takes nothing and says so) {
  fixture f;
  auto link = *f.box.connect();
  auto id = link->start(spec_of("return alc.llm('q')"))->session_id;
  std::filesystem::remove_all(f.box.state());
  auto fed = link->feed(id, {{"", "x", {}}}, {patience});
  CAF_CHECK(!fed || fed->results.at(0).refused);
  CAF_CHECK(!link->spawn(spec_of("return 1"), {patience}));
  CAF_CHECK(!link->state_set({"default", "k"}, "1", {patience}));
  link.reset();
  auto ended = f.end();
  CAF_CHECK_EQUAL(ended.code, 8);
  CAF_CHECK(contains(ended.err, "storage_failed"));
  CAF_CHECK(contains(ended.err, f.box.state() + "/sessions.db"));
  // What it was told to keep is gone with the folder, and it begins anew.
  f.box.require_start();
  CAF_CHECK_EQUAL((*f.box.connect())->list({})->sessions.size(), 0u);
  CAF_CHECK_EQUAL(f.box.stop().code, 0);
}

CAF_TEST(a node whose state directory was moved goes on when it is back) {
  fixture f;
  CAF_REQUIRE(!f.work.go_on());
  auto aside = f.box.state() + ".aside";
  std::filesystem::rename(f.box.state(), aside);
  // At the next tick, also if nobody asks for anything.
  auto ended = f.end();
  CAF_CHECK_EQUAL(ended.code, 8);
  CAF_CHECK(contains(ended.err, "storage_failed"));
  CAF_CHECK(!std::filesystem::exists(f.box.state()));
  std::filesystem::rename(aside, f.box.state());
  f.box.require_start();
  f.check_all();
}

CAF_TEST(a log that was deleted is as bad as the database) {
  fixture f;
  CAF_REQUIRE(!f.work.go_on());
  auto log = f.box.state() + "/sessions.db-wal";
  CAF_REQUIRE(std::filesystem::remove(log));
  CAF_CHECK(!(*f.box.connect())->state_set({"default", "k"}, "1", {patience}));
  CAF_CHECK_EQUAL(f.end().code, 8);
  // Its last act was to copy the log, which it still had open.
  f.box.require_start();
  f.check_all();
}

CAF_TEST(a disk that becomes read only is said to be and nothing is taken) {
  temporary_folder folder;
  fixture f;
  CAF_CHECK_EQUAL(f.box.stop().code, 0);
  program_options options;
  // From a commit in the middle on, as after a remount by the kernel.
  options.runner = under_strace(
    folder.path() + "/calls",
    {"pwrite64", {f.box.state() + "/sessions.db-wal"}, "error=EROFS:when=68+"});
  // An answer goes to disk with what follows from it, however slow that is: one
  // that is there alone has been taken, and waits for the disk.
  f.box.require_start({"--session.commit-after", "1m"}, options);
  auto failed = f.work.go_on();
  CAF_REQUIRE(failed);
  CAF_MESSAGE(failed->message);
  CAF_CHECK_EQUAL(failed->code, errc::read_only);
  auto told = f.work.acknowledged();
  CAF_CHECK(told > 0);
  // It lives, shows what there is, and takes nothing.
  auto again = f.work.go_on();
  CAF_REQUIRE(again);
  CAF_CHECK_EQUAL(again->code, errc::read_only);
  CAF_CHECK_EQUAL(f.work.acknowledged(), told);
  CAF_CHECK_EQUAL((*f.box.connect())->list({})->sessions.size(), 2u);
  auto set = f.box.run_json({"state", "set", "key", "1"});
  CAF_CHECK_EQUAL(set.code, 8);
  CAF_CHECK_EQUAL(set.error_code(), "read_only");
  CAF_CHECK(status_of(f.box).contains("storage"));
  f.box.stop();
  f.box.require_start();
  f.check_all();
}

// -- limits -------------------------------------------------------------------

CAF_TEST(a limit of the file size is like a full disk) {
  fixture f;
  auto before = f.settled();
  auto log = f.box.state() + "/sessions.db-wal";
  auto big = "\"" + std::string(100'000, 'x') + "\"";
  // Enough for some pages of a commit and not for the rest.
  set_limit(f.box.node().pid(), RLIMIT_FSIZE, 60'001);
  auto set = f.box.run_json({"state", "set", "big", big});
  CAF_CHECK_EQUAL(set.code, 8);
  CAF_CHECK_EQUAL(set.error_code(), "storage_full");
  CAF_CHECK(std::filesystem::file_size(log) <= 60'001);
  CAF_CHECK_EQUAL(f.box.run_json({"state", "get", "big"}).code, 3);
  CAF_CHECK_EQUAL((*f.box.connect())->list({})->sessions.size(), 1u);
  // No signal has ended it, and it works when the limit is gone.
  set_limit(f.box.node().pid(), RLIMIT_FSIZE, RLIM_INFINITY);
  CAF_CHECK_EQUAL(f.box.run({"state", "set", "big", big}).code, 0);
  f.check_settles(before);
  f.box.kill();
  f.box.require_start();
  CAF_CHECK_EQUAL(f.box.run({"state", "get", "big"}).out, big + "\n");
  f.check_all();
}

CAF_TEST(clients that take all descriptors do not end the others) {
  fixture f;
  auto before = f.settled();
  auto link = *f.box.connect();
  auto id
    = link->start(spec_of("return alc.llm('q') .. alc.llm('r')"))->session_id;
  set_limit(f.box.node().pid(), RLIMIT_NOFILE, before.descriptors + 20);
  {
    idle_connections idle;
    for (int i = 0; i < 60; ++i)
      idle.add(f.box.ready()["port"]);
    CAF_CHECK(eventually([&] {
      return footprint_of(f.box.node().pid()).descriptors
             >= before.descriptors + 20;
    }));
    // Who is there is served.
    auto fed = link->feed(id, {{"", "x", {}}}, {patience});
    CAF_REQUIRE(fed);
    CAF_CHECK_EQUAL(fed->session.phase, session_phase::paused);
    CAF_CHECK(link->status(patience));
  }
  // Who comes later is served when they have gone.
  CAF_CHECK(eventually([&] {
    auto other = f.box.connect();
    return other && (*other)->status(patience);
  }));
  auto fed = link->feed(id, {{"", "y", {}}}, {patience});
  CAF_REQUIRE(fed);
  CAF_CHECK_EQUAL(fed->session.result, "\"xy\"");
  CAF_REQUIRE(link->prune(0ms));
  link.reset();
  f.check_settles(before);
  f.check_all();
}

CAF_TEST(a node without memory loses nothing that it acknowledged) {
  fixture f;
  CAF_REQUIRE(!f.work.go_on());
  // Little more than it has.
  std::ifstream in{fmt::format("/proc/{}/statm", f.box.node().pid())};
  std::size_t pages = 0;
  in >> pages;
  set_limit(f.box.node().pid(), RLIMIT_AS, pages * 4'096 + 40'000'000);
  // More bombs than there is room for, each below its own limit.
  for (int i = 0; i < 4; ++i)
    if (auto link = f.box.connect())
      std::ignore = (*link)->start(
        spec_of("local t = {} for i = 1, 50000 do t[i] = ('x'):rep(1000) .. i "
                "end return #t"),
        {5s});
  // Alive or not.
  f.box.kill();
  f.box.require_start();
  auto link = *f.box.connect();
  auto page = link->list({}, patience);
  CAF_REQUIRE(page);
  CAF_REQUIRE(page->sessions.size() >= 2);
  link.reset();
  f.check_all(page->sessions.size() - 2);
}

// -- time ---------------------------------------------------------------------

CAF_TEST(a clock that jumps ends no session) {
  fixture f;
  CAF_CHECK_EQUAL(f.box.stop().code, 0);
  // Idle sessions may wait seven days, and a day is the most that the time
  // between two nodes counts.
  for (auto* shift : {"+1d", "+8d", "-1d", "-8d", "+0d"}) {
    program_options options;
    options.variables["LD_PRELOAD"]
      = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
    auto clock = f.box.folder.write("clock", "+0d");
    options.variables["FAKETIME_TIMESTAMP_FILE"] = clock;
    options.variables["FAKETIME_NO_CACHE"] = "1";
    options.variables["FAKETIME_DONT_FAKE_MONOTONIC"] = "1";
    f.box.require_start(
      {"--session.collect-interval", "20ms", "--tick.interval", "20ms"},
      options);
    auto link = *f.box.connect();
    auto view = link->start(spec_of("return alc.llm('q')"));
    CAF_REQUIRE(view);
    // In the middle of its life.
    f.box.folder.write("clock", shift);
    auto ticks = [&] {
      return status_of(f.box)["tick"].value("completed", std::uint64_t{0});
    };
    auto begin = ticks();
    CAF_CHECK(eventually([&] { return ticks() >= begin + 5; }));
    auto other = link->start(spec_of("return alc.llm('q')"));
    CAF_REQUIRE(other);
    auto jump = other->created_ms - view->created_ms;
    CAF_MESSAGE(shift << ": " << jump << " ms");
    auto expected = std::stol(shift) * 86'400'000L;
    CAF_CHECK(std::abs(jump - expected) < 3'600'000);
    for (auto& id : {view->session_id, other->session_id})
      CAF_CHECK_EQUAL(link->show(id)->phase, session_phase::paused);
    // A wait has its time by a clock that does not jump.
    auto waited = link->await(view->session_id, wait_for::end, 50ms);
    CAF_CHECK(!waited && waited.error().code == errc::timeout);
    link.reset();
    CAF_CHECK_EQUAL(f.box.stop().code, 0);
    // And the next one, to which all that happened while there was none.
    f.box.require_start(
      {"--session.collect-interval", "20ms", "--tick.interval", "20ms"},
      options);
    begin = ticks();
    CAF_CHECK(eventually([&] { return ticks() >= begin + 5; }));
    link = *f.box.connect();
    for (auto& id : {view->session_id, other->session_id})
      CAF_CHECK_EQUAL(link->feed(id, {{"", "x", {}}})->session.result, "\"x\"");
    CAF_REQUIRE(link->prune(0ms));
    link.reset();
    CAF_CHECK_EQUAL(f.box.stop().code, 0);
  }
  f.box.require_start();
  f.check_all();
}

CAF_TEST(a node that stood still for many beats makes up for none) {
  fixture f{{"--tick.interval", "20ms"}};
  auto counter = [&](const char* name) {
    return status_of(f.box)["tick"].value(name, std::uint64_t{0});
  };
  CAF_REQUIRE(eventually([&] { return counter("completed") >= 3; }));
  auto before = counter("completed");
  f.box.node().signal(SIGSTOP);
  // The time of a hundred beats, which only a clock can tell.
  auto stopped = std::chrono::steady_clock::now();
  CAF_CHECK(eventually(
    [&] { return std::chrono::steady_clock::now() - stopped >= 2s; }));
  auto resumed = std::chrono::steady_clock::now();
  f.box.node().signal(SIGCONT);
  auto after = counter("completed");
  auto since = std::chrono::steady_clock::now() - resumed;
  auto beats = static_cast<std::uint64_t>(since / 20ms);
  // Between the status of before and the stop there may have been some, too.
  CAF_CHECK(after <= before + beats + 10);
  CAF_CHECK(eventually([&] { return counter("completed") > after; }));
  f.check_all();
}
