// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "tests/bench/drivers.hpp"

#include "actors/node/node.hpp"
#include "actors/node/node_config.hpp"

#include <caf/all.hpp>

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace muster::bench {

/// A folder of its own, gone in the end.
class scratch {
public:
  explicit scratch(const std::string& below);

  ~scratch();

  scratch(const scratch&) = delete;

  scratch& operator=(const scratch&) = delete;

  [[nodiscard]] const std::string& path() const {
    return path_;
  }

private:
  std::string path_;
};

/// A node in this process, as `muster node` runs it but for the port: real
/// threads, a real disk, and its clients beside it.
class in_process_node {
public:
  /// Starts a node.
  explicit in_process_node(const std::string& directory,
                           node_settings settings = {});

  /// Stops it in order.
  ~in_process_node();

  in_process_node(const in_process_node&) = delete;

  in_process_node& operator=(const in_process_node&) = delete;

  /// Spawns paused sessions, some at a time.
  /// @returns their ids.
  std::vector<std::string> spawn(const std::string& code, std::size_t count,
                                 std::size_t at_a_time = 50);

  /// Feeds every session again and again, one answer each at a time.
  /// @returns pauses per second, each acknowledged and on disk.
  double feed(const std::vector<std::string>& ids, double seconds);

  /// Spawns sessions for some time.
  /// @returns sessions per second, each on disk.
  double spawn_rate(const std::string& code, std::size_t at_a_time,
                    double seconds);

  /// Asks the node, and waits.
  /// @throws std::runtime_error if it refuses.
  template <class T, class... Ts>
  T ask(Ts... request) {
    caf::scoped_actor self{*system_};
    T out;
    self->request(node_, caf::infinite, std::move(request)...)
      .receive([&](T& x) { out = std::move(x); },
               [](const caf::error& error) {
                 throw std::runtime_error{from_caf(error).message};
               });
    return out;
  }

  /// What the node says of itself, as JSON.
  [[nodiscard]] std::string status();

  [[nodiscard]] const node_actor& handle() const {
    return node_;
  }

  [[nodiscard]] caf::actor_system& system() {
    return *system_;
  }

private:
  node_config config_;
  std::unique_ptr<caf::actor_system> system_;
  node_impl impl_;
  node_actor node_;
};

} // namespace muster::bench
