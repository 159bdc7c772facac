// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/remote/openssl.hpp"

#include <caf/io/network/rw_state.hpp>

#include <cstddef>
#include <memory>
#include <string>

namespace muster {

/// How the framework reads from a connection and writes to it.
class tls_stream {
public:
  // -- member types -----------------------------------------------------------

  using rw_state = caf::io::network::rw_state;

  // -- constructors -----------------------------------------------------------

  /// @param session of a socket that somebody else closes, later.
  /// @param why gets what the other side refused us with, if it does.
  /// @param is_over once it is set nothing more is read, and the framework
  ///        closes the connection.
  tls_stream(openssl_ptr<SSL> session, std::shared_ptr<void> token,
             std::shared_ptr<std::string> why,
             std::shared_ptr<const bool> is_over);

  // -- what the framework calls -----------------------------------------------

  rw_state read_some(std::size_t& result, int, void* buffer, std::size_t size);

  rw_state write_some(std::size_t& result, int, const void* buffer,
                      std::size_t size);

  /// Whether there is something to read that the socket does not know of.
  bool must_read_more(int, std::size_t threshold);

private:
  /// Makes sense of what a call of OpenSSL has returned.
  rw_state end_of(int returned, std::size_t& result);

  // The session counts as open until it is freed.
  std::shared_ptr<void> token_;
  openssl_ptr<SSL> session_;
  std::shared_ptr<std::string> why_;
  std::shared_ptr<const bool> is_over_;
};

} // namespace muster
