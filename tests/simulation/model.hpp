// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/session.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>

namespace muster::test {

/// Something that must never happen did.
struct violation : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Whether a session is run no more, as one worker after the other crashed.
[[nodiscard]] bool is_given_up(const session_view& view);

/// What the clients of a simulated node know: what they sent, and what they
/// were told. Compares every reply with everything that was said before; throws
/// a `violation` where the two do not fit.
///
/// The invariants: what was acknowledged stays (I1); a query takes one answer
/// and is not asked again (I2); a session follows its history, and an end is an
/// end (I3); an observer sees each event as it stays for ever, in order, and is
/// told what it misses; every refusal has a code that says why (I12).
class model {
public:
  // -- member types -----------------------------------------------------------

  /// What is known of a query.
  struct query_record {
    std::string prompt;
    /// Every response that was ever sent.
    std::set<std::string> sent;
    /// How often one was sent; the same may be sent again.
    std::size_t times_sent = 0;
    /// The one that was acknowledged.
    std::optional<std::string> acknowledged;
    /// The event after which it was.
    std::uint64_t acknowledged_seq = 0;
    /// The event that an observer saw it answered with.
    std::optional<std::uint64_t> answered_seq;
  };

  /// What is known of a session.
  struct session_record {
    /// Which script it runs, if this is known.
    std::string script;
    /// The highest event number that anybody was shown.
    std::uint64_t seq = 0;
    std::optional<std::uint64_t> end_seq;
    session_phase phase = session_phase::running;
    /// Every reason that was ever given to cancel it.
    std::set<std::string> cancel_reasons;
    /// Whether it was told to be gone: somebody deleted it.
    bool is_gone = false;
    std::map<std::string, query_record> queries;
    /// The queries that were open when it was shown last.
    std::vector<std::string> open;
    /// What was shown of the session at each event number.
    std::map<std::uint64_t, std::string> shown;
    /// What observers saw of each event.
    std::map<std::uint64_t, std::string> seen;
    /// Where it stood at each event number.
    std::map<std::uint64_t, session_phase> phases;
  };

  /// How far an observer has come with a session.
  struct stream {
    std::string session_id;
    /// The last event that it knows.
    std::uint64_t seq = 0;
    /// Events that it was told it missed, and that it has not come past.
    std::uint64_t announced = 0;
    /// Where the session stands by what it saw, if it knows.
    std::optional<session_phase> phase;
    bool ended = false;
    /// Whether it is sent what happens.
    bool attached = false;
  };

  /// What a request relies on: taken when it is sent.
  struct expectation {
    std::string session_id;
    /// The session must be at this event, or further.
    std::uint64_t seq = 0;
    /// It was known to be deleted.
    bool is_gone = false;
  };

  // -- what can be set --------------------------------------------------------

  /// Workers that crash in a row before their session is given up.
  std::uint64_t max_crashes = 3;

  // -- what clients do and hear -----------------------------------------------

  /// A session was acknowledged.
  void spawned(const std::string& id, const std::string& script);

  [[nodiscard]] expectation expectation_for(const std::string& id) const;

  /// An answer is on its way.
  void sends(const std::string& id, const std::string& query_id,
             const std::string& response);

  /// A cancel is on its way.
  void cancels(const std::string& id, const std::string& reason);

  /// Somebody asks to delete sessions that have ended.
  void prunes() {
    was_pruned_ = true;
  }

  /// A worker crashes.
  /// @param id the session that it has; empty if nobody knows.
  void crashed(const std::string& id);

  // -- what observers see -----------------------------------------------------

  /// An observer begins, and is told where the session stands.
  void observing(stream& at, const session_view& view);

  /// An observer is sent an event.
  void saw(stream& at, const observed_event& event);

  /// An observer is told that it misses events.
  void missed(stream& at, std::uint64_t count);

  // -- what is on disk --------------------------------------------------------

  /// The whole history of a session, as observers would see each event.
  void recorded(const std::string& id,
                const std::vector<observed_event>& events);

  // -- replies ----------------------------------------------------------------

  /// A session was shown.
  void shown(const expectation& at_least, const session_view& view);

  /// A feed of these answers was answered.
  void fed(const expectation& at_least, const std::vector<answer>& answers,
           const feed_reply& reply);

  /// A request about a session was refused.
  void refused(const std::string& id, const failure& why);

  /// Prompts and answers of a session as the node tells them, a JSON array.
  /// Complete: nothing is under way.
  void told(const std::string& id, const std::string& transcript);

  // -- introspection ----------------------------------------------------------

  [[nodiscard]] const std::map<std::string, session_record>& sessions() const {
    return sessions_;
  }

  /// Whether a session that nobody finds may have ended and been deleted.
  [[nodiscard]] bool may_be_gone(const session_record& session) const;

  /// Whether so many workers crashed under a session that it may be given up.
  [[nodiscard]] bool may_be_given_up(const std::string& id) const;

  /// Answers that were acknowledged so far.
  [[nodiscard]] std::size_t acknowledged() const {
    return acknowledged_;
  }

private:
  session_record& record(const std::string& id);

  void note_phase(session_record& session, const std::string& id,
                  std::uint64_t seq, session_phase phase);

  void take(session_record& session, const std::string& id, const answer& given,
            const std::string& query_id, std::uint64_t seq);

  std::map<std::string, session_record> sessions_;
  std::size_t acknowledged_ = 0;
  bool was_pruned_ = false;
  /// Crashes of workers by the session that they had.
  std::map<std::string, std::uint64_t> crashes_;
};

} // namespace muster::test
