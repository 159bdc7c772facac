// SPDX-License-Identifier: Apache-2.0

// A check that fails: whoever runs a suite must see which one it was.

#define CAF_SUITE support.failed_check

#include "tests/support/suite.hpp"

CAF_TEST(a check that fails) {
  CAF_CHECK_EQUAL(std::string{"what is"}, "what was expected");
}
