// SPDX-License-Identifier: Apache-2.0

#include "messages/budget.hpp"

#include <fmt/format.h>

namespace muster {

namespace {

std::optional<std::uint64_t> whole(const json& limits, const char* key) {
  auto i = limits.find(key);
  if (i == limits.end() || !i->is_number_unsigned())
    return std::nullopt;
  return i->get<std::uint64_t>();
}

std::uint64_t left(std::uint64_t limit, std::uint64_t used) {
  return limit > used ? limit - used : 0;
}

} // namespace

budget::budget(const json& limits) {
  if (!limits.is_object())
    return;
  max_calls_ = whole(limits, "max_llm_calls");
  max_elapsed_ms_ = whole(limits, "max_elapsed_ms");
  max_tokens_ = whole(limits, "max_tokens");
}

bool budget::limited() const {
  return max_calls_ || max_elapsed_ms_ || max_tokens_;
}

std::optional<std::string> budget::exceeded(std::uint64_t elapsed_ms) const {
  if (max_calls_ && calls_ >= *max_calls_)
    return fmt::format("budget_exceeded: max_llm_calls ({}) reached ({} used)",
                       *max_calls_, calls_);
  if (max_elapsed_ms_ && elapsed_ms >= *max_elapsed_ms_)
    return fmt::format(
      "budget_exceeded: max_elapsed_ms ({}ms) reached ({}ms elapsed)",
      *max_elapsed_ms_, elapsed_ms);
  if (max_tokens_ && tokens_ >= *max_tokens_)
    return fmt::format("budget_exceeded: max_tokens ({}) reached ({} used)",
                       *max_tokens_, tokens_);
  return std::nullopt;
}

json budget::remaining(std::uint64_t elapsed_ms) const {
  auto out = json::object();
  if (max_calls_)
    out["llm_calls"] = left(*max_calls_, calls_);
  if (max_elapsed_ms_)
    out["elapsed_ms"] = left(*max_elapsed_ms_, elapsed_ms);
  if (max_tokens_)
    out["tokens"] = left(*max_tokens_, tokens_);
  return out;
}

json budget::limits() const {
  auto out = json::object();
  if (max_calls_)
    out["max_llm_calls"] = *max_calls_;
  if (max_elapsed_ms_)
    out["max_elapsed_ms"] = *max_elapsed_ms_;
  if (max_tokens_)
    out["max_tokens"] = *max_tokens_;
  return out;
}

} // namespace muster
