// SPDX-License-Identifier: Apache-2.0

#include "actors/remote/log_limit.hpp"

#include <utility>

namespace muster {

bool log_limit::pass(time_point now) {
  if (now - began_ >= window) {
    began_ = now;
    passed_ = 0;
  }
  if (passed_ < lines) {
    ++passed_;
    return true;
  }
  ++left_out_;
  return false;
}

std::uint64_t log_limit::take_left_out(time_point now) {
  if (now - began_ < window)
    return 0;
  return std::exchange(left_out_, 0);
}

} // namespace muster
