// SPDX-License-Identifier: Apache-2.0

// To be included by every test behind `#define CAF_SUITE <name>`, in place of
// the framework's own headers.

#pragma once

// The framework's own fixtures use a macro that it forgot to define.
#ifndef FAIL
#define FAIL CAF_FAIL
#endif

#include <caf/test/dsl.hpp>
