// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/ids.hpp"
#include "messages/session.hpp"
#include "messages/strategy.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace muster {

/// Stands for the id of a request that nobody will repeat: nothing is kept of
/// it.
inline const std::string once{};

/// What is kept of a request that was executed, so that a repeat is given the
/// same answer and is not executed again. Written together with whatever the
/// request changed.
struct receipt {
  /// What the client calls the request.
  std::string request_id;
  /// What was asked, see `digest_of`: the same id for something else is
  /// refused.
  std::string digest;
  /// The answer, as JSON.
  std::string result;

  friend bool operator==(const receipt&, const receipt&) = default;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, receipt& x) {
  return f(x.request_id, x.digest, x.result);
}

/// Makes the id of a new request, `r-<ms since epoch>-<128 random bits>`, both
/// parts in hexadecimal.
/// @param now_ms wall clock in milliseconds since the epoch.
[[nodiscard]] std::string make_request_id(std::int64_t now_ms,
                                          const random_bits& random);

/// Why a text cannot be the id of a request: more than 128 bytes, or others
/// than printable ASCII. The empty one is fine, see `once`.
[[nodiscard]] std::optional<failure> check_request_id(const std::string& id);

/// What a `start` or `spawn` asks for, as 64 hexadecimal digits.
[[nodiscard]] std::string digest_of(const session_spec& spec);

/// What a feed asks for.
/// @param id the whole id of the session.
[[nodiscard]] std::string digest_of(const std::string& id,
                                    const std::vector<answer>& answers);

/// What a write to shared state asks for.
[[nodiscard]] std::string digest_of(const state_write& write);

/// The result of a feed as it is kept.
[[nodiscard]] std::string to_json(const std::vector<feed_result>& results);

/// The same, read back.
/// @returns `registry_corrupted` if it is no such text.
[[nodiscard]] expected<std::vector<feed_result>>
feed_results_from(const std::string& text);

} // namespace muster
