// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "app/client/node_location.hpp"

#include "messages/persistence.hpp"
#include "messages/pod.hpp"
#include "messages/pool.hpp"
#include "messages/recovery.hpp"
#include "messages/session.hpp"

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace muster {

class connection;

/// Where a client finds its node, and for how long it looks.
struct client_options : node_location {
  /// If set, this is asked before each attempt to connect, and the location
  /// above is of no meaning: a node that was started again may have another
  /// port. Never called by two threads at once. See `find_node`.
  std::function<expected<node_location>()> find;
  /// How long to wait for the node to answer at all.
  std::chrono::milliseconds connect_timeout = std::chrono::seconds(5);
  /// For how long a call looks for the node when the connection breaks under
  /// it; zero means not at all.
  std::chrono::milliseconds reconnect_for = std::chrono::seconds(30);
};

/// How long a call may take; absent means until it is done.
using deadline = std::optional<std::chrono::milliseconds>;

/// What may be said of a call that changes something.
struct call_options {
  deadline limit = {};
  /// Names the request, by up to 128 printable characters. Repeated under the
  /// same id, also by another process, a request is not executed again and gets
  /// its first answer. Empty means that the client makes an id.
  std::string request_id = {};
};

/// A client of a node. Calls block until the node has answered, and give its
/// answer or an error. May be used by several threads at once.
///
/// When the connection breaks, a call connects again and asks again, what
/// changes something under the same id, so that it is not executed twice. A
/// call that finds no node in time ends with `connection_lost`, one whose
/// deadline is over with `timeout`; the message says what may have become of
/// it. Refused certificates and other versions are final.
///
/// Session ids may be shortened to a unique beginning.
class client {
public:
  // -- member types -----------------------------------------------------------

  using deadline = muster::deadline;

  /// Sees what happens to an observed session.
  /// @returns whether to go on.
  using observer = std::function<bool(const observed_event&)>;

  // -- constructors and destructors -------------------------------------------

  /// Connects. Tries once.
  /// @returns `unreachable` if nothing answers there, `bad_certificate` if one
  ///          of our files cannot be used, `not_allowed` if the node refuses
  ///          our certificate, `version_mismatch` if it is no node that this
  ///          client understands.
  [[nodiscard]] static expected<std::unique_ptr<client>>
  connect(client_options options);

  /// Ends all calls with `connection_lost` and waits until they have returned:
  /// for `connect_timeout` at most, and for observers. Not from one of these.
  ~client();

  client(const client&) = delete;

  client& operator=(const client&) = delete;

  // -- sessions ---------------------------------------------------------------

  /// Spawns a session and waits for its first event.
  [[nodiscard]] expected<session_view> start(session_spec spec,
                                             call_options how = {});

  /// Spawns a session; gives its id once it is on disk.
  [[nodiscard]] expected<std::string> spawn(session_spec spec,
                                            call_options how = {});

  /// Answers queries and waits for the next event. Answers that are not refused
  /// are on disk.
  [[nodiscard]] expected<feed_reply> feed(const std::string& id,
                                          std::vector<answer> answers,
                                          call_options how = {});

  /// The same without the wait: the session may still be running.
  [[nodiscard]] expected<feed_reply> resume(const std::string& id,
                                            std::vector<answer> answers,
                                            call_options how = {});

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
  /// seen enough. `see` runs in the thread that calls this, sees each event
  /// once and in order, and may call the client. Events that the node could no
  /// longer give are one of number 0 and kind `lagged`.
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
  state_set(state_key where, std::string value, call_options how = {});

  /// @returns whether there was one.
  [[nodiscard]] expected<bool> state_delete(state_key where,
                                            call_options how = {});

  // -- worker processes -------------------------------------------------------

  [[nodiscard]] expected<std::vector<worker_view>> pool_list(deadline limit
                                                             = {});

  /// Starts a worker that waits for a session; gives it once it is ready.
  [[nodiscard]] expected<worker_view> pool_spawn(call_options how = {});

  /// Stops a worker, or all if `sid` is empty. One that is unknown is neither
  /// stopped nor an error.
  [[nodiscard]] expected<pool_stop_reply> pool_stop(const std::string& sid,
                                                    deadline limit = {});

  /// Takes out workers that are dead; gives their ids.
  [[nodiscard]] expected<std::vector<std::string>> pool_collect(deadline limit
                                                                = {});

  // -- pods -------------------------------------------------------------------

  /// Starts a pod; gives it once it is ready and has taken its task. If it did
  /// not take that, this is an error, and the pod is there.
  [[nodiscard]] expected<pod_view> pod_spawn(const pod_order& order,
                                             call_options how = {});

  [[nodiscard]] expected<std::vector<pod_view>> pod_list(deadline limit = {});

  /// Lets a pod begin a turn; gives its number once that is confirmed.
  [[nodiscard]] expected<std::uint64_t> pod_send(const std::string& name,
                                                 const std::string& text,
                                                 call_options how = {});

  /// Gives what a pod has written since that reader read last.
  [[nodiscard]] expected<pod_output> pod_read(const struct pod_read& what,
                                              deadline limit = {});

  /// Stops a pod; returns once it is gone and what it was lent has come back.
  [[nodiscard]] expected<pod_stop_reply> pod_stop(const std::string& name,
                                                  deadline limit = {});

  /// Who has what of the file system, and who lent it.
  [[nodiscard]] expected<scope_listing> pod_scopes(deadline limit = {});

  /// Who may do something at an absolute path.
  [[nodiscard]] expected<std::vector<scope_holder>>
  pod_holders(const std::string& path, deadline limit = {});

  // -- recovery ---------------------------------------------------------------

  /// Makes a group; gives it once it is on disk. Its slots are filled behind
  /// that.
  [[nodiscard]] expected<slot_group_view>
  group_create(const slot_group_definition& what, call_options how = {});

  [[nodiscard]] expected<std::vector<slot_group_view>> group_list(deadline limit
                                                                  = {});

  [[nodiscard]] expected<slot_group_view> group_show(const std::string& name,
                                                     deadline limit = {});

  /// Lets a group have that many slots. The highest go first.
  [[nodiscard]] expected<slot_group_view>
  group_scale(const std::string& name, std::uint8_t slots, deadline limit = {});

  /// Forgets the failures of a group.
  [[nodiscard]] expected<slot_group_view> group_reset(const std::string& name,
                                                      deadline limit = {});

  /// Stops all that is in a group; returns once it is gone.
  [[nodiscard]] expected<void> group_delete(const std::string& name,
                                            deadline limit = {});

  /// Who puts back what died, in the order in which they are asked.
  [[nodiscard]] expected<std::vector<handler_view>> recovery_list(deadline limit
                                                                  = {});

  /// Lets all of them put back what they can now.
  [[nodiscard]] expected<struct recovery_pass> recovery_run(deadline limit
                                                            = {});

  // -- the node ---------------------------------------------------------------

  /// How the node is doing, as JSON.
  [[nodiscard]] expected<std::string> status(deadline limit = {});

private:
  explicit client(std::unique_ptr<connection> node);

  std::unique_ptr<connection> node_;
};

} // namespace muster
