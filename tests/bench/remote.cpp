// SPDX-License-Identifier: Apache-2.0

#include "app/client/client_config.hpp"
#include "tests/bench/drivers.hpp"
#include "tests/bench/groups.hpp"
#include "tests/bench/grpc.hpp"
#include "tests/bench/in_process_node.hpp"
#include "tests/black_box/program.hpp"

#include "actors/process/environment.hpp"
#include "actors/remote/connect.hpp"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <thread>

namespace muster::bench {

namespace {

using clock = std::chrono::steady_clock;

/// The program as a node, in a process of its own.
struct node_process {
  explicit node_process(const options& how)
    : folder(how.folder), box(folder.path()) {
    box.require_start();
  }

  [[nodiscard]] std::unique_ptr<client> connect() const {
    auto link = box.connect();
    if (!link)
      throw std::runtime_error{link.error().message};
    return std::move(*link);
  }

  scratch folder;
  test::black_box box;
};

/// An actor system that is set up as that of a client, and reaches a node over
/// TLS.
class remote_system {
public:
  explicit remote_system(const test::black_box& box) {
    auto own = load_client(box.state() + "/tls", real_environment().wall_ms());
    if (!own)
      throw std::runtime_error{own.error().message};
    auto found = muster::connect(system_, "127.0.0.1",
                                 box.ready().at("port").get<std::uint16_t>(),
                                 &*own, std::chrono::seconds(5));
    if (!found)
      throw std::runtime_error{found.error().message};
    node_ = caf::actor_cast<node_actor>(std::move(found->whom));
  }

  [[nodiscard]] caf::actor_system& system() {
    return system_;
  }

  [[nodiscard]] const node_actor& node() const {
    return node_;
  }

private:
  client_config config_;
  caf::actor_system system_{config_};
  node_actor node_;
};

using driver = double (*)(caf::actor_system&, const node_actor&,
                          const std::vector<std::string>&, double);

/// What a client does with so many sessions of a node, by one connection.
double rate(const options& how, driver drive, std::size_t count) {
  node_process node{how};
  remote_system here{node.box};
  auto ids = spawn(here.system(), here.node(), asking_script(), count);
  // What is set up at the first request is not what is measured.
  drive(here.system(), here.node(), ids, 0.05);
  return drive(here.system(), here.node(), ids, how.seconds);
}

double grpc_rate(const options& how, int outstanding, bool is_durable) {
  scratch folder{how.folder};
  test::black_box box{folder.path()};
  if (box.run({"tls", "init"}).code != 0)
    throw std::runtime_error{"there are no certificates"};
  grpc server{folder.path() + "/tls",
              is_durable ? folder.path() + "/journal" : ""};
  return server.calls(outstanding, how.seconds);
}

/// How long single requests of a client take, in microseconds, sorted.
std::vector<double> latencies(const options& how) {
  node_process node{how};
  auto link = node.connect();
  session_spec spec;
  spec.code = asking_script();
  auto session = link->start(std::move(spec));
  if (!session)
    throw std::runtime_error{session.error().message};
  std::vector<double> out;
  auto end = clock::now() + std::chrono::duration<double>(how.seconds);
  while (clock::now() < end) {
    auto begin = clock::now();
    auto view = link->show(session->session_id);
    std::chrono::duration<double, std::micro> took = clock::now() - begin;
    if (!view)
      throw std::runtime_error{view.error().message};
    out.push_back(took.count());
  }
  std::sort(out.begin(), out.end());
  return out;
}

/// Seconds that all threads of a process have run.
double processor_time(pid_t pid) {
  double nanoseconds = 0;
  auto tasks = "/proc/" + std::to_string(pid) + "/task";
  for (auto& task : std::filesystem::directory_iterator{tasks}) {
    std::ifstream in{task.path() / "schedstat"};
    double of_thread = 0;
    in >> of_thread;
    nanoseconds += of_thread;
  }
  return nanoseconds / 1e9;
}

/// What share of a processor a node takes that has nothing to do but to keep
/// ten clients and their paused sessions.
double idle_share() {
  constexpr auto length = std::chrono::seconds(5);
  test::black_box box;
  box.require_start();
  std::vector<std::unique_ptr<client>> clients;
  for (int i = 0; i < 10; ++i) {
    auto link = box.connect();
    session_spec spec;
    spec.code = asking_script();
    if (!link || !(*link)->start(std::move(spec)))
      throw std::runtime_error{"a client cannot do its work"};
    clients.push_back(std::move(*link));
  }
  // What the last session began is over then.
  std::this_thread::sleep_for(std::chrono::seconds(1));
  auto before = processor_time(box.node().pid());
  auto begin = clock::now();
  std::this_thread::sleep_for(length);
  auto used = processor_time(box.node().pid()) - before;
  return 100 * used
         / std::chrono::duration<double>(clock::now() - begin).count();
}

} // namespace

group remote(const options& how) {
  group out;
  out.rows = run_interleaved(
    how,
    {
      {"remote grpc, 1 synced call", "calls/s",
       [&] { return grpc_rate(how, 1, true); }},
      {"remote feed, 1 session", "feeds/s",
       [&] { return rate(how, feed_with_ids, 1); }},
      {"remote grpc, 100 synced calls", "calls/s",
       [&] { return grpc_rate(how, 100, true); }},
      {"remote feed, 100 sessions", "feeds/s",
       [&] { return rate(how, feed_with_ids, 100); }},
      {"remote grpc, 1 call", "calls/s",
       [&] { return grpc_rate(how, 1, false); }},
      {"remote show, 1 session", "views/s", [&] { return rate(how, show, 1); }},
      {"remote grpc, 100 calls", "calls/s",
       [&] { return grpc_rate(how, 100, false); }},
      {"remote show, 100 sessions", "views/s",
       [&] { return rate(how, show, 100); }},
      {"one remote show, median", "us",
       [&] {
         auto all = latencies(how);
         return all[all.size() / 2];
       }},
      {"one remote show, slowest", "us", [&] { return latencies(how).back(); }},
    });
  out.rows.push_back(run_alone(
    how, {"idle node with 10 remote clients", "% of a processor", idle_share},
    3));
  out.bars = {
    {"remote feed, 1 session", true, 1.0, "remote grpc, 1 synced call"},
    {"remote feed, 100 sessions", true, 1.0, "remote grpc, 100 synced calls"},
    {"remote show, 1 session", true, 1.0, "remote grpc, 1 call"},
    {"remote show, 100 sessions", true, 1.0, "remote grpc, 100 calls"},
    {"idle node with 10 remote clients", false, 1, {}},
  };
  return out;
}

} // namespace muster::bench
