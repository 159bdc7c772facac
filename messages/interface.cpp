// SPDX-License-Identifier: Apache-2.0

#include "messages/interface.hpp"

#include "messages/json.hpp"

#include <muster_version.hpp>

namespace muster {

greeting own_greeting() {
  return {version, interface_version, std::nullopt};
}

std::string to_json(const greeting& x) {
  nlohmann::ordered_json out{{"version", x.version},
                             {"interface", x.interface}};
  if (x.max_message)
    out["max_message"] = *x.max_message;
  return out.dump();
}

expected<greeting> greeting_from(std::string_view text) {
  auto document = json::parse(text, nullptr, false);
  if (!document.is_object() || !document.value("version", json{}).is_string()
      || !document.value("interface", json{}).is_number_integer())
    return fail(errc::version_mismatch,
                "the greeting of the other side is none");
  greeting out{document["version"], document["interface"], std::nullopt};
  if (auto limit = document.value("max_message", json{});
      limit.is_number_unsigned())
    out.max_message = limit.get<std::uint64_t>();
  return out;
}

} // namespace muster
