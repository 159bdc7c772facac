// SPDX-License-Identifier: Apache-2.0

#define CAF_SUITE process.confinement

#include "actors/process/confinement.hpp"

#include "tests/support/real_child.hpp"
#include "tests/support/script_runner.hpp"
#include "tests/support/suite.hpp"

#include "actors/process/crash_handler.hpp"
#include "actors/process/descriptor.hpp"
#include "actors/process/landlock.hpp"

#include "messages/hash.hpp"
#include "messages/ids.hpp"
#include "messages/json.hpp"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/spdlog.h>

#include <condition_variable>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <mutex>
#include <thread>

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

using namespace muster;
using muster::test::real_child;
using muster::test::script_runner;

namespace {

/// How a child ended, and what it said before.
struct child_end {
  std::string said;
  int status = 0;
};

/// Runs `f` in a child of its own, which says what that gives.
child_end in_child(const std::function<std::string()>& f) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0)
    CAF_FAIL("no pipe");
  auto pid = ::fork();
  if (pid == 0) {
    std::string text;
    try {
      text = f();
    } catch (const std::exception& error) {
      text = error.what();
    }
    std::ignore = ::write(ends[1], text.data(), text.size());
    ::_exit(0);
  }
  ::close(ends[1]);
  descriptor from{ends[0]};
  child_end out;
  char bytes[4'096];
  for (;;) {
    pollfd end{from.get(), POLLIN, 0};
    if (::poll(&end, 1, 60'000) <= 0) {
      ::kill(pid, SIGKILL);
      out.said += "(nothing for too long)";
      break;
    }
    auto size = ::read(from.get(), bytes, sizeof(bytes));
    if (size <= 0)
      break;
    out.said.append(bytes, static_cast<std::size_t>(size));
  }
  ::waitpid(pid, &out.status, 0);
  return out;
}

/// What a system call gave: `ok`, or the name of its error.
std::string outcome(long result) {
  return result >= 0 ? "ok" : ::strerrorname_np(errno);
}

struct fixture {
  fixture() {
    char name[] = "/tmp/muster-confined-XXXXXX";
    folder = ::mkdtemp(name);
    how.socket_folder = folder + "/sockets";
    std::filesystem::create_directory(how.socket_folder);
    std::ofstream{folder + "/file"} << "text";
    std::ofstream{how.socket_folder + "/own"} << "";
  }

  ~fixture() {
    std::filesystem::remove_all(folder);
  }

  /// What `f` gives under both halves.
  std::string confined(const std::function<std::string()>& f) const {
    return in_child([&] {
             auto files = confine_files(how);
             if (!files)
               return files.error().message;
             auto calls = confine_calls(how, *files != "no landlock");
             return calls ? f() : calls.error().message;
           })
      .said;
  }

  /// What `f` gives under the first half alone.
  std::string half_confined(const std::function<std::string()>& f) const {
    return in_child([&] {
             auto files = confine_files(how);
             return files ? f() : files.error().message;
           })
      .said;
  }

  std::string folder;
  confinement how;
};

/// Asks for a new process as the C library does, but for its own bookkeeping.
long clone_of(unsigned long flags) {
  auto pid
    = ::syscall(SYS_clone, flags | SIGCHLD, nullptr, nullptr, nullptr, nullptr);
  if (pid == 0)
    ::_exit(0);
  return pid;
}

sockaddr_in loopback() {
  sockaddr_in out{};
  out.sin_family = AF_INET;
  out.sin_port = htons(9);
  out.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return out;
}

long connect_to_loopback(int socket) {
  auto address = loopback();
  return ::connect(socket, reinterpret_cast<const sockaddr*>(&address),
                   sizeof(address));
}

} // namespace

CAF_TEST_FIXTURE_SCOPE(confinement_tests, fixture)

CAF_TEST(the kernel says what it gave) {
  auto version = landlock_version();
  CAF_MESSAGE("landlock " << version);
  auto said = in_child([&] {
    auto files = confine_files(how);
    auto calls = confine_calls(how, true);
    return files.value() + ", " + calls.value();
  });
  CAF_CHECK_EQUAL(said.said, version > 0 ? "landlock " + std::to_string(version)
                                             + ", seccomp"
                                         : "no landlock, seccomp");
}

