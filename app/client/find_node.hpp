// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "app/client/node_location.hpp"

#include "messages/errors.hpp"

#include <optional>
#include <string>

namespace muster {

/// What somebody says of the node to talk to.
struct node_choice {
  /// HOST:PORT.
  std::optional<std::string> address;
  /// The folder with the certificates of the client.
  std::optional<std::string> tls;
  /// Whether the node listens without TLS, on 127.0.0.1.
  bool insecure_loopback = false;
};

/// Where the node is: the chosen address, else `$MUSTER_NODE`, else what the
/// node wrote into its state directory. The certificates are the chosen ones,
/// else those in `$MUSTER_TLS`, else those in the state directory.
/// @returns `unreachable` if nothing says where, `invalid_argument` for what is
///          no address.
[[nodiscard]] expected<node_location>
find_node(const node_choice& choice, const std::string& state_directory);

} // namespace muster
