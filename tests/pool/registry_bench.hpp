// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "tests/support/fake_workers.hpp"
#include "tests/support/simulated_disk.hpp"
#include "tests/support/suite.hpp"

#include "actors/persistence/persistence.hpp"
#include "actors/pool/pool_registry.hpp"

#include <caf/scheduler/test_coordinator.hpp>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace muster::test {

/// A registry of workers and the actor that owns the disk, on the deterministic
/// scheduler. The disk is simulated, workers are scripted. Can die in every way
/// and be started again; its workers live on.
struct registry_bench {
  simulated_disk disk;
  std::shared_ptr<fake_workers> workers = std::make_shared<fake_workers>();
  pool_settings settings;
  std::int64_t now_ns = 1'000'000'000;
  std::uint64_t random = 0;
  std::vector<std::string> warnings;
  std::vector<std::string> removed;
  std::string report;

  std::unique_ptr<caf::actor_system_config> config;
  std::unique_ptr<caf::actor_system> system;
  pool_registry_actor registry;
  persistence_actor storage;

  registry_bench() {
    settings.folder = "/state/pool";
    settings.version = "1.0";
    settings.program = "/bin/muster";
    settings.max_starts_at_once = 1'000;
  }

  ~registry_bench() {
    kill();
  }

  caf::scheduler::test_coordinator& scheduler() {
    return dynamic_cast<caf::scheduler::test_coordinator&>(system->scheduler());
  }

  void start() {
    config = std::make_unique<caf::actor_system_config>();
    add_message_types(*config);
    config->set("scheduler.policy", caf::atom("testing"));
    system = std::make_unique<caf::actor_system>(*config);
    auto parts = system_pool_parts(settings);
    parts.env = {[this] { return 1'700'000'000'000 + now_ns / 1'000'000; },
                 [this] { return now_ns; },
                 [this] {
                   ++random;
                   return random_bits{random, ~random};
                 }};
    persistence_settings where;
    where.directory = "/state";
    where.file_system = disk.file_system();
    auto opened = open_storage(where, disk.documents(), parts.env);
    CAF_REQUIRE(opened);
    auto sink = system->spawn(
      [this](status_sink_actor::pointer) -> status_sink_actor::behavior_type {
        return {[this](report_atom, const std::string&, const std::string& x) {
          report = x;
        }};
      });
    storage = system->spawn(persistence, *opened, sink);
    parts.persistence = storage;
    parts.processes = workers;
    parts.sockets = workers->sockets;
    parts.find_process = [this](std::int32_t pid) {
      return expected<std::optional<process_identity>>{workers->find(pid)};
    };
    parts.usage_of = [this](const process_identity& who) {
      return *workers->is_alive(who) ? std::optional<process_usage>{{4'096, 20}}
                                     : std::nullopt;
    };
    parts.remove_file
      = [this](const std::string& path) { removed.push_back(path); };
    parts.warn = [this](const std::string& x) { warnings.push_back(x); };
    registry = system->spawn(
      pool_registry, std::make_shared<const pool_parts>(std::move(parts)),
      sink);
  }

  void begin() {
    start();
    run();
  }

  /// The node dies, with all that was on its way.
  void kill() {
    if (!system)
      return;
    disk.is_off = true;
    caf::anon_send_exit(registry, caf::exit_reason::user_shutdown);
    caf::anon_send_exit(storage, caf::exit_reason::user_shutdown);
    registry = nullptr;
    storage = nullptr;
    while (system->registry().running() > 0)
      if (run() == 0 && !scheduler().trigger_timeout())
        break;
    system.reset();
    config.reset();
    disk.is_off = false;
    disk.kill_process();
    workers->restart_holder();
    workers->sockets->restart_holder();
  }

  void restart() {
    kill();
    begin();
  }

  std::size_t run(std::size_t limit = 1'000'000) {
    std::size_t count = 0;
    while (count < limit && scheduler().try_run_once())
      ++count;
    return count;
  }

  void advance(std::chrono::milliseconds time) {
    for (; time.count() > 0; time -= std::chrono::milliseconds(100)) {
      auto step = std::min(time, std::chrono::milliseconds(100));
      now_ns += std::chrono::nanoseconds(step).count();
      workers->advance(step);
      workers->sockets->advance(step);
      scheduler().clock().current_time += step;
      scheduler().clock().trigger_expired_timeouts();
      run();
    }
  }

  template <class T>
  using answer_ptr = std::shared_ptr<std::optional<expected<T>>>;

  template <class T, class... Ts>
  answer_ptr<T> send(Ts... request) {
    auto answer = std::make_shared<std::optional<expected<T>>>();
    system->spawn([=, to = registry](caf::event_based_actor* self) {
      self->request(to, caf::infinite, request...)
        .then([=](T& x) { answer->emplace(std::move(x)); },
              [=](const caf::error& error) {
                answer->emplace(tl::unexpected<failure>{from_caf(error)});
              });
    });
    return answer;
  }

  answer_ptr<worker_view> spawn(const std::string& request_id = once) {
    return send<worker_view>(pool_atom::value, spawn_atom::value, request_id);
  }

  answer_ptr<worker_lease> take(const std::string& session,
                                std::uint64_t seq = 1) {
    return send<worker_lease>(take_atom::value, session, seq);
  }

  answer_ptr<pool_stop_reply> stop(const std::string& prefix = {}) {
    return send<pool_stop_reply>(pool_atom::value, stop_atom::value, prefix);
  }

  answer_ptr<std::vector<std::string>> collect() {
    return send<std::vector<std::string>>(pool_atom::value,
                                          collect_atom::value);
  }

  std::vector<worker_view> listed() {
    auto x = send<std::vector<worker_view>>(pool_atom::value, list_atom::value);
    run();
    return value(x);
  }

  template <class T>
  T value(const answer_ptr<T>& x) {
    CAF_REQUIRE(*x);
    if (!**x)
      CAF_MESSAGE("refused: " << (**x).error().message);
    CAF_REQUIRE(**x);
    return ***x;
  }

  template <class T>
  errc code(const answer_ptr<T>& x) {
    CAF_REQUIRE(*x);
    CAF_REQUIRE(!**x);
    return (**x).error().code;
  }

  std::string spawned() {
    auto x = spawn();
    run();
    return value(x).sid;
  }

  worker_lease leased(const std::string& session, std::uint64_t seq = 1) {
    auto x = take(session, seq);
    run();
    auto lease = value(x);
    workers->workers.at(lease.sid).standing = {session, seq, true};
    return lease;
  }

  json document() {
    return json::parse(*disk.contents("/state/pool/registry.json"));
  }
};

} // namespace muster::test
