// SPDX-License-Identifier: Apache-2.0

#define CAF_SUITE process.identity

#include "actors/process/process_identity.hpp"

#include "tests/support/real_child.hpp"
#include "tests/support/suite.hpp"

#include <fmt/format.h>

#include <signal.h>
#include <unistd.h>

using namespace muster;
using muster::test::real_child;

namespace {

constexpr int plain_flags = 0x40'0100;
constexpr int kernel_flags = 0x20'8040;

/// A line of `/proc/<pid>/stat`, with 77 in the place of the start time.
std::string stat_line(std::string_view name, char state, int threads,
                      int flags = plain_flags, std::uint64_t code_begin = 66) {
  return fmt::format("4711 ({}) {} 1 4711 4711 0 -1 {} 90 0 0 0 5 6 0 0 "
                     "20 0 {} 0 77 2998272 300 18446744073709551615 {} 1 0 0 0 "
                     "0 0 0 0 0 0 0 17 1 0 0 0 0 0 1 1 1 1 1 80 88 0\n",
                     name, state, flags, threads, code_begin);
}

} // namespace

CAF_TEST(a name may look like the rest of the line) {
  for (std::string name :
       {"sh", "a b", ") (", ") R 1 1 (", "((", "))", "", "1 (x) Z 2"}) {
    auto stat = parse_stat(stat_line(name, 'S', 1));
    CAF_REQUIRE(stat);
    CAF_CHECK_EQUAL(stat->name, name);
    CAF_CHECK_EQUAL(stat->pid, 4711);
    CAF_CHECK_EQUAL(stat->state, 'S');
    CAF_CHECK_EQUAL(stat->start_ticks, 77u);
    CAF_CHECK_EQUAL(stat->cpu_ticks, 5u + 6u);
    CAF_CHECK_EQUAL(stat->memory_pages, 300u);
  }
}

CAF_TEST(a line that is cut short is not understood) {
  auto line = stat_line("sh", 'S', 1);
  // The last number is known to be whole by the blank behind it.
  auto size = line.find(" 88 ") + 4;
  CAF_CHECK(parse_stat(line.substr(0, size)));
  for (--size; size > 0; --size)
    CAF_CHECK(!parse_stat(line.substr(0, size)));
}

CAF_TEST(a process whose first thread ended is no zombie) {
  CAF_CHECK(parse_stat(stat_line("sh", 'Z', 1))->is_over());
  CAF_CHECK(!parse_stat(stat_line("sh", 'Z', 2))->is_over());
  CAF_CHECK(parse_stat(stat_line("sh", 'X', 1))->is_over());
  CAF_CHECK(!parse_stat(stat_line("sh", 'T', 1))->is_over());
}

CAF_TEST(a thread of the kernel and one that ends are told by their flags) {
  struct {
    int flags;
    bool is_of_kernel;
    bool is_exiting;
  } cases[] = {{plain_flags, false, false},
               {plain_flags | 4, false, true},
               {kernel_flags, true, false}};
  for (auto& x : cases) {
    auto stat = parse_stat(stat_line("sh", 'R', 1, x.flags, 0));
    CAF_REQUIRE(stat);
    CAF_CHECK_EQUAL(stat->is_of_kernel, x.is_of_kernel);
    CAF_CHECK_EQUAL(stat->is_exiting, x.is_exiting);
    CAF_CHECK_EQUAL(stat->code_begin, 0u);
    CAF_CHECK_EQUAL(stat->environment_begin, 80u);
    CAF_CHECK_EQUAL(stat->environment_end, 88u);
  }
}

CAF_TEST(what is no pid is refused) {
  for (std::int64_t pid :
       {std::int64_t{0}, std::int64_t{-1}, std::int64_t{INT32_MIN},
        std::int64_t{4'194'305}, (std::int64_t{1} << 32) + ::getpid()}) {
    CAF_CHECK_EQUAL(identify(pid).error().code, errc::invalid_argument);
    CAF_CHECK_EQUAL(stat_of(pid).error().code, errc::invalid_argument);
  }
  CAF_CHECK_EQUAL(*check_pid(1), 1);
  CAF_CHECK_EQUAL(*check_pid(4'194'304), 4'194'304);
}

