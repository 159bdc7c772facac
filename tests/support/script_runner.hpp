// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/strategy/local_host.hpp"
#include "actors/strategy/settings.hpp"

#include "messages/history.hpp"

#include <functional>
#include <map>
#include <string>
#include <vector>

namespace muster::test {

/// What became of a script.
struct script_outcome {
  /// Everything that happened, `spawned` first.
  history events;
  std::vector<log_line> logs;
  /// Values of the shared state that it left, by key.
  std::map<std::string, std::string> state;
  std::uint64_t slices = 0;

  /// The result as JSON; empty if it did not return.
  [[nodiscard]] std::string result() const;

  /// The error; empty if there was none.
  [[nodiscard]] std::string error() const;

  [[nodiscard]] failure_kind error_kind() const;

  /// All prompts in the order in which they were asked.
  [[nodiscard]] std::vector<std::string> prompts() const;
};

/// A history as text, without its times, which nothing depends on.
[[nodiscard]] std::string comparable(history events);

/// Runs scripts on a local host, with answers and a state that a test gives.
class script_runner {
public:
  script_runner();

  // -- what the script finds --------------------------------------------------

  strategy_settings settings;
  std::string ctx = "{}";
  std::string name = "test.lua";

  /// Answers queries; by default with `A(<prompt>)`.
  std::function<answered_event(const query&)> answer;

  /// The shared state when the script begins, by key in `default`.
  std::map<std::string, std::string> state;

  /// The clocks: each reading moves them on by so much.
  std::int64_t wall_ms = 1'700'000'000'000;
  std::int64_t wall_step = 1;

  std::string seed = "00112233445566778899aabbccddeeff";

  /// Throw the machine away behind every event, and replay. The old one lives
  /// until the new one is built: the two have no address in common.
  bool replays = false;

  /// Called before each replay; may change what must make no difference.
  std::function<void()> before_replay = [] {};

  /// Slices after which a script counts as endless.
  std::uint64_t max_slices = 20'000;

  // -- what the script leaves -------------------------------------------------

  /// The texts that it loaded. A replay finds these and no others.
  std::vector<source_text> sources;

  // -- running ----------------------------------------------------------------

  /// Runs a script to its end.
  [[nodiscard]] script_outcome run(const std::string& code);

  /// Runs `package.run(ctx)`.
  [[nodiscard]] script_outcome advise(const std::string& package);

  /// Replays a history in a new machine, without going on.
  /// @returns what the host reports when it has come to the end of it.
  [[nodiscard]] host_report replay(const script_outcome& past);

private:
  [[nodiscard]] script_outcome run(session_spec spec);

  /// A host that begins with what happened so far.
  std::unique_ptr<local_host> make_host(const script_outcome& past,
                                        history events);

  host_result look_up(const host_call& call,
                      const std::map<std::string, std::string>& values) const;
};

} // namespace muster::test
