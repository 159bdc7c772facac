// SPDX-License-Identifier: Apache-2.0

#include "actors/process/environment.hpp"

#include <chrono>
#include <system_error>

#include <sys/random.h>

namespace muster {

namespace {

std::int64_t wall_ms() {
  using namespace std::chrono;
  return duration_cast<milliseconds>(system_clock::now().time_since_epoch())
    .count();
}

std::int64_t steady_ns() {
  using namespace std::chrono;
  return duration_cast<nanoseconds>(steady_clock::now().time_since_epoch())
    .count();
}

random_bits random() {
  random_bits bits{};
  // Up to 256 bytes are never given in part, once the kernel has any at all.
  if (::getrandom(bits.data(), sizeof(bits), 0)
      != static_cast<ssize_t>(sizeof(bits)))
    throw std::system_error{errno, std::generic_category(), "getrandom"};
  return bits;
}

} // namespace

environment real_environment() {
  return {wall_ms, steady_ns, random};
}

} // namespace muster
