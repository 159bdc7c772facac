// SPDX-License-Identifier: Apache-2.0

#include "actors/node/run_node.hpp"

#include "actors/node/node.hpp"
#include "actors/node/node_config.hpp"
#include "actors/node/signals.hpp"
#include "actors/node/tls_folder.hpp"
#include "actors/persistence/state_directory.hpp"
#include "actors/process/crash_handler.hpp"
#include "actors/process/environment.hpp"
#include "actors/process/system_processes.hpp"
#include "actors/process/system_sockets.hpp"
#include "actors/remote/publish.hpp"

#include "messages/json.hpp"

#include <caf/all.hpp>
#include <caf/io/all.hpp>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <systemd/sd-daemon.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <muster_version.hpp>
#include <thread>

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

namespace muster {

namespace {

/// What the threads of the actor system may take to end, once everything is on
/// disk.
constexpr auto exit_patience = std::chrono::seconds(5);

/// Where a client on this machine reaches what listens on `host`.
std::string seen_from_here(const std::string& host) {
  if (host == "0.0.0.0")
    return "127.0.0.1";
  return host == "::" ? "::1" : host;
}

std::string address_document(const node_address& address, bool has_tls,
                             const environment& env) {
  return json{{"host", seen_from_here(address.host)},
              {"port", address.port},
              {"pid", ::getpid()},
              {"started_at", env.wall_ms()},
              {"tls", has_tls},
              {"version", version}}
           .dump(2)
         + "\n";
}

// -- connections --------------------------------------------------------------

/// Descriptors that a node needs beside its connections: files, pipes, the
/// standard streams.
constexpr std::uint64_t other_descriptors = 64;

/// A worker or a pod is a process that is held, and a connection.
constexpr std::uint64_t descriptors_of_a_process = 2;

/// Makes room for all connections, workers and pods that the settings allow:
/// strangers can take them, and a node without descriptors cannot work.
expected<void> make_room(const gate_settings& settings,
                         const pool_settings& pool, const pod_settings& pods) {
  auto needed = settings.max_connections + settings.max_handshakes
                + descriptors_of_a_process * (pool.max_workers + pods.max_pods)
                + other_descriptors;
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur >= needed)
    return {};
  limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, needed);
  ::setrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur >= needed)
    return {};
  return fail(
    errc::invalid_argument,
    fmt::format("node.max-connections = {}, node.max-handshakes = {}, "
                "pool.max-workers = {} and pods.max-pods = {} need {} open "
                "files, and this process may have {}; lower them, or raise "
                "that (ulimit -n, LimitNOFILE=)",
                settings.max_connections, settings.max_handshakes,
                pool.max_workers, pods.max_pods, needed, limit.rlim_max));
}

/// The program that this process runs.
expected<std::string> own_program() {
  std::error_code code;
  auto out = std::filesystem::read_symlink("/proc/self/exe", code);
  if (code)
    return fail(errc::internal, fmt::format("this program cannot be found: {}",
                                            code.message()));
  return out.string();
}

/// What workers and pods are reached by: one thread for their processes and
/// sockets.
expected<void> make_ports(node_parts& parts, node_settings& settings,
                          const std::string& directory) {
  auto program = own_program();
  if (!program)
    return tl::unexpected<failure>{program.error()};
  settings.pool.version = version;
  settings.pool.program = settings.pods.program = *program;
  settings.pool.folder = directory + "/pool";
  settings.pods.folder = directory + "/pods";
  settings.recovery.groups.folder = directory + "/groups";
  // Whoever reads or changes what is there could do anything to the node.
  settings.pods.grant.deny.push_back({directory, permission::read, true});
  auto loop = io_loop::open();
  if (!loop)
    return tl::unexpected<failure>{loop.error()};
  // Those that shall end take room until they have.
  auto workers = system_processes::open(2 * settings.pool.max_workers, *loop);
  if (!workers)
    return tl::unexpected<failure>{workers.error()};
  auto pods = system_processes::open(2 * settings.pods.max_pods, *loop);
  if (!pods)
    return tl::unexpected<failure>{pods.error()};
  parts.pool = system_pool_parts(settings.pool);
  parts.pool.processes = std::move(*workers);
  parts.pool.sockets = std::make_shared<system_sockets>(*loop);
  parts.pods = system_pod_parts(settings.pods);
  parts.pods.processes = std::move(*pods);
  parts.pods.sockets = std::make_shared<system_sockets>(*loop);
  parts.recovery = system_recovery_parts();
  return {};
}

/// Makes the certificates, if there are none, and looks at every file.
/// @returns whether it made them.
expected<bool> prepare_tls(node_settings& settings, const environment& env) {
  auto folder = tls_folder::open(settings.storage.directory, settings.tls, env);
  if (!folder)
    return tl::unexpected<failure>{folder.error()};
  settings.gate.folder = (*folder)->path();
  auto is_new = (*folder)->prepare();
  if (!is_new)
    return is_new;
  return load_node(settings.gate.folder, env.wall_ms())
    .and_then([&](const identity&) {
      return load_client(settings.gate.folder, env.wall_ms());
    })
    .map([&](const identity&) { return *is_new; });
}

/// Opens the port.
/// @returns the gate, or none if the node listens without TLS.
expected<std::unique_ptr<gate>>
open_port(caf::actor_system& system, const node_parts& parts,
          const node_impl& hdl, node_address& address) {
  auto& settings = parts.settings;
  auto published = caf::actor_cast<node_actor>(hdl);
  auto whom = caf::actor_cast<caf::strong_actor_ptr>(published);
  auto interface = system.message_types(published);
  if (settings.insecure_loopback) {
    spdlog::warn("listening without TLS: every process of this machine can do "
                 "everything with this node, and end it");
    return publish_insecurely(system, whom, interface, settings.gate.port)
      .map([&](std::uint16_t port) {
        address.port = port;
        return std::unique_ptr<gate>{};
      });
  }
  return gate::open(settings.gate, parts.env.wall_ms)
    .map([&](std::unique_ptr<gate> out) {
      publish(system, whom, interface, *out);
      address.port = out->port();
      return out;
    });
}

