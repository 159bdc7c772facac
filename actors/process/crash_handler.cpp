// SPDX-License-Identifier: Apache-2.0

#include "actors/process/crash_handler.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <climits>
#include <memory>

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

namespace muster {

namespace {

constexpr int crashes[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

/// The script that this thread runs, if any.
thread_local const running_script* here = nullptr;

// The handler can rely on nothing that could be gone when the process dies.
char file_path[PATH_MAX];
int open_file = -1;
struct sigaction before[std::size(crashes)];

/// A stack for the handler, as the thread's own may be used up.
class handler_stack {
public:
  handler_stack() {
    stack_t known{};
    if (::sigaltstack(nullptr, &known) != 0
        || (known.ss_flags & SS_DISABLE) == 0)
      return;
    bytes_ = std::make_unique<char[]>(size);
    stack_t mine{};
    mine.ss_sp = bytes_.get();
    mine.ss_size = size;
    ::sigaltstack(&mine, nullptr);
  }

  ~handler_stack() {
    if (!bytes_)
      return;
    stack_t none{};
    none.ss_flags = SS_DISABLE;
    ::sigaltstack(&none, nullptr);
  }

  handler_stack(const handler_stack&) = delete;

  handler_stack& operator=(const handler_stack&) = delete;

private:
  static constexpr std::size_t size = 64ull << 10;

  std::unique_ptr<char[]> bytes_;
};

/// Only calls what POSIX allows in a signal handler.
void on_crash(int number) {
  crash_line line;
  if (auto size = running_script::write_line(line, number); size > 0) {
    auto file
      = open_file >= 0
          ? open_file
          : ::open(file_path,
                   O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW,
                   0600);
    if (file >= 0) {
      // Nobody is left who could be told of an error.
      std::ignore = ::write(file, line.data(), size);
      ::close(file);
    }
  }
  // It is blocked until this returns, and kills the process then.
  auto i = std::find(std::begin(crashes), std::end(crashes), number);
  ::sigaction(number, &before[i - std::begin(crashes)], nullptr);
  ::raise(number);
}

void hear_crashes() {
  struct sigaction action {};
  action.sa_handler = on_crash;
  action.sa_flags = SA_ONSTACK;
  for (std::size_t i = 0; i < std::size(crashes); ++i)
    ::sigaction(crashes[i], &action, &before[i]);
}

} // namespace

running_script::running_script(const std::string& session_id,
                               std::uint64_t pauses)
  : before_(here), session_id_(session_id), pauses_(pauses) {
  thread_local handler_stack stack;
  std::ignore = &stack;
  here = this;
}

running_script::~running_script() {
  here = before_;
}

std::size_t running_script::write_line(crash_line& to, int signal) noexcept {
  return here == nullptr
           ? 0
           : write_crash_line(to, here->session_id_, here->pauses_, signal);
}

expected<void> note_crashes(const std::string& path) {
  if (path.size() >= sizeof(file_path))
    return fail(errc::invalid_argument,
                fmt::format("the path '{}' is too long", path));
  std::copy_n(path.c_str(), path.size() + 1, file_path);
  hear_crashes();
  return {};
}

void note_crashes_to(int file) {
  open_file = file;
  hear_crashes();
}

} // namespace muster
