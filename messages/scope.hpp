// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/errors.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace muster {

// -- rules --------------------------------------------------------------------

/// What may be done with a path. Who may write may read, too.
enum class permission : std::uint8_t {
  read = 1,
  write = 2,
};

/// `read` or `write`, as in JSON.
[[nodiscard]] std::string to_string(permission level);

/// Gives or denies a permission on a part of the file system.
struct scope_rule {
  /// An absolute path.
  std::string target;
  permission level = permission::read;
  /// Whether all that is below the target is meant; otherwise the target and
  /// what it holds directly.
  bool recursive = true;

  friend bool operator==(const scope_rule&, const scope_rule&) = default;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, scope_rule& x) {
  return f(x.target, x.level, x.recursive);
}

/// The rule as on the command line: `w:/src`, or `w1:/src` if it is not
/// recursive.
[[nodiscard]] std::string to_string(const scope_rule& rule);

/// What is given, and what of that is taken away again. The order of rules says
/// nothing: of several that give, the strongest counts, and what is denied is
/// denied whatever is given below it.
struct scope {
  std::vector<scope_rule> allow;
  /// One that denies `write` leaves `read`.
  std::vector<scope_rule> deny;

  friend bool operator==(const scope&, const scope&) = default;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, scope& x) {
  return f(x.allow, x.deny);
}

/// The rules as on the command line, with commas between them.
[[nodiscard]] std::string to_string(const scope& x);

// -- who has what -------------------------------------------------------------

/// What one pod may do, and what it may lend.
struct scope_allocation {
  /// The pod.
  std::string name;
  /// Who lent it all that it has; empty for the one at the root.
  std::string lender;
  /// What it was given. What it has lent is not taken out of it: what is left
  /// is computed from the open loans.
  scope own;
  /// What it may lend on; empty if nothing.
  scope delegation;

  friend bool operator==(const scope_allocation&, const scope_allocation&)
    = default;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, scope_allocation& x) {
  return f(x.name, x.lender, x.own, x.delegation);
}

/// One rule that is lent. While it is open, its lender may not write there.
struct scope_loan {
  std::string id;
  std::string lender;
  std::string borrower;
  scope_rule rule;

  friend bool operator==(const scope_loan&, const scope_loan&) = default;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, scope_loan& x) {
  return f(x.id, x.lender, x.borrower, x.rule);
}

/// Who has what, and who lent it.
struct scope_listing {
  /// By name.
  std::vector<scope_allocation> allocations;
  /// By id.
  std::vector<scope_loan> loans;

  friend bool operator==(const scope_listing&, const scope_listing&) = default;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, scope_listing& x) {
  return f(x.allocations, x.loans);
}

/// What somebody has at a path.
struct scope_holder {
  std::string name;
  /// What is permitted to him, all told.
  permission level = permission::read;
  /// The rule that gives it.
  scope_rule rule;
  /// Who lent it; empty for the one at the root.
  std::string lender;

  friend bool operator==(const scope_holder&, const scope_holder&) = default;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, scope_holder& x) {
  return f(x.name, x.level, x.rule, x.lender);
}

// -- reading ------------------------------------------------------------------

/// A longer path is none for the kernel either.
constexpr std::size_t max_target_bytes = 4'095;

/// Whether the target of a rule is an absolute path of valid UTF-8 without NUL,
/// and not too long, and its permission one that there is.
/// @returns `invalid_argument` naming the rule; `too_large`.
[[nodiscard]] expected<void> check_rule(const scope_rule& rule);

/// Reads a list of rules as on the command line: `r:/docs,w:/src`. `r1:` and
/// `w1:` are not recursive. A comma separates only where a rule begins behind
/// it; any other is part of a path.
/// @returns `invalid_argument` naming the rule, also for one that denies.
[[nodiscard]] expected<std::vector<scope_rule>>
parse_rules(std::string_view text);

/// The same where rules may deny: `w:/src,-w:/src/generated`. At least one must
/// give.
[[nodiscard]] expected<scope> parse_scope(std::string_view text);

} // namespace muster