/// Writes where the node is, for clients on this machine.
expected<void> announce(caf::actor_system& system, const node_parts& parts,
                        const node_impl& hdl, const node_address& address) {
  expected<void> result;
  caf::scoped_actor self{system};
  self
    ->request(
      hdl, caf::infinite, save_atom::value,
      address_document(address, !parts.settings.insecure_loopback, parts.env))
    .receive([](caf::ok_atom) {},
             [&](const caf::error& error) {
               result = tl::unexpected<failure>{from_caf(error)};
             });
  return result;
}

// -- the end ------------------------------------------------------------------

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

/// Tells the service manager what is about to happen.
void notify_of_end(node_end end) {
  using namespace std::chrono;
  auto now
    = duration_cast<microseconds>(steady_clock::now().time_since_epoch());
  if (end == node_end::restart)
    sd_notify(
      0, fmt::format("RELOADING=1\nMONOTONIC_USEC={}", now.count()).c_str());
  else
    sd_notify(0, "STOPPING=1");
}

/// What is done at the end of each tick, so that the service manager knows that
/// the node does not hang.
/// @returns nothing if it does not want to know.
std::function<void()> keep_watchdog_calm(std::chrono::milliseconds interval) {
  std::uint64_t limit_us = 0;
  if (sd_watchdog_enabled(0, &limit_us) <= 0)
    return {};
  auto limit = std::chrono::milliseconds(limit_us / 1'000);
  if (2 * interval > limit)
    spdlog::warn("the service manager gives the node {} ms, and a tick comes "
                 "every {}: set WatchdogSec to more, or tick.interval to less",
                 limit.count(), interval.count());
  return [] { sd_notify(0, "WATCHDOG=1"); };
}

/// What a signal does: the first stops the node in order, the next at once.
/// @param patience what the ordered stop may take.
/// @param end is set to what is to be done behind the stop.
auto stop_on_signal(const node_impl& hdl, std::chrono::milliseconds patience,
                    std::atomic<node_end>& end) {
  return [hdl, patience, &end, count = 0](int number) mutable {
    if (++count > 1)
      ::_exit(128 + number);
    end = number == SIGHUP && !terminal_watch::is_lost() ? node_end::restart
                                                         : node_end::stop;
    spdlog::info("signal {} received, {}", number,
                 end == node_end::restart ? "starting again" : "stopping");
    notify_of_end(end);
    caf::anon_send(hdl, stop_atom::value);
    // The node keeps this time itself, unless scripts that cannot be
    // interrupted hold all threads.
    bound_exit(patience + exit_patience, describe(errc::timeout).exit_code,
               "it took longer than node.drain-timeout");
  };
}

} // namespace

expected<node_end> run_node(node_settings settings,
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
    return tl::unexpected<failure>{noted.error()};
  settings.strategy.packages.push_back((*directory)->path() + "/packages");
  auto parts = std::make_shared<node_parts>();
  parts->env = real_environment();
  auto ports = make_ports(*parts, settings, (*directory)->path());
  if (!ports)
    return tl::unexpected<failure>{ports.error()};
  auto made_certificates
    = make_room(settings.gate, settings.pool, settings.pods).and_then([&] {
        return settings.insecure_loopback ? expected<bool>{false}
                                          : prepare_tls(settings, parts->env);
      });
  if (!made_certificates)
    return tl::unexpected<failure>{made_certificates.error()};
  parts->settings = settings;
  auto disk = open_storage(settings.storage, make_posix_disk(), parts->env);
  if (!disk)
    return tl::unexpected<failure>{disk.error()};
  // What a dead node left leads nowhere. Its place is also the room for ours,
  // should the disk be full.
  if (auto removed = (*disk)->documents->remove(node_document); !removed)
    return tl::unexpected<failure>{removed.error()};
  parts->disk = std::move(*disk);
  parts->on_tick = keep_watchdog_calm(settings.tick.interval);
  node_config config;
  caf::actor_system system{config};
  caf::scoped_actor self{system};
  auto hdl = system.spawn(node, std::shared_ptr<const node_parts>{parts});
  self->monitor(hdl);
  node_address address{settings.insecure_loopback ? "127.0.0.1"
                                                  : settings.gate.host,
                       0, settings.storage.directory};
  auto port = open_port(system, *parts, hdl, address);
  auto reachable = port ? announce(system, *parts, hdl, address)
                        : tl::unexpected<failure>{port.error()};
  parts.reset();
  std::atomic<node_end> end = node_end::stop;
  signal_thread signals{stop_on_signal(hdl, settings.drain_timeout, end)};
  if (reachable) {
    if (*made_certificates)
      spdlog::info("made certificates in {}", settings.gate.folder);
    spdlog::info("node is ready on {}, state in {}",
                 show_address(address.host, address.port),
                 address.state_directory);
    ready(address);
    sd_notify(0, "READY=1");
  } else {
    caf::anon_send(hdl, stop_atom::value);
  }
  auto result = wait_for_end(self);
  if (!reachable)
    result = reachable;
  // A handle of ours would keep the system waiting.
  hdl = nullptr;
  bound_exit(exit_patience,
             result ? 0 : describe(result.error().code).exit_code,
             result ? "the node has stopped" : result.error().message);
  return result.map([&] { return end.load(); });
}

} // namespace muster
