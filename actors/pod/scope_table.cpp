// SPDX-License-Identifier: Apache-2.0

#include "actors/pod/scope_table.hpp"

#include "actors/pod/scope_paths.hpp"
#include "actors/pod/scope_rules.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <set>
#include <tuple>
#include <utility>

namespace muster {

namespace {

tl::unexpected<failure> unknown(const std::string& name) {
  return fail(errc::not_found,
              fmt::format("no pod '{}' has a scope; 'muster pod scopes' shows "
                          "who does",
                          name));
}

expected<void> check_rules(const std::vector<scope_rule>& rules) {
  for (auto& rule : rules) {
    if (auto ok = check_rule(rule); !ok)
      return ok;
    if (!is_canonical(rule.target))
      return fail(errc::invalid_argument,
                  fmt::format("the rule '{}' has a path that is not resolved",
                              to_string(rule)));
  }
  return {};
}

/// What can be said of a request without looking at anybody else.
expected<void> check_form(const lend_request& x) {
  auto refuse = [](std::string message) {
    return fail(errc::invalid_argument, std::move(message));
  };
  if (x.borrower.empty())
    return refuse("a borrower has no name");
  if (x.own.allow.empty())
    return refuse(fmt::format("'{}' is lent nothing; name at least one rule, "
                              "such as 'r:/path'",
                              x.borrower));
  for (auto* rules :
       {&x.own.allow, &x.own.deny, &x.delegation.allow, &x.delegation.deny})
    if (auto ok = check_rules(*rules); !ok)
      return ok;
  for (auto& rule : x.delegation.allow)
    if (std::none_of(x.own.allow.begin(), x.own.allow.end(),
                     [&](auto& lent) { return covers(lent, rule); }))
      return refuse(fmt::format("'{}' cannot be given the right to lend '{}', "
                                "which it is not lent",
                                x.borrower, to_string(rule)));
  return {};
}

std::vector<scope_rule> sorted(std::vector<scope_rule> rules) {
  std::sort(rules.begin(), rules.end(), [](auto& a, auto& b) {
    return std::tie(a.target, a.level, a.recursive)
           < std::tie(b.target, b.level, b.recursive);
  });
  return rules;
}

/// What stands on disk, looked at from the lenders.
struct family {
  std::multimap<std::string, const scope_allocation*> borrowers;
  std::map<std::string, std::vector<scope_loan>> loans;
};

tl::unexpected<failure> inconsistent(std::string_view why) {
  return fail(errc::registry_corrupted,
              fmt::format("the scopes on disk do not agree: {}", why));
}

/// Looks at allocations and loans one by one.
expected<family> read_family(const scope_listing& from,
                             const std::string& root) {
  family out;
  std::set<std::string> names;
  for (auto& x : from.allocations) {
    if (!names.insert(x.name).second)
      return inconsistent(fmt::format("'{}' stands there twice", x.name));
    if (x.lender.empty() != (x.name == root))
      return inconsistent(fmt::format("'{}' has {} lender", x.name,
                                      x.lender.empty() ? "no" : "a"));
    if (x.name != root)
      out.borrowers.emplace(x.lender, &x);
  }
  std::set<std::string> ids;
  for (auto& x : from.loans) {
    if (x.id.empty() || !ids.insert(x.id).second)
      return inconsistent(fmt::format("the loan '{}' of '{}' has no id of its "
                                      "own",
                                      x.id, x.borrower));
    if (x.borrower == root || !names.contains(x.borrower))
      return inconsistent(fmt::format("the loan '{}' is to '{}', which is no "
                                      "borrower",
                                      x.id, x.borrower));
    out.loans[x.borrower].push_back(x);
  }
  return out;
}

/// Whether what somebody has is what his lender lent him.
expected<void> check_loans(const scope_allocation& x,
                           const std::vector<scope_loan>& loans) {
  std::vector<scope_rule> lent;
  for (auto& loan : loans) {
    if (loan.lender != x.lender)
      return inconsistent(fmt::format("the loan '{}' is by '{}', but the "
                                      "lender of '{}' is '{}'",
                                      loan.id, loan.lender, x.name, x.lender));
    lent.push_back(loan.rule);
  }
  if (sorted(std::move(lent)) != sorted(x.own.allow))
    return inconsistent(fmt::format("the rules of '{}' are not those of the "
                                    "loans to it",
                                    x.name));
  return {};
}

} // namespace

// -- constructors -------------------------------------------------------------

scope_table::scope_table(std::string root, scope grant)
  : root_(std::move(root)) {
  add(scope_allocation{root_, {}, grant, grant});
}

// -- lending ------------------------------------------------------------------

expected<void> scope_table::check_lend(const lend_request& request) const {
  return check(request, true);
}

expected<std::vector<scope_loan>>
scope_table::lend(const lend_request& request,
                  const std::function<std::string()>& make_loan_id) {
  if (auto ok = check_lend(request); !ok)
    return tl::unexpected<failure>{ok.error()};
  std::vector<scope_loan> out;
  std::set<std::string> ids;
  for (auto& rule : request.own.allow) {
    auto id = make_loan_id();
    if (loans_.contains(id) || !ids.insert(id).second)
      return fail(errc::internal,
                  fmt::format("the id '{}' of a loan is taken", id));
    out.push_back({std::move(id), request.lender, request.borrower, rule});
  }
  add(scope_allocation{request.borrower, request.lender, request.own,
                       request.delegation});
  for (auto& loan : out)
    add(loan);
  return out;
}

expected<scope_release> scope_table::release(const std::string& name) {
  auto i = allocations_.find(name);
  if (i == allocations_.end())
    return unknown(name);
  auto& x = i->second;
  if (name == root_)
    return fail(errc::not_allowed,
                fmt::format("'{}' stays as long as the node", name));
  scope_release out;
  auto& lender = allocations_.at(x.lender);
  for (auto loan = loans_.begin(); loan != loans_.end();) {
    auto& [id, given] = *loan;
    if (given.borrower == name) {
      remove_entry(lender, role::lends, given.rule);
      out.returned.push_back(std::move(given));
      loan = loans_.erase(loan);
      continue;
    }
    if (given.lender == name) {
      remove_entry(x, role::lends, given.rule);
      given.lender = lender.name;
      add_entry(lender, role::lends, given.rule);
      out.moved.push_back(given);
    }
    ++loan;
  }
  for (auto& [other, borrower] : allocations_)
    if (borrower.lender == name)
      borrower.lender = lender.name;
  for (auto& rule : x.own.allow)
    remove_entry(x, role::allows, rule);
  for (auto& rule : x.own.deny)
    remove_entry(x, role::denies, rule);
  out.ended = std::move(x);
  allocations_.erase(i);
  return out;
}

// -- the disk -----------------------------------------------------------------

expected<void> scope_table::restore(const scope_listing& from) {
  auto known = read_family(from, root_);
  if (!known)
    return tl::unexpected<failure>{known.error()};
  // Everything is lent again, from the root on.
  scope_table fresh{root_, allocations_.at(root_).own};
  std::deque<std::string> lenders{root_};
  for (; !lenders.empty(); lenders.pop_front()) {
    auto [first, last] = known->borrowers.equal_range(lenders.front());
    for (auto i = first; i != last; ++i) {
      auto& x = *i->second;
      auto& loans = known->loans[x.name];
      if (auto ok = check_loans(x, loans); !ok)
        return ok;
      lend_request request{x.lender, x.name, x.own, x.delegation};
      if (auto ok = fresh.check(request, false); !ok)
        return inconsistent(ok.error().message);
      fresh.add(x);
      for (auto& loan : loans)
        fresh.add(std::move(loan));
      lenders.push_back(x.name);
    }
    known->borrowers.erase(first, last);
  }
  if (!known->borrowers.empty()) {
    auto& [lender, x] = *known->borrowers.begin();
    return inconsistent(fmt::format("'{}' has its scope from '{}', which has "
                                    "none from '{}'",
                                    x->name, lender, root_));
  }
  *this = std::move(fresh);
  return {};
}

// -- properties ---------------------------------------------------------------

const scope_allocation* scope_table::find(const std::string& name) const {
  auto i = allocations_.find(name);
  return i != allocations_.end() ? &i->second : nullptr;
}

expected<scope> scope_table::effective_scope(const std::string& name) const {
  auto* x = find(name);
  if (x == nullptr)
    return unknown(name);
  auto out = x->own;
  for (auto& [id, loan] : loans_)
    if (loan.lender == name && loan.rule.level == permission::write)
      out.deny.push_back(loan.rule);
  return out;
}

expected<std::optional<permission>>
scope_table::permission_of(const std::string& name,
                           std::string_view path) const {
  auto* x = find(name);
  if (x == nullptr)
    return unknown(name);
  verdict out;
  for_each_at(path, [&](const entry& e) {
    if (e.whose != x)
      return;
    if (e.kind == role::allows)
      out.give(e.rule.level);
    else
      out.deny(e.rule.level);
  });
  return out.level();
}

std::vector<scope_holder> scope_table::holders_of(std::string_view path) const {
  struct holding {
    verdict says;
    const scope_rule* rule = nullptr;
  };
  std::map<std::string_view, holding> found;
  for_each_at(path, [&](const entry& e) {
    auto& x = found[e.whose->name];
    if (e.kind != role::allows) {
      x.says.deny(e.rule.level);
      return;
    }
    x.says.give(e.rule.level);
    if (x.rule == nullptr || x.rule->level < e.rule.level)
      x.rule = &e.rule;
  });
  std::vector<scope_holder> out;
  for (auto& [name, x] : found)
    if (auto level = x.says.level())
      out.push_back({std::string{name}, *level, *x.rule,
                     allocations_.find(std::string{name})->second.lender});
  return out;
}

scope_listing scope_table::listing() const {
  scope_listing out;
  for (auto& [name, x] : allocations_)
    out.allocations.push_back(x);
  for (auto& [id, x] : loans_)
    out.loans.push_back(x);
  return out;
}

// -- checks -------------------------------------------------------------------

expected<void> scope_table::check(const lend_request& request,
                                  bool checks_root) const {
  auto* lender = find(request.lender);
  if (lender == nullptr)
    return unknown(request.lender);
  if (find(request.borrower) != nullptr)
    return fail(errc::conflict,
                fmt::format("a pod '{}' has a scope already; stop it, or take "
                            "another name",
                            request.borrower));
  if (auto ok = check_form(request); !ok)
    return ok;
  for (auto& rule : request.own.allow) {
    if (checks_root || request.lender != root_)
      if (auto ok
          = check_lendable(lender->name, lender->own, lender->delegation, rule);
          !ok)
        return ok;
    if (auto x = rival_of(*lender, request.own, rule))
      return fail(errc::conflict,
                  fmt::format("'{}' cannot be lent '{}': '{}' may write there "
                              "by '{}', which '{}' lent it",
                              request.borrower, to_string(rule), x->who->name,
                              to_string(*x->rule), x->who->lender));
  }
  return {};
}

std::optional<scope_table::rival>
scope_table::rival_of(const scope_allocation& lender, const scope& borrowed,
                      const scope_rule& rule) const {
  std::optional<rival> out;
  if (rule.level != permission::write)
    return out;
  for_each_near(rule, [&](const entry& e) {
    if (e.kind != role::allows || is_at_or_above(*e.whose, lender)
        || !leaves_writable(e.rule, rule, e.whose->own.deny)
        || !leaves_writable(e.rule, rule, borrowed.deny))
      return;
    auto depth = depth_of(*e.whose);
    if (!out || out->depth < depth)
      out = rival{e.whose, &e.rule, depth};
  });
  return out;
}

bool scope_table::is_at_or_above(const scope_allocation& x,
                                 const scope_allocation& below) const {
  for (auto* i = &below; i != nullptr; i = find(i->lender))
    if (i == &x)
      return true;
  return false;
}

std::size_t scope_table::depth_of(const scope_allocation& x) const {
  std::size_t out = 0;
  for (auto* i = find(x.lender); i != nullptr; i = find(i->lender))
    ++out;
  return out;
}

template <class F>
void scope_table::for_each_at(std::string_view path, F f) const {
  for (auto place = path; !place.empty(); place = parent_of(place))
    if (auto i = rules_.find(place); i != rules_.end())
      for (auto& e : i->second)
        if (matches(e.rule, path))
          f(e);
}

template <class F>
void scope_table::for_each_near(const scope_rule& rule, F f) const {
  // What overlaps from above speaks of the target.
  for_each_at(rule.target, f);
  // All names below the target begin with it and a slash, and what sorts next
  // behind them is the same with the next character.
  auto top = rule.target == "/" ? std::string{} : rule.target;
  for (auto i = rules_.upper_bound(top + '/'),
            end = rules_.lower_bound(top + static_cast<char>('/' + 1));
       i != end; ++i)
    if (matches(rule, i->first))
      for (auto& e : i->second)
        f(e);
}

// -- changes ------------------------------------------------------------------

void scope_table::add(scope_allocation x) {
  auto name = x.name;
  auto& added = allocations_.emplace(name, std::move(x)).first->second;
  for (auto& rule : added.own.allow)
    add_entry(added, role::allows, rule);
  for (auto& rule : added.own.deny)
    add_entry(added, role::denies, rule);
}

void scope_table::add(scope_loan x) {
  add_entry(allocations_.at(x.lender), role::lends, x.rule);
  auto id = x.id;
  loans_.emplace(std::move(id), std::move(x));
}

void scope_table::add_entry(const scope_allocation& whose, role kind,
                            const scope_rule& rule) {
  // What is lent for reading stays readable for all.
  if (kind != role::lends || rule.level == permission::write)
    rules_[rule.target].push_back({&whose, kind, rule});
}

void scope_table::remove_entry(const scope_allocation& whose, role kind,
                               const scope_rule& rule) {
  auto i = rules_.find(rule.target);
  if (i == rules_.end())
    return;
  auto& entries = i->second;
  auto found = std::find_if(entries.begin(), entries.end(), [&](auto& e) {
    return e.whose == &whose && e.kind == kind && e.rule == rule;
  });
  if (found != entries.end())
    entries.erase(found);
  if (entries.empty())
    rules_.erase(i);
}

} // namespace muster
