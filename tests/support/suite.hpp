// SPDX-License-Identifier: Apache-2.0

// To be included by every test behind `#define CAF_SUITE <name>`, in place of
// the framework's own headers.

#pragma once

// The framework's own fixtures use a macro that it forgot to define.
#ifndef FAIL
#define FAIL CAF_FAIL
#endif

#include <caf/test/dsl.hpp>

#include <cstddef>
#include <sstream>
#include <string>
#include <type_traits>

namespace muster::test {

/// Where a check is, and what it says.
struct check_site {
  const char* file;
  std::size_t line;
  const char* text;
};

/// Counts a check and gives `is_fine` back. One that failed is named on the
/// console, with `values`: the framework shows it to those alone who ask for
/// all that passed as well.
bool count_check(bool is_fine, const check_site& site,
                 const std::string& values = {});

/// A value as text: what is like a string prints itself, as JSON does.
template <class T>
std::string show_value(const T& x) {
  if constexpr (std::is_null_pointer_v<T>) {
    return "null";
  } else if constexpr (std::is_convertible_v<const T&, std::string>) {
    std::ostringstream out;
    out << x;
    return out.str();
  } else {
    return caf::deep_to_string(x);
  }
}

/// Checks two values against each other.
template <class Comparator, class T, class U>
bool check_values(const check_site& site, const T& x, const U& y) {
  Comparator compare;
  if (compare(x, y))
    return count_check(true, site);
  return count_check(false, site, show_value(x) + " and " + show_value(y));
}

} // namespace muster::test

#define MUSTER_CHECK_SITE(text)                                                \
  ::muster::test::check_site {                                                 \
    __FILE__, __LINE__, text                                                   \
  }

#undef CAF_CHECK
#define CAF_CHECK(...)                                                         \
  static_cast<void>(::muster::test::count_check(                               \
    static_cast<bool>(__VA_ARGS__), MUSTER_CHECK_SITE(#__VA_ARGS__)))

#undef CAF_CHECK_FUNC
#define CAF_CHECK_FUNC(func, x, y)                                             \
  static_cast<void>(::muster::test::check_values<func>(                        \
    MUSTER_CHECK_SITE(CAF_FUNC_EXPR(func, x, y)), x, y))

#undef CAF_REQUIRE
#define CAF_REQUIRE(...)                                                       \
  do {                                                                         \
    if (!::muster::test::count_check(static_cast<bool>(__VA_ARGS__),           \
                                     MUSTER_CHECK_SITE(#__VA_ARGS__)))         \
      ::caf::test::detail::requirement_failed(#__VA_ARGS__);                   \
  } while (false)

#undef CAF_REQUIRE_FUNC
#define CAF_REQUIRE_FUNC(func, x, y)                                           \
  do {                                                                         \
    if (!::muster::test::check_values<func>(                                   \
          MUSTER_CHECK_SITE(CAF_FUNC_EXPR(func, x, y)), x, y))                 \
      ::caf::test::detail::requirement_failed(CAF_FUNC_EXPR(func, x, y));      \
  } while (false)
