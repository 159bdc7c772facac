// SPDX-License-Identifier: Apache-2.0

// The reference pod and the one of the documentation, spoken to over their
// sockets.

#define CAF_SUITE black_box.pod_agent

#include "tests/black_box/eventually.hpp"
#include "tests/support/suite.hpp"

#include "actors/pod/pod_agent_output.hpp"
#include "actors/pod/pod_protocol.hpp"
#include "actors/process/spawn.hpp"
#include "actors/process/unix_socket.hpp"

#include "messages/scope_json.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include <poll.h>
#include <signal.h>

using namespace muster;
using namespace muster::pod;
using namespace muster::test;

namespace fs = std::filesystem;

namespace {

constexpr auto patience = std::chrono::seconds(60);

/// What a node says and hears, each with a deadline.
class node_side {
public:
  explicit node_side(const std::string& path) {
    auto address = unix_address(path);
    CAF_REQUIRE(address);
    CAF_REQUIRE(eventually([&] {
      auto fresh = make_unix_socket();
      if (!fresh || connect_unix(*fresh, *address) != 0)
        return false;
      socket_ = std::move(*fresh);
      return true;
    }));
  }

  void say(const to_pod& x) {
    say_line(encode(x));
  }

  void say_line(const std::string& line) {
    line_queue out{64 << 20};
    CAF_REQUIRE(out.push(line + "\n"));
    while (!out.empty()) {
      CAF_REQUIRE(write_lines(socket_, out) != transfer::over);
      if (!out.empty())
        wait(POLLOUT);
    }
  }

  /// The next frame; absent if the connection is over.
  std::optional<from_pod> hear() {
    for (;;) {
      auto frame = in_.next();
      CAF_REQUIRE(frame);
      if (*frame) {
        auto event = decode_event(**frame);
        CAF_REQUIRE(event);
        return *event;
      }
      if (read_piece(socket_, in_) == transfer::over)
        return std::nullopt;
      if (!in_.is_inside())
        wait(POLLIN);
    }
  }

  /// The next frame, which must be a `T`.
  template <class T>
  T heard() {
    auto event = hear();
    CAF_REQUIRE(event);
    CAF_REQUIRE(std::holds_alternative<T>(*event));
    return std::get<T>(std::move(*event));
  }

