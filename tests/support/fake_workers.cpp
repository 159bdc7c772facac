// SPDX-License-Identifier: Apache-2.0

#include "tests/support/fake_workers.hpp"

#include <algorithm>

namespace muster::test {

namespace {

std::string argument(const process_order& order, const std::string& name) {
  auto i = std::find(order.arguments.begin(), order.arguments.end(), name);
  return i != order.arguments.end() ? *std::next(i) : std::string{};
}

} // namespace

expected<process_identity> fake_workers::start(const process_order& order,
                                               process_listener listener) {
  fake_worker x;
  x.sid = argument(order, "--sid");
  x.sock = argument(order, "--sock");
  auto& secret = order.environment.at(0);
  x.nonce = secret.substr(secret.find('=') + 1);
  if (on_start)
    on_start(x);
  auto who = scripted_processes::start(order, std::move(listener));
  if (!who)
    return who;
  x.who = *who;
  put(std::move(x));
  return who;
}

expected<void> fake_workers::send(const process_identity& who, int signal) {
  auto sent = scripted_processes::send(who, signal);
  if (auto sid = sids_.find(who); sid != sids_.end())
    clean(sid->second);
  return sent;
}

void fake_workers::put(fake_worker x) {
  auto sid = x.sid;
  peer_script peer;
  peer.who.pid = x.peer_pid != 0 ? x.peer_pid : x.who.pid;
  peer.on_frame = [this, sid](connection_id id, const std::string& frame) {
    on_frame(sid, id, frame);
  };
  sockets->peers[x.sock] = std::move(peer);
  sids_[x.who] = sid;
  workers[sid] = std::move(x);
}

void fake_workers::die(const std::string& sid) {
  if (lives(sid))
    end(workers.at(sid).who, {process_exit::manner::signalled, 9});
  clean(sid);
}

void fake_workers::silence(const std::string& sid) {
  auto& x = workers.at(sid);
  x.is_silent = true;
  obey(x.who, obedience::ignores_requests);
}

bool fake_workers::lives(const std::string& sid) {
  auto i = workers.find(sid);
  return i != workers.end() && *is_alive(i->second.who);
}

std::size_t fake_workers::living() {
  return static_cast<std::size_t>(
    std::count_if(workers.begin(), workers.end(),
                  [this](auto& x) { return *is_alive(x.second.who); }));
}

void fake_workers::clean(const std::string& sid) {
  auto x = workers.find(sid);
  if (x == workers.end() || lives(sid))
    return;
  auto& sock = x->second.sock;
  if (sockets->peers.erase(sock) != 0)
    for (auto id : sockets->at(sock))
      sockets->hang_up(id);
}

void fake_workers::on_frame(const std::string& sid, connection_id id,
                            const std::string& frame) {
  auto& x = workers.at(sid);
  if (x.is_silent || !lives(sid))
    return;
  auto request = decode_request(frame);
  if (!request)
    return;
  if (auto* hello = std::get_if<worker_hello>(&*request)) {
    if (x.greets_all || hello->version == x.version)
      sockets->say(
        id, encode(worker_greeting{x.version, x.nonce, x.standing, "none"}));
    else
      sockets->say(id, encode(worker_refusal{
                         {errc::version_mismatch, "another version"}}));
  } else if (std::holds_alternative<worker_status>(*request)) {
    sockets->say(id, encode(x.standing));
  } else if (std::holds_alternative<worker_shutdown>(*request)) {
    sockets->say(id, encode(worker_farewell{}));
    end(x.who, {process_exit::manner::exited, 0});
    clean(sid);
  }
}

} // namespace muster::test
