// SPDX-License-Identifier: Apache-2.0

#include "tests/support/test_network.hpp"

#include <caf/io/all.hpp>

namespace muster::test {

void use_test_network(caf::actor_system_config& config) {
  config.set("scheduler.policy", caf::atom("testing"));
  config.set("middleman.network-backend", caf::atom("testing"));
  config.set("middleman.manual-multiplexing", true);
  config.set("middleman.attach-utility-actors", true);
  config.set("middleman.workers", std::size_t{0});
}

caf::scheduler::test_coordinator& scheduler_of(caf::actor_system& system) {
  return dynamic_cast<caf::scheduler::test_coordinator&>(system.scheduler());
}

caf::io::network::test_multiplexer& network_of(caf::actor_system& system) {
  return dynamic_cast<caf::io::network::test_multiplexer&>(
    system.middleman().backend());
}

caf::io::basp_broker& broker_in(caf::actor_system& system) {
  auto broker
    = system.middleman().named_broker<caf::io::basp_broker>(caf::atom("BASP"));
  return dynamic_cast<caf::io::basp_broker&>(
    *caf::actor_cast<caf::abstract_actor*>(broker));
}

bool work_network(caf::actor_system& system) {
  auto& network = network_of(system);
  bool any = false;
  while (network.read_data() || network.try_exec_runnable()
         || network.try_accept_connection())
    any = true;
  return any;
}

void break_connection(caf::actor_system& system,
                      caf::io::connection_handle connection) {
  auto& network = network_of(system);
  // What is still under way is lost, and the broker is told.
  network.virtual_network_buffer(connection).clear();
  caf::anon_send(
    system.middleman().named_broker<caf::io::basp_broker>(caf::atom("BASP")),
    caf::io::connection_closed_msg{connection});
  work_network(system);
  if (auto scribe = network.impl_ptr(connection))
    scribe->detach(&network, false);
}

} // namespace muster::test
