// SPDX-License-Identifier: Apache-2.0

// To be included by every test behind `#define CAF_SUITE <name>`, in place of
// the framework's own headers.

#pragma once

// The framework's own fixtures use a macro that it forgot to define.
#ifndef FAIL
#define FAIL CAF_FAIL
#endif

#include <caf/test/dsl.hpp>

#include <type_traits>
#include <utility>

namespace muster::test {

/// A copy of what a check compares. The framework keeps references, also to
/// parts of temporaries that have ended by then.
template <class T>
std::decay_t<T> kept(T&& x) {
  return std::forward<T>(x);
}

} // namespace muster::test

#undef CAF_CHECK_EQUAL
#define CAF_CHECK_EQUAL(x, y)                                                  \
  CAF_CHECK_FUNC(::caf::test::equal_to, ::muster::test::kept(x),               \
                 ::muster::test::kept(y))

#undef CAF_CHECK_NOT_EQUAL
#define CAF_CHECK_NOT_EQUAL(x, y)                                              \
  CAF_CHECK_FUNC(::caf::test::not_equal_to, ::muster::test::kept(x),           \
                 ::muster::test::kept(y))

#undef CAF_REQUIRE_EQUAL
#define CAF_REQUIRE_EQUAL(x, y)                                                \
  CAF_REQUIRE_FUNC(::caf::test::equal_to, ::muster::test::kept(x),             \
                   ::muster::test::kept(y))
