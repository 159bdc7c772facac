// SPDX-License-Identifier: Apache-2.0

#include "app/settings/configuration.hpp"

#include "app/settings/option_table.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace muster {

namespace {

std::optional<std::string> variable(const char* name) {
  auto* value = std::getenv(name);
  if (value == nullptr || *value == '\0')
    return std::nullopt;
  return std::string{value};
}

bool exists(const std::string& path) {
  std::error_code code;
  return std::filesystem::exists(path, code);
}

} // namespace

std::string find_state_directory(const std::optional<std::string>& given) {
  if (given)
    return *given;
  if (auto path = variable("MUSTER_STATE_DIR"))
    return *path;
  if (auto path = variable("XDG_STATE_HOME"))
    return *path + "/muster";
  return variable("HOME").value_or("/") + "/.local/state/muster";
}

std::string find_config_file(const std::optional<std::string>& given,
                             const std::string& state_directory) {
  if (given)
    return *given;
  if (auto path = variable("MUSTER_CONFIG"))
    return *path;
  for (auto& path :
       {state_directory + "/muster.ini", std::string{"/etc/muster/muster.ini"}})
    if (exists(path))
      return path;
  return {};
}

expected<void> read_config_file(const std::string& path, configuration& to) {
  std::ifstream in{path};
  std::error_code code;
  if (!in || std::filesystem::is_directory(path, code))
    return fail(
      errc::invalid_argument,
      fmt::format("the configuration file '{}' cannot be read", path));
  std::vector<CLI::ConfigItem> items;
  try {
    items = CLI::ConfigINI{}.from_config(in);
  } catch (const CLI::Error& error) {
    return fail(errc::invalid_argument,
                fmt::format("the configuration file '{}' is malformed: {}",
                            path, error.what()));
  }
  for (auto& item : items) {
    // The reader marks the beginning and the end of a section by these.
    if (item.name == "++" || item.name == "--")
      continue;
    auto name = item.fullname();
    auto* known = find_option(name);
    if (known == nullptr)
      return fail(errc::invalid_argument,
                  fmt::format("'{}' has the unknown option '{}'; 'muster "
                              "config show' lists all",
                              path, name));
    auto value = fmt::format("{}", fmt::join(item.inputs, " "));
    if (auto ok = known->set(to.settings, value); !ok)
      return fail(ok.error().code,
                  fmt::format("'{}': {}", path, ok.error().message));
    to.origins[name] = "file";
  }
  to.file = path;
  return {};
}

expected<configuration>
configure(const std::string& state_directory,
          const std::optional<std::string>& config_file,
          const std::vector<std::pair<std::string, std::string>>& options) {
  configuration result;
  if (auto path = find_config_file(config_file, state_directory); !path.empty())
    if (auto ok = read_config_file(path, result); !ok)
      return tl::unexpected<failure>{ok.error()};
  for (auto& [name, value] : options) {
    if (auto ok = find_option(name)->set(result.settings, value); !ok)
      return tl::unexpected<failure>{ok.error()};
    result.origins[name] = "command line";
  }
  result.settings.storage.directory = state_directory;
  return result;
}

} // namespace muster
