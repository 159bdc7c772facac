// SPDX-License-Identifier: Apache-2.0

// A node from its ready line to its end, and clients that die meanwhile.

#define CAF_SUITE black_box.lifecycle

#include "tests/black_box/eventually.hpp"
#include "tests/black_box/notify_socket.hpp"
#include "tests/black_box/program.hpp"
#include "tests/support/suite.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <future>

#include <signal.h>

using namespace muster;
using namespace muster::test;
using namespace std::chrono_literals;

namespace {

constexpr const char* endless = "while true do end";

/// A callback that cannot be interrupted, where it may go on for minutes.
constexpr const char* stuck = R"lua(
return tostring(setmetatable({}, {__tostring = function() while true do end end}))
)lua";

/// What a node is started with that is to be stuck with it.
std::vector<std::string> with_stuck(const std::string& drain_timeout) {
  return {"--strategy.max-unyielding", "100000000000", "--node.drain-timeout",
          drain_timeout};
}

session_spec spec_of(std::string code) {
  session_spec spec;
  spec.code = std::move(code);
  return spec;
}

json node_document(const black_box& box) {
  std::ifstream in{box.state() + "/node.json"};
  return json::parse(in, nullptr, false);
}

bool has_node_document(const black_box& box) {
  return std::filesystem::exists(box.state() + "/node.json");
}

std::size_t descriptors_of(pid_t pid) {
  std::size_t count = 0;
  for (auto& entry :
       std::filesystem::directory_iterator{fmt::format("/proc/{}/fd", pid)})
    count += entry.path().empty() ? 0 : 1;
  return count;
}

/// Runs `muster` beside the test.
std::unique_ptr<process> start_client(const black_box& box,
                                      std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), MUSTER_PROGRAM);
  program_options options;
  options.variables["MUSTER_STATE_DIR"] = box.state();
  return std::make_unique<process>(arguments, options);
}

/// What the disk says of a session: one that is stuck answers nobody.
bool is_listed(const black_box& box, const std::string& id,
               session_phase phase) {
  auto page = (*box.connect())->list({});
  return page
         && std::any_of(
           page->sessions.begin(), page->sessions.end(), [&](auto& session) {
             return session.session_id == id && session.phase == phase;
           });
}

} // namespace

// -- starting -----------------------------------------------------------------

CAF_TEST(the ready line comes when the node can be reached and found) {
  black_box box;
  for (int i = 0; i < 5; ++i) {
    box.require_start();
    CAF_CHECK(box.connect());
    auto document = node_document(box);
    CAF_CHECK_EQUAL(document["host"], "127.0.0.1");
    CAF_CHECK_EQUAL(document["port"], box.ready()["port"]);
    CAF_CHECK_EQUAL(document["pid"], box.node().pid());
    CAF_CHECK(document["port"] > 0);
    CAF_CHECK(document["started_at"].is_number());
    CAF_CHECK(document["version"].is_string());
    CAF_CHECK_EQUAL(box.run({"session", "list"}).code, 0);
    box.kill();
  }
}

CAF_TEST(the ready line is all that a node prints) {
  black_box box;
  box.require_start();
  auto line = box.ready().dump() + "\n";
  box.run_script("print('x') alc.log('info', 'y') return alc.llm('q')");
  box.run_script("error('z')");
  CAF_CHECK_EQUAL(box.run({"session", "show", "nobody"}).code, 3);
  auto ended = box.stop();
  CAF_CHECK_EQUAL(ended.code, 0);
  CAF_CHECK_EQUAL(ended.out, line);
  CAF_CHECK(ended.err.find("node is ready") != std::string::npos);
}

CAF_TEST(the service manager hears of the start and of the stop) {
  black_box box;
  auto path = box.folder.path() + "/notify";
  notify_socket manager{path};
  program_options options;
  options.variables["NOTIFY_SOCKET"] = path;
  CAF_REQUIRE(box.start({}, options));
  CAF_CHECK_EQUAL(manager.receive(30s), "READY=1");
  CAF_CHECK(box.connect());
  CAF_CHECK(has_node_document(box));
  box.node().signal(SIGTERM);
  CAF_CHECK_EQUAL(manager.receive(30s), "STOPPING=1");
  auto ended = box.node().wait(30s);
  CAF_REQUIRE(ended);
  CAF_CHECK_EQUAL(ended->code, 0);
  CAF_CHECK_EQUAL(manager.receive(0ms), "");
}

CAF_TEST(the service manager hears nothing of a node that cannot start) {
  black_box box;
  auto path = box.folder.path() + "/notify";
  notify_socket manager{path};
  box.require_start();
  program_options options;
  options.variables["NOTIFY_SOCKET"] = path;
  CAF_CHECK_EQUAL(box.run({"node", "--port", "0"}, options).code, 6);
  CAF_CHECK_EQUAL(manager.receive(0ms), "");
}

