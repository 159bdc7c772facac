// SPDX-License-Identifier: Apache-2.0

// Whatever is lent and given back, the table says what a list of all paths of a
// small tree says.

#define CAF_SUITE pod.scope_property

#include "tests/support/suite.hpp"

#include "actors/pod/scope_table.hpp"

#include "messages/scope_json.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bitset>
#include <map>
#include <optional>
#include <random>

using namespace muster;

namespace {

/// How many steps a run has, and how many runs there are.
constexpr int steps = 120;
constexpr std::uint64_t seeds = 150;

/// Rules name the first two of three names, on three levels. The third name
/// stands for all that no rule names, and the two levels below for all that is
/// deeper: so a set of these paths is as large as the one that it stands for.
constexpr std::array<const char*, 3> names{"a", "b", "other"};
constexpr std::size_t target_depth = 3;
constexpr std::size_t depth = 5;
constexpr std::size_t path_count = 1 + 3 + 9 + 27 + 81 + 243;

using path = std::vector<std::size_t>;
using path_set = std::bitset<path_count>;

std::string text_of(const path& x) {
  std::string out;
  for (auto name : x)
    out += std::string{"/"} + names[name];
  return out.empty() ? "/" : out;
}

/// All paths, and those that rules name.
struct tree {
  tree() {
    grow({});
  }

  void grow(const path& x) {
    paths.push_back(x);
    if (x.size() <= target_depth
        && std::find(x.begin(), x.end(), 2) == x.end()) {
      targets.push_back(text_of(x));
      by_text[targets.back()] = x;
    }
    for (std::size_t i = 0; i < names.size() && x.size() < depth; ++i) {
      auto next = x;
      next.push_back(i);
      grow(next);
    }
  }

  path_set paths_of(const scope_rule& rule) const {
    auto& target = by_text.at(rule.target);
    path_set out;
    for (std::size_t i = 0; i < paths.size(); ++i) {
      auto& x = paths[i];
      out[i] = x.size() >= target.size()
               && std::equal(target.begin(), target.end(), x.begin())
               && (rule.recursive || x.size() <= target.size() + 1);
    }
    return out;
  }

  std::vector<path> paths;
  std::vector<std::string> targets;
  std::map<std::string, path> by_text;
};

const tree& all() {
  static const tree out;
  return out;
}

/// The paths that are permitted to be read, and to be written.
struct permitted {
  path_set read;
  path_set written;

  void deny_write(const path_set& x) {
    written &= ~x;
  }
};

permitted permitted_by(const scope& x) {
  permitted out;
  for (auto& rule : x.allow) {
    out.read |= all().paths_of(rule);
    if (rule.level == permission::write)
      out.written |= all().paths_of(rule);
  }
  for (auto& rule : x.deny) {
    out.written &= ~all().paths_of(rule);
    if (rule.level == permission::read)
      out.read &= ~all().paths_of(rule);
  }
  return out;
}

bool is_part(const scope_rule& inner, const scope_rule& outer) {
  return inner.level <= outer.level
         && (all().paths_of(inner) & ~all().paths_of(outer)).none();
}

bool is_part_of_any(const scope_rule& inner,
                    const std::vector<scope_rule>& outer) {
  return std::any_of(outer.begin(), outer.end(),
                     [&](auto& x) { return is_part(inner, x); });
}

/// The table without any of its short ways.
struct model {
  std::map<std::string, scope_allocation> allocations;

  bool is_above(const std::string& x, const std::string& below) const {
    auto& lender = allocations.at(below).lender;
    return !lender.empty() && (lender == x || is_above(x, lender));
  }

  /// What is left to somebody after its loans.
  permitted left_to(const std::string& name) const {
    auto out = permitted_by(allocations.at(name).own);
    for (auto& [other, x] : allocations)
      if (x.lender == name)
        for (auto& rule : x.own.allow)
          if (rule.level == permission::write)
            out.deny_write(all().paths_of(rule));
    return out;
  }

  bool may_lend(const scope& delegation, const scope_rule& rule) const {
    return is_part_of_any(rule, delegation.allow)
           && std::none_of(
             delegation.deny.begin(), delegation.deny.end(), [&](auto& x) {
               return (x.level == permission::read
                       || rule.level == permission::write)
                      && (all().paths_of(x) & all().paths_of(rule)).any();
             });
  }

  /// @param wanted what a rule lets its borrower do.
  bool has_rival(const std::string& lender, const permitted& wanted) const {
    for (auto& [name, x] : allocations)
      if (name != lender && !is_above(name, lender)
          && (permitted_by(x.own).written & wanted.written).any())
        return true;
    return false;
  }

  /// The code of the refusal; empty if there is none.
  std::string lend(const lend_request& x) {
    if (!allocations.contains(x.lender))
      return "not_found";
    if (allocations.contains(x.borrower))
      return "conflict";
    for (auto& rule : x.delegation.allow)
      if (!is_part_of_any(rule, x.own.allow))
        return "invalid_argument";
    for (auto& rule : x.own.allow) {
      if (!may_lend(allocations.at(x.lender).delegation, rule))
        return "not_allowed";
      if (has_rival(x.lender, permitted_by({{rule}, x.own.deny})))
        return "conflict";
    }
    allocations[x.borrower] = {x.borrower, x.lender, x.own, x.delegation};
    return {};
  }

  void release(const std::string& name) {
    auto lender = allocations.at(name).lender;
    allocations.erase(name);
    for (auto& [other, x] : allocations)
      if (x.lender == name)
        x.lender = lender;
  }
};

struct run {
  explicit run(std::uint64_t number) : seed(number), chance(number) {
    scope grant{{{"/", permission::write, true}}, some_rules(pick(3))};
    table = scope_table{"root", grant};
    expected_table.allocations["root"] = {"root", "", grant, grant};
    start = table.listing();
    base = grant;
  }

