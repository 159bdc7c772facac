// SPDX-License-Identifier: Apache-2.0

#include "messages/scope.hpp"

#include "messages/json.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

namespace muster {

namespace {

/// What stands before the path of a rule.
struct rule_prefix {
  bool denies = false;
  permission level = permission::read;
  bool recursive = true;
  std::size_t length = 0;
};

/// Reads `r:`, `w:`, `r1:` or `w1:`, with or without a minus.
std::optional<rule_prefix> read_prefix(std::string_view text) {
  rule_prefix out;
  auto rest = text;
  auto take = [&](char c) {
    if (!rest.starts_with(c))
      return false;
    rest.remove_prefix(1);
    return true;
  };
  out.denies = take('-');
  if (take('w'))
    out.level = permission::write;
  else if (!take('r'))
    return std::nullopt;
  out.recursive = !take('1');
  if (!take(':'))
    return std::nullopt;
  out.length = text.size() - rest.size();
  return out;
}

/// Where the rule at the front of `text` ends.
std::size_t rule_length(std::string_view text) {
  auto comma = text.find(',');
  while (comma != text.npos && !read_prefix(text.substr(comma + 1)))
    comma = text.find(',', comma + 1);
  return std::min(comma, text.size());
}

/// A text that may hold anything, fit for an error.
std::string shown(std::string_view text) {
  constexpr std::size_t limit = 200;
  auto out = json(text.substr(0, limit))
               .dump(-1, ' ', false, json::error_handler_t::replace);
  return fmt::format("'{}{}'", out.substr(1, out.size() - 2),
                     text.size() > limit ? "..." : "");
}

/// @param prefix what the rule is named with.
expected<void> check(const scope_rule& rule, std::string_view prefix) {
  auto refuse = [&](std::string_view why) {
    return fail(errc::invalid_argument,
                fmt::format("the rule {} {}",
                            shown(std::string{prefix} + rule.target), why));
  };
  if (rule.level != permission::read && rule.level != permission::write)
    return refuse("has no permission that there is; 'read' and 'write' are");
  if (rule.target.empty())
    return refuse("has no path; write it as 'r:/path' or 'w:/path'");
  if (rule.target.front() != '/')
    return refuse("has a relative path; write it from '/' on");
  if (rule.target.find('\0') != rule.target.npos)
    return refuse("has a path with a zero byte, which no file has");
  if (!is_utf8(rule.target))
    return refuse("has a path that is not valid UTF-8");
  if (rule.target.size() > max_target_bytes)
    return fail(errc::too_large,
                fmt::format("the rule {} has a path of {} bytes; {} is the "
                            "limit",
                            shown(std::string{prefix} + rule.target),
                            rule.target.size(), max_target_bytes));
  return {};
}

std::string prefix_of(const scope_rule& rule) {
  std::string out{rule.level == permission::write ? 'w' : 'r'};
  out += rule.recursive ? ":" : "1:";
  return out;
}

} // namespace

std::string to_string(permission level) {
  switch (level) {
    case permission::read:
      return "read";
    case permission::write:
      return "write";
  }
  return "unknown";
}

std::string to_string(const scope_rule& rule) {
  return prefix_of(rule) + rule.target;
}

std::string to_string(const scope& x) {
  std::string out;
  auto add = [&](const char* sign, const scope_rule& rule) {
    if (!out.empty())
      out.push_back(',');
    out += sign;
    out += to_string(rule);
  };
  for (auto& rule : x.allow)
    add("", rule);
  for (auto& rule : x.deny)
    add("-", rule);
  return out;
}

expected<void> check_rule(const scope_rule& rule) {
  return check(rule, prefix_of(rule));
}

expected<scope> parse_scope(std::string_view text) {
  if (text.empty())
    return fail(errc::invalid_argument,
                "a scope has no rule; write them as 'r:/path,w:/path'");
  scope out;
  auto whole = text;
  for (;;) {
    auto length = rule_length(text);
    auto one = text.substr(0, length);
    auto prefix = read_prefix(one);
    if (!prefix)
      return fail(errc::invalid_argument,
                  fmt::format("the rule {} does not begin with 'r:', 'w:', "
                              "'r1:' or 'w1:'",
                              shown(one)));
    scope_rule rule{std::string{one.substr(prefix->length)}, prefix->level,
                    prefix->recursive};
    if (auto ok = check(rule, one.substr(0, prefix->length)); !ok)
      return tl::unexpected<failure>{ok.error()};
    (prefix->denies ? out.deny : out.allow).push_back(std::move(rule));
    if (length == text.size())
      break;
    text.remove_prefix(length + 1);
  }
  if (out.allow.empty())
    return fail(errc::invalid_argument,
                fmt::format("the scope {} only denies; begin with a rule that "
                            "gives, such as 'r:/'",
                            shown(whole)));
  return out;
}

expected<std::vector<scope_rule>> parse_rules(std::string_view text) {
  auto read = parse_scope(text);
  if (!read)
    return tl::unexpected<failure>{read.error()};
  if (!read->deny.empty())
    return fail(errc::invalid_argument,
                fmt::format("the rule '-{}' denies, which is not possible here",
                            to_string(read->deny.front())));
  return std::move(read->allow);
}

} // namespace muster
