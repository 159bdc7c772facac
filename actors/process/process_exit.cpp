// SPDX-License-Identifier: Apache-2.0

#include "actors/process/process_exit.hpp"

#include <fmt/format.h>

#include <string.h>

namespace muster {

std::string signal_name(int signal) {
  const auto* name = ::sigabbrev_np(signal);
  return name != nullptr ? fmt::format("SIG{}", name)
                         : fmt::format("signal {}", signal);
}

std::string show(const process_exit& end) {
  switch (end.how) {
    case process_exit::manner::exited:
      return fmt::format("ended with exit code {}", end.number);
    case process_exit::manner::signalled:
      return fmt::format("was killed by {}", signal_name(end.number));
    default:
      return "ended";
  }
}

} // namespace muster
