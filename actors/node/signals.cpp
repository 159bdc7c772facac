// SPDX-License-Identifier: Apache-2.0

#include "actors/node/signals.hpp"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

namespace muster {

namespace {

sigset_t heard() {
  sigset_t set;
  sigemptyset(&set);
  for (auto number : {SIGTERM, SIGINT, SIGHUP})
    sigaddset(&set, number);
  return set;
}

bool has_terminal() {
  auto terminal = ::open("/dev/tty", O_RDONLY | O_NOCTTY | O_CLOEXEC);
  if (terminal >= 0)
    ::close(terminal);
  return terminal >= 0;
}

bool had_terminal = false;

} // namespace

void terminal_watch::prepare() {
  had_terminal = has_terminal();
}

bool terminal_watch::is_lost() {
  return had_terminal && !has_terminal();
}

void signal_thread::prepare() {
  terminal_watch::prepare();
  auto set = heard();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  struct sigaction ignore {};
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &ignore, nullptr);
  sigaction(SIGXFSZ, &ignore, nullptr);
}

signal_thread::signal_thread(std::function<void(int)> hear)
  : thread_([this, hear = std::move(hear)] {
      auto set = heard();
      int number = 0;
      while (sigwait(&set, &number) == 0 && !done_)
        hear(number);
    }) {
  // nop
}

signal_thread::~signal_thread() {
  done_ = true;
  pthread_kill(thread_.native_handle(), SIGHUP);
  thread_.join();
}

} // namespace muster
