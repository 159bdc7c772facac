// SPDX-License-Identifier: Apache-2.0

// Other ends of unix sockets, made with the plainest means, as they stand for
// programs of somebody else. What does not come in time is an exception.

#pragma once

#include "actors/process/descriptor.hpp"
#include "actors/process/socket_port.hpp"

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <filesystem>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <string>

#include <sys/types.h>

namespace muster::test {

/// How long tests wait for what must come.
constexpr auto socket_patience = std::chrono::seconds(60);

/// A folder for sockets; gone in the end.
class socket_folder {
public:
  socket_folder();

  socket_folder(const socket_folder&) = delete;

  socket_folder& operator=(const socket_folder&) = delete;

  ~socket_folder();

  /// The path of a file in it.
  [[nodiscard]] std::string operator/(const std::string& name) const {
    return path_ + "/" + name;
  }

  [[nodiscard]] const std::string& path() const {
    return path_;
  }

  /// A path in it of that many bytes.
  [[nodiscard]] std::string path_of_size(std::size_t size) const;

private:
  std::string path_;
};

/// One end of a connection, which waits for what it does.
class plain_socket {
public:
  explicit plain_socket(descriptor socket) : socket_(std::move(socket)) {
    // nop
  }

  /// Connects to a path.
  explicit plain_socket(const std::string& path);

  /// Writes all of it.
  void write(const std::string& bytes);

  /// Reads that many bytes, or less if the other side ends before.
  [[nodiscard]] std::string read(std::size_t size);

  /// Reads until the other side ends; counts the bytes.
  [[nodiscard]] std::size_t drain();

  /// Ends one direction, such as SHUT_RD.
  void shut(int direction);

  void close() {
    socket_.close();
  }

private:
  descriptor socket_;
};

/// Listens at a path.
class plain_listener {
public:
  explicit plain_listener(const std::string& path, int queue = 16);

  [[nodiscard]] plain_socket accept();

  void close() {
    socket_.close();
  }

private:
  descriptor socket_;
};

/// What a listener heard, in order.
class socket_ear {
public:
  [[nodiscard]] socket_listener listener();

  template <class Event>
  Event next() {
    auto event = take();
    if (!std::holds_alternative<Event>(event))
      throw std::runtime_error{"something else was heard"};
    return std::get<Event>(std::move(event));
  }

  [[nodiscard]] bool is_silent();

private:
  socket_event take();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<socket_event> heard_;
};

/// A child of another user that does something, says so, and waits for its end.
class other_user {
public:
  static constexpr uid_t id = 65'534;

  /// @param what is done by the child, and must call nothing but the kernel.
  explicit other_user(const std::function<bool()>& what);

  other_user(const other_user&) = delete;

  other_user& operator=(const other_user&) = delete;

  ~other_user();

private:
  pid_t pid_ = 0;
};

[[nodiscard]] std::size_t open_descriptors();

[[nodiscard]] std::size_t running_threads();

/// Waits until something is so.
void await(const std::function<bool()>& is_so);

} // namespace muster::test
