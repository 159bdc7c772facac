// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/errors.hpp"

#include <nlohmann/json.hpp>

#include <string>
#include <string_view>

namespace muster {

using json = nlohmann::json;

/// Whether `text` is well-formed UTF-8 (RFC 3629: no surrogates, no overlong
/// forms).
[[nodiscard]] bool is_utf8(std::string_view text);

/// The first `count` Unicode scalar values of a well-formed text.
[[nodiscard]] std::string_view utf8_prefix(std::string_view text,
                                           std::size_t count);

/// Appends `text` as a JSON string, with its quotes.
/// @throws std::invalid_argument if it is not well-formed UTF-8.
void append_quoted(std::string& to, std::string_view text);

/// Reads one JSON document.
/// @param what names it in the error.
/// @returns `invalid_argument` with the place of the first fault.
[[nodiscard]] expected<json> parse_json(std::string_view text,
                                        std::string_view what);

/// Looks through a JSON document and keeps nothing of it.
/// @returns what `parse_json` would refuse it with.
[[nodiscard]] expected<void> check_json(std::string_view text,
                                        std::string_view what);

/// The kind of a JSON value in words: `an object`, `a string`.
[[nodiscard]] std::string_view kind_of(const json& value);

} // namespace muster