  template <class T>
  T ask(const to_pod& x) {
    say(x);
    return heard<T>();
  }

private:
  void wait(short event) const {
    pollfd end{socket_.get(), event, 0};
    CAF_REQUIRE_EQUAL(::poll(&end, 1, 60'000), 1);
  }

  descriptor socket_;
  frame_buffer in_{8 << 20};
};

struct fixture {
  fixture() {
    char name[] = "/tmp/muster-pod-XXXXXX";
    top = ::mkdtemp(name);
    path = top + "/pod.sock";
    fs::create_directories(top + "/lent/sub");
    fs::create_directories(top + "/own");
    write(top + "/lent/a", "text a");
  }

  ~fixture() {
    if (child) {
      std::ignore = child->handle.send(SIGKILL);
      std::ignore = child->handle.reap_within(patience);
    }
    fs::remove_all(top);
  }

  static void write(const std::string& file, const std::string& text) {
    std::ofstream{file, std::ios::binary} << text;
  }

  static std::string text_of(const std::string& file) {
    std::ifstream in{file, std::ios::binary};
    return {std::istreambuf_iterator<char>{in}, {}};
  }

  // -- pods -------------------------------------------------------------------

  void launch(const std::string& program, std::vector<std::string> arguments,
              const std::string& more) {
    process_order order;
    order.program = program;
    order.arguments = std::move(arguments);
    order.environment
      = {"PATH=/usr/bin:/bin",
         "MUSTER_POD_NAME=worker",
         "MUSTER_POD_ID=worker.0badcafe",
         "MUSTER_POD_FOLDER=" + top + "/own",
         "MUSTER_POD_SCOPE="
           + rules_json({{top + "/lent", permission::write, true}}).dump(),
         more};
    order.working_folder = top + "/lent";
    order.output = top + "/stderr";
    auto started = spawn(order);
    CAF_REQUIRE(started);
    child.emplace(std::move(*started));
  }

  /// The reference pod with a socket.
  void start(std::vector<std::string> options = {}) {
    options.insert(options.begin(), "pod-agent");
    launch(MUSTER_PROGRAM, std::move(options), "MUSTER_POD_SOCKET=" + path);
  }

  /// The reference pod without one, to its end.
  std::string run_plain(const std::string& task,
                        std::vector<std::string> options = {}) {
    options.insert(options.begin(), "pod-agent");
    launch(MUSTER_PROGRAM, std::move(options), "MUSTER_POD_TASK=" + task);
    return end();
  }

  std::string end() {
    auto how = child->handle.reap_within(patience);
    CAF_REQUIRE(how);
    child.reset();
    return show(*how);
  }

  // -- the output log ---------------------------------------------------------

  [[nodiscard]] std::string log_path(int number) const {
    auto text = std::to_string(number);
    return top + "/own/output/" + std::string(6 - text.size(), '0') + text
           + ".jsonl";
  }

  /// The lines of a file of the log, each of which must be whole.
  [[nodiscard]] std::vector<json> lines(int number) const {
    std::vector<json> out;
    auto text = text_of(log_path(number));
    for (std::size_t begin = 0; begin < text.size();) {
      auto end = text.find('\n', begin);
      CAF_REQUIRE(end != std::string::npos);
      out.push_back(json::parse(text.substr(begin, end - begin)));
      begin = end + 1;
    }
    return out;
  }

  /// The texts of a file of the log.
  [[nodiscard]] std::vector<std::string> texts(int number) const {
    std::vector<std::string> out;
    for (auto& line : lines(number))
      if (line["kind"] == "text")
        out.push_back(line["text"]);
    return out;
  }

  std::string top;
  std::string path;
  std::optional<started_process> child;
};

using texts_of = std::vector<std::string>;

} // namespace

CAF_TEST_FIXTURE_SCOPE(pod_agent_tests, fixture)

CAF_TEST(
  the pod of the documentation speaks the protocol as the reference does) {
  for (auto is_ours : {true, false}) {
    if (is_ours)
      start();
    else
      launch("/usr/bin/python3", {MUSTER_TEST_DIR "/../examples/pod.py"},
             "MUSTER_POD_SOCKET=" + path);
    {
      node_side node{path};
      auto hello = node.heard<snapshot>();
      CAF_CHECK_EQUAL(hello.pod_name, "worker");
      CAF_CHECK_EQUAL(hello.protocol, protocol_version);
      CAF_CHECK_EQUAL(node.ask<pong>(ping{7}).id, 7u);
      CAF_CHECK_EQUAL(node.ask<turn_start>(run{"r-1", "two words"}).turn, 1u);
      CAF_CHECK_EQUAL(node.heard<turn_ended>().turn, 1u);
      CAF_CHECK_EQUAL(node.ask<turn_start>(run{"r-1", "two words"}).turn, 1u);
      CAF_CHECK_EQUAL(node.ask<ack>(notify{3, "note"}).id, 3u);
      CAF_CHECK_EQUAL(node.ask<ack>(pod_event{4, "errored", "p", ""}).id, 4u);
      node.say_line("no frame");
      CAF_CHECK_EQUAL(node.heard<run_error>().code, "invalid_request");
      CAF_CHECK_EQUAL(node.ask<pong>(ping{8}).id, 8u);
    }
    {
      node_side again{path};
      again.heard<snapshot>();
      auto event = again.heard<turn_ended>();
      CAF_CHECK_EQUAL(event.id, 1u);
      again.say(confirm{event.id});
      CAF_CHECK_EQUAL(again.ask<pong>(ping{9}).id, 9u);
    }
    node_side last{path};
    last.heard<snapshot>();
    CAF_CHECK_EQUAL(last.ask<pong>(ping{10}).id, 10u);
    last.say(pod::shutdown{});
    CAF_CHECK(!last.hear());
    CAF_CHECK_EQUAL(end(), "ended with exit code 0");
    CAF_CHECK_EQUAL(texts(1).size(), 1u);
    CAF_CHECK_EQUAL(lines(1).back()["turn"], json(1));
    fs::remove_all(top + "/own/output");
    fs::remove(path);
  }
}

CAF_TEST(the pod that nobody told what to do says what it has) {
  start();
  node_side node{path};
  node.heard<snapshot>();
  node.ask<turn_start>(run{"r-1", "look around"});
  node.heard<turn_ended>();
  CAF_CHECK_EQUAL(texts(1), texts_of{"task: look around\n" + top
                                     + "/lent (write):\n  a\n  sub/"});
  auto all = lines(1);
  CAF_REQUIRE_EQUAL(all.size(), 3u);
  CAF_CHECK_EQUAL(all[0]["kind"], json("turn_start"));
  CAF_CHECK_EQUAL(all[2]["kind"], json("turn_ended"));
  CAF_CHECK(all[1]["ts"].get<std::int64_t>() > 1'700'000'000'000);
}

CAF_TEST(a script works in its scope and hears what came) {
  start();
  node_side node{path};
  node.heard<snapshot>();
  node.ask<ack>(pod_event{1, "errored", "helper", "broken"});
  node.ask<turn_start>(
    run{"r-1",
        "lua:assert(files.write_file('sub/new', files.read_file('a') .. '!'))\n"
        "local none, why, code = files.read_file('../own/x')\n"
        "report(tostring(none) .. ' ' .. code)\n"
        "report(ctx.notices[1].pod_name .. ' ' .. ctx.notices[1].message)\n"
        "alc.state.set('n', 1)\n"
        "return {names = files.list_dir('sub'), size = files.stat('a').size}"});
  node.heard<turn_ended>();
  CAF_CHECK_EQUAL(texts(1), (texts_of{"nil not_allowed", "helper broken",
                                      R"({"names":["new"],"size":6})"}));
  CAF_CHECK_EQUAL(text_of(top + "/lent/sub/new"), "text a!");
  // The next turn has a machine of its own, and the same state.
  node.ask<turn_start>(
    run{"r-2", "lua:return #ctx.notices .. ' ' .. alc.state.get('n')"});
  node.heard<turn_ended>();
  CAF_CHECK_EQUAL(texts(1).back(), "0 1");
}

CAF_TEST(a turn that fails says why) {
  start();
  node_side node{path};
  node.heard<snapshot>();
  node.ask<turn_start>(run{"r-1", "lua:error('no luck', 0)"});
  CAF_CHECK_EQUAL(node.heard<errored>().message, "no luck");
  CAF_CHECK_EQUAL(lines(1).back()["kind"], json("error"));
  CAF_CHECK_EQUAL(lines(1).back()["message"], json("no luck"));
  node.ask<turn_start>(run{"r-2", "lua:return alc.llm('why?')"});
  CAF_CHECK_EQUAL(node.heard<errored>().message,
                  "the strategy asks a language model, and this pod has none; "
                  "start it with --answer COMMAND");
  node.ask<turn_start>(run{"r-3", "lua:syntax error"});
  node.heard<errored>();
  CAF_CHECK(texts(1).empty());
}

CAF_TEST(a turn that runs holds up nothing but other turns) {
  start();
  node_side node{path};
  node.heard<snapshot>();
  node.ask<turn_start>(run{"r-1", "lua:while true do end"});
  auto busy = node.ask<run_error>(run{"r-2", "x"});
  CAF_CHECK_EQUAL(busy.run, "r-2");
  CAF_CHECK_EQUAL(busy.code, "already_running");
  CAF_CHECK_EQUAL(node.ask<turn_start>(run{"r-1", ""}).turn, 1u);
  CAF_CHECK_EQUAL(node.ask<pong>(ping{1}).id, 1u);
  node_side other{path};
  other.heard<snapshot>();
  other.say(pod::shutdown{});
  CAF_CHECK(!node.hear());
  CAF_CHECK_EQUAL(end(), "ended with exit code 0");
  CAF_CHECK(!fs::exists(path));
}

CAF_TEST(a signal ends the pod and the program that it waits for) {
  auto program = "echo $$ > " + top + "/own/pid; exec sleep 1000";
  start({"--answer", program});
  node_side node{path};
  node.heard<snapshot>();
  node.ask<turn_start>(run{"r-1", "lua:return alc.llm('why?')"});
  auto pid_of = [this] { return std::atoi(text_of(top + "/own/pid").c_str()); };
  CAF_REQUIRE(eventually([&] { return pid_of() > 0; }));
  CAF_REQUIRE(child->handle.send(SIGTERM));
  CAF_CHECK_EQUAL(end(), "ended with exit code 0");
  CAF_CHECK(eventually([&] {
    auto stat = text_of("/proc/" + std::to_string(pid_of()) + "/stat");
    return stat.empty() || stat.find(") Z") != std::string::npos;
  }));
}

CAF_TEST(a program answers what a strategy asks) {
  write(top + "/own/strategy.lua",
        "local m = require('helper')\nreturn m.twice(alc.llm(ctx.task))");
  write(top + "/own/helper.lua",
        "return {twice = function(x) return x .. x end}");
  CAF_CHECK_EQUAL(
    run_plain("abc", {"--strategy", top + "/own/strategy.lua", "--packages",
                      top + "/own", "--answer", "tr a-z A-Z"}),
    "ended with exit code 0");
  CAF_CHECK_EQUAL(texts(1), texts_of{"ABCABC"});
  CAF_CHECK_EQUAL(run_plain("lua:return alc.llm('x')", {"--answer", "exit 3"}),
                  "ended with exit code 1");
  CAF_CHECK_EQUAL(lines(2).back()["message"],
                  json("the answer program 'exit 3' exited with 3"));
}

CAF_TEST(a pod that is not told who it is does not begin) {
  CAF_CHECK_EQUAL(run_plain("x", {"--strategy", top + "/none"}),
                  "ended with exit code 3");
  launch(MUSTER_PROGRAM, {"pod-agent"}, "MUSTER_POD_SOCKET=");
  CAF_CHECK_EQUAL(end(), "ended with exit code 2");
  CAF_CHECK(!fs::exists(top + "/own/output"));
}

CAF_TEST(the output goes on in the next file and leaves the older one) {
  start();
  node_side node{path};
  node.heard<snapshot>();
  auto fill = [&](const std::string& id, int count) {
    node.ask<turn_start>(run{id, "lua:for i = 1, " + std::to_string(count)
                                   + " do report(('x'):rep(100000) .. i) end"});
    node.heard<turn_ended>();
  };
  fill("r-1", 11);
  CAF_CHECK(!fs::exists(log_path(3)));
  auto first = text_of(log_path(1));
  CAF_CHECK(first.size() >= pod_agent_output::max_file_bytes);
  CAF_CHECK(first.size() < pod_agent_output::max_file_bytes + 200'000);
  CAF_CHECK_EQUAL(texts(1).size() + texts(2).size(), 11u);
  fill("r-2", 20);
  CAF_CHECK(text_of(log_path(1)) == first);
  CAF_CHECK(fs::exists(log_path(3)));
  std::string order;
  for (auto i = 1; i <= 4; ++i)
    for (auto& text : texts(i))
      order += text.substr(100'000) + " ";
  CAF_CHECK_EQUAL(order, "1 2 3 4 5 6 7 8 9 10 11 1 2 3 4 5 6 7 8 9 10 11 12 "
                         "13 14 15 16 17 18 19 20 ");
  // A text that is too long for a line stands in several, and nothing is lost.
  node.ask<turn_start>(run{"r-3", "lua:return ('ü'):rep(100000)"});
  node.heard<turn_ended>();
  std::string whole;
  for (auto i = 1; fs::exists(log_path(i)); ++i)
    for (auto& line : lines(i))
      if (line["kind"] == "text" && line["turn"] == 3)
        whole += line["text"];
  CAF_CHECK_EQUAL(whole.size(), 200'000u);
}

CAF_TEST(a pod goes on behind the output that is there) {
  run_plain("lua:return 'one'");
  auto first = text_of(log_path(1));
  run_plain("lua:return 'two'");
  CAF_CHECK(text_of(log_path(1)) == first);
  CAF_CHECK_EQUAL(texts(2), texts_of{"two"});
}

CAF_TEST(those who say nothing keep nobody else out) {
  start();
  std::vector<std::unique_ptr<node_side>> silent;
  for (auto i = 0; i < 20; ++i) {
    silent.push_back(std::make_unique<node_side>(path));
    silent.back()->heard<snapshot>();
  }
  CAF_CHECK_EQUAL(silent.back()->ask<pong>(ping{1}).id, 1u);
  CAF_CHECK(!silent.front()->hear());
}

CAF_TEST_FIXTURE_SCOPE_END()
