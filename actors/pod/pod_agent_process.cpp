// SPDX-License-Identifier: Apache-2.0

#include "actors/pod/pod_agent_process.hpp"

#include "actors/pod/pod_agent_core.hpp"
#include "actors/process/crash_handler.hpp"
#include "actors/process/socket_server.hpp"
#include "actors/process/system_call.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <condition_variable>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <tuple>
#include <utility>

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

namespace muster {

namespace {

/// Connections at a time. One is enough for a node; the others are those of one
/// that was restarted, and of whoever connects and says nothing.
constexpr std::size_t max_connections = 8;

/// Frames of one connection after which others get their turn, and signals.
constexpr int max_frames_at_once = 64;

/// A frame holds a text that is as long as it may be, however it is written;
/// what waits, all events that are not confirmed.
socket_limits limits() {
  socket_limits out;
  out.max_frame_bytes = std::size_t{8} << 20;
  out.max_waiting_bytes = std::size_t{64} << 20;
  return out;
}

sigset_t heard() {
  sigset_t set;
  sigemptyset(&set);
  for (auto number : {SIGTERM, SIGINT, SIGHUP})
    sigaddset(&set, number);
  return set;
}

/// Ends what the script has started and waits for, such as a program that
/// answers: nobody will want that any more.
void end_programs() {
  if (::getpgrp() != ::getpid())
    return;
  ::signal(SIGTERM, SIG_IGN);
  ::kill(0, SIGTERM);
}

/// Two threads share an agent: the caller's waits for sockets and signals, the
/// other one runs the turns. One lock guards all but the script itself, and is
/// held for no longer than a frame takes.
class pod_agent_server {
public:
  pod_agent_server(const std::string& name, pod_agent_script& script,
                   socket_server socket)
    : script_(script), socket_(std::move(socket)), core_(name) {
    // nop
  }

  pod_agent_server(const pod_agent_server&) = delete;

  pod_agent_server& operator=(const pod_agent_server&) = delete;

  ~pod_agent_server() {
    {
      std::unique_lock guard{mutex_};
      is_ending_ = true;
    }
    work_.notify_one();
    if (thread_.joinable())
      thread_.join();
  }

  [[nodiscard]] bool start() {
    auto set = heard();
    signals_ = descriptor{::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)};
    wake_ = descriptor{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    if (!signals_ || !wake_)
      return false;
    thread_ = std::thread{[this] { run_turns(); }};
    return true;
  }

  /// Serves until the pod shall end.
  void serve() {
    while (!is_over()) {
      auto watched = watch();
      ::poll(watched.data(), watched.size(), has_unread() ? 0 : -1);
      std::unique_lock guard{mutex_};
      // In the order of `watch`.
      if (watched[0].revents != 0)
        is_ending_ = true;
      if (watched[1].revents != 0)
        forget_wake();
      for (std::size_t i = 3; i < watched.size(); ++i)
        if (watched[i].revents != 0 || !unread_.empty())
          exchange(watched[i].fd);
      if (watched[2].revents != 0)
        accept();
    }
  }

private:
  // -- the thread of the turns ------------------------------------------------

  void run_turns() {
    for (;;) {
      std::unique_lock guard{mutex_};
      work_.wait(guard, [this] { return core_.has_turn() || is_ending_; });
      if (is_ending_)
        return;
      auto turn = core_.begin_turn();
      guard.unlock();
      auto result = script_.run(turn);
      guard.lock();
      if (!is_ending_)
        perform(core_.end_turn(result));
    }
  }

  // -- what is waited for -----------------------------------------------------

  [[nodiscard]] std::vector<pollfd> watch() {
    std::unique_lock guard{mutex_};
    std::vector<pollfd> out{{signals_.get(), POLLIN, 0},
                            {wake_.get(), POLLIN, 0},
                            {socket_.get(), POLLIN, 0}};
    for (auto& [id, connection] : connections_)
      out.push_back(
        {connection.get(),
         static_cast<short>(POLLIN | (connection.is_waiting() ? POLLOUT : 0)),
         0});
    return out;
  }

  [[nodiscard]] bool has_unread() {
    std::unique_lock guard{mutex_};
    return !unread_.empty();
  }

  [[nodiscard]] bool is_over() {
    std::unique_lock guard{mutex_};
    return is_ending_;
  }

