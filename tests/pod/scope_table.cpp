// SPDX-License-Identifier: Apache-2.0

// Who may be lent what, and who has it afterwards.

#define CAF_SUITE pod.scope_table

#include "actors/pod/scope_table.hpp"

#include "tests/support/suite.hpp"

#include "actors/pod/scope_rules.hpp"

#include "messages/scope_json.hpp"

#include <fmt/format.h>

using namespace muster;

namespace {

/// Rules that may be none.
scope rules(std::string_view text) {
  if (text.empty())
    return {};
  auto out = parse_scope(text);
  CAF_REQUIRE(out);
  return *out;
}

struct fixture {
  lend_request request(const std::string& lender, const std::string& borrower,
                       std::string_view own, std::string_view delegation = "") {
    return {lender, borrower, rules(own), rules(delegation)};
  }

  /// The code of the refusal; empty if there is none.
  std::string lend(const lend_request& x) {
    auto before = table.listing();
    auto allowed = table.check_lend(x);
    auto loans = table.lend(x, [this] { return fmt::format("l-{}", ++ids); });
    CAF_CHECK_EQUAL(allowed.has_value(), loans.has_value());
    if (loans) {
      CAF_CHECK_EQUAL(loans->size(), x.own.allow.size());
      return {};
    }
    CAF_CHECK(allowed.error() == loans.error());
    CAF_CHECK(table.listing() == before);
    why = loans.error().message;
    return to_string(loans.error().code);
  }

  std::string lend(const std::string& lender, const std::string& borrower,
                   std::string_view own, std::string_view delegation = "") {
    return lend(request(lender, borrower, own, delegation));
  }

  /// Releases somebody who has something.
  scope_release release(const std::string& name) {
    auto out = table.release(name);
    CAF_REQUIRE(out);
    return *out;
  }

  std::string at(const std::string& name, std::string_view path) {
    auto out = table.permission_of(name, path);
    CAF_REQUIRE(out);
    // The same, computed from all its rules.
    auto left = table.effective_scope(name);
    CAF_REQUIRE(left);
    CAF_CHECK(permission_of(*left, path) == *out);
    return *out ? to_string(**out) : "none";
  }

  /// All who may write at a path.
  std::string writers(std::string_view path) {
    std::string out;
    for (auto& x : table.holders_of(path))
      if (x.level == permission::write)
        out += (out.empty() ? "" : " ") + x.name;
    return out;
  }

  std::string lender_of(const std::string& name) {
    auto* x = table.find(name);
    return x != nullptr ? x->lender : "nobody";
  }

  bool says(std::string_view text) {
    return why.find(text) != std::string::npos;
  }

  scope_table table{"operator", rules("w:/ws,r:/lib,-w:/ws/.git")};
  int ids = 0;
  std::string why;
};

} // namespace

CAF_TEST_FIXTURE_SCOPE(scope_table_tests, fixture)

// -- lending ------------------------------------------------------------------

CAF_TEST(delegate_succeeds_within_parent_scope) {
  CAF_CHECK_EQUAL(lend("operator", "a", "w:/ws/a,r:/lib"), "");
  CAF_CHECK_EQUAL(at("a", "/ws/a/x"), "write");
  CAF_CHECK_EQUAL(at("a", "/lib/x"), "read");
  CAF_CHECK_EQUAL(at("a", "/ws/b"), "none");
  // Who lends may watch, and what was lent to be read is everybody's.
  CAF_CHECK_EQUAL(at("operator", "/ws/a/x"), "read");
  CAF_CHECK_EQUAL(at("operator", "/ws/b"), "write");
  CAF_CHECK_EQUAL(at("operator", "/lib/x"), "read");
  auto x = table.listing();
  CAF_REQUIRE_EQUAL(x.loans.size(), 2u);
  CAF_CHECK(x.loans[0]
            == (scope_loan{"l-1", "operator", "a", rules("w:/ws/a").allow[0]}));
  CAF_REQUIRE_EQUAL(x.allocations.size(), 2u);
  CAF_CHECK_EQUAL(x.allocations[0].lender, "operator");
  CAF_CHECK_EQUAL(x.allocations[1].lender, "");
}

