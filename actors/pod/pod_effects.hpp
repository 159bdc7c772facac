// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/pod/pod_protocol.hpp"
#include "actors/pod/scope_table.hpp"
#include "actors/process/process_identity.hpp"
#include "actors/process/socket_port.hpp"

#include "messages/pod.hpp"
#include "messages/recovery.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

// What the table of pods wants done, in order. Each says which call of the
// table follows; that may come at once. A pod is named by its id.

namespace muster::pod {

/// Names a request that waits for its answer. Made by whoever passes it on.
using ticket = std::uint64_t;

// -- the disk -----------------------------------------------------------------

/// Write the document. One at a time; `saved` follows.
struct save {
  std::string text;
  /// The same for readers of the older document, which nobody reads back.
  std::string mirror;
};

/// Keep a copy of a document that cannot be read, unless there is one.
struct keep_copy {
  std::string text;
};

/// Remove the folder of a pod that nobody remembers any more.
struct remove_folder {
  std::string id;
};

/// Read of the output of a pod what stands behind a place; `output_read`
/// follows.
struct read_output {
  ticket reader = 0;
  std::string id;
  output_cursor from;
  std::uint64_t max_bytes = 0;
};

// -- processes ----------------------------------------------------------------

/// Make the folder of a pod and start it; `started` follows.
struct start {
  std::string id;
  pod_order order;
};

/// Hold a process that was found again; `adopted` follows.
struct adopt {
  std::string id;
  process_identity who;
};

/// Look which process lives under that pid; `looked` follows.
struct look {
  std::string id;
  std::int32_t pid = 0;
};

/// Look for a process that was started as that pod, though nobody knows its
/// pid; `looked` follows.
struct find_started {
  std::string id;
};

/// Send a signal to a process that is held; `signal_refused` follows if that
/// cannot be.
struct send_signal {
  std::string id;
  process_identity who;
  int number = 0;
};

/// Kill all that is left of a pod whose process is gone; `swept` follows.
struct sweep {
  std::string id;
  /// That process; absent if nobody knows which that was.
  std::optional<process_identity> who;
};

/// Let all processes go, and end those that are not ready.
struct let_go {};

// -- sockets ------------------------------------------------------------------

/// Connect to a pod; `connecting` follows.
struct connect {
  std::string id;
};

/// Say something to a pod; `send_refused` follows if that cannot be.
struct send {
  std::string id;
  connection_id connection = 0;
  to_pod what;
};

/// Count what has been heard of a pod; `probed` follows.
struct probe {
  std::string id;
  connection_id connection = 0;
};

/// End a connection.
struct hang_up {
  connection_id connection = 0;
};

/// A pod asks for something: pass it on in its name, and send it the `result`.
struct ask {
  std::string name;
  std::string id;
  connection_id connection = 0;
  request what;
};

// -- people and requests ------------------------------------------------------

/// Say something to those who run the node.
struct warn {
  std::string text;
};

/// Say what happened to a pod that occupies a slot.
struct tell {
  slot_event what;
};

struct reply_list {
  ticket to = 0;
  std::vector<pod_view> pods;
};

struct reply_pod {
  ticket to = 0;
  pod_view pod;
};

struct reply_sent {
  ticket to = 0;
  std::uint64_t turn = 0;
};

struct reply_output {
  ticket to = 0;
  pod_output output;
};

struct reply_stop {
  ticket to = 0;
  pod_stop_reply reply;
};

struct reply_scopes {
  ticket to = 0;
  scope_listing scopes;
};

struct reply_holders {
  ticket to = 0;
  std::vector<scope_holder> holders;
};

struct reply_slots {
  ticket to = 0;
  std::vector<slot_occupant> occupants;
};

struct reply_count {
  ticket to = 0;
  std::uint64_t count = 0;
};

/// An ordered stop has come to its end.
struct reply_stopped {
  ticket to = 0;
};

struct reply_refusal {
  ticket to = 0;
  failure why;
};

using effect = std::variant<
  save, keep_copy, remove_folder, read_output, start, adopt, look, find_started,
  send_signal, sweep, let_go, connect, send, probe, hang_up, ask, warn, tell,
  reply_list, reply_pod, reply_sent, reply_output, reply_stop, reply_scopes,
  reply_holders, reply_slots, reply_count, reply_stopped, reply_refusal>;

using effects = std::vector<effect>;

} // namespace muster::pod
