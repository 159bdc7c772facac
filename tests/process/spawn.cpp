// SPDX-License-Identifier: Apache-2.0

#define CAF_SUITE process.spawn

#include "actors/process/spawn.hpp"

#include "tests/support/suite.hpp"

#include <filesystem>
#include <fstream>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

using namespace muster;
using namespace std::chrono_literals;

namespace {

constexpr auto patience = 30s;

process_order shell(const std::string& script) {
  return {"/bin/sh", {"-c", script}, {}, "/", no_output{}, patience};
}

/// All that a child writes to its pipe until it closes it.
std::string said_by(started_process& child) {
  std::string out;
  char bytes[4'096];
  for (;;) {
    pollfd end{child.ready.get(), POLLIN, 0};
    if (::poll(&end, 1, 30'000) <= 0)
      return out + "(nothing for too long)";
    auto size = ::read(child.ready.get(), bytes, sizeof(bytes));
    if (size <= 0)
      return out;
    out.append(bytes, static_cast<std::size_t>(size));
  }
}

/// What a script writes to its pipe.
std::string said_by(const process_order& order) {
  auto child = spawn(order);
  if (!child)
    return child.error().message;
  auto out = said_by(*child);
  CAF_CHECK(child->handle.reap_within(patience));
  return out;
}

std::size_t open_descriptors() {
  std::filesystem::directory_iterator here{"/proc/self/fd"};
  return static_cast<std::size_t>(std::distance(begin(here), end(here)));
}

struct fixture {
  fixture() {
    char name[] = "/tmp/muster-spawn-XXXXXX";
    folder = ::mkdtemp(name);
  }

  ~fixture() {
    std::filesystem::remove_all(folder);
  }

  std::string write(const std::string& name, const std::string& text,
                    int mode) const {
    auto path = folder + "/" + name;
    std::ofstream{path} << text;
    std::filesystem::permissions(path,
                                 static_cast<std::filesystem::perms>(mode));
    return path;
  }

  std::string folder;
};

/// Everything in one of the lines of `/proc/self/status`.
std::string status_line(const std::string& name) {
  return said_by(shell("while read -r key value; do [ \"$key\" = " + name
                       + ": ] && echo $value >&3; done < /proc/self/status"));
}

} // namespace

CAF_TEST_FIXTURE_SCOPE(spawn_tests, fixture)

CAF_TEST(a child says that it is ready) {
  auto child = spawn(shell("echo ready >&3; exec 3>&-; exit 4"));
  CAF_REQUIRE(child);
  CAF_CHECK_EQUAL(said_by(*child), "ready\n");
  process_exit four{process_exit::manner::exited, 4};
  CAF_CHECK_EQUAL(*child->handle.reap_within(patience), four);
}

CAF_TEST(a child gets no descriptor but its own four) {
  // Neither of them closes on exec.
  descriptor leak{::open("/dev/null", O_RDONLY)};
  descriptor high{::fcntl(leak.get(), F_DUPFD, 200)};
  CAF_REQUIRE(leak && high);
  // The last is the one by which the folder is read.
  process_order list{"/bin/ls", {"/proc/self/fd"}, {},
                     "/",       folder + "/out",   0ms};
  auto child = spawn(list);
  CAF_REQUIRE(child);
  CAF_CHECK(!child->ready);
  CAF_CHECK(child->handle.reap_within(patience));
  std::ifstream in{folder + "/out"};
  std::string text{std::istreambuf_iterator<char>{in}, {}};
  CAF_CHECK_EQUAL(text, "0\n1\n2\n3\n");
  // The one by which the shell reads the folder is gone by then.
  CAF_CHECK_EQUAL(said_by(shell("for f in /proc/$$/fd/*; do"
                                " [ -e $f ] && echo ${f##*/} >&3; done")),
                  "0\n1\n2\n3\n");
}

CAF_TEST(a child gets its descriptors also where this process has none) {
  auto to_file = shell("echo ready >&3; echo out; echo err >&2");
  to_file.output = folder + "/out";
  descriptor given{
    ::open((folder + "/given").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600)};
  auto to_descriptor = to_file;
  to_descriptor.output = given.get();
  // In the place of the numbers that the child gets.
  descriptor kept[3];
  for (int i = 0; i < 3; ++i)
    kept[i] = descriptor{::fcntl(i, F_DUPFD_CLOEXEC, 100)};
  for (int i = 0; i < 3; ++i)
    ::close(i);
  auto first = said_by(to_file);
  auto second = said_by(to_descriptor);
  for (int i = 0; i < 3; ++i)
    if (kept[i])
      ::dup2(kept[i].get(), i);
  CAF_CHECK_EQUAL(first, "ready\n");
  CAF_CHECK_EQUAL(second, "ready\n");
  for (auto* name : {"/out", "/given"}) {
    std::ifstream in{folder + name};
    std::string text{std::istreambuf_iterator<char>{in}, {}};
    CAF_CHECK_EQUAL(text, "out\nerr\n");
  }
}

CAF_TEST(a child has no signal blocked) {
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  auto blocked = status_line("SigBlk");
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  CAF_CHECK_EQUAL(blocked, "0000000000000000\n");
}

CAF_TEST(a child ignores no signal) {
  auto before = ::signal(SIGUSR1, SIG_IGN);
  auto ignored = status_line("SigIgn");
  ::signal(SIGUSR1, before);
  // The C library keeps the first two of the real-time signals to itself.
  CAF_CHECK_EQUAL(std::stoull(ignored, nullptr, 16) & ~0x1'8000'0000ull, 0u);
}

CAF_TEST(a child is the first of its own session) {
  auto child = spawn(shell("read a b c d e f g < /proc/$$/stat;"
                           "echo $e $f >&3"));
  CAF_REQUIRE(child);
  auto pid = std::to_string(child->handle.who().pid);
  CAF_CHECK_EQUAL(said_by(*child), pid + " " + pid + "\n");
  CAF_CHECK(child->handle.reap_within(patience));
}

CAF_TEST(a child gets the environment and the folder that are chosen) {
  auto order = shell("pwd >&3; /usr/bin/env >&3; echo \"$0 $1\" >&3");
  order.environment = {"COLOUR=blue", "PWD="};
  order.arguments.insert(order.arguments.end(), {"a b", "*"});
  order.working_folder = folder;
  CAF_CHECK_EQUAL(said_by(order),
                  folder + "\nCOLOUR=blue\nPWD=" + folder + "\na b *\n");
}

CAF_TEST(what a child writes goes to its file behind what is there) {
  auto file = write("out", "before\n", 0600);
  auto order = shell("echo one; echo two >&2");
  order.output = file;
  CAF_CHECK_EQUAL(said_by(order), "");
  std::ifstream in{file};
  std::string text{std::istreambuf_iterator<char>{in}, {}};
  CAF_CHECK_EQUAL(text, "before\none\ntwo\n");
}

CAF_TEST(what a child writes goes to a descriptor) {
  int ends[2];
  CAF_REQUIRE_EQUAL(::pipe2(ends, O_CLOEXEC), 0);
  descriptor from{ends[0]}, to{ends[1]};
  auto order = shell("echo one; echo two >&2");
  order.output = to.get();
  CAF_CHECK_EQUAL(said_by(order), "");
  char bytes[64];
  auto size = ::read(from.get(), bytes, sizeof(bytes));
  CAF_CHECK_EQUAL((std::string{bytes, static_cast<std::size_t>(size)}),
                  "one\ntwo\n");
}

CAF_TEST(what cannot be started is refused with its cause) {
  auto refused = [&](process_order order, errc code, const std::string& text) {
    auto out = spawn(order);
    CAF_REQUIRE(!out);
    CAF_CHECK_EQUAL(out.error().code, code);
    CAF_CHECK_EQUAL(out.error().message, text);
  };
  auto start = [](const std::string& program) {
    process_order out;
    out.program = program;
    return out;
  };
  refused(start("/no/program"), errc::not_found,
          "cannot start '/no/program': No such file or directory");
  auto plain = write("plain", "#!/bin/sh\n", 0600);
  refused(start(plain), errc::not_allowed,
          "cannot start '" + plain + "': Permission denied");
  auto script = write("script", "#!/no/shell\n", 0700);
  refused(start(script), errc::not_found,
          "cannot start '" + script
            + "': what is to interpret it: No such file or directory");
  auto noise = write("noise", "\1\2\3", 0700);
  refused(start(noise), errc::invalid_argument,
          "cannot start '" + noise + "': Exec format error");
  auto order = start("/bin/true");
  order.working_folder = "/no/folder";
  refused(order, errc::not_found,
          "cannot start '/bin/true': its working folder '/no/folder': No such "
          "file or directory");
  order.working_folder = plain;
  refused(order, errc::not_found,
          "cannot start '/bin/true': its working folder '" + plain
            + "': Not a directory");
  order = start("/bin/true");
  order.output = "/no/folder/out";
  refused(order, errc::not_found,
          "cannot start '/bin/true': its output '/no/folder/out': No such file "
          "or directory");
  refused(start("true"), errc::invalid_argument,
          "cannot start 'true': the path of a program must be absolute");
  order = start("/bin/true");
  order.environment = {"=x"};
  refused(order, errc::invalid_argument,
          "cannot start '/bin/true': '=x' is not NAME=value");
  order = start("/bin/true");
  order.arguments = {std::string{"a\0b", 3}};
  refused(order, errc::invalid_argument,
          "cannot start '/bin/true': no path, argument or variable can contain "
          "a zero byte");
}

CAF_TEST(without descriptors nothing is started and nothing is left) {
  // All numbers below the limit are in use.
  std::vector<descriptor> full(1);
  while (full.back().get() < 40)
    full.emplace_back(::fcntl(0, F_DUPFD_CLOEXEC, 0));
  auto first_free = static_cast<rlim_t>(full.back().get()) + 1;
  auto before = open_descriptors();
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  // From none that is free up to all that a start takes: one of these fails
  // when the child runs already.
  int refusals = 0;
  bool started = false;
  for (rlim_t more = 0; !started && more < 64; ++more) {
    rlimit low{first_free + more, limit.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &low);
    auto child = spawn(shell("exec sleep 1000"));
    ::setrlimit(RLIMIT_NOFILE, &limit);
    started = child.has_value();
    if (started) {
      CAF_CHECK(child->handle.send(SIGKILL));
      CAF_CHECK(child->handle.reap_within(patience));
    } else {
      ++refusals;
      CAF_CHECK_EQUAL(child.error().code, errc::overloaded);
    }
  }
  CAF_CHECK(started);
  CAF_CHECK_GREATER_OR_EQUAL(refusals, 4);
  // No child is left.
  CAF_CHECK_EQUAL(::waitid(P_ALL, 0, nullptr, WEXITED | WNOHANG), -1);
  CAF_CHECK_EQUAL(errno, ECHILD);
  CAF_CHECK_EQUAL(open_descriptors(), before);
}

CAF_TEST(a thousand children leave no descriptor behind) {
  auto before = open_descriptors();
  auto order = shell("echo ready >&3");
  for (int i = 0; i < 1'000; ++i)
    if (auto said = said_by(order); said != "ready\n")
      CAF_FAIL(said);
  CAF_CHECK_EQUAL(open_descriptors(), before);
}

CAF_TEST_FIXTURE_SCOPE_END()