CAF_TEST(delegate_must_be_subset) {
  CAF_CHECK_EQUAL(lend("operator", "a", "w:/"), "not_allowed");
  CAF_CHECK_EQUAL(lend("operator", "a", "w:/lib"), "not_allowed");
  CAF_CHECK_EQUAL(lend("operator", "a", "w:/ws/a,w:/other"), "not_allowed");
  CAF_CHECK(says("'w:/other'"));
  CAF_CHECK(says("out of the bounds"));
  CAF_CHECK_EQUAL(lend("operator", "a", "w:/ws"), "not_allowed");
  CAF_CHECK(says("'-w:/ws/.git'"));
  CAF_CHECK_EQUAL(lend("operator", "a", "r:/ws"), "");
}

CAF_TEST(delegate_uses_delegation_scope_not_direct_effective_write) {
  CAF_CHECK_EQUAL(lend("operator", "worker", "w:/ws/a"), "");
  CAF_CHECK_EQUAL(lend("worker", "b", "w:/ws/a/b"), "not_allowed");
  CAF_CHECK(says("may write there, but may not lend"));
  // One that only reads lends what it may lend.
  CAF_CHECK_EQUAL(lend("operator", "lead", "r:/ws,w:/ws/t,-w:/ws/t", "w:/ws/t"),
                  "");
  CAF_CHECK_EQUAL(at("lead", "/ws/t/x"), "read");
  CAF_CHECK_EQUAL(lend("lead", "c", "w:/ws/t/c"), "");
  CAF_CHECK_EQUAL(writers("/ws/t/c/x"), "c");
}

CAF_TEST(duplicate_pod_name_rejected) {
  CAF_CHECK_EQUAL(lend("operator", "a", "w:/ws/a"), "");
  CAF_CHECK_EQUAL(lend("operator", "a", "w:/ws/b"), "conflict");
  CAF_CHECK(says("'a'"));
  CAF_CHECK_EQUAL(lend("operator", "operator", "w:/ws/b"), "conflict");
  CAF_CHECK_EQUAL(lend("a", "a", "w:/ws/b"), "conflict");
}

CAF_TEST(a lender that is not there is not found) {
  CAF_CHECK_EQUAL(lend("nobody", "a", "w:/ws/a"), "not_found");
  CAF_CHECK(says("'nobody'"));
  CAF_CHECK_EQUAL(lend("", "a", "w:/ws/a"), "not_found");
}

CAF_TEST(empty_allow_rejected) {
  CAF_CHECK_EQUAL(lend("operator", "a", ""), "invalid_argument");
  CAF_CHECK_EQUAL(lend("operator", "", "w:/ws/a"), "invalid_argument");
}

CAF_TEST(relative_target_rejected_as_invariant_violation) {
  for (auto* path : {"", "ws/a", "/ws/../etc", "/ws/a/..", "/ws//a", "/ws/a/",
                     "/ws/./a", "/ws/\xFF"})
    for (auto list : {&scope::allow, &scope::deny}) {
      auto own = request("operator", "a", "w:/ws/a", "w:/ws/a");
      (own.own.*list).push_back({path, permission::read, true});
      CAF_CHECK_EQUAL(lend(own), "invalid_argument");
      auto lent = request("operator", "a", "w:/ws/a", "w:/ws/a");
      (lent.delegation.*list).push_back({path, permission::read, true});
      CAF_CHECK_EQUAL(lend(lent), "invalid_argument");
    }
  auto x = request("operator", "a", "w:/ws/a");
  x.own.allow[0].level = static_cast<permission>(3);
  CAF_CHECK_EQUAL(lend(x), "invalid_argument");
}

CAF_TEST(nobody may lend what it is not lent) {
  CAF_CHECK_EQUAL(lend("operator", "a", "w:/ws/a", "w:/ws/b"),
                  "invalid_argument");
  CAF_CHECK(says("'w:/ws/b'"));
  CAF_CHECK_EQUAL(lend("operator", "a", "r:/ws/a", "w:/ws/a"),
                  "invalid_argument");
  CAF_CHECK_EQUAL(lend("operator", "a", "w1:/ws/a", "w:/ws/a"),
                  "invalid_argument");
  CAF_CHECK_EQUAL(lend("operator", "a", "w:/ws/a", "r:/ws/a/b,-r:/ws/a/b/c"),
                  "");
  CAF_CHECK_EQUAL(lend("a", "b", "r:/ws/a/b"), "not_allowed");
  CAF_CHECK_EQUAL(lend("a", "b", "r:/ws/a/b/d"), "");
  CAF_CHECK_EQUAL(lend("b", "c", "r:/ws/a/b/d"), "not_allowed");
}

