// SPDX-License-Identifier: Apache-2.0

#include "messages/pool.hpp"

namespace muster {

std::string to_string(worker_phase phase) {
  switch (phase) {
    case worker_phase::starting:
      return "starting";
    case worker_phase::idle:
      return "idle";
    case worker_phase::busy:
      return "busy";
    case worker_phase::mismatched:
      return "mismatched";
    case worker_phase::unreachable:
      return "unreachable";
    case worker_phase::stopping:
      return "stopping";
  }
  return "unknown";
}

} // namespace muster
