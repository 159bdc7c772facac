// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/recovery/backoff.hpp"

#include <map>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

namespace muster {

/// What becomes of a handler that fails or goes down.
enum class handler_policy {
  /// It is asked no more.
  evict,
  /// It is asked again later and later.
  quarantine,
  /// It is asked no more, and whoever runs the registry has to act.
  escalate,
};

[[nodiscard]] std::string_view to_string(handler_policy x);

/// Somebody who puts back what died.
struct handler_definition {
  std::string name;
  handler_policy policy = handler_policy::evict;
  /// How long a pass waits for it.
  std::chrono::milliseconds deadline{200};
  /// The connected peer that it lives on; empty for this node.
  std::string owner;
};

/// Names one registration; one that is made again gets another. The numbers
/// grow.
using handler_id = std::uint64_t;

/// What is known about a handler.
struct handler_view {
  std::string name;
  handler_policy policy = handler_policy::evict;
  std::string owner;
  /// How often it was asked.
  std::uint64_t runs = 0;
  /// How many slots it put back.
  std::uint64_t recovered = 0;
  /// How long its last answer took.
  std::int64_t last_ms = 0;
  /// Whether it has not answered, and its deadline is over.
  bool is_late = false;
  /// How often it was late.
  std::uint64_t times_late = 0;
  /// How long it is still in quarantine; absent if it is not.
  std::optional<std::int64_t> quarantine_ms;
  std::string last_error;
};

/// A slot that was put back, and by whom.
struct recovered_slot {
  std::string handler;
  std::uint8_t index = 0;

  friend bool operator==(const recovered_slot&, const recovered_slot&)
    = default;
};

/// What came of one pass. All in the order of registrations.
struct pass_result {
  std::uint64_t number = 0;
  std::vector<recovered_slot> slots;
  /// The names of those that the pass did not wait for any longer,
  std::vector<std::string> late;
  /// and of those that failed or went down in it.
  std::vector<std::string> failed;

  /// The slots alone, as a registry without names would give them.
  [[nodiscard]] std::vector<std::uint8_t> indices() const;
};

/// What was done since the start of the node.
struct recovery_counters {
  /// Passes that came to their end.
  std::uint64_t passes = 0;
  std::uint64_t recovered = 0;
  /// Answers that came behind their deadline, or are still missing.
  std::uint64_t late = 0;
  std::uint64_t failures = 0;
  std::uint64_t evicted = 0;
  std::uint64_t escalated = 0;
  std::int64_t last_pass_ms = 0;
};

/// The limits of a recovery registry.
struct recovery_settings {
  std::uint64_t max_handlers = 1'000;
  /// Requests that may wait for the end of a pass.
  std::uint64_t max_waiting = 256;
  /// Slots that may be put back in one pass, by all handlers and by one.
  std::uint64_t max_recoveries = 64;
  std::uint64_t max_recoveries_per_handler = 4;
  /// How long quarantines are.
  restart_policy quarantine;
};

namespace recovery {

/// Names a request that waits for its answer. Made by whoever passes it on.
using ticket = std::uint64_t;

/// Ask a handler to put back what it can; `answered`, `failed` or `gone`
/// follows, however late.
struct ask {
  handler_id id = 0;
  std::uint64_t pass = 0;
  /// Slots that it may put back.
  std::uint64_t budget = 0;
};

/// That registration is over.
struct forget {
  handler_id id = 0;
  std::string name;
  failure why;
};

/// The same, and whoever runs the registry has to act.
struct escalate {
  handler_id id = 0;
  std::string name;
  failure why;
};

/// A pass came to its end.
struct reply_pass {
  ticket to = 0;
  pass_result result;
};

struct reply_refusal {
  ticket to = 0;
  failure why;
};

using effect = std::variant<ask, forget, escalate, reply_pass, reply_refusal>;

using effects = std::vector<effect>;

} // namespace recovery

/// What follows from a registration.
struct handler_registered {
  handler_id id = 0;
  /// Handlers that there are now, whether or not a pass is running.
  std::uint64_t count = 0;
  recovery::effects effects;
};

/// Who is asked to put back what died, and what comes of it.
///
/// A pass asks each handler once, side by side, and its result is in the order
/// of registrations. No pass begins before the last one has ended, and none
/// asks a handler that has not answered yet: what such a one says later counts
/// in the pass in which it says so.
class recovery_table {
public:
  // -- constructors -----------------------------------------------------------

  /// @param seed decides by how much quarantines differ.
  explicit recovery_table(recovery_settings settings, std::uint64_t seed = 1)
    : settings_(settings), seed_(seed) {
    // nop
  }

