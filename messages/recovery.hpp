// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/errors.hpp"
#include "messages/pod.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace muster {

// -- how often something is tried again ---------------------------------------

/// How often, and how soon, something that fails is tried again.
struct restart_policy {
  /// The delay behind the first failure; 0 means none behind any.
  std::chrono::milliseconds initial{500};
  /// Each further delay is this many times the one before,
  std::uint32_t factor = 2;
  /// and none is longer than this.
  std::chrono::milliseconds max = std::chrono::seconds(60);
  /// Which part of a delay chance may take away, so that those that failed
  /// together do not come back together, not even at the longest delay.
  std::uint32_t jitter_percent = 20;
  /// What runs this long from its start to its failure has been fine: its next
  /// delay is the first one again.
  std::chrono::milliseconds stable_run = std::chrono::seconds(60);
  /// The failure that makes this many in a period is not followed by a delay,
  /// but by the pause; 0 means that none is.
  std::uint32_t max_restarts = 5;
  std::chrono::milliseconds period = std::chrono::seconds(60);
  std::chrono::milliseconds pause = std::chrono::minutes(5);
  /// Whether it is never tried again instead, before somebody says so.
  bool gives_up = false;

  friend bool operator==(const restart_policy&, const restart_policy&)
    = default;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, restart_policy& x) {
  return f(x.initial, x.factor, x.max, x.jitter_percent, x.stable_run,
           x.max_restarts, x.period, x.pause, x.gives_up);
}

/// Refuses a policy that makes no sense.
/// @returns `invalid_argument` naming the option.
[[nodiscard]] expected<void> check(const restart_policy& policy);

// -- groups -------------------------------------------------------------------

/// What occupies the slots of a group.
enum class slot_kind : std::uint8_t { worker = 1, pod };

[[nodiscard]] std::string_view to_string(slot_kind x);

/// How a slot is.
enum class slot_health : std::uint8_t {
  empty = 1,
  /// Its occupant is on its way, or is looked for after a restart of the node.
  starting,
  healthy,
  /// Its occupant lives and does not do well.
  unhealthy,
  /// Its occupant has failed; the next one has to wait.
  backing_off,
  /// Its occupants failed too often, and nobody has reset it.
  failed,
  /// Its occupant shall end, and has not yet.
  stopping,
};

[[nodiscard]] std::string_view to_string(slot_health x);

/// Stands for the index of a slot in what the pods of a group run.
inline constexpr std::string_view slot_placeholder = "{slot}";

/// What somebody wants to be kept alive.
struct slot_group_definition {
  /// 1 to 44 of what the name of a pod may have: the pod in slot 3 of `crew` is
  /// `crew-3`.
  std::string name;
  slot_kind kind = slot_kind::worker;
  std::uint8_t slots = 0;
  /// What each slot of a group of pods runs. Its name, its lender and its
  /// environment are empty; `{slot}` in its task, in its scope, in its working
  /// folder and in its command stands for the index of the slot.
  pod_order pod;
  restart_policy policy;

  friend bool
  operator==(const slot_group_definition&, const slot_group_definition&)
    = default;
};

template <class Inspector>
typename Inspector::result_type
inspect(Inspector& f, slot_group_definition& x) {
  return f(x.name, x.kind, x.slots, x.pod, x.policy);
}

/// @returns `invalid_argument`.
[[nodiscard]] expected<void> check(const slot_group_definition& what);

/// What is known about a slot.
struct slot_view {
  std::uint8_t index = 0;
  slot_health health = slot_health::empty;
  /// Which occupant of the group that is; no two have the same.
  std::uint64_t term = 0;
  /// The id of the worker, or of the pod; empty if there is none.
  std::string occupant;
  /// Of its process; 0 if there is none.
  std::int32_t pid = 0;
  /// The session that a worker has.
  std::optional<std::string> session;
  /// Starts behind a failure.
  std::uint64_t restarts = 0;
  /// How long its next start has to wait.
  std::int64_t backoff_ms = 0;
  std::string last_error;

  friend bool operator==(const slot_view&, const slot_view&) = default;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, slot_view& x) {
  return f(x.index, x.health, x.term, x.occupant, x.pid, x.session, x.restarts,
           x.backoff_ms, x.last_error);
}

/// One group.
struct slot_group_view {
  slot_group_definition definition;
  /// Whether it is on its way out.
  bool is_deleted = false;
  /// All slots, also those that are on their way out.
  std::vector<slot_view> slots;
  /// Why it cannot be kept: its document is damaged, and nothing but its name
  /// is known. Empty if it is sound.
  std::string error;

