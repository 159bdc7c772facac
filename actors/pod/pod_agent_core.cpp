// SPDX-License-Identifier: Apache-2.0

#include "actors/pod/pod_agent_core.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

namespace muster {

namespace {

/// Characters of an error that are said; the log has all of it.
constexpr std::size_t max_message = 4'096;

template <class T>
void keep_last(std::deque<T>& of, std::size_t count) {
  while (of.size() > count)
    of.pop_front();
}

std::size_t size_of(const pod_agent_notice& x) {
  return x.kind.size() + x.pod_name.size() + x.message.size();
}

template <class Events>
std::string encode_event(const Events& what) {
  return std::visit([](auto& x) { return pod::encode(pod::from_pod{x}); },
                    what);
}

} // namespace

// -- events -------------------------------------------------------------------

pod_agent_effects pod_agent_core::connected(std::uint64_t connection) {
  if (is_over_)
    return {};
  connections_.insert(connection);
  pod_agent_effects out;
  pod::snapshot hello{name_, pod::protocol_version};
  out.push_back(pod_send{connection, pod::encode(pod::from_pod{hello})});
  for (auto& event : events_)
    out.push_back(pod_send{connection, encode_event(event)});
  return out;
}

pod_agent_effects pod_agent_core::received(std::uint64_t connection,
                                           std::string_view frame) {
  if (is_over_)
    return {};
  auto method = pod::decode_method(frame);
  answer reply;
  if (method)
    reply = std::visit([this](auto& x) { return on(x); }, *method);
  else
    reply = pod::run_error{{}, "invalid_request", method.error().message};
  if (is_over_)
    return {pod_end{}};
  if (!reply)
    return {};
  return {pod_send{connection, pod::encode(*reply)}};
}

// -- the turn -----------------------------------------------------------------

pod_agent_turn pod_agent_core::begin_turn() {
  running_ = true;
  notice_bytes_ = 0;
  pod_agent_turn out{turns_, std::exchange(turn_, {}).value_or(""), {}};
  out.notices.assign(std::make_move_iterator(notices_.begin()),
                     std::make_move_iterator(notices_.end()));
  notices_.clear();
  return out;
}

pod_agent_effects pod_agent_core::end_turn(const expected<void>& result) {
  running_ = false;
  if (is_over_)
    return {};
  if (result)
    events_.push_back(pod::turn_ended{++last_event_, turns_});
  else
    events_.push_back(pod::errored{
      ++last_event_,
      std::string{utf8_prefix(result.error().message, max_message)}});
  pod_agent_effects out;
  for (auto connection : connections_)
    out.push_back(pod_send{connection, encode_event(events_.back())});
  return out;
}

// -- methods ------------------------------------------------------------------

pod_agent_core::answer pod_agent_core::on(const pod::ping& x) {
  return pod::pong{x.id};
}

pod_agent_core::answer pod_agent_core::on(const pod::run& x) {
  auto known = std::find_if(runs_.begin(), runs_.end(),
                            [&](auto& run) { return run.id == x.id; });
  if (known != runs_.end() && !x.id.empty())
    return pod::turn_start{x.id, known->turn};
  if (turn_ || running_)
    return pod::run_error{x.id, "already_running",
                          fmt::format("pod '{}' is in turn {}", name_, turns_)};
  if (x.text.size() > limits_.max_text_bytes)
    return pod::run_error{x.id, to_string(errc::too_large),
                          fmt::format("the text of a run has {} bytes, more "
                                      "than {}",
                                      x.text.size(), limits_.max_text_bytes)};
  if (events_.size() >= limits_.max_events)
    return pod::run_error{x.id, to_string(errc::overloaded),
                          fmt::format("{} events of pod '{}' are not "
                                      "confirmed, and it keeps no more",
                                      events_.size(), name_)};
  turn_ = x.text;
  runs_.push_back({x.id, ++turns_});
  keep_last(runs_, limits_.max_known);
  return pod::turn_start{x.id, turns_};
}

pod_agent_core::answer pod_agent_core::on(const pod::notify& x) {
  return keep({x.id, "notice", {}, x.message});
}

pod_agent_core::answer pod_agent_core::on(const pod::pod_event& x) {
  return keep({x.id, x.kind, x.pod_name, x.message});
}

pod_agent_core::answer pod_agent_core::on(const pod::confirm& x) {
  // Their numbers grow, and they are said in order.
  while (!events_.empty()
         && std::visit([](auto& event) { return event.id; }, events_.front())
              <= x.id)
    events_.pop_front();
  return std::nullopt;
}

pod_agent_core::answer pod_agent_core::on(const pod::result&) {
  // This agent asks for nothing.
  return std::nullopt;
}

pod_agent_core::answer pod_agent_core::on(const pod::shutdown&) {
  is_over_ = true;
  return std::nullopt;
}

pod_agent_core::answer pod_agent_core::keep(pod_agent_notice x) {
  pod::ack reply{x.id};
  if (std::find(known_notices_.begin(), known_notices_.end(), x.id)
      != known_notices_.end())
    return reply;
  known_notices_.push_back(x.id);
  keep_last(known_notices_, limits_.max_known);
  notice_bytes_ += size_of(x);
  notices_.push_back(std::move(x));
  while (notices_.size() > limits_.max_notices
         || (notices_.size() > 1 && notice_bytes_ > limits_.max_notice_bytes)) {
    notice_bytes_ -= size_of(notices_.front());
    notices_.pop_front();
  }
  return reply;
}

} // namespace muster
