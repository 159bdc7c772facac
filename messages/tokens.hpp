// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <string_view>

namespace muster {

/// How many tokens a text has, roughly: a quarter of its ASCII bytes and two
/// thirds of its other characters, each rounded up.
[[nodiscard]] std::uint64_t estimate_tokens(std::string_view text);

} // namespace muster
