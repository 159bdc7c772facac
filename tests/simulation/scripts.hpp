// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace muster::test {

/// A strategy of the simulation. Its result is what it was answered, as
/// `{{prompt, response}, ...}` in query order, so that it can be compared with
/// what the clients know.
struct simulated_script {
  std::string_view name;
  std::string_view code;
  /// How often it adds one to the shared counter before each query.
  int counts_per_query = 0;
  /// Whether it appends to the shared list before each query.
  bool lists = false;
  /// Whether it goes on for ever after its last answer.
  bool never_ends = false;
  /// Whether it raises an error in the end.
  bool fails = false;
};

[[nodiscard]] const std::vector<simulated_script>& simulated_scripts();

} // namespace muster::test
