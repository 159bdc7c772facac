// SPDX-License-Identifier: Apache-2.0

// What rules mean, alone and together.

#define CAF_SUITE pod.scope_rules

#include "actors/pod/scope_rules.hpp"

#include "tests/support/suite.hpp"

using namespace muster;

namespace {

scope_rule rule(std::string_view text) {
  auto out = parse_rules(text);
  CAF_REQUIRE(out);
  CAF_REQUIRE_EQUAL(out->size(), 1u);
  return out->front();
}

/// A scope that may be empty.
scope rules(std::string_view text) {
  if (text.empty())
    return {};
  auto out = parse_scope(text);
  CAF_REQUIRE(out);
  return *out;
}

/// `write`, `read` or `none`.
std::string at(const scope& x, std::string_view path) {
  auto level = permission_of(x, path);
  return level ? to_string(*level) : "none";
}

std::string at(std::string_view text, std::string_view path) {
  return at(rules(text), path);
}

bool overlapping(std::string_view a, std::string_view b) {
  auto out = overlap(rule(a), rule(b));
  CAF_CHECK_EQUAL(overlap(rule(b), rule(a)), out);
  return out;
}

bool covering(std::string_view a, std::string_view b) {
  return covers(rule(a), rule(b));
}

/// Why `what` may not be lent; empty if it may.
std::string refusal(std::string_view own, std::string_view delegation,
                    std::string_view what) {
  auto out = check_lendable("p", rules(own), rules(delegation), rule(what));
  if (out)
    return {};
  CAF_CHECK_EQUAL(out.error().code, errc::not_allowed);
  return out.error().message;
}

bool may_lend(std::string_view delegation, std::string_view what) {
  return refusal("", delegation, what).empty();
}

bool leaves(std::string_view given, std::string_view region,
            std::vector<scope_rule> denies) {
  return leaves_writable(rule(given), rule(region), denies);
}

} // namespace

// -- the permission on a path -------------------------------------------------

CAF_TEST(writable_shortcut_permits_root and all below it) {
  CAF_CHECK_EQUAL(at("w:/ws", "/ws"), "write");
  CAF_CHECK_EQUAL(at("w:/ws", "/ws/a/b"), "write");
  CAF_CHECK_EQUAL(at("w:/", "/"), "write");
  CAF_CHECK_EQUAL(at("w:/", "/a/b"), "write");
}

CAF_TEST(writable_shortcut_rejects_outside also with the same beginning) {
  CAF_CHECK_EQUAL(at("w:/ws", "/"), "none");
  CAF_CHECK_EQUAL(at("w:/ws", "/wsx"), "none");
  CAF_CHECK_EQUAL(at("w:/ws", "/other/ws"), "none");
}

CAF_TEST(allow_write_grants_read_and_write) {
  // Of the two permissions the stronger is said, and includes the other.
  CAF_CHECK_EQUAL(at("w:/d", "/d/a"), "write");
  CAF_CHECK(permission::write > permission::read);
}

CAF_TEST(allow_read_only) {
  CAF_CHECK_EQUAL(at("r:/d", "/d/a"), "read");
}

CAF_TEST(deny_write_downgrades_to_read below it only) {
  CAF_CHECK_EQUAL(at("w:/d,-w:/d/sub", "/d/sub/a"), "read");
  CAF_CHECK_EQUAL(at("w:/d,-w:/d/sub", "/d/sub"), "read");
  CAF_CHECK_EQUAL(at("w:/d,-w:/d/sub", "/d/top"), "write");
  // What is given below a denial is denied all the same.
  CAF_CHECK_EQUAL(at("w:/d,w:/d/sub/a,-w:/d/sub", "/d/sub/a"), "read");
}

