// SPDX-License-Identifier: Apache-2.0

// Real workers, spoken to over their sockets.

#define CAF_SUITE pool.worker_process

#include "actors/pool/worker_process.hpp"

#include "tests/support/suite.hpp"

#include "actors/pool/worker_protocol.hpp"
#include "actors/process/spawn.hpp"
#include "actors/process/unix_socket.hpp"

#include <filesystem>
#include <fstream>
#include <muster_version.hpp>
#include <thread>

#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

using namespace muster;
using namespace std::chrono_literals;

namespace {

constexpr auto patience = 60s;

/// Frames in both directions, each with a deadline.
class client {
public:
  explicit client(const std::string& path) : socket_(*make_unix_socket()) {
    auto address = unix_address(path);
    CAF_REQUIRE(address);
    CAF_REQUIRE_EQUAL(connect_unix(socket_, *address), 0);
  }

  void say(const worker_request& x) {
    line_queue out{256 << 20};
    CAF_REQUIRE(out.push(encode(x) + "\n"));
    while (!out.empty()) {
      CAF_REQUIRE(write_lines(socket_, out) != transfer::over);
      if (!out.empty())
        wait(POLLOUT);
    }
  }

  /// The next frame; absent if the connection is over.
  std::optional<worker_reply> hear() {
    for (;;) {
      auto frame = in_.next();
      CAF_REQUIRE(frame);
      if (*frame) {
        auto reply = decode_reply(**frame);
        CAF_REQUIRE(reply);
        return *reply;
      }
      if (read_piece(socket_, in_) == transfer::over)
        return std::nullopt;
      if (!in_.is_inside())
        wait(POLLIN);
    }
  }

  /// The next `T`; what is said meanwhile of a script that runs is left out.
  template <class T>
  T heard() {
    for (;;) {
      auto reply = hear();
      CAF_REQUIRE(reply);
      if (auto* x = std::get_if<T>(&*reply))
        return std::move(*x);
      CAF_REQUIRE(std::holds_alternative<worker_working>(*reply));
    }
  }

  template <class T>
  T ask(const worker_request& x) {
    say(x);
    return heard<T>();
  }

  void hello() {
    CAF_CHECK_EQUAL(ask<worker_greeting>(worker_hello{version}).nonce,
                    "a nonce");
  }

