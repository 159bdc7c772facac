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

/// What the clients of a simulated node know: what they sent, and what they
/// were told. Compares every reply with everything that was said before; throws
/// a `violation` where the two do not fit.
///
/// The invariants: what was acknowledged stays (I1); a query takes one answer
/// and is not asked again (I2); a session follows its history, and an end is an
/// end (I3); every refusal has a code that says why (I12).
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
  };

  /// What is known of a session.
  struct session_record {
    /// Which script it runs, if this is known.
    std::string script;
    /// The highest event number that anybody was shown.
    std::uint64_t seq = 0;
    std::optional<std::uint64_t> end_seq;
    session_phase phase = session_phase::running;
    bool cancel_was_asked = false;
    std::map<std::string, query_record> queries;
    /// The queries that were open when it was shown last.
    std::vector<std::string> open;
    /// What was shown of the session at each event number.
    std::map<std::uint64_t, std::string> shown;
  };

  /// What a request relies on: taken when it is sent.
  struct expectation {
    std::string session_id;
    /// The session must be at this event, or further.
    std::uint64_t seq = 0;
  };

  // -- what clients do and hear -----------------------------------------------

  /// A session was acknowledged.
  void spawned(const std::string& id, const std::string& script);

  [[nodiscard]] expectation expectation_for(const std::string& id) const;

  /// An answer is on its way.
  void sends(const std::string& id, const std::string& query_id,
             const std::string& response);

  /// A cancel is on its way.
  void cancels(const std::string& id);

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

  /// Answers that were acknowledged so far.
  [[nodiscard]] std::size_t acknowledged() const {
    return acknowledged_;
  }

private:
  session_record& record(const std::string& id);

  void take(session_record& session, const std::string& id, const answer& given,
            const std::string& query_id, std::uint64_t seq);

  std::map<std::string, session_record> sessions_;
  std::size_t acknowledged_ = 0;
};

} // namespace muster::test
