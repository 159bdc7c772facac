// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "tests/support/simulated_disk.hpp"
#include "tests/support/simulated_workers.hpp"

#include "actors/node/node.hpp"
#include "actors/session/session_registry.hpp"

#include "messages/actors.hpp"

#include <caf/all.hpp>
#include <caf/scheduler/test_coordinator.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace muster::test {

/// A whole node on the deterministic scheduler, with a simulated disk, a clock
/// that only a test moves, and randomness that a seed decides. Takes no real
/// time. Can die in every way and be started again.
class node_bench {
public:
  // -- constructors and destructors -------------------------------------------

  explicit node_bench(std::uint64_t seed = 1);

  ~node_bench();

  node_bench(const node_bench&) = delete;

  node_bench& operator=(const node_bench&) = delete;

  // -- what can be set before `start` -----------------------------------------

  node_settings settings;

  simulated_disk disk;

  /// The workers of the pool. They outlive the node, and not the power.
  std::shared_ptr<simulated_workers> workers;

  /// What the wall clock is ahead of the steady one. May be changed at any
  /// time: the clock jumps.
  std::int64_t wall_offset_ms = 1'700'000'000'000;

  /// Called whenever the wall clock is read, if set. May be changed at any
  /// time.
  std::function<void()> on_wall_clock;

  /// Whether the node is set up for clients elsewhere, on a network that only
  /// the test moves; see `remote_bench`.
  bool has_network = false;

  /// Whether `start` lets everybody work.
  bool run_at_start = true;

  /// Messages after which `run` gives up on endless scripts.
  std::size_t run_limit = 200'000;

  /// Messages for which `ask` lets everybody work behind the answer.
  std::size_t linger = 500;

  // -- life of the node -------------------------------------------------------

  /// Starts the node.
  /// @returns why that was not possible.
  expected<void> start();

  /// Starts the node, which must work.
  void require_start();

  /// The process is killed: nothing that is under way is finished.
  void kill();

  /// The power is cut: what was not synced may be gone.
  void cut_power();

  /// The node is told to stop, and does.
  void stop();

  [[nodiscard]] bool is_running() const {
    return system_ != nullptr;
  }

  /// Whether the node ended by itself: its process would be gone.
  [[nodiscard]] bool has_died() const {
    return died_ && *died_;
  }

  // -- running ----------------------------------------------------------------

  /// Lets all actors work off their messages. Endless scripts are given up on
  /// after so many; 0 stands for `run_limit`.
  /// @returns how many messages there were.
  std::size_t run(std::size_t max_messages = 0);

  /// Lets one actor, that chance picks, work off one message.
  /// @returns whether there was one.
  bool run_one(std::mt19937_64& random);

  /// Moves the clock on, in small steps, and lets everybody work.
  void advance(std::chrono::milliseconds time);

  /// Moves the clock on at once. Messages that are due now are there, and
  /// nothing runs yet.
  void move_clock(std::chrono::milliseconds time);

  [[nodiscard]] std::int64_t wall_ms() const;

  /// Milliseconds of the clock that never jumps.
  [[nodiscard]] std::int64_t steady_ms() const {
    return steady_ns_ / 1'000'000;
  }

  // -- requests ---------------------------------------------------------------

  /// An answer that comes sooner or later.
  template <class T>
  using answer_ptr = std::shared_ptr<std::optional<expected<T>>>;

  /// Sends a request to the node. Nothing runs yet.
  template <class T, class... Ts>
  answer_ptr<T> send(Ts... request) {
    return send_to<T>(node_, std::move(request)...);
  }

  /// Sends a request to any actor.
  template <class T, class Handle, class... Ts>
  answer_ptr<T> send_to(const Handle& to, Ts... request) {
    auto answer = std::make_shared<std::optional<expected<T>>>();
    system_->spawn([=](caf::event_based_actor* self) {
      self->request(to, caf::infinite, request...)
        .then([=](T& x) { answer->emplace(std::move(x)); },
              [=](const caf::error& error) {
                answer->emplace(tl::unexpected<failure>{from_caf(error)});
              });
    });
    return answer;
  }

  /// Sends a request whose last part is the handle of the client.
  template <class T, class... Ts>
  answer_ptr<T> send_as_client(Ts... request) {
    auto answer = std::make_shared<std::optional<expected<T>>>();
    system_->spawn([=, to = node_](caf::event_based_actor* self) {
      self->request(to, caf::infinite, request..., caf::actor{self})
        .then([=](T& x) { answer->emplace(std::move(x)); },
              [=](const caf::error& error) {
                answer->emplace(tl::unexpected<failure>{from_caf(error)});
              });
    });
    return answer;
  }

  /// Sends a request, lets everybody work until it is answered and a little
  /// longer, and gives the answer.
  template <class T, class... Ts>
  expected<T> ask(Ts... request) {
    auto answer = send<T>(std::move(request)...);
    for (int rounds = 0; rounds < 2'000 && !*answer; ++rounds)
      if (run(100) == 0)
        break;
    run(linger);
    if (!*answer)
      return fail(errc::timeout, "there is no answer");
    return **answer;
  }

  // -- the verbs, for short ---------------------------------------------------

  /// @param ctx JSON.
  expected<session_view> run_code(const std::string& code,
                                  const std::string& ctx = "{}");

  expected<std::string> spawn(const std::string& code,
                              const std::string& ctx = "{}");

  /// Answers one query; an empty id is the only one.
  expected<session_view> feed(const std::string& id, const std::string& query,
                              const std::string& response,
                              feed_mode mode = feed_mode::next_event,
                              std::optional<token_usage> usage = {});

  expected<feed_reply>
  feed_all(const std::string& id,
           std::vector<std::pair<std::string, std::string>> answers,
           feed_mode mode = feed_mode::next_event);

  expected<session_view> show(const std::string& id);

  expected<session_view> cancel(const std::string& id,
                                const std::string& detail = "test");

  expected<json> snapshot(const std::string& id, snapshot_options options = {});

  expected<std::vector<session_summary>> list(std::vector<session_phase> phases
                                              = {});

  json status();

  // -- looking inside ---------------------------------------------------------

  [[nodiscard]] const node_impl& node() const {
    return node_;
  }

  [[nodiscard]] caf::actor_system& system() {
    return *system_;
  }

  /// A session as it is on disk.
  expected<stored_session> stored(const std::string& id);

  /// What the registry keeps.
  [[nodiscard]] const session_registry_state& registry() const;

  /// What the node keeps, its parts among it.
  [[nodiscard]] const node_state& parts() const;

  /// What the actor of a session keeps; null if it has none.
  [[nodiscard]] const session_actor_state* active(const std::string& id) const;

  /// How often others asked to hear of the end of an actor.
  [[nodiscard]] static std::size_t monitors_of(const caf::actor& who);

  /// Actors that live, the node and its parts among them.
  [[nodiscard]] std::size_t actors() const;

private:
  /// Ends all actors without letting them write anything.
  void drop();

  [[nodiscard]] caf::scheduler::test_coordinator& scheduler();

  environment make_environment();

  pool_parts make_pool_parts();

  pod_parts make_pod_parts();

  /// Time goes by for processes.
  void pass_time(std::chrono::milliseconds time);

  std::mt19937_64 random_;
  std::int64_t steady_ns_ = 1'000'000'000;
  std::unique_ptr<caf::actor_system_config> config_;
  std::unique_ptr<caf::actor_system> system_;
  node_impl node_;
  /// Set by the node when it ends.
  std::shared_ptr<bool> died_;
};

} // namespace muster::test
