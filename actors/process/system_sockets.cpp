// SPDX-License-Identifier: Apache-2.0

#include "actors/process/system_sockets.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include <sys/epoll.h>

namespace muster {

namespace {

failure stopped() {
  return {errc::shutting_down, "no more sockets are connected or held"};
}

failure cannot_connect(const std::string& path, int error,
                       const socket_limits& limits) {
  if (error == EAGAIN)
    return {errc::timeout, fmt::format("'{}' accepts nobody within {} ms", path,
                                       limits.connect_within.count())};
  auto is_refused = error == EACCES || error == EPERM;
  return {
    is_refused ? errc::not_allowed : errc::unreachable,
    fmt::format("cannot connect to '{}': {}", path, std::strerror(error))};
}

failure lost(const std::string& path, const char* how) {
  return {errc::connection_lost, fmt::format("'{}' {}", path, how)};
}

} // namespace

// -- constructors and destructors ---------------------------------------------

system_sockets::system_sockets(std::shared_ptr<io_loop> loop,
                               socket_limits limits)
  : loop_(std::move(loop)), limits_(limits) {
  // nop
}

system_sockets::~system_sockets() {
  stop();
}

// -- the port -----------------------------------------------------------------

expected<connection_id> system_sockets::connect(const std::string& path,
                                                socket_listener listener) {
  auto address = unix_address(path);
  if (!address)
    return tl::unexpected<failure>{address.error()};
  std::lock_guard guard{mutex_};
  if (done_)
    return tl::unexpected<failure>{stopped()};
  if (connections_.size() >= limits_.max_connections)
    return fail(errc::overloaded,
                fmt::format("{} connections are held, which is the limit",
                            limits_.max_connections));
  auto socket = make_unix_socket();
  if (!socket)
    return tl::unexpected<failure>{socket.error()};
  auto id = ++last_id_;
  auto x = std::make_shared<connection>(id, path, limits_);
  x->address = *address;
  x->socket = std::move(*socket);
  x->listener = std::make_shared<socket_listener>(std::move(listener));
  auto now = clock::now();
  x->connect_limit = now + limits_.connect_within;
  x->turn = loop_->call_at(now, [this, id] { attempt(id); });
  connections_.emplace(id, std::move(x));
  return id;
}

expected<void> system_sockets::listen(connection_id id,
                                      socket_listener listener) {
  auto next = std::make_shared<socket_listener>(std::move(listener));
  {
    std::lock_guard guard{mutex_};
    auto x = find(id);
    if (!x || !x->listener)
      return fail(errc::not_found, fmt::format("connection {} is over", id));
    x->listener.swap(next);
  }
  loop_->settle();
  return {};
}

expected<void> system_sockets::send(connection_id id, std::string frame) {
  auto line = to_line(std::move(frame), limits_.max_frame_bytes);
  if (!line)
    return tl::unexpected<failure>{line.error()};
  std::lock_guard guard{mutex_};
  auto x = find(id);
  if (!x || !x->listener || x->is_broken)
    return fail(errc::not_found, fmt::format("connection {} is over", id));
  if (auto fine = x->out.push(std::move(*line)); !fine)
    return fail(fine.error().code,
                fmt::format("'{}': {}", x->path, fine.error().message));
  if (x->is_open && !x->is_stuck)
    flush(*x);
  return {};
}

std::uint64_t system_sockets::heard(connection_id id) const {
  std::lock_guard<std::mutex> guard{mutex_};
  auto x = find(id);
  return x ? x->heard.load() : 0;
}

void system_sockets::close(connection_id id) {
  connection_ptr over;
  std::shared_ptr<socket_listener> listener;
  {
    std::lock_guard guard{mutex_};
    auto x = find(id);
    if (x && x->listener) {
      listener.swap(x->listener);
      if (is_done(*x)) {
        remove(*x);
        over = x;
      } else {
        // Nobody hears any more what the other side says.
        loop_->change(x->ready, EPOLLOUT);
        x->limit = loop_->call_at(clock::now() + limits_.close_within,
                                  [this, id] { on_late(id); });
      }
    }
  }
  // Also if it was over: its last event may be on its way. And whoever serves
  // it now needs the socket, which ends with this.
  loop_->settle();
}

std::size_t system_sockets::size() const {
  std::lock_guard guard{mutex_};
  return static_cast<std::size_t>(
    std::count_if(connections_.begin(), connections_.end(),
                  [](auto& x) { return bool{x.second->listener}; }));
}

void system_sockets::stop() {
  std::map<connection_id, connection_ptr> left;
  {
    std::lock_guard guard{mutex_};
    done_ = true;
    left = connections_;
    for (auto& [id, x] : left)
      remove(*x);
  }
  loop_->settle();
  for (auto& [id, x] : left)
    end(*x, stopped());
}

// -- in the loop's thread -----------------------------------------------------

void system_sockets::attempt(connection_id id) {
  std::unique_lock lock{mutex_};
  auto x = find(id);
  if (!x)
    return;
  // It never waits: what cannot be done at once has failed, and a socket that
  // has failed says that it is ready all the same. So nothing is watched yet.
  auto error = connect_unix(x->socket, x->address);
  auto now = clock::now();
  if (error == EAGAIN && now < x->connect_limit) {
    x->turn = loop_->call_at(now + retry_after, [this, id] { attempt(id); });
    return;
  }
  auto peer = peer_of(x->socket);
  expected<void> fine;
  if (error != 0)
    fine = tl::unexpected<failure>{cannot_connect(x->path, error, limits_)};
  else
    fine = check_peer(x->path, peer, ::geteuid());
  if (fine) {
    auto ready
      = loop_->watch(x->socket.get(), EPOLLIN, [this, id] { on_ready(id); });
    if (ready)
      x->ready = *ready;
    else
      fine = tl::unexpected<failure>{ready.error()};
  }
  if (!fine) {
    lock.unlock();
    end(*x, fine.error());
    return;
  }
  x->is_open = true;
  flush(*x);
  auto is_over = is_done(*x);
  lock.unlock();
  if (is_over)
    end(*x, {});
  else
    tell(*x, socket_opened{id, peer});
}

void system_sockets::on_ready(connection_id id) {
  std::unique_lock lock{mutex_};
  auto x = find(id);
  if (!x)
    return;
  if (!x->is_broken)
    flush(*x);
  auto is_broken = x->is_broken;
  auto is_closed = !x->listener;
  auto is_over = is_done(*x);
  lock.unlock();
  if (is_over)
    end(*x, {});
  if (is_closed)
    return;
  auto result = read_piece(x->socket, x->in);
  for (;;) {
    auto frame = x->in.next();
    if (!frame) {
      auto& why = frame.error();
      end(*x, {why.code, fmt::format("'{}' {}", x->path, why.message)});
      return;
    }
    if (!*frame)
      break;
    ++x->heard;
    if (!tell(*x, socket_frame{id, std::move(**frame)}))
      return;
  }
  if (result == transfer::over)
    end(*x, lost(x->path, x->in.is_inside() ? "ended in the middle of a frame"
                                            : "ended the connection"));
  else if (is_broken && result == transfer::none)
    end(*x, lost(x->path, "takes no more frames"));
  else if (is_broken)
    serve_again(*x);
}

void system_sockets::on_late(connection_id id) {
  std::unique_lock lock{mutex_};
  auto x = find(id);
  lock.unlock();
  if (x)
    end(*x, {});
}

void system_sockets::serve_again(connection& x) {
  std::lock_guard guard{mutex_};
  if (find(x.id))
    x.turn = call_on_ready(x.id);
}

bool system_sockets::tell(connection& x, socket_event event) {
  std::unique_lock lock{mutex_};
  auto listener = x.listener;
  lock.unlock();
  if (!listener)
    return false;
  (*listener)(std::move(event));
  return true;
}

void system_sockets::end(connection& x, failure why) {
  std::unique_lock lock{mutex_};
  remove(x);
  x.socket.close();
  auto listener = std::exchange(x.listener, nullptr);
  lock.unlock();
  if (listener)
    (*listener)(socket_closed{x.id, std::move(why)});
}

// -- under the lock -----------------------------------------------------------

system_sockets::connection_ptr system_sockets::find(connection_id id) const {
  auto i = connections_.find(id);
  return i != connections_.end() ? i->second : nullptr;
}

void system_sockets::remove(connection& x) {
  for (auto key : {x.ready, x.turn, x.limit})
    loop_->forget(key);
  connections_.erase(x.id);
}

bool system_sockets::is_done(const connection& x) {
  return !x.listener && (x.out.empty() || x.is_broken);
}

io_loop::key system_sockets::call_on_ready(connection_id id) {
  return loop_->call_at(clock::now(), [this, id] { on_ready(id); });
}

void system_sockets::flush(connection& x) {
  auto result = write_lines(x.socket, x.out);
  auto is_stuck = result == transfer::none;
  if (result == transfer::over) {
    // What the other side said before it went away is still read.
    x.is_broken = true;
    x.turn = call_on_ready(x.id);
  }
  if (std::exchange(x.is_stuck, is_stuck) != is_stuck)
    loop_->change(x.ready,
                  (x.listener ? EPOLLIN : 0u) | (is_stuck ? EPOLLOUT : 0u));
}

} // namespace muster