  void forget_wake() const {
    std::uint64_t count = 0;
    std::ignore = uninterrupted(
      [&] { return ::read(wake_.get(), &count, sizeof(count)); });
  }

  // -- connections ------------------------------------------------------------

  void accept() {
    auto accepted = socket_.accept();
    if (!accepted) {
      spdlog::warn("refused a connection: {}", accepted.error().message);
      return;
    }
    if (!*accepted)
      return;
    if (connections_.size() >= max_connections)
      close(connections_.begin()->first);
    auto id = next_connection_++;
    connections_.emplace(id, std::move(**accepted));
    perform(core_.connected(id));
  }

  /// Reads and writes as much as there is and fits.
  void exchange(int file) {
    auto i = std::find_if(connections_.begin(), connections_.end(),
                          [=](auto& x) { return x.second.get() == file; });
    if (i == connections_.end())
      return;
    auto id = i->first;
    unread_.erase(id);
    if (!i->second.flush())
      return close(id);
    int frames = 0;
    while (connections_.contains(id) && !is_ending_) {
      auto frame = connections_.at(id).receive();
      if (!frame) {
        if (frame.error().code != errc::connection_lost)
          spdlog::warn("closed a connection: {}", frame.error().message);
        return close(id);
      }
      if (!*frame)
        return;
      perform(core_.received(id, **frame));
      work_.notify_one();
      if (++frames >= max_frames_at_once) {
        unread_.insert(id);
        return;
      }
    }
  }

  void close(std::uint64_t id) {
    core_.lost(id);
    connections_.erase(id);
    unread_.erase(id);
  }

  // -- effects ----------------------------------------------------------------

  void perform(pod_agent_effects effects) {
    for (auto& effect : effects)
      std::visit([this](auto& x) { on(x); }, effect);
  }

  void on(pod_send& x) {
    auto i = connections_.find(x.connection);
    if (i == connections_.end())
      return;
    if (auto sent = i->second.send(std::move(x.frame)); !sent) {
      spdlog::warn("closed a connection: {}", sent.error().message);
      close(x.connection);
    } else if (i->second.is_waiting()) {
      wake();
    }
  }

  void on(pod_end&) {
    is_ending_ = true;
  }

  /// Gets the other thread out of its wait.
  void wake() const {
    std::uint64_t one = 1;
    std::ignore
      = uninterrupted([&] { return ::write(wake_.get(), &one, sizeof(one)); });
  }

  // -- member variables -------------------------------------------------------

  pod_agent_script& script_;
  socket_server socket_;
  descriptor signals_;
  descriptor wake_;

  std::mutex mutex_;
  /// Signalled when a turn may wait.
  std::condition_variable work_;

  pod_agent_core core_;
  std::map<std::uint64_t, served_socket> connections_;
  std::uint64_t next_connection_ = 1;
  /// Connections of which a frame may be here that no socket tells of.
  std::set<std::uint64_t> unread_;
  bool is_ending_ = false;

  std::thread thread_;
};

} // namespace

expected<void> run_pod_agent(pod_agent_options options) {
  if (options.socket.empty() && !options.task)
    return fail(errc::invalid_argument,
                "the pod has neither a socket nor a task");
  ::signal(SIGPIPE, SIG_IGN);
  note_crashes_to(STDERR_FILENO);
  auto output = pod_agent_output::open(options.folder + "/output");
  if (!output)
    return tl::unexpected<failure>{output.error()};
  pod_agent_script script{options.id, options.scope,
                          std::move(options.strategy), std::move(*output),
                          real_environment()};
  if (options.socket.empty())
    return script.run({1, *options.task, {}});
  // The thread of the script inherits it.
  auto set = heard();
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  auto socket = socket_server::open(options.socket, limits());
  if (!socket)
    return tl::unexpected<failure>{socket.error()};
  pod_agent_server server{options.name, script, std::move(*socket)};
  if (!server.start())
    return fail(errc::overloaded, "the pod has no descriptor left");
  spdlog::info("pod '{}' is ready at {}", options.name, options.socket);
  server.serve();
  std::ignore = ::unlink(options.socket.c_str());
  end_programs();
  // The script may run, and nothing of it is worth to be waited for.
  ::_exit(0);
}

} // namespace muster
