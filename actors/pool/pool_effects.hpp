// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/pool/worker_protocol.hpp"
#include "actors/process/process_identity.hpp"
#include "actors/process/socket_port.hpp"

#include "messages/pool.hpp"
#include "messages/recovery.hpp"

#include <cstdint>
#include <set>
#include <string>
#include <variant>
#include <vector>

// What the table of workers wants done, in order. Each says which call of the
// table follows; that may come at once.

namespace muster::pool {

/// Names a request that waits for its answer. Made by whoever passes it on.
using ticket = std::uint64_t;

// -- the disk -----------------------------------------------------------------

/// Write the document. One at a time; `saved` follows.
struct save {
  std::string text;
};

/// Keep a copy of a document that cannot be read, unless there is one.
struct keep_copy {
  std::string text;
};

/// Remove the socket of a worker that is gone, if it is there.
struct remove_socket {
  std::string path;
};

/// Remove the sockets that none of these workers has: those of the dead of whom
/// an earlier node had forgotten all but that.
struct sweep_sockets {
  std::set<std::string> kept;
};

// -- processes ----------------------------------------------------------------

/// Start a worker; `started` follows.
struct start {
  std::string sid;
  std::string sock;
  /// What it has to say when it is asked who it is.
  std::string nonce;
};

/// Hold a process that was found again; `adopted` follows.
struct adopt {
  std::string sid;
  process_identity who;
};

/// Look which process lives under that pid; `looked` follows.
struct look {
  std::string sid;
  std::int32_t pid = 0;
};

/// The same for the other end of a connection; `identified` follows.
struct identify {
  std::string sid;
  std::int32_t pid = 0;
};

/// Send a signal to a process that is held; `signal_refused` follows if that
/// cannot be.
struct send_signal {
  std::string sid;
  process_identity who;
  int number = 0;
};

/// Let all processes go, and end those that are not ready.
struct let_go {};

// -- sockets ------------------------------------------------------------------

/// Connect to a worker; `connecting` follows.
struct connect {
  std::string sid;
  std::string sock;
};

/// Say something to a worker; `send_refused` follows if that cannot be.
struct send {
  std::string sid;
  connection_id connection = 0;
  worker_request what;
};

/// Ask a worker whether it is there, when nothing else is to be done.
struct ping {
  connection_id connection = 0;
};

/// Count what has been heard of a worker; `probed` follows.
struct probe {
  std::string sid;
  connection_id connection = 0;
};

/// End a connection.
struct hang_up {
  connection_id connection = 0;
};

// -- people and requests ------------------------------------------------------

/// Say something to those who run the node.
struct warn {
  std::string text;
};

/// Say what happened to a worker that occupies a slot.
struct tell {
  slot_event what;
};

struct reply_list {
  ticket to = 0;
  std::vector<worker_view> workers;
};

struct reply_worker {
  ticket to = 0;
  worker_view worker;
};

struct reply_lease {
  ticket to = 0;
  worker_lease lease;
};

struct reply_stop {
  ticket to = 0;
  pool_stop_reply reply;
};

struct reply_ids {
  ticket to = 0;
  std::vector<std::string> ids;
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

using effect
  = std::variant<save, keep_copy, remove_socket, sweep_sockets, start, adopt,
                 look, identify, send_signal, let_go, connect, send, ping,
                 probe, hang_up, warn, tell, reply_list, reply_worker,
                 reply_lease, reply_stop, reply_ids, reply_slots, reply_count,
                 reply_stopped, reply_refusal>;

using effects = std::vector<effect>;

} // namespace muster::pool
