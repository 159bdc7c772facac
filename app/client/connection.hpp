// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "app/client/client.hpp"
#include "app/client/client_config.hpp"
#include "app/client/line.hpp"

#include <caf/all.hpp>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <random>
#include <utility>

namespace muster {

/// Keeps a line to a node for the calls of a client, and makes a new one when
/// it breaks. Connecting is done by the threads that call: one tries, and the
/// others wait for it.
class connection {
public:
  // -- constructors and destructors -------------------------------------------

  explicit connection(client_options options);

  /// Fails all calls, and waits until they have returned.
  ~connection();

  connection(const connection&) = delete;

  connection& operator=(const connection&) = delete;

  // -- calls ------------------------------------------------------------------

  /// Connects for the first time.
  [[nodiscard]] expected<void> open();

  /// Calls `attempt(line, end)` until it gives something else than that the
  /// connection broke.
  /// @param what_if says what may have become of a request that was sent.
  template <class F>
  auto call(deadline limit, F attempt, const std::string& what_if = {})
    -> std::invoke_result_t<F, line&, call_end> {
    presence here{*this};
    patience left{end_of(limit), options_.reconnect_for};
    std::string fate;
    for (;;) {
      auto now = get(left);
      if (!now)
        return give_up(now.error(), fate);
      auto result = attempt(**now, left.end);
      if (result)
        return result;
      auto& why = result.error();
      if (is_final(why))
        return give_up(why, why.code == errc::timeout ? what_if : fate);
      fate = what_if;
      if (!drop(*now, left))
        return give_up(why, fate);
    }
  }

private:
  // -- member types -----------------------------------------------------------

  using clock = std::chrono::steady_clock;

  /// How long a call may go on.
  struct patience {
    call_end end;
    /// How long it may be without a line.
    clock::duration without_line;
  };

  /// Counts a call for as long as it lasts.
  class presence {
  public:
    explicit presence(connection& where);

    ~presence();

    presence(const presence&) = delete;

    presence& operator=(const presence&) = delete;

  private:
    connection& where_;
  };

  // -- implementation details -------------------------------------------------

  /// Whether asking again would not help.
  [[nodiscard]] static bool is_final(const failure& why);

  [[nodiscard]] static call_end end_of(deadline limit);

  [[nodiscard]] static tl::unexpected<failure> give_up(failure why,
                                                       const std::string& fate);

  /// The present line, or a new one.
  [[nodiscard]] expected<line_ptr> get(patience& left);

  /// Leaves a line that is of no use any more.
  /// @returns whether there is patience for another one.
  bool drop(const line_ptr& old, patience& left);

  /// Forgets a line; `mutex_` is held.
  void leave(line_ptr& old);

  [[nodiscard]] expected<line_ptr> dial(clock::duration limit);

  /// Sets when to try again; `mutex_` is held.
  void back_off();

  // -- member variables -------------------------------------------------------

  client_options options_;
  client_config config_;
  caf::actor_system system_{config_};

  std::mutex mutex_;
  /// Something below has changed.
  std::condition_variable changed_;
  line_ptr line_;
  /// Whether a thread tries to connect.
  bool is_dialing_ = false;
  bool is_closed_ = false;
  /// Calls that have not returned.
  std::size_t present_ = 0;
  /// Not before this is the next attempt.
  clock::time_point next_attempt_;
  /// How far it was behind the last one, without the random part.
  clock::duration delay_{};
  std::minstd_rand random_{std::random_device{}()};
};

} // namespace muster
