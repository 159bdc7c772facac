// SPDX-License-Identifier: Apache-2.0

#include "app/commands/command.hpp"
#include "app/commands/confine_command.hpp"
#include "app/commands/pod_agent_command.hpp"
#include "app/commands/worker_command.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <muster_version.hpp>
#include <string_view>
#include <tuple>

#include <fcntl.h>
#include <unistd.h>

namespace muster {

namespace {

void add_global_options(CLI::App& app, global_options& globals) {
  app.add_option("--state-dir", globals.state_directory,
                 "Where the node keeps everything");
  app.add_option("--node", globals.node.address,
                 "The node to talk to, HOST:PORT");
  app.add_option("--tls", globals.node.tls,
                 "The folder with the certificates to show to the node");
  app.add_flag("--insecure-loopback", globals.node.insecure_loopback,
               "Without TLS, on 127.0.0.1 only; for tests: everybody on this "
               "machine can do everything");
  app.add_option("--reconnect-for", globals.reconnect_for,
                 "How long to look for a node whose connection broke");
  app.add_option("--config", globals.config_file, "The configuration file");
  app.add_flag("--json", globals.json,
               "Print results and errors as JSON documents");
}

/// Global options may stand behind the command as well.
void let_options_fall_through(CLI::App& app) {
  app.fallthrough();
  for (auto* command : app.get_subcommands([](CLI::App*) { return true; }))
    let_options_fall_through(*command);
}

/// Whether JSON is asked for, however little else of the command line is fine.
bool wants_json(int argc, char** argv) {
  return std::any_of(argv, argv + argc, [](const char* x) {
    return std::string_view{x} == "--json";
  });
}

/// Prints what is wrong with the command line.
int usage_error(const CLI::App& app, const CLI::ParseError& error,
                bool as_json) {
  if (error.get_exit_code() == 0)
    return app.exit(error); // --help
  std::string why = error.what();
  // The parser complains of what is missing before it looks at what is left
  // over, which most often stands where the missing one should.
  auto rest = app.remaining(true);
  if (dynamic_cast<const CLI::RequiredError*>(&error) != nullptr
      && !rest.empty())
    why = fmt::format("{}, and '{}' is none; see --help", why, rest.front());
  return console{as_json}.error({errc::invalid_argument, std::move(why)});
}

/// A program that was started without standard streams gets empty ones: its
/// next files would take their places, and what it prints would end up in them.
void open_standard_streams() {
  for (auto descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (::fcntl(descriptor, F_GETFD) < 0)
      std::ignore = ::open("/dev/null", O_RDWR);
}

int run(int argc, char** argv) {
  CLI::App app{
    "Runs Lua strategies that ask language models, and loses nothing of "
    "what it was told"};
  command_context context;
  context.arguments = argv;
  add_global_options(app, context.globals);
  app.require_subcommand(1);
  add_node_commands(app, context);
  add_run_command(app, context);
  add_session_commands(app, context);
  add_state_commands(app, context);
  add_pool_commands(app, context);
  add_pod_commands(app, context);
  add_recovery_commands(app, context);
  add_status_commands(app, context);
  add_config_commands(app, context);
  add_tls_commands(app, context);
  let_options_fall_through(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return usage_error(app, error, wants_json(argc, argv));
  }
  auto code = context.action();
  if (code == 0 && !context.out().can_write())
    code = context.out().error(
      {errc::internal, "the result could not be written to standard output"});
  return code;
}

} // namespace

} // namespace muster

int main(int argc, char** argv) {
  int code = 1;
  muster::open_standard_streams();
  try {
    if (argc > 1 && std::string_view{argv[1]} == "worker")
      return muster::worker_command(argc - 1, argv + 1, muster::version);
    if (argc > 1 && std::string_view{argv[1]} == "confine")
      return muster::confine_command(argc - 1, argv + 1);
    if (argc > 1 && std::string_view{argv[1]} == "pod-agent")
      return muster::pod_agent_command(argc - 1, argv + 1);
    code = muster::run(argc, argv);
  } catch (const std::exception& error) {
    muster::console out{muster::wants_json(argc, argv)};
    code = out.error({muster::errc::internal, error.what()});
  }
  std::fflush(nullptr);
  return code;
}
