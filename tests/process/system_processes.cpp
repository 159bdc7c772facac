// SPDX-License-Identifier: Apache-2.0

#define CAF_SUITE process.system

#include "actors/process/system_processes.hpp"

#include "tests/support/real_child.hpp"
#include "tests/support/suite.hpp"

#include <condition_variable>
#include <deque>
#include <filesystem>
#include <future>

#include <signal.h>
#include <sys/wait.h>

using namespace muster;
using namespace std::chrono_literals;
using muster::test::real_child;

namespace {

constexpr auto patience = 30s;

process_exit exited(int code) {
  return {process_exit::manner::exited, code};
}

process_exit signalled(int number) {
  return {process_exit::manner::signalled, number};
}

process_order shell(const std::string& script,
                    std::chrono::milliseconds ready_within = patience) {
  return {"/bin/sh", {"-c", script}, {}, "/", no_output{}, ready_within};
}

/// One that is to become another program. A shell cannot let its descriptor
/// close on exec, so the script leaves it to no program.
process_order becoming(const std::string& script) {
  auto out = shell(script);
  out.ready_by = readiness::exec;
  return out;
}

/// What listeners heard, in order.
class ear {
public:
  process_listener listener() {
    return [this](process_event event) {
      std::lock_guard guard{mutex_};
      heard_.push_back(std::move(event));
      changed_.notify_all();
    };
  }

  template <class Event>
  Event next() {
    std::unique_lock lock{mutex_};
    if (!changed_.wait_for(lock, patience, [this] { return !heard_.empty(); }))
      CAF_FAIL("nothing was heard");
    auto event = std::move(heard_.front());
    heard_.pop_front();
    if (!std::holds_alternative<Event>(event))
      CAF_FAIL("something else was heard");
    return std::get<Event>(event);
  }

  bool is_silent() {
    std::lock_guard guard{mutex_};
    return heard_.empty();
  }

private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<process_event> heard_;
};

std::size_t open_descriptors() {
  std::filesystem::directory_iterator here{"/proc/self/fd"};
  return static_cast<std::size_t>(std::distance(begin(here), end(here)));
}

bool has_children() {
  return ::waitid(P_ALL, 0, nullptr, WEXITED | WNOHANG) == 0;
}

struct fixture {
  ~fixture() {
    port->stop();
    CAF_CHECK(!has_children());
  }

  /// A child that never becomes ready; says why it did not.
  process_ended never_ready(const process_order& order) {
    auto who = port->start(order, heard.listener());
    CAF_REQUIRE(who);
    auto out = heard.next<process_ended>();
    CAF_CHECK_EQUAL(out.who, *who);
    CAF_CHECK_EQUAL(port->size(), 0u);
    CAF_REQUIRE(out.never_ready);
    return out;
  }

  ear heard;
  std::unique_ptr<system_processes> port = *system_processes::open(100);
};

} // namespace

CAF_TEST_FIXTURE_SCOPE(system_tests, fixture)

CAF_TEST(a child is ready and then ends) {
  auto who = port->start(shell("echo at your service >&3; exec 3>&-; exit 5"),
                         heard.listener());
  CAF_REQUIRE(who);
  auto ready = heard.next<process_ready>();
  CAF_CHECK_EQUAL(ready.who, *who);
  CAF_CHECK_EQUAL(ready.line, "at your service");
  auto ended = heard.next<process_ended>();
  CAF_CHECK_EQUAL(ended.who, *who);
  CAF_CHECK_EQUAL(ended.end, exited(5));
  CAF_CHECK(!ended.never_ready);
  CAF_CHECK(!*port->is_alive(*who));
  CAF_CHECK_EQUAL(port->send(*who, SIGTERM).error().code, errc::not_found);
}

CAF_TEST(a child without a pipe just ends) {
  CAF_REQUIRE(port->start(shell("exit 6", 0ms), heard.listener()));
  auto ended = heard.next<process_ended>();
  CAF_CHECK_EQUAL(ended.end, exited(6));
  CAF_CHECK(!ended.never_ready);
}

CAF_TEST(a signal reaches a child and its end is told) {
  auto who = port->start(shell("echo >&3; exec sleep 1000"), heard.listener());
  CAF_CHECK_EQUAL(heard.next<process_ready>().line, "");
  CAF_CHECK(*port->is_alive(*who));
  CAF_CHECK(port->send(*who, SIGTERM));
  CAF_CHECK_EQUAL(heard.next<process_ended>().end, signalled(SIGTERM));
}

CAF_TEST(a child that dies before it is ready is told with its status) {
  // Its pipe is closed a moment before it is a zombie.
  for (int i = 0; i < 50; ++i) {
    auto out = never_ready(shell("exit 3"));
    CAF_CHECK_EQUAL(out.end, exited(3));
    CAF_CHECK_EQUAL(out.never_ready->code, errc::program_failed);
    CAF_CHECK_EQUAL(out.never_ready->message,
                    "'/bin/sh' ended with exit code 3 before it was ready");
  }
}

