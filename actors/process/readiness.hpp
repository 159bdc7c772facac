// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/errors.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace muster {

/// Where a child says that it is ready: one line, then it closes it.
constexpr int ready_descriptor = 3;

/// How many bytes that line may have.
constexpr std::size_t max_ready_bytes = 4'096;

/// What makes a child ready.
enum class readiness {
  /// Its line.
  line,
  /// That it has become another program. Its line comes before; the descriptor
  /// closes on exec, so the end behind the line says that the exec worked. If
  /// it did not, a last line says why: `error CODE TEXT`. Whoever is killed
  /// between the line and the exec looks like one that was killed right behind
  /// it: ready, and ended by the signal.
  exec,
};

/// The last line of a child that could not become another program, without its
/// end. It has room beside a line of 1,024 bytes.
[[nodiscard]] std::string show_exec_error(const failure& why);

/// Reads all that such a child wrote before it closed its descriptor.
/// @returns its line if the exec worked, otherwise `program_failed` with what
///          its last line says; absent if it wrote something else.
[[nodiscard]] std::optional<expected<std::string>>
read_exec_report(std::string_view said);

} // namespace muster
