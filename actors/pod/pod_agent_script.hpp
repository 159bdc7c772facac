// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/pod/file_tools.hpp"
#include "actors/pod/pod_agent_core.hpp"
#include "actors/pod/pod_agent_library.hpp"
#include "actors/pod/pod_agent_output.hpp"
#include "actors/process/environment.hpp"
#include "actors/strategy/settings.hpp"

#include "messages/session.hpp"
#include "messages/strategy.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace muster {

/// What an agent runs in each turn.
struct pod_agent_strategy {
  /// The Lua text.
  std::string text;
  /// What errors call it, such as its file name.
  std::string name;
  /// Of its limits, and where `require` looks.
  strategy_settings settings;
  /// Answers a query; null if the pod has no language model.
  std::function<expected<std::string>(const query&)> answer;
};

/// Runs the turns of an agent, one after the other, each in a virtual machine
/// of its own. Knows nothing of connections, and runs in a thread of its own.
class pod_agent_script {
public:
  // -- constants --------------------------------------------------------------

  /// Bytes of a text that stand in one line of the log; a longer one goes on in
  /// the next.
  static constexpr std::size_t max_line_bytes = std::size_t{128} << 10;

  /// What one turn may write.
  static constexpr std::size_t max_turn_bytes = std::size_t{64} << 20;

  /// What the values of `alc.state` may take together. They live as long as
  /// the pod.
  static constexpr std::size_t max_state_bytes = std::size_t{16} << 20;

  // -- constructors -----------------------------------------------------------

  /// @param id names this life of the pod.
  pod_agent_script(std::string id, const std::vector<scope_rule>& scope,
                   pod_agent_strategy strategy, pod_agent_output output,
                   environment env);

  pod_agent_script(const pod_agent_script&) = delete;

  pod_agent_script& operator=(const pod_agent_script&) = delete;

  // -- work -------------------------------------------------------------------

  /// Runs a turn to its end.
  /// @returns why it has failed, which stands in the log as well.
  [[nodiscard]] expected<void> run(const pod_agent_turn& turn);

private:
  // -- member types -----------------------------------------------------------

  struct state_entry {
    std::string value;
    std::uint64_t version = 0;
  };

  // -- the script -------------------------------------------------------------

  [[nodiscard]] expected<void> run_strategy(const pod_agent_turn& turn);

  [[nodiscard]] strategy_start start_of(const pod_agent_turn& turn);

  [[nodiscard]] expected<std::vector<answered_event>>
  answers_to(const paused_event& pause) const;

  [[nodiscard]] host_result look_up(const host_call& call) const;

  [[nodiscard]] expected<void> commit(const std::vector<state_write>& writes);

  // -- the log ----------------------------------------------------------------

  [[nodiscard]] expected<void> write(const char* kind, json more);

  [[nodiscard]] expected<void> write_text(std::string_view text);

  [[nodiscard]] expected<void> write_logs(const std::vector<log_line>& lines);

  // -- member variables -------------------------------------------------------

  std::string id_;
  std::vector<scope_rule> scope_;
  pod_agent_strategy strategy_;
  pod_agent_output output_;
  environment env_;

  file_tools files_;
  pod_agent_tools tools_;

  /// The turn that runs, and what it has written.
  std::uint64_t turn_ = 0;
  std::size_t written_ = 0;

  std::map<state_key, state_entry> state_;
  std::size_t state_bytes_ = 0;
  std::uint64_t last_version_ = 0;
};

} // namespace muster