CAF_TEST(a confined process starts no program) {
  auto end = in_child([&] {
    if (!confine_files(how) || !confine_calls(how, true))
      return "not confined";
    ::execl("/bin/true", "true", nullptr);
    return ::strerrorname_np(errno);
  });
  CAF_CHECK_EQUAL(end.said, "");
  CAF_CHECK(WIFSIGNALED(end.status) && WTERMSIG(end.status) == SIGSYS);
  // Landlock alone refuses it, too.
  CAF_CHECK_EQUAL(half_confined([] {
                    return outcome(::execl("/bin/true", "true", nullptr));
                  }),
                  "EACCES");
}

CAF_TEST(a confined process makes neither process nor thread) {
  CAF_CHECK_EQUAL(confined([] { return outcome(::fork()); }), "EPERM");
  CAF_CHECK_EQUAL(confined([] { return outcome(clone_of(0)); }), "EPERM");
  CAF_CHECK_EQUAL(confined([] { return outcome(clone_of(CLONE_VFORK)); }),
                  "EPERM");
  CAF_CHECK_EQUAL(
    confined([] { return outcome(::syscall(SYS_clone3, nullptr, 0)); }),
    "EPERM");
  CAF_CHECK_EQUAL(confined([] {
                    std::thread{[] {}}.detach();
                    return std::string{"ok"};
                  }),
                  "Operation not permitted");
}

CAF_TEST(a confined process gets no new socket and connects none) {
  for (auto family : {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_ALG})
    CAF_CHECK_EQUAL(
      confined([=] { return outcome(::socket(family, SOCK_STREAM, 0)); }),
      "EPERM");
  CAF_CHECK_EQUAL(confined([] {
                    int ends[2];
                    return outcome(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
                  }),
                  "EPERM");
  // Nor one that it has already.
  descriptor tcp{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  auto attempt = [&] { return outcome(connect_to_loopback(tcp.get())); };
  CAF_CHECK_EQUAL(confined(attempt), "EPERM");
  if (landlock_version() >= 4)
    CAF_CHECK_EQUAL(half_confined(attempt), "EACCES");
  CAF_CHECK_EQUAL(in_child(attempt).said, "ECONNREFUSED");
}

CAF_TEST(a confined process accepts on its own socket only) {
  descriptor own{::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0)};
  sockaddr_un name{};
  descriptor other{::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0)};
  name.sun_family = AF_UNIX;
  for (auto* socket : {&own, &other}) {
    std::snprintf(name.sun_path, sizeof(name.sun_path), "%s/%d", folder.c_str(),
                  socket->get());
    CAF_REQUIRE_EQUAL(::bind(socket->get(),
                             reinterpret_cast<const sockaddr*>(&name),
                             sizeof(name)),
                      0);
    CAF_REQUIRE_EQUAL(::listen(socket->get(), 1), 0);
  }
  how.listener = own.get();
  for (auto& [socket, wanted] :
       {std::pair{&own, "EAGAIN"}, std::pair{&other, "EPERM"}})
    CAF_CHECK_EQUAL(confined([&, socket = socket] {
                      return outcome(
                        ::accept4(socket->get(), nullptr, nullptr, 0));
                    }),
                    wanted);
}

