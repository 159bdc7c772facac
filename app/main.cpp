// SPDX-License-Identifier: Apache-2.0

#include "app/commands/command.hpp"

#include <CLI/CLI.hpp>

#include <cstdio>
#include <exception>

#include <unistd.h>

namespace muster {

namespace {

void add_global_options(CLI::App& app, global_options& globals) {
  app.add_option("--state-dir", globals.state_directory,
                 "Where the node keeps everything");
  app.add_option("--node", globals.node, "The node to talk to, HOST:PORT");
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

/// Prints what is wrong with the command line.
int usage_error(const CLI::App& app, const CLI::ParseError& error,
                bool as_json) {
  if (error.get_exit_code() == 0)
    return app.exit(error); // --help
  return console{as_json}.error({errc::invalid_argument, error.what()});
}

int run(int argc, char** argv) {
  CLI::App app{"Keeps the roll of what an agent host has running, and keeps it "
               "alive"};
  command_context context;
  add_global_options(app, context.globals);
  app.require_subcommand(1);
  add_node_commands(app, context);
  add_run_command(app, context);
  add_session_commands(app, context);
  add_state_commands(app, context);
  add_status_commands(app, context);
  add_config_commands(app, context);
  let_options_fall_through(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    auto as_json = context.globals.json
                   || std::any_of(argv, argv + argc, [](const char* x) {
                        return std::string_view{x} == "--json";
                      });
    return usage_error(app, error, as_json);
  }
  return context.action();
}

} // namespace

} // namespace muster

int main(int argc, char** argv) {
  int code = 1;
  try {
    code = muster::run(argc, argv);
  } catch (const std::exception& error) {
    code = muster::console{false}.error({muster::errc::internal, error.what()});
  }
  std::fflush(nullptr);
  return code;
}
