// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/json.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

// What a node and a protocol pod say to each other, over the socket of the pod:
// one JSON object per line. docs/pods.md shows each of them.

namespace muster::pod {

/// The version of the protocol that both sides speak.
inline constexpr std::uint64_t protocol_version = 1;

// -- from the node to a pod: {"method":...,"params":{...}} --------------------

/// Are you there? Answered with `pong`, whatever else goes on.
struct ping {
  std::uint64_t id = 0;
};

/// Begin a turn with this text. Answered with `turn_start` once it has begun,
/// or with `error`. A run that was accepted under that id before is answered
/// with its `turn_start` again, and not begun anew.
struct run {
  std::string id;
  std::string text;
};

/// Something that the pod should know. Answered with `ack`.
struct notify {
  std::uint64_t id = 0;
  std::string message;
};

/// Something happened to a pod that this one has lent to: it ended a turn, it
/// reported an error, or it is gone. Answered with `ack`; comes again after a
/// connection that was lost before.
struct pod_event {
  std::uint64_t id = 0;
  /// `turn_ended`, `errored` or `shut_down`.
  std::string kind;
  std::string pod_name;
  /// The error, or how it ended.
  std::string message;
};

/// The event of that number is kept: the pod need not say it again.
struct confirm {
  std::uint64_t id = 0;
};

/// The answer to a `request`.
struct result {
  std::string id;
  expected<json> value;
};

/// End.
struct shutdown {};

using to_pod
  = std::variant<ping, run, notify, pod_event, confirm, result, shutdown>;

// -- from a pod to the node: {"event":...,"data":{...}} -----------------------

/// Who is here: the first that a pod says on a connection.
struct snapshot {
  std::string pod_name;
  std::uint64_t protocol = 0;
};

struct pong {
  std::uint64_t id = 0;
};

/// The run of that id has begun a turn.
struct turn_start {
  std::string run;
  std::uint64_t turn = 0;
};

/// The run of that id was refused.
struct run_error {
  std::string run;
  /// `already_running`, `invalid_request`, `internal`, ...
  std::string code;
  std::string message;
};

/// A turn has ended as it should. Events have numbers that grow; one that was
/// not confirmed is said again on the next connection.
struct turn_ended {
  std::uint64_t id = 0;
  std::uint64_t turn = 0;
};

/// A turn has failed.
struct errored {
  std::uint64_t id = 0;
  std::string message;
};

struct ack {
  std::uint64_t id = 0;
};

/// The pod wants something of the node, such as a pod of its own. Answered with
/// `result`.
struct request {
  std::string id;
  /// `spawn`, `list`, `send`, `read` or `stop`.
  std::string verb;
  json params = json::object();
};

/// Something that this version does not know, and that changes nothing.
struct other {};

using from_pod = std::variant<snapshot, pong, turn_start, run_error, turn_ended,
                              errored, ack, request, other>;

// -- as text ------------------------------------------------------------------

/// One frame, without its end of line. Texts must be UTF-8.
[[nodiscard]] std::string encode(const to_pod& what);

[[nodiscard]] std::string encode(const from_pod& what);

/// @returns `invalid_argument` naming what is wrong with the frame.
[[nodiscard]] expected<from_pod> decode_event(std::string_view text);

/// The same for the other side. A method that is not known is
/// `invalid_argument`, too.
[[nodiscard]] expected<to_pod> decode_method(std::string_view text);

} // namespace muster::pod
