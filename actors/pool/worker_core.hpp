// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/pool/worker_protocol.hpp"
#include "actors/strategy/local_host.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace muster {

// -- the script of a worker ---------------------------------------------------

/// What the strategy of a worker is told.
using script_order
  = std::variant<worker_start, worker_resolve, worker_answer, worker_committed>;

/// What came of a slice.
struct script_outcome {
  /// What the strategy waits for now.
  enum class next { slice, resolve, answer, end };

  next waits_for = next::slice;
  /// What to tell the node; empty if nothing.
  std::string frame;
  /// The events that this adds to the history.
  std::uint64_t events = 0;
  /// The queries of the pause that it is in.
  std::vector<std::string> queries;
};

/// Runs the strategy of a worker. Knows nothing of connections, and may run in
/// a thread of its own.
class worker_script {
public:
  // -- constructors -----------------------------------------------------------

  worker_script(strategy_clocks clocks, std::size_t max_frame_bytes)
    : clocks_(std::move(clocks)), max_frame_bytes_(max_frame_bytes) {
    // nop
  }

  // -- work -------------------------------------------------------------------

  /// Passes on the orders, the first of which is a `worker_start`, and runs the
  /// script for a slice.
  [[nodiscard]] script_outcome run(std::vector<script_order> orders);

private:
  void obey(worker_start& order);

  void obey(worker_resolve& order);

  void obey(worker_answer& order);

  void obey(worker_committed& order);

  [[nodiscard]] script_outcome report(host_report what);

  strategy_clocks clocks_;
  std::size_t max_frame_bytes_;
  strategy_settings settings_;
  strategy_host_ptr host_;
  /// The queries of the last pause in the history that it started with.
  std::vector<std::string> restored_;
};

// -- what a worker does -------------------------------------------------------

/// Send this frame.
struct send_frame {
  std::uint64_t connection = 0;
  std::string frame;
};

/// Close this connection: another node has taken its place.
struct close_connection {
  std::uint64_t connection = 0;
};

/// End the process, behind what was sent.
struct end_worker {};

using worker_effect = std::variant<send_frame, close_connection, end_worker>;

using worker_effects = std::vector<worker_effect>;

/// What a worker is.
struct worker_description {
  /// Of its program.
  std::string version;
  /// What the node told it when it was started.
  std::string nonce;
  /// What the kernel gave of its confinement.
  std::string confinement;
  strategy_clocks clocks;
  /// Of a frame in either direction.
  std::size_t max_frame_bytes = std::size_t{64} << 20;
  /// Of all pieces of a history, as frames.
  std::size_t max_history_bytes = std::size_t{1} << 30;
};

/// What a worker decides: whom it obeys, what it refuses, where it stands.
/// Knows connections by their numbers, each of which is used once, and has no
/// sockets, threads or clocks of its own.
class worker_core {
public:
  // -- constructors -----------------------------------------------------------

  explicit worker_core(worker_description what);

  // -- events -----------------------------------------------------------------

  /// A frame came.
  [[nodiscard]] worker_effects received(std::uint64_t connection,
                                        std::string_view frame);

  /// A connection is over. What would have been said to it is said to nobody.
  void lost(std::uint64_t connection);

  /// A second went by.
  [[nodiscard]] worker_effects beat() const;

  // -- the script -------------------------------------------------------------

  /// Whether the script has something to do.
  [[nodiscard]] bool has_work() const {
    return due_ && !running_;
  }

  /// Works for one slice, if there is something to do.
  [[nodiscard]] worker_effects advance();

  // The same in three steps, so that a thread of its own can do the second: it
  // touches nothing but the script.

  [[nodiscard]] std::vector<script_order> begin_slice();

  [[nodiscard]] worker_script& script() {
    return script_;
  }

  [[nodiscard]] worker_effects end_slice(script_outcome outcome);

  // -- properties -------------------------------------------------------------

  [[nodiscard]] worker_standing standing() const;

  /// The connection of a node of this version; 0 if none is there.
  [[nodiscard]] std::uint64_t attached() const {
    return attached_;
  }

  [[nodiscard]] bool is_attached() const {
    return attached_ != 0;
  }

  /// Whether one has ever been.
  [[nodiscard]] bool was_greeted() const {
    return greeted_;
  }

private:
  // -- requests ---------------------------------------------------------------

  using next = script_outcome::next;

  // Each gives what is answered, if anything, or why it is refused.

  using answered = expected<std::optional<worker_reply>>;

  answered on(worker_hello& x);

  answered on(worker_history& x);

  answered on(worker_start& x);

  answered on(worker_resolve& x);

  answered on(worker_answer& x);

  answered on(worker_committed& x);

  answered on(worker_status& x);

  answered on(worker_shutdown& x);

  /// Whether anything but the end may be asked for by this connection.
  [[nodiscard]] expected<void> check_sender(const worker_request& x) const;

  /// What waits for something that has not been asked for must not get it.
  [[nodiscard]] expected<void> check_waits(next what,
                                           std::string_view name) const;

  void order(script_order x);

  // -- member variables -------------------------------------------------------

  worker_description what_;
  worker_script script_;

  /// The connection that is obeyed; 0 if there is none.
  std::uint64_t attached_ = 0;
  bool greeted_ = false;

  /// From where the request comes that is looked at, and what it leads to.
  std::uint64_t sender_ = 0;
  std::size_t frame_bytes_ = 0;
  worker_effects effects_;

  /// The pieces of a history whose start has not come.
  worker_history pieces_;
  std::size_t piece_bytes_ = 0;

  std::optional<std::string> session_id_;
  /// What the script was not told yet.
  std::vector<script_order> orders_;
  bool due_ = false;
  bool running_ = false;
  next waits_for_ = next::end;

  /// The queries of the pause that it is in, and how many have answers.
  std::vector<std::string> queries_;
  std::vector<answered_event> answers_;

  /// Up to which event the session is known to be on disk.
  std::uint64_t seq_ = 0;
  /// The number of the last event that happened.
  std::uint64_t last_seq_ = 0;
  /// The number of the pause that it is in, or was in last.
  std::uint64_t pause_seq_ = 0;
};

} // namespace muster
