// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/budget.hpp"
#include "messages/history.hpp"
#include "messages/json.hpp"
#include "messages/session.hpp"

#include <cstdint>
#include <map>
#include <string>

namespace muster {

/// A number of tokens, some of them counted by whoever gave the answers, some
/// estimated. A sum is as sure as its least sure part.
class token_count {
public:
  /// Adds what was counted elsewhere.
  void provide(std::uint64_t tokens);

  /// Adds an estimate.
  void estimate(std::uint64_t tokens);

  /// Takes an estimate back.
  void withdraw_estimate(std::uint64_t tokens);

  /// All tokens.
  [[nodiscard]] std::uint64_t tokens() const {
    return provided_ + estimated_;
  }

  /// How they are known: `definite` (there are none), `provided` or
  /// `estimated`.
  [[nodiscard]] std::string source() const;

  friend token_count operator+(const token_count& a, const token_count& b);

private:
  std::uint64_t provided_ = 0;
  std::uint64_t provisions_ = 0;
  std::uint64_t estimated_ = 0;
  std::uint64_t estimates_ = 0;
};

/// `{"tokens","source"}`.
[[nodiscard]] json to_json(const token_count& count);

/// What a session cost so far. A function of its history.
struct session_metrics {
  std::uint64_t llm_calls = 0;
  std::uint64_t pauses = 0;
  std::uint64_t rounds = 0;
  std::uint64_t prompt_bytes = 0;
  std::uint64_t response_bytes = 0;
  token_count prompt_tokens;
  token_count response_tokens;
};

/// A session as the sum of its events. Knows nothing of disks, machines and
/// clients: the same events always give the same session.
class session_fold {
public:
  // -- constructors -----------------------------------------------------------

  explicit session_fold(std::string session_id);

  // -- modifiers --------------------------------------------------------------

  /// Adds the next event.
  void apply(const history_event& event);

  // -- properties -------------------------------------------------------------

  [[nodiscard]] const session_view& view() const {
    return view_;
  }

  [[nodiscard]] session_phase phase() const {
    return view_.phase;
  }

  /// The answers to the pause that the session is in, by query.
  [[nodiscard]] const std::map<std::string, answered_event>& answers() const {
    return answers_;
  }

  /// Where the script runs.
  [[nodiscard]] session_isolation isolation() const {
    return isolation_;
  }

  /// The folders in which the script's `require` looks first.
  [[nodiscard]] const std::vector<std::string>& packages() const {
    return packages_;
  }

  /// The number of the last pause; 0 if there was none.
  [[nodiscard]] std::uint64_t pause_seq() const {
    return pause_seq_;
  }

  /// The number that the next query will get.
  [[nodiscard]] std::uint64_t next_query() const {
    return next_query_;
  }

  [[nodiscard]] const session_metrics& metrics() const {
    return metrics_;
  }

  /// `{"auto":{...},"custom":{...}}`.
  /// @param now_ms wall clock; what is over no longer depends on it.
  [[nodiscard]] json stats(std::int64_t now_ms) const;

  /// Milliseconds from the spawn to the end, or to now.
  [[nodiscard]] std::uint64_t elapsed_ms(std::int64_t now_ms) const;

  /// What is left of the budget, null for each limit that is not set; null if
  /// there is no budget.
  [[nodiscard]] json budget_remaining(std::int64_t now_ms) const;

  /// What `alc.progress` said last, or null.
  [[nodiscard]] json progress() const;

private:
  // -- the events -------------------------------------------------------------

  void add(const spawned_event& x);

  void add(const effect_event& x);

  void add(const paused_event& x);

  void add(const answered_event& x);

  void add(const done_event& x);

  void add(const failed_event& x);

  void add(const cancelled_event& x);

  void enter(session_phase phase);

  void finish(const std::string& custom_stats);

  // -- member variables -------------------------------------------------------

  session_view view_;
  session_isolation isolation_ = session_isolation::node;
  std::vector<std::string> packages_;
  session_metrics metrics_;
  budget budget_;
  std::string custom_stats_;
  std::string progress_;
  std::map<std::string, answered_event> answers_;
  std::uint64_t next_query_ = 0;
  std::uint64_t pause_seq_ = 0;
  std::int64_t now_ms_ = 0;
};

} // namespace muster
