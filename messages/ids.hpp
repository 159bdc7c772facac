// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace muster {

/// 128 bits that nobody can guess.
using random_bits = std::array<std::uint64_t, 2>;

/// Makes the id of a new session, `s-<ms since epoch>-<128 random bits>`, both
/// parts in hexadecimal.
/// @param now_ms wall clock in milliseconds since the epoch.
[[nodiscard]] std::string make_session_id(std::int64_t now_ms,
                                          const random_bits& random);

/// Makes the id of a new worker, `p-<ms since epoch>-<128 random bits>`, both
/// parts in hexadecimal.
/// @param now_ms wall clock in milliseconds since the epoch.
[[nodiscard]] std::string make_worker_id(std::int64_t now_ms,
                                         const random_bits& random);

/// Makes the id of a new group of slots, `g-<ms since epoch>-<128 random
/// bits>`, both parts in hexadecimal.
/// @param now_ms wall clock in milliseconds since the epoch.
[[nodiscard]] std::string make_group_id(std::int64_t now_ms,
                                        const random_bits& random);

/// Whether `text` has the form of a whole session id. Says nothing about
/// whether such a session exists.
[[nodiscard]] bool is_session_id(std::string_view text);

/// Whether `text` could be the beginning of a session id: `s-`, then digits,
/// at most one further dash.
[[nodiscard]] bool is_session_id_prefix(std::string_view text);

/// The id of the `number`-th query of a session, `q-<number>`. Numbers count up
/// for the life of a session and are never used twice.
[[nodiscard]] std::string make_query_id(std::uint64_t number);

/// The number in a query id, or nothing if `text` is no query id.
[[nodiscard]] std::optional<std::uint64_t> query_number(std::string_view text);

} // namespace muster
