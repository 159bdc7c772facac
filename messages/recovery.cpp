// SPDX-License-Identifier: Apache-2.0

#include "messages/recovery.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace muster {

namespace {

constexpr std::uint32_t max_max_restarts = 1'000;

constexpr std::chrono::milliseconds longest = std::chrono::hours(24);

constexpr std::size_t max_group_name_bytes = 44;

constexpr std::string_view slot_mark = "slot:";

tl::unexpected<failure> refuse(const char* option, const std::string& rule) {
  return fail(errc::invalid_argument,
              fmt::format("the restart policy is refused: '{}' must be {}",
                          option, rule));
}

expected<void> check_pods(const slot_group_definition& what) {
  auto& pod = what.pod;
  if (!pod.name.empty() || !pod.lender.empty() || !pod.environment.empty())
    return fail(errc::invalid_argument,
                fmt::format("the pods of group '{}' get their names from their "
                            "slots, and have no lender and no environment of "
                            "their own",
                            what.name));
  if (pod.scope.empty())
    return fail(errc::invalid_argument,
                fmt::format("the pods of group '{}' are lent nothing; say what "
                            "with --scope",
                            what.name));
  auto named = pod;
  named.name = what.name;
  if (auto fine = check_texts(named); !fine)
    return fine;
  for (auto& rule : pod.scope)
    if (what.slots > 1 && rule.level == permission::write
        && rule.target.find(slot_placeholder) == std::string::npos)
      return fail(errc::invalid_argument,
                  fmt::format("only one pod of group '{}' could be lent '{}'; "
                              "put {} into the path, or lend it for reading",
                              what.name, to_string(rule), slot_placeholder));
  return {};
}

template <class T>
bool read_number(std::string_view text, T& out) {
  auto [end, error]
    = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc{} && end == text.data() + text.size();
}

} // namespace

expected<void> check(const restart_policy& policy) {
  using std::chrono::milliseconds;
  if (policy.initial < milliseconds(0) || policy.initial > longest)
    return refuse("initial", "from 0 to 24 h");
  for (auto& [name, value] :
       {std::pair{"max", policy.max},
        std::pair{"stable_run", policy.stable_run},
        std::pair{"period", policy.period}, std::pair{"pause", policy.pause}})
    if (value < milliseconds(1) || value > longest)
      return refuse(name, "from 1 ms to 24 h");
  if (policy.max < policy.initial)
    return refuse("max", "no less than 'initial'");
  if (policy.factor < 1 || policy.factor > 100)
    return refuse("factor", "from 1 to 100");
  if (policy.jitter_percent > 100)
    return refuse("jitter_percent", "100 at most");
  if (policy.max_restarts > max_max_restarts)
    return refuse("max_restarts", fmt::format("{} at most", max_max_restarts));
  return {};
}

std::string_view to_string(slot_kind x) {
  return x == slot_kind::worker ? "worker" : "pod";
}

std::string_view to_string(slot_health x) {
  switch (x) {
    case slot_health::empty:
      return "empty";
    case slot_health::starting:
      return "starting";
    case slot_health::healthy:
      return "healthy";
    case slot_health::unhealthy:
      return "unhealthy";
    case slot_health::backing_off:
      return "backing_off";
    case slot_health::failed:
      return "failed";
    case slot_health::stopping:
      return "stopping";
  }
  return "?";
}

std::string_view to_string(handler_policy x) {
  switch (x) {
    case handler_policy::evict:
      return "evict";
    case handler_policy::quarantine:
      return "quarantine";
    case handler_policy::escalate:
      return "escalate";
  }
  return "?";
}

expected<void> check(const slot_group_definition& what) {
  // Whatever it has, a name that is too long is told so.
  if (what.name.size() > max_group_name_bytes)
    return fail(errc::invalid_argument,
                fmt::format("the name of a group has {} bytes, and {} are the "
                            "limit",
                            what.name.size(), max_group_name_bytes));
  if (auto fine = check_pod_name(what.name); !fine)
    return fine;
  if (what.kind == slot_kind::worker && what.pod != pod_order{})
    return fail(errc::invalid_argument,
                fmt::format("the group '{}' is one of workers, which run no "
                            "command and are lent nothing; leave that out, or "
                            "make it one of pods",
                            what.name));
  if (what.kind == slot_kind::pod)
    if (auto fine = check_pods(what); !fine)
      return fine;
  return check(what.policy);
}

std::vector<std::uint8_t> recovery_pass::indices() const {
  std::vector<std::uint8_t> out;
  for (auto& slot : slots)
    out.push_back(slot.index);
  return out;
}

std::string to_string(const slot_id& x) {
  return fmt::format("{}{}:{}:{}", slot_mark, x.group, x.index, x.term);
}

std::optional<slot_id> slot_id_from(std::string_view text) {
  if (!is_slot_request(text))
    return std::nullopt;
  text.remove_prefix(slot_mark.size());
  auto last = text.rfind(':');
  auto middle = last == std::string_view::npos || last == 0
                  ? std::string_view::npos
                  : text.rfind(':', last - 1);
  slot_id out;
  if (middle == std::string_view::npos || middle == 0
      || !read_number(text.substr(middle + 1, last - middle - 1), out.index)
      || !read_number(text.substr(last + 1), out.term))
    return std::nullopt;
  out.group = text.substr(0, middle);
  return out;
}

bool is_slot_request(std::string_view request_id) {
  return request_id.starts_with(slot_mark);
}

std::optional<failure> refuse_slot_request(std::string_view request_id) {
  if (!is_slot_request(request_id))
    return std::nullopt;
  return failure{errc::invalid_argument,
                 fmt::format("the request id '{}' is one of those that groups "
                             "use; take another",
                             request_id)};
}

} // namespace muster
