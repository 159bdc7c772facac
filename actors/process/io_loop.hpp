// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/process/descriptor.hpp"

#include "messages/errors.hpp"

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <utility>

namespace muster {

/// One plain thread that waits for descriptors and for points in time, on
/// behalf of as many others as like. All of it may be called by any thread,
/// and by what this calls.
///
/// There is one lock, which guards what is watched, and nothing is called with
/// it. So whoever uses this may take a lock of its own in what is called, and
/// may hold it while it calls this: its own lock first, this one second, never
/// the other way round. The price is that a call may be on its way while what
/// it was for is forgotten: it must look, under its own lock, whether it still
/// has something to do. Whoever has to know that nothing is on its way any more
/// waits for that with `settle`, without its lock.
class io_loop {
public:
  // -- member types -----------------------------------------------------------

  using clock = std::chrono::steady_clock;

  /// Names what is waited for; 0 is nothing, and none is used twice.
  using key = std::uint64_t;

  /// Must neither block nor throw.
  using callback = std::function<void()>;

  // -- constructors and destructors -------------------------------------------

  /// @returns `overloaded` if there is no descriptor left.
  [[nodiscard]] static expected<std::shared_ptr<io_loop>> open();

  /// Must not be the end of what this calls: it waits for the thread.
  ~io_loop();

  // -- what is waited for -----------------------------------------------------

  /// Calls `ready` as long as a descriptor is ready for one of `events`, or
  /// broken. To be forgotten before it is closed.
  /// @returns `overloaded` if the kernel takes no more.
  [[nodiscard]] expected<key> watch(int file, std::uint32_t events,
                                    callback ready);

  /// Watches for other events. Whatever is not watched is left alone.
  void change(key what, std::uint32_t events);

  /// Calls `late` once, when its time has come.
  [[nodiscard]] key call_at(clock::time_point limit, callback late);

  /// Neither a descriptor nor a limit is waited for any more. A call may be on
  /// its way. Whatever is not waited for is left alone.
  void forget(key what);

  // -- the thread -------------------------------------------------------------

  /// Returns once the call is over that is under way now. For what this calls
  /// itself, there is nothing to wait for.
  void settle();

  /// Nothing is called once this has returned. Must not be called by what this
  /// calls.
  void stop();

private:
  // -- member types -----------------------------------------------------------

  struct entry {
    /// None for a limit.
    int file = -1;
    clock::time_point limit = clock::time_point::max();
    std::shared_ptr<callback> call;
  };

  // -- implementation details -------------------------------------------------

  io_loop();

  void run();

  /// Calls whatever is late.
  /// @returns what is left until the next one is, for `epoll_wait`; nothing if
  ///          this shall stop.
  std::optional<int> expire();

  void on_event(key what);

  void call(std::unique_lock<std::mutex>& lock, std::shared_ptr<callback> f);

  void wake();

  // -- member variables -------------------------------------------------------

  descriptor epoll_;
  descriptor wake_;
  std::thread thread_;
  std::thread::id thread_id_;
  /// Guards what follows.
  std::mutex mutex_;
  bool done_ = false;
  key last_key_ = 0;
  std::map<key, entry> entries_;
  std::set<std::pair<clock::time_point, key>> limits_;
  /// Whether a call is under way, and how many are over.
  bool is_calling_ = false;
  std::uint64_t calls_ = 0;
  std::condition_variable settled_;
};

} // namespace muster
