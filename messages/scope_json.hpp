// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/json.hpp"
#include "messages/scope.hpp"

namespace muster {

/// `{"target","permission":"read"|"write","recursive"}`.
[[nodiscard]] json rule_json(const scope_rule& rule);

/// Reads `rule_json`; without `recursive` the rule is.
/// @returns `invalid_argument` naming what is wrong.
[[nodiscard]] expected<scope_rule> rule_from(const json& value);

/// A list of rules.
[[nodiscard]] json rules_json(const std::vector<scope_rule>& rules);

/// Reads `rules_json`.
[[nodiscard]] expected<std::vector<scope_rule>> rules_from(const json& value);

/// `{"allow":[...],"deny":[...]}`.
[[nodiscard]] json scope_json(const scope& x);

/// Reads `scope_json`; either list may be missing.
[[nodiscard]] expected<scope> scope_from(const json& value);

/// `{"allocations":[{"name","lender","own","delegation"}],
/// "loans":[{"id","lender","borrower","rule"}]}`; the lender of the one at the
/// root is null.
[[nodiscard]] json listing_json(const scope_listing& x);

/// Reads `listing_json`; fields that it does not know are skipped.
[[nodiscard]] expected<scope_listing> listing_from(const json& value);

} // namespace muster
