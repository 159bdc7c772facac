// SPDX-License-Identifier: Apache-2.0

#include "tests/bench/redis.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace muster::bench {

namespace {

sockaddr_in local_address(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

int free_port() {
  auto fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  auto address = local_address(0);
  socklen_t size = sizeof(address);
  auto ok
    = ::bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0
      && ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0;
  ::close(fd);
  if (!ok)
    throw std::runtime_error{"no port is free"};
  return ntohs(address.sin_port);
}

bool answers(int port) {
  auto fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  auto address = local_address(port);
  auto ok
    = ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address))
      == 0;
  ::close(fd);
  return ok;
}

pid_t start(const std::vector<std::string>& arguments, int out) {
  std::vector<char*> argv;
  for (auto& x : arguments)
    argv.push_back(const_cast<char*>(x.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
  pid_t pid = -1;
  auto error
    = ::posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0)
    throw std::runtime_error{fmt::format("{} cannot be started", argv[0])};
  return pid;
}

} // namespace

redis::redis(const std::string& folder) : port_(free_port()) {
  auto silence = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
  pid_ = start({"redis-server", "--port", std::to_string(port_), "--bind",
                "127.0.0.1", "--dir", folder, "--daemonize", "no", "--save", "",
                "--appendonly", "yes", "--appendfsync", "always"},
               silence);
  ::close(silence);
  auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!answers(port_)) {
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) == pid_)
      pid_ = -1;
    if (pid_ < 0 || std::chrono::steady_clock::now() > end)
      throw std::runtime_error{"redis-server does not start"};
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

redis::~redis() {
  if (pid_ < 0)
    return;
  ::kill(pid_, SIGTERM);
  ::waitpid(pid_, nullptr, 0);
}

double redis::writes(int clients, double seconds) {
  // A short run says how many requests fill the time.
  auto first = run_benchmark(clients, clients == 1 ? 200 : 2'000);
  auto requests = static_cast<long>(first * seconds);
  return run_benchmark(clients, std::clamp(requests, 100L, 400'000L));
}

double redis::run_benchmark(int clients, long requests) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0)
    throw std::runtime_error{"no pipe"};
  auto pid = start({"redis-benchmark", "-h", "127.0.0.1", "-p",
                    std::to_string(port_), "-c", std::to_string(clients), "-n",
                    std::to_string(requests), "-r", "10000", "--csv", "HSET",
                    "sessions", "session:__rand_int__", std::string(250, 'x')},
                   ends[1]);
  ::close(ends[1]);
  std::string text;
  std::array<char, 4096> buffer{};
  ssize_t n = 0;
  while ((n = ::read(ends[0], buffer.data(), buffer.size())) > 0
         || (n < 0 && errno == EINTR))
    text.append(buffer.data(), n > 0 ? static_cast<std::size_t>(n) : 0);
  ::close(ends[0]);
  ::waitpid(pid, nullptr, 0);
  // The last line: "the command","requests per second",...
  auto line = text.rfind("\n\"");
  auto field = line == std::string::npos ? line : text.find("\",\"", line);
  if (field == std::string::npos)
    throw std::runtime_error{"redis-benchmark says nothing"};
  return std::strtod(text.c_str() + field + 3, nullptr);
}

} // namespace muster::bench