CAF_TEST(a loan whose id is taken is refused and changes nothing) {
  CAF_CHECK_EQUAL(lend("operator", "a", "w:/ws/a"), "");
  auto before = table.listing();
  auto make = [] { return std::string{"l-1"}; };
  CAF_CHECK(!table.lend(request("operator", "b", "w:/ws/b"), make));
  auto twice = [] { return std::string{"l-2"}; };
  CAF_CHECK(!table.lend(request("operator", "b", "w:/ws/b,r:/lib"), twice));
  CAF_CHECK(table.listing() == before);
}

// -- conflicts ----------------------------------------------------------------

CAF_TEST(register_detects_write_conflict) {
  CAF_CHECK_EQUAL(lend("operator", "a", "w:/ws/src"), "");
  for (auto* wish :
       {"w:/ws/src", "w:/ws/src/core", "w1:/ws/src/x", "r:/lib,w:/ws/src/x"})
    CAF_CHECK_EQUAL(lend("operator", "b", wish), "conflict");
  CAF_CHECK(says("'a'"));
  CAF_CHECK(says("'w:/ws/src'"));
  CAF_CHECK_EQUAL(lend("operator", "b", "w:/ws/srcx"), "");
  CAF_CHECK_EQUAL(describe(errc::conflict).exit_code, 6);
}

CAF_TEST(one level above what somebody else has is shared by one path) {
  CAF_CHECK_EQUAL(lend("operator", "a", "w:/ws/x/a"), "");
  CAF_CHECK_EQUAL(lend("operator", "b", "w1:/ws/x"), "conflict");
  CAF_CHECK_EQUAL(lend("operator", "b", "w:/ws/x"), "conflict");
  CAF_CHECK_EQUAL(lend("operator", "b", "w1:/ws/x/b,w1:/ws/x/b/c"), "");
  CAF_CHECK_EQUAL(lend("operator", "c", "w:/ws/x/b/c"), "conflict");
  CAF_CHECK_EQUAL(lend("operator", "c", "w:/ws/x/b/d"), "conflict");
  CAF_CHECK_EQUAL(lend("operator", "c", "w:/ws/x/b/d/e"), "");
}

CAF_TEST(names that sort around a slash are no part of a folder) {
  for (auto* path : {"/ws/a!", "/ws/a.b", "/ws/a0", "/ws/a-"})
    CAF_CHECK_EQUAL(lend("operator", path, std::string{"w:"} + path), "");
  CAF_CHECK_EQUAL(lend("operator", "a", "w:/ws/a"), "");
  CAF_CHECK_EQUAL(lend("operator", "b", "w:/ws/a/\x7F/x"), "conflict");
}

CAF_TEST(read_rules_do_not_conflict_with_write) {
  CAF_CHECK_EQUAL(lend("operator", "a", "w:/ws/src"), "");
  CAF_CHECK_EQUAL(lend("operator", "b", "r:/ws/src"), "");
  CAF_CHECK_EQUAL(lend("operator", "c", "r:/ws"), "");
  CAF_CHECK_EQUAL(lend("operator", "d", "w:/ws/doc"), "");
  CAF_CHECK_EQUAL(at("b", "/ws/src/x"), "read");
}

CAF_TEST(delegate_rejects_sibling_overlap naming the sibling) {
  CAF_CHECK_EQUAL(lend("operator", "lead", "w:/ws/src", "w:/ws/src"), "");
  CAF_CHECK_EQUAL(lend("lead", "a", "w:/ws/src/x"), "");
  CAF_CHECK_EQUAL(lend("lead", "b", "w:/ws/src/x"), "conflict");
  CAF_CHECK(says("'a' may write there by 'w:/ws/src/x', which 'lead' lent it"));
  CAF_CHECK_EQUAL(lend("lead", "b", "w:/ws/src"), "conflict");
  CAF_CHECK_EQUAL(lend("lead", "b", "w:/ws/src/y"), "");
}

CAF_TEST(conflict_detection_descends_to_real_owner) {
  CAF_CHECK_EQUAL(lend("operator", "a", "w:/ws/src", "w:/ws/src"), "");
  CAF_CHECK_EQUAL(lend("a", "b", "w:/ws/src/core", "w:/ws/src/core"), "");
  CAF_CHECK_EQUAL(lend("b", "c", "w:/ws/src/core/x"), "");
  CAF_CHECK_EQUAL(lend("operator", "d", "w:/ws/src/core/x"), "conflict");
  CAF_CHECK(says("'c' may write there by 'w:/ws/src/core/x', which 'b'"));
  CAF_CHECK_EQUAL(lend("operator", "d", "w:/ws/src/core/y"), "conflict");
  CAF_CHECK(says("'b' may write there by 'w:/ws/src/core', which 'a'"));
  CAF_CHECK_EQUAL(lend("operator", "d", "w:/ws/src/y"), "conflict");
  CAF_CHECK(says("'a' may write there"));
}

