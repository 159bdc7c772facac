// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace muster::lua::pattern_items {

// What a single character of a pattern stands for: itself, a class or a set.

using byte = unsigned char;

// -- classes ------------------------------------------------------------------

// Those of the C locale, whatever the process has set.

using mask = std::uint8_t;

constexpr mask lower = 1;
constexpr mask upper = 2;
constexpr mask digit = 4;
constexpr mask space = 8;
constexpr mask control = 16;
constexpr mask punctuation = 32;
constexpr mask hexadecimal = 64;
constexpr mask zero = 128;

constexpr bool is_between(int c, int first, int last) {
  return c >= first && c <= last;
}

constexpr mask classes_of(int c) {
  int all = 0;
  if (is_between(c, 'a', 'z'))
    all |= lower;
  if (is_between(c, 'A', 'Z'))
    all |= upper;
  if (is_between(c, '0', '9'))
    all |= digit;
  if (c == ' ' || is_between(c, '\t', '\r'))
    all |= space;
  if (c < ' ' || c == 127)
    all |= control;
  if (is_between(c, '!', '~') && (all & (lower | upper | digit)) == 0)
    all |= punctuation;
  if (is_between(c, 'a', 'f') || is_between(c, 'A', 'F') || (all & digit) != 0)
    all |= hexadecimal;
  if (c == 0)
    all |= zero;
  return static_cast<mask>(all);
}

inline constexpr auto classes = [] {
  std::array<mask, 256> result{};
  for (int c = 0; c < 256; ++c)
    result[static_cast<std::size_t>(c)] = c < 128 ? classes_of(c) : mask{0};
  return result;
}();

/// What the letters behind a `%` stand for; 0 for those that stand for
/// themselves.
inline constexpr auto letters = [] {
  std::array<mask, 256> result{};
  result['a'] = lower | upper;
  result['c'] = control;
  result['d'] = digit;
  result['g'] = lower | upper | digit | punctuation;
  result['l'] = lower;
  result['p'] = punctuation;
  result['s'] = space;
  result['u'] = upper;
  result['w'] = lower | upper | digit;
  result['x'] = hexadecimal;
  // No longer in the manual, and still in the language.
  result['z'] = zero;
  for (int c = 'a'; c <= 'z'; ++c)
    result[static_cast<std::size_t>(c - 'a' + 'A')]
      = result[static_cast<std::size_t>(c)];
  return result;
}();

inline bool fits_class(byte c, byte letter) {
  auto wanted = letters[letter];
  if (wanted == 0)
    return c == letter;
  bool is_complement = (classes[letter] & upper) != 0;
  return ((classes[c] & wanted) != 0) != is_complement;
}

/// @param set the text between the brackets.
inline bool fits_set(byte c, const char* set, const char* end) {
  bool fits = true;
  if (set != end && *set == '^') {
    fits = false;
    ++set;
  }
  while (set < end) {
    auto first = static_cast<byte>(*set);
    if (first == '%') {
      if (fits_class(c, static_cast<byte>(set[1])))
        return fits;
      set += 2;
    } else if (end - set > 2 && set[1] == '-') {
      if (first <= c && c <= static_cast<byte>(set[2]))
        return fits;
      set += 3;
    } else {
      if (first == c)
        return fits;
      ++set;
    }
  }
  return !fits;
}

/// Whether a character fits an item that is one character long.
inline bool fits(byte c, const char* item, const char* end) {
  switch (*item) {
    case '.':
      return true;
    case '%':
      return fits_class(c, static_cast<byte>(item[1]));
    case '[':
      return fits_set(c, item + 1, end - 1);
    default:
      return static_cast<byte>(*item) == c;
  }
}

} // namespace muster::lua::pattern_items
