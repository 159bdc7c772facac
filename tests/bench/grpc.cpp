// SPDX-License-Identifier: Apache-2.0

#include "tests/bench/grpc.hpp"

#include <cstdlib>
#include <stdexcept>

namespace muster::bench {

namespace {

/// The program, if it was built.
std::string peer_program() {
#ifdef MUSTER_GRPC_PEER
  return MUSTER_GRPC_PEER;
#else
  throw std::runtime_error{"built without gRPC"};
#endif
}

} // namespace

grpc::grpc(std::string tls, const std::string& file) : tls_(std::move(tls)) {
  std::vector<std::string> arguments{peer_program(), "serve", "--tls", tls_};
  if (!file.empty())
    arguments.insert(arguments.end(), {"--file", file});
  server_ = std::make_unique<test::process>(arguments, test::program_options{});
  port_ = server_->read_line(std::chrono::seconds(10));
  if (port_.empty())
    throw std::runtime_error{"the server of gRPC does not start"};
}

double grpc::calls(int outstanding, double seconds) {
  test::process client{{peer_program(), "call", "--tls", tls_, "--port", port_,
                        "--outstanding", std::to_string(outstanding),
                        "--seconds", std::to_string(seconds)},
                       {}};
  auto result = client.wait(std::chrono::seconds(60));
  if (!result || result->code != 0)
    throw std::runtime_error{"gRPC: "
                             + (result ? result->err : "no answer in time")};
  return std::strtod(result->out.c_str(), nullptr);
}

} // namespace muster::bench
