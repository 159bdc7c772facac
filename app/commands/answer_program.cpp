// SPDX-License-Identifier: Apache-2.0

#include "app/commands/answer_program.hpp"

#include "app/commands/command.hpp"

#include "messages/json.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

namespace muster {

namespace {

/// What the kernel takes as one variable of the environment, with room to
/// spare. A longer prompt is on standard input only.
constexpr std::size_t max_variable = 100'000;

/// What a program may answer; the node has its own limit, which is lower.
constexpr std::size_t max_answer = 256ull << 20;

tl::unexpected<failure> cannot_run(const std::string& command,
                                   std::string_view why) {
  return fail(errc::program_failed,
              fmt::format("the answer program '{}' {}", command, why));
}

/// Both ends of a pipe, closed in the end.
class pipe_ends {
public:
  pipe_ends() {
    if (::pipe2(ends_, O_CLOEXEC) != 0)
      ends_[0] = ends_[1] = -1;
  }

  ~pipe_ends() {
    close(0);
    close(1);
  }

  pipe_ends(const pipe_ends&) = delete;

  pipe_ends& operator=(const pipe_ends&) = delete;

  [[nodiscard]] bool is_open() const {
    return ends_[0] >= 0;
  }

  [[nodiscard]] int reading() const {
    return ends_[0];
  }

  [[nodiscard]] int writing() const {
    return ends_[1];
  }

  void close(int end) {
    if (ends_[end] >= 0)
      ::close(ends_[end]);
    ends_[end] = -1;
  }

private:
  int ends_[2];
};

std::string describe_query(const std::string& session_id, const query& q) {
  json out{{"session_id", session_id},
           {"id", q.id},
           {"prompt", q.prompt},
           {"system", q.system ? json(*q.system) : json(nullptr)},
           {"max_tokens", q.max_tokens},
           {"grounded", q.grounded},
           {"underspecified", q.underspecified}};
  auto text = out.dump();
  for (auto* field : {"prompt", "system"})
    if (text.size() > max_variable) {
      out.erase(field);
      text = out.dump();
    }
  return text;
}

/// The environment with one variable more.
std::vector<std::string> environment_with(const std::string& variable) {
  std::vector<std::string> out;
  auto name = variable.substr(0, variable.find('=') + 1);
  for (auto** entry = environ; *entry != nullptr; ++entry)
    if (!std::string_view{*entry}.starts_with(name))
      out.emplace_back(*entry);
  out.push_back(variable);
  return out;
}

/// Starts the program with its ends of the pipes; signals are as a program
/// expects them.
int start(const std::string& command, const std::string& variable,
          const pipe_ends& in, const pipe_ends& out, pid_t& pid) {
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_adddup2(&files, in.reading(), STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&files, out.writing(), STDOUT_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  sigset_t usual;
  sigemptyset(&usual);
  sigaddset(&usual, SIGPIPE);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &usual);
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  auto text = command;
  char shell[] = "/bin/sh";
  char option[] = "-c";
  char* arguments[] = {shell, option, text.data(), nullptr};
  auto variables = environment_with(variable);
  std::vector<char*> pointers;
  for (auto& x : variables)
    pointers.push_back(x.data());
  pointers.push_back(nullptr);
  auto result = ::posix_spawn(&pid, shell, &files, &attributes, arguments,
                              pointers.data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  return result;
}

/// Writes the prompt and reads the answer, whichever is possible: a program may
/// do both at once, or not read at all.
std::string converse(std::string_view prompt, pipe_ends& in, pipe_ends& out) {
  ::fcntl(in.writing(), F_SETFL, O_NONBLOCK);
  std::string answer;
  char buffer[64 * 1024];
  for (;;) {
    if (prompt.empty())
      in.close(1);
    pollfd both[] = {{out.reading(), POLLIN, 0}, {in.writing(), POLLOUT, 0}};
    if (::poll(both, 2, -1) < 0 && errno != EINTR)
      return answer;
    if (in.writing() >= 0 && (both[1].revents & (POLLOUT | POLLERR)) != 0) {
      auto n = ::write(in.writing(), prompt.data(), prompt.size());
      if (n >= 0)
        prompt.remove_prefix(static_cast<std::size_t>(n));
      else if (errno != EAGAIN && errno != EINTR)
        prompt = {}; // it does not read on, which is its own affair
    }
    if ((both[0].revents & (POLLIN | POLLHUP | POLLERR)) == 0)
      continue;
    auto n = ::read(out.reading(), buffer, sizeof(buffer));
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0 || answer.size() > max_answer)
      return answer;
    answer.append(buffer, static_cast<std::size_t>(n));
  }
}

} // namespace

expected<std::string> answer_with_program(const std::string& command,
                                          const std::string& session_id,
                                          const query& q) {
  pipe_ends in;
  pipe_ends out;
  if (!in.is_open() || !out.is_open())
    return cannot_run(command, std::strerror(errno));
  pid_t pid = 0;
  auto variable = "MUSTER_QUERY=" + describe_query(session_id, q);
  if (auto code = start(command, variable, in, out, pid); code != 0)
    return cannot_run(command,
                      fmt::format("cannot be run: {}", std::strerror(code)));
  in.close(0);
  out.close(1);
  auto old = ::signal(SIGPIPE, SIG_IGN);
  auto answer = converse(q.prompt, in, out);
  in.close(1);
  out.close(0);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    // nop
  }
  ::signal(SIGPIPE, old);
  if (WIFSIGNALED(status))
    return cannot_run(command,
                      fmt::format("was ended by signal {}", WTERMSIG(status)));
  if (WEXITSTATUS(status) != 0)
    return cannot_run(command,
                      fmt::format("exited with {}", WEXITSTATUS(status)));
  return without_newline(std::move(answer));
}

} // namespace muster
