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

/// A number that ends in `ms`.
std::chrono::milliseconds milliseconds_in(const std::string& text) {
  return std::chrono::milliseconds{std::stoll(text)};
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
  begun.emplace_back(sid, *who);
  auto& x = workers_[sid];
  x.sock = argument(order, "--sock");
  x.who = *who;
  x.core = std::make_unique<worker_core>(std::move(what));
  x.alone_since_ns = clocks_.steady_ns();
  x.greet_timeout = milliseconds_in(argument(order, "--greet-timeout"));
  x.orphan_timeout = milliseconds_in(argument(order, "--orphan-timeout"));
  if (dying_at_hello > 0) {
    --dying_at_hello;
    x.dies_at_hello = true;
  }
  if (is_ready(*who))
    listen(sid, x);
  return who;
}

expected<void> simulated_workers::send(const process_identity& who,
                                       int signal) {
  auto sent = scripted_processes::send(who, signal);
  for (auto& [sid, x] : workers_)
    if (sent && x.who == who && x.hangs && signal == SIGTERM)
      x.is_told_to_end = true;
  clean();
  return sent;
}

// -- what the test decides ----------------------------------------------------

bool simulated_workers::work() {
  bool worked = false;
  for (auto& sid : living())
    if (auto& x = workers_.at(sid); !x.hangs && x.core->has_work()) {
      perform(sid, x.core->advance());
      worked = true;
    }
  return worked;
}

bool simulated_workers::work_one(std::mt19937_64& random) {
  std::vector<std::string> busy;
  for (auto& [sid, x] : workers_)
    if (!x.hangs && x.core->has_work())
      busy.push_back(sid);
  if (busy.empty())
    return false;
  auto& sid = busy[random() % busy.size()];
  perform(sid, workers_.at(sid).core->advance());
  return true;
}

void simulated_workers::beat() {
  for (auto& sid : living()) {
    auto& x = workers_.at(sid);
    if (x.hangs)
      continue;
    auto now = clocks_.steady_ns();
    if (auto id = x.core->attached(); id != 0 && !sockets->has(id)) {
      x.core->lost(id);
      x.alone_since_ns = now;
    }
    auto patience = x.core->was_greeted() ? x.orphan_timeout : x.greet_timeout;
    if (!x.core->is_attached()
        && now - x.alone_since_ns >= std::chrono::nanoseconds{patience}.count())
      perform(sid, {end_worker{}});
    else
      perform(sid, x.core->beat());
  }
}

void simulated_workers::become_ready(const std::string& sid) {
  auto& x = workers_.at(sid);
  if (is_ready(x.who))
    return;
  listen(sid, x);
  say(x.who, "ready");
}

void simulated_workers::die(const std::string& sid, int signal) {
  end(workers_.at(sid).who, {process_exit::manner::signalled, signal});
  clean();
}

void simulated_workers::die_all() {
  for (auto& sid : living())
    die(sid);
}

void simulated_workers::cut_power() {
  workers_.clear();
  usurpers_.clear();
  sockets->peers.clear();
  reboot();
  restart_node();
}

void simulated_workers::hang(const std::string& sid) {
  auto& x = workers_.at(sid);
  x.hangs = true;
  obey(x.who, obedience::ignores_requests);
}

void simulated_workers::wake(const std::string& sid) {
  auto& x = workers_.at(sid);
  x.hangs = false;
  obey(x.who, obedience::ends);
  if (x.is_told_to_end) {
    die(sid, SIGTERM);
    return;
  }
  for (auto& [id, frame] : std::exchange(x.unread, {}))
    if (workers_.contains(sid))
      perform(sid, x.core->received(id, frame));
}

void simulated_workers::delay(const std::string& sid,
                              std::chrono::milliseconds time) {
  auto& x = workers_.at(sid);
  x.delay = time;
  if (auto peer = sockets->peers.find(x.sock); peer != sockets->peers.end())
    peer->second.delay = time;
}

void simulated_workers::usurp(const std::string& sock, std::int32_t pid) {
  auto who = begin_stranger(pid);
  worker_description what;
  what.version = version;
  what.nonce = "of somebody else";
  what.clocks = clocks_;
  auto& core = usurpers_.emplace(who, std::move(what)).first->second;
  peer_script peer;
  peer.who.pid = who.pid;
  peer.on_frame = [this, &core](connection_id id, const std::string& frame) {
    for (auto& effect : core.received(id, frame))
      if (auto* said = std::get_if<send_frame>(&effect))
        sockets->say(said->connection, said->frame);
  };
  sockets->peers[sock] = std::move(peer);
}

void simulated_workers::lose_node() {
  lose_holder();
  sockets->lose_holder();
}

void simulated_workers::restart_node() {
  restart_holder();
  sockets->restart_holder();
}

// -- what the test sees -------------------------------------------------------

std::vector<std::string> simulated_workers::living() const {
  std::vector<std::string> out;
  for (auto& [sid, x] : workers_)
    out.push_back(sid);
  return out;
}

worker_standing simulated_workers::standing(const std::string& sid) const {
  return workers_.at(sid).core->standing();
}

// -- implementation details ---------------------------------------------------

void simulated_workers::listen(const std::string& sid, worker& x) {
  peer_script peer;
  peer.who.pid = x.who.pid;
  peer.delay = x.delay;
  peer.on_frame = [this, sid](connection_id id, const std::string& frame) {
    auto i = workers_.find(sid);
    if (i == workers_.end())
      return;
    auto& me = i->second;
    if (me.dies_at_hello)
      die(sid);
    else if (me.hangs)
      me.unread.emplace_back(id, frame);
    else
      perform(sid, me.core->received(id, frame));
  };
  sockets->peers[x.sock] = std::move(peer);
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
  for (auto i = workers_.begin(); i != workers_.end();) {
    if (*is_alive(i->second.who)) {
      ++i;
      continue;
    }
    auto sock = i->second.sock;
    i = workers_.erase(i);
    sockets->peers.erase(sock);
    for (auto id : sockets->at(sock))
      sockets->hang_up(id);
  }
}

} // namespace muster::test
