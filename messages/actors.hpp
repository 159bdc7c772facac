// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/atoms.hpp"
#include "messages/caf_support.hpp"
#include "messages/persistence.hpp"
#include "messages/pod.hpp"
#include "messages/pool.hpp"
#include "messages/receipt.hpp"
#include "messages/recovery.hpp"
#include "messages/session.hpp"

#include <caf/all.hpp>

#include <string>
#include <vector>

// The map of the product: every actor that others may talk to, a line for each
// message. Any request may be answered with an error of `errors.hpp` instead.
// Texts called `id` are session ids or unique beginnings of one, unless the
// line says otherwise. Messages that actors keep to themselves stand beside
// their implementation. What is said here of `node_actor` and of what it takes
// and gives has a number: `interface_version` in interface.hpp.

namespace muster {

// -- protocols that several actors speak --------------------------------------

/// Whoever clients of all versions may ask what they have in front of them.
using greeting_actor = caf::typed_actor<
  // Says what this side is, see `greeting`. Never changes.
  caf::replies_to<hello_atom>::with<std::string>>;

/// Whoever has counters to show.
using reporting_actor = caf::typed_actor<
  // Say how you are doing, to the node.
  caf::reacts_to<report_atom>>;

/// Whoever has a share of each tick.
using ticking_actor = caf::typed_actor<
  // Do what is due now; answer how much that was. Once at a time.
  caf::replies_to<collect_atom>::with<std::uint64_t>>;

/// Whoever knows of processes that could hang.
using probing_actor = caf::typed_actor<
  // Ask those that it is time for whether they are there; answer how many were
  // asked. Once at a time.
  caf::replies_to<probe_atom>::with<std::uint64_t>>;

/// Whoever puts back what died: a handler of the recovery registry.
using recovery_handler_actor = caf::typed_actor<
  // Put back what can be, in the pass of that number, first, but no more slots
  // than that, second; answer which came back since the last answer.
  caf::replies_to<recover_atom, std::uint64_t,
                  std::uint64_t>::with<std::vector<std::uint8_t>>>;

/// Whoever is told what happens to the occupants of slots.
using slot_watcher_actor
  = caf::typed_actor<caf::reacts_to<slot_atom, slot_event>>;

/// Whoever keeps processes that occupy slots.
using slot_keeper_actor = caf::typed_actor<
  // Refuses what could never start, all slots of a group together; what fails
  // today and may not tomorrow is accepted. Starts nothing. The orders are for
  // pods; workers need none. Refused if the document of the keeper is broken.
  caf::replies_to<slot_atom, check_atom,
                  std::vector<pod_order>>::with<caf::ok_atom>,
  // Starts an occupant; answers once it is ready. A repeat gives the same one.
  // The order is for a pod; a worker needs none.
  caf::replies_to<slot_atom, spawn_atom, slot_id,
                  pod_order>::with<slot_occupant>,
  // Gives an occupant that lives. `not_found` means that there is none, nor
  // will there be, unless it is asked for.
  caf::replies_to<slot_atom, find_atom, slot_id>::with<slot_occupant>,
  // Answers once no occupant of that id lives, nor will.
  caf::replies_to<slot_atom, stop_atom, slot_id>::with<caf::ok_atom>,
  // Lists the occupants of a group, given by its id.
  caf::replies_to<slot_atom, list_atom,
                  std::string>::with<std::vector<slot_occupant>>,
  // Tell that one what happens to occupants from now on, and nobody else.
  caf::reacts_to<slot_atom, watch_atom, slot_watcher_actor>>;

/// Whoever watches a session. A client runs one and hands it to `observe`.
using observer_actor = caf::typed_actor<
  // Something happened. Answered by `acknowledge`, or the stream dries up.
  caf::reacts_to<observed_event>,
  // That many events were skipped, because too many were not acknowledged.
  caf::reacts_to<lagged_atom, std::string, std::uint64_t>>;

/// The verbs for sessions. The node passes them on to the registry, and the
/// registry to the session, which answers the client itself.
///
/// The last text of `start`, `spawn` and `feed` is the id of the request, or
/// `once`: a repeat under the same id is given the first answer and is not
/// executed again, for `storage.keep-receipts`. The same id for something else
/// is a `conflict`. All other verbs can be repeated as they are.
using session_verbs = caf::typed_actor<
  // Spawns a session and waits for its first event.
  caf::replies_to<start_atom, session_spec, std::string>::with<session_view>,
  // Spawns a session; answers with its id once it is on disk.
  caf::replies_to<spawn_atom, session_spec, std::string>::with<std::string>,
  // Answers queries. One result for each; those not refused are on disk.
  caf::replies_to<feed_atom, std::string, std::vector<answer>, feed_mode,
                  std::string>::with<feed_reply>,
  // Gives the id of the only query without an answer.
  caf::replies_to<pending_atom, std::string>::with<std::string>,
  // Gives a session as its last committed event left it.
  caf::replies_to<show_atom, std::string>::with<session_view>,
  // Gives state, metrics, log and pending queries of a session as JSON.
  caf::replies_to<snapshot_atom, std::string,
                  snapshot_options>::with<std::string>,
  // Gives the snapshots of all sessions that have not ended, as JSON.
  caf::replies_to<snapshot_atom, snapshot_options>::with<std::string>,
  // Gives prompts and answers of a session from its first, as JSON.
  caf::replies_to<transcript_atom, std::string>::with<std::string>,
  // Gives log lines of a session: those with a number above the given one.
  caf::replies_to<log_atom, std::string,
                  std::uint64_t>::with<std::vector<log_line>>,
  // Ends a session. The first reason counts; a session that has ended stays as
  // it is, which is no error.
  caf::replies_to<cancel_atom, std::string, cancel_reason>::with<session_view>,
  // Waits for the end of a session, or for its next pause. A second wait of the
  // same client replaces its first.
  caf::replies_to<await_atom, std::string, wait_for,
                  caf::actor>::with<session_view>,
  // Sends every event behind the given number to the observer, past ones first,
  // behind the answer. If it observes already, it begins anew.
  caf::replies_to<observe_atom, std::string, std::uint64_t,
                  observer_actor>::with<session_view>,
  // The observer has worked off all events up to this number.
  caf::reacts_to<acknowledge_atom, std::string, std::uint64_t, observer_actor>,
  // The observer wants no more.
  caf::reacts_to<unobserve_atom, std::string, observer_actor>,
  // Lists sessions, newest first.
  caf::replies_to<list_atom, session_list_request>::with<session_page>,
  // Deletes ended sessions that ended this many milliseconds ago or earlier;
  // answers how many.
  caf::replies_to<prune_atom, std::int64_t>::with<std::uint64_t>>;

/// The verbs for state that sessions share, for operators. Those that write end
/// with the id of the request, as in `session_verbs`.
using state_verbs = caf::typed_actor<
  // Lists the namespaces.
  caf::replies_to<spaces_atom>::with<std::vector<state_space>>,
  // Lists keys of a namespace that begin with a text, sorted; at most so many.
  caf::replies_to<list_atom, std::string, std::string,
                  std::uint32_t>::with<std::vector<state_entry>>,
  // Gives a value and its version.
  caf::replies_to<get_atom, state_key>::with<state_value>,
  // Writes a value, given as JSON; answers its new version.
  caf::replies_to<set_atom, state_key, std::string,
                  std::string>::with<std::uint64_t>,
  // Deletes a value; answers whether there was one.
  caf::replies_to<delete_atom, state_key, std::string>::with<bool>>;

/// The verbs for worker processes.
using pool_verbs = caf::typed_actor<
  // Lists the workers, oldest first.
  caf::replies_to<pool_atom, list_atom>::with<std::vector<worker_view>>,
  // Starts a worker that waits for a session; answers once it is ready. The
  // text is the id of the request, as in `session_verbs`.
  caf::replies_to<pool_atom, spawn_atom, std::string>::with<worker_view>,
  // Stops the worker of that id, or of that unique beginning of one; all of
  // them if the text is empty. One that has a session loses nothing: it is
  // replayed in another worker when somebody needs it.
  caf::replies_to<pool_atom, stop_atom, std::string>::with<pool_stop_reply>,
  // Takes out what is dead; answers with the ids of those that were.
  caf::replies_to<pool_atom, collect_atom>::with<std::vector<std::string>>>;

/// The verbs for pods: child agent processes that are lent parts of the file
/// system. Whoever uses them acts for the operator, who may touch all pods.
using pod_verbs = caf::typed_actor<
  // Starts a pod and lends it its scope; answers once it is ready and has taken
  // its task. If it did not take that, the answer is an error, and the pod is
  // there. The text is the id of the request, as in `session_verbs`.
  caf::replies_to<pod_atom, spawn_atom, pod_order, std::string>::with<pod_view>,
  // Lists the pods that live, oldest first.
  caf::replies_to<pod_atom, list_atom>::with<std::vector<pod_view>>,
  // Lets the pod of that name, first, begin a turn with a text; answers with
  // the number of the turn once it has confirmed that. The last text is the id
  // of the request: a pod begins no second turn for it.
  caf::replies_to<pod_atom, send_atom, std::string, std::string,
                  std::string>::with<std::uint64_t>,
  // Gives what a pod has written since that reader read last.
  caf::replies_to<pod_atom, read_atom, pod_read>::with<pod_output>,
  // Stops the pod of that name; answers once it is gone and what it was lent
  // has come back.
  caf::replies_to<pod_atom, stop_atom, std::string>::with<pod_stop_reply>,
  // Who has what, and who lent it.
  caf::replies_to<pod_atom, scopes_atom>::with<scope_listing>,
  // Who may do something at that path.
  caf::replies_to<pod_atom, scopes_atom,
                  std::string>::with<std::vector<scope_holder>>>;

/// The verbs for groups of slots, and for those who put back what died.
using recovery_verbs = caf::typed_actor<
  // Makes a group; answers once it is on disk. Its slots are filled in the
  // passes that follow. The text is the id of the request.
  caf::replies_to<group_atom, create_atom, slot_group_definition,
                  std::string>::with<slot_group_view>,
  // Lists the groups by name.
  caf::replies_to<group_atom, list_atom>::with<std::vector<slot_group_view>>,
  // Gives the group of that name.
  caf::replies_to<group_atom, show_atom, std::string>::with<slot_group_view>,
  // Lets a group have that many slots; answers once that is on disk.
  caf::replies_to<group_atom, scale_atom, std::string,
                  std::uint8_t>::with<slot_group_view>,
  // Forgets the failures of a group: what has to wait does not any longer.
  caf::replies_to<group_atom, reset_atom, std::string>::with<slot_group_view>,
  // Stops all that is in a group, and deletes it; answers once it is gone.
  caf::replies_to<group_atom, delete_atom, std::string>::with<caf::ok_atom>,
  // Lists the handlers in the order of their registrations.
  caf::replies_to<recovery_atom, list_atom>::with<std::vector<handler_view>>,
  // Begins a pass, unless one is running; answers with its result.
  caf::replies_to<recovery_atom, run_atom>::with<recovery_pass>,
  // Adds a handler behind all others; answers how many there are now. It is
  // dropped when its process goes, and may register again.
  caf::replies_to<recovery_atom, register_atom, handler_definition,
                  recovery_handler_actor>::with<std::uint64_t>,
  // Takes the handler of that name out; answers how many there are now.
  caf::replies_to<recovery_atom, remove_atom,
                  std::string>::with<std::uint64_t>>;

// -- the actors ---------------------------------------------------------------

/// The NODE: the one published handle, the front door of all clients.
using node_actor = greeting_actor::extend_with<session_verbs>::extend_with<
  state_verbs>::extend_with<pool_verbs>::extend_with<pod_verbs>::
  extend_with<recovery_verbs>::extend<
    // How the node and each of its parts are doing, as JSON. Answered at once
    // from what the parts said last.
    caf::replies_to<status_atom>::with<std::string>>;

/// Where the parts of a node say how they are doing.
using status_sink_actor = caf::typed_actor<
  // The name of a part and its counters as a JSON object.
  caf::reacts_to<report_atom, std::string, std::string>>;

/// The TICK: beats at an interval and gives every part its share.
using tick_actor = caf::typed_actor<
  // Beats once now, whatever the clock says.
  caf::reacts_to<beat_atom>>;

/// The PERSISTENCE actor: owns every write to disk.
using persistence_actor = state_verbs::extend_with<reporting_actor>::extend<
  // Writes events of a session; answers once they are synced.
  caf::replies_to<commit_atom, commit_request>::with<commit_ack>,
  // Gives everything of a session.
  caf::replies_to<load_atom, std::string>::with<stored_session>,
  // Gives the ids that begin with a text, two at most.
  caf::replies_to<find_atom, std::string>::with<std::vector<std::string>>,
  // Lists sessions, newest first.
  caf::replies_to<list_atom, session_list_request>::with<session_page>,
  // Looks through sessions, oldest first.
  caf::replies_to<scan_atom, scan_request>::with<scan_page>,
  // Deletes sessions, given by whole ids; answers how many there were.
  caf::replies_to<erase_atom, std::vector<std::string>>::with<std::uint64_t>,
  // Gives log lines of a session: those with a number above the given one.
  caf::replies_to<log_atom, std::string,
                  std::uint64_t>::with<std::vector<log_line>>,
  // Writes a JSON document whole, given by its path in the state directory.
  caf::replies_to<save_atom, std::string, std::string>::with<caf::ok_atom>,
  // Gives a JSON document; empty if there is none.
  caf::replies_to<read_atom, std::string>::with<std::string>,
  // Lists the paths of the JSON documents in a folder, sorted.
  caf::replies_to<list_atom, std::string>::with<std::vector<std::string>>,
  // Deletes a JSON document.
  caf::replies_to<remove_atom, std::string>::with<caf::ok_atom>,
  // Gives the kept result of a request that was executed; empty if it was not.
  // `conflict` if something else was asked under its id.
  caf::replies_to<recall_atom, receipt>::with<std::string>,
  // Closes everything behind what was asked before. The last message.
  caf::replies_to<stop_atom>::with<caf::ok_atom>>;

/// The SESSION REGISTRY: knows which sessions are active and activates others.
/// In its share of a tick it looks through some of its sessions, ends those
/// that nobody came back to and deletes those that ended long ago.
using session_registry_actor = session_verbs::extend_with<reporting_actor>::
  extend_with<ticking_actor>::extend<
    // Takes no new work, lets every session finish its commit, and stops them.
    caf::replies_to<stop_atom>::with<caf::ok_atom>>;

/// The POOL REGISTRY: knows the worker processes, finds them again after a
/// restart of the node, and starts and stops them. What it answers about them
/// is on disk. A broken `registry.json` is the answer to all of its requests.
using pool_registry_actor = pool_verbs::extend_with<
  reporting_actor>::extend_with<ticking_actor>::extend_with<probing_actor>::
  extend_with<slot_keeper_actor>::extend<
    // Gives a session, by its whole id, a worker: the one that has it, if that
    // stands at rest behind the event of that number; otherwise one that waits,
    // or a new one, and what had the session before is gone by then.
    caf::replies_to<take_atom, std::string, std::uint64_t>::with<worker_lease>,
    // Ends the worker, first, or if that is empty any, of the session, second.
    caf::reacts_to<release_atom, std::string, std::string>,
    // Ends a worker that has failed the session, second: why.
    caf::reacts_to<release_atom, std::string, std::string, failure>,
    // Takes no new work. Workers live on, but for those that nobody could find
    // again.
    caf::replies_to<stop_atom>::with<caf::ok_atom>>;

/// The SPAWNED-POD REGISTRY: knows the pods and what they are lent, finds them
/// again after a restart of the node, and starts and stops them. What it
/// answers about them is on disk. A broken `pods.json` is the answer to all of
/// its requests.
using spawned_pod_registry_actor
  = pod_verbs::extend_with<reporting_actor>::extend_with<ticking_actor>::
    extend_with<probing_actor>::extend_with<slot_keeper_actor>::extend<
      // Takes no new work. Pods live on, but for those that nobody could find
      // again.
      caf::replies_to<stop_atom>::with<caf::ok_atom>>;

/// The RECOVERY REGISTRY: knows who puts back what died, and asks them all in
/// its share of a tick, and sooner if something has died. Knows the groups,
/// which are among them.
using recovery_registry_actor = recovery_verbs::extend_with<reporting_actor>::
  extend_with<ticking_actor>::extend_with<slot_watcher_actor>::extend<
    // Starts nothing any more. What occupies slots lives on.
    caf::replies_to<stop_atom>::with<caf::ok_atom>>;

/// A SLOT GROUP. Its handle never leaves the node; the registry passes on what
/// clients ask, without the name.
using slot_group_actor
  = recovery_handler_actor::extend_with<slot_watcher_actor>::extend<
    caf::replies_to<group_atom, show_atom>::with<slot_group_view>,
    caf::replies_to<group_atom, scale_atom,
                    std::uint8_t>::with<slot_group_view>,
    caf::replies_to<group_atom, reset_atom>::with<slot_group_view>,
    // Stops all that is in it, and deletes it; then the actor ends.
    caf::replies_to<group_atom, delete_atom>::with<caf::ok_atom>,
    // Starts and stops nothing any more.
    caf::reacts_to<stop_atom>>;

/// A SESSION. Its handle never leaves the node; the registry passes on what
/// clients ask, without the id.
using session_actor = caf::typed_actor<
  // Goes to its first event and answers with it.
  caf::replies_to<start_atom, session_spec, std::string>::with<session_view>,
  // Answers with the id once the session is on disk.
  caf::replies_to<spawn_atom, session_spec, std::string>::with<std::string>,
  // As in `session_verbs`, from here on.
  caf::replies_to<feed_atom, std::vector<answer>, feed_mode,
                  std::string>::with<feed_reply>,
  caf::replies_to<pending_atom>::with<std::string>,
  caf::replies_to<show_atom>::with<session_view>,
  caf::replies_to<snapshot_atom, snapshot_options>::with<std::string>,
  caf::replies_to<transcript_atom>::with<std::string>,
  caf::replies_to<log_atom, std::uint64_t>::with<std::vector<log_line>>,
  caf::replies_to<cancel_atom, cancel_reason>::with<session_view>,
  caf::replies_to<await_atom, wait_for, caf::actor>::with<session_view>,
  // Waits for the next pause or the end, for a repeated `start`.
  caf::replies_to<await_atom>::with<session_view>,
  caf::replies_to<observe_atom, std::uint64_t,
                  observer_actor>::with<session_view>,
  caf::reacts_to<acknowledge_atom, std::uint64_t, observer_actor>,
  caf::reacts_to<unobserve_atom, observer_actor>,
  // Ends the session because nobody came back to it since the event of that
  // number. If somebody did, the session stays.
  caf::replies_to<collect_atom, std::uint64_t>::with<session_view>,
  // Give back the virtual machine, if it is only waiting.
  caf::reacts_to<expire_atom>,
  // End the actor, unless somebody needs it; then say so with `stay`.
  caf::reacts_to<leave_atom>,
  // End the actor when the commit that is out is done, whoever needs it.
  caf::reacts_to<stop_atom>>;

} // namespace muster
