// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/caf_support.hpp"

#include <caf/all.hpp>
#include <caf/io/all.hpp>

namespace muster {

/// How the actor system of a client is set up.
struct client_config : caf::actor_system_config {
  client_config() {
    muster::add_message_types(*this);
    load<caf::io::middleman>();
    // As in a node: an answer that arrives is not kept waiting.
    set("scheduler.policy", caf::atom("sharing"));
    set("scheduler.max-threads", 2);
    // So that a node that hangs is noticed.
    set("middleman.heartbeat-interval", caf::timespan{1'000'000'000});
    set("middleman.connection-timeout", caf::timespan{5'000'000'000});
  }
};

} // namespace muster
