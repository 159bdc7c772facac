// SPDX-License-Identifier: Apache-2.0

#include "tests/bench/in_process_node.hpp"

#include "actors/process/system_processes.hpp"
#include "actors/process/system_sockets.hpp"

#include <chrono>
#include <filesystem>
#include <muster_version.hpp>
#include <stdexcept>

#include <stdlib.h>

namespace muster::bench {

scratch::scratch(const std::string& below) : path_(below + "/muster-XXXXXX") {
  if (!::mkdtemp(path_.data()))
    throw std::runtime_error{"cannot make a folder in " + below};
}

scratch::~scratch() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

in_process_node::in_process_node(const std::string& directory,
                                 node_settings settings) {
  settings.storage.directory = directory;
  auto parts = std::make_shared<node_parts>();
  parts->env = real_environment();
  auto disk = open_storage(settings.storage, make_posix_disk(), parts->env);
  if (!disk)
    throw std::runtime_error{disk.error().message};
  parts->disk = std::move(*disk);
  parts->settings = std::move(settings);
  auto& pool = parts->settings.pool;
  pool.folder = directory + "/pool";
  pool.version = version;
  pool.program = MUSTER_PROGRAM;
  auto loop = io_loop::open();
  if (!loop)
    throw std::runtime_error{loop.error().message};
  auto processes = system_processes::open(2 * pool.max_workers, *loop);
  if (!processes)
    throw std::runtime_error{processes.error().message};
  parts->pool = system_pool_parts(pool);
  parts->pool.processes = std::move(*processes);
  parts->pool.sockets = std::make_shared<system_sockets>(*loop);
  auto& pods = parts->settings.pods;
  pods.folder = directory + "/pods";
  pods.program = MUSTER_PROGRAM;
  auto children = system_processes::open(2 * pods.max_pods, *loop);
  if (!children)
    throw std::runtime_error{children.error().message};
  parts->pods = system_pod_parts(pods);
  parts->pods.processes = std::move(*children);
  parts->pods.sockets = std::make_shared<system_sockets>(*loop);
  parts->recovery = system_recovery_parts();
  system_ = std::make_unique<caf::actor_system>(config_);
  impl_ = system_->spawn(node, std::shared_ptr<const node_parts>{parts});
  node_ = caf::actor_cast<node_actor>(impl_);
}

in_process_node::~in_process_node() {
  {
    caf::scoped_actor self{*system_};
    self->request(impl_, caf::infinite, stop_atom::value)
      .receive([](caf::ok_atom) {}, [](const caf::error&) {});
  }
  impl_ = nullptr;
  node_ = nullptr;
  system_.reset();
}

std::vector<std::string> in_process_node::spawn(const std::string& code,
                                                std::size_t count,
                                                std::size_t at_a_time) {
  return bench::spawn(*system_, node_, code, count, at_a_time);
}

double in_process_node::feed(const std::vector<std::string>& ids,
                             double seconds) {
  return bench::feed(*system_, node_, ids, seconds);
}

double in_process_node::spawn_rate(const std::string& code,
                                   std::size_t at_a_time, double seconds) {
  return bench::spawn_rate(*system_, node_, code, at_a_time, seconds);
}

std::string in_process_node::status() {
  caf::scoped_actor self{*system_};
  std::string out;
  self->request(node_, std::chrono::seconds(30), status_atom::value)
    .receive([&](const std::string& text) { out = text; },
             [&](const caf::error& error) {
               throw std::runtime_error{system_->render(error)};
             });
  return out;
}

} // namespace muster::bench
