// SPDX-License-Identifier: Apache-2.0

#include "tests/support/scripted_sockets.hpp"

#include "actors/process/frame_buffer.hpp"
#include "actors/process/unix_socket.hpp"

#include <fmt/format.h>

#include <stdexcept>

namespace muster::test {

namespace {

failure stopped() {
  return {errc::shutting_down, "no more sockets are connected or held"};
}

} // namespace

// -- the port -----------------------------------------------------------------

expected<connection_id> scripted_sockets::connect(const std::string& path,
                                                  socket_listener listener) {
  if (auto address = unix_address(path); !address)
    return tl::unexpected<failure>{address.error()};
  if (done_)
    return tl::unexpected<failure>{stopped()};
  if (connections_.size() >= limits.max_connections)
    return fail(errc::overloaded,
                fmt::format("{} connections are held, which is the limit",
                            limits.max_connections));
  connected.push_back(path);
  auto id = ++last_id_;
  auto peer = peers.find(path);
  auto script = peer != peers.end() ? peer->second : peer_script{};
  if (peer == peers.end())
    script.refused
      = failure{errc::unreachable,
                fmt::format("cannot connect to '{}': nothing is there", path)};
  else if (auto fine = check_peer(path, script.who, ::geteuid()); !fine)
    script.refused = fine.error();
  auto& x = connections_[id];
  x.path = path;
  x.delay = script.delay;
  x.listener = std::move(listener);
  if (script.is_full)
    later(limits.connect_within, [this, id, path] {
      auto i = connections_.find(id);
      if (i != connections_.end() && !i->second.is_open)
        end(id,
            {errc::timeout, fmt::format("'{}' accepts nobody within {} ms",
                                        path, limits.connect_within.count())});
    });
  else if (script.refused)
    later({}, [this, id, why = *script.refused] { end(id, why); });
  else
    later({}, [this, id, who = script.who] { open(id, who); });
  run();
  return id;
}

expected<void> scripted_sockets::listen(connection_id id,
                                        socket_listener listener) {
  auto i = connections_.find(id);
  if (i == connections_.end())
    return fail(errc::not_found, fmt::format("connection {} is over", id));
  i->second.listener = std::move(listener);
  return {};
}

expected<void> scripted_sockets::send(connection_id id, std::string frame) {
  auto line = to_line(frame, limits.max_frame_bytes);
  if (!line)
    return tl::unexpected<failure>{line.error()};
  auto i = connections_.find(id);
  if (i == connections_.end())
    return fail(errc::not_found, fmt::format("connection {} is over", id));
  auto& x = i->second;
  if (x.waiting_bytes + line->size() > limits.max_waiting_bytes)
    return fail(errc::overloaded,
                fmt::format("'{}': {} bytes wait to be sent, where {} are the "
                            "limit",
                            x.path, x.waiting_bytes, limits.max_waiting_bytes));
  sent.emplace_back(x.path, frame);
  auto peer = peers.find(x.path);
  auto is_read = peer != peers.end() && peer->second.reads;
  if (!x.is_open || !is_read)
    x.waiting_bytes += line->size();
  if (!x.is_open)
    x.early.push_back(std::move(frame));
  else if (is_read)
    hand_over(id, frame);
  run();
  return {};
}

std::uint64_t scripted_sockets::heard(connection_id id) const {
  auto i = connections_.find(id);
  return i != connections_.end() ? i->second.heard : 0;
}

void scripted_sockets::close(connection_id id) {
  connections_.erase(id);
}

std::size_t scripted_sockets::size() const {
  return connections_.size();
}

void scripted_sockets::stop() {
  done_ = true;
  while (!connections_.empty())
    end(connections_.begin()->first, stopped());
}

// -- what the test decides ----------------------------------------------------

void scripted_sockets::say(connection_id id, const std::string& text) {
  auto i = connections_.find(id);
  if (i == connections_.end())
    return;
  if (auto line = to_line(text, limits.max_frame_bytes); !line)
    throw std::logic_error{line.error().message};
  later(i->second.delay, [this, id, text] {
    if (auto x = connections_.find(id); x != connections_.end())
      ++x->second.heard;
    tell(id, socket_frame{id, text});
  });
  run();
}

void scripted_sockets::hang_up(connection_id id, failure why) {
  auto i = connections_.find(id);
  if (i == connections_.end())
    return;
  later(i->second.delay, [this, id, why = std::move(why)] { end(id, why); });
  run();
}

void scripted_sockets::advance(std::chrono::milliseconds time) {
  now_ += time;
  run();
}

void scripted_sockets::lose_holder() {
  connections_.clear();
  done_ = true;
}

void scripted_sockets::restart_holder() {
  lose_holder();
  done_ = false;
}

// -- what the test sees -------------------------------------------------------

std::vector<connection_id> scripted_sockets::at(const std::string& path) const {
  std::vector<connection_id> out;
  for (auto& [id, x] : connections_)
    if (x.path == path)
      out.push_back(id);
  return out;
}

// -- implementation details ---------------------------------------------------

void scripted_sockets::later(std::chrono::milliseconds delay,
                             std::function<void()> what) {
  plan_.emplace(now_ + delay, std::move(what));
}

void scripted_sockets::run() {
  // Whoever is called now and lets more happen hears of that afterwards.
  if (std::exchange(is_running_, true))
    return;
  while (!plan_.empty() && plan_.begin()->first <= now_) {
    auto what = std::move(plan_.begin()->second);
    plan_.erase(plan_.begin());
    what();
  }
  is_running_ = false;
}

void scripted_sockets::open(connection_id id, const peer_credentials& who) {
  auto i = connections_.find(id);
  if (i == connections_.end())
    return;
  i->second.is_open = true;
  tell(id, socket_opened{id, who});
  i = connections_.find(id);
  if (i == connections_.end())
    return;
  auto peer = peers.find(i->second.path);
  if (peer == peers.end() || !peer->second.reads)
    return;
  i->second.waiting_bytes = 0;
  for (auto& frame : std::exchange(i->second.early, {}))
    hand_over(id, frame);
}

void scripted_sockets::tell(connection_id id, socket_event event) {
  auto i = connections_.find(id);
  if (i == connections_.end())
    return;
  // It may close the connection, or let another one listen.
  auto listener = i->second.listener;
  listener(std::move(event));
}

void scripted_sockets::end(connection_id id, failure why) {
  auto i = connections_.find(id);
  if (i == connections_.end())
    return;
  auto x = std::move(i->second);
  connections_.erase(i);
  x.listener(socket_closed{id, std::move(why)});
}

void scripted_sockets::hand_over(connection_id id, const std::string& frame) {
  auto i = connections_.find(id);
  auto peer
    = i != connections_.end() ? peers.find(i->second.path) : peers.end();
  if (peer == peers.end() || !peer->second.on_frame)
    return;
  // It may change what is at the path.
  auto on_frame = peer->second.on_frame;
  on_frame(id, frame);
}

} // namespace muster::test
