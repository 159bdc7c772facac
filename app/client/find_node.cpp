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

expected<node_location> parse_address(const std::string& text) {
  auto colon = text.rfind(':');
  node_location result;
  if (colon != std::string::npos && colon > 0) {
    result.host = text.substr(0, colon);
    // An IPv6 address stands in brackets.
    if (result.host.starts_with('[') && result.host.ends_with(']'))
      result.host = result.host.substr(1, result.host.size() - 2);
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

std::optional<std::string> variable(const char* name) {
  auto* value = std::getenv(name);
  if (value == nullptr || *value == '\0')
    return std::nullopt;
  return std::string{value};
}

/// Reads what the node wrote into its state directory.
expected<node_location> read_document(const std::string& state_directory) {
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
  node_location result;
  result.host = document["host"].get<std::string>();
  result.port = port_of(document);
  if (document.value("tls", json{}) != false)
    result.tls = state_directory + "/tls";
  return result;
}

} // namespace

expected<node_location> find_node(const node_choice& choice,
                                  const std::string& state_directory) {
  auto address = choice.address ? choice.address : variable("MUSTER_NODE");
  auto folder = choice.tls ? choice.tls : variable("MUSTER_TLS");
  auto found
    = address ? parse_address(*address) : read_document(state_directory);
  if (!found)
    return found;
  if (address)
    found->tls = state_directory + "/tls";
  if (folder && !found->tls.empty())
    found->tls = *folder;
  if (choice.insecure_loopback)
    found->tls.clear();
  return found;
}

} // namespace muster