  friend bool operator==(const slot_group_view&, const slot_group_view&)
    = default;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, slot_group_view& x) {
  return f(x.definition, x.is_deleted, x.slots, x.error);
}

// -- handlers -----------------------------------------------------------------

/// What becomes of a handler that fails or goes down.
enum class handler_policy : std::uint8_t {
  /// It is asked no more.
  evict = 1,
  /// It is asked again later and later.
  quarantine,
  /// It is asked no more, and the node ends. Only for handlers of the node.
  escalate,
};

[[nodiscard]] std::string_view to_string(handler_policy x);

/// Somebody who puts back what died.
struct handler_definition {
  std::string name;
  handler_policy policy = handler_policy::evict;
  /// How long a pass waits for it.
  std::chrono::milliseconds deadline{200};
  /// The connected peer that it lives on; empty for the node itself, which
  /// fills it in.
  std::string owner = {};

  friend bool operator==(const handler_definition&, const handler_definition&)
    = default;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, handler_definition& x) {
  return f(x.name, x.policy, x.deadline, x.owner);
}

/// What is known about a handler.
struct handler_view {
  std::string name;
  handler_policy policy = handler_policy::evict;
  /// The connected peer that it lives on; empty for the node itself.
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

  friend bool operator==(const handler_view&, const handler_view&) = default;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, handler_view& x) {
  return f(x.name, x.policy, x.owner, x.runs, x.recovered, x.last_ms, x.is_late,
           x.times_late, x.quarantine_ms, x.last_error);
}

/// A slot that was put back, and by whom.
struct recovered_slot {
  std::string handler;
  std::uint8_t index = 0;

  friend bool operator==(const recovered_slot&, const recovered_slot&)
    = default;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, recovered_slot& x) {
  return f(x.handler, x.index);
}

/// What came of one pass. All in the order of registrations.
struct recovery_pass {
  std::uint64_t number = 0;
  std::vector<recovered_slot> slots;
  /// The names of those that the pass did not wait for any longer,
  std::vector<std::string> late;
  /// and of those that failed or went down in it.
  std::vector<std::string> failed;

  /// The slots alone, as a registry without names would give them.
  [[nodiscard]] std::vector<std::uint8_t> indices() const;

  friend bool operator==(const recovery_pass&, const recovery_pass&) = default;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, recovery_pass& x) {
  return f(x.number, x.slots, x.late, x.failed);
}

// -- what groups and the keepers of processes say to each other ---------------

/// Names one occupant of one slot, for ever.
struct slot_id {
  /// Of the group, see `make_group_id`: one that is made again under the same
  /// name is another.
  std::string group;
  std::uint8_t index = 0;
  std::uint64_t term = 0;

  friend bool operator==(const slot_id&, const slot_id&) = default;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, slot_id& x) {
  return f(x.group, x.index, x.term);
}

/// `slot:<group>:<index>:<term>`: the id of the request that starts the
/// occupant. No client may use one that begins like this.
[[nodiscard]] std::string to_string(const slot_id& x);

/// The same, read back; absent if that is no such text.
[[nodiscard]] std::optional<slot_id> slot_id_from(std::string_view text);

/// Whether a request id is one that only groups may use.
[[nodiscard]] bool is_slot_request(std::string_view request_id);

/// The same as a refusal, for whoever gives that id to a request of his own.
/// @returns `invalid_argument`; absent if the id is fine.
[[nodiscard]] std::optional<failure>
refuse_slot_request(std::string_view request_id);

/// Who occupies a slot.
struct slot_occupant {
  slot_id slot;
  /// The id of the worker, or of the pod.
  std::string id;
  /// Of its process; 0 if that is not known yet.
  std::int32_t pid = 0;
  /// The session that a worker has.
  std::optional<std::string> session;

  friend bool operator==(const slot_occupant&, const slot_occupant&) = default;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, slot_occupant& x) {
  return f(x.slot, x.id, x.pid, x.session);
}

/// What may happen to an occupant.
enum class slot_change : std::uint8_t {
  /// It has ended, and nobody wanted it to.
  ended = 1,
  /// It has ended as it should: its session is over, or a client has stopped
  /// it.
  released,
  /// It lives, and does not answer.
  unhealthy,
  /// It answers again.
  healthy,
};

/// Something happened to an occupant.
struct slot_event {
  slot_id slot;
  slot_change what = slot_change::ended;
  /// Why it ended, or what is wrong with it.
  failure why;

  friend bool operator==(const slot_event&, const slot_event&) = default;
};

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, slot_event& x) {
  return f(x.slot, x.what, x.why);
}

} // namespace muster
