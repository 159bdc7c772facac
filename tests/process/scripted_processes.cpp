// SPDX-License-Identifier: Apache-2.0

// The processes of tests keep to what the real ones do.

#define CAF_SUITE process.scripted

#include "tests/support/scripted_processes.hpp"

#include "tests/support/suite.hpp"

#include <signal.h>

using namespace muster;
using namespace muster::test;
using namespace std::chrono_literals;

namespace {

process_exit signalled(int number) {
  return {process_exit::manner::signalled, number};
}

struct fixture {
  process_identity start(process_script script) {
    port.scripts.push_back(std::move(script));
    return *port.start(order, listener());
  }

  process_listener listener() {
    return [this](process_event event) { heard.push_back(std::move(event)); };
  }

  /// How the last of them ended that was heard of.
  process_ended last_end() {
    return std::get<process_ended>(heard.back());
  }

  scripted_processes port;
  process_order order{"/bin/worker", {}, {}, "/", no_output{}, 100ms};
  std::vector<process_event> heard;
};

} // namespace

CAF_TEST_FIXTURE_SCOPE(scripted_tests, fixture)

CAF_TEST(a start is refused once) {
  port.scripts.push_back({failure{errc::overloaded, "full"}, {}, {}});
  CAF_CHECK_EQUAL(port.start(order, listener()).error().message, "full");
  CAF_CHECK(port.start(order, listener()));
  CAF_CHECK_EQUAL(port.orders.size(), 1u);
  CAF_CHECK_EQUAL(std::get<process_ready>(heard.at(0)).line, "ready");
}

CAF_TEST(whoever is not ready in time is killed) {
  auto who = start({});
  port.advance(99ms);
  CAF_CHECK(heard.empty());
  port.advance(1ms);
  CAF_CHECK_EQUAL(last_end().end, signalled(SIGKILL));
  CAF_CHECK_EQUAL(last_end().never_ready->code, errc::timeout);
  CAF_CHECK(!*port.is_alive(who));
  CAF_CHECK_EQUAL(port.running(), 0u);
}

CAF_TEST(whoever dies before it is ready is told with its status) {
  auto who = start({});
  port.end(who, {process_exit::manner::exited, 3});
  CAF_CHECK_EQUAL(last_end().never_ready->message,
                  "'/bin/worker' ended with exit code 3 before it was ready");
}

CAF_TEST(whoever becomes another program is ready or ends) {
  order.ready_by = readiness::exec;
  start({{}, "confined landlock 7", obedience::ends});
  CAF_CHECK_EQUAL(std::get<process_ready>(heard.back()).line,
                  "confined landlock 7");
  auto who = start({});
  port.say(who, show_exec_error({errc::not_found, "there is no '/bin/none'"}));
  CAF_CHECK_EQUAL(last_end().who, who);
  process_exit as_a_shell{process_exit::manner::exited, 127};
  CAF_CHECK_EQUAL(last_end().end, as_a_shell);
  CAF_CHECK_EQUAL(last_end().never_ready->code, errc::program_failed);
  CAF_CHECK_EQUAL(last_end().never_ready->message, "there is no '/bin/none'");
  CAF_CHECK_EQUAL(port.running(), 1u);
}

CAF_TEST(signals end those that obey) {
  auto meek = start({{}, "ready", obedience::ends});
  auto deaf = start({{}, "ready", obedience::ignores_requests});
  auto stuck = start({{}, "ready", obedience::hangs});
  for (auto& who : {meek, deaf, stuck})
    CAF_CHECK(port.send(who, SIGTERM));
  CAF_CHECK_EQUAL(port.running(), 2u);
  CAF_CHECK_EQUAL(port.send(meek, SIGKILL).error().code, errc::not_found);
  CAF_CHECK(port.send(deaf, SIGKILL));
  CAF_CHECK_EQUAL(last_end().who, deaf);
  CAF_CHECK(!last_end().never_ready);
  CAF_CHECK(port.send(stuck, SIGKILL));
  CAF_CHECK(*port.is_alive(stuck));
  CAF_CHECK_EQUAL(port.signals.size(), 5u);
}

CAF_TEST(a pid that is used again is another process) {
  auto first = start({{}, "ready", {}});
  port.end(first, {});
  port.next_pid = first.pid;
  auto second = start({{}, "ready", {}});
  CAF_CHECK_EQUAL(second.pid, first.pid);
  CAF_CHECK(!*port.is_alive(first));
  CAF_CHECK(*port.is_alive(second));
  CAF_CHECK_EQUAL(port.send(first, SIGTERM).error().code, errc::not_found);
}

CAF_TEST(a zombie is not alive and cannot be found again) {
  auto who = start({{}, "ready", {}});
  port.become_zombie(who);
  CAF_CHECK(!*port.is_alive(who));
  CAF_CHECK_EQUAL(port.size(), 1u);
  port.restart_holder();
  CAF_CHECK_EQUAL(port.adopt(who, listener()).error().code, errc::not_found);
}

CAF_TEST(whoever is ready outlives its holder) {
  auto ready = start({{}, "ready", {}});
  auto late = start({});
  port.stop();
  CAF_CHECK_EQUAL(last_end().who, late);
  CAF_CHECK_EQUAL(last_end().never_ready->code, errc::shutting_down);
  CAF_CHECK_EQUAL(port.start(order, listener()).error().code,
                  errc::shutting_down);
  CAF_CHECK_EQUAL(port.size(), 0u);
  port.restart_holder();
  CAF_CHECK(port.adopt(ready, listener()));
  CAF_CHECK_EQUAL(port.adopt(ready, listener()).error().code, errc::conflict);
  port.max_processes = 1;
  CAF_CHECK_EQUAL(port.start(order, listener()).error().code, errc::overloaded);
  port.end(ready, {process_exit::manner::exited, 3});
  // It is nobody's child any more.
  CAF_CHECK_EQUAL(last_end().end, process_exit{});
}

CAF_TEST_FIXTURE_SCOPE_END()