CAF_TEST(denied_write_region_is_not_claimed_by_restored_parent) {
  CAF_CHECK_EQUAL(lend("operator", "first", "w:/ws/src,-w:/ws/src/core"), "");
  CAF_CHECK_EQUAL(lend("operator", "second", "w:/ws/src"), "conflict");
  CAF_CHECK(says("'first' may write there by 'w:/ws/src'"));
  CAF_CHECK_EQUAL(lend("operator", "second", "w:/ws/src/core"), "");
  CAF_CHECK_EQUAL(writers("/ws/src/core/x"), "second");
  CAF_CHECK_EQUAL(writers("/ws/src/x"), "first");
}

CAF_TEST(partial_deny_does_not_hide_parent_conflict) {
  CAF_CHECK_EQUAL(lend("operator", "first", "w:/ws/src,-w:/ws/src/core/x"), "");
  CAF_CHECK_EQUAL(lend("operator", "second", "w:/ws/src/core"), "conflict");
  CAF_CHECK_EQUAL(lend("operator", "third", "w:/ws/d,-w1:/ws/d/e"), "");
  CAF_CHECK_EQUAL(lend("operator", "second", "w:/ws/d/e"), "conflict");
  CAF_CHECK_EQUAL(lend("operator", "second", "w1:/ws/d/e"), "");
}

CAF_TEST(what the new one is denied itself is no conflict) {
  CAF_CHECK_EQUAL(lend("operator", "second", "w:/ws/src/core"), "");
  CAF_CHECK_EQUAL(lend("operator", "first", "w:/ws/src,-w:/ws/src/core/x"),
                  "conflict");
  CAF_CHECK_EQUAL(lend("operator", "first", "w:/ws/src,-w:/ws/src/core"), "");
  CAF_CHECK_EQUAL(writers("/ws/src/core/x"), "second");
  release("second");
  // It goes back to who lent it, not to who was denied it.
  CAF_CHECK_EQUAL(at("first", "/ws/src/core/x"), "read");
}

CAF_TEST(of several owners one that is denied does not excuse the others) {
  CAF_CHECK_EQUAL(lend("operator", "a", "w:/ws/x/a,-w:/ws/x"), "");
  CAF_CHECK_EQUAL(lend("operator", "b", "w:/ws/x/b"), "");
  CAF_CHECK_EQUAL(lend("operator", "c", "w:/ws/x"), "conflict");
  CAF_CHECK(says("'b'"));
  release("b");
  CAF_CHECK_EQUAL(lend("operator", "c", "w:/ws/x"), "");
}

CAF_TEST(hole a a lender that only reads hides none of its borrowers) {
  CAF_CHECK_EQUAL(lend("operator", "lead", "r:/ws,w:/ws/t,-w:/ws/t", "w:/ws/t"),
                  "");
  CAF_CHECK_EQUAL(lend("lead", "a", "w:/ws/t/x"), "");
  CAF_CHECK_EQUAL(lend("lead", "b", "w:/ws/t/x"), "conflict");
  CAF_CHECK(says("'a'"));
  CAF_CHECK_EQUAL(lend("operator", "b", "w:/ws/t/x"), "conflict");
  CAF_CHECK(says("'a'"));
}

CAF_TEST(hole b what a lender is denied itself hides none of its borrowers) {
  CAF_CHECK_EQUAL(lend("operator", "lead", "w:/ws/t,-w:/ws/t/x", "w:/ws/t"),
                  "");
  CAF_CHECK_EQUAL(lend("lead", "a", "w:/ws/t/x/y"), "");
  CAF_CHECK_EQUAL(lend("operator", "b", "w:/ws/t/x"), "conflict");
  CAF_CHECK(says("'a'"));
  CAF_CHECK_EQUAL(lend("lead", "b", "w:/ws/t/x"), "conflict");
  CAF_CHECK(says("'a'"));
}