CAF_TEST(a child whose pipe somebody else has dies before it is ready) {
  auto out = never_ready(shell("sleep 3 & kill -9 $$"));
  CAF_CHECK_EQUAL(out.end, signalled(SIGKILL));
  CAF_CHECK_EQUAL(out.never_ready->message,
                  "'/bin/sh' was killed by SIGKILL before it was ready");
}

CAF_TEST(a child that closes its pipe without a line is killed) {
  auto out = never_ready(shell("exec 3>&-; exec sleep 1000"));
  CAF_CHECK_EQUAL(out.end, signalled(SIGKILL));
  CAF_CHECK_EQUAL(out.never_ready->code, errc::program_failed);
  CAF_CHECK_EQUAL(out.never_ready->message,
                  "'/bin/sh' closed its pipe before it was ready");
}

CAF_TEST(half a line is no readiness) {
  auto out = never_ready(shell("printf rea >&3; exec 3>&-; exec sleep 1000"));
  CAF_CHECK_EQUAL(out.end, signalled(SIGKILL));
  CAF_CHECK_EQUAL(out.never_ready->message,
                  "'/bin/sh' closed its pipe in the middle of a line");
}

CAF_TEST(a line without an end is cut off) {
  auto out = never_ready(shell("while printf rea >&3; do :; done"));
  CAF_CHECK_EQUAL(out.never_ready->code, errc::program_failed);
  CAF_CHECK_EQUAL(out.never_ready->message,
                  "'/bin/sh' said more than 4096 bytes and no line");
}

CAF_TEST(a child that never becomes ready is killed and reaped) {
  auto out = never_ready(shell("trap '' TERM; exec sleep 1000", 50ms));
  CAF_CHECK_EQUAL(out.end, signalled(SIGKILL));
  CAF_CHECK_EQUAL(out.never_ready->code, errc::timeout);
  CAF_CHECK_EQUAL(out.never_ready->message,
                  "'/bin/sh' was not ready within 50 ms");
  CAF_CHECK(!has_children());
  CAF_CHECK_EQUAL(identify(out.who.pid).error().code, errc::not_found);
}

CAF_TEST(a deadline that comes later than others is kept) {
  ear other;
  CAF_REQUIRE(
    port->start(shell("exec sleep 1000", patience), other.listener()));
  CAF_REQUIRE(port->start(shell("exec sleep 1000", 20ms), heard.listener()));
  CAF_CHECK_EQUAL(heard.next<process_ended>().never_ready->code, errc::timeout);
  CAF_CHECK(other.is_silent());
  port->stop();
  auto out = other.next<process_ended>();
  CAF_CHECK_EQUAL(out.end, signalled(SIGKILL));
  CAF_CHECK_EQUAL(out.never_ready->code, errc::shutting_down);
}

CAF_TEST(a child is ready when it has become another program) {
  // The line alone says nothing yet.
  auto who = port->start(becoming("echo confined >&3; exec sleep 1000 3>&-"),
                         heard.listener());
  CAF_REQUIRE(who);
  auto ready = heard.next<process_ready>();
  CAF_CHECK_EQUAL(ready.who, *who);
  CAF_CHECK_EQUAL(ready.line, "confined");
  CAF_CHECK(port->send(*who, SIGTERM));
  auto ended = heard.next<process_ended>();
  CAF_CHECK_EQUAL(ended.end, signalled(SIGTERM));
  CAF_CHECK(!ended.never_ready);
}

CAF_TEST(the line of one that becomes no other program makes it not ready) {
  auto order = becoming("echo confined >&3; exec sleep 1000");
  order.ready_within = 50ms;
  auto out = never_ready(order);
  CAF_CHECK_EQUAL(out.end, signalled(SIGKILL));
  CAF_CHECK_EQUAL(out.never_ready->code, errc::timeout);
}

CAF_TEST(a child that cannot become another program says why) {
  // With and without a line before; it keeps its status.
  for (auto* before : {"", "echo confined >&3; "})
    for (int i = 0; i < 20; ++i) {
      auto out = never_ready(becoming(
        before
        + std::string{"echo error not_found no \"'/x y'\" >&3; exit 127"}));
      CAF_CHECK_EQUAL(out.end, exited(127));
      CAF_CHECK_EQUAL(out.never_ready->code, errc::program_failed);
      CAF_CHECK_EQUAL(out.never_ready->message, "no '/x y'");
    }
}

CAF_TEST(whoever says that it failed and stays is killed) {
  auto out
    = never_ready(becoming("echo error x y >&3; exec 3>&-; exec sleep 1000"));
  CAF_CHECK_EQUAL(out.end, signalled(SIGKILL));
  CAF_CHECK_EQUAL(out.never_ready->message, "y");
}

