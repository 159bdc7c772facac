// SPDX-License-Identifier: Apache-2.0

#include "tests/support/simulated_workers.hpp"

#include <algorithm>
#include <stdexcept>

#include <signal.h>

namespace muster::test {

namespace {

std::string argument(const process_order& order, const std::string& name) {
  auto i = std::find(order.arguments.begin(), order.arguments.end(), name);
  if (i == order.arguments.end())
    throw std::logic_error{"a worker is started without " + name};
  return *std::next(i);
}

} // namespace

// -- the port -----------------------------------------------------------------

expected<process_identity> simulated_workers::start(const process_order& order,
                                                    process_listener listener) {
  auto sid = argument(order, "--sid");
  auto& secret = order.environment.at(0);
  worker_description what;
  what.version = version;
  what.nonce = secret.substr(secret.find('=') + 1);
  what.clocks = clocks_;
  auto who = scripted_processes::start(order, std::move(listener));
  if (!who)
    return who;
  auto& x = workers_[sid];
  x.sock = argument(order, "--sock");
  x.who = *who;
  x.core = std::make_unique<worker_core>(std::move(what));
  peer_script peer;
  peer.who.pid = who->pid;
  peer.on_frame = [this, sid](connection_id id, const std::string& frame) {
    auto& me = workers_.at(sid);
    if (!me.hangs && lives(me))
      perform(sid, me.core->received(id, frame));
  };
  sockets->peers[x.sock] = std::move(peer);
  return who;
}

expected<void> simulated_workers::send(const process_identity& who,
                                       int signal) {
  auto sent = scripted_processes::send(who, signal);
  clean();
  return sent;
}

// -- what the test decides ----------------------------------------------------

bool simulated_workers::work() {
  bool worked = false;
  for (auto& [sid, x] : workers_)
    if (!x.hangs && x.core->has_work() && lives(x)) {
      perform(sid, x.core->advance());
      worked = true;
    }
  return worked;
}

void simulated_workers::beat() {
  for (auto& [sid, x] : workers_)
    if (!x.hangs && lives(x))
      perform(sid, x.core->beat());
}

void simulated_workers::die(const std::string& sid, int signal) {
  auto& x = workers_.at(sid);
  if (lives(x))
    end(x.who, {process_exit::manner::signalled, signal});
  clean();
}

void simulated_workers::die_all() {
  for (auto& sid : living())
    die(sid);
}

void simulated_workers::hang(const std::string& sid) {
  auto& x = workers_.at(sid);
  x.hangs = true;
  obey(x.who, obedience::ignores_requests);
}

void simulated_workers::restart_node() {
  restart_holder();
  sockets->restart_holder();
}

// -- what the test sees -------------------------------------------------------

std::vector<std::string> simulated_workers::living() {
  std::vector<std::string> out;
  for (auto& [sid, x] : workers_)
    if (lives(x))
      out.push_back(sid);
  return out;
}

worker_standing simulated_workers::standing(const std::string& sid) const {
  return workers_.at(sid).core->standing();
}

// -- implementation details ---------------------------------------------------

bool simulated_workers::lives(const worker& x) {
  return *is_alive(x.who);
}

void simulated_workers::perform(const std::string& sid,
                                worker_effects effects) {
  for (auto& effect : effects) {
    if (auto* said = std::get_if<send_frame>(&effect))
      sockets->say(said->connection, said->frame);
    else if (auto* over = std::get_if<close_connection>(&effect))
      sockets->hang_up(over->connection);
    else
      end(workers_.at(sid).who, {process_exit::manner::exited, 0});
  }
  clean();
}

void simulated_workers::clean() {
  for (auto& [sid, x] : workers_)
    if (auto peer = sockets->peers.find(x.sock);
        peer != sockets->peers.end() && !lives(x)) {
      sockets->peers.erase(peer);
      for (auto id : sockets->at(x.sock))
        sockets->hang_up(id);
    }
}

} // namespace muster::test
