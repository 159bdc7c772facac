// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/recovery/backoff.hpp"
#include "actors/recovery/settings.hpp"

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace muster {

/// A handler that is a function of the node. Must not block: everybody waits
/// for it. One that throws has failed.
/// @param budget slots that it may put back.
/// @returns the slots that it has put back.
using recovery_function
  = std::function<std::vector<std::uint8_t>(std::uint64_t budget)>;

/// Names one registration; one that is made again gets another. The numbers
/// grow.
using handler_id = std::uint64_t;

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
  recovery_pass result;
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
  /// @param run is called in each pass, if set: nobody else asks the handler.
  ///
  /// One that went down in quarantine may register again, and so may one whose
  /// peer does: it keeps its numbers and what is left of its quarantine.
  /// @returns `invalid_argument`, `conflict` or `overloaded`.
  [[nodiscard]] expected<handler_registered>
  add(handler_definition what, std::int64_t now_ns, recovery_function run = {});

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
    /// Whether it is one of `functions_`.
    bool is_function = false;
    /// Whether it went down, and its name waits for it.
    bool is_gone = false;
    /// What it said behind the end of a pass.
    std::vector<std::uint8_t> said_late = {};
  };

  using handlers = std::map<handler_id, handler>;

  /// A handler that is a function. There may be many that have nothing to do
  /// in most passes, so what a pass looks at stands together.
  struct function {
    handler_id id = 0;
    recovery_function run;
    std::uint64_t runs = 0;
    /// Whether it may have to wait, or has to be told that it does well.
    bool is_guarded = false;
    bool is_over = false;
  };

  /// What a handler contributed to a pass.
  struct share {
    std::string name;
    std::vector<std::uint8_t> slots;
    bool is_late = false;
    bool has_failed = false;
  };

  struct running_pass {
    std::int64_t begun_ns = 0;
    /// Those that have not answered, by the end of their deadlines.
    std::set<std::pair<std::int64_t, handler_id>> open;
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

  /// Runs all functions.
  /// @returns how many slots may still be put back.
  std::uint64_t run_functions(std::int64_t now_ns);

  void run_function(function& x, std::uint64_t& left, std::int64_t now_ns);

  /// Asks all others, each with its part of what may be put back.
  void ask_all(const std::vector<handlers::iterator>& whom, std::uint64_t left,
               std::int64_t now_ns);

  void fail_handler(handlers::iterator i, const failure& why, bool is_gone,
                    std::int64_t now_ns);

  void drop(handlers::iterator i, failure why);

  /// It is run no more, if it is a function.
  void end_function(const handler& x, handler_id id);

  /// Nothing more is heard of it in this pass.
  void settle(handlers::iterator i);

  /// Until when it has to answer.
  [[nodiscard]] static std::int64_t limit_of(const handler& x);

  /// Ends a pass for which nobody is waited any more.
  void finish_if_done(std::int64_t now_ns);

  [[nodiscard]] recovery::effects take_effects();

  // -- member variables -------------------------------------------------------

  recovery_settings settings_;
  std::uint64_t seed_;
  handlers handlers_;
  std::vector<function> functions_;
  /// Those that are added while the others run: these are not to be moved then.
  std::vector<function> added_functions_;
  bool is_running_functions_ = false;
  /// Where the next pass begins.
  std::size_t next_function_ = 0;
  /// Whether one of them is over.
  bool has_ended_functions_ = false;
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
