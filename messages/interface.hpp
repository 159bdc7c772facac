// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/errors.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace muster {

/// The number of the interface: of the messages that a node takes and gives,
/// and of how they are written. Whoever changes one of them raises it.
inline constexpr int interface_version = 4;

/// What stands for that interface; a test computes it anew.
inline constexpr std::string_view interface_fingerprint
  = "babae95f432ac04ed31eedef61684de4bc44661d3f2d58fc84d7754daec8eb61";

/// What one side is.
struct greeting {
  /// The version of the program, such as `0.1.0`.
  std::string version;
  /// See `interface_version`.
  int interface = 0;
  /// How many bytes a request to a node may have: its `node.max-message`.
  /// Absent if it is no node, or one that does not say so.
  std::optional<std::uint64_t> max_message = {};

  friend bool operator==(const greeting&, const greeting&) = default;
};

/// What this program is. A node adds its limit.
[[nodiscard]] greeting own_greeting();

/// `{"version":"0.1.0","interface":1,"max_message":67108864}`: what a node says
/// to `hello`. No field ever changes or goes, so that all versions understand
/// each other as far as that. Fields are added without a new number of the
/// interface: readers pass over those that they do not know, and do without
/// those that are absent, all but the first two.
[[nodiscard]] std::string to_json(const greeting& x);

/// The same, read back.
/// @returns `version_mismatch` if it is no such text.
[[nodiscard]] expected<greeting> greeting_from(std::string_view text);

} // namespace muster
