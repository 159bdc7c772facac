// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string_view>

namespace muster {

/// The Lua text of the strategy of a pod that was given none.
[[nodiscard]] std::string_view default_pod_strategy();

} // namespace muster
