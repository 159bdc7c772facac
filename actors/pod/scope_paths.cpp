// SPDX-License-Identifier: Apache-2.0

#include "actors/pod/scope_paths.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <system_error>
#include <vector>

namespace muster {

namespace {

/// The names that a path is made of, without those that lead nowhere else.
std::vector<std::string_view> names_of(std::string_view path) {
  std::vector<std::string_view> out;
  while (!path.empty()) {
    auto end = std::min(path.find('/'), path.size());
    auto name = path.substr(0, end);
    if (!name.empty() && name != ".")
      out.push_back(name);
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  return out;
}

std::string joined(std::string_view top,
                   const std::vector<std::string_view>& names,
                   std::size_t first, std::size_t last) {
  std::string out{top == "/" ? std::string_view{} : top};
  for (auto i = first; i < last; ++i) {
    out += '/';
    out += names[i];
  }
  return out.empty() ? "/" : out;
}

expected<std::vector<scope_rule>>
canonical_rules(const std::vector<scope_rule>& rules,
                const path_resolver& resolve) {
  std::vector<scope_rule> out;
  for (auto& rule : rules) {
    auto one = canonical_rule(rule, resolve);
    if (!one)
      return tl::unexpected<failure>{one.error()};
    out.push_back(std::move(*one));
  }
  return out;
}

} // namespace

bool is_canonical(std::string_view path) {
  auto names = names_of(path);
  return joined("/", names, 0, names.size()) == path
         && std::find(names.begin(), names.end(), "..") == names.end();
}

bool is_within(std::string_view path, std::string_view top) {
  return top == "/"
         || (path.starts_with(top)
             && (path.size() == top.size() || path[top.size()] == '/'));
}

std::string_view parent_of(std::string_view path) {
  if (path == "/")
    return {};
  auto slash = path.rfind('/');
  return path.substr(0, std::max<std::size_t>(slash, 1));
}

expected<std::string> real_path(const std::string& path) {
  std::unique_ptr<char, decltype(&std::free)> found{
    ::realpath(path.c_str(), nullptr), &std::free};
  if (found)
    return std::string{found.get()};
  auto why = errno;
  auto message = fmt::format("cannot find out where '{}' leads: {}", path,
                             std::generic_category().message(why));
  switch (why) {
    case ENOENT:
    case ENOTDIR:
      return fail(errc::not_found, std::move(message));
    case EACCES:
      return fail(errc::not_allowed, std::move(message));
    case ELOOP:
      return fail(errc::invalid_argument, std::move(message));
    case ENAMETOOLONG:
      return fail(errc::too_large, std::move(message));
    default:
      return fail(errc::storage_failed, std::move(message));
  }
}

expected<std::string> canonical_path(std::string_view path,
                                     const path_resolver& resolve) {
  // What holds for the target of a rule holds for any path.
  if (auto ok = check_rule({std::string{path}}); !ok)
    return tl::unexpected<failure>{ok.error()};
  auto names = names_of(path);
  for (auto existing = names.size();; --existing) {
    auto place = resolve(joined("/", names, 0, existing));
    if (place) {
      auto out = joined(*place, names, existing, names.size());
      if (auto ok = check_rule({out}); !ok)
        return tl::unexpected<failure>{ok.error()};
      return out;
    }
    if (place.error().code != errc::not_found || existing == 0)
      return place;
    if (names[existing - 1] == "..")
      return fail(errc::invalid_argument,
                  fmt::format("the path '{}' leads back with '..' from what "
                              "does not exist; write it without",
                              path));
  }
}

expected<scope_rule> canonical_rule(const scope_rule& rule,
                                    const path_resolver& resolve) {
  if (auto ok = check_rule(rule); !ok)
    return tl::unexpected<failure>{ok.error()};
  auto place = canonical_path(rule.target, resolve);
  if (!place)
    return fail(place.error().code,
                fmt::format("the rule '{}' cannot be used: {}", to_string(rule),
                            place.error().message));
  auto out = rule;
  out.target = std::move(*place);
  return out;
}

expected<scope> canonical_scope(const scope& x, const path_resolver& resolve) {
  auto allow = canonical_rules(x.allow, resolve);
  if (!allow)
    return tl::unexpected<failure>{allow.error()};
  auto deny = canonical_rules(x.deny, resolve);
  if (!deny)
    return tl::unexpected<failure>{deny.error()};
  return scope{std::move(*allow), std::move(*deny)};
}

} // namespace muster
