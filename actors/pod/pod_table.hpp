// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/pod/pod_document.hpp"
#include "actors/pod/pod_effects.hpp"
#include "actors/pod/scope_table.hpp"
#include "actors/pod/settings.hpp"
#include "actors/process/environment.hpp"
#include "actors/process/process_port.hpp"
#include "actors/process/watchdog.hpp"

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace muster {

/// What was done since the start of the node.
struct pod_counters {
  std::uint64_t started = 0;
  /// Pods that never came to be ready.
  std::uint64_t failed = 0;
  /// Pods of an earlier life of the node that were found again.
  std::uint64_t found = 0;
  /// Pods of an earlier life that were not; what they had was reclaimed.
  std::uint64_t reclaimed = 0;
  /// Pods that ended though nobody here wanted them to.
  std::uint64_t ended = 0;
  std::uint64_t stopped = 0;
  /// How often one did not answer any more.
  std::uint64_t hung = 0;
  std::uint64_t saves = 0;
  std::uint64_t failed_saves = 0;
};

/// What somebody read of an output; see `pod::read_output`.
struct output_piece {
  std::vector<std::string> texts;
  output_cursor to;
  std::uint64_t skipped = 0;
  bool more = false;
};

/// What is decided about pods. It is told what happened, and says what to do
/// about it, in order; it does nothing itself.
///
/// What a pod is lent is on disk before its process is, and comes back only
/// once its process and all that it left behind are gone: whatever dies in
/// between, nobody else is lent what a living process may still write to.
class pod_table {
public:
  // -- constructors -----------------------------------------------------------

  pod_table(const pod_settings& settings, environment env);

  // -- coming to be -----------------------------------------------------------

  /// What is on disk; empty if there is nothing. Until all that it names are
  /// looked for, requests wait.
  [[nodiscard]] pod::effects load(const expected<std::string>& text);

  // -- requests: each is answered. `by` is who asks: a pod may touch only those
  // -- that it has lent to, whoever runs the node all of them.

  [[nodiscard]] pod::effects list(pod::ticket from, const std::string& by);

  /// @param order its paths must be canonical.
  [[nodiscard]] pod::effects spawn(pod::ticket from, const std::string& by,
                                   const pod_order& order,
                                   const std::string& request_id);

  [[nodiscard]] pod::effects
  send(pod::ticket from, const std::string& by, const std::string& name,
       const std::string& text, const std::string& request_id);

  /// @param at where to read; absent means where that reader is, who goes on.
  [[nodiscard]] pod::effects
  read(pod::ticket from, const std::string& by, const std::string& name,
       const std::string& reader, const std::optional<output_cursor>& at);

  [[nodiscard]] pod::effects stop(pod::ticket from, const std::string& by,
                                  const std::string& name);

  [[nodiscard]] pod::effects scopes(pod::ticket from);

  /// @param path must be canonical.
  [[nodiscard]] pod::effects holders(pod::ticket from, const std::string& path);

  /// The share of a tick: tries again what failed.
  [[nodiscard]] pod::effects tick(pod::ticket from);

  /// Asks those that it is time for whether they are there.
  [[nodiscard]] pod::effects probe(pod::ticket from);

  // -- slots of groups; each request is answered ------------------------------

  /// Starts the pod of a slot, lent to by the operator, or gives the one that
  /// was started for it and lives.
  /// @param order its paths must be canonical.
  [[nodiscard]] pod::effects spawn_slot(pod::ticket from, const slot_id& slot,
                                        const pod_order& order);

  /// Refuses orders that could never be carried out, or not together, whatever
  /// anybody else is lent.
  /// @param orders their paths must be canonical.
  [[nodiscard]] pod::effects check_slots(pod::ticket from,
                                         const std::vector<pod_order>& orders);

  [[nodiscard]] pod::effects find_slot(pod::ticket from, const slot_id& slot);

  [[nodiscard]] pod::effects stop_slot(pod::ticket from, const slot_id& slot);

  /// All pods that occupy slots of any group are in the answer.
  [[nodiscard]] pod::effects list_slots(pod::ticket from);

  // -- the end ----------------------------------------------------------------

  /// An ordered stop of the node: pods live on, but for those that nobody could
  /// find again.
  [[nodiscard]] pod::effects shut_down(pod::ticket from);

  // -- what the disk did ------------------------------------------------------

  [[nodiscard]] pod::effects saved(const expected<void>& result);

  [[nodiscard]] pod::effects output_read(pod::ticket to,
                                         const expected<output_piece>& piece);

  // -- what processes did -----------------------------------------------------

  [[nodiscard]] pod::effects started(const std::string& id,
                                     const expected<process_identity>& result);

  /// @param enforced what the kernel enforces.
  [[nodiscard]] pod::effects ready(const std::string& id,
                                   const std::string& enforced);

  [[nodiscard]] pod::effects ended(const std::string& id,
                                   const process_ended& what);

  [[nodiscard]] pod::effects adopted(const std::string& id,
                                     const expected<void>& result);

  /// @param found who lives there, or was started as that pod; absent if
  ///        nobody.
  [[nodiscard]] pod::effects
  looked(const std::string& id,
         const expected<std::optional<process_identity>>& found);

  [[nodiscard]] pod::effects signal_refused(const std::string& id,
                                            const failure& why);

  /// @param is_clean whether nothing is left of it; an error means that nobody
  ///        knows.
  [[nodiscard]] pod::effects swept(const std::string& id,
                                   const expected<bool>& is_clean);

  // -- what sockets did -------------------------------------------------------

  [[nodiscard]] pod::effects connecting(const std::string& id,
                                        const expected<connection_id>& result);

  /// @param is_own absent if nobody knows yet; otherwise whether the process at
  ///        the other end was started as that
  ///        pod.
  [[nodiscard]] pod::effects opened(const std::string& id, connection_id on,
                                    std::optional<bool> is_own);

  /// @param what the frame, or why it is none.
  [[nodiscard]] pod::effects heard(const std::string& id, connection_id on,
                                   const expected<pod::from_pod>& what);

  [[nodiscard]] pod::effects closed(const std::string& id, connection_id on,
                                    const failure& why);

  [[nodiscard]] pod::effects send_refused(const std::string& id);

  /// @param frames that have come on the connection so far.
  [[nodiscard]] pod::effects probed(const std::string& id, connection_id on,
                                    std::uint64_t frames);

  // -- what the clock did -----------------------------------------------------

  [[nodiscard]] pod::effects on_time();

  /// When `on_time` has something to do; absent if never.
  [[nodiscard]] std::optional<std::int64_t> limit_ns() const;

  // -- properties -------------------------------------------------------------

  /// Whether requests are executed.
  [[nodiscard]] bool is_ready() const {
    return ready_;
  }

  [[nodiscard]] std::size_t size() const {
    return pods_.size();
  }

  /// Whether a pod was started and is not ready yet.
  [[nodiscard]] bool is_new(const std::string& id) const {
    auto i = pods_.find(id);
    return i != pods_.end() && i->second.is_new;
  }

  [[nodiscard]] const scope_table& table() const {
    return scopes_;
  }

  /// Pods that were not found again after the start, whose loans came back.
  [[nodiscard]] const std::vector<std::string>& reclaimed() const {
    return reclaimed_;
  }

  [[nodiscard]] const pod_counters& counters() const {
    return counters_;
  }

  [[nodiscard]] json status() const;

private:
  // -- constants --------------------------------------------------------------

  /// What a pod may have to hear before no more is kept for it. Its children
  /// keep what is not confirmed to them, and it gets no others.
  static constexpr std::size_t max_notices = 128;

  // -- member types -----------------------------------------------------------

  enum class stage {
    /// What it is lent is on its way to disk.
    intending,
    /// Its process runs, and has not started its program.
    starting,
    /// It is asked whether it is there.
    greeting,
    /// It was given its task.
    tasking,
    /// Is looked for after a restart of the node.
    searching,
    live,
    unreachable,
    stopping,
    /// Its process is gone; what it left behind is looked for.
    sweeping,
  };

  /// A turn that somebody asked for.
  struct waiting_run {
    /// 0 for the task that it was started with.
    pod::ticket from = 0;
    std::int64_t limit_ns = 0;
    /// Whether its lender did.
    bool is_lenders = true;
  };

  struct entry {
    pod_record record;
    /// The record as it stands on disk, if it is damaged; otherwise null.
    json damaged;
    /// The record as it is written; empty if it has changed since.
    std::string text;
    stage at = stage::intending;
    /// What it was started with, until it is ready.
    pod_order order;
    bool is_new = false;
    bool is_held = false;
    /// Whether it was not found again after a restart of the node.
    bool is_missing = false;
    /// Whether it ends because somebody asked for that.
    bool is_released = false;
    /// Whether it became its program.
    bool has_started = false;
    /// Whether who it is, is on disk.
    bool is_recorded = false;
    /// Whether it answered on this connection.
    bool is_greeted = false;
    /// Whether an event of this connection was not kept; then none behind it
    /// is, until it says them all again.
    bool is_behind = false;
    /// 0 if there is none.
    connection_id connection = 0;
    std::uint64_t last_ping = 0;
    watchdog pings;
    /// When it has had its time in its stage; 0 if that is endless.
    std::int64_t limit_ns = 0;
    /// When it has had its time to start, or to say who it is.
    std::int64_t start_limit_ns = 0;
    /// When what it left behind should be gone.
    std::int64_t sweep_limit_ns = 0;
    /// Whether that was over, and it was not.
    bool is_stuck = false;
    stop_ladder ladder{stop_patience{}};
    /// Why it ends, or how it did.
    std::optional<failure> why;
    std::optional<failure> refusal;
    /// Why it does not end, once nothing harder is left.
    std::optional<failure> reported;
    /// Why its task was not taken.
    std::optional<failure> task_failure;
    /// The last notice that it was told of on this connection.
    std::uint64_t told = 0;
    std::map<std::string, waiting_run> runs;
    /// The turn that runs if somebody else than its lender has asked for it, as
    /// far as that is known: what comes of it is no news for the lender.
    std::uint64_t foreign_turn = 0;
    /// The last turn that began, if that is known: not behind a connection that
    /// was lost.
    std::optional<std::uint64_t> newest_turn;
    std::vector<pod::ticket> spawners;
    std::vector<pod::ticket> stoppers;
  };

  /// An answer that waits for the disk. If that fails it is refused.
  struct waiting_answer {
    pod::ticket to = 0;
    pod::effect reply;
    /// What has to be undone if the disk fails.
    std::function<void()> undo;
  };

  /// What waits for one write of the document.
  struct waiting_save {
    std::vector<std::string> pods;
    std::vector<waiting_answer> answers;
    /// What is done if it succeeds.
    pod::effects then;
  };

  struct early_request {
    pod::ticket from = 0;
    std::function<void()> what;
  };

  struct waiting_read {
    std::string id;
    std::string name;
    std::string reader;
    output_cursor from;
    /// Whether the reader goes on.
    bool advances = false;
  };

  // -- requests ---------------------------------------------------------------

  pod::effects enter(pod::ticket from, std::function<void()> what);

  void spawn_now(pod::ticket from, const std::string& by,
                 const pod_order& order, const std::string& request_id);

  /// Refuses what could never be started, whatever else there is.
  [[nodiscard]] expected<void> check_order(const pod_order& order) const;

  [[nodiscard]] expected<entry*> make(const std::string& by,
                                      const pod_order& order,
                                      const std::string& request_id);

  void send_now(pod::ticket from, const std::string& by,
                const std::string& name, const std::string& text,
                const std::string& request_id);

  void read_now(pod::ticket from, const std::string& by,
                const std::string& name, const std::string& reader,
                const std::optional<output_cursor>& at);

  void stop_now(pod::ticket from, const std::string& by,
                const std::string& name);

  /// Ends all processes of a pod whose record is damaged; then its loans come
  /// back.
  void stop_broken(pod::ticket from, std::vector<broken_pod>::iterator pod);

  /// The pod that was started for a request, if it lives.
  [[nodiscard]] entry* find_request(const std::string& request_id);

  /// Gives a pod to those who wait for it, once it is ready.
  void answer_with(pod::ticket from, entry& e);

  // -- coming to be -----------------------------------------------------------

  [[nodiscard]] expected<void> restore(pod_document document);

  void check_ready();

  /// Goes on with a new pod as far as what happened allows.
  void advance(entry& e);

  void become_ready(entry& e);

  void fail_start(entry& e, failure why);

  // -- finding again ----------------------------------------------------------

  void seek(entry& e, std::int64_t limit_ns);

  /// Looks whether its process is there.
  void look(const entry& e);

  void found(entry& e);

  void lose(entry& e, const failure& why);

  // -- talking ----------------------------------------------------------------

  void greet(entry& e);

  void begin_run(entry& e, const std::string& id, const std::string& text,
                 waiting_run run);

  void end_run(entry& e, const std::string& id, std::optional<failure> why,
               std::uint64_t turn);

  /// A turn begins. If it is not certain that it is a foreign one, it is none:
  /// a lender is told too much rather than too little.
  void note_turn(entry& e, bool is_lenders, std::uint64_t turn);

  /// Nobody knows what became of the turns that were asked for.
  void drop_runs(entry& e, const std::string& why);

  void keep_event(entry& e, std::uint64_t id, const char* kind,
                  const std::string& message, bool is_foreign);

  /// Tells a pod what it has not heard on this connection.
  void tell(entry& e);

  void note(entry& to, std::string kind, std::string pod_name,
            std::string message);

  void hang_up(entry& e);

  /// Its connection is of no use any more.
  void disconnect(entry& e, const failure& why);

  /// Whether whoever has lent to it can be told more of it.
  [[nodiscard]] bool has_room(const entry& e);

  // -- watching ---------------------------------------------------------------

  /// A live pod does not answer; it may do so again.
  void become_unreachable(entry& e, failure why);

  /// Says what happened to it, if it occupies a slot.
  void tell(const entry& e, slot_change what, failure why);

  // -- ending -----------------------------------------------------------------

  void begin_stop(entry& e, failure why, stop_patience patience);

  void act(entry& e, stop_step step);

  void report(entry& e, failure why);

  void begin_sweep(entry& e);

  /// Takes a pod out that is gone; what it was lent comes back.
  void drop(entry& gone);

  // -- parts ------------------------------------------------------------------

  [[nodiscard]] entry* find(const std::string& id);

  [[nodiscard]] entry* find_live(const std::string& id);

  [[nodiscard]] entry* find_live(const std::string& id, connection_id on);

  /// The pod of that name, if whoever asks may touch it.
  [[nodiscard]] entry* find_named(const std::string& by,
                                  const std::string& name);

  [[nodiscard]] ended_pod* find_ended(const std::string& by,
                                      const std::string& name);

  [[nodiscard]] std::string lender_of(const std::string& name) const;

  /// The pod that has lent to another one; null if that is no pod.
  [[nodiscard]] entry* lender_entry(const std::string& name);

  [[nodiscard]] static pod_phase phase_of(const entry& e);

  [[nodiscard]] pod_view view_of(const pod_record& x, pod_phase phase) const;

  [[nodiscard]] pod_view view_of(const entry& e) const;

  [[nodiscard]] pod_view view_of(const ended_pod& x) const;

  [[nodiscard]] std::string folder_of(const std::string& id) const;

  void move_to(entry& e, stage at, std::int64_t limit_ns = 0);

  /// Its record has changed.
  void change(entry& e);

  /// The same, and it waits until that is on disk.
  void record(entry& e);

  [[nodiscard]] std::int64_t after(std::chrono::milliseconds time) const;

  // -- answering and writing --------------------------------------------------

  template <class T>
  void emit(T effect) {
    effects_.emplace_back(std::move(effect));
  }

  void answer(pod::effect reply);

  /// Whether something has to be written before anybody hears of it.
  bool needs_write();

  /// Answers once all that happened so far is on disk.
  void answer_when_saved(pod::ticket to, pod::effect reply);

  void refuse(pod::ticket to, failure why);

  void write_if_due();

  [[nodiscard]] std::string document();

  [[nodiscard]] std::string mirror() const;

  [[nodiscard]] pod::effects take_effects();

  // -- member variables -------------------------------------------------------

  const pod_settings& settings_;
  environment env_;
  pod_counters counters_;
  scope_table scopes_;

  /// By id.
  std::map<std::string, entry> pods_;
  /// The ids of those, by name.
  std::map<std::string, std::string> names_;
  std::deque<ended_pod> ended_;
  std::vector<broken_pod> broken_pods_;
  std::set<std::pair<std::int64_t, std::string>> limits_;
  /// When turns that were asked for have had their time: pod and run.
  std::set<std::tuple<std::int64_t, std::string, std::string>> run_limits_;

  // Requests.
  std::uint64_t waiting_ = 0;
  std::vector<early_request> early_;
  std::map<pod::ticket, waiting_read> reads_;
  /// Readers whose request is under way: pod and reader.
  std::set<std::pair<std::string, std::string>> readers_;
  /// Those of them that wait for the disk.
  std::map<pod::ticket, std::pair<std::string, std::string>> readers_out_;

  // Life.
  bool loaded_ = false;
  bool ready_ = false;
  std::size_t searching_ = 0;
  std::vector<std::string> reclaimed_;
  std::optional<failure> broken_;
  /// Who ordered the stop; 0 once that is answered.
  std::optional<pod::ticket> closing_;

  // The disk.
  json others_ = json::object();
  bool dirty_ = false;
  bool writing_ = false;
  /// Whether the last write failed, and nothing has changed since.
  bool unsaved_ = false;
  waiting_save out_;
  waiting_save next_;
  /// Those who have something to hear once it is on disk.
  std::set<std::string> listeners_;

  pod::effects effects_;
};

} // namespace muster