  strategy_step step() {
    return std::get<strategy_step>(heard<worker_report>().what);
  }

private:
  void wait(short event) const {
    pollfd end{socket_.get(), event, 0};
    if (::poll(&end, 1, 60'000) <= 0)
      CAF_FAIL("the worker says nothing");
  }

  descriptor socket_;
  frame_buffer in_{64 << 20};
};

struct fixture {
  fixture() {
    char name[] = "/tmp/muster-worker-XXXXXX";
    folder = ::mkdtemp(name);
    path = folder + "/sockets/w.sock";
  }

  ~fixture() {
    if (child)
      std::ignore = child->handle.send(SIGKILL);
    if (child)
      std::ignore = child->handle.reap_within(patience);
    std::filesystem::remove_all(folder);
  }

  /// Starts a worker, and waits until it is ready.
  void start(std::vector<std::string> options = {},
             const std::string& program = MUSTER_PROGRAM) {
    process_order order;
    order.program = program;
    order.arguments = {"worker", "--sock", path};
    order.arguments.insert(order.arguments.end(), options.begin(),
                           options.end());
    order.environment = {worker_nonce_variable + std::string{"=a nonce"}};
    order.output = folder + "/log";
    order.ready_within = patience;
    auto started = spawn(order);
    CAF_REQUIRE(started);
    child.emplace(std::move(*started));
    pollfd ready{child->ready.get(), POLLIN, 0};
    CAF_REQUIRE_EQUAL(::poll(&ready, 1, 60'000), 1);
    char bytes[16];
    auto size = ::read(ready.fd, bytes, sizeof(bytes));
    if (size <= 0)
      CAF_FAIL("the worker does not start: " + log());
    CAF_CHECK_EQUAL((std::string{bytes, static_cast<std::size_t>(size)}),
                    "ready\n");
    // And closed.
    CAF_REQUIRE_EQUAL(::poll(&ready, 1, 60'000), 1);
    CAF_CHECK_EQUAL(::read(ready.fd, bytes, sizeof(bytes)), 0);
  }

  [[nodiscard]] std::string log() const {
    std::ifstream in{folder + "/log"};
    return {std::istreambuf_iterator<char>{in}, {}};
  }

  /// Waits until it has ended by itself, in order, and left nothing.
  void check_end() {
    auto end = child->handle.reap_within(patience);
    CAF_REQUIRE(end);
    CAF_CHECK_EQUAL(show(*end), "ended with exit code 0");
    CAF_CHECK(!std::filesystem::exists(path));
  }

  static worker_start start_of(const std::string& code,
                               strategy_settings settings = {}) {
    session_spec spec;
    spec.code = code;
    spec.ctx = "{}";
    history events{
      {1, spawned_event{spec, "00112233445566778899aabbccddeeff", ""}}};
    return {{"s-1", events, {}, 0, {}}, std::move(settings)};
  }

  std::string folder;
  std::string path;
  std::optional<started_process> child;
};

} // namespace

CAF_TEST_FIXTURE_SCOPE(worker_process_tests, fixture)

CAF_TEST(a worker runs a session and ends when it is told to) {
  start();
  client node{path};
  auto greeting = node.ask<worker_greeting>(worker_hello{version});
  CAF_CHECK_EQUAL(greeting.version, version);
  CAF_CHECK_EQUAL(greeting.nonce, "a nonce");
  CAF_CHECK_EQUAL(greeting.confinement.substr(0, 17), "seccomp, landlock");
  CAF_CHECK(greeting.standing == worker_standing{});
  node.say(start_of("print('hi') local a = alc.llm('a')"
                    "alc.state.set('k', os.time()) return a .. '!'"));
  node.step();
  node.say(worker_committed{2});
  CAF_CHECK(node.ask<worker_standing>(worker_status{})
            == (worker_standing{"s-1", 2, true}));
  node.say(worker_answer{{{"q-0", "b", std::nullopt}}});
  for (;;) {
    auto report = node.heard<worker_report>();
    if (std::holds_alternative<host_call>(report.what)) {
      node.say(worker_resolve{});
      continue;
    }
    auto& end = std::get<strategy_step>(report.what).end;
    CAF_CHECK_EQUAL(std::get<done_event>(end).result, "\"b!\"");
    break;
  }
  node.ask<worker_farewell>(worker_shutdown{});
  CAF_CHECK(!node.hear());
  check_end();
  CAF_CHECK_NOT_EQUAL(log().find("worker ends: it was told to"),
                      std::string::npos);
}

CAF_TEST(C08 a worker of another version says so and can be stopped) {
  start({}, MUSTER_OTHER_VERSION);
  client node{path};
  auto why = node.ask<worker_refusal>(worker_hello{version}).why;
  CAF_CHECK_EQUAL(why.code, errc::version_mismatch);
  CAF_CHECK_NOT_EQUAL(why.message.find("muster 999.0.0"), std::string::npos);
  CAF_CHECK_NOT_EQUAL(why.message.find(std::string{"muster "} + version),
                      std::string::npos);
  node.say(start_of("return 1"));
  CAF_CHECK_EQUAL(node.heard<worker_refusal>().why.code, errc::not_allowed);
  node.ask<worker_farewell>(worker_shutdown{});
  check_end();
}

CAF_TEST(C09 a silent client delays no signal) {
  start();
  client silent{path};
  client node{path};
  node.hello();
  client other{path};
  CAF_REQUIRE(child->handle.send(SIGTERM));
  check_end();
  CAF_CHECK(!silent.hear());
}

CAF_TEST(C05 a worker that nobody greets ends) {
  start({"--greet-timeout", "50ms"});
  // To be connected is no greeting.
  client silent{path};
  check_end();
  CAF_CHECK_NOT_EQUAL(log().find("no node ever greeted it"), std::string::npos);
}

CAF_TEST(C05 a worker whose node never comes back ends) {
  start({"--orphan-timeout", "50ms", "--greet-timeout", "10m"});
  auto node = std::make_unique<client>(path);
  node->hello();
  node->say(start_of("while true do end"));
  CAF_CHECK(node->ask<worker_standing>(worker_status{}).session_id);
  node.reset();
  client silent{path};
  check_end();
  CAF_CHECK_NOT_EQUAL(log().find("no node came back to it"), std::string::npos);
}

CAF_TEST(N17 a worker is spoken to while its script spins) {
  start();
  client node{path};
  node.hello();
  node.say(start_of("while true do end"));
  CAF_CHECK(node.ask<worker_standing>(worker_status{})
            == (worker_standing{"s-1", 1, false}));
  node.heard<worker_working>();
  CAF_CHECK_EQUAL(node.ask<worker_refusal>(start_of("return 1")).why.code,
                  errc::busy);
  node.ask<worker_farewell>(worker_shutdown{});
  check_end();
}

CAF_TEST(N17 a script that spins delays no signal) {
  start();
  client node{path};
  node.hello();
  // In a place where nothing can interrupt it for a long time.
  strategy_settings settings;
  settings.max_unyielding = 1ull << 50;
  node.say(start_of("local t = setmetatable({}, {__tostring = function() while "
                    "true do end end}) return tostring(t)",
                    settings));
  node.heard<worker_working>();
  CAF_REQUIRE(child->handle.send(SIGTERM));
  check_end();
}

CAF_TEST(a node that comes back finds its worker where it left it) {
  start();
  auto node = std::make_unique<client>(path);
  node->hello();
  node->say(start_of("return alc.llm('a')"));
  node->step();
  node->say(worker_committed{2});
  node->ask<worker_standing>(worker_status{});
  // The old connection may even be there.
  client next{path};
  auto greeting = next.ask<worker_greeting>(worker_hello{version});
  CAF_CHECK(greeting.standing == (worker_standing{"s-1", 2, true}));
  CAF_CHECK(!node->hear());
  next.say(worker_answer{{{"q-0", "b", std::nullopt}}});
  CAF_CHECK_EQUAL(std::get<done_event>(next.step().end).result, "\"b\"");
}

CAF_TEST(a script over its limit of memory fails and the worker lives) {
  start();
  client node{path};
  node.hello();
  strategy_settings settings;
  settings.max_memory_bytes = 4 << 20;
  node.say(start_of("local s = 'x' while true do s = s .. s end", settings));
  CAF_CHECK_EQUAL(std::get<failed_event>(node.step().end).kind,
                  failure_kind::limit_exceeded);
  CAF_CHECK(node.ask<worker_standing>(worker_status{}).session_id);
}

#ifndef __SANITIZE_ADDRESS__
CAF_TEST(a script over the limit of the process fails and the worker lives) {
  start({"--max-memory", "128MiB"});
  client node{path};
  node.hello();
  strategy_settings settings;
  settings.max_memory_bytes = 8ull << 30;
  node.say(start_of("local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(65536) .. "
                    "i end",
                    settings));
  std::ignore = std::get<failed_event>(node.step().end);
  CAF_CHECK(node.ask<worker_standing>(worker_status{}).session_id);
}
#endif

CAF_TEST(a worker makes the folder of its socket and can remove nothing else) {
  path = folder + "/sockets/registry.json";
  start();
  struct stat made {};
  CAF_REQUIRE_EQUAL(::stat((folder + "/sockets").c_str(), &made), 0);
  CAF_CHECK_EQUAL(made.st_mode & 07777, 0700u);
  client node{path};
  node.hello();
  // What it takes for its socket when it ends lies beside that folder.
  std::filesystem::rename(folder + "/sockets", folder + "/aside");
  std::filesystem::create_directory_symlink(folder, folder + "/sockets");
  auto document = folder + "/registry.json";
  std::ofstream{document} << "{}";
  CAF_CHECK(std::filesystem::equivalent(path, document));
  node.ask<worker_farewell>(worker_shutdown{});
  auto end = child->handle.reap_within(patience);
  CAF_REQUIRE(end);
  CAF_CHECK_EQUAL(show(*end), "ended with exit code 0");
  CAF_CHECK(std::filesystem::exists(document));
}

CAF_TEST(a worker that is killed leaves a socket that the next one takes) {
  start();
  client node{path};
  node.hello();
  CAF_REQUIRE(child->handle.send(SIGKILL));
  CAF_CHECK(child->handle.reap_within(patience));
  CAF_CHECK(!node.hear());
  CAF_CHECK(std::filesystem::exists(path));
  start();
  client again{path};
  again.hello();
}

CAF_TEST(connections that say nothing do not keep a node out) {
  start();
  std::vector<std::unique_ptr<client>> silent;
  for (int i = 0; i < 50; ++i) {
    // No more than the queue takes at once.
    silent.push_back(std::make_unique<client>(path));
    if (i % 10 == 9) {
      client node{path};
      node.hello();
    }
  }
  client node{path};
  node.hello();
  // Nor does a flood of frames.
  for (int i = 0; i < 10'000; ++i)
    node.say(worker_status{});
  CAF_REQUIRE(child->handle.send(SIGTERM));
  check_end();
}

CAF_TEST(what cannot begin says why and is no worker) {
  for (auto& arguments : std::vector<std::vector<std::string>>{
         {"worker"},
         {"worker", "--sock", "relative"},
         {"worker", "--sock", "/no/such/folder/w.sock"},
         {"worker", "--sock", path, "--greet-timeout", "soon"}}) {
    process_order order;
    order.program = MUSTER_PROGRAM;
    order.arguments = arguments;
    order.output = folder + "/log";
    auto started = spawn(order);
    CAF_REQUIRE(started);
    auto end = started->handle.reap_within(patience);
    CAF_REQUIRE(end);
    CAF_CHECK_NOT_EQUAL(end->number, 0);
    CAF_CHECK_NOT_EQUAL(log().find("cannot run a worker: "), std::string::npos);
    std::filesystem::remove(folder + "/log");
  }
}

CAF_TEST_FIXTURE_SCOPE_END()
