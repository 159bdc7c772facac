// SPDX-License-Identifier: Apache-2.0

#include "tests/bench/groups.hpp"
#include "tests/bench/in_process_node.hpp"
#include "tests/support/fake_workers.hpp"

#include "actors/persistence/persistence.hpp"
#include "actors/pool/pool_registry.hpp"

#include "messages/json.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <thread>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

namespace muster::bench {

namespace {

using clock = std::chrono::steady_clock;

using milliseconds = std::chrono::duration<double, std::milli>;

/// What each caller of the registry has under way.
constexpr int changes_at_a_time = 20;

/// Entries of the registry that others are compared with.
constexpr std::size_t many_entries = 1'000;

// -- real workers -------------------------------------------------------------

/// Feeds one session that runs in a worker.
double feed_in_worker(const options& how) {
  scratch folder{how.folder};
  in_process_node node{folder.path()};
  session_spec spec;
  spec.code = asking_script();
  spec.isolation = session_isolation::worker;
  std::vector<std::string> ids{
    node.ask<session_view>(start_atom::value, spec, std::string{once})
      .session_id};
  node.feed(ids, 0.05);
  auto rate = node.feed(ids, how.seconds);
  node.ask<session_view>(cancel_atom::value, ids.front(), cancel_reason{});
  return rate;
}

/// How long it takes until a new worker is ready, in milliseconds: its process,
/// its confinement, its greeting, and two writes of the registry.
double start_of_worker(const options& how) {
  scratch folder{how.folder};
  in_process_node node{folder.path()};
  std::vector<double> samples;
  for (int i = 0; i < 20; ++i) {
    auto begin = clock::now();
    node.ask<worker_view>(pool_atom::value, spawn_atom::value,
                          std::string{once});
    samples.push_back(milliseconds{clock::now() - begin}.count());
  }
  node.ask<pool_stop_reply>(pool_atom::value, stop_atom::value, std::string{});
  return median(std::move(samples));
}

// -- many workers -------------------------------------------------------------

/// A pool whose workers are no processes, with a real disk.
class pool_of_many {
public:
  pool_of_many(const std::string& directory, std::size_t count) {
    persistence_settings storage;
    storage.directory = directory;
    auto env = real_environment();
    auto disk = open_storage(storage, make_posix_disk(), env);
    if (!disk)
      throw std::runtime_error{disk.error().message};
    auto parts = std::make_shared<pool_parts>();
    auto& settings = parts->settings;
    settings.folder = "/p";
    settings.version = "1.0";
    settings.program = "/worker";
    settings.max_workers = settings.max_waiting = 4 * count;
    settings.max_starts_per_second = settings.max_starts_at_once = 1'000'000;
    workers_->max_processes = 8 * count;
    workers_->sockets->limits.max_connections = 8 * count;
    parts->env = env;
    parts->processes = workers_;
    parts->sockets = workers_->sockets;
    parts->find_process
      = [w = workers_](std::int32_t pid) { return w->find(pid); };
    parts->usage_of = [](const process_identity&) { return std::nullopt; };
    parts->remove_file = [](const std::string&) {};
    parts->warn = [](const std::string&) {};
    parts->persistence = system_.spawn<caf::detached>(
      persistence, std::shared_ptr<storage_type>{std::move(*disk)},
      status_sink_actor{});
    persistence_ = parts->persistence;
    pool_ = system_.spawn(pool_registry,
                          std::shared_ptr<const pool_parts>{std::move(parts)},
                          status_sink_actor{});
    spawn(count);
  }

  ~pool_of_many() {
    caf::scoped_actor self{system_};
    self->request(pool_, caf::infinite, stop_atom::value)
      .receive([](caf::ok_atom) {}, [](const caf::error&) {});
    self->request(persistence_, caf::infinite, stop_atom::value)
      .receive([](caf::ok_atom) {}, [](const caf::error&) {});
    self->send_exit(pool_, caf::exit_reason::user_shutdown);
  }

  /// How long the share of a tick takes, in milliseconds.
  double tick() {
    std::vector<double> samples;
    caf::scoped_actor self{system_};
    for (int i = 0; i < 50; ++i) {
      auto begin = clock::now();
      self->request(pool_, caf::infinite, collect_atom::value)
        .receive([](std::uint64_t) {}, [](const caf::error&) {});
      samples.push_back(milliseconds{clock::now() - begin}.count());
    }
    return median(std::move(samples));
  }

  /// Lets callers start and stop workers, and gives the changes of the registry
  /// per second: each start is two of them, and each stop is one. All of them
  /// are on disk when they are answered.
  double changes(std::size_t callers, double seconds) {
    auto count = std::make_shared<std::atomic<std::uint64_t>>(0);
    auto over = std::make_shared<std::atomic<bool>>(false);
    auto begin = clock::now();
    std::vector<caf::actor> all;
    for (std::size_t i = 0; i < callers; ++i)
      for (int j = 0; j < changes_at_a_time; ++j)
        all.push_back(system_.spawn(caller, pool_, count, over));
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
    auto done = static_cast<double>(*count);
    std::chrono::duration<double> took = clock::now() - begin;
    *over = true;
    caf::scoped_actor self{system_};
    self->wait_for(all);
    return done / took.count();
  }

private:
  using storage_type = muster::storage;

