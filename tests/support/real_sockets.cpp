// SPDX-License-Identifier: Apache-2.0

#include "tests/support/real_sockets.hpp"

#include "actors/process/unix_socket.hpp"

#include <algorithm>
#include <thread>
#include <vector>

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

namespace muster::test {

namespace {

std::size_t entries_of(const char* folder) {
  std::filesystem::directory_iterator here{folder};
  return static_cast<std::size_t>(std::distance(begin(here), end(here)));
}

descriptor blocking_socket() {
  descriptor out{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  if (!out)
    throw std::runtime_error{"cannot make a socket"};
  return out;
}

const sockaddr* generic(const sockaddr_un& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

/// Waits until a descriptor is ready.
void await_ready(const descriptor& what, short events) {
  pollfd end{what.get(), events, 0};
  auto patience
    = std::chrono::duration_cast<std::chrono::milliseconds>(socket_patience);
  if (::poll(&end, 1, static_cast<int>(patience.count())) != 1)
    throw std::runtime_error{"a socket is silent"};
}

} // namespace

// -- a folder -----------------------------------------------------------------

socket_folder::socket_folder() {
  char name[] = "/tmp/muster-XXXXXX";
  if (::mkdtemp(name) == nullptr)
    throw std::runtime_error{"cannot make a folder"};
  path_ = name;
}

socket_folder::~socket_folder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string socket_folder::path_of_size(std::size_t size) const {
  return *this / std::string(size - path_.size() - 1, 'x');
}

// -- one end ------------------------------------------------------------------

plain_socket::plain_socket(const std::string& path)
  : socket_(blocking_socket()) {
  auto address = unix_address(path).value();
  if (::connect(socket_.get(), generic(address), sizeof(address)) != 0)
    throw std::runtime_error{"cannot connect"};
}

void plain_socket::write(const std::string& bytes) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    await_ready(socket_, POLLOUT);
    auto size = ::send(socket_.get(), bytes.data() + done, bytes.size() - done,
                       MSG_NOSIGNAL | MSG_DONTWAIT);
    if (size < 0 && errno != EAGAIN)
      throw std::runtime_error{"the other side takes no more"};
    done += static_cast<std::size_t>(std::max<ssize_t>(size, 0));
  }
}

std::string plain_socket::read(std::size_t size) {
  std::string out(size, '\0');
  std::size_t done = 0;
  while (done < size) {
    await_ready(socket_, POLLIN);
    auto more = ::recv(socket_.get(), out.data() + done, size - done, 0);
    if (more <= 0)
      break;
    done += static_cast<std::size_t>(more);
  }
  out.resize(done);
  return out;
}

std::size_t plain_socket::drain() {
  std::size_t out = 0;
  std::vector<char> bytes(64 * 1'024);
  for (;;) {
    await_ready(socket_, POLLIN);
    auto more = ::recv(socket_.get(), bytes.data(), bytes.size(), 0);
    if (more <= 0)
      return out;
    out += static_cast<std::size_t>(more);
  }
}

void plain_socket::shut(int direction) {
  ::shutdown(socket_.get(), direction);
}

plain_listener::plain_listener(const std::string& path, int queue)
  : socket_(blocking_socket()) {
  auto address = unix_address(path).value();
  if (::bind(socket_.get(), generic(address), sizeof(address)) != 0
      || ::listen(socket_.get(), queue) != 0)
    throw std::runtime_error{"cannot listen"};
}

plain_socket plain_listener::accept() {
  await_ready(socket_, POLLIN);
  return plain_socket{
    descriptor{::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC)}};
}

// -- what is heard ------------------------------------------------------------

socket_listener socket_ear::listener() {
  return [this](socket_event event) {
    std::lock_guard guard{mutex_};
    heard_.push_back(std::move(event));
    changed_.notify_all();
  };
}

bool socket_ear::is_silent() {
  std::lock_guard guard{mutex_};
  return heard_.empty();
}

socket_event socket_ear::take() {
  std::unique_lock lock{mutex_};
  if (!changed_.wait_for(lock, socket_patience,
                         [this] { return !heard_.empty(); }))
    throw std::runtime_error{"nothing was heard"};
  auto out = std::move(heard_.front());
  heard_.pop_front();
  return out;
}

// -- another user -------------------------------------------------------------

other_user::other_user(const std::function<bool()>& what) {
  int ends[2];
  if (::pipe(ends) != 0)
    throw std::runtime_error{"cannot make a pipe"};
  pid_ = ::fork();
  if (pid_ == 0) {
    // A test that crashes leaves nobody behind.
    if (::setgid(id) != 0 || ::setuid(id) != 0
        || ::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || !what()
        || ::write(ends[1], "x", 1) != 1)
      ::_exit(1);
    for (;;)
      ::pause();
  }
  ::close(ends[1]);
  char said = 0;
  auto size = ::read(ends[0], &said, 1);
  ::close(ends[0]);
  if (size == 1)
    return;
  ::waitpid(pid_, nullptr, 0);
  throw std::runtime_error{"another user could not do it"};
}

other_user::~other_user() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
}

// -- this process -------------------------------------------------------------

std::size_t open_descriptors() {
  return entries_of("/proc/self/fd");
}

std::size_t running_threads() {
  return entries_of("/proc/self/task");
}

void await(const std::function<bool()>& is_so) {
  auto limit = std::chrono::steady_clock::now() + socket_patience;
  while (!is_so()) {
    if (std::chrono::steady_clock::now() >= limit)
      throw std::runtime_error{"it never came so far"};
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

} // namespace muster::test
