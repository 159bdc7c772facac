// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/scope.hpp"

#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace muster {

/// What somebody who has nothing yet shall be lent.
struct lend_request {
  std::string lender;
  std::string borrower;
  /// The rules to lend, and what of that the borrower shall not touch.
  scope own;
  /// What of that the borrower may lend on.
  scope delegation;
};

/// What came of a release.
struct scope_release {
  /// What the one that is gone had.
  scope_allocation ended;
  /// The loans to it, which were given back.
  std::vector<scope_loan> returned;
  /// Its own loans, as its lender has them now.
  std::vector<scope_loan> moved;
};

/// Decides who may be lent which part of the file system, and keeps who has it
/// (docs/pods.md). All paths are canonical.
///
/// Everybody but the root has exactly what one lender lent him. Reading is
/// shared; the right to write has one holder per path, since a lender loses it
/// for as long as the loan is open. Of two allocations that can both write
/// somewhere, one has therefore lent it to the other, directly or over others;
/// that holds whoever is released first.
class scope_table {
public:
  // -- constructors -----------------------------------------------------------

  /// @param root the name of the one that all loans come from.
  /// @param grant what it may do, and lend.
  scope_table(std::string root, scope grant);

  scope_table(scope_table&&) = default;

  scope_table& operator=(scope_table&&) = default;

  // -- lending ----------------------------------------------------------------

  /// Whether `lend` would do it.
  /// @returns `not_found` without the lender; `conflict` if the borrower has
  /// something already, or if somebody else may write there;
  /// `invalid_argument`; `not_allowed` if the lender may not lend it.
  [[nodiscard]] expected<void> check_lend(const lend_request& request) const;

  /// Lends, or refuses and changes nothing.
  /// @param make_loan_id is called once per rule.
  /// @returns one loan per rule, in their order.
  [[nodiscard]] expected<std::vector<scope_loan>>
  lend(const lend_request& request,
       const std::function<std::string()>& make_loan_id);

  /// Ends an allocation. What it was lent goes back, and those who borrowed
  /// from it go on as borrowers of its lender.
  /// @returns `not_found` if it has ended already; `not_allowed` for the root.
  [[nodiscard]] expected<scope_release> release(const std::string& name);

  // -- the disk ---------------------------------------------------------------

  /// Takes over what `listing` gave earlier. The root keeps the grant that it
  /// has now: one that was made smaller meanwhile is no reason to take anything
  /// back from those who live.
  /// @returns `registry_corrupted` naming the culprit; then nothing changes.
  [[nodiscard]] expected<void> restore(const scope_listing& from);

  // -- properties -------------------------------------------------------------

  [[nodiscard]] const std::string& root() const {
    return root_;
  }

  [[nodiscard]] std::size_t size() const {
    return allocations_.size();
  }

  /// Null if there is none of that name.
  [[nodiscard]] const scope_allocation* find(const std::string& name) const;

  /// What is left to somebody after all that he has lent.
  /// @returns `not_found`.
  [[nodiscard]] expected<scope> effective_scope(const std::string& name) const;

  /// What somebody may do at a path; absent if nothing.
  /// @returns `not_found`.
  [[nodiscard]] expected<std::optional<permission>>
  permission_of(const std::string& name, std::string_view path) const;

  /// All who may do something at a path, by name.
  [[nodiscard]] std::vector<scope_holder>
  holders_of(std::string_view path) const;

  [[nodiscard]] scope_listing listing() const;

private:
  // -- member types -----------------------------------------------------------

  enum class role { allows, denies, lends };

  /// A rule where its target is looked up.
  struct entry {
    const scope_allocation* whose = nullptr;
    role kind = role::allows;
    scope_rule rule;
  };

  using index = std::map<std::string, std::vector<entry>, std::less<>>;

  /// Who can write where somebody else wants to.
  struct rival {
    const scope_allocation* who = nullptr;
    const scope_rule* rule = nullptr;
    /// How many lenders there are above.
    std::size_t depth = 0;
  };

  // -- checks -----------------------------------------------------------------

  /// @param checks_root whether the root lends within its grant only.
  [[nodiscard]] expected<void> check(const lend_request& request,
                                     bool checks_root) const;

  /// Who could write where `rule` lets the borrower write, but for the lender
  /// and those above it, who have lent all of it to get here. Of several the
  /// one that is farthest from the root.
  [[nodiscard]] std::optional<rival> rival_of(const scope_allocation& lender,
                                              const scope& borrowed,
                                              const scope_rule& rule) const;

  [[nodiscard]] bool is_at_or_above(const scope_allocation& x,
                                    const scope_allocation& below) const;

  [[nodiscard]] std::size_t depth_of(const scope_allocation& x) const;

  /// Calls `f` with each entry whose rule speaks of `path`.
  template <class F>
  void for_each_at(std::string_view path, F f) const;

  /// Calls `f` with each entry whose rule overlaps `rule`.
  template <class F>
  void for_each_near(const scope_rule& rule, F f) const;

  // -- changes ----------------------------------------------------------------

  void add(scope_allocation x);

  void add(scope_loan x);

  void add_entry(const scope_allocation& whose, role kind,
                 const scope_rule& rule);

  /// Takes out one such entry.
  void remove_entry(const scope_allocation& whose, role kind,
                    const scope_rule& rule);

  // -- member variables -------------------------------------------------------

  std::string root_;
  std::map<std::string, scope_allocation> allocations_;
  std::map<std::string, scope_loan> loans_;
  /// The rules of all own scopes, and of all loans of the right to write, by
  /// target. What speaks of a path stands at the path or above it.
  index rules_;
};

} // namespace muster
