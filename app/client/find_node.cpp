// SPDX-License-Identifier: Apache-2.0

#include "app/client/find_node.hpp"

#include "messages/json.hpp"

#include <fmt/format.h>

#include <charconv>
#include <cstdlib>
#include <fstream>
#include <iterator>

namespace muster {

namespace {

expected<client_options> parse_address(const std::string& text) {
  auto colon = text.rfind(':');
  client_options result;
  if (colon != std::string::npos && colon > 0) {
    result.host = text.substr(0, colon);
    auto* end = text.data() + text.size();
    auto [rest, code]
      = std::from_chars(text.data() + colon + 1, end, result.port);
    if (code == std::errc{} && rest == end && result.port != 0)
      return result;
  }
  return fail(errc::invalid_argument,
              fmt::format("'{}' is not an address: give HOST:PORT", text));
}

} // namespace

expected<client_options> find_node(const std::optional<std::string>& given,
                                   const std::string& state_directory) {
  if (given)
    return parse_address(*given);
  if (auto* address = std::getenv("MUSTER_NODE");
      address != nullptr && *address != '\0')
    return parse_address(address);
  auto path = state_directory + "/node.json";
  std::ifstream in{path};
  if (!in)
    return fail(errc::unreachable,
                fmt::format("no node is running with the state directory '{}'; "
                            "start one with 'muster node'",
                            state_directory));
  std::string text{std::istreambuf_iterator<char>{in}, {}};
  auto document = json::parse(text, nullptr, false);
  if (!document.is_object() || !document.contains("host")
      || !document["host"].is_string() || !document.contains("port")
      || !document["port"].is_number_unsigned())
    return fail(errc::registry_corrupted,
                fmt::format("'{}' does not say where the node is; restart the "
                            "node, or give --node",
                            path));
  client_options result;
  result.host = document["host"].get<std::string>();
  result.port = document["port"].get<std::uint16_t>();
  return result;
}

} // namespace muster
