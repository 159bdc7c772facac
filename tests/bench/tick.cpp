// SPDX-License-Identifier: Apache-2.0

#include "tests/bench/groups.hpp"
#include "tests/bench/in_process_node.hpp"

#include "messages/json.hpp"

#include <fmt/format.h>

#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace muster::bench {

namespace {

constexpr int many_workers = 1'000;

constexpr int many_pods = 1'000;

/// A node with a lot to look after: real processes, and sessions on a real
/// disk.
class full_house {
public:
  explicit full_house(const options& how)
    : folder_(how.folder), work_(how.folder),
      node_(folder_.path(), settings()) {
    // nop
  }

  ~full_house() {
    caf::scoped_actor self{node_.system()};
    auto ignore = [](const caf::error& error) {
      fmt::print(stderr, "left behind: {}\n", from_caf(error).message);
    };
    for (auto& name : pods_)
      self
        ->request(node_.handle(), caf::infinite, pod_atom::value,
                  stop_atom::value, name)
        .receive([](const pod_stop_reply&) {}, ignore);
    self
      ->request(node_.handle(), caf::infinite, pool_atom::value,
                stop_atom::value, std::string{})
      .receive([](const pool_stop_reply&) {}, ignore);
  }

  void fill(const options& how) {
    node_.spawn(asking_script(), how.stored_sessions, 500);
    for (int i = 0; i < many_workers; ++i)
      node_.ask<worker_view>(pool_atom::value, spawn_atom::value,
                             std::string{once});
    for (int i = 0; i < many_pods; ++i) {
      pod_order order;
      order.name = fmt::format("pod{}", i);
      order.scope = {{work_.path(), permission::read, true}};
      order.kind = pod_class::plain;
      order.command = {"sleep", "1000"};
      node_.ask<pod_view>(pod_atom::value, spawn_atom::value, order,
                          std::string{once});
      pods_.push_back(std::move(order.name));
    }
  }

  /// How long the next ticks take, in milliseconds.
  double tick() {
    std::vector<double> samples;
    for (auto last = ticks(); samples.size() < 20;) {
      std::this_thread::sleep_for(settings().tick.interval / 4);
      auto now = ticks();
      if (now["completed"] == last["completed"])
        continue;
      samples.push_back(now["last_ms"]);
      last = std::move(now);
    }
    return median(std::move(samples));
  }

private:
  static node_settings settings() {
    node_settings out;
    out.session.passivate_after = std::chrono::milliseconds(200);
    out.pool.max_workers = 2 * many_workers;
    out.pool.max_starts_per_second = out.pool.max_starts_at_once = 1'000'000;
    out.pods.max_pods = 2 * many_pods;
    return out;
  }

  json ticks() {
    return json::parse(node_.status())["tick"];
  }

  scratch folder_;
  scratch work_;
  in_process_node node_;
  std::vector<std::string> pods_;
};

} // namespace

group tick(const options& how) {
  auto name = fmt::format("tick with {} workers, {} pods, {} sessions",
                          many_workers, many_pods, how.stored_sessions);
  std::unique_ptr<full_house> house;
  auto measure = [&] {
    if (!house) {
      house = std::make_unique<full_house>(how);
      house->fill(how);
    }
    return house->tick();
  };
  group out;
  out.rows = run_interleaved(how, {{name, "ms", measure}});
  out.bars = {{name, false, 5, ""}};
  return out;
}

} // namespace muster::bench