CAF_TEST(the service manager hears of each beat if it wants to) {
  for (bool is_meant : {true, false}) {
    CAF_MESSAGE("meant for " << (is_meant ? "this process" : "another"));
    black_box box;
    auto path = box.folder.path() + "/notify";
    notify_socket manager{path};
    program_options options;
    options.variables["NOTIFY_SOCKET"] = path;
    options.variables["WATCHDOG_USEC"] = "30000000";
    options.runner = {
      "/bin/sh", "-c",
      fmt::format("export WATCHDOG_PID={}; exec \"$@\"", is_meant ? "$$" : "1"),
      "sh"};
    CAF_REQUIRE(box.start({"--tick.interval", "100ms"}, options));
    auto beats = [&] {
      auto status = box.run_json({"status"}).document();
      return status["tick"].value("completed", 0);
    };
    CAF_CHECK(eventually([&] { return beats() >= 3; }));
    box.node().signal(SIGTERM);
    std::vector<std::string> heard;
    do
      heard.push_back(manager.receive(30s));
    while (!heard.back().empty() && heard.back() != "STOPPING=1");
    CAF_CHECK_EQUAL(heard.back(), "STOPPING=1");
    CAF_CHECK_EQUAL(std::count(heard.begin(), heard.end(), "READY=1"), 1);
    auto calm = std::count(heard.begin(), heard.end(), "WATCHDOG=1");
    CAF_CHECK(is_meant ? calm >= 3 : calm == 0);
    auto ended = box.node().wait(30s);
    CAF_REQUIRE(ended);
    CAF_CHECK_EQUAL(ended->code, 0);
  }
}

// -- stopping -----------------------------------------------------------------

CAF_TEST(a node that is told to stop leaves its sessions to the next one) {
  for (auto number : {SIGTERM, SIGINT}) {
    black_box box;
    box.require_start();
    auto link = *box.connect();
    auto paused = link->start(spec_of("return alc.llm('q')"));
    CAF_REQUIRE(paused);
    auto running = link->spawn(spec_of(endless));
    CAF_REQUIRE(running);
    // Somebody waits for what does not come any more.
    auto waiting = std::async(std::launch::async, [&] {
      auto other = box.connect();
      return (*other)->await(*running, wait_for::end, 60s);
    });
    CAF_REQUIRE(eventually([&] {
      return box.run_json({"session", "show", *running}).document()["status"]
             == "running";
    }));
    box.node().signal(number);
    auto answered = waiting.get();
    CAF_REQUIRE(!answered);
    CAF_CHECK(answered.error().code == errc::shutting_down
              || answered.error().code == errc::connection_lost);
    auto ended = box.node().wait(30s);
    CAF_REQUIRE(ended);
    CAF_CHECK_EQUAL(ended->code, 0);
    CAF_CHECK(!has_node_document(box));
    box.require_start();
    link = *box.connect();
    CAF_CHECK_EQUAL(link->show(*running)->phase, session_phase::running);
    auto fed = link->feed(paused->session_id, {{"", "x", {}}}, {30s});
    CAF_REQUIRE(fed);
    CAF_CHECK_EQUAL(fed->session.result, "\"x\"");
  }
}

CAF_TEST(a stop leaves nothing running whatever clients asked for) {
  black_box box;
  box.require_start();
  auto id = box.run_script("return alc.llm('q')")["session_id"];
  auto prefix = id.get<std::string>().substr(0, 20);
  // By a beginning of its id, and one that there is not.
  CAF_CHECK_EQUAL(box.run({"session", "show", prefix}).code, 0);
  CAF_CHECK_EQUAL(box.run({"session", "show", "nobody"}).code, 3);
  CAF_CHECK_EQUAL(box.run({"session", "log", id}).code, 0);
  CAF_CHECK_EQUAL(box.run({"session", "prune"}).code, 0);
  CAF_CHECK_EQUAL(box.run({"state", "set", "key", "1"}).code, 0);
  CAF_CHECK_EQUAL(box.run({"state", "get", "key"}).code, 0);
  CAF_CHECK_EQUAL(box.run({"status"}).code, 0);
  auto ended = box.stop();
  CAF_CHECK_EQUAL(ended.code, 0);
  CAF_CHECK(ended.err.find("still runs") == std::string::npos);
  // Closed in order, the database needs no log.
  CAF_CHECK(!std::filesystem::exists(box.state() + "/sessions.db-wal"));
}

CAF_TEST(a second signal ends a node that is busy stopping) {
  black_box box;
  box.require_start(with_stuck("10m"));
  auto id = (*box.connect())->spawn(spec_of(stuck));
  CAF_REQUIRE(id);
  // Two at once may be heard as one.
  auto ended = box.node().wait(0ms);
  CAF_CHECK(eventually([&] {
    box.node().signal(SIGTERM);
    return (ended = box.node().wait(20ms)).has_value();
  }));
  CAF_REQUIRE(ended);
  CAF_CHECK_EQUAL(ended->code, 128 + SIGTERM);
  // It was acknowledged, so it is there.
  box.require_start(with_stuck("100ms"));
  CAF_CHECK(is_listed(box, *id, session_phase::running));
}

