// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/pod/pod_protocol.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace muster {

// -- what an agent does -------------------------------------------------------

/// Send this frame.
struct pod_send {
  std::uint64_t connection = 0;
  std::string frame;
};

/// End the process, and say nothing more.
struct pod_end {};

using pod_agent_effect = std::variant<pod_send, pod_end>;

using pod_agent_effects = std::vector<pod_agent_effect>;

/// Something that an agent was told.
struct pod_agent_notice {
  std::uint64_t id = 0;
  /// That of a `pod_event`, or `notice` for what `notify` said.
  std::string kind;
  std::string pod_name;
  std::string message;
};

/// A turn to run.
struct pod_agent_turn {
  /// 1 for the first one.
  std::uint64_t number = 0;
  std::string task;
  /// What came since the turn before began, in order.
  std::vector<pod_agent_notice> notices;
};

/// What an agent keeps at most.
struct pod_agent_limits {
  /// Events that nobody has confirmed. While there are so many, runs are
  /// refused.
  std::size_t max_events = 1'000;
  /// Notices that no turn has seen; of more, the oldest go.
  std::size_t max_notices = 1'000;
  std::size_t max_notice_bytes = std::size_t{1} << 20;
  /// Runs and notices of which it knows that they came before.
  std::size_t max_known = 1'000;
  /// Of the text of a run.
  std::size_t max_text_bytes = std::size_t{1} << 20;
};

// -- the core -----------------------------------------------------------------

/// What an agent decides: what it answers, when a turn begins, and what it has
/// to say again. Knows connections by their numbers, each of which is used
/// once, and has no sockets, threads or clocks of its own.
class pod_agent_core {
public:
  // -- constructors -----------------------------------------------------------

  /// @param name of the pod.
  explicit pod_agent_core(std::string name, pod_agent_limits limits = {})
    : name_(std::move(name)), limits_(limits) {
    // nop
  }

  // -- events -----------------------------------------------------------------

  /// Somebody has connected.
  [[nodiscard]] pod_agent_effects connected(std::uint64_t connection);

  /// A frame came.
  [[nodiscard]] pod_agent_effects received(std::uint64_t connection,
                                           std::string_view frame);

  /// A connection is over.
  void lost(std::uint64_t connection) {
    connections_.erase(connection);
  }

  // -- the turn ---------------------------------------------------------------

  /// Whether a turn waits to be begun.
  [[nodiscard]] bool has_turn() const {
    return turn_ && !running_;
  }

  /// Hands out the turn that waits.
  [[nodiscard]] pod_agent_turn begin_turn();

  /// The turn that was handed out is over.
  [[nodiscard]] pod_agent_effects end_turn(const expected<void>& result);

private:
  /// What was accepted as a turn.
  struct accepted_run {
    std::string id;
    std::uint64_t turn = 0;
  };

  using said = std::variant<pod::turn_ended, pod::errored>;

  // Each gives what is answered, if anything.

  using answer = std::optional<pod::from_pod>;

  answer on(const pod::ping& x);

  answer on(const pod::run& x);

  answer on(const pod::notify& x);

  answer on(const pod::pod_event& x);

  answer on(const pod::confirm& x);

  answer on(const pod::result& x);

  answer on(const pod::shutdown& x);

  answer keep(pod_agent_notice x);

  std::string name_;
  pod_agent_limits limits_;
  std::set<std::uint64_t> connections_;

  std::uint64_t turns_ = 0;
  std::optional<std::string> turn_;
  bool running_ = false;
  bool is_over_ = false;
  std::deque<accepted_run> runs_;

  std::uint64_t last_event_ = 0;
  /// Without confirmation, oldest first.
  std::deque<said> events_;

  std::deque<pod_agent_notice> notices_;
  std::size_t notice_bytes_ = 0;
  std::deque<std::uint64_t> known_notices_;
};

} // namespace muster
