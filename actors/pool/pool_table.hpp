// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/pool/pool_document.hpp"
#include "actors/pool/pool_effects.hpp"
#include "actors/pool/settings.hpp"
#include "actors/process/environment.hpp"
#include "actors/process/process_port.hpp"
#include "actors/process/watchdog.hpp"

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace muster {

/// What was done since the start of the node.
struct pool_counters {
  std::uint64_t started = 0;
  /// Workers that never came to be ready.
  std::uint64_t failed = 0;
  /// Workers of an earlier life of the node that were found again.
  std::uint64_t found = 0;
  /// Workers that ended though nobody wanted them to.
  std::uint64_t lost = 0;
  std::uint64_t stopped = 0;
  /// Workers that were killed because they did not answer.
  std::uint64_t hung = 0;
  /// Entries that stood for no worker.
  std::uint64_t pruned = 0;
  std::uint64_t leases = 0;
  std::uint64_t saves = 0;
  std::uint64_t failed_saves = 0;
};

/// What the pool decides. It is told what happened, and says what to do about
/// it, in order; it does nothing itself.
///
/// The intent to start a worker is on disk before its process is, and who it is
/// before anybody gets it: whatever dies in between, nothing is left that
/// nobody finds. A process is signalled only if it is held, and held only if
/// its pid, start time and boot are the ones that are known.
class pool_table {
public:
  // -- constructors -----------------------------------------------------------

  pool_table(const pool_settings& settings, environment env);

  // -- coming to be -----------------------------------------------------------

  /// What is on disk; empty if there is nothing. Until all that it names are
  /// looked for, requests wait.
  [[nodiscard]] pool::effects load(const expected<std::string>& text);

  // -- requests; those with a ticket are answered -----------------------------

  [[nodiscard]] pool::effects list(pool::ticket from);

  [[nodiscard]] pool::effects spawn(pool::ticket from,
                                    const std::string& request_id);

  [[nodiscard]] pool::effects
  take(pool::ticket from, const std::string& session, std::uint64_t seq);

  /// @param sid empty if no worker shall have the session: it is over, or never
  ///        was.
  [[nodiscard]] pool::effects release(const std::string& sid,
                                      const std::string& session);

  /// The same for a worker that has failed its session: it is dead, or hangs.
  [[nodiscard]] pool::effects lose_lease(const std::string& sid,
                                         const std::string& session,
                                         const failure& why);

  /// @param prefix empty means all.
  [[nodiscard]] pool::effects stop(pool::ticket from,
                                   const std::string& prefix);

  /// Looks at every process, and takes out what is dead.
  [[nodiscard]] pool::effects collect(pool::ticket from);

  /// The share of a tick: tries again what failed.
  [[nodiscard]] pool::effects tick(pool::ticket from);

  /// Asks those that it is time for whether they are there.
  [[nodiscard]] pool::effects probe(pool::ticket from);

  // -- slots of groups; each request is answered ------------------------------

  /// Starts the worker of a slot, or gives the one that was started for it.
  [[nodiscard]] pool::effects spawn_slot(pool::ticket from,
                                         const slot_id& slot);

  [[nodiscard]] pool::effects find_slot(pool::ticket from, const slot_id& slot);

  [[nodiscard]] pool::effects stop_slot(pool::ticket from, const slot_id& slot);

  /// Refuses so many workers if there could never be as many.
  [[nodiscard]] pool::effects check_slots(pool::ticket from, std::size_t count);

  /// All workers that occupy slots of any group are in the answer.
  [[nodiscard]] pool::effects list_slots(pool::ticket from);

  // -- the end ----------------------------------------------------------------

  /// An ordered stop of the node: workers live on, but for those that nobody
  /// could find again.
  [[nodiscard]] pool::effects shut_down(pool::ticket from);

  // -- what the disk did ------------------------------------------------------

  [[nodiscard]] pool::effects saved(const expected<void>& result);

  // -- what processes did -----------------------------------------------------

  [[nodiscard]] pool::effects started(const std::string& sid,
                                      const expected<process_identity>& result);

  [[nodiscard]] pool::effects ready(const std::string& sid);

  [[nodiscard]] pool::effects ended(const std::string& sid,
                                    const process_ended& what);

  [[nodiscard]] pool::effects adopted(const std::string& sid,
                                      const expected<void>& result);

  /// @param found who lives under the pid that was asked for; absent if nobody.
  [[nodiscard]] pool::effects
  looked(const std::string& sid,
         const expected<std::optional<process_identity>>& found);

  [[nodiscard]] pool::effects
  identified(const std::string& sid,
             const expected<std::optional<process_identity>>& found);

  [[nodiscard]] pool::effects signal_refused(const std::string& sid,
                                             const failure& why);

  // -- what sockets did -------------------------------------------------------

  [[nodiscard]] pool::effects connecting(const std::string& sid,
                                         const expected<connection_id>& result);

  [[nodiscard]] pool::effects opened(const std::string& sid, connection_id id,
                                     const peer_credentials& peer);

  /// @param what the frame, or why it is none.
  [[nodiscard]] pool::effects heard(const std::string& sid, connection_id id,
                                    const expected<worker_reply>& what);

  [[nodiscard]] pool::effects closed(const std::string& sid, connection_id id,
                                     const failure& why);

  [[nodiscard]] pool::effects send_refused(const std::string& sid);

  /// @param frames that have come on the connection so far.
  [[nodiscard]] pool::effects probed(const std::string& sid, connection_id id,
                                     std::uint64_t frames);

  // -- what the clock did -----------------------------------------------------

  [[nodiscard]] pool::effects on_time();

  /// When `on_time` has something to do; absent if never.
  [[nodiscard]] std::optional<std::int64_t> limit_ns() const;

  // -- properties -------------------------------------------------------------

  /// Whether requests are executed.
  [[nodiscard]] bool is_ready() const {
    return ready_;
  }

  [[nodiscard]] std::size_t size() const {
    return workers_.size();
  }

  /// The process of a worker, if it is known to be that.
  [[nodiscard]] std::optional<process_identity>
  process_of(const std::string& sid) const;

  [[nodiscard]] const pool_counters& counters() const {
    return counters_;
  }

  /// The counters, and how many workers are in which phase.
  [[nodiscard]] json status() const;

private:
  // -- member types -----------------------------------------------------------

  enum class stage {
    /// Waits for its turn to be started.
    queued,
    /// The intent to start it is on its way to disk.
    intending,
    /// Its process runs and is not ready.
    starting,
    /// Is asked who it is.
    greeting,
    /// Who it is, or whose it will be, is on its way to disk.
    recording,
    /// Is looked for after a restart of the node.
    searching,
    /// Waits for somebody who needs it; this side has the connection.
    resting,
    /// A session has it, and the connection.
    leased,
    mismatched,
    unreachable,
    stopping,
  };

  struct worker {
    pool_record record;
    /// The record as it is written; empty if it has changed since.
    std::string text;
    stage at = stage::queued;
    /// Whether it was started for somebody, and has not come to be ready.
    bool is_new = false;
    /// Whether it was never given to a session.
    bool is_fresh = false;
    /// What it was told; empty once it is of no use.
    std::string nonce;
    /// The process that is meant.
    std::optional<process_identity> who;
    bool is_held = false;
    /// 0 if there is none.
    connection_id connection = 0;
    /// Who is at the other end.
    std::int32_t peer = 0;
    /// Which process that is, where nobody knew.
    std::optional<process_identity> answering;
    /// Whether that has said who it is, and that it is of another version.
    bool is_greeted = false;
    bool is_mismatched = false;
    worker_standing standing;
    /// When it has had its time in its stage; 0 if that is endless.
    std::int64_t limit_ns = 0;
    /// When its start has had its time.
    std::int64_t start_limit_ns = 0;
    std::int64_t unused_since_ns = 0;
    watchdog pings;
    /// Whether it hung up before it was ready, and whether somebody killed it
    /// then.
    bool has_hung_up = false;
    bool was_killed_at_start = false;
    /// Whether it ends though it should not.
    bool has_failed = false;
    /// The write of the document that it waits for.
    std::uint64_t written_by = 0;
    stop_ladder ladder{stop_patience{}};
    /// Why it ends.
    std::optional<failure> why;
    /// Why the last signal could not be sent.
    std::optional<failure> refusal;
    /// Why it does not end, once nothing harder is left.
    std::optional<failure> reported;
    std::vector<pool::ticket> spawners;
    std::vector<pool::ticket> stoppers;
  };

  using workers = std::map<std::string, worker>;

  /// A session that waits for its worker.
  struct waiting_take {
    pool::ticket from = 0;
    std::uint64_t seq = 0;
    /// Workers that were killed while they were started for it.
    int killed = 0;
  };

  /// A stop that is not answered.
  struct waiting_stop {
    std::size_t open = 0;
    pool_stop_reply reply;
  };

  /// What waits for one write of the document.
  struct waiting_save {
    std::vector<std::string> workers;
    pool::effects answers;
  };

  /// A look at all processes.
  struct scan {
    std::vector<pool::ticket> tickets;
    std::set<std::string> open;
    std::vector<std::string> dead;
  };

  struct early_request {
    pool::ticket from = 0;
    std::function<void()> what;
  };

  // -- requests ---------------------------------------------------------------

  /// Executes a request, now or once the table is ready.
  pool::effects enter(pool::ticket from, std::function<void()> what);

  void list_now(pool::ticket from);

  void spawn_now(pool::ticket from, const std::string& request_id);

  void take_now(pool::ticket from, const std::string& session,
                std::uint64_t seq);

  void stop_now(pool::ticket from, const std::string& prefix);

  void collect_now(pool::ticket from);

  /// Goes on with a session that waits, if there is one.
  void settle(const std::string& session);

  /// The same, where a worker has the session.
  void settle(const waiting_take& take, worker& holder);

  void lease(const waiting_take& take, worker& w, bool has_session);

  void refuse_take(const std::string& session, const failure& why);

  void stop_holders(const std::string& session);

  /// The worker that was started for a request.
  [[nodiscard]] worker* find_request(const std::string& request_id);

  /// Gives a worker to those who wait for it, once it is ready.
  void answer_with(pool::ticket from, worker& w);

  void end_stop(pool::ticket from, const std::string& sid,
                std::optional<failure> why);

  void end_look(const std::string& sid, bool is_dead);

  // -- starting ---------------------------------------------------------------

  [[nodiscard]] expected<worker*> make_worker(const std::string& request_id);

  /// Writes the intents of those whose turn it is.
  void start_queued();

  [[nodiscard]] std::int64_t next_start_ns() const;

  /// Keeps what the next worker of a session has to know about its last one.
  void note_crash(const std::optional<std::string>& session,
                  const process_exit& end);

  /// Starts another worker for a session whose new one was killed.
  /// @returns false if that has been tried often enough, or nobody waits.
  bool start_again(const std::string& session);

  /// A worker never came to be ready: what was started ends.
  void fail_start(worker& w, failure why);

  void greet_new(worker& w, const worker_greeting& greeting);

  /// What a worker waited for is on disk.
  void recorded(worker& w);

  void not_recorded(worker& w, const failure& why);

  // -- finding again ----------------------------------------------------------

  void begin_search(worker& w, std::int64_t limit_ns);

  /// It gives no sign of life.
  void lose(worker& w);

  /// Whoever answers is not the one.
  void disown(worker& w, const std::string& why);

  void greet_found(worker& w, const worker_greeting& greeting);

  void settle_found(worker& w);

  /// It cannot be talked to; it may be found again.
  /// @param why_not what it does, in words.
  void become_unreachable(worker& w, std::string_view why_not);

  void check_ready();

  // -- watching ---------------------------------------------------------------

  /// Ends a worker that does not answer, at once.
  void kill_hung(worker& w);

  /// Says what happened to it, if it occupies a slot.
  void tell(const worker& w, slot_change what, failure why);

  // -- ending -----------------------------------------------------------------

  /// Stops a worker in steps.
  void begin_stop(worker& w, failure why);

  /// Does what a ladder says.
  void act(worker& w, stop_step step);

  void report(worker& w, failure why);

  /// Takes a worker out that is gone, and tells all who wait for it.
  void drop(worker& w);

  // -- parts ------------------------------------------------------------------

  [[nodiscard]] worker* find(const std::string& sid);

  /// The same for what happened to it, of which nothing is heard once the node
  /// stops.
  [[nodiscard]] worker* find_live(const std::string& sid);

  /// The same, if that connection is the one that this side has.
  [[nodiscard]] worker* find_live(const std::string& sid, connection_id id);

  [[nodiscard]] static worker_phase phase_of(const worker& w);

  [[nodiscard]] static worker_view view_of(const worker& w);

  void move_to(worker& w, stage at, std::int64_t limit_ns = 0);

  /// Lets a worker wait for somebody who needs it.
  void rest(worker& w);

  void set_session(worker& w, std::optional<std::string> session);

  /// Its record has changed.
  void change(worker& w);

  /// Its record has changed, and it waits until that is on disk.
  void record(worker& w, stage at);

  void hang_up(worker& w);

  void remove_socket(const std::string& sid, const std::string& sock);

  // -- answering and writing --------------------------------------------------

  template <class T>
  void emit(T effect) {
    effects_.emplace_back(std::move(effect));
  }

  void answer(pool::effect reply);

  /// Answers once all that happened so far is on disk, or could not be written.
  void answer_when_saved(pool::effect reply);

  void refuse(pool::ticket to, failure why);

  void write_if_due();

  [[nodiscard]] std::string document();

  [[nodiscard]] pool::effects take_effects();

  // -- member variables -------------------------------------------------------

  const pool_settings& settings_;
  environment env_;
  pool_counters counters_;

  workers workers_;
  /// Who has which session. What is found on disk may say the same of several.
  std::unordered_multimap<std::string, std::string> by_session_;
  /// Those that could be given to any session.
  std::set<std::string> idle_;
  /// Those that wait for their turn to be started.
  std::deque<std::string> queue_;
  /// When the next one could be, if all starts had been spread evenly.
  std::int64_t starts_until_ns_ = 0;
  std::set<std::pair<std::int64_t, std::string>> limits_;

  // Requests.
  std::uint64_t waiting_ = 0;
  std::vector<early_request> early_;
  std::map<std::string, waiting_take> takes_;
  std::map<pool::ticket, waiting_stop> stops_;
  std::optional<scan> scan_;

  /// By which signal the last worker of a session crashed.
  std::map<std::string, std::int32_t> crashes_;

  // Life.
  bool loaded_ = false;
  bool ready_ = false;
  std::size_t searching_ = 0;
  std::optional<failure> broken_;
  /// Who ordered the stop; 0 once that is answered.
  std::optional<pool::ticket> closing_;

  // The disk.
  json others_ = json::object();
  /// Whether something has changed since the last write began.
  bool dirty_ = false;
  /// Whether a write is out.
  bool writing_ = false;
  /// Writes that were begun.
  std::uint64_t writes_ = 0;
  /// Whether the last one failed, and nothing has changed since.
  bool unsaved_ = false;
  /// Those who wait for the write that is out, and for the next one.
  waiting_save out_;
  waiting_save next_;

  pool::effects effects_;
};

} // namespace muster