CAF_TEST(whoever becomes another program says one line and no more) {
  auto why = [&](const std::string& script) {
    return never_ready(becoming(script + "; exec 3>&-; exec sleep 1000"))
      .never_ready->message;
  };
  auto else_said
    = "'/bin/sh' said something else than that it becomes another program";
  CAF_CHECK_EQUAL(why("echo one >&3; echo two >&3"), else_said);
  CAF_CHECK_EQUAL(why("echo one >&3; echo error x y >&3; echo >&3"), else_said);
  CAF_CHECK_EQUAL(why("printf one >&3"),
                  "'/bin/sh' closed its pipe in the middle of a line");
  CAF_CHECK_EQUAL(why(":"), "'/bin/sh' closed its pipe before it was ready");
  CAF_CHECK_EQUAL(why("i=0; while [ $i -lt 600 ]; do echo 1234567 >&3;"
                      " i=$((i + 1)); done"),
                  "'/bin/sh' said more than 4095 bytes before it became "
                  "another program");
  auto out = never_ready(becoming("exit 3"));
  CAF_CHECK_EQUAL(out.never_ready->message,
                  "'/bin/sh' ended with exit code 3 before it was ready");
}

CAF_TEST(why another program could not begin stays on one line) {
  auto line = show_exec_error({errc::not_found, "no '/a\nb\x7F'"});
  CAF_CHECK_EQUAL(line, "error not_found no '/a?b\x7F'");
  auto long_line
    = show_exec_error({errc::not_found, std::string(10'000, 'x')}) + "\n";
  CAF_CHECK_LESS(long_line.size() + 1'025, max_ready_bytes);
  auto report = read_exec_report(std::string(1'024, 'c') + "\n" + long_line);
  CAF_REQUIRE(report && !*report);
}

CAF_TEST(the end of an adopted process is seen) {
  real_child stranger{real_child::kin::grandchild};
  auto who = *identify(stranger.pid());
  CAF_REQUIRE(port->adopt(who, heard.listener()));
  CAF_CHECK_EQUAL(port->adopt(who, heard.listener()).error().code,
                  errc::conflict);
  CAF_CHECK(heard.is_silent());
  CAF_CHECK(port->send(who, SIGKILL));
  auto ended = heard.next<process_ended>();
  CAF_CHECK_EQUAL(ended.who, who);
  CAF_CHECK_EQUAL(ended.end, process_exit{});
  CAF_CHECK(!ended.never_ready);
  CAF_CHECK_EQUAL(port->adopt(who, heard.listener()).error().code,
                  errc::not_found);
}

CAF_TEST(whoever is ready outlives this) {
  auto who = *port->start(shell("echo >&3; exec sleep 1000"), heard.listener());
  heard.next<process_ready>();
  port->stop();
  CAF_CHECK(*is_alive(who));
  CAF_CHECK(heard.is_silent());
  CAF_CHECK_EQUAL(port->start(shell(""), heard.listener()).error().code,
                  errc::shutting_down);
  CAF_CHECK_EQUAL(port->adopt(who, heard.listener()).error().code,
                  errc::shutting_down);
  // The next one finds it again.
  port = *system_processes::open(1);
  CAF_REQUIRE(port->adopt(who, heard.listener()));
  CAF_CHECK_EQUAL(port->start(shell(""), heard.listener()).error().code,
                  errc::overloaded);
  CAF_CHECK(port->send(who, SIGTERM));
  CAF_CHECK_EQUAL(heard.next<process_ended>().end, signalled(SIGTERM));
}

CAF_TEST(a listener may start the next one) {
  std::promise<process_event> told;
  CAF_REQUIRE(port->start(shell("exit 1", 0ms), [&](process_event) {
    std::ignore = port->start(shell("exit 2", 0ms), [&](process_event second) {
      told.set_value(std::move(second));
    });
  }));
  auto second = told.get_future();
  CAF_REQUIRE(second.wait_for(patience) == std::future_status::ready);
  CAF_CHECK_EQUAL(std::get<process_ended>(second.get()).end, exited(2));
}

CAF_TEST(children leave no descriptor behind) {
  auto before = open_descriptors();
  for (int i = 0; i < 200; ++i) {
    CAF_REQUIRE(port->start(shell("echo >&3; exit 0"), heard.listener()));
    heard.next<process_ready>();
    heard.next<process_ended>();
  }
  CAF_CHECK_EQUAL(open_descriptors(), before);
  port->stop();
  port.reset();
  CAF_CHECK_EQUAL(open_descriptors(), before - 2);
  port = *system_processes::open(1);
}

CAF_TEST(a program that ignores its children still hears of their ends) {
  port.reset();
  auto before = ::signal(SIGCHLD, SIG_IGN);
  port = *system_processes::open(1);
  CAF_REQUIRE(port->start(shell("exit 7", 0ms), heard.listener()));
  CAF_CHECK_EQUAL(heard.next<process_ended>().end, exited(7));
  ::signal(SIGCHLD, before);
}

CAF_TEST_FIXTURE_SCOPE_END()
