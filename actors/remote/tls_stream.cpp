// SPDX-License-Identifier: Apache-2.0

#include "actors/remote/tls_stream.hpp"

#include <openssl/err.h>

#include <algorithm>
#include <climits>

namespace muster {

namespace {

int clamped(std::size_t size) {
  return static_cast<int>(std::min<std::size_t>(size, INT_MAX));
}

} // namespace

tls_stream::tls_stream(openssl_ptr<SSL> session, std::shared_ptr<void> token,
                       std::shared_ptr<std::string> why,
                       std::shared_ptr<const bool> is_over)
  : token_(std::move(token)), session_(std::move(session)),
    why_(std::move(why)), is_over_(std::move(is_over)) {
  // nop
}

tls_stream::rw_state tls_stream::read_some(std::size_t& result, int,
                                           void* buffer, std::size_t size) {
  result = 0;
  if (*is_over_)
    return rw_state::failure;
  // What another connection of this thread left would be taken for ours.
  ERR_clear_error();
  return end_of(SSL_read(session_.get(), buffer, clamped(size)), result);
}

tls_stream::rw_state tls_stream::write_some(std::size_t& result, int,
                                            const void* buffer,
                                            std::size_t size) {
  result = 0;
  // Nothing to write is no failure, and nothing to come back for.
  if (size == 0)
    return rw_state::indeterminate;
  ERR_clear_error();
  return end_of(SSL_write(session_.get(), buffer, clamped(size)), result);
}

bool tls_stream::must_read_more(int, std::size_t threshold) {
  return static_cast<std::size_t>(SSL_pending(session_.get())) >= threshold;
}

tls_stream::rw_state tls_stream::end_of(int returned, std::size_t& result) {
  result = 0;
  if (returned > 0) {
    result = static_cast<std::size_t>(returned);
    return rw_state::success;
  }
  switch (SSL_get_error(session_.get(), returned)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
      return rw_state::success;
    case SSL_ERROR_SSL:
      if (why_)
        *why_ = take_openssl_error();
      return rw_state::failure;
    default:
      return rw_state::failure;
  }
}

} // namespace muster
