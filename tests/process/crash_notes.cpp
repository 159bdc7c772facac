// SPDX-License-Identifier: Apache-2.0

// What a process that dies leaves behind, and what the next one makes of it.

#define CAF_SUITE process.crash_notes

#include "tests/support/suite.hpp"

#include "actors/process/crash_handler.hpp"

#include <cstdlib>
#include <fstream>
#include <functional>
#include <thread>

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace muster;

namespace {

const std::string a = "s-18bcfe56800-0123456789abcdef0123456789abcdef";
const std::string b = "s-18bcfe56801-0123456789abcdef0123456789abcdef";

std::string line(const std::string& id, std::uint64_t pauses, int number) {
  crash_line out;
  return {out.data(), write_crash_line(out, id, pauses, number)};
}

/// A child of this process that ends with a crash, in a thread of its own.
struct dead_child {
  explicit dead_child(const std::function<void()>& crash) {
    char name[] = "/tmp/muster-crash-XXXXXX";
    ::close(::mkstemp(name));
    auto pid = ::fork();
    if (pid == 0) {
      // Nobody wants the memory of a process that died on purpose.
      rlimit none{0, 0};
      ::setrlimit(RLIMIT_CORE, &none);
      if (!note_crashes(name))
        ::_exit(1);
      std::thread{crash}.join();
      ::_exit(2);
    }
    ::waitpid(pid, &status, 0);
    std::ifstream in{name};
    notes.assign(std::istreambuf_iterator<char>{in}, {});
    ::unlink(name);
  }

  int status = 0;
  std::string notes;
};

// The compiler must not see that this ends nowhere.
volatile int depth = 1 << 30;

int overflow(int n) {
  volatile char frame[4'096];
  frame[0] = static_cast<char>(n);
  return n == 0 ? 0 : overflow(n - 1) + frame[0];
}

} // namespace

// -- counting -----------------------------------------------------------------

CAF_TEST(deaths count as long as the session has not paused) {
  struct row {
    std::string text;
    std::uint64_t pauses;
    std::uint64_t deaths;
  };
  for (auto& [text, pauses, deaths] : std::vector<row>{
         {"", 0, 0},
         {line(a, 0, 11), 0, 1},
         {line(a, 2, 11) + line(a, 2, 6) + line(a, 2, 11), 2, 3},
         // It came further than that.
         {line(a, 0, 11) + line(a, 0, 11), 1, 0},
         {line(a, 0, 11) + line(a, 0, 11) + line(a, 1, 11), 1, 1},
         // A pause that was lost again begins anew, too.
         {line(a, 1, 11) + line(a, 1, 11) + line(a, 0, 11), 0, 1},
         // Others do not count, and do not end the row.
         {line(b, 0, 11) + line(b, 0, 11), 0, 0},
         {line(a, 0, 11) + line(b, 0, 11) + line(a, 0, 11), 0, 2},
         // What a death or a full disk cut short, and what nobody wrote.
         {line(a, 0, 11) + line(a, 0, 11).substr(0, 50), 0, 1},
         {line(a, 10, 11).substr(0, a.size() + 2), 1, 0},
         {"\n \nx 0 11\n" + a + "\n" + a + " 0\n" + a + " 0 11 1\n" + a
            + " -1 11\n",
          0, 0}}) {
    CAF_MESSAGE(text);
    CAF_CHECK_EQUAL(crash_notes{text}.deaths(a, pauses), deaths);
  }
}

CAF_TEST(the notes know their sessions and the last signal) {
  crash_notes notes{line(a, 3, SIGSEGV) + line(a, 3, SIGABRT)};
  CAF_CHECK(notes.contains(a));
  CAF_CHECK(!notes.contains(b));
  CAF_CHECK_EQUAL(notes.signal(a), SIGABRT);
  CAF_CHECK(!notes.empty());
  CAF_CHECK(crash_notes{"rubbish\n"}.empty());
}

CAF_TEST(a note that does not fit is not written) {
  crash_line out;
  CAF_CHECK_EQUAL(write_crash_line(out, std::string(150, 'x'), 0, 11), 0u);
  // The longest that can be.
  std::string longest = "s-7fffffffffffffff-" + std::string(32, 'f'); // NOLINT
  auto text = line(longest, ~std::uint64_t{0}, -2'147'483'647);
  CAF_CHECK_EQUAL(text, longest + " 18446744073709551615 -2147483647\n");
}

// -- dying --------------------------------------------------------------------

CAF_TEST(a thread names its script as long as it runs) {
  crash_line out;
  CAF_CHECK_EQUAL(running_script::write_line(out, 11), 0u);
  {
    running_script outer{a, 1};
    {
      running_script inner{b, 2};
      auto size = running_script::write_line(out, 11);
      CAF_CHECK_EQUAL(std::string(out.data(), size), line(b, 2, 11));
    }
    auto size = running_script::write_line(out, 11);
    CAF_CHECK_EQUAL(std::string(out.data(), size), line(a, 1, 11));
  }
  CAF_CHECK_EQUAL(running_script::write_line(out, 11), 0u);
}

CAF_TEST(whatever crashes a thread with a script leaves a note) {
  struct row {
    int number;
    std::function<void()> crash;
  };
  for (auto& [number, crash] : std::vector<row>{
         {SIGABRT, [] { std::abort(); }},
         {SIGSEGV, [] { ::raise(SIGSEGV); }},
         {SIGBUS, [] { ::raise(SIGBUS); }},
         {SIGFPE, [] { ::raise(SIGFPE); }},
         {SIGILL, [] { ::raise(SIGILL); }},
         // The stack is used up, so that the handler has to have its own.
         {SIGSEGV, [] { std::ignore = overflow(depth); }}}) {
    dead_child child{[crash = crash] {
      running_script here{a, 7};
      crash();
    }};
    CAF_CHECK(WIFSIGNALED(child.status));
    CAF_CHECK_EQUAL(WTERMSIG(child.status), number);
    CAF_CHECK_EQUAL(child.notes, line(a, 7, number));
  }
}

CAF_TEST(a crash behind a script or beside it is not laid to it) {
  dead_child behind{[] {
    { running_script here{a, 7}; }
    std::abort();
  }};
  CAF_CHECK_EQUAL(WTERMSIG(behind.status), SIGABRT);
  CAF_CHECK_EQUAL(behind.notes, "");
  dead_child beside{[] {
    running_script here{a, 7};
    std::thread{[] { std::abort(); }}.join();
  }};
  CAF_CHECK_EQUAL(WTERMSIG(beside.status), SIGABRT);
  CAF_CHECK_EQUAL(beside.notes, "");
}

CAF_TEST(a process that is killed leaves no note) {
  dead_child child{[] {
    running_script here{a, 7};
    ::raise(SIGKILL);
  }};
  CAF_CHECK_EQUAL(WTERMSIG(child.status), SIGKILL);
  CAF_CHECK_EQUAL(child.notes, "");
}