CAF_TEST(a confined process opens and changes no file) {
  for (auto flags : {O_RDONLY, O_WRONLY, O_WRONLY | O_TRUNC, O_RDWR | O_CREAT,
                     O_RDONLY | O_DIRECTORY})
    CAF_CHECK_EQUAL(
      confined([=] { return outcome(::open("/etc/passwd", flags, 0600)); }),
      "EPERM");
  auto file = folder + "/file";
  CAF_CHECK_EQUAL(
    confined([&] { return outcome(::truncate(file.c_str(), 0)); }), "EPERM");
  CAF_CHECK_EQUAL(
    confined([&] { return outcome(::chmod(file.c_str(), 0777)); }), "EPERM");
  CAF_CHECK_EQUAL(
    confined([&] { return outcome(::rename(file.c_str(), "/tmp/elsewhere")); }),
    "EPERM");
  // Landlock alone.
  CAF_REQUIRE_GREATER_OR_EQUAL(landlock_version(), 3);
  CAF_CHECK_EQUAL(
    half_confined([] { return outcome(::open("/etc/passwd", O_RDONLY)); }),
    "EACCES");
  CAF_CHECK_EQUAL(
    half_confined([&] { return outcome(::truncate(file.c_str(), 0)); }),
    "EACCES");
  CAF_CHECK_EQUAL(std::filesystem::file_size(file), 4u);
}

CAF_TEST(a confined process takes away what is in the folder of its socket) {
  CAF_CHECK_EQUAL(
    confined([&] { return outcome(::unlink((folder + "/file").c_str())); }),
    "EACCES");
  auto own = how.socket_folder + "/own";
  CAF_CHECK_EQUAL(confined([&] { return outcome(::unlink(own.c_str())); }),
                  "ok");
  CAF_CHECK(!std::filesystem::exists(own));
  // Without Landlock nobody would say which one.
  CAF_CHECK_EQUAL(in_child([&] {
                    if (!confine_calls(how, false))
                      return std::string{"not confined"};
                    return outcome(::unlink((folder + "/file").c_str()));
                  }).said,
                  "EPERM");
}

CAF_TEST(a confined process reaches no other process) {
  real_child victim;
  auto pid = victim.pid();
  // Without Landlock, which would refuse the same.
  auto filtered = [this](const std::function<std::string()>& f) {
    return in_child([&] {
             auto calls = confine_calls(how, false);
             return calls ? f() : calls.error().message;
           })
      .said;
  };
  CAF_CHECK_EQUAL(filtered([=] { return outcome(::kill(pid, SIGTERM)); }),
                  "EPERM");
  CAF_CHECK_EQUAL(
    filtered([=] { return outcome(::syscall(SYS_tgkill, pid, pid, SIGTERM)); }),
    "EPERM");
  CAF_CHECK_EQUAL(
    filtered(
      [=] { return outcome(::ptrace(PTRACE_ATTACH, pid, nullptr, nullptr)); }),
    "EPERM");
  CAF_CHECK_EQUAL(filtered([=] {
                    return outcome(::syscall(SYS_process_vm_readv, pid, nullptr,
                                             0, nullptr, 0, 0));
                  }),
                  "EPERM");
  if (landlock_version() >= 6)
    CAF_CHECK_EQUAL(
      half_confined([=] { return outcome(::kill(pid, SIGTERM)); }), "EPERM");
  // It has heard none of them.
  victim.call_itself("unharmed");
}

