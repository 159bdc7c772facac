// SPDX-License-Identifier: Apache-2.0

#include "messages/tokens.hpp"

namespace muster {

std::uint64_t estimate_tokens(std::string_view text) {
  std::uint64_t ascii = 0;
  std::uint64_t other = 0;
  for (unsigned char byte : text) {
    if (byte < 0x80)
      ++ascii;
    else if (byte >= 0xC0) // the first byte of a longer sequence
      ++other;
  }
  return (ascii + 3) / 4 + (2 * other + 2) / 3;
}

} // namespace muster
