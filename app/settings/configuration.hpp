// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/node/settings.hpp"

#include "messages/errors.hpp"

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace muster {

/// The settings of a node and where each of them comes from.
struct configuration {
  node_settings settings;
  /// The file that was read; empty if there is none.
  std::string file;
  /// The options that are not at their default, and who set them: `file` or
  /// `command line`.
  std::map<std::string, std::string> origins;
};

/// The state directory: what was given, else `$MUSTER_STATE_DIR`, else
/// `$XDG_STATE_HOME/muster`, else `~/.local/state/muster`.
[[nodiscard]] std::string
find_state_directory(const std::optional<std::string>& given);

/// The configuration file: what was given, else `$MUSTER_CONFIG`; else the
/// first of `muster.ini` in the state directory and `/etc/muster/muster.ini`
/// that is there. Empty if there is none.
[[nodiscard]] std::string
find_config_file(const std::optional<std::string>& given,
                 const std::string& state_directory);

/// Reads a configuration file into `to`.
/// @returns `invalid_argument`, naming file and option, for an unknown option
/// or
///          a value out of range; `to` is then of no use.
[[nodiscard]] expected<void> read_config_file(const std::string& path,
                                              configuration& to);

/// Puts everything together: the defaults, then the file, then the options of
/// the command line.
[[nodiscard]] expected<configuration>
configure(const std::string& state_directory,
          const std::optional<std::string>& config_file,
          const std::vector<std::pair<std::string, std::string>>& options);

} // namespace muster