CAF_TEST(consequence c what a borrower is denied from the start is known) {
  // Its denial leaves room for a borrower of somebody else.
  CAF_CHECK_EQUAL(lend("operator", "plain", "w:/ws/p,-w:/ws/p/.worktree"), "");
  CAF_CHECK_EQUAL(lend("operator", "coder", "w:/ws/p/.worktree/c"), "");
  CAF_CHECK_EQUAL(writers("/ws/p/.worktree/c/x"), "coder");
}

// -- giving back --------------------------------------------------------------

CAF_TEST(delegated_scope_returns_to_parent_on_release) {
  auto before = table.listing();
  CAF_CHECK_EQUAL(lend("operator", "a", "w:/ws/a,r:/lib"), "");
  CAF_CHECK_EQUAL(at("operator", "/ws/a/x"), "read");
  auto x = release("a");
  CAF_CHECK_EQUAL(x.ended.name, "a");
  CAF_CHECK_EQUAL(x.ended.own.allow.size(), 2u);
  CAF_CHECK_EQUAL(x.returned.size(), 2u);
  CAF_CHECK(x.moved.empty());
  CAF_CHECK_EQUAL(at("operator", "/ws/a/x"), "write");
  CAF_CHECK(table.listing() == before);
}

CAF_TEST(releasing_pod_reopens_scope_for_fresh_registration) {
  CAF_CHECK_EQUAL(lend("operator", "a", "w:/ws/a"), "");
  CAF_CHECK_EQUAL(lend("operator", "b", "w:/ws/a"), "conflict");
  release("a");
  CAF_CHECK_EQUAL(lend("operator", "b", "w:/ws/a"), "");
  CAF_CHECK_EQUAL(lend("operator", "a", "w:/ws/b"), "");
}

CAF_TEST(a new one of the same name has nothing of the old one) {
  CAF_CHECK_EQUAL(lend("operator", "a", "w:/ws/a,r:/lib,-w:/ws/a/x"), "");
  CAF_CHECK_EQUAL(at("a", "/ws/a/x"), "read");
  release("a");
  CAF_CHECK_EQUAL(lend("operator", "a", "w:/ws/a"), "");
  CAF_CHECK_EQUAL(at("a", "/ws/a/x"), "write");
  CAF_CHECK_EQUAL(at("a", "/lib/x"), "none");
}

CAF_TEST(a second release finds nothing and changes nothing) {
  CAF_CHECK_EQUAL(lend("operator", "a", "w:/ws/a"), "");
  release("a");
  auto before = table.listing();
  auto again = table.release("a");
  CAF_REQUIRE(!again);
  CAF_CHECK_EQUAL(again.error().code, errc::not_found);
  CAF_CHECK(again.error().message.find("'a'") != std::string::npos);
  auto root = table.release("operator");
  CAF_REQUIRE(!root);
  CAF_CHECK_EQUAL(root.error().code, errc::not_allowed);
  CAF_CHECK(table.listing() == before);
}

CAF_TEST(release_reparents_children) {
  CAF_CHECK_EQUAL(lend("operator", "a", "w:/ws/a,r:/lib", "w:/ws/a,r:/lib"),
                  "");
  CAF_CHECK_EQUAL(lend("a", "b", "w:/ws/a/b,r:/lib", "w:/ws/a/b"), "");
  CAF_CHECK_EQUAL(lend("b", "c", "w:/ws/a/b/c"), "");
  auto x = release("a");
  CAF_REQUIRE_EQUAL(x.moved.size(), 2u);
  CAF_CHECK(
    x.moved[0]
    == (scope_loan{"l-3", "operator", "b", rules("w:/ws/a/b").allow[0]}));
  CAF_CHECK_EQUAL(lender_of("b"), "operator");
  CAF_CHECK_EQUAL(lender_of("c"), "b");
  // What lives on keeps what it has, and nobody else gets that.
  CAF_CHECK_EQUAL(at("b", "/ws/a/b/x"), "write");
  CAF_CHECK_EQUAL(at("b", "/ws/a/b/c/x"), "read");
  CAF_CHECK_EQUAL(at("operator", "/ws/a/b/x"), "read");
  CAF_CHECK_EQUAL(at("operator", "/ws/a/x"), "write");
  CAF_CHECK_EQUAL(lend("operator", "d", "w:/ws/a"), "conflict");
  CAF_CHECK(says("'c'"));
  release("b");
  CAF_CHECK_EQUAL(writers("/ws/a/b/c/x"), "c");
  release("c");
  CAF_CHECK_EQUAL(writers("/ws/a/b/c/x"), "operator");
  CAF_CHECK_EQUAL(table.size(), 1u);
  CAF_CHECK(table.listing().loans.empty());
}

