// SPDX-License-Identifier: Apache-2.0

#include "actors/process/readiness.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace muster {

namespace {

constexpr std::string_view error_mark = "error ";

/// What is left for the last line where less than `max_ready_bytes` are taken:
/// another line, and two ends.
constexpr std::size_t max_error_bytes = max_ready_bytes - 1 - 1'024 - 2;

/// Takes the first line away.
std::optional<std::string_view> next_line(std::string_view& text) {
  auto end = text.find('\n');
  if (end == std::string_view::npos)
    return std::nullopt;
  auto out = text.substr(0, end);
  text.remove_prefix(end + 1);
  return out;
}

} // namespace

std::string show_exec_error(const failure& why) {
  auto out
    = fmt::format("{}{} {}", error_mark, to_string(why.code), why.message);
  // The name of a file may be any bytes, also the end of a line.
  std::replace_if(
    out.begin(), out.end(),
    [](char c) { return static_cast<unsigned char>(c) < ' '; }, '?');
  out.resize(std::min(out.size(), max_error_bytes));
  return out;
}

std::optional<expected<std::string>> read_exec_report(std::string_view said) {
  auto first = next_line(said);
  if (!first)
    return std::nullopt;
  auto last = *first;
  if (!last.starts_with(error_mark)) {
    if (said.empty())
      return expected<std::string>{std::string{last}};
    auto second = next_line(said);
    if (!second || !second->starts_with(error_mark))
      return std::nullopt;
    last = *second;
  }
  if (!said.empty())
    return std::nullopt;
  last.remove_prefix(error_mark.size());
  auto code = last.substr(0, last.find(' '));
  last.remove_prefix(std::min(code.size() + 1, last.size()));
  return fail(errc::program_failed, std::string{last});
}

} // namespace muster
