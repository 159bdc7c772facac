// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/persistence.hpp"
#include "messages/session.hpp"

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace muster {

/// Where a client finds its node, and what it shows there.
struct client_options {
  std::string host = "127.0.0.1";
  std::uint16_t port = 7411;
  /// The folder with the client's certificate, its key and the certificate of
  /// the authority. Empty means without TLS, to 127.0.0.1 only.
  std::string tls;
  /// How long to wait for the node to answer at all.
  std::chrono::milliseconds connect_timeout = std::chrono::seconds(5);
};

/// A connection to a node. Calls block until the node has answered, the
/// deadline is over (`timeout`) or the connection broke (`connection_lost`).
/// May be used by several threads at once.
///
/// Ids may be shortened to a unique beginning.
class client {
public:
  // -- member types -----------------------------------------------------------

  /// How long a call may take; absent means until it is done.
  using deadline = std::optional<std::chrono::milliseconds>;

  /// Sees what happens to an observed session.
  /// @returns whether to go on.
  using observer = std::function<bool(const observed_event&)>;

  // -- constructors and destructors -------------------------------------------

  /// Connects.
  /// @returns `unreachable` if nothing answers there, `bad_certificate` if one
  ///          of our files cannot be used, `not_allowed` if the node refuses
  ///          our certificate, `version_mismatch` if it is no node that this
  ///          client understands.
  [[nodiscard]] static expected<std::unique_ptr<client>>
  connect(const client_options& options);

  ~client();

  client(const client&) = delete;

  client& operator=(const client&) = delete;

  // -- sessions ---------------------------------------------------------------

  /// Spawns a session and waits for its first event.
  [[nodiscard]] expected<session_view> start(session_spec spec,
                                             deadline limit = {});

  /// Spawns a session; gives its id once it is on disk.
  [[nodiscard]] expected<std::string> spawn(session_spec spec,
                                            deadline limit = {});

  /// Answers queries; those that are not refused are on disk.
  [[nodiscard]] expected<feed_reply> feed(const std::string& id,
                                          std::vector<answer> answers,
                                          feed_mode mode, deadline limit = {});

  /// The id of the only open query.
  [[nodiscard]] expected<std::string> sole_pending(const std::string& id,
                                                   deadline limit = {});

  [[nodiscard]] expected<session_view> show(const std::string& id,
                                            deadline limit = {});

  /// State, metrics, log and pending queries as JSON.
  [[nodiscard]] expected<std::string> snapshot(const std::string& id,
                                               snapshot_options options,
                                               deadline limit = {});

  /// The same of all sessions that have not ended.
  [[nodiscard]] expected<std::string> snapshots(snapshot_options options,
                                                deadline limit = {});

  /// All prompts and answers as JSON.
  [[nodiscard]] expected<std::string> transcript(const std::string& id,
                                                 deadline limit = {});

  /// Log lines with a number above `after`.
  [[nodiscard]] expected<std::vector<log_line>>
  log(const std::string& id, std::uint64_t after, deadline limit = {});

  [[nodiscard]] expected<session_view>
  cancel(const std::string& id, cancel_reason reason, deadline limit = {});

  /// Waits for the next pause or the end.
  [[nodiscard]] expected<session_view>
  await(const std::string& id, wait_for what, deadline limit = {});

  /// Shows every event behind `after` until the session has ended or `see` has
  /// seen enough.
  /// @returns the session as it was when the observation began.
  [[nodiscard]] expected<session_view>
  observe(const std::string& id, std::uint64_t after, observer see,
          deadline limit = {});

  [[nodiscard]] expected<session_page> list(session_list_request request,
                                            deadline limit = {});

  /// Deletes sessions that ended at least so long ago; gives how many.
  [[nodiscard]] expected<std::uint64_t>
  prune(std::chrono::milliseconds older_than, deadline limit = {});

  // -- shared state -----------------------------------------------------------

  [[nodiscard]] expected<std::vector<state_space>> state_spaces(deadline limit
                                                                = {});

  /// @param count how many at most; 0 means all.
  [[nodiscard]] expected<std::vector<state_entry>>
  state_keys(const std::string& space, const std::string& prefix,
             std::uint32_t count, deadline limit = {});

  [[nodiscard]] expected<state_value> state_get(state_key where,
                                                deadline limit = {});

  /// @param value JSON.
  /// @returns the new version.
  [[nodiscard]] expected<std::uint64_t>
  state_set(state_key where, std::string value, deadline limit = {});

  [[nodiscard]] expected<bool> state_delete(state_key where,
                                            deadline limit = {});

  // -- the node ---------------------------------------------------------------

  /// How the node is doing, as JSON.
  [[nodiscard]] expected<std::string> status(deadline limit = {});

private:
  struct connection;

  explicit client(std::unique_ptr<connection> link);

  std::unique_ptr<connection> link_;
};

} // namespace muster
