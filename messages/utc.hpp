// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <string>

namespace muster {

/// A wall clock time as ISO 8601 in UTC: `2026-01-31T23:59:59Z`.
/// @param wall_ms milliseconds since the epoch.
[[nodiscard]] std::string utc_text(std::int64_t wall_ms);

} // namespace muster
