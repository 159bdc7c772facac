// SPDX-License-Identifier: Apache-2.0

#include "messages/ids.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace muster {

namespace {

constexpr std::string_view session_mark = "s-";
constexpr std::string_view worker_mark = "p-";
constexpr std::string_view group_mark = "g-";
constexpr std::string_view query_mark = "q-";

/// Hexadecimal digits of the random part.
constexpr size_t random_digits = 32;

bool is_lower_hex(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
  });
}

std::string make_id(std::string_view mark, std::int64_t now_ms,
                    const random_bits& random) {
  return fmt::format("{}{:x}-{:016x}{:016x}", mark,
                     static_cast<std::uint64_t>(now_ms), random[0], random[1]);
}

} // namespace

std::string make_session_id(std::int64_t now_ms, const random_bits& random) {
  return make_id(session_mark, now_ms, random);
}

std::string make_worker_id(std::int64_t now_ms, const random_bits& random) {
  return make_id(worker_mark, now_ms, random);
}

std::string make_group_id(std::int64_t now_ms, const random_bits& random) {
  return make_id(group_mark, now_ms, random);
}

bool is_session_id(std::string_view text) {
  if (!is_session_id_prefix(text))
    return false;
  auto dash = text.find('-', session_mark.size());
  return dash != std::string_view::npos && dash > session_mark.size()
         && text.size() - dash - 1 == random_digits;
}

bool is_session_id_prefix(std::string_view text) {
  if (!text.starts_with(session_mark))
    return false;
  text.remove_prefix(session_mark.size());
  auto dash = std::min(text.find('-'), text.size());
  auto random = text.substr(std::min(dash + 1, text.size()));
  return dash <= 16 && random.size() <= random_digits
         && is_lower_hex(text.substr(0, dash)) && is_lower_hex(random);
}

std::string make_query_id(std::uint64_t number) {
  return fmt::format("{}{}", query_mark, number);
}

std::optional<std::uint64_t> query_number(std::string_view text) {
  if (!text.starts_with(query_mark))
    return std::nullopt;
  text.remove_prefix(query_mark.size());
  if (text.empty() || (text.size() > 1 && text.front() == '0'))
    return std::nullopt;
  std::uint64_t number = 0;
  auto end = text.data() + text.size();
  auto [last, code] = std::from_chars(text.data(), end, number);
  if (code != std::errc{} || last != end)
    return std::nullopt;
  return number;
}

} // namespace muster
