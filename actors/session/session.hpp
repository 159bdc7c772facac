// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/process/crash_notes.hpp"
#include "actors/process/environment.hpp"
#include "actors/session/observation.hpp"
#include "actors/session/session_state.hpp"
#include "actors/session/settings.hpp"

#include "messages/actors.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <unordered_map>
#include <variant>
#include <vector>

namespace muster {

/// What becomes of the virtual machine of a session.
enum class machine_use : std::uint8_t {
  none,
  /// It has something to do.
  working,
  /// It waits for an answer, and could be given back.
  waiting,
};

/// What a SESSION tells its registry. Plain messages: requests never go back.
using session_owner_actor = caf::typed_actor<
  // Another session has done already what this one was asked for. Its client
  // waits for the next event of that one.
  caf::replies_to<await_atom, std::string>::with<session_view>,
  // The session needs its actor no longer; `leave` would end it.
  caf::reacts_to<leave_atom, std::string>,
  // Somebody needs it after all; it did not leave.
  caf::reacts_to<stay_atom, std::string>,
  // What the session does with its virtual machine, and how many events it
  // takes to build it again. One that is fed stays `waiting` here, until it is
  // asked to give its machine back.
  caf::reacts_to<machine_atom, std::string, std::uint64_t, machine_use>>;

/// What all sessions of a node share. Lives longer than any of them.
struct session_context {
  session_settings settings;
  environment env;
  /// What ran a session first, see `spawned_event`.
  std::string versions;
  /// Under which sessions earlier processes died.
  std::shared_ptr<const crash_notes> crashes;
  /// Makes the host of a strategy that runs in this process.
  std::function<strategy_host_ptr()> make_host;
  /// Makes the host of a strategy that runs in a worker, given by its
  /// connection. It calls the other function, from any thread, whenever it
  /// wants to be looked at.
  std::function<strategy_host_ptr(std::uint64_t, std::function<void()>)>
    make_worker_host;
  /// How often in a row a worker may crash under a session, before that is run
  /// no more.
  std::uint64_t max_crashes = 3;
  /// Looks for a module in these folders, and then in those of the node.
  std::function<host_result(const std::vector<std::string>&,
                            const std::string&)>
    find_module;
  persistence_actor persistence;
  pool_registry_actor pool;
};

using session_context_ptr = std::shared_ptr<const session_context>;

/// What a SESSION keeps beside its core.
struct session_actor_state {
  // -- constants --------------------------------------------------------------

  static inline const char* name = "session";

  // -- member types -----------------------------------------------------------

  using promise = std::variant<caf::typed_response_promise<feed_reply>,
                               caf::typed_response_promise<session_view>,
                               caf::typed_response_promise<std::string>>;

  struct observer {
    observer_actor handle;
    /// Which of its requests counts: the last one.
    ticket number = 0;
    /// Absent while the events before it began are being loaded.
    std::optional<observation> progress;
  };

  struct awaiter {
    caf::actor_addr client;
    wait_for what;
    caf::typed_response_promise<session_view> promise;
  };

  // -- member variables -------------------------------------------------------

  session_context_ptr context;
  session_owner_actor owner;

  /// What the session decides.
  std::unique_ptr<session_state> core;

  /// Whether the history was loaded; what came before waits in `parked`.
  bool loaded = false;
  std::vector<std::function<void()>> parked;

  /// Who waits for an answer of the core.
  std::unordered_map<ticket, promise> promises;
  ticket next_ticket = 0;

  /// What runs the strategy, if anything does.
  strategy_host_ptr host;

  /// The worker that the session has.
  std::optional<worker_lease> worker;

  /// Requests for a worker that are not answered.
  std::size_t taking = 0;

  /// Whether the pool was told that no worker shall have the session.
  bool is_over = false;

  /// Workers that the session lost since its last pause, and how many of them
  /// crashed.
  std::uint64_t losses = 0;
  std::uint64_t crashes = 0;

  /// Whether the timer is set at which the host is looked at again.
  bool look_armed = false;

  /// What the registry was told about the machine.
  machine_use told = machine_use::none;

  /// Counts the hosts, so that messages about an old one are known.
  std::uint64_t host_number = 0;

  /// Whether the host has something to do.
  bool host_due = false;

  /// What was loaded for the core may serve the first host as well.
  std::optional<stored_session> at_hand;

  event_ring ring{0};
  std::vector<observer> observers;
  std::vector<awaiter> awaiters;

  /// Requests that wait for something from disk.
  std::size_t reading = 0;

  /// When a client last needed the virtual machine.
  std::int64_t touched_ns = 0;

  /// Whether the timer that gives the machine back is set.
  bool expiry_armed = false;

  /// Whether the registry was told that the actor may go.
  bool offered_to_leave = false;

  /// Whether the actor only waits for the commit that is out.
  bool stopping = false;

  /// Why the actor is gone; what was parked is refused with it.
  std::optional<failure> ended;
};

/// The timers of a SESSION.
enum class session_timer : std::uint8_t { commit, retry, expiry, look };

/// What a SESSION sends itself.
using session_impl = session_actor::extend<
  // Give the host its next slice.
  caf::reacts_to<advance_atom, std::uint64_t>,
  // A timer is over.
  caf::reacts_to<beat_atom, session_timer>>;

/// Where the history of a new actor comes from.
enum class session_origin { created, stored };

/// Runs one session: passes what happens on to its core, and does what the core
/// decides. Never blocks: the strategy runs in slices, and between two of them
/// all others have their turn.
/// @param id the whole id of the session.
/// @param origin whether the first message creates the session, or its history
///        is on disk.
session_impl::behavior_type
session(session_impl::stateful_pointer<session_actor_state> self,
        session_context_ptr context, session_owner_actor owner, std::string id,
        session_origin origin);

/// What `session` is run by. It gives its thread back after a few messages,
/// which may be as many slices of a script: those who share the thread have
/// their turn, while the parts of the node, which never work for long, take all
/// that came for them at once.
class session_runner final
  : public caf::stateful_actor<session_actor_state, session_impl::base> {
public:
  using super = caf::stateful_actor<session_actor_state, session_impl::base>;

  session_runner(caf::actor_config& config, session_context_ptr context,
                 session_owner_actor owner, std::string id,
                 session_origin origin);

  resume_result resume(caf::execution_unit* context,
                       std::size_t max_throughput) override;

protected:
  behavior_type make_behavior() override;

private:
  /// What `make_behavior` passes on.
  std::function<behavior_type()> begin_;
};

} // namespace muster
