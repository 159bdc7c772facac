// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "app/client/client.hpp"
#include "app/output/console.hpp"

#include <optional>
#include <string>

namespace muster {

/// Who answers the queries of a session that is followed.
struct follow_options {
  /// A shell command that is run for each query.
  std::optional<std::string> answer_program;
  /// Whether to ask the person at the terminal. With neither, the session is
  /// followed to its first pause.
  bool ask_person = false;
  client::deadline limit;
};

/// Follows a session until it has ended, or stands at a pause that nobody here
/// answers, and prints where it stands then.
/// @returns the exit code.
[[nodiscard]] expected<int> follow(client& node, const console& out,
                                   const std::string& id,
                                   const follow_options& options);

} // namespace muster
