// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <string>

namespace muster {

/// Where a node listens, and what to show it there.
struct node_location {
  std::string host = "127.0.0.1";
  std::uint16_t port = 7411;
  /// The folder with the client's certificate, its key and the certificate of
  /// the authority. Empty means without TLS, to 127.0.0.1 only.
  std::string tls;
};

} // namespace muster
