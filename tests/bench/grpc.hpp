// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "tests/black_box/program.hpp"

#include <memory>
#include <string>

namespace muster::bench {

/// A server of gRPC in a process of its own, see `grpc_peer.cpp`.
class grpc {
public:
  /// Starts the server. Throws if there is none to start.
  /// @param tls is the folder of certificates of a node.
  /// @param file is where the server writes what comes; empty means nowhere.
  grpc(std::string tls, const std::string& file);

  /// Calls by one connection, so many calls at once.
  /// @returns answers per second.
  double calls(int outstanding, double seconds);

private:
  std::string tls_;
  std::unique_ptr<test::process> server_;
  std::string port_;
};

} // namespace muster::bench
