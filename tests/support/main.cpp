// SPDX-License-Identifier: Apache-2.0

// Owns the test program's main function.

#include <caf/test/unit_test_impl.hpp>