  static caf::behavior caller(caf::event_based_actor* self,
                              pool_registry_actor pool,
                              std::shared_ptr<std::atomic<std::uint64_t>> count,
                              std::shared_ptr<std::atomic<bool>> over) {
    self->send(self, beat_atom::value);
    return {
      [=](beat_atom) {
        if (*over) {
          self->quit();
          return;
        }
        auto again = [=] { self->send(self, beat_atom::value); };
        auto stop = [=](const worker_view& worker) {
          *count += 2;
          self
            ->request(pool, caf::infinite, pool_atom::value, stop_atom::value,
                      worker.sid)
            .then(
              [=](const pool_stop_reply&) {
                ++*count;
                again();
              },
              [=](const caf::error&) { again(); });
        };
        self
          ->request(pool, caf::infinite, pool_atom::value, spawn_atom::value,
                    std::string{once})
          .then(stop, [=](const caf::error&) { again(); });
      },
    };
  }

  void spawn(std::size_t count) {
    caf::scoped_actor self{system_};
    constexpr std::size_t at_a_time = 100;
    for (std::size_t i = 0; i < count; i += at_a_time) {
      for (std::size_t j = 0; j < at_a_time; ++j)
        self->send(pool_, pool_atom::value, spawn_atom::value,
                   std::string{once});
      for (std::size_t j = 0; j < at_a_time; ++j)
        self->receive([](const worker_view&) {});
    }
  }

  node_config config_;
  caf::actor_system system_{config_};
  std::shared_ptr<test::fake_workers> workers_
    = std::make_shared<test::fake_workers>();
  persistence_actor persistence_;
  pool_registry_actor pool_;
};

double tick_of_many(const options& how) {
  scratch folder{how.folder};
  return pool_of_many{folder.path(), 10'000}.tick();
}

double changes_of_many(const options& how) {
  scratch folder{how.folder};
  return pool_of_many{folder.path(), many_entries}.changes(50, how.seconds);
}

// -- the registry without a node ----------------------------------------------

std::string text_of(const std::string& path) {
  std::ifstream in{path};
  return {std::istreambuf_iterator<char>{in}, {}};
}

/// One change as programs do it that share the file: lock, read all, change,
/// write all to another file, sync, rename.
void change_file(const std::string& folder, int number) {
  auto lock = ::open((folder + "/registry.lock").c_str(),
                     O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock < 0 || ::flock(lock, LOCK_EX) != 0)
    throw std::runtime_error{"there is no lock"};
  auto path = folder + "/registry.json";
  auto all = json::parse(text_of(path));
  auto& sessions = all.at("sessions");
  sessions.erase(sessions.begin());
  sessions.push_back({{"sid", fmt::format("p-{:032}", number)},
                      {"pid", 4'711},
                      {"sock", fmt::format("{}/p-{:032}.sock", folder, number)},
                      {"version", "1.0"},
                      {"created_at", "2026-01-01T00:00:00Z"}});
  auto text = all.dump(2);
  auto file = ::open((path + ".tmp").c_str(),
                     O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  auto written = ::write(file, text.data(), text.size());
  if (written != static_cast<ssize_t>(text.size()) || ::fsync(file) != 0)
    throw std::runtime_error{"the registry cannot be written"};
  ::close(file);
  ::rename((path + ".tmp").c_str(), path.c_str());
  ::close(lock);
}

/// The same from 50 threads, in changes per second.
double changes_of_file(const options& how) {
  scratch folder{how.folder};
  auto sessions = json::array();
  for (std::size_t i = 0; i < many_entries; ++i)
    sessions.push_back(
      {{"sid", fmt::format("p-{:032}", i)},
       {"pid", 4'711},
       {"sock", fmt::format("{}/p-{:032}.sock", folder.path(), i)},
       {"version", "1.0"},
       {"created_at", "2026-01-01T00:00:00Z"}});
  std::ofstream{folder.path() + "/registry.json"}
    << json{{"sessions", std::move(sessions)}}.dump(2);
  std::atomic<int> count = 0;
  std::atomic<bool> over = false;
  auto begin = clock::now();
  std::vector<std::thread> threads;
  for (int i = 0; i < 50; ++i)
    threads.emplace_back([&] {
      while (!over)
        change_file(folder.path(), ++count);
    });
  std::this_thread::sleep_for(std::chrono::duration<double>(how.seconds));
  over = true;
  for (auto& thread : threads)
    thread.join();
  std::chrono::duration<double> took = clock::now() - begin;
  return count / took.count();
}

} // namespace

group pool(const options& how) {
  group out;
  out.rows = run_interleaved(
    how,
    {
      {"pool, feed in the node", "feeds/s",
       [&] {
         scratch folder{how.folder};
         in_process_node node{folder.path()};
         auto ids = node.spawn(asking_script(), 1);
         node.feed(ids, 0.05);
         return node.feed(ids, how.seconds);
       }},
      {"pool, feed in a worker", "feeds/s",
       [&] { return feed_in_worker(how); }},
      {"pool, start of a worker", "ms", [&] { return start_of_worker(how); }},
      {"pool, locked file of 1,000", "changes/s",
       [&] { return changes_of_file(how); }},
      {"pool, registry of 1,000", "changes/s",
       [&] { return changes_of_many(how); }},
      {"pool, tick with 10,000 workers", "ms",
       [&] { return tick_of_many(how); }},
    });
  out.bars = {
    {"pool, feed in a worker", true, 0.5, "pool, feed in the node"},
    {"pool, start of a worker", false, 30, ""},
    {"pool, registry of 1,000", true, 20'000, ""},
    {"pool, registry of 1,000", true, 50, "pool, locked file of 1,000"},
    {"pool, tick with 10,000 workers", false, 1, ""},
  };
  return out;
}

} // namespace muster::bench
