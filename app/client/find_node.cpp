// SPDX-License-Identifier: Apache-2.0

#include "app/client/find_node.hpp"

#include "messages/json.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <iterator>

#include <signal.h>

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

/// Whether there is no process of that number. If there is, it may be another
/// one by now; then the port tells.
bool is_gone(const json& pid) {
  return pid.is_number_integer() && pid.get<std::int64_t>() > 0
         && ::kill(static_cast<pid_t>(pid.get<std::int64_t>()), 0) != 0
         && errno == ESRCH;
}

/// The port in a document, or 0.
std::uint16_t port_of(const json& document) {
  auto port = document.value("port", json{});
  if (!port.is_number_unsigned() || port.get<std::uint64_t>() > 65'535)
    return 0;
  return port.get<std::uint16_t>();
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
  if (!document.is_object() || !document.value("host", json{}).is_string()
      || port_of(document) == 0)
    return fail(errc::registry_corrupted,
                fmt::format("'{}' does not say where the node is; restart the "
                            "node, or give --node",
                            path));
  // Its port may belong to a node with another state directory by now.
  if (is_gone(document.value("pid", json{})))
    return fail(errc::unreachable,
                fmt::format("the node that '{}' tells of has died; start it "
                            "again with 'muster node'",
                            path));
  client_options result;
  result.host = document["host"].get<std::string>();
  result.port = port_of(document);
  return result;
}

} // namespace muster