CAF_TEST(nobody gets back by a release what somebody else has meanwhile) {
  CAF_CHECK_EQUAL(lend("operator", "a", "w:/ws/s", "w:/ws/s"), "");
  CAF_CHECK_EQUAL(lend("a", "b", "w:/ws/s,-w:/ws/s/x"), "");
  // Nobody writes there now, but `a` will again.
  CAF_CHECK_EQUAL(writers("/ws/s/x"), "");
  CAF_CHECK_EQUAL(lend("operator", "d", "w:/ws/s/x"), "conflict");
  CAF_CHECK(says("'a'"));
  CAF_CHECK_EQUAL(lend("a", "d", "w:/ws/s/x"), "");
  release("b");
  CAF_CHECK_EQUAL(writers("/ws/s/x"), "d");
  CAF_CHECK_EQUAL(writers("/ws/s/y"), "a");
}

CAF_TEST(reclaim_delegated_scope_removes_child_and_one_parent_deny_layer) {
  // The layers are loans with ids, so that none is mistaken for another.
  CAF_CHECK_EQUAL(lend("operator", "a", "w:/ws/a", "w:/ws/a"), "");
  CAF_CHECK_EQUAL(lend("a", "b", "w:/ws/a", "w:/ws/a"), "");
  CAF_CHECK_EQUAL(lend("b", "c", "w:/ws/a"), "");
  CAF_CHECK_EQUAL(writers("/ws/a/x"), "c");
  release("b");
  CAF_CHECK_EQUAL(at("a", "/ws/a/x"), "read");
  CAF_CHECK_EQUAL(writers("/ws/a/x"), "c");
  release("c");
  CAF_CHECK_EQUAL(writers("/ws/a/x"), "a");
  release("a");
  CAF_CHECK_EQUAL(writers("/ws/a/x"), "operator");
}

CAF_TEST(with_removed_deny_rules_reclaims_one_matching_layer) {
  // Two loans of one rule for reading, and a base deny beside one for writing.
  CAF_CHECK_EQUAL(lend("operator", "a", "r:/lib,w:/ws/a"), "");
  CAF_CHECK_EQUAL(lend("operator", "b", "r:/lib"), "");
  release("b");
  CAF_CHECK_EQUAL(at("a", "/lib/x"), "read");
  CAF_CHECK_EQUAL(at("operator", "/ws/a/x"), "read");
  release("a");
  CAF_CHECK_EQUAL(at("operator", "/ws/a/x"), "write");
  CAF_CHECK_EQUAL(at("operator", "/ws/.git"), "read");
}

CAF_TEST(reclaim_stale_reparents_and_removes_dead_entries in any order) {
  for (auto dead : {std::pair{"a", "b"}, std::pair{"b", "a"}}) {
    CAF_CHECK_EQUAL(lend("operator", "a", "w:/ws/a", "w:/ws/a"), "");
    CAF_CHECK_EQUAL(lend("a", "b", "w:/ws/a/b", "w:/ws/a/b"), "");
    CAF_CHECK_EQUAL(lend("b", "c", "w:/ws/a/b/c"), "");
    release(dead.first);
    release(dead.second);
    CAF_CHECK_EQUAL(lender_of("c"), "operator");
    CAF_CHECK_EQUAL(writers("/ws/a/b/c/x"), "c");
    CAF_CHECK_EQUAL(writers("/ws/a/b/x"), "operator");
    release("c");
  }
}

CAF_TEST(a grandchild that goes first leaves its lender what that was lent) {
  CAF_CHECK_EQUAL(lend("operator", "a", "w:/ws/a", "w:/ws/a"), "");
  CAF_CHECK_EQUAL(lend("a", "b", "w:/ws/a"), "");
  // Its rule is the one that its lender was lent; only one loan of it ends.
  release("b");
  CAF_CHECK_EQUAL(at("a", "/ws/a/x"), "write");
  CAF_CHECK_EQUAL(at("operator", "/ws/a/x"), "read");
}

