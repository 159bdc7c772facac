// SPDX-License-Identifier: Apache-2.0

#include "messages/recovery_json.hpp"

#include "messages/entry_reader.hpp"
#include "messages/pod_json.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace muster {

namespace {

json text_or_null(const std::string& text) {
  return text.empty() ? json{} : json(text);
}

template <class T>
json or_null(const std::optional<T>& x) {
  return x ? json(*x) : json{};
}

json to_json(const slot_view& x) {
  return {{"index", x.index},
          {"state", to_string(x.health)},
          {"term", x.term},
          {"occupant", text_or_null(x.occupant)},
          {"pid", x.pid == 0 ? json{} : json(x.pid)},
          {"session", or_null(x.session)},
          {"restarts", x.restarts},
          {"backoff_ms", x.backoff_ms},
          {"last_error", text_or_null(x.last_error)}};
}

std::chrono::milliseconds read_ms(entry_reader& from, const char* name) {
  // No policy has a longer time, and this is not even near an overflow.
  auto out = std::min<std::uint64_t>(from.count(name), 1ull << 40);
  return std::chrono::milliseconds(out);
}

std::uint32_t read_small(entry_reader& from, const char* name) {
  auto out = std::min<std::uint64_t>(from.count(name), 1ull << 31);
  return static_cast<std::uint32_t>(out);
}

} // namespace

json to_json(const restart_policy& x) {
  return {{"initial_ms", x.initial.count()},
          {"factor", x.factor},
          {"max_ms", x.max.count()},
          {"jitter_percent", x.jitter_percent},
          {"stable_run_ms", x.stable_run.count()},
          {"max_restarts", x.max_restarts},
          {"period_ms", x.period.count()},
          {"pause_ms", x.pause.count()},
          {"gives_up", x.gives_up}};
}

expected<restart_policy> restart_policy_from(const json& value) {
  if (!value.is_object())
    return fail(errc::invalid_argument,
                fmt::format("a restart policy is an object, and this is {}",
                            kind_of(value)));
  entry_reader from{value};
  restart_policy out;
  out.initial = read_ms(from, "initial_ms");
  out.factor = read_small(from, "factor");
  out.max = read_ms(from, "max_ms");
  out.jitter_percent = read_small(from, "jitter_percent");
  out.stable_run = read_ms(from, "stable_run_ms");
  out.max_restarts = read_small(from, "max_restarts");
  out.period = read_ms(from, "period_ms");
  out.pause = read_ms(from, "pause_ms");
  out.gives_up = from.flag("gives_up");
  if (!from.wrong().empty())
    return fail(
      errc::invalid_argument,
      fmt::format("the restart policy has no proper '{}'", from.wrong()));
  if (auto fine = check(out); !fine)
    return tl::unexpected<failure>{fine.error()};
  return out;
}

json to_json(const slot_group_view& x) {
  auto& what = x.definition;
  // Of a damaged one nothing is known but its name.
  if (!x.error.empty())
    return {{"name", what.name}, {"error", x.error}};
  auto slots = json::array();
  for (auto& slot : x.slots)
    slots.push_back(to_json(slot));
  return {{"name", what.name},
          {"kind", to_string(what.kind)},
          {"wanted", what.slots},
          {"deleted", x.is_deleted},
          {"policy", to_json(what.policy)},
          {"pod", what.kind == slot_kind::pod ? to_json(what.pod) : json{}},
          {"slots", std::move(slots)},
          {"error", nullptr}};
}

json to_json(const std::vector<slot_group_view>& groups) {
  auto list = json::array();
  for (auto& x : groups)
    list.push_back(to_json(x));
  return {{"groups", std::move(list)}};
}

json to_json(const std::vector<handler_view>& handlers) {
  auto list = json::array();
  for (auto& x : handlers)
    list.push_back({{"name", x.name},
                    {"policy", to_string(x.policy)},
                    {"owner", text_or_null(x.owner)},
                    {"runs", x.runs},
                    {"recovered", x.recovered},
                    {"last_ms", x.last_ms},
                    {"late", x.is_late},
                    {"times_late", x.times_late},
                    {"quarantine_ms", or_null(x.quarantine_ms)},
                    {"last_error", text_or_null(x.last_error)}});
  return {{"handlers", std::move(list)}};
}

json to_json(const recovery_pass& x) {
  auto slots = json::array();
  for (auto& slot : x.slots)
    slots.push_back({{"handler", slot.handler}, {"index", slot.index}});
  return {{"pass", x.number},
          {"slots", std::move(slots)},
          {"late", x.late},
          {"failed", x.failed}};
}

} // namespace muster