CAF_TEST(this process is alive and found by its own pid) {
  auto me = identify(::getpid());
  CAF_REQUIRE(me);
  CAF_CHECK_EQUAL(me->pid, ::getpid());
  CAF_CHECK_EQUAL(*me, *identify(::getpid()));
  CAF_CHECK(*is_alive(*me));
  CAF_CHECK_EQUAL(**find_process(::getpid()), *me);
}

CAF_TEST(what a process uses is said of that very process) {
  auto me = *identify(::getpid());
  auto usage = usage_of(me);
  CAF_REQUIRE(usage);
  CAF_CHECK(usage->memory_bytes > 0);
  ++me.start_ticks;
  CAF_CHECK(!usage_of(me));
}

CAF_TEST(the same process of another boot is not alive) {
  auto me = *identify(::getpid());
  me.boot_id.back() = me.boot_id.back() == '0' ? '1' : '0';
  CAF_CHECK(!*is_alive(me));
}

CAF_TEST(a name with parentheses does not hide a real process) {
  real_child child;
  child.call_itself(") Z 1 (");
  auto stat = stat_of(child.pid());
  CAF_REQUIRE(stat && *stat);
  CAF_CHECK_EQUAL((*stat)->name, ") Z 1 (");
  CAF_CHECK(*is_alive(*identify(child.pid())));
}

CAF_TEST(a zombie is not alive) {
  real_child child;
  auto who = *identify(child.pid());
  CAF_CHECK(*is_alive(who));
  CAF_CHECK_EQUAL(**find_process(who.pid), who);
  child.become_zombie();
  CAF_CHECK_EQUAL(::kill(child.pid(), 0), 0);
  CAF_CHECK(!find_process(who.pid)->has_value());
  CAF_CHECK_EQUAL(*identify(child.pid()), who);
  CAF_CHECK(!*is_alive(who));
  child.reap();
  CAF_CHECK(!*is_alive(who));
  CAF_CHECK_EQUAL(identify(who.pid).error().code, errc::not_found);
}

CAF_TEST(another process with the same pid is not alive) {
  real_child first;
  auto who = *identify(first.pid());
  first.become_zombie();
  first.reap();
  std::optional<real_child> second;
  // Until the clock has ticked. No process gets the pid of one that young,
  // unless somebody turns the counter back.
  do {
    second.reset();
    second = real_child::with_pid(who.pid);
    if (!second) {
      CAF_MESSAGE("this user cannot choose pids");
      return;
    }
  } while (identify(who.pid)->start_ticks == who.start_ticks);
  CAF_CHECK_EQUAL(::kill(who.pid, 0), 0);
  CAF_CHECK(!*is_alive(who));
  CAF_CHECK(*is_alive(*identify(who.pid)));
}

CAF_TEST(an identity survives its way through a document) {
  auto me = *identify(::getpid());
  auto text = to_json(me).dump();
  CAF_CHECK_EQUAL(*process_identity_from(json::parse(text)), me);
}

CAF_TEST(a document that names no process is refused) {
  auto refused = [](const char* text) {
    auto out = process_identity_from(json::parse(text));
    return !out && out.error().code == errc::invalid_argument;
  };
  CAF_CHECK(!refused(R"({"pid":7,"start_ticks":1,"boot_id":"b","x":1})"));
  CAF_CHECK(refused(R"([])"));
  CAF_CHECK(refused(R"({"start_ticks":1,"boot_id":"b"})"));
  CAF_CHECK(refused(R"({"pid":0,"start_ticks":1,"boot_id":"b"})"));
  CAF_CHECK(refused(R"({"pid":-7,"start_ticks":1,"boot_id":"b"})"));
  CAF_CHECK(refused(R"({"pid":7.5,"start_ticks":1,"boot_id":"b"})"));
  CAF_CHECK(
    refused(R"({"pid":18446744073709551615,"start_ticks":1,"boot_id":"b"})"));
  CAF_CHECK(refused(R"({"pid":4294967303,"start_ticks":1,"boot_id":"b"})"));
  CAF_CHECK(refused(R"({"pid":7,"start_ticks":-1,"boot_id":"b"})"));
  CAF_CHECK(refused(R"({"pid":7,"start_ticks":1,"boot_id":""})"));
  CAF_CHECK(refused(R"({"pid":7,"start_ticks":1})"));
}