CAF_TEST(base denies survive a loan of exactly what they deny) {
  // Only a lender that is denied itself what it may lend can lend that.
  CAF_CHECK_EQUAL(lend("operator", "lead", "w:/ws/t,-w:/ws/t/x", "w:/ws/t"),
                  "");
  CAF_CHECK_EQUAL(lend("lead", "a", "w:/ws/t/x"), "");
  CAF_CHECK_EQUAL(at("lead", "/ws/t/x/y"), "read");
  release("a");
  CAF_CHECK_EQUAL(at("lead", "/ws/t/x/y"), "read");
  CAF_CHECK_EQUAL(at("lead", "/ws/t/y"), "write");
  CAF_CHECK_EQUAL(at("operator", "/ws/.git/x"), "read");
}

// -- looking ------------------------------------------------------------------

CAF_TEST(who has what at a path is told with the rule and the lender) {
  CAF_CHECK_EQUAL(lend("operator", "a", "r:/ws,w:/ws/a"), "");
  CAF_CHECK_EQUAL(lend("operator", "b", "r:/lib"), "");
  auto x = table.holders_of("/ws/a/x");
  CAF_REQUIRE_EQUAL(x.size(), 2u);
  CAF_CHECK(x[0]
            == (scope_holder{"a", permission::write, rules("w:/ws/a").allow[0],
                             "operator"}));
  CAF_CHECK(x[1]
            == (scope_holder{"operator", permission::read,
                             rules("w:/ws").allow[0], ""}));
  CAF_CHECK(table.holders_of("/").empty());
  CAF_CHECK(table.holders_of("/other/x").empty());
}

CAF_TEST(who is not there has no scope) {
  CAF_CHECK_EQUAL(table.permission_of("a", "/ws").error().code,
                  errc::not_found);
  CAF_CHECK_EQUAL(table.effective_scope("a").error().code, errc::not_found);
  CAF_CHECK(table.find("a") == nullptr);
}

// -- the disk -----------------------------------------------------------------

CAF_TEST(save_and_reopen_roundtrip) {
  CAF_CHECK_EQUAL(
    lend("operator", "a", "w:/ws/a,r:/lib,-w:/ws/a/x", "w:/ws/a,-r:/ws/a/y"),
    "");
  CAF_CHECK_EQUAL(lend("a", "b", "w:/ws/a/b"), "");
  CAF_CHECK_EQUAL(lend("operator", "c", "w:/ws/a/x"), "");
  auto written = listing_json(table.listing());
  scope_table again{"operator", rules("w:/ws,r:/lib,-w:/ws/.git")};
  CAF_REQUIRE(again.restore(*listing_from(written)));
  CAF_CHECK(again.listing() == table.listing());
  table = std::move(again);
  CAF_CHECK_EQUAL(writers("/ws/a/b/x"), "b");
  CAF_CHECK_EQUAL(writers("/ws/a/x/y"), "c");
  CAF_CHECK_EQUAL(at("a", "/ws/a/b"), "read");
  CAF_CHECK_EQUAL(lend("operator", "d", "w:/ws/a/b"), "conflict");
  release("a");
  CAF_CHECK_EQUAL(lender_of("b"), "operator");
}

CAF_TEST(a grant that was made smaller takes nothing from those who live) {
  CAF_CHECK_EQUAL(lend("operator", "a", "w:/ws/a", "w:/ws/a"), "");
  CAF_CHECK_EQUAL(lend("a", "b", "w:/ws/a/b"), "");
  auto written = table.listing();
  table = scope_table{"operator", rules("w:/ws/b")};
  CAF_REQUIRE(table.restore(written));
  CAF_CHECK_EQUAL(at("b", "/ws/a/b/x"), "write");
  CAF_CHECK_EQUAL(at("operator", "/ws/a"), "none");
  CAF_CHECK_EQUAL(lend("operator", "c", "w:/ws/c"), "not_allowed");
  CAF_CHECK_EQUAL(lend("operator", "c", "w:/ws/b"), "");
  release("a");
  release("b");
  CAF_CHECK_EQUAL(at("operator", "/ws/a/b/x"), "none");
}

CAF_TEST(what is on disk may lack the root and be empty) {
  CAF_CHECK_EQUAL(lend("operator", "a", "w:/ws/a"), "");
  auto written = table.listing();
  written.allocations.pop_back();
  CAF_REQUIRE(table.restore(written));
  CAF_CHECK_EQUAL(table.size(), 2u);
  CAF_REQUIRE(table.restore({}));
  CAF_CHECK_EQUAL(table.size(), 1u);
  CAF_CHECK_EQUAL(writers("/ws/a"), "operator");
}

