// SPDX-License-Identifier: Apache-2.0

#include "messages/interface.hpp"

#include "messages/json.hpp"

#include <muster_version.hpp>

namespace muster {

greeting own_greeting() {
  return {version, interface_version};
}

std::string to_json(const greeting& x) {
  return nlohmann::ordered_json{{"version", x.version},
                                {"interface", x.interface}}
    .dump();
}

expected<greeting> greeting_from(std::string_view text) {
  auto document = json::parse(text, nullptr, false);
  if (!document.is_object() || !document.value("version", json{}).is_string()
      || !document.value("interface", json{}).is_number_integer())
    return fail(errc::version_mismatch,
                "the greeting of the other side is none");
  return greeting{document["version"], document["interface"]};
}

} // namespace muster
