// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/node/settings.hpp"

#include "messages/errors.hpp"

#include <functional>
#include <string>
#include <vector>

namespace muster {

/// One option of a node: its name in the configuration file and on the command
/// line, and how it gets into the settings.
struct option {
  /// `section.name`.
  std::string name;
  /// What it does, one sentence.
  std::string help;
  /// Reads a value into the settings; refuses what is out of range.
  std::function<expected<void>(node_settings&, const std::string&)> set;
  /// The value in the settings, as `set` reads it.
  std::function<std::string(const node_settings&)> get;
};

/// All options. The only list of them: the command line, the configuration file
/// and `config show` are made from it, and a test compares it with
/// `config/muster.ini`.
[[nodiscard]] const std::vector<option>& all_options();

/// The option of that name, or null.
[[nodiscard]] const option* find_option(const std::string& name);

} // namespace muster
