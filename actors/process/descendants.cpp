// SPDX-License-Identifier: Apache-2.0

#include "actors/process/descendants.hpp"

#include <fmt/format.h>

#include <charconv>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <system_error>

namespace muster {

namespace {

/// The value of a variable that a process was started with.
std::optional<std::string> value_of(std::int64_t pid, std::string_view name) {
  std::ifstream file{fmt::format("/proc/{}/environ", pid), std::ios::binary};
  std::string all{std::istreambuf_iterator<char>{file}, {}};
  std::string_view rest{all};
  while (!rest.empty()) {
    auto entry = rest.substr(0, rest.find('\0'));
    rest.remove_prefix(std::min(entry.size() + 1, rest.size()));
    if (entry.size() > name.size() && entry.starts_with(name)
        && entry[name.size()] == '=')
      return std::string{entry.substr(name.size() + 1)};
  }
  return std::nullopt;
}

} // namespace

expected<std::map<std::string, std::vector<process_identity>>>
find_by_variable(std::string_view name) {
  std::map<std::string, std::vector<process_identity>> out;
  std::error_code code;
  std::filesystem::directory_iterator i{"/proc", code};
  for (; !code && i != std::filesystem::directory_iterator{};
       i.increment(code)) {
    auto text = i->path().filename().string();
    std::int64_t pid = 0;
    auto [end, wrong]
      = std::from_chars(text.data(), text.data() + text.size(), pid);
    if (wrong != std::errc{} || end != text.data() + text.size())
      continue;
    auto value = value_of(pid, name);
    if (!value)
      continue;
    // It may have ended since, and another one may have its pid.
    auto who = find_process(pid);
    if (who && *who && value_of(pid, name) == value)
      out[*value].push_back(**who);
  }
  if (code)
    return fail(errc::internal,
                fmt::format("'/proc' cannot be read: {}", code.message()));
  return out;
}

bool was_started_with(std::int32_t pid, std::string_view name,
                      std::string_view value) {
  return value_of(pid, name) == value;
}

} // namespace muster
