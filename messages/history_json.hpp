// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/history.hpp"
#include "messages/json.hpp"

#include <string>

namespace muster {

/// Appends one event as it stands in what `encode_history` gives.
void append_event(std::string& to, const history_event& event,
                  const std::string& code_hash);

/// Reads what `encode_history` wrote, as `decode_history` does, once it is
/// parsed.
[[nodiscard]] expected<history> history_from(const json& events,
                                             std::string& code_hash);

} // namespace muster
