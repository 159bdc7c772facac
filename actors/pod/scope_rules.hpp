// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/scope.hpp"

#include <optional>
#include <string_view>

namespace muster {

// All targets and paths are canonical.

/// Whether `path` is one of those that `rule` speaks of.
[[nodiscard]] bool matches(const scope_rule& rule, std::string_view path);

/// Whether there is a path that both rules speak of, whatever they say
/// (docs/pods.md, "The rules, exactly").
[[nodiscard]] bool overlap(const scope_rule& a, const scope_rule& b);

/// Whether `rule` gives all that `inner` does.
[[nodiscard]] bool covers(const scope_rule& rule, const scope_rule& inner);

/// Adds up what rules say of one path, in any order.
class verdict {
public:
  /// Takes in a rule that gives `level`.
  void give(permission level);

  /// Takes in a rule that denies `level`.
  void deny(permission level);

  /// The permission that is left; absent if none is.
  [[nodiscard]] std::optional<permission> level() const;

private:
  std::optional<permission> allowed_;
  std::optional<permission> denied_;
};

/// What `x` permits on `path`; absent if nothing.
[[nodiscard]] std::optional<permission> permission_of(const scope& x,
                                                      std::string_view path);

/// Whether `rule` lets some path be written that `region` speaks of, and that
/// none of `denies` takes away. As a folder may hold any number of files, rules
/// that deny each a part of it never take all of it away together.
[[nodiscard]] bool leaves_writable(const scope_rule& rule,
                                   const scope_rule& region,
                                   const std::vector<scope_rule>& denies);

/// Whether a single rule of `x` gives all that `rule` does, and nothing of it
/// is denied.
[[nodiscard]] bool grants(const scope& x, const scope_rule& rule);

/// Whether somebody may lend `rule`.
/// @param lender names him in the error.
/// @param own what he may do himself, which alone lets him lend nothing.
/// @param delegation what he may lend.
/// @returns `not_allowed` with the reason: a denial that bites, no right to
/// lend what he may do himself, or out of his bounds.
[[nodiscard]] expected<void>
check_lendable(std::string_view lender, const scope& own,
               const scope& delegation, const scope_rule& rule);

} // namespace muster