  // -- registrations ----------------------------------------------------------

  /// Adds a handler behind all others. It is asked from the next pass on.
  ///
  /// One that went down in quarantine may register again, and so may one whose
  /// peer does: it keeps its numbers and what is left of its quarantine.
  /// @returns `invalid_argument`, `conflict` or `overloaded`.
  [[nodiscard]] expected<handler_registered> add(handler_definition what,
                                                 std::int64_t now_ns);

  /// @returns `not_found`.
  [[nodiscard]] expected<recovery::effects> remove(const std::string& name,
                                                   std::int64_t now_ns);

  // -- passes -----------------------------------------------------------------

  /// Begins a pass. Whoever asks while one is running gets the result of that
  /// one.
  [[nodiscard]] recovery::effects begin_pass(recovery::ticket from,
                                             std::int64_t now_ns);

  /// Time went by.
  [[nodiscard]] recovery::effects on_time(std::int64_t now_ns);

  // -- what handlers did; what nobody waits for is ignored --------------------

  [[nodiscard]] recovery::effects
  answered(handler_id id, std::uint64_t pass,
           const std::vector<std::uint8_t>& slots, std::int64_t now_ns);

  /// It could not do what it was asked for. What it put back before it failed
  /// is unknown.
  [[nodiscard]] recovery::effects failed(handler_id id, std::uint64_t pass,
                                         const failure& why,
                                         std::int64_t now_ns);

  /// It has ended.
  [[nodiscard]] recovery::effects gone(handler_id id, const failure& why,
                                       std::int64_t now_ns);

  /// A peer has gone, and all its handlers with it. That is no fault of theirs.
  [[nodiscard]] recovery::effects peer_gone(const std::string& owner,
                                            std::int64_t now_ns);

  // -- properties -------------------------------------------------------------

  [[nodiscard]] std::size_t size() const {
    return handlers_.size();
  }

  [[nodiscard]] bool is_running() const {
    return pass_.has_value();
  }

  [[nodiscard]] const recovery_counters& counters() const {
    return counters_;
  }

  /// When `on_time` has something to do; absent if never.
  [[nodiscard]] std::optional<std::int64_t> limit_ns() const;

  /// All handlers, in the order of registrations.
  [[nodiscard]] std::vector<handler_view> list(std::int64_t now_ns) const;

private:
  // -- member types -----------------------------------------------------------

  struct handler {
    handler_definition what;
    handler_view numbers;
    backoff guard;
    /// The pass that it has not answered; 0 if there is none.
    std::uint64_t asked_by = 0;
    std::int64_t asked_ns = 0;
    /// Whether it went down, and its name waits for it.
    bool is_gone = false;
    /// What it said behind the end of a pass.
    std::vector<std::uint8_t> said_late = {};
  };

  using handlers = std::map<handler_id, handler>;

  /// What a handler contributed to a pass.
  struct share {
    std::string name;
    std::vector<std::uint8_t> slots;
    bool is_late = false;
    bool has_failed = false;
  };

  struct running_pass {
    std::int64_t begun_ns = 0;
    std::set<handler_id> open;
    std::map<handler_id, share> shares;
    std::vector<recovery::ticket> tickets;
  };

  // -- implementation details -------------------------------------------------

  [[nodiscard]] handlers::iterator find(const std::string& name);

  /// The handler, if it owes that pass an answer.
  [[nodiscard]] handlers::iterator find(handler_id id, std::uint64_t pass);

  [[nodiscard]] expected<void> check(const handler_definition& what) const;

  /// Its part in the pass that is running.
  [[nodiscard]] share& share_of(handlers::iterator i);

  /// Asks all, each with its part of what may be put back.
  void ask_all(const std::vector<handlers::iterator>& whom,
               std::int64_t now_ns);

  void fail_handler(handlers::iterator i, const failure& why, bool is_gone,
                    std::int64_t now_ns);

  void drop(handlers::iterator i, failure why);

  /// Nothing more is heard of it in this pass.
  void settle(handler_id id);

  /// Ends a pass for which nobody is waited any more.
  void finish_if_done(std::int64_t now_ns);

  [[nodiscard]] recovery::effects take_effects();

  // -- member variables -------------------------------------------------------

  recovery_settings settings_;
  std::uint64_t seed_;
  handlers handlers_;
  handler_id last_id_ = 0;
  /// The number of the last pass that began.
  std::uint64_t number_ = 0;
  std::optional<running_pass> pass_;
  /// The first handler for which a pass had nothing left: the next one begins
  /// there.
  handler_id cursor_ = 0;
  recovery_counters counters_;
  recovery::effects effects_;
};

} // namespace muster