  std::uint64_t pick(std::uint64_t n) {
    return chance() % n;
  }

  void require(bool holds, std::string_view what) {
    if (!holds)
      CAF_FAIL(what << ", seed " << seed << ", step " << step);
  }

  scope_rule some_rule() {
    // Deep ones leave room for others.
    auto& targets = all().targets;
    auto i = std::max(pick(targets.size()), pick(targets.size()));
    return {targets[i], pick(4) == 0 ? permission::read : permission::write,
            pick(3) != 0};
  }

  std::vector<scope_rule> some_rules(std::uint64_t count) {
    std::vector<scope_rule> out;
    while (out.size() < count)
      out.push_back(some_rule());
    return out;
  }

  std::string some_name() {
    return fmt::format("p-{}", pick(8));
  }

  std::string somebody() {
    auto i = expected_table.allocations.begin();
    std::advance(
      i, static_cast<std::ptrdiff_t>(pick(expected_table.allocations.size())));
    return i->first;
  }

  lend_request some_request() {
    lend_request out{
      pick(10) == 0 ? some_name() : somebody(), some_name(), {}, {}};
    out.own = {some_rules(1 + pick(2)), some_rules(pick(3) / 2)};
    // Most may lend on what they have, or part of it.
    if (pick(4) != 0)
      out.delegation = {out.own.allow, some_rules(pick(3) / 2)};
    if (pick(6) == 0)
      out.delegation.allow.push_back(some_rule());
    return out;
  }

  /// The same in another order.
  void shuffle(scope& x) {
    std::shuffle(x.allow.begin(), x.allow.end(), chance);
    std::shuffle(x.deny.begin(), x.deny.end(), chance);
  }

  void lend() {
    auto x = some_request();
    auto code = expected_table.lend(x);
    auto before = table.listing();
    auto twin = x;
    shuffle(twin.own);
    shuffle(twin.delegation);
    auto allowed = table.check_lend(twin);
    auto loans = table.lend(x, [this] { return fmt::format("l-{}", ++ids); });
    require(allowed.has_value() == loans.has_value(),
            "the order of rules says something");
    require((loans ? std::string{} : to_string(loans.error().code)) == code,
            fmt::format("a loan should have ended with '{}'", code));
    if (!loans)
      require(table.listing() == before, "a refusal has changed something");
  }

  void release(const std::string& name) {
    auto is_there = expected_table.allocations.contains(name);
    auto out = table.release(name);
    require(out.has_value() == (is_there && name != "root"),
            "a release has another end");
    if (out)
      expected_table.release(name);
  }

  /// A start from what is on disk, in any order.
  void restart() {
    auto before = table.listing();
    auto read = listing_from(listing_json(before));
    require(read && *read == before, "what was written is not read");
    std::shuffle(read->allocations.begin(), read->allocations.end(), chance);
    std::shuffle(read->loans.begin(), read->loans.end(), chance);
    for (auto& x : read->allocations)
      shuffle(x.own);
    scope_table fresh{"root", base};
    auto restored = fresh.restore(*read);
    require(restored.has_value(),
            restored ? std::string{} : restored.error().message);
    require(fresh.listing().loans == before.loans, "a start has lost a loan");
    table = std::move(fresh);
  }

  void check() {
    path_set written;
    std::map<std::string, permitted> left;
    for (auto& [name, x] : expected_table.allocations) {
      left[name] = expected_table.left_to(name);
      require((written & left[name].written).none(),
              "two may write the same path");
      written |= left[name].written;
    }
    require((left["root"].written & ~permitted_by(base).written).none(),
            "what the root is denied has come to it");
    // All paths now and then, some of them always.
    for (auto i = pick(16); i < path_count; i += 16)
      check_path(left, i);
    require(table.size() == left.size(), "somebody is missing");
  }

  void check_path(const std::map<std::string, permitted>& left, std::size_t i) {
    auto where = text_of(all().paths[i]);
    auto holders = table.holders_of(where);
    auto holder = holders.begin();
    for (auto& [name, x] : left) {
      std::optional<permission> wanted;
      if (x.written[i])
        wanted = permission::write;
      else if (x.read[i])
        wanted = permission::read;
      auto level = table.permission_of(name, where);
      require(level && *level == wanted,
              fmt::format("'{}' is wrong about '{}'", name, where));
      if (!wanted)
        continue;
      require(holder != holders.end() && holder->name == name
                && holder->level == *wanted
                && holder->lender == expected_table.allocations.at(name).lender,
              fmt::format("'{}' does not hold '{}'", name, where));
      ++holder;
    }
    require(holder == holders.end(), "there is one holder too many");
  }

  /// Everything is given back, in any order.
  void end() {
    while (expected_table.allocations.size() > 1)
      release(somebody());
    check();
    require(table.listing() == start, "the end is not the start");
  }

  void run_all() {
    for (step = 0; step < steps; ++step) {
      auto what = pick(10);
      if (what < 6)
        lend();
      else if (what < 9)
        release(pick(2) == 0 ? somebody() : some_name());
      else
        restart();
      check();
      most = std::max(most, table.size());
    }
    end();
  }

  std::uint64_t seed = 0;
  std::mt19937_64 chance;
  int step = 0;
  int ids = 0;
  std::size_t most = 0;
  scope base;
  scope_table table{"root", {}};
  scope_listing start;
  model expected_table;
};

} // namespace

CAF_TEST(whatever is lent and given back the table is what all paths say) {
  std::size_t most = 0;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    run x{seed};
    x.run_all();
    most = std::max(most, x.most);
  }
  // Otherwise next to nothing was lent.
  CAF_CHECK_GREATER_OR_EQUAL(most, 5u);
}