CAF_TEST(deny_read_removes_access_entirely) {
  CAF_CHECK_EQUAL(at("w:/d,-r:/d/secret", "/d/secret"), "none");
  CAF_CHECK_EQUAL(at("w:/d,-r:/d/secret", "/d/secret/a"), "none");
  CAF_CHECK_EQUAL(at("w:/d,-w:/d,-r:/d/secret", "/d/secret/a"), "none");
  CAF_CHECK_EQUAL(at("w:/d,-r:/d/secret", "/d/a"), "write");
}

CAF_TEST(multiple_allow_rules_take_max in either order) {
  for (auto* text : {"r:/d,w:/d/docs", "w:/d/docs,r:/d"}) {
    CAF_CHECK_EQUAL(at(text, "/d/a"), "read");
    CAF_CHECK_EQUAL(at(text, "/d/docs/a"), "write");
  }
}

CAF_TEST(non_recursive_rule_matches_direct_children_only) {
  CAF_CHECK_EQUAL(at("w1:/d", "/d"), "write");
  CAF_CHECK_EQUAL(at("w1:/d", "/d/top"), "write");
  CAF_CHECK_EQUAL(at("w1:/d", "/d/a/b"), "none");
  CAF_CHECK_EQUAL(at("w1:/d", "/d/a/b/deep"), "none");
  CAF_CHECK_EQUAL(at("w1:/", "/top"), "write");
  CAF_CHECK_EQUAL(at("w1:/", "/top/a"), "none");
}

CAF_TEST(readable_paths_includes_writable) {
  CAF_CHECK(permission_of(rules("w:/d"), "/d/a") >= permission::read);
}

CAF_TEST(with_added_allow_rules_grows_readable_set) {
  auto x = rules("w:/d");
  CAF_CHECK_EQUAL(at(x, "/e/a"), "none");
  x.allow.push_back(rule("r:/e"));
  CAF_CHECK_EQUAL(at(x, "/e/a"), "read");
  CAF_CHECK_EQUAL(at(x, "/d/a"), "write");
}

CAF_TEST(with_added_deny_rules_demotes_write_to_read) {
  auto x = rules("w:/d");
  x.deny.push_back(rule("w:/d/a"));
  CAF_CHECK_EQUAL(at(x, "/d/a"), "read");
  CAF_CHECK_EQUAL(at(x, "/d/b"), "write");
}

// -- overlap and cover --------------------------------------------------------

CAF_TEST(rules_overlap_prefix_relation) {
  CAF_CHECK(overlapping("w:/src", "w:/src/core"));
  CAF_CHECK(overlapping("w:/src", "w:/src"));
  CAF_CHECK(overlapping("w:/", "w:/src"));
  CAF_CHECK(!overlapping("w:/srcx", "w:/src"));
  CAF_CHECK(!overlapping("w:/src/a", "w:/src/b"));
}

CAF_TEST(rules_overlap_non_recursive) {
  CAF_CHECK(!overlapping("w1:/src", "w:/src/a/b"));
  CAF_CHECK(overlapping("w1:/src", "w1:/src/child"));
  CAF_CHECK(overlapping("w1:/src", "w:/src/child"));
  CAF_CHECK(overlapping("w1:/src", "w:/src"));
  CAF_CHECK(overlapping("w1:/src", "w1:/src"));
  CAF_CHECK(overlapping("w1:/src/a/b", "w:/src"));
  CAF_CHECK(!overlapping("w1:/src", "w1:/src/a/b"));
  CAF_CHECK(!overlapping("w1:/src/a", "w1:/src/b"));
  CAF_CHECK(overlapping("w1:/", "w1:/a"));
  CAF_CHECK(!overlapping("w1:/", "w1:/a/b"));
}

CAF_TEST(a rule covers what reaches no further and asks no more) {
  CAF_CHECK(covering("w:/d", "r:/d/a"));
  CAF_CHECK(covering("w:/d", "w1:/d"));
  CAF_CHECK(covering("w:/d", "w:/d"));
  CAF_CHECK(!covering("r:/d", "w:/d"));
  CAF_CHECK(!covering("w:/d/a", "w:/d"));
  CAF_CHECK(!covering("w:/d", "w:/dx"));
  CAF_CHECK(covering("w1:/d", "w1:/d"));
  CAF_CHECK(covering("w1:/d", "r1:/d"));
  CAF_CHECK(!covering("w1:/d", "w:/d"));
  CAF_CHECK(!covering("w1:/d", "w1:/d/a"));
  CAF_CHECK(!covering("w1:/d", "w:/d/a"));
}

