// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/actors.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace muster {

/// Somebody who knows of processes that could hang.
struct probe {
  std::string name;
  probing_actor who;
};

/// What the PROBES know.
struct probes_state {
  // -- constants --------------------------------------------------------------

  static inline const char* name = "probes";

  // -- member types -----------------------------------------------------------

  struct entry {
    probe what;
    /// Asked and not answered yet; it is not asked again before.
    bool busy = false;
    std::uint64_t runs = 0;
    /// How many processes it has asked, in all.
    std::uint64_t asked = 0;
    std::uint64_t failures = 0;
    /// Ticks that did not ask it, because it had not answered.
    std::uint64_t skipped = 0;
    std::string last_error;
  };

  // -- introspection ----------------------------------------------------------

  /// The counters below as a JSON object.
  [[nodiscard]] std::string status() const;

  // -- member variables -------------------------------------------------------

  std::vector<entry> entries;
  status_sink_actor sink;
};

using probes_actor = ticking_actor::extend_with<reporting_actor>;

/// The first step of a tick: asks all who know of processes that could hang,
/// side by side, and answers how many processes were asked. One that fails is
/// kept, and changes nothing; one that is slow is left out until it answers.
probes_actor::behavior_type
probes(probes_actor::stateful_pointer<probes_state> self,
       std::vector<probe> all, status_sink_actor sink);

} // namespace muster
