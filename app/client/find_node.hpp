// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "app/client/client.hpp"

#include <optional>
#include <string>

namespace muster {

/// Where the node is: `given` as HOST:PORT, else `$MUSTER_NODE`, else what the
/// node wrote into its state directory.
/// @returns `unreachable` if nothing says where, `invalid_argument` for what is
///          no address.
[[nodiscard]] expected<client_options>
find_node(const std::optional<std::string>& given,
          const std::string& state_directory);

} // namespace muster
