// SPDX-License-Identifier: Apache-2.0

#include "tests/support/fake_pods.hpp"

#include <algorithm>
#include <string_view>
#include <type_traits>
#include <variant>

#include <signal.h>

namespace muster::test {

namespace {

std::string variable(const process_order& order, std::string_view name) {
  for (auto& x : order.environment)
    if (x.starts_with(name) && x[name.size()] == '=')
      return x.substr(name.size() + 1);
  return {};
}

} // namespace

expected<process_identity> fake_pods::start(const process_order& order,
                                            process_listener listener) {
  fake_pod x;
  x.id = variable(order, "MUSTER_POD_ID");
  x.folder = variable(order, "MUSTER_POD_FOLDER");
  x.is_plain = variable(order, "MUSTER_POD_SOCKET").empty();
  if (on_start)
    on_start(x);
  if (scripts.empty())
    scripts.push_back({{}, "confined landlock 7", obedience::ends});
  auto id = x.id;
  auto who = scripted_processes::start(order, std::move(listener));
  if (!who)
    return who;
  x.who = *who;
  ids_[*who] = id;
  if (!x.is_plain) {
    peer_script peer;
    peer.who.pid = x.who.pid;
    peer.on_frame = [this, id](connection_id on, const std::string& frame) {
      on_frame(id, on, frame);
    };
    sockets->peers[x.folder + "/sock"] = std::move(peer);
  }
  pods[id] = std::move(x);
  clean(id);
  return who;
}

expected<void> fake_pods::send(const process_identity& who, int signal) {
  auto sent = scripted_processes::send(who, signal);
  if (auto id = ids_.find(who); id != ids_.end())
    clean(id->second);
  return sent;
}

void fake_pods::die(const std::string& id) {
  if (lives(id))
    end(pods.at(id).who, {process_exit::manner::signalled, SIGSEGV});
  clean(id);
}

void fake_pods::silence(const std::string& id) {
  auto& x = pods.at(id);
  x.is_silent = true;
  obey(x.who, obedience::ignores_requests);
}

process_identity fake_pods::leave_behind(const std::string& id) {
  auto who = begin_stranger(next_pid);
  left_[id].push_back(who);
  return who;
}

void fake_pods::end_turn(const std::string& id) {
  auto& x = pods.at(id);
  pod::turn_ended event{++x.last_event, x.turns};
  x.unconfirmed[event.id] = event;
  say(id, event);
}

void fake_pods::fail_turn(const std::string& id, const std::string& message) {
  auto& x = pods.at(id);
  pod::errored event{++x.last_event, message};
  x.unconfirmed[event.id] = event;
  say(id, event);
}

void fake_pods::say(const std::string& id, const pod::from_pod& what) {
  for (auto on : sockets->at(pods.at(id).folder + "/sock"))
    sockets->say(on, pod::encode(what));
}

void fake_pods::kill(const process_identity& who) {
  if (!*is_alive(who))
    return;
  end(who, {process_exit::manner::signalled, SIGKILL});
  if (auto id = ids_.find(who); id != ids_.end())
    clean(id->second);
}

bool fake_pods::lives(const std::string& id) {
  auto i = pods.find(id);
  return i != pods.end() && *is_alive(i->second.who);
}

std::vector<process_identity> fake_pods::processes_of(const std::string& id) {
  std::vector<process_identity> out;
  if (lives(id))
    out.push_back(pods.at(id).who);
  for (auto& who : left_[id])
    if (*is_alive(who))
      out.push_back(who);
  return out;
}

std::map<std::string, std::vector<process_identity>> fake_pods::all() {
  std::map<std::string, std::vector<process_identity>> out;
  for (auto& [id, x] : pods)
    if (auto found = processes_of(id); !found.empty())
      out[id] = std::move(found);
  return out;
}

void fake_pods::clean(const std::string& id) {
  auto x = pods.find(id);
  if (x == pods.end() || lives(id))
    return;
  auto sock = x->second.folder + "/sock";
  if (sockets->peers.erase(sock) != 0)
    for (auto on : sockets->at(sock))
      sockets->hang_up(on);
}

void fake_pods::on_frame(const std::string& id, connection_id on,
                         const std::string& frame) {
  auto& x = pods.at(id);
  auto method = pod::decode_method(frame);
  if (x.is_silent || !lives(id) || !method)
    return;
  auto reply
    = [&](const pod::from_pod& what) { sockets->say(on, pod::encode(what)); };
  std::visit(
    [&](auto& what) {
      using type = std::decay_t<decltype(what)>;
      if constexpr (std::is_same_v<type, pod::ping>) {
        reply(pod::pong{what.id});
        for (auto& [number, event] : std::map{x.unconfirmed})
          reply(event);
      } else if constexpr (std::is_same_v<type, pod::run>) {
        x.texts.push_back(what.text);
        if (auto known = x.runs.find(what.id); known != x.runs.end()) {
          reply(pod::turn_start{what.id, known->second});
        } else if (x.is_busy) {
          reply(pod::run_error{what.id, "already_running", "it runs"});
        } else {
          x.runs[what.id] = ++x.turns;
          reply(pod::turn_start{what.id, x.turns});
        }
      } else if constexpr (
        std::is_same_v<type,
                       pod::notify> || std::is_same_v<type, pod::pod_event>) {
        x.told.push_back(what);
        if (x.confirms)
          reply(pod::ack{what.id});
      } else if constexpr (std::is_same_v<type, pod::confirm>) {
        x.unconfirmed.erase(x.unconfirmed.begin(),
                            x.unconfirmed.upper_bound(what.id));
      } else if constexpr (std::is_same_v<type, pod::result>) {
        x.results.push_back(what);
      } else if (x.obeys) {
        end(x.who, {process_exit::manner::exited, 0});
        clean(id);
      }
    },
    *method);
}

} // namespace muster::test
