// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/caf_support.hpp"

#include <caf/all.hpp>
#include <caf/io/all.hpp>

namespace muster {

/// How the actor system of a node is set up.
struct node_config : caf::actor_system_config {
  node_config() {
    muster::add_message_types(*this);
    load<caf::io::middleman>();
    // Threads sleep until there is work. Under the other policy they look for
    // some every 50 us: a request from afar meets them asleep and takes three
    // times as long, and an idle node takes ten times as much of a processor.
    set("scheduler.policy", caf::atom("sharing"));
    // More than ever come at once; sessions take fewer, see `session_runner`.
    set("scheduler.max-throughput", 1'000);
    // So that a peer that hangs is noticed.
    set("middleman.heartbeat-interval", caf::timespan{1'000'000'000});
    set("middleman.connection-timeout", caf::timespan{5'000'000'000});
  }
};

} // namespace muster
