// SPDX-License-Identifier: Apache-2.0

#include "actors/pool/worker_process.hpp"

#include "actors/pool/worker_core.hpp"
#include "actors/process/confinement.hpp"
#include "actors/process/crash_handler.hpp"
#include "actors/process/environment.hpp"
#include "actors/process/socket_server.hpp"
#include "actors/process/spawn.hpp"
#include "actors/process/system_call.hpp"

#include "messages/hash.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <condition_variable>
#include <ctime>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/stat.h>

namespace muster {

namespace {

using clock = std::chrono::steady_clock;

using std::chrono::milliseconds;

/// How often a worker says that its script still runs.
constexpr auto working_interval = std::chrono::seconds(1);

/// How long what was said last may take.
constexpr auto farewell_patience = std::chrono::seconds(1);

/// Connections at a time. One is enough for a node; the others are those of one
/// that was restarted, and of whoever connects and says nothing.
constexpr std::size_t max_connections = 8;

/// Frames of one connection after which others get their turn, and signals.
constexpr int max_frames_at_once = 64;

/// Makes everything happen that opens a file when it happens first.
void warm_up() {
  std::time_t now = std::time(nullptr);
  std::tm local{};
  ::tzset();
  ::localtime_r(&now, &local);
  std::ignore = sha256("");
  // Otherwise each thread takes a heap of its own, most of which is never used.
  ::mallopt(M_ARENA_MAX, 1);
}

sigset_t heard() {
  sigset_t set;
  sigemptyset(&set);
  for (auto number : {SIGTERM, SIGINT, SIGHUP})
    sigaddset(&set, number);
  return set;
}

// -- the server ---------------------------------------------------------------

/// Two threads share a worker: the caller's waits for sockets and signals, the
/// other one runs the script. One lock guards all but the script itself, and is
/// held for no longer than a frame takes.
class worker_server {
public:
  worker_server(const worker_options& options, socket_server socket,
                std::string confinement)
    : options_(options), socket_(std::move(socket)),
      core_({options.version,
             options.nonce,
             std::move(confinement),
             {real_environment().wall_ms, real_environment().steady_ns}}),
      began_(clock::now()), alone_since_(began_) {
    // nop
  }

  /// Opens what can be opened no more once the process is confined.
  [[nodiscard]] bool prepare() {
    auto set = heard();
    signals_ = descriptor{::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)};
    wake_ = descriptor{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    return signals_ && wake_;
  }

  ~worker_server() {
    end("it could not begin");
    work_.notify_one();
    if (thread_.joinable())
      thread_.join();
  }

  worker_server(const worker_server&) = delete;

  worker_server& operator=(const worker_server&) = delete;

  /// Starts the thread that runs the script.
  void start_script() {
    thread_ = std::thread{[this] { run_script(); }};
  }

  /// Serves until the worker shall end.
  void serve() {
    while (!is_over()) {
      auto watched = watch();
      ::poll(watched.data(), watched.size(), static_cast<int>(wait_ms()));
      std::unique_lock guard{mutex_};
      // In the order of `watch`.
      if (watched[0].revents != 0)
        end("it was told to by a signal");
      if (watched[1].revents != 0)
        forget_wake();
      for (std::size_t i = 3; i < watched.size(); ++i)
        if (watched[i].revents != 0 || !unread_.empty())
          exchange(watched[i].fd);
      if (watched[2].revents != 0)
        accept();
      look_at_clock();
    }
    say_farewell();
  }

  /// Why it has ended.
  [[nodiscard]] const std::string& reason() const {
    return reason_;
  }

private:
  // -- the thread of the script -----------------------------------------------