CAF_TEST(a stop that takes too long is cut short and says so) {
  black_box box;
  box.require_start(with_stuck("100ms"));
  auto id = (*box.connect())->spawn(spec_of(stuck));
  CAF_REQUIRE(id);
  auto ended = box.stop();
  CAF_CHECK_EQUAL(ended.code, 7);
  CAF_CHECK(ended.err.find("node.drain-timeout") != std::string::npos);
  box.require_start(with_stuck("100ms"));
  CAF_CHECK(is_listed(box, *id, session_phase::running));
}

// -- dying --------------------------------------------------------------------

CAF_TEST(a session that never paused runs again after a kill and is cancelled) {
  black_box box;
  box.require_start();
  auto id = (*box.connect())->spawn(spec_of(endless));
  CAF_REQUIRE(id);
  for (int i = 0; i < 3; ++i) {
    box.kill();
    box.require_start();
    auto list = box.run_json({"session", "list"}).document();
    CAF_CHECK_EQUAL(list["sessions"].size(), 1u);
    CAF_CHECK_EQUAL(list["sessions"].at(0)["session_id"], *id);
    CAF_CHECK_EQUAL(list["sessions"].at(0)["state"], "running");
    // Not only on paper: it has a machine that runs.
    CAF_CHECK(eventually([&] {
      auto status = json::parse(*(*box.connect())->status());
      return status["sessions"].value("machines", 0) == 1;
    }));
  }
  auto cancelled = box.run_json({"session", "cancel", *id});
  CAF_CHECK_EQUAL(cancelled.code, 0);
  CAF_CHECK_EQUAL(cancelled.document()["status"], "cancelled");
  box.kill();
  box.require_start();
  CAF_CHECK_EQUAL((*box.connect())->show(*id)->phase, session_phase::cancelled);
}

// -- clients that die ---------------------------------------------------------

CAF_TEST(clients that are killed leave the node and its sessions alone) {
  black_box box;
  box.require_start();
  auto id = box.run_script("return {alc.llm('a'), alc.llm('b')}")["session_id"]
              .get<std::string>();
  auto pid = box.node().pid();
  auto before = descriptors_of(pid);
  auto script
    = box.folder.write("asks.lua", "return alc.llm('never answered')");
  auto began = box.folder.path() + "/began";
  // It must not be left behind by the client that starts it.
  auto answer = fmt::format("echo > {}; exec timeout 5 sleep 5", began);
  std::vector<std::vector<std::string>> commands{
    {"session", "wait", id, "--timeout", "1h"},
    {"session", "watch", id},
    {"run", script, "--answer", answer}};
  for (auto& arguments : commands) {
    auto client = start_client(box, arguments);
    CAF_CHECK(eventually([&] { return descriptors_of(pid) > before; }));
    if (arguments.front() == "run")
      CAF_CHECK(eventually([&] { return std::filesystem::exists(began); }));
    client->signal(SIGKILL);
    client.reset();
    CAF_CHECK(eventually([&] { return descriptors_of(pid) <= before; }));
  }
  auto link = *box.connect();
  CAF_CHECK(link->status(30s));
  auto page = link->list({});
  CAF_REQUIRE(page);
  CAF_CHECK_EQUAL(page->sessions.size(), 2u);
  for (auto& session : page->sessions)
    CAF_CHECK_EQUAL(session.phase, session_phase::paused);
  CAF_CHECK(link->feed(id, {{"", "x", {}}}, {30s}));
  auto fed = link->feed(id, {{"", "y", {}}}, {30s});
  CAF_REQUIRE(fed);
  CAF_CHECK_EQUAL(fed->session.result, R"(["x","y"])");
  link.reset();
  CAF_CHECK_EQUAL(box.stop().code, 0);
}

CAF_TEST(a hundred clients that die leave no descriptors behind) {
  black_box box;
  box.require_start();
  auto id = (*box.connect())->spawn(spec_of(endless));
  CAF_REQUIRE(id);
  auto pid = box.node().pid();
  // What the first client of all made the node open is not counted.
  CAF_CHECK_EQUAL(box.run({"session", "list"}).code, 0);
  auto settled = descriptors_of(pid);
  CAF_REQUIRE(eventually([&] {
    auto last = std::exchange(settled, descriptors_of(pid));
    return last == settled;
  }));
  constexpr std::size_t at_once = 20;
  for (int round = 0; round < 5; ++round) {
    std::vector<std::unique_ptr<process>> clients;
    for (std::size_t i = 0; i < at_once; ++i)
      clients.push_back(start_client(box, {"session", "wait", *id}));
    CAF_CHECK(
      eventually([&] { return descriptors_of(pid) >= settled + at_once; }));
    for (auto& client : clients)
      client->signal(SIGKILL);
    clients.clear();
    // One more or less may be in use for a moment; a hundred would be a leak.
    CAF_CHECK(eventually([&] { return descriptors_of(pid) <= settled + 2; }));
  }
  auto link = *box.connect();
  CAF_CHECK(link->status(30s));
  CAF_CHECK_EQUAL(link->cancel(*id, {}, 30s)->phase, session_phase::cancelled);
  link.reset();
  CAF_CHECK_EQUAL(box.stop().code, 0);
}
