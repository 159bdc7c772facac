// SPDX-License-Identifier: Apache-2.0

#include "messages/utc.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

namespace muster {

std::string utc_text(std::int64_t wall_ms) {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}",
                     fmt::gmtime(static_cast<std::time_t>(wall_ms / 1'000)));
}

} // namespace muster
