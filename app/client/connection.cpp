// SPDX-License-Identifier: Apache-2.0

#include "app/client/connection.hpp"

#include "app/client/connect_node.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>

namespace muster {

namespace {

using namespace std::chrono_literals;

/// What the next attempt to connect is behind the last one: the first number,
/// then twice as much each time, up to the second number.
constexpr auto min_delay = 50ms;
constexpr auto max_delay = 2'000ms;

/// What is as good as no deadline, and can be added to the time of day.
constexpr auto very_long = std::chrono::hours(24 * 365 * 10);

failure closed() {
  return {errc::connection_lost, "the client was closed"};
}

/// There is no connection, and there was none for so long.
tl::unexpected<failure> lost_for(std::chrono::milliseconds time,
                                 const std::string& last) {
  if (time == 0ms)
    return fail(errc::connection_lost, "the connection to the node broke");
  return fail(errc::connection_lost,
              fmt::format("the connection to the node broke, and no other was "
                          "made within {}: {}",
                          time, last));
}

/// Whether an attempt to connect that failed like this may succeed later.
bool is_transient(const failure& why) {
  return why.code == errc::unreachable || why.code == errc::connection_lost
         || why.code == errc::timeout;
}

} // namespace

// -- constructors and destructors ---------------------------------------------

connection::connection(client_options options) : options_(std::move(options)) {
  // nop
}

connection::~connection() {
  std::unique_lock guard{mutex_};
  is_closed_ = true;
  if (line_)
    line_->close(closed());
  changed_.notify_all();
  changed_.wait(guard, [this] { return present_ == 0; });
}

// -- calls --------------------------------------------------------------------

expected<void> connection::open() {
  return dial(options_.connect_timeout).map([this](line_ptr&& made) {
    line_ = std::move(made);
  });
}

connection::presence::presence(connection& where) : where_(where) {
  std::lock_guard guard{where_.mutex_};
  // What others found out before is of no meaning for one that comes alone: it
  // may have no time to wait for its turn.
  if (where_.present_++ == 0) {
    where_.delay_ = {};
    where_.next_attempt_ = {};
  }
}

connection::presence::~presence() {
  std::lock_guard guard{where_.mutex_};
  --where_.present_;
  where_.changed_.notify_all();
}

// -- implementation details ---------------------------------------------------

bool connection::is_final(const failure& why) {
  return why.code != errc::connection_lost && why.code != errc::shutting_down;
}

call_end connection::end_of(deadline limit) {
  if (!limit)
    return call_end::max();
  return clock::now() + std::min<std::chrono::milliseconds>(*limit, very_long);
}

tl::unexpected<failure> connection::give_up(failure why,
                                            const std::string& fate) {
  if (!fate.empty())
    why.message += "; " + fate;
  return tl::unexpected<failure>{std::move(why)};
}

expected<line_ptr> connection::get(patience& left) {
  auto began = clock::now();
  auto lost_at = left.without_line < call_end::max() - began
                   ? began + left.without_line
                   : call_end::max();
  auto give_up_at = std::min(left.end, lost_at);
  std::string last = "none answered";
  std::unique_lock guard{mutex_};
  for (;;) {
    auto now = clock::now();
    if (is_closed_)
      return tl::unexpected<failure>{closed()};
    if (line_ && !line_->is_broken()) {
      left.without_line -= now - began;
      return line_;
    }
    if (line_)
      leave(line_);
    if (now >= give_up_at)
      return left.end <= lost_at
               ? fail(errc::timeout, "there was no node in time: " + last)
               : lost_for(options_.reconnect_for, last);
    if (is_dialing_ || now < next_attempt_) {
      changed_.wait_until(
        guard, is_dialing_ ? give_up_at : std::min(give_up_at, next_attempt_));
      continue;
    }
    is_dialing_ = true;
    guard.unlock();
    auto made = dial(
      std::min<clock::duration>(options_.connect_timeout, give_up_at - now));
    guard.lock();
    is_dialing_ = false;
    changed_.notify_all();
    if (made) {
      line_ = std::move(*made);
      continue;
    }
    if (!is_transient(made.error()))
      return tl::unexpected<failure>{made.error()};
    last = made.error().message;
    back_off();
  }
}

bool connection::drop(const line_ptr& old, patience& left) {
  // Others who wait on it would wait for a node that is about to stop.
  old->close({errc::connection_lost, "the node is about to stop"});
  if (old->age() >= options_.reconnect_for)
    left.without_line = options_.reconnect_for;
  std::lock_guard guard{mutex_};
  if (line_ == old)
    leave(line_);
  return left.without_line > clock::duration::zero();
}

void connection::leave(line_ptr& old) {
  // One that breaks at once again and again is not made at once again and
  // again.
  if (old->age() >= max_delay) {
    delay_ = {};
    next_attempt_ = {};
  } else {
    back_off();
  }
  old = nullptr;
}

expected<line_ptr> connection::dial(clock::duration limit) {
  auto where
    = options_.find ? options_.find() : expected<node_location>{options_};
  return where
    .and_then([&](const node_location& found) {
      return meet_node(system_, found,
                       std::chrono::ceil<std::chrono::milliseconds>(limit));
    })
    .map([&](met_node&& node) {
      return std::make_shared<line>(system_, std::move(node.handle),
                                    node.says.max_message);
    });
}

void connection::back_off() {
  // So that there are some attempts, however short the patience.
  auto longest = std::clamp<clock::duration>(options_.reconnect_for / 4,
                                             min_delay, max_delay);
  delay_ = std::clamp<clock::duration>(2 * delay_, min_delay, longest);
  // Not all clients of a node at once.
  std::uniform_int_distribution<clock::rep> some{delay_.count() / 2,
                                                 delay_.count()};
  next_attempt_ = clock::now() + clock::duration{some(random_)};
}

} // namespace muster