CAF_TEST(a confined process gets no more rights nor makes memory code) {
  CAF_CHECK_EQUAL(
    confined([] { return outcome(::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)); }),
    "EPERM");
  CAF_CHECK_EQUAL(confined([] {
                    auto* page = ::mmap(nullptr, 4'096, PROT_READ | PROT_EXEC,
                                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
                    return outcome(page == MAP_FAILED ? -1 : 0);
                  }),
                  "EPERM");
  CAF_CHECK_EQUAL(confined([] {
                    auto* page = ::mmap(nullptr, 4'096, PROT_READ | PROT_WRITE,
                                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
                    return outcome(
                      ::mprotect(page, 4'096, PROT_READ | PROT_EXEC));
                  }),
                  "EPERM");
  CAF_CHECK_EQUAL(
    half_confined(
      [] { return std::to_string(::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)); }),
    "1");
  CAF_CHECK_EQUAL(half_confined([] {
                    rlimit limit{};
                    ::getrlimit(RLIMIT_CORE, &limit);
                    return std::to_string(limit.rlim_max);
                  }),
                  "0");
}

CAF_TEST(threads that are there are confined as well) {
  CAF_CHECK_EQUAL(in_child([&]() -> std::string {
                    std::mutex mutex;
                    std::condition_variable turn;
                    bool go = false, done = false;
                    std::string said;
                    std::thread other{[&] {
                      std::unique_lock guard{mutex};
                      turn.wait(guard, [&] { return go; });
                      said = outcome(::open("/etc/passwd", O_RDONLY));
                      done = true;
                      turn.notify_all();
                    }};
                    if (!confine_calls(how, false))
                      return "not confined";
                    std::unique_lock guard{mutex};
                    go = true;
                    turn.notify_all();
                    turn.wait(guard, [&] { return done; });
                    guard.unlock();
                    other.join();
                    return said;
                  }).said,
                  "EPERM");
}

#ifndef __SANITIZE_ADDRESS__
CAF_TEST(a lack of memory is an exception and no death) {
  how.max_memory_bytes = 256 << 20;
  CAF_CHECK_EQUAL(confined([] {
                    std::vector<std::string> all;
                    try {
                      for (int i = 0; i < 1'000; ++i)
                        all.emplace_back(std::size_t{1} << 20, 'x');
                    } catch (const std::bad_alloc&) {
                      auto count = all.size();
                      all.clear();
                      return std::string{count > 100 && count < 256
                                           ? "bad_alloc"
                                           : "an odd limit"};
                    }
                    return std::string{"no limit"};
                  }),
                  "bad_alloc");
}
#endif

CAF_TEST(scripts and JSON and the log work under confinement) {
  auto log_file = folder + "/log";
  auto said = in_child([&]() -> std::string {
    auto sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(log_file);
    spdlog::logger log{"test", sink};
    log.info("before");
    std::ignore = sha256("");
    if (!confine_files(how) || !confine_calls(how, true))
      return "not confined";
    script_runner runner;
    auto past = runner.run(
      "local ok, e = pcall(error, 'x') "
      "local n = 0 for w in ('a b c'):gmatch('%a') do n = n + 1 end "
      "local t = {} for i = 1, 1000 do t[i] = ('y'):rep(i) end "
      "table.sort(t) "
      "return alc.json_decode('[1.5]')[1] + n + #t[1000]"
      " + (os.time() > 1 and 1 or 0) + math.floor(2.5)");
    log.info("after");
    log.flush();
    return past.error().empty() ? json::parse(past.result()).dump()
                                : past.error();
  });
  CAF_CHECK_EQUAL(said.said, "1007.5");
  std::ifstream in{log_file};
  std::string text{std::istreambuf_iterator<char>{in}, {}};
  CAF_CHECK_NOT_EQUAL(text.find("before"), std::string::npos);
  CAF_CHECK_NOT_EQUAL(text.find("after"), std::string::npos);
}

CAF_TEST(a crash under confinement leaves its note where it can) {
  auto notes = folder + "/notes";
  auto session = make_session_id(1, {2, 3});
  auto end = in_child([&]() -> std::string {
    auto file = ::open(notes.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    note_crashes_to(file);
    if (!confine_files(how) || !confine_calls(how, true))
      return "not confined";
    running_script here{session, 3};
    ::raise(SIGSEGV);
    return "alive";
  });
  CAF_CHECK_EQUAL(end.said, "");
  CAF_CHECK(WIFSIGNALED(end.status) && WTERMSIG(end.status) == SIGSEGV);
  std::ifstream in{notes};
  std::string text{std::istreambuf_iterator<char>{in}, {}};
  crash_notes read{text};
  CAF_CHECK_EQUAL(read.deaths(session, 3), 1u);
  CAF_CHECK_EQUAL(read.signal(session), SIGSEGV);
}

CAF_TEST(rules for paths allow what they say and nothing beside) {
  namespace fs = std::filesystem;
  for (auto* name : {"/in", "/in/deep", "/out"})
    fs::create_directory(folder + name);
  for (auto* name : {"/in/a", "/in/deep/a", "/out/a"})
    std::ofstream{folder + name} << "text";
  auto under
    = [&](std::vector<path_rule> rules, const std::function<std::string()>& f) {
        return in_child([&] {
                 auto done = restrict_thread({std::move(rules)});
                 return done ? f() : done.error().message;
               })
          .said;
      };
  auto open_of = [&](const std::string& name, int flags) {
    return [=, this] {
      return outcome(::open((folder + name).c_str(), flags, 0600));
    };
  };
  path_rule reads{folder + "/in", path_rights::read};
  path_rule writes{folder + "/in", path_rights::read | path_rights::write};
  path_rule one{folder + "/in/a", path_rights::read | path_rights::write};
  CAF_CHECK_EQUAL(under({reads}, open_of("/in/deep/a", O_RDONLY)), "ok");
  CAF_CHECK_EQUAL(under({reads}, open_of("/in/a", O_WRONLY)), "EACCES");
  CAF_CHECK_EQUAL(under({reads}, open_of("/in/a", O_RDONLY | O_TRUNC)),
                  "EACCES");
  CAF_CHECK_EQUAL(under({reads}, open_of("/out/a", O_RDONLY)), "EACCES");
  CAF_CHECK_EQUAL(
    under({reads},
          [] { return outcome(::execl("/bin/true", "true", nullptr)); }),
    "EACCES");
  // Whatever its path has become since: only a program is opened up as one.
  auto begins = path_rights::read_file | path_rights::execute;
  path_rule program{folder + "/in/a", begins, path_kind::program};
  CAF_CHECK_EQUAL(under({program}, open_of("/in/a", O_RDONLY)), "EACCES");
  ::chmod((folder + "/in/a").c_str(), 0700);
  CAF_CHECK_EQUAL(under({program}, open_of("/in/a", O_RDONLY)), "ok");
  ::chmod((folder + "/in/a").c_str(), 0600);
  program.path = folder + "/in";
  CAF_CHECK_EQUAL(under({program}, open_of("/in/a", O_RDONLY)), "EACCES");
  program.path = folder + "/none";
  CAF_CHECK_EQUAL(under({program}, open_of("/in/a", O_RDONLY)), "EACCES");
  CAF_CHECK_EQUAL(under({writes}, open_of("/in/deep/new", O_RDWR | O_CREAT)),
                  "ok");
  CAF_CHECK_EQUAL(under({writes}, open_of("/in/a", O_RDWR | O_TRUNC)), "ok");
  CAF_CHECK_EQUAL(under({writes},
                        [&] {
                          return outcome(
                            ::rename((folder + "/in/a").c_str(),
                                     (folder + "/in/deep/b").c_str()));
                        }),
                  "ok");
  CAF_CHECK_EQUAL(under({writes},
                        [&] {
                          return outcome(
                            ::rename((folder + "/in/deep/b").c_str(),
                                     (folder + "/out/b").c_str()));
                        }),
                  "EACCES");
  std::ofstream{folder + "/in/a"} << "text";
  CAF_CHECK_EQUAL(under({one}, open_of("/in/a", O_RDWR)), "ok");
  CAF_CHECK_EQUAL(under({one}, open_of("/in/deep/a", O_RDONLY)), "EACCES");
  CAF_CHECK_EQUAL(under({{folder + "/none", path_rights::read}},
                        [] { return std::string{"ok"}; }),
                  "cannot confine the process: '" + folder
                    + "/none': No such file or directory");
}

CAF_TEST(what is allowed beside paths is allowed) {
  real_child victim;
  descriptor tcp{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  for (auto allowed : {false, true}) {
    auto said = in_child([&] {
      landlock_order order;
      order.allows_network = order.allows_outside = allowed;
      if (!restrict_thread(order))
        return std::string{"not restricted"};
      return outcome(connect_to_loopback(tcp.get())) + " "
             + outcome(::kill(victim.pid(), 0));
    });
    CAF_REQUIRE_GREATER_OR_EQUAL(landlock_version(), 6);
    CAF_CHECK_EQUAL(said.said, allowed ? "ECONNREFUSED ok" : "EACCES EPERM");
  }
}

CAF_TEST_FIXTURE_SCOPE_END()