// -- lending ------------------------------------------------------------------

CAF_TEST(delegation_non_recursive_grant_rejects_child_non_recursive_request) {
  CAF_CHECK(!may_lend("w1:/d", "w1:/d/child"));
  CAF_CHECK(!may_lend("w1:/d", "w:/d"));
}

CAF_TEST(delegation_non_recursive_grant_allows_exact_non_recursive_request) {
  CAF_CHECK(may_lend("w1:/d", "w1:/d"));
  CAF_CHECK(may_lend("w1:/d", "r1:/d"));
}

CAF_TEST(delegation_recursive_grant_allows_child_non_recursive_request) {
  CAF_CHECK(may_lend("w:/d", "w1:/d/child"));
}

CAF_TEST(delegation_non_recursive_deny_overlaps_child_recursive_request) {
  CAF_CHECK(!may_lend("w:/d,-w1:/d/a", "w:/d/a/child"));
  CAF_CHECK(may_lend("w:/d,-w1:/d/a", "w:/d/a/child/deep"));
}

CAF_TEST(a denied write does not bite who asks to read
         and a denied read bites both) {
  CAF_CHECK(may_lend("w:/d,-w:/d/x", "r:/d"));
  CAF_CHECK(!may_lend("w:/d,-w:/d/x", "w:/d"));
  CAF_CHECK(!may_lend("w:/d,-r:/d/x", "r:/d"));
  CAF_CHECK(!may_lend("w:/d,-r:/d/x", "w:/d"));
}

CAF_TEST(two rules together lend nothing that neither does alone) {
  CAF_CHECK(!may_lend("w1:/d,w:/d/a,w:/d/b", "w:/d"));
}

CAF_TEST(delegate_uses_delegation_scope_not_direct_effective_write) {
  CAF_CHECK(!refusal("w:/d", "", "r:/d").empty());
  // Who only reads may lend to write.
  CAF_CHECK(refusal("r:/d", "w:/d", "w:/d").empty());
}

CAF_TEST(a refusal says which of the reasons it has) {
  CAF_CHECK_EQUAL(refusal("w:/d", "r:/e", "w:/d/a"),
                  "'p' cannot lend 'w:/d/a': it may write there, but may not "
                  "lend that");
  CAF_CHECK_EQUAL(refusal("w:/d", "r:/d", "r:/e"),
                  "'p' cannot lend 'r:/e': that is out of the bounds of what "
                  "it may lend");
  CAF_CHECK_EQUAL(refusal("r:/d", "", "w:/d"),
                  "'p' cannot lend 'w:/d': it may lend nothing");
  CAF_CHECK_EQUAL(refusal("r:/", "r:/,w1:/d", "w:/d"),
                  "'p' cannot lend 'w:/d': that goes beyond 'w1:/d', which is "
                  "what it may lend there");
  CAF_CHECK_EQUAL(refusal("w:/d", "w:/d,-w:/e,-w1:/d/x", "w:/d"),
                  "'p' cannot lend 'w:/d': what it may lend is denied by "
                  "'-w1:/d/x'");
}

CAF_TEST(who is denied a part may not do the whole himself) {
  // Otherwise the reason would be that it may not be lent.
  CAF_CHECK_EQUAL(refusal("w:/d,-w:/d/x", "", "w:/d"),
                  "'p' cannot lend 'w:/d': it may lend nothing");
}

// -- what denials leave -------------------------------------------------------

