// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/json.hpp"

#include <cstdint>
#include <optional>
#include <string>

namespace muster {

/// What a session may spend, as its `ctx.budget` says, and what it spent.
/// Calls and tokens are functions of the history; the time that passed is not
/// and is passed in.
class budget {
public:
  // -- constructors -----------------------------------------------------------

  budget() = default;

  /// Reads `{"max_llm_calls","max_elapsed_ms","max_tokens"}`. What is absent or
  /// no whole number sets no limit.
  explicit budget(const json& limits);

  // -- properties -------------------------------------------------------------

  /// Whether there is any limit.
  [[nodiscard]] bool limited() const;

  /// Whether `elapsed_ms` matters to `exceeded` and `remaining`.
  [[nodiscard]] bool needs_clock() const {
    return max_elapsed_ms_.has_value();
  }

  /// How many queries were asked so far.
  [[nodiscard]] std::uint64_t calls() const {
    return calls_;
  }

  /// The first limit that is used up, in words that begin with
  /// `budget_exceeded:`; nothing if there is room for a call.
  [[nodiscard]] std::optional<std::string>
  exceeded(std::uint64_t elapsed_ms) const;

  /// `{"llm_calls","elapsed_ms","tokens"}`: what is left of each limit.
  [[nodiscard]] json remaining(std::uint64_t elapsed_ms) const;

  /// The limits that are set, as they were given.
  [[nodiscard]] json limits() const;

  // -- modifiers --------------------------------------------------------------

  /// Counts queries.
  void add_calls(std::uint64_t count) {
    calls_ += count;
  }

  /// Counts tokens of a prompt or a response.
  void add_tokens(std::uint64_t count) {
    tokens_ += count;
  }

private:
  // -- member variables -------------------------------------------------------

  std::optional<std::uint64_t> max_calls_;
  std::optional<std::uint64_t> max_elapsed_ms_;
  std::optional<std::uint64_t> max_tokens_;
  std::uint64_t calls_ = 0;
  std::uint64_t tokens_ = 0;
};

} // namespace muster
