// SPDX-License-Identifier: Apache-2.0

#include "app/commands/command.hpp"

#include "app/settings/configuration.hpp"
#include "app/settings/units.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>

namespace muster {

std::string command_context::state_directory() const {
  return find_state_directory(globals.state_directory);
}

expected<std::unique_ptr<client>> command_context::connect() const {
  client_options options;
  options.find = [choice = globals.node, directory = state_directory()] {
    return find_node(choice, directory);
  };
  auto patience = read_duration("--reconnect-for", globals.reconnect_for);
  if (!patience)
    return tl::unexpected<failure>{patience.error()};
  options.reconnect_for = *patience;
  return client::connect(std::move(options));
}

expected<std::string> read_input(const std::string& path) {
  if (path == "-")
    return std::string{std::istreambuf_iterator<char>{std::cin}, {}};
  std::error_code code;
  if (std::filesystem::is_directory(path, code))
    return fail(errc::invalid_argument,
                fmt::format("cannot read '{}': it is a folder", path));
  errno = 0;
  std::ifstream in{path, std::ios::binary};
  std::string text{std::istreambuf_iterator<char>{in}, {}};
  if (!in.is_open() || in.bad())
    return fail(errc::invalid_argument,
                fmt::format("cannot read '{}': {}", path,
                            std::strerror(errno != 0 ? errno : EIO)));
  return text;
}

std::string without_newline(std::string text) {
  if (text.ends_with('\n'))
    text.pop_back();
  return text;
}

expected<std::chrono::milliseconds> read_duration(std::string_view option,
                                                  std::string_view text) {
  auto duration = parse_duration(text);
  if (!duration)
    return fail(duration.error().code,
                fmt::format("{}: {}", option, duration.error().message));
  return *duration;
}

expected<client::deadline>
read_deadline(const std::optional<std::string>& text) {
  if (!text)
    return client::deadline{};
  auto limit = read_duration("--timeout", *text);
  if (!limit)
    return tl::unexpected<failure>{limit.error()};
  return client::deadline{*limit};
}

CLI::Validator not_empty() {
  return CLI::Validator{[](const std::string& x) {
                          return x.empty() ? std::string{"it is empty"}
                                           : std::string{};
                        },
                        ""};
}

void add_request_id(CLI::App* command, std::string& request_id) {
  command
    ->add_option("--request-id", request_id,
                 "Repeated under the same id, it is not done again")
    ->check(not_empty());
}

} // namespace muster
