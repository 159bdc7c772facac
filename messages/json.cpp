// SPDX-License-Identifier: Apache-2.0

#include "messages/json.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <stdexcept>
#include <type_traits>

namespace muster {

namespace {

/// The length of the well-formed sequence at the front of `text`, or 0.
std::size_t utf8_sequence(std::string_view text) {
  auto byte = [&](std::size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u;
  };
  auto follows = [&](std::size_t i, unsigned low = 0x80, unsigned high = 0xBF) {
    return byte(i) >= low && byte(i) <= high;
  };
  auto lead = byte(0);
  if (lead < 0x80)
    return 1;
  if (lead >= 0xC2 && lead <= 0xDF)
    return follows(1) ? 2 : 0;
  if (lead >= 0xE0 && lead <= 0xEF) {
    auto low = lead == 0xE0 ? 0xA0u : 0x80u;
    auto high = lead == 0xED ? 0x9Fu : 0xBFu;
    return follows(1, low, high) && follows(2) ? 3 : 0;
  }
  if (lead >= 0xF0 && lead <= 0xF4) {
    auto low = lead == 0xF0 ? 0x90u : 0x80u;
    auto high = lead == 0xF4 ? 0x8Fu : 0xBFu;
    return follows(1, low, high) && follows(2) && follows(3) ? 4 : 0;
  }
  return 0;
}

/// How many bytes at the front of `text` are ASCII; looks at eight at a time
/// and may stop up to seven too early.
std::size_t ascii_prefix(std::string_view text) {
  std::size_t n = 0;
  for (; n + sizeof(std::uint64_t) <= text.size(); n += sizeof(std::uint64_t)) {
    std::uint64_t bytes = 0;
    std::memcpy(&bytes, text.data() + n, sizeof(bytes));
    if ((bytes & 0x8080808080808080u) != 0)
      break;
  }
  return n;
}

bool is_plain(char c) {
  return static_cast<unsigned char>(c) >= 0x20 && c != '"' && c != '\\';
}

/// Is told what stands in a document, and keeps nothing of it.
struct no_reader {
  bool null() {
    return true;
  }
  bool boolean(bool) {
    return true;
  }
  bool number_integer(json::number_integer_t) {
    return true;
  }
  bool number_unsigned(json::number_unsigned_t) {
    return true;
  }
  bool number_float(json::number_float_t, const std::string&) {
    return true;
  }
  bool string(std::string&) {
    return true;
  }
  bool binary(json::binary_t&) {
    return true;
  }
  bool start_object(std::size_t) {
    return true;
  }
  bool key(std::string&) {
    return true;
  }
  bool end_object() {
    return true;
  }
  bool start_array(std::size_t) {
    return true;
  }
  bool end_array() {
    return true;
  }
  template <class Error>
  bool parse_error(std::size_t, const std::string&, const Error& error) {
    throw error;
  }
};

/// Runs what reads JSON, and turns its faults into failures.
template <class F>
auto reading(std::string_view what, F read) -> expected<decltype(read())> {
  try {
    if constexpr (std::is_void_v<decltype(read())>) {
      read();
      return {};
    } else {
      return read();
    }
  } catch (const json::parse_error& error) {
    return fail(
      errc::invalid_argument,
      fmt::format("{} is not JSON: it breaks at byte {}", what, error.byte));
  } catch (const json::exception& error) {
    return fail(errc::invalid_argument,
                fmt::format("{} is not JSON: {}", what, error.what()));
  }
}

} // namespace

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    auto n = ascii_prefix(text);
    if (n == 0)
      n = utf8_sequence(text);
    if (n == 0)
      return false;
    text.remove_prefix(n);
  }
  return true;
}

std::string_view utf8_prefix(std::string_view text, std::size_t count) {
  std::size_t end = 0;
  while (count-- > 0 && end < text.size())
    end += std::max<std::size_t>(utf8_sequence(text.substr(end)), 1);
  return text.substr(0, end);
}

void append_quoted(std::string& to, std::string_view text) {
  if (!is_utf8(text))
    throw std::invalid_argument{"a text is not valid UTF-8"};
  to += '"';
  while (!text.empty()) {
    auto end = std::find_if_not(text.begin(), text.end(), is_plain);
    to.append(text.begin(), end);
    text.remove_prefix(static_cast<std::size_t>(end - text.begin()));
    if (text.empty())
      break;
    auto c = text.front();
    text.remove_prefix(1);
    if (c == '\n')
      to += "\\n";
    else if (c == '"' || c == '\\')
      to.append({'\\', c});
    else
      fmt::format_to(std::back_inserter(to), "\\u{:04x}",
                     static_cast<unsigned>(c));
  }
  to += '"';
}

expected<json> parse_json(std::string_view text, std::string_view what) {
  return reading(what, [=] { return json::parse(text); });
}

expected<void> check_json(std::string_view text, std::string_view what) {
  return reading(what, [=] {
    no_reader reader;
    json::sax_parse(text, &reader);
  });
}

std::string_view kind_of(const json& value) {
  switch (value.type()) {
    case json::value_t::null:
      return "null";
    case json::value_t::object:
      return "an object";
    case json::value_t::array:
      return "an array";
    case json::value_t::string:
      return "a string";
    case json::value_t::boolean:
      return "a boolean";
    default:
      return "a number";
  }
}

} // namespace muster
