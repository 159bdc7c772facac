// SPDX-License-Identifier: Apache-2.0

#include "actors/node/run_node.hpp"

#include "actors/node/node.hpp"
#include "actors/node/node_config.hpp"
#include "actors/node/signals.hpp"
#include "actors/persistence/state_directory.hpp"
#include "actors/process/crash_handler.hpp"
#include "actors/process/environment.hpp"

#include "messages/json.hpp"

#include <caf/all.hpp>
#include <caf/io/all.hpp>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <systemd/sd-daemon.h>

#include <chrono>
#include <muster_version.hpp>
#include <thread>

#include <sys/stat.h>
#include <unistd.h>

namespace muster {

namespace {

/// What the threads of the actor system may take to end, once everything is on
/// disk.
constexpr auto exit_patience = std::chrono::seconds(5);

std::string address_document(const node_address& address,
                             const environment& env) {
  return json{{"host", address.host},
              {"port", address.port},
              {"pid", ::getpid()},
              {"started_at", env.wall_ms()},
              {"version", version}}
           .dump(2)
         + "\n";
}

/// Opens the port, and writes where it is for clients on this machine.
expected<node_address> publish(caf::actor_system& system,
                               const node_parts& parts, const node_impl& hdl) {
  auto& settings = parts.settings;
  auto port
    = system.middleman().publish(caf::actor_cast<node_actor>(hdl),
                                 settings.port, settings.host.c_str(), true);
  if (!port)
    return fail(errc::in_use,
                fmt::format("cannot listen on {}:{}; another program may use "
                            "the port, give another one or 0",
                            settings.host, settings.port));
  node_address address{settings.host, *port, settings.storage.directory};
  expected<node_address> result = address;
  caf::scoped_actor self{system};
  self
    ->request(hdl, caf::infinite, save_atom::value,
              address_document(address, parts.env))
    .receive([](caf::ok_atom) {},
             [&](const caf::error& error) {
               result = tl::unexpected<failure>{from_caf(error)};
             });
  return result;
}

/// Waits until the node has ended, and says why if it was not told to.
expected<void> wait_for_end(caf::scoped_actor& self) {
  expected<void> result;
  self->receive([&](const caf::down_msg& x) {
    if (x.reason && x.reason != caf::exit_reason::user_shutdown)
      result = tl::unexpected<failure>{from_caf(x.reason)};
  });
  return result;
}

/// Ends the process after a time, if it has not ended by then. Whatever was
/// acknowledged is on disk.
void bound_exit(std::chrono::milliseconds patience, int exit_code,
                std::string why) {
  std::thread{[=] {
    std::this_thread::sleep_for(patience);
    // Nobody else comes to say it.
    spdlog::error("something still runs, ending without it: {}", why);
    ::_exit(exit_code);
  }}.detach();
}

/// What a signal does: the first stops the node in order, the next at once.
/// @param patience what the ordered stop may take.
auto stop_on_signal(const node_impl& hdl, std::chrono::milliseconds patience) {
  return [hdl, patience, count = 0](int number) mutable {
    if (++count > 1)
      ::_exit(128 + number);
    spdlog::info("signal {} received, stopping", number);
    sd_notify(0, "STOPPING=1");
    caf::anon_send(hdl, stop_atom::value);
    // The node keeps this time itself, unless scripts that cannot be
    // interrupted hold all threads.
    bound_exit(patience + exit_patience, describe(errc::timeout).exit_code,
               "it took longer than node.drain-timeout");
  };
}

} // namespace

expected<void> run_node(node_settings settings,
                        std::function<void(const node_address&)> ready) {
  signal_thread::prepare();
  // Whatever the node or its libraries create is for its owner only.
  ::umask(077);
  auto directory = state_directory::open(settings.storage.directory);
  if (!directory)
    return tl::unexpected<failure>{directory.error()};
  settings.storage.directory = (*directory)->path();
  if (auto noted = note_crashes((*directory)->path() + "/" + crash_file);
      !noted)
    return noted;
  settings.strategy.packages.push_back((*directory)->path() + "/packages");
  auto parts = std::make_shared<node_parts>();
  parts->settings = settings;
  parts->env = real_environment();
  auto disk = open_storage(settings.storage, make_posix_disk(), parts->env);
  if (!disk)
    return tl::unexpected<failure>{disk.error()};
  // What a dead node left leads nowhere. Its place is also the room for ours,
  // should the disk be full.
  if (auto removed = (*disk)->documents->remove(node_document); !removed)
    return removed;
  parts->disk = std::move(*disk);
  node_config config;
  caf::actor_system system{config};
  caf::scoped_actor self{system};
  auto hdl = system.spawn(node, std::shared_ptr<const node_parts>{parts});
  self->monitor(hdl);
  auto address = publish(system, *parts, hdl);
  parts.reset();
  signal_thread signals{stop_on_signal(hdl, settings.drain_timeout)};
  if (address) {
    spdlog::info("node is ready on {}:{}, state in {}", address->host,
                 address->port, address->state_directory);
    ready(*address);
    sd_notify(0, "READY=1");
  } else {
    caf::anon_send(hdl, stop_atom::value);
  }
  auto result = wait_for_end(self);
  if (!address)
    result = tl::unexpected<failure>{address.error()};
  // A handle of ours would keep the system waiting.
  hdl = nullptr;
  bound_exit(exit_patience,
             result ? 0 : describe(result.error().code).exit_code,
             result ? "the node has stopped" : result.error().message);
  return result;
}

} // namespace muster
