// SPDX-License-Identifier: Apache-2.0

#include "messages/pod.hpp"

#include "messages/json.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

namespace muster {

namespace {

constexpr std::size_t max_name_bytes = 48;

bool is_letter_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
         || (c >= '0' && c <= '9');
}

bool fits_name(char c) {
  return is_letter_or_digit(c) || c == '.' || c == '_' || c == '-';
}

} // namespace

std::string to_string(pod_phase phase) {
  switch (phase) {
    case pod_phase::starting:
      return "starting";
    case pod_phase::ready:
      return "ready";
    case pod_phase::unreachable:
      return "unreachable";
    case pod_phase::stopping:
      return "stopping";
    default:
      return "ended";
  }
}

std::string to_string(pod_class x) {
  return x == pod_class::plain ? "plain" : "protocol";
}

std::string to_string(sandbox_mode mode) {
  switch (mode) {
    case sandbox_mode::required:
      return "required";
    case sandbox_mode::best_effort:
      return "best-effort";
    default:
      return "off";
  }
}

expected<sandbox_mode> parse_sandbox(const std::string& text) {
  for (auto mode :
       {sandbox_mode::required, sandbox_mode::best_effort, sandbox_mode::off})
    if (text == to_string(mode))
      return mode;
  return fail(errc::invalid_argument,
              fmt::format("'{}' is no way to confine a pod; use 'required', "
                          "'best-effort' or 'off'",
                          text));
}

expected<void> check_texts(const pod_order& order) {
  auto check
    = [&](const std::string& text, std::string_view what) -> expected<void> {
    if (!is_utf8(text))
      return fail(errc::not_utf8,
                  fmt::format("{} of pod '{}' is no UTF-8", what, order.name));
    if (text.find('\0') != std::string::npos)
      return fail(
        errc::invalid_argument,
        fmt::format("{} of pod '{}' has a zero byte, which no program "
                    "can be given",
                    what, order.name));
    return {};
  };
  std::size_t size = 0;
  std::size_t number = 0;
  for (auto& word : order.command) {
    size += word.size() + 1;
    auto fine = check(word, fmt::format("word {} of the command", ++number));
    if (!fine)
      return fine;
  }
  if (size > max_command_bytes)
    return fail(errc::too_large,
                fmt::format("the command of pod '{}' has {} bytes, and {} are "
                            "the limit; put what is long into a file",
                            order.name, size, max_command_bytes));
  for (auto& [text, what] : {std::pair{&order.cwd, "the working folder"},
                             std::pair{&order.task, "the task"}})
    if (auto fine = check(*text, what); !fine)
      return fine;
  for (auto* rules :
       {&order.scope, &order.delegation.allow, &order.delegation.deny})
    for (auto& rule : *rules)
      if (auto fine = check_rule(rule); !fine)
        return fine;
  return {};
}

expected<void> check_pod_name(const std::string& name) {
  if (name.empty() || name.size() > max_name_bytes
      || !is_letter_or_digit(name.front())
      || !std::all_of(name.begin(), name.end(), fits_name))
    return fail(errc::invalid_argument,
                fmt::format("'{}' is no name: it needs 1 to {} of the "
                            "characters a-z, A-Z, 0-9, '.', '_' and '-', the "
                            "first of them a letter or a digit",
                            std::string_view{name}.substr(0, 60),
                            max_name_bytes));
  if (name == pod_operator)
    return fail(errc::invalid_argument,
                fmt::format("'{}' stands for whoever runs the node; use "
                            "another name",
                            name));
  return {};
}

} // namespace muster
