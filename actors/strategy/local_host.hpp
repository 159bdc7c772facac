// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/strategy/digest.hpp"
#include "actors/strategy/machine.hpp"
#include "actors/strategy/settings.hpp"

#include "messages/strategy.hpp"

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace muster {

/// The clocks that a strategy sees.
struct strategy_clocks {
  /// Milliseconds since the epoch.
  std::function<std::int64_t()> wall_ms;
  /// Nanoseconds since any start, never backwards.
  std::function<std::int64_t()> steady_ns;
};

/// Runs a strategy in the node's own process: drives the virtual machine,
/// replays what the history holds, and records what comes after.
class local_host final : public strategy_host, private machine_port {
public:
  // -- constructors -----------------------------------------------------------

  /// @param settings must outlive the host.
  /// @param more what the script finds beside the library.
  local_host(const strategy_settings& settings, strategy_clocks clocks,
             machine_extension more = {});

  ~local_host() override;

  // -- strategy_host ----------------------------------------------------------

  void start(strategy_start what) override;

  [[nodiscard]] host_report advance() override;

  void resolve(host_result result) override;

  void answer(std::vector<answered_event> answers) override;

  void committed(std::uint64_t seq) override;

  [[nodiscard]] std::vector<log_line> take_logs() override;

  [[nodiscard]] std::uint64_t memory_bytes() const override;

private:
  // -- machine_port -----------------------------------------------------------

  std::optional<std::int64_t> read_clock(std::string_view which) override;

  std::optional<std::string> refuse_write(const state_key& where) override;

  std::string builtin(std::string_view name) override;

  void did(std::string_view what, std::string_view text) override;

  void log(std::string_view level, std::string_view source,
           std::string_view message) override;

  // -- what the machine reports -----------------------------------------------

  // Each gives a report for the session, or nothing if the machine can go on at
  // once.

  std::optional<host_report> on(machine_sliced&);

  std::optional<host_report> on(machine_asks& asks);

  std::optional<host_report> on(machine_calls& calls);

  std::optional<host_report> on(machine_requires& requires_module);

  std::optional<host_report> on(machine_returned& returned);

  std::optional<host_report> on(machine_raised& raised);

  // -- replay -----------------------------------------------------------------

  /// Whether the history still says what happens next.
  [[nodiscard]] bool replaying() const {
    return cursor_ < events_.size();
  }

  /// The next event if it is a `T`, and steps behind it. Otherwise the replay
  /// has diverged.
  template <class T>
  const T* next_as(std::string_view what);

  /// The recorded answer to an effect, or null if the replay has diverged.
  const effect_event* replay_effect(const std::string& kind,
                                    const std::string& arguments);

  void diverge(std::string_view what);

  /// Replays a pause and, if they are all there, its answers.
  std::optional<host_report> replay_pause(const paused_event& pause);

  /// Leaves the replay behind if it is over.
  void go_live_at_end();

  // -- asking the session -----------------------------------------------------

  /// Waits for the session to answer.
  host_report ask(host_call call);

  /// Gives the script the module that it asked for.
  void provide(host_result found);

  // -- recording --------------------------------------------------------------

  void record(effect_event effect);

  [[nodiscard]] bool out_of_effects() const;

  /// Closes the step at its last event.
  template <class T>
  host_report finish_step(T end);

  [[nodiscard]] host_report fail(std::string message, failure_kind kind);

  [[nodiscard]] std::string stats_text();

  void hand_over(std::vector<answered_event> answers);

  // -- member variables -------------------------------------------------------

  /// What the host waits for before it can go on.
  enum class waiting_for { nothing, resolve, answer, end };

  const strategy_settings& settings_;
  strategy_clocks clocks_;
  machine_extension more_;
  std::unique_ptr<machine> machine_;

  /// Why there is no machine.
  std::string start_error_;

  history events_;
  std::size_t cursor_ = 0;
  std::map<std::string, std::string> sources_;
  std::vector<state_key> contended_;
  std::int64_t began_ms_ = 0;
  bool live_ = false;

  /// What went otherwise than the history says.
  std::string divergence_;

  waiting_for waiting_ = waiting_for::nothing;

  /// The call that the session is to resolve.
  effect_event call_;
  host_call::kind asked_ = host_call::kind::state_get;
  /// The module that the script asked for last.
  std::string module_name_;

  /// The queries of the pause that the script is in.
  std::vector<query> queries_;
  std::uint64_t next_query_ = 0;

  running_digest digest_;
  strategy_step step_;
  std::uint64_t effect_bytes_ = 0;
  std::vector<log_line> logs_;
  std::uint64_t log_lines_ = 0;
  std::uint64_t step_log_lines_ = 0;
};

} // namespace muster