CAF_TEST(a document that does not agree is refused by its culprit) {
  CAF_CHECK_EQUAL(lend("operator", "a", "w:/ws/a,r:/lib", "w:/ws/a"), "");
  CAF_CHECK_EQUAL(lend("a", "b", "w:/ws/a/b"), "");
  CAF_CHECK_EQUAL(lend("operator", "c", "w:/ws/c"), "");
  auto good = table.listing();
  // `a`, `b`, `c` and the operator; two loans to `a`, one to `b` and to `c`.
  CAF_REQUIRE_EQUAL(good.allocations.size(), 4u);
  CAF_REQUIRE_EQUAL(good.loans.size(), 4u);
  auto refused = [&](std::string_view culprit, auto change) {
    auto bad = good;
    change(bad.allocations, bad.loans);
    auto out = table.restore(bad);
    CAF_REQUIRE(!out);
    CAF_CHECK_EQUAL(out.error().code, errc::registry_corrupted);
    why = out.error().message;
    CAF_CHECK(says(culprit));
    CAF_CHECK(table.listing() == good);
  };
  auto other = rules("w:/ws/d").allow[0];
  refused("'b' stands there twice", [](auto& x, auto&) { x.push_back(x[1]); });
  refused("'c' has no lender", [](auto& x, auto&) { x[2].lender = ""; });
  refused("'operator' has a lender", [](auto& x, auto&) { x[3].lender = "a"; });
  refused("'b' has its scope from 'd'",
          [](auto& x, auto& loans) { x[1].lender = loans[2].lender = "d"; });
  refused("'b' has its scope from 'a'", [](auto& x, auto& loans) {
    x[0].lender = loans[0].lender = loans[1].lender = "b";
  });
  refused("'l-1'", [](auto&, auto& loans) { loans[1].id = "l-1"; });
  refused("''", [](auto&, auto& loans) { loans[1].id = ""; });
  refused("'l-3' is to 'd'",
          [](auto&, auto& loans) { loans[2].borrower = "d"; });
  refused("'l-3' is to 'operator'",
          [](auto&, auto& loans) { loans[2].borrower = "operator"; });
  refused("'l-3' is by 'operator'",
          [](auto&, auto& loans) { loans[2].lender = "operator"; });
  refused("the rules of 'b'",
          [](auto&, auto& loans) { loans.erase(loans.begin() + 2); });
  refused("the rules of 'b'",
          [&](auto&, auto& loans) { loans[2].rule = other; });
  refused("the rules of 'b'",
          [&](auto& x, auto&) { x[1].own.allow.push_back(other); });
  refused("'c' is lent nothing", [](auto& x, auto& loans) {
    x[2].own = {};
    loans.pop_back();
  });
  refused("'w:/ws/d'",
          [&](auto& x, auto&) { x[2].delegation.allow.push_back(other); });
  refused("'a' cannot lend 'w:/ws/d'", [&](auto& x, auto& loans) {
    x[1].own.allow[0] = loans[2].rule = other;
  });
  refused("'c' may write there by 'w:/ws/c'", [&](auto& x, auto& loans) {
    x[0].own.allow[0] = loans[0].rule = rules("w:/ws/c").allow[0];
    x[0].delegation.allow = x[0].own.allow;
    x[1].own.allow[0] = loans[2].rule = rules("w:/ws/c/x").allow[0];
    x[0].own.deny = x[0].own.allow;
  });
  refused("not resolved", [&](auto& x, auto& loans) {
    x[2].own.allow[0].target = loans[3].rule.target = "/ws/../c";
  });
  CAF_CHECK(table.restore(good));
}

CAF_TEST(reclaim_removes_parent_deny_when_child_allocation_missing) {
  // A loan without a borrower would deny its lender something for ever: there
  // is none after a release, and none is read from disk.
  CAF_CHECK_EQUAL(lend("operator", "a", "w:/ws/a"), "");
  auto bad = table.listing();
  release("a");
  CAF_CHECK_EQUAL(at("operator", "/ws/a/x"), "write");
  bad.allocations.erase(bad.allocations.begin());
  auto out = table.restore(bad);
  CAF_REQUIRE(!out);
  CAF_CHECK(out.error().message.find("'l-1' is to 'a'") != std::string::npos);
  CAF_CHECK_EQUAL(at("operator", "/ws/a/x"), "write");
}

CAF_TEST_FIXTURE_SCOPE_END()
