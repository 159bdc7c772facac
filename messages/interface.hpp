// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/errors.hpp"

#include <string>
#include <string_view>

namespace muster {

/// The number of the interface: of the messages that a node takes and gives,
/// and of how they are written. Whoever changes one of them raises it.
inline constexpr int interface_version = 2;

/// What stands for that interface; a test computes it anew.
inline constexpr std::string_view interface_fingerprint
  = "a98f27506c612d4f84ee584fec6e30810d98c1e98a8872dcbb945963484278ec";

/// What one side is.
struct greeting {
  /// The version of the program, such as `0.1.0`.
  std::string version;
  /// See `interface_version`.
  int interface = 0;

  friend bool operator==(const greeting&, const greeting&) = default;
};

/// What this program is.
[[nodiscard]] greeting own_greeting();

/// `{"version":"0.1.0","interface":1}`: what a node says to `hello`. This form
/// never changes, so that all versions understand each other as far as that.
[[nodiscard]] std::string to_json(const greeting& x);

/// The same, read back.
/// @returns `version_mismatch` if it is no such text.
[[nodiscard]] expected<greeting> greeting_from(std::string_view text);

} // namespace muster
