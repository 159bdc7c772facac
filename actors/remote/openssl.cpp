// SPDX-License-Identifier: Apache-2.0

#include "actors/remote/openssl.hpp"

#include <openssl/err.h>

namespace muster {

std::string take_openssl_error() {
  auto code = ERR_peek_last_error();
  std::string text;
  if (code != 0) {
    auto* reason = ERR_reason_error_string(code);
    text = reason != nullptr ? reason : "error " + std::to_string(code);
  }
  ERR_clear_error();
  return text;
}

} // namespace muster
