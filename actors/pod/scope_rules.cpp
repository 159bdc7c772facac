// SPDX-License-Identifier: Apache-2.0

#include "actors/pod/scope_rules.hpp"

#include "actors/pod/scope_paths.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace muster {

namespace {

/// What two rules speak of both.
struct common_paths {
  enum class extent { one_path, one_level, whole_tree };

  std::string_view top;
  extent reach = extent::one_path;
};

/// @param a overlaps `b`.
common_paths common(const scope_rule& a, const scope_rule& b) {
  using enum common_paths::extent;
  auto a_is_inner = is_within(a.target, b.target);
  auto& inner = a_is_inner ? a : b;
  auto& outer = a_is_inner ? b : a;
  if (outer.recursive)
    return {inner.target, inner.recursive ? whole_tree : one_level};
  if (inner.target == outer.target)
    return {inner.target, one_level};
  return {inner.target, one_path};
}

/// Whether `rule` speaks of all of them.
bool matches_all(const scope_rule& rule, const common_paths& x) {
  using enum common_paths::extent;
  if (rule.recursive)
    return is_within(x.top, rule.target);
  if (x.reach == one_level)
    return x.top == rule.target;
  return x.reach == one_path && matches(rule, x.top);
}

/// Whether denying `denied` takes something from who asks for `asked`.
bool bites(permission denied, permission asked) {
  return denied <= asked;
}

/// The first rule of `denies` that takes something from `rule`.
const scope_rule* biting(const std::vector<scope_rule>& denies,
                         const scope_rule& rule) {
  auto i = std::find_if(denies.begin(), denies.end(), [&](auto& x) {
    return bites(x.level, rule.level) && overlap(x, rule);
  });
  return i != denies.end() ? &*i : nullptr;
}

bool any_covers(const std::vector<scope_rule>& rules, const scope_rule& rule) {
  return std::any_of(rules.begin(), rules.end(),
                     [&](auto& x) { return covers(x, rule); });
}

/// The rule of `rules` that reaches farthest down to `rule`.
const scope_rule* nearest(const std::vector<scope_rule>& rules,
                          const scope_rule& rule) {
  const scope_rule* out = nullptr;
  for (auto& x : rules)
    if (overlap(x, rule)
        && (out == nullptr || x.target.size() > out->target.size()))
      out = &x;
  return out;
}

} // namespace

bool matches(const scope_rule& rule, std::string_view path) {
  return rule.recursive ? is_within(path, rule.target)
                        : path == rule.target || parent_of(path) == rule.target;
}

bool overlap(const scope_rule& a, const scope_rule& b) {
  // Two such sets of paths meet in the target of one of them, if at all.
  return matches(a, b.target) || matches(b, a.target);
}

bool covers(const scope_rule& rule, const scope_rule& inner) {
  if (rule.level < inner.level)
    return false;
  return rule.recursive ? is_within(inner.target, rule.target)
                        : !inner.recursive && inner.target == rule.target;
}

void verdict::give(permission level) {
  allowed_ = allowed_ ? std::max(*allowed_, level) : level;
}

void verdict::deny(permission level) {
  denied_ = denied_ ? std::min(*denied_, level) : level;
}

std::optional<permission> verdict::level() const {
  if (!allowed_ || !denied_)
    return allowed_;
  return *denied_ == permission::read ? std::nullopt
                                      : std::optional{permission::read};
}

std::optional<permission> permission_of(const scope& x, std::string_view path) {
  verdict out;
  for (auto& rule : x.allow)
    if (matches(rule, path))
      out.give(rule.level);
  for (auto& rule : x.deny)
    if (matches(rule, path))
      out.deny(rule.level);
  return out.level();
}

bool leaves_writable(const scope_rule& rule, const scope_rule& region,
                     const std::vector<scope_rule>& denies) {
  if (rule.level != permission::write || !overlap(rule, region))
    return false;
  // A denial of either permission takes the right to write.
  auto paths = common(rule, region);
  return std::none_of(denies.begin(), denies.end(),
                      [&](auto& x) { return matches_all(x, paths); });
}

bool grants(const scope& x, const scope_rule& rule) {
  return any_covers(x.allow, rule) && biting(x.deny, rule) == nullptr;
}

expected<void> check_lendable(std::string_view lender, const scope& own,
                              const scope& delegation, const scope_rule& rule) {
  auto refuse = [&](std::string_view why) {
    return fail(errc::not_allowed, fmt::format("'{}' cannot lend '{}': {}",
                                               lender, to_string(rule), why));
  };
  if (any_covers(delegation.allow, rule)) {
    if (auto* x = biting(delegation.deny, rule))
      return refuse(
        fmt::format("what it may lend is denied by '-{}'", to_string(*x)));
    return {};
  }
  if (grants(own, rule))
    return refuse(fmt::format("it may {} there, but may not lend that",
                              to_string(rule.level)));
  if (auto* x = nearest(delegation.allow, rule))
    return refuse(fmt::format("that goes beyond '{}', which is what it may "
                              "lend there",
                              to_string(*x)));
  return refuse(delegation.allow.empty()
                  ? "it may lend nothing"
                  : "that is out of the bounds of what it may lend");
}

} // namespace muster
