// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/strategy/settings.hpp"

#include "messages/strategy.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

// What a node and a worker process say to each other, over a unix socket: one
// JSON object per line. docs/protocol.md shows each of them.

namespace muster {

// -- from the node to a worker ------------------------------------------------

/// Who are you? The first thing that is said; everything else is refused
/// before it. A node of another version is told so, and may only stop it.
struct worker_hello {
  /// The version of the node.
  std::string version;
};

/// A piece of the history that the next `worker_start` ends, in order: that may
/// be larger than a frame. Answered with `worker_taken`.
struct worker_history {
  history events;
  std::vector<source_text> sources;
};

/// Run this session. Refused with `busy` if the worker has one already. Its
/// history stands behind the pieces that came before.
struct worker_start {
  strategy_start what;
  strategy_settings settings;
};

/// The answer to the last `host_call`.
struct worker_resolve {
  host_result result;
};

/// The next answers to the pause that the strategy is in, in query order. With
/// the last of them it goes on; what comes before is answered with
/// `worker_taken`.
struct worker_answer {
  std::vector<answered_event> answers;
};

/// The session is on disk up to this event.
struct worker_committed {
  std::uint64_t seq = 0;
};

/// Where do you stand? Answered also while a script runs.
struct worker_status {};

/// End. Answered, and then the connection is closed.
struct worker_shutdown {};

using worker_request
  = std::variant<worker_hello, worker_history, worker_start, worker_resolve,
                 worker_answer, worker_committed, worker_status,
                 worker_shutdown>;

// -- from a worker to the node ------------------------------------------------

/// Where a worker stands. The answer to `worker_status`.
struct worker_standing {
  std::optional<std::string> session_id;
  /// Up to which event it knows the session to be on disk.
  std::uint64_t seq = 0;
  /// Whether the strategy waits in the pause that is that event, and was given
  /// no answer.
  bool at_rest = false;

  friend bool operator==(const worker_standing&, const worker_standing&)
    = default;
};

/// The answer to `worker_hello`.
struct worker_greeting {
  std::string version;
  /// What the node told it when it was started: it is the one.
  std::string nonce;
  worker_standing standing;
  /// What the kernel gave of its confinement, for people, such as
  /// `seccomp, landlock 6`.
  std::string confinement;
};

/// The strategy has come to something: a `host_call`, a `strategy_step`, or
/// `host_restored`.
struct worker_report {
  std::variant<host_call, strategy_step, host_restored> what;
  std::vector<log_line> logs;
  /// Bytes that the virtual machine holds.
  std::uint64_t memory_bytes = 0;
};

/// A piece is here, and the next one may come.
struct worker_taken {};

/// The script still runs. Said every second, so that a worker that hangs is
/// told from one that works.
struct worker_working {};

/// The answer to `worker_shutdown`.
struct worker_farewell {};

/// A request was refused, and changed nothing.
struct worker_refusal {
  failure why;
};

using worker_reply
  = std::variant<worker_greeting, worker_standing, worker_report, worker_taken,
                 worker_working, worker_farewell, worker_refusal>;

// -- as text ------------------------------------------------------------------

/// One frame, without its end of line. Texts of modules may be any bytes; all
/// else is UTF-8, as what clients and scripts give was checked before.
/// @throws std::invalid_argument if it is not.
[[nodiscard]] std::string encode(const worker_request& x);

[[nodiscard]] std::string encode(const worker_reply& x);

/// All frames of a start: pieces of its history, if it does not fit into one
/// frame, and the start itself. Each but the last is answered with
/// `worker_taken`.
/// @returns `too_large` if a single event does not fit.
[[nodiscard]] expected<std::vector<std::string>>
start_frames(const worker_start& x, std::size_t max_frame_bytes);

/// All frames of the answers to a pause, in the same way.
[[nodiscard]] expected<std::vector<std::string>>
answer_frames(const std::vector<answered_event>& answers,
              std::size_t max_frame_bytes);

/// @returns `invalid_argument` naming what is wrong with the frame. Fields that
///          are not known are left alone.
[[nodiscard]] expected<worker_request> decode_request(std::string_view frame);

[[nodiscard]] expected<worker_reply> decode_reply(std::string_view frame);

} // namespace muster
