// SPDX-License-Identifier: Apache-2.0

#include "messages/hash.hpp"

#include <openssl/evp.h>

#include <array>

namespace muster {

std::string sha256(std::string_view text) {
  std::array<char, EVP_MAX_MD_SIZE> bytes{};
  unsigned size = 0;
  EVP_Digest(text.data(), text.size(),
             reinterpret_cast<unsigned char*>(bytes.data()), &size,
             EVP_sha256(), nullptr);
  return to_hex({bytes.data(), size});
}

std::string to_hex(std::string_view bytes) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string out;
  out.reserve(2 * bytes.size());
  for (unsigned char byte : bytes) {
    out += digits[byte >> 4];
    out += digits[byte & 15];
  }
  return out;
}

} // namespace muster
