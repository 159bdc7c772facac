// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "app/commands/command.hpp"

#include "messages/pod.hpp"

#include <CLI/CLI.hpp>

#include <string>
#include <vector>

namespace muster {

/// What a pod shall do and what it is lent, as it was written on the command
/// line.
struct pod_order_options {
  std::string task;
  std::vector<std::string> scope;
  std::vector<std::string> delegation;
  std::string cwd;
  std::string sandbox = "required";
  std::vector<std::string> command;
  /// How many words stand behind the first `--`.
  std::size_t words_behind = 0;
  bool speaks_protocol = false;
};

/// Adds them to a command. `--scope` may be missing.
/// @returns `--scope`.
CLI::Option* add_pod_order_options(CLI::App* command,
                                   const command_context& context,
                                   pod_order_options& x);

/// Reads them. The name, the lender and the environment are left empty.
/// @returns `invalid_argument` naming what is wrong.
[[nodiscard]] expected<pod_order> read_pod_order(const pod_order_options& x);

/// A path as an absolute one.
[[nodiscard]] expected<std::string> absolute_path(const std::string& path);

} // namespace muster
