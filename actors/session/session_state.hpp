// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/session/session_fold.hpp"
#include "actors/session/settings.hpp"

#include "messages/history.hpp"
#include "messages/persistence.hpp"
#include "messages/session.hpp"
#include "messages/strategy.hpp"

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace muster {

/// Names a request that waits for its answer. Made by whoever passes it on.
using ticket = std::uint64_t;

/// Answers that a client gives.
struct feed_request {
  ticket from = 0;
  std::vector<answer> answers;
  feed_mode mode = feed_mode::next_event;
  /// What the client calls the request, or `once`.
  std::string request_id;
  /// Whether it is known to be no repeat.
  bool is_new = false;
};

// -- what a session wants done ------------------------------------------------

/// Write this. One at a time; `committed` or `refused` follows.
struct write_events {
  commit_request request;
};

/// Build a virtual machine: replay the history and go on.
struct build_machine {
  /// The history, if it is at hand; otherwise it has to be loaded.
  history at_hand;
  /// See `strategy_start`.
  std::vector<state_key> contended;
};

/// Hand these to the machine, which waits for them.
struct feed_machine {
  std::vector<answered_event> answers;
};

/// Tell the machine that the pause in which it is stands on disk.
struct confirm_pause {
  std::uint64_t seq = 0;
};

/// Throw the machine away.
struct drop_machine {};

/// Answer a feed.
struct reply_feed {
  ticket to = 0;
  feed_reply reply;
};

/// Answer a request for the session itself.
struct reply_view {
  ticket to = 0;
  session_view view;
};

/// Refuse a request.
struct reply_refusal {
  ticket to = 0;
  failure why;
};

/// Tell all who wait for its next pause or its end that the session cannot go
/// on. It is tried again later.
struct tell_awaiters {
  failure why;
};

/// These events are on disk: tell the observers.
struct publish_events {
  std::uint64_t first_seq = 0;
  /// For each event, what an observer sees of it, as JSON.
  std::vector<std::vector<std::string>> progress;
  bool last = false;
};

/// Call `commit_time` after `session.commit-after`.
struct arm_commit_time {};

/// Call `retry` after `session.retry-after`.
struct arm_retry {};

/// Look whether a feed is the repeat of one that was executed; `recalled`
/// follows.
struct recall_feed {
  feed_request feed;
  /// What would be kept of it; without a result.
  receipt wanted;
};

/// Answer a request to create this session: it was executed before, and made
/// another one.
struct reply_repeated {
  ticket to = 0;
  /// The id of that one.
  std::string session_id;
};

/// The session never came to be: forget it.
struct vanish {};

using session_effect
  = std::variant<write_events, build_machine, feed_machine, confirm_pause,
                 drop_machine, reply_feed, reply_view, reply_refusal,
                 reply_repeated, tell_awaiters, publish_events, recall_feed,
                 arm_commit_time, arm_retry, vanish>;

using session_effects = std::vector<session_effect>;

// -- the session --------------------------------------------------------------

/// What a session decides. It is told what happened, and says what to do about
/// it, in order; it does nothing itself.
///
/// The fence: a machine may run ahead of the disk by one step, and nobody sees
/// that step. While a commit is out, whatever would change the session waits;
/// who reads sees what is committed. If a commit fails, the machine goes, and
/// what it had done was never seen.
class session_state {
public:
  // -- constructors -----------------------------------------------------------

  session_state(std::string session_id, const session_settings& settings);

  // -- coming to be -----------------------------------------------------------

  /// A new session. Its spawn goes to disk alone, or with its first event.
  /// @param mode when the request is answered.
  /// @param request_id what the client calls it, or `once`.
  [[nodiscard]] session_effects
  spawn(ticket from, spawned_event spawned, feed_mode mode,
        const std::string& request_id, std::int64_t now_ms);

  /// A session from disk.
  /// @returns `registry_corrupted` if it cannot be read.
  [[nodiscard]] expected<session_effects> restore(const stored_session& stored);

  // -- what clients want ------------------------------------------------------

  /// Answers queries.
  [[nodiscard]] session_effects feed(feed_request feed, std::int64_t now_ms);

  /// Waits for the next pause or the end.
  [[nodiscard]] session_effects wait(ticket from);

  /// Ends the session. The first reason counts.
  [[nodiscard]] session_effects cancel(ticket from, cancel_reason reason,
                                       std::int64_t now_ms);

  /// Ends the session because nobody came back to it since that event. If
  /// somebody did, it stays.
  [[nodiscard]] session_effects time_out(ticket from, std::uint64_t seq,
                                         std::int64_t now_ms);

  /// Sends out what the machine took, without waiting for what it does next.
  [[nodiscard]] session_effects flush(std::int64_t now_ms);

  /// Drops the machine of a session that only waits.
  [[nodiscard]] session_effects passivate();

  // -- what the machine did ---------------------------------------------------

  /// It stopped at a pause or at its end, and nothing of that is on disk.
  [[nodiscard]] session_effects machine_stopped(strategy_step step,
                                                std::int64_t now_ms);

  /// It stands at the last pause that is on disk, and was given no answer to
  /// it.
  [[nodiscard]] session_effects machine_restored(std::int64_t now_ms);

  /// It could not be built. Whoever waits for what it does next is told, unless
  /// that passes by itself.
  [[nodiscard]] session_effects machine_failed(const failure& why);

  /// It is gone, and with it everything that it did since the last event on
  /// disk.
  [[nodiscard]] session_effects machine_lost(std::int64_t now_ms);

  // -- what the disk did ------------------------------------------------------

  /// The commit that is out is on disk.
  [[nodiscard]] session_effects committed(const commit_ack& ack,
                                          std::int64_t now_ms);

  /// The commit that is out was refused; nothing of it is on disk.
  [[nodiscard]] session_effects refused(const failure& why,
                                        std::int64_t now_ms);

  /// What is kept of a feed that may be a repeat.
  /// @param kept empty if it is none.
  [[nodiscard]] session_effects recalled(feed_request feed,
                                         const expected<std::string>& kept,
                                         std::int64_t now_ms);

  // -- what the clock did -----------------------------------------------------

  /// `session.commit-after` is over.
  [[nodiscard]] session_effects commit_time(std::int64_t now_ms);

  /// `session.retry-after` is over.
  [[nodiscard]] session_effects retry(std::int64_t now_ms);

  // -- properties -------------------------------------------------------------

  /// The session as it is on disk.
  [[nodiscard]] const session_fold& fold() const {
    return fold_;
  }

  [[nodiscard]] const session_view& view() const {
    return fold_.view();
  }

  [[nodiscard]] std::int64_t row() const {
    return row_;
  }

  /// The folders in which the script's `require` looks first.
  [[nodiscard]] const std::vector<std::string>& packages() const {
    return row_ == 0 ? fresh_packages_ : fold_.packages();
  }

  /// The id of the only open query.
  /// @returns `busy`, `finished` or `ambiguous` if there is no such one.
  [[nodiscard]] expected<std::string> sole_pending() const;

  /// Whether nothing is under way: no commit, no machine at work, nobody who
  /// waits for an answer.
  [[nodiscard]] bool is_idle() const;

  /// Whether a commit is out.
  [[nodiscard]] bool is_committing() const {
    return out_.has_value();
  }

  /// Whether there is a virtual machine, or one is being built.
  [[nodiscard]] bool has_machine() const {
    return machine_ != machine_phase::none;
  }

  /// Whether the machine only waits for an answer, so that nobody would miss
  /// it.
  [[nodiscard]] bool can_passivate() const {
    return machine_ == machine_phase::at_pause && !out_ && !ahead_;
  }

  /// Lines that the session's log has on disk.
  [[nodiscard]] std::uint64_t log_lines() const {
    return log_lines_;
  }

  /// Whether `publish_events` is wanted.
  bool observed = false;

  /// Log lines that are not on disk; go with the next commit.
  std::vector<log_line> unwritten_log;

private:
  // -- member types -----------------------------------------------------------

  enum class machine_phase { none, working, at_pause };

  /// Somebody who waits for the next event.
  struct waiter {
    ticket from = 0;
    /// For a feed: what became of its answers.
    std::optional<std::vector<feed_result>> results;
  };

  /// What is written at once.
  struct commit {
    history events;
    /// Who is answered as soon as it is on disk.
    std::vector<waiter> accepted;
    /// Who then waits for the next event.
    std::vector<waiter> waiting;
    /// How many of the events, at the front, a machine took before they were
    /// on disk.
    std::size_t taken = 0;
    /// Whether the other events are what a machine did.
    bool is_step = false;
    /// What the machine read and changed.
    std::vector<state_key> expected;
    /// The request that it is the work of, if that may be repeated.
    std::optional<receipt> done;
    /// What it takes on disk.
    std::uint64_t bytes = 0;
    std::uint64_t log_lines = 0;
  };

  /// A feed in which each answer was looked at.
  struct checked_feed {
    std::vector<feed_result> results;
    history events;
  };

  // -- feeds ------------------------------------------------------------------

  [[nodiscard]] checked_feed check_all(std::vector<answer> answers,
                                       std::int64_t now_ms) const;

  /// Whether an answer can be taken; completes its query id.
  [[nodiscard]] std::optional<failure> check(answer& a,
                                             const history& taken) const;

  [[nodiscard]] failure not_paused() const;

  /// Whether a feed could be the repeat of one that was executed: whatever that
  /// one has answered is open no longer.
  [[nodiscard]] bool may_be_repeat(const feed_request& feed) const;

  void take_feed(feed_request feed, std::int64_t now_ms);

  /// Answers at the next event, or now if there is nothing to wait for.
  void reply_later(waiter who);

  // -- commits ----------------------------------------------------------------

  void take_step(strategy_step step, std::int64_t now_ms);

  void take_cancel(std::int64_t now_ms);

  /// Sends a commit out, with what a step brings along.
  void write(commit what, strategy_step step, std::int64_t now_ms);

  void fold(const history& events);

  /// After a step was refused because others changed what it read.
  void run_step_again(commit what, std::int64_t now_ms);

  // -- going on ---------------------------------------------------------------

  /// Does whatever can be done next.
  void go_on(std::int64_t now_ms);

  /// Notes what the machine took, and when that has to be on disk.
  void go_ahead(commit what);

  void run_machine();

  /// Drops the machine and everything that it did ahead of the disk.
  void lose_machine();

  // -- answering --------------------------------------------------------------

  void reply(const waiter& to);

  void reply_all(std::vector<waiter>& who);

  void refuse_all(std::vector<waiter>& who, const failure& why);

  [[nodiscard]] session_effects take_effects();

  template <class T>
  void emit(T effect) {
    effects_.emplace_back(std::move(effect));
  }

  // -- member variables -------------------------------------------------------

  const session_settings& settings_;
  session_fold fold_;

  /// Where the session stands in the database; 0 until it does.
  std::int64_t row_ = 0;

  /// What its events add up to on disk.
  std::uint64_t bytes_ = 0;
  std::uint64_t log_lines_ = 0;

  /// The first event, until a machine was built from it.
  history fresh_;
  /// See `packages`, until the first event is on disk.
  std::vector<std::string> fresh_packages_;
  std::string code_hash_;

  machine_phase machine_ = machine_phase::none;

  /// What the machine took that is not on disk and not on its way there.
  std::optional<commit> ahead_;

  /// The commit that is out.
  std::optional<commit> out_;

  /// A step that waits for the commit that is out.
  std::optional<strategy_step> held_;

  std::deque<feed_request> queue_;

  /// Feeds that are being looked for on disk.
  std::size_t recalling_ = 0;

  /// Who waits for the next event.
  std::vector<waiter> waiters_;

  std::optional<cancel_reason> cancelling_;
  std::vector<waiter> cancellers_;

  /// Steps in a row that were refused because of what others did.
  std::uint64_t conflicts_ = 0;
  std::vector<state_key> contended_;

  /// Whether the machine is not to be built again before the time is over.
  bool resting_ = false;

  /// Counts what `ahead_` held, and which of these the timer was set for.
  std::uint64_t ahead_count_ = 0;
  std::optional<std::uint64_t> timed_;

  session_effects effects_;
};

} // namespace muster