  void run_script() {
    for (;;) {
      std::unique_lock guard{mutex_};
      work_.wait(guard, [this] { return core_.has_work() || is_ending_; });
      if (is_ending_)
        return;
      auto orders = core_.begin_slice();
      guard.unlock();
      auto outcome = core_.script().run(std::move(orders));
      guard.lock();
      perform(core_.end_slice(std::move(outcome)));
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

  /// Until the clock must be looked at.
  [[nodiscard]] std::int64_t wait_ms() {
    std::unique_lock guard{mutex_};
    if (!unread_.empty())
      return 0;
    auto next = std::min(limit(), next_beat_);
    auto left = std::chrono::ceil<milliseconds>(next - clock::now()).count();
    return std::clamp<std::int64_t>(left, 0, 60'000);
  }

  /// When nobody needs it any more.
  [[nodiscard]] clock::time_point limit() const {
    if (core_.is_attached())
      return clock::time_point::max();
    return core_.was_greeted() ? alone_since_ + options_.orphan_timeout
                               : began_ + options_.greet_timeout;
  }

  void look_at_clock() {
    auto now = clock::now();
    if (now >= limit())
      end(core_.was_greeted() ? "no node came back to it"
                              : "no node ever greeted it");
    if (now < next_beat_)
      return;
    next_beat_ = now + working_interval;
    perform(core_.beat());
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
      drop_silent();
    connections_.emplace(next_connection_++, std::move(**accepted));
  }

  /// Makes room: the oldest one that is not obeyed goes.
  void drop_silent() {
    for (auto& [id, connection] : connections_)
      if (id != core_.attached()) {
        close(id);
        return;
      }
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
    auto was_attached = core_.is_attached();
    core_.lost(id);
    connections_.erase(id);
    unread_.erase(id);
    if (was_attached && !core_.is_attached())
      alone_since_ = clock::now();
  }

  // -- effects ----------------------------------------------------------------

  void perform(worker_effects effects) {
    for (auto& effect : effects)
      std::visit([this](auto& x) { on(x); }, effect);
  }

  void on(send_frame& x) {
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

  void on(close_connection& x) {
    close(x.connection);
  }

  void on(end_worker&) {
    end("it was told to");
  }

  /// Gets the other thread out of its wait.
  void wake() const {
    std::uint64_t one = 1;
    std::ignore
      = uninterrupted([&] { return ::write(wake_.get(), &one, sizeof(one)); });
  }

  // -- the end ----------------------------------------------------------------

  void end(std::string why) {
    if (std::exchange(is_ending_, true))
      return;
    reason_ = std::move(why);
  }

  [[nodiscard]] bool is_over() {
    std::unique_lock guard{mutex_};
    return is_ending_;
  }

  /// Gives those who were answered last a moment to take it.
  void say_farewell() {
    auto until = clock::now() + farewell_patience;
    for (;;) {
      std::vector<pollfd> waiting;
      {
        std::unique_lock guard{mutex_};
        for (auto& [id, connection] : connections_)
          if (connection.is_waiting())
            waiting.push_back({connection.get(), POLLOUT, 0});
      }
      auto left = std::chrono::ceil<milliseconds>(until - clock::now()).count();
      if (waiting.empty() || left <= 0
          || ::poll(waiting.data(), waiting.size(), static_cast<int>(left))
               <= 0)
        return;
      std::unique_lock guard{mutex_};
      for (auto i = connections_.begin(); i != connections_.end();)
        i = i->second.flush() ? std::next(i) : connections_.erase(i);
    }
  }

  // -- member variables -------------------------------------------------------

  const worker_options& options_;
  socket_server socket_;
  descriptor signals_;
  descriptor wake_;

  std::mutex mutex_;
  /// Signalled when the script may have something to do.
  std::condition_variable work_;

  worker_core core_;
  std::map<std::uint64_t, served_socket> connections_;
  std::uint64_t next_connection_ = 1;
  /// Connections of which a frame may be here that no socket tells of.
  std::set<std::uint64_t> unread_;

  clock::time_point began_;
  /// Since when there is no node.
  clock::time_point alone_since_;
  clock::time_point next_beat_ = clock::now() + working_interval;

  bool is_ending_ = false;
  std::string reason_;

  std::thread thread_;
};

/// Says that the worker can be spoken to.
void say_ready() {
  constexpr std::string_view line = "ready\n";
  std::ignore = uninterrupted(
    [&] { return ::write(ready_descriptor, line.data(), line.size()); });
  ::close(ready_descriptor);
}

} // namespace

failure run_worker(const worker_options& options) {
  // Started by hand, it has nobody to tell.
  auto is_awaited = ::fcntl(ready_descriptor, F_GETFD) >= 0;
  ::signal(SIGPIPE, SIG_IGN);
  auto set = heard();
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  warm_up();
  note_crashes_to(STDERR_FILENO);
  auto folder = options.socket.substr(0, options.socket.rfind('/') + 1);
  // The first of its node makes it. If that cannot be, the next call says so.
  std::ignore = ::mkdir(folder.c_str(), 0700);
  auto socket = socket_server::open(options.socket);
  if (!socket)
    return socket.error();
  confinement how{std::move(folder), socket->get(), options.max_memory_bytes};
  auto files = confine_files(how);
  if (!files)
    return files.error();
  // Known before it is done, as its threads have to be there.
  worker_server server{options, std::move(*socket), "seccomp, " + *files};
  if (!server.prepare())
    return {errc::overloaded, "the worker has no descriptor left"};
  server.start_script();
  if (auto calls = confine_calls(how, *files != "no landlock"); !calls) {
    return calls.error();
  }
  spdlog::info("worker is ready at {}, confined by seccomp, {}", options.socket,
               *files);
  if (is_awaited)
    say_ready();
  server.serve();
  spdlog::info("worker ends: {}", server.reason());
  std::ignore = ::unlink(options.socket.c_str());
  // The script may run, and nothing of it is worth to be waited for.
  ::_exit(0);
}

} // namespace muster
