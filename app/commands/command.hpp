// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "app/client/client.hpp"
#include "app/client/find_node.hpp"
#include "app/output/console.hpp"

#include <CLI/CLI.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace muster {

/// What the options in front of a command say.
struct global_options {
  std::optional<std::string> state_directory;
  node_choice node;
  std::optional<std::string> config_file;
  /// For how long to look for a node that went away, as it was written.
  std::string reconnect_for = "30s";
  bool json = false;
};

/// The command that was named, with all that it needs.
class command_context {
public:
  // -- what the parser fills in -----------------------------------------------

  global_options globals;

  /// The command line as it came; ends with a null pointer.
  char** arguments = nullptr;

  /// What to do once everything is parsed; gives the exit code.
  std::function<int()> action;

  // -- what commands use ------------------------------------------------------

  /// Where to print. Knows `--json` once everything is parsed.
  [[nodiscard]] console out() const {
    return console{globals.json};
  }

  [[nodiscard]] std::string state_directory() const;

  /// Connects to the node.
  [[nodiscard]] expected<std::unique_ptr<client>> connect() const;

  /// Connects and runs `f` with the client; prints what goes wrong.
  /// @param f gives an `expected<int>`: the exit code.
  template <class F>
  int with_client(F f) const {
    auto link = connect();
    if (!link)
      return out().error(link.error());
    expected<int> result = f(**link);
    return result ? *result : out().error(result.error());
  }
};

// Each adds its commands to the command line.

void add_node_commands(CLI::App& app, command_context& context);

void add_run_command(CLI::App& app, command_context& context);

void add_session_commands(CLI::App& app, command_context& context);

void add_state_commands(CLI::App& app, command_context& context);

void add_pool_commands(CLI::App& app, command_context& context);

void add_pod_commands(CLI::App& app, command_context& context);

void add_recovery_commands(CLI::App& app, command_context& context);

void add_status_commands(CLI::App& app, command_context& context);

void add_config_commands(CLI::App& app, command_context& context);

void add_tls_commands(CLI::App& app, command_context& context);

/// Adds a command that is done by `run(client, console, options)`, which gives
/// an `expected<int>`: the exit code.
/// @param options is shared by the command and its options on the command line.
template <class Options, class F>
CLI::App* add_client_command(CLI::App* parent, command_context& context,
                             std::shared_ptr<Options> options, const char* name,
                             const char* help, F run) {
  auto* command = parent->add_subcommand(name, help);
  command->callback([=, &context] {
    context.action = [=, &context] {
      return context.with_client(
        [&](client& node) { return run(node, context.out(), *options); });
    };
  });
  return command;
}

// Readers of arguments. Each failure is `invalid_argument`.

/// The text of a file; `-` is standard input.
[[nodiscard]] expected<std::string> read_input(const std::string& path);

/// A text without one newline at its end.
[[nodiscard]] std::string without_newline(std::string text);

/// The value of an option that is a duration.
[[nodiscard]] expected<std::chrono::milliseconds>
read_duration(std::string_view option, std::string_view text);

/// The value of `--timeout`; absent if that was not given.
[[nodiscard]] expected<client::deadline>
read_deadline(const std::optional<std::string>& text);

/// Refuses an option that was given without its value, such as a variable of a
/// shell that is not set.
[[nodiscard]] CLI::Validator not_empty();

/// Adds `--request-id` to a command that changes something.
void add_request_id(CLI::App* command, std::string& request_id);

} // namespace muster
