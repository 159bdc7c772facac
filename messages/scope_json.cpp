// SPDX-License-Identifier: Apache-2.0

#include "messages/scope_json.hpp"

#include <fmt/format.h>

#include <utility>

namespace muster {

namespace {

/// A value that may hold anything, fit for an error.
std::string shown(const json& value) {
  constexpr std::size_t limit = 200;
  auto out = value.dump(-1, ' ', false, json::error_handler_t::replace);
  return out.size() <= limit ? out
                             : std::string{utf8_prefix(out, limit)} + "...";
}

tl::unexpected<failure> malformed(std::string_view what, const json& value,
                                  std::string_view wanted) {
  return fail(errc::invalid_argument,
              fmt::format("the {} {} {}", what, shown(value), wanted));
}

/// The field of an object, or null.
const json& field(const json& value, const char* name) {
  static const json none;
  auto i = value.find(name);
  return i == value.end() ? none : *i;
}

/// Reads a text that must be there.
expected<std::string> text_from(std::string_view what, const json& value,
                                const char* name) {
  auto& text = field(value, name);
  if (!text.is_string() || text.get_ref<const std::string&>().empty())
    return malformed(what, value, fmt::format("has no '{}'", name));
  return text.get<std::string>();
}

/// Reads a list; what is missing has no entries.
template <class F>
auto list_from(std::string_view what, const json& value, F read)
  -> expected<std::vector<typename decltype(read(value))::value_type>> {
  std::vector<typename decltype(read(value))::value_type> out;
  if (value.is_null())
    return out;
  if (!value.is_array())
    return malformed(what, value, "is no list");
  for (auto& entry : value) {
    auto one = read(entry);
    if (!one)
      return tl::unexpected<failure>{one.error()};
    out.push_back(std::move(*one));
  }
  return out;
}

expected<scope_allocation> allocation_from(const json& value) {
  if (!value.is_object())
    return malformed("allocation", value, "is no object");
  scope_allocation out;
  auto name = text_from("allocation", value, "name");
  auto own = scope_from(field(value, "own"));
  auto delegation = scope_from(field(value, "delegation"));
  if (!name)
    return tl::unexpected<failure>{name.error()};
  if (!own)
    return tl::unexpected<failure>{own.error()};
  if (!delegation)
    return tl::unexpected<failure>{delegation.error()};
  if (!field(value, "lender").is_null()) {
    auto lender = text_from("allocation", value, "lender");
    if (!lender)
      return tl::unexpected<failure>{lender.error()};
    out.lender = std::move(*lender);
  }
  out.name = std::move(*name);
  out.own = std::move(*own);
  out.delegation = std::move(*delegation);
  return out;
}

expected<scope_loan> loan_from(const json& value) {
  if (!value.is_object())
    return malformed("loan", value, "is no object");
  scope_loan out;
  for (auto [name, to] :
       {std::pair{"id", &out.id}, std::pair{"lender", &out.lender},
        std::pair{"borrower", &out.borrower}}) {
    auto text = text_from("loan", value, name);
    if (!text)
      return tl::unexpected<failure>{text.error()};
    *to = std::move(*text);
  }
  auto rule = rule_from(field(value, "rule"));
  if (!rule)
    return tl::unexpected<failure>{rule.error()};
  out.rule = std::move(*rule);
  return out;
}

} // namespace

json rule_json(const scope_rule& rule) {
  return {{"target", rule.target},
          {"permission", to_string(rule.level)},
          {"recursive", rule.recursive}};
}

expected<scope_rule> rule_from(const json& value) {
  if (!value.is_object())
    return malformed("rule", value, "is no object");
  auto target = text_from("rule", value, "target");
  if (!target)
    return tl::unexpected<failure>{target.error()};
  scope_rule out{std::move(*target), permission::read, true};
  auto& level = field(value, "permission");
  if (level == "write")
    out.level = permission::write;
  else if (level != "read")
    return malformed("rule", value, "has no 'permission' of 'read' or 'write'");
  if (auto& recursive = field(value, "recursive"); recursive.is_boolean())
    out.recursive = recursive.get<bool>();
  else if (!recursive.is_null())
    return malformed("rule", value, "has a 'recursive' that is no boolean");
  if (auto ok = check_rule(out); !ok)
    return tl::unexpected<failure>{ok.error()};
  return out;
}

json rules_json(const std::vector<scope_rule>& rules) {
  auto out = json::array();
  for (auto& rule : rules)
    out.push_back(rule_json(rule));
  return out;
}

expected<std::vector<scope_rule>> rules_from(const json& value) {
  return list_from("list of rules", value, rule_from);
}

json scope_json(const scope& x) {
  return {{"allow", rules_json(x.allow)}, {"deny", rules_json(x.deny)}};
}

expected<scope> scope_from(const json& value) {
  if (!value.is_object())
    return malformed("scope", value, "is no object");
  auto allow = rules_from(field(value, "allow"));
  if (!allow)
    return tl::unexpected<failure>{allow.error()};
  auto deny = rules_from(field(value, "deny"));
  if (!deny)
    return tl::unexpected<failure>{deny.error()};
  return scope{std::move(*allow), std::move(*deny)};
}

json listing_json(const scope_listing& x) {
  json out{{"allocations", json::array()}, {"loans", json::array()}};
  for (auto& one : x.allocations)
    out["allocations"].push_back(
      {{"name", one.name},
       {"lender", one.lender.empty() ? json{} : json(one.lender)},
       {"own", scope_json(one.own)},
       {"delegation", scope_json(one.delegation)}});
  for (auto& loan : x.loans)
    out["loans"].push_back({{"id", loan.id},
                            {"lender", loan.lender},
                            {"borrower", loan.borrower},
                            {"rule", rule_json(loan.rule)}});
  return out;
}

expected<scope_listing> listing_from(const json& value) {
  if (!value.is_object())
    return malformed("listing", value, "is no object");
  auto allocations = list_from("list of allocations",
                               field(value, "allocations"), allocation_from);
  if (!allocations)
    return tl::unexpected<failure>{allocations.error()};
  auto loans = list_from("list of loans", field(value, "loans"), loan_from);
  if (!loans)
    return tl::unexpected<failure>{loans.error()};
  return scope_listing{std::move(*allocations), std::move(*loans)};
}

} // namespace muster
