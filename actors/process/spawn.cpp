// SPDX-License-Identifier: Apache-2.0

#include "actors/process/spawn.hpp"

#include "actors/process/system_call.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>

namespace muster {

namespace {

/// Above all that the child gets a number for, so that none is in the way.
constexpr int first_free_descriptor = 10;

errc code_of(int error) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return errc::not_found;
    case EACCES:
    case EPERM:
    case ETXTBSY:
      return errc::not_allowed;
    case EAGAIN:
    case ENOMEM:
    case EMFILE:
    case ENFILE:
      return errc::overloaded;
    default:
      return errc::invalid_argument;
  }
}

tl::unexpected<failure> cannot_start(const process_order& order, int error,
                                     std::string_view what) {
  return fail(code_of(error),
              fmt::format("cannot start '{}': {}{}{}", order.program, what,
                          what.empty() ? "" : ": ", std::strerror(error)));
}

/// Attributes and file actions of a spawn. Their setters fail for a lack of
/// memory alone, and the spawn itself does then, too.
struct spawn_plan {
  spawn_plan() {
    ::posix_spawnattr_init(&attributes);
    ::posix_spawn_file_actions_init(&actions);
  }

  ~spawn_plan() {
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
  }

  spawn_plan(const spawn_plan&) = delete;

  spawn_plan& operator=(const spawn_plan&) = delete;

  posix_spawnattr_t attributes;
  posix_spawn_file_actions_t actions;
};

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> out;
  for (auto& string : strings)
    out.push_back(const_cast<char*>(string.c_str()));
  out.push_back(nullptr);
  return out;
}

/// Refuses what the system would cut short or misread.
expected<void> check(const process_order& order) {
  auto wrong = [&](std::string_view why) {
    return fail(errc::invalid_argument,
                fmt::format("cannot start '{}': {}", order.program, why));
  };
  auto has_nul
    = [](const std::string& x) { return x.find('\0') != std::string::npos; };
  if (!order.program.starts_with('/'))
    return wrong("the path of a program must be absolute");
  if (!order.working_folder.starts_with('/'))
    return wrong("the path of its working folder must be absolute");
  if (has_nul(order.program) || has_nul(order.working_folder)
      || std::any_of(order.arguments.begin(), order.arguments.end(), has_nul)
      || std::any_of(order.environment.begin(), order.environment.end(),
                     has_nul))
    return wrong("no path, argument or variable can contain a zero byte");
  for (auto& variable : order.environment)
    if (auto sign = variable.find('='); sign == 0 || sign == std::string::npos)
      return wrong(fmt::format("'{}' is not NAME=value", variable));
  return {};
}

/// A descriptor for both outputs, none of the numbers that the child gets.
expected<descriptor> open_output(const process_order& order) {
  if (const auto* given = std::get_if<int>(&order.output)) {
    descriptor out{::fcntl(*given, F_DUPFD_CLOEXEC, first_free_descriptor)};
    if (!out)
      return cannot_start(order, errno, "its output");
    return out;
  }
  const auto* file = std::get_if<std::string>(&order.output);
  std::string path = file != nullptr ? *file : "/dev/null";
  descriptor opened{uninterrupted([&] {
    return ::open(path.c_str(),
                  O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
  })};
  descriptor out{
    opened ? ::fcntl(opened.get(), F_DUPFD_CLOEXEC, first_free_descriptor)
           : -1};
  if (!out)
    return cannot_start(order, errno, fmt::format("its output '{}'", path));
  return out;
}

struct ready_pipe {
  descriptor ours;
  descriptor childs;
};

expected<ready_pipe> open_ready_pipe(const process_order& order) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0)
    return cannot_start(order, errno, "its pipe");
  ready_pipe out{descriptor{ends[0]}, {}};
  descriptor childs{ends[1]};
  out.childs
    = descriptor{::fcntl(childs.get(), F_DUPFD_CLOEXEC, first_free_descriptor)};
  if (!out.childs || ::fcntl(ends[0], F_SETFL, O_NONBLOCK) != 0)
    return cannot_start(order, errno, "its pipe");
  return out;
}

/// Why the system did not start it. One number may mean the program, what the
/// first line of a script names, or the folder.
tl::unexpected<failure> explain(const process_order& order, int error) {
  struct stat info {};
  if (::stat(order.working_folder.c_str(), &info) != 0)
    return cannot_start(
      order, errno,
      fmt::format("its working folder '{}'", order.working_folder));
  if (!S_ISDIR(info.st_mode))
    return cannot_start(
      order, ENOTDIR,
      fmt::format("its working folder '{}'", order.working_folder));
  if (error == ENOENT && ::stat(order.program.c_str(), &info) == 0)
    return cannot_start(order, error, "what is to interpret it");
  return cannot_start(order, error, "");
}

expected<pid_t> start(const process_order& order, int output, int ready) {
  spawn_plan plan;
  sigset_t signals;
  ::sigemptyset(&signals);
  ::posix_spawnattr_setsigmask(&plan.attributes, &signals);
  // What is ignored would stay ignored in the new program.
  ::sigfillset(&signals);
  ::posix_spawnattr_setsigdefault(&plan.attributes, &signals);
  ::posix_spawnattr_setflags(&plan.attributes, POSIX_SPAWN_SETSID
                                                 | POSIX_SPAWN_SETSIGMASK
                                                 | POSIX_SPAWN_SETSIGDEF);
  auto* actions = &plan.actions;
  ::posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(actions, output, 1);
  ::posix_spawn_file_actions_adddup2(actions, output, 2);
  if (ready >= 0)
    ::posix_spawn_file_actions_adddup2(actions, ready, ready_descriptor);
  // Libraries, too, open files, and not all of them close on exec.
  ::posix_spawn_file_actions_addclosefrom_np(
    actions, ready >= 0 ? ready_descriptor + 1 : ready_descriptor);
  ::posix_spawn_file_actions_addchdir_np(actions, order.working_folder.c_str());
  std::vector<std::string> words{order.program};
  words.insert(words.end(), order.arguments.begin(), order.arguments.end());
  pid_t pid = 0;
  if (auto error = ::posix_spawn(&pid, order.program.c_str(), actions,
                                 &plan.attributes, pointers(words).data(),
                                 pointers(order.environment).data());
      error != 0)
    return explain(order, error);
  return pid;
}

} // namespace

expected<started_process> spawn(const process_order& order) {
  if (auto fine = check(order); !fine)
    return tl::unexpected<failure>{fine.error()};
  auto output = open_output(order);
  if (!output)
    return tl::unexpected<failure>{output.error()};
  ready_pipe pipe;
  if (order.ready_within.count() > 0) {
    auto opened = open_ready_pipe(order);
    if (!opened)
      return tl::unexpected<failure>{opened.error()};
    pipe = std::move(*opened);
  }
  auto pid = start(order, output->get(), pipe.childs.get());
  if (!pid)
    return tl::unexpected<failure>{pid.error()};
  auto handle = process_handle::hold_child(*pid);
  if (!handle) {
    // Nobody else reaps it, so the pid is its own until this is done.
    ::kill(*pid, SIGKILL);
    uninterrupted([&] { return ::waitpid(*pid, nullptr, 0); });
    return tl::unexpected<failure>{handle.error()};
  }
  return started_process{std::move(*handle), std::move(pipe.ours)};
}

} // namespace muster