CAF_TEST(only a denial of all that two rules share leaves nothing) {
  CAF_CHECK(leaves("w:/d", "w:/d/a", {}));
  CAF_CHECK(!leaves("r:/d", "w:/d/a", {}));
  CAF_CHECK(!leaves("w:/d", "w:/e", {}));
  CAF_CHECK(!leaves("w:/d", "w:/d/a", {rule("w:/d/a")}));
  CAF_CHECK(!leaves("w:/d", "w:/d/a", {rule("r:/d")}));
  CAF_CHECK(leaves("w:/d", "w:/d/a", {rule("w:/d/a/b")}));
  CAF_CHECK(leaves("w:/d", "w:/d/a", {rule("w1:/d/a")}));
  CAF_CHECK(!leaves("w:/d", "w1:/d/a", {rule("w1:/d/a")}));
  CAF_CHECK(leaves("w:/d", "w1:/d/a", {rule("w1:/d")}));
  CAF_CHECK(leaves("w:/d/a", "w:/d", {rule("w:/d/a/b"), rule("w1:/d/a")}));
  CAF_CHECK(leaves("w1:/d", "w1:/d", {rule("w1:/")}));
  // They share one path: the folder itself.
  CAF_CHECK(!leaves("w1:/d", "w:/d/a", {rule("w1:/d")}));
  CAF_CHECK(!leaves("w1:/d", "w:/d/a", {rule("w1:/d/a")}));
  CAF_CHECK(leaves("w1:/d", "w:/d/a", {rule("w:/d/a/b")}));
  CAF_CHECK(!leaves("w1:/d", "w1:/d/a", {rule("w:/d/a")}));
}

// -- decisions by example -----------------------------------------------------

CAF_TEST(example 1 a denied write leaves read) {
  CAF_CHECK_EQUAL(at("w:/d,-w:/d/sub", "/d/sub/a"), "read");
  CAF_CHECK_EQUAL(at("w:/d,-w:/d/sub", "/d/top"), "write");
}

CAF_TEST(example 2 a denied read leaves nothing) {
  CAF_CHECK_EQUAL(at("w:/d,-r:/d/secret", "/d/secret"), "none");
}

CAF_TEST(example 3 the strongest of several rules counts) {
  CAF_CHECK_EQUAL(at("r:/d,w:/d/docs", "/d/a"), "read");
  CAF_CHECK_EQUAL(at("r:/d,w:/d/docs", "/d/docs/a"), "write");
}

CAF_TEST(example 4 a rule of one level ends there) {
  CAF_CHECK_EQUAL(at("w1:/d", "/d/top"), "write");
  CAF_CHECK_EQUAL(at("w1:/d", "/d/a/b/deep"), "none");
}

CAF_TEST(example 5 of two equal denials each denies) {
  auto x = rules("w:/d,-w:/d,-w:/d");
  x.deny.pop_back();
  CAF_CHECK_EQUAL(at(x, "/d/a"), "read");
  x.deny.pop_back();
  CAF_CHECK_EQUAL(at(x, "/d/a"), "write");
}

CAF_TEST(example 6 one level is lent out of all levels or as it is) {
  CAF_CHECK(!may_lend("w1:/d", "w1:/d/child"));
  CAF_CHECK(may_lend("w:/d", "w1:/d/child"));
  CAF_CHECK(may_lend("w1:/d", "w1:/d"));
}

CAF_TEST(example 7 a denied write does not bite a loan to read) {
  CAF_CHECK(may_lend("w:/d,-w:/d/x", "r:/d"));
  CAF_CHECK(!may_lend("w:/d,-r:/d/x", "r:/d"));
}

CAF_TEST(example 8 rules overlap where both speak of a path) {
  CAF_CHECK(!overlapping("w1:/src", "w:/src/a/b"));
  CAF_CHECK(overlapping("w1:/src", "w1:/src/child"));
  CAF_CHECK(overlapping("w1:/src", "w:/src/child"));
  CAF_CHECK(!overlapping("w:/srcx", "w:/src"));
}
