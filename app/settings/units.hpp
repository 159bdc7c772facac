// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/errors.hpp"

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace muster {

/// Reads a duration: a whole number with `ms`, `s`, `m`, `h` or `d` behind it.
[[nodiscard]] expected<std::chrono::milliseconds>
parse_duration(std::string_view text);

/// The shortest text that `parse_duration` reads as this duration.
[[nodiscard]] std::string show_duration(std::chrono::milliseconds duration);

/// Reads a size in bytes: a whole number, with `KiB`, `MiB` or `GiB` behind it
/// or nothing.
[[nodiscard]] expected<std::uint64_t> parse_size(std::string_view text);

/// The shortest text that `parse_size` reads as this size.
[[nodiscard]] std::string show_size(std::uint64_t bytes);

/// Reads a whole number.
[[nodiscard]] expected<std::uint64_t> parse_count(std::string_view text);

} // namespace muster
