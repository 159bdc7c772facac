// SPDX-License-Identifier: Apache-2.0

#include "app/commands/command.hpp"
#include "app/output/log.hpp"
#include "app/settings/configuration.hpp"
#include "app/settings/option_table.hpp"

#include "actors/node/run_node.hpp"
#include "actors/node/signals.hpp"
#include "actors/remote/socket.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <functional>

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace muster {

namespace {

struct node_options {
  std::optional<std::string> host;
  std::optional<std::string> port;
  bool restart = false;
  std::vector<std::pair<std::string, std::string>> settings;
};

void print_ready(const console& out, const node_address& address) {
  if (out.is_json())
    out.print({{"event", "ready"},
               {"host", address.host},
               {"port", address.port},
               {"pid", ::getpid()},
               {"state_dir", address.state_directory}});
  else
    out.line(fmt::format("muster is ready on {}, state in {}",
                         show_address(address.host, address.port),
                         address.state_directory));
}

/// Runs a node to its end.
/// @param restart does what SIGHUP asks for, once the node has stopped.
int run(const command_context& context, const node_options& options,
        const std::function<int()>& restart) {
  auto out = context.out();
  auto given = options.settings;
  if (options.host)
    given.emplace_back("node.host", *options.host);
  if (options.port)
    given.emplace_back("node.port", *options.port);
  auto config
    = configure(context.state_directory(), context.globals.config_file, given);
  if (!config)
    return out.error(config.error());
  auto& settings = config->settings;
  settings.insecure_loopback = context.globals.node.insecure_loopback;
  if (settings.insecure_loopback && settings.gate.host != "127.0.0.1")
    return out.error({errc::invalid_argument,
                      fmt::format("--insecure-loopback listens on 127.0.0.1 "
                                  "only, not on '{}'",
                                  settings.gate.host)});
  set_up_log();
  auto result = run_node(
    settings, [&](const node_address& address) { print_ready(out, address); });
  if (!result)
    return out.error(result.error());
  return *result == node_end::restart ? restart() : 0;
}

/// Becomes a new node in the same process.
int run_again(const command_context& context) {
  ::execv("/proc/self/exe", context.arguments);
  return context.out().error(
    {errc::internal,
     fmt::format("cannot start the node again: {}", std::strerror(errno))});
}

// -- restarting ---------------------------------------------------------------

/// What the watcher waits for. Blocked all the time, so that none of it falls
/// between two looks.
sigset_t heard_by_watcher() {
  sigset_t set;
  sigemptyset(&set);
  for (auto number : {SIGTERM, SIGINT, SIGHUP, SIGCHLD})
    sigaddset(&set, number);
  return set;
}

/// How a node ended.
struct node_end {
  int status = 0;
  /// The signal that told it to; 0 if nobody did.
  int told = 0;
};

/// Passes signals on to the node until it has ended.
node_end watch(pid_t pid) {
  auto set = heard_by_watcher();
  node_end result;
  while (::waitpid(pid, &result.status, WNOHANG) != pid) {
    int number = 0;
    sigwait(&set, &number);
    if (number == SIGCHLD)
      continue;
    result.told = number;
    ::kill(pid, number);
  }
  return result;
}

/// Waits before the next start.
/// @returns whether there shall be none.
bool is_stopped_within(std::chrono::milliseconds pause) {
  auto set = heard_by_watcher();
  auto end = std::chrono::steady_clock::now() + pause;
  for (;;) {
    auto left = std::chrono::duration_cast<std::chrono::nanoseconds>(
      end - std::chrono::steady_clock::now());
    if (left.count() <= 0)
      return false;
    timespec limit{left.count() / 1'000'000'000, left.count() % 1'000'000'000};
    auto number = sigtimedwait(&set, nullptr, &limit);
    if (number > 0 && number != SIGCHLD)
      return true;
  }
}

/// Exit codes behind which a restart would only fail again.
bool is_hopeless(int status) {
  if (!WIFEXITED(status))
    return false;
  auto code = WEXITSTATUS(status);
  return code == 0 || code == describe(errc::invalid_argument).exit_code
         || code == describe(errc::bad_certificate).exit_code
         || code == describe(errc::in_use).exit_code;
}

/// The exit code of the watcher behind its last node.
int exit_code(const node_end& end) {
  if (WIFEXITED(end.status))
    return WEXITSTATUS(end.status);
  // Told to stop before it could listen, it had not begun anything.
  auto number = WTERMSIG(end.status);
  return number == end.told ? 0 : 128 + number;
}

/// Runs the node in a process of its own and starts it again when it dies.
int run_and_restart(const command_context& context,
                    const node_options& options) {
  auto set = heard_by_watcher();
  sigset_t usual;
  sigprocmask(SIG_BLOCK, &set, &usual);
  terminal_watch::prepare();
  auto pause = std::chrono::milliseconds(100);
  for (;;) {
    auto began = std::chrono::steady_clock::now();
    auto parent = ::getpid();
    auto pid = ::fork();
    if (pid < 0)
      return context.out().error({errc::internal, "cannot start a process"});
    if (pid == 0) {
      // What a terminal sends to all would come twice: the second time is an
      // order to end at once.
      ::setpgid(0, 0);
      // If the watcher is killed, the node must not stay behind unwatched.
      ::prctl(PR_SET_PDEATHSIG, SIGTERM);
      if (::getppid() != parent)
        return 1;
      sigprocmask(SIG_SETMASK, &usual, nullptr);
      return run(context, options, [] { return 0; });
    }
    auto end = watch(pid);
    auto again = end.told == SIGHUP && !terminal_watch::is_lost();
    if (again && exit_code(end) == 0)
      continue;
    if ((end.told != 0 && !again) || is_hopeless(end.status))
      return exit_code(end);
    auto lived = std::chrono::steady_clock::now() - began;
    pause = lived > std::chrono::minutes(1)
              ? std::chrono::milliseconds(100)
              : std::min<std::chrono::milliseconds>(2 * pause,
                                                    std::chrono::seconds(30));
    context.out().note(fmt::format("muster: the node died, starting it again "
                                   "in {} ms",
                                   pause.count()));
    if (is_stopped_within(pause))
      return 0;
  }
}

} // namespace

void add_node_commands(CLI::App& app, command_context& context) {
  auto options = std::make_shared<node_options>();
  auto* node = app.add_subcommand("node", "Run a node in the foreground");
  node->add_option("--host", options->host, "Address to listen on");
  node->add_option("--port", options->port,
                   "Port to listen on; 0 takes any that is free");
  node->add_flag("--restart", options->restart,
                 "Start the node again when it dies");
  for (auto& x : all_options())
    node
      ->add_option_function<std::string>(
        "--" + x.name,
        [options, name = x.name](const std::string& value) {
          options->settings.emplace_back(name, value);
        },
        x.help)
      ->group("Settings");
  node->callback([options, &context] {
    context.action = [options, &context] {
      return options->restart
               ? run_and_restart(context, *options)
               : run(context, *options, [&] { return run_again(context); });
    };
  });
}

} // namespace muster
