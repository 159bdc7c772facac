// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "app/client/line.hpp"
#include "tests/support/node_bench.hpp"
#include "tests/support/test_network.hpp"

#include <caf/all.hpp>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace muster::test {

/// What an observer elsewhere has been sent.
struct observed {
  observer_actor handle;
  std::vector<observed_event> events;
  std::uint64_t lagged = 0;
};

/// A client in an actor system of its own, connected to the node of a bench.
class remote_client {
public:
  template <class T>
  using answer_ptr = node_bench::answer_ptr<T>;

  // -- constructors and destructors -------------------------------------------

  remote_client();

  ~remote_client();

  remote_client(const remote_client&) = delete;

  remote_client& operator=(const remote_client&) = delete;

  // -- requests ---------------------------------------------------------------

  /// Sends a request, as the client library does. Nothing runs yet.
  template <class T, class... Ts>
  answer_ptr<T> send(Ts... request) {
    auto answer = std::make_shared<std::optional<expected<T>>>();
    auto give = [=](expected<T> x) {
      if (!*answer)
        answer->emplace(std::move(x));
    };
    line_->begin(
      [=](const failure& why) { give(tl::unexpected<failure>{why}); },
      [=](link_pointer self, std::uint64_t) {
        line::send<T>(self, give, request...);
      });
    return answer;
  }

  /// The same for a request whose last part is an actor of the client's.
  template <class T, class... Ts>
  answer_ptr<T> send_as_somebody(Ts... request) {
    return send<T>(std::move(request)..., somebody());
  }

  /// Tells the node something that has no answer.
  template <class... Ts>
  void tell(Ts... message) {
    line_->tell(std::move(message)...);
  }

  /// An actor that there is until the client ends.
  caf::actor somebody();

  /// An actor that notes what it is sent.
  /// @param acknowledges whether it says that it has seen that.
  std::shared_ptr<observed> observer(bool acknowledges = true);

  /// Ends all actors of the client's that it gave to the node.
  void dismiss_actors();

  // -- the network ------------------------------------------------------------

  /// How many actors of a node the client has heard of.
  [[nodiscard]] std::size_t known_of(const caf::node_id& node) {
    return broker_in(*system_).proxy_registry_ptr()->count_proxies(node);
  }

  /// How many timers its actors have set that are not over.
  [[nodiscard]] std::size_t timers() {
    return scheduler_of(*system_).clock().schedule().size();
  }

  [[nodiscard]] caf::actor_system& system() {
    return *system_;
  }

  /// Lets all actors work, and sends and reads.
  /// @returns whether there was anything to do.
  bool work();

private:
  friend class remote_bench;

  std::unique_ptr<caf::actor_system_config> config_;
  std::unique_ptr<caf::actor_system> system_;
  node_actor node_;
  std::unique_ptr<line> line_;
  std::vector<caf::actor> actors_;
  std::vector<std::shared_ptr<observed>> observers_;
  /// The two ends of the connection, as their systems call them.
  caf::io::connection_handle here_;
  caf::io::connection_handle there_;
  bool is_silent_ = false;
};

/// A whole node and clients elsewhere, each in an actor system of its own, on a
/// network that only the test moves. All in one thread, with one clock.
class remote_bench : public node_bench {
public:
  explicit remote_bench(std::uint64_t seed = 1);

  ~remote_bench();

  // -- connections ------------------------------------------------------------

  /// Starts the node, and lets it listen.
  void open();

  /// Connects a new client.
  /// @param max_message what it knows of the limit of its node.
  remote_client& connect(std::optional<std::uint64_t> max_message = {});

  /// A client is gone, and nobody hears of it but by the network.
  void remove(remote_client& who);

  /// A client hears and says nothing from here on. Its connection stays.
  void silence(remote_client& who) {
    who.is_silent_ = true;
  }

  /// The same client hears and speaks again.
  void mend(remote_client& who) {
    who.is_silent_ = false;
  }

  /// The node is killed, and its clients see that their connections break.
  void kill_remotely();

  // -- running ----------------------------------------------------------------

  /// Lets everybody work until there is nothing more to do, or a script that
  /// does not end has had its time.
  void settle();

  /// Moves the clock on, in small steps, for everybody.
  void pass(std::chrono::milliseconds time);

  /// Sends a request from a client as the client library does that waits for
  /// the answer, with a deadline, and gives the answer.
  template <class T, class... Ts>
  expected<T> wait_from(remote_client& who, std::chrono::milliseconds limit,
                        Ts... request) {
    // Who waits has nobody else to work it out.
    scheduler_of(who.system()).after_next_enqueue([this] { settle(); });
    return who.line_->ask<T>(std::chrono::steady_clock::now() + limit,
                             std::move(request)...);
  }

  /// The same for a request whose last part is an actor of the call's.
  template <class T, class... Ts>
  expected<T> wait_as_somebody_from(remote_client& who,
                                    std::chrono::milliseconds limit,
                                    Ts... request) {
    scheduler_of(who.system()).after_next_enqueue([this] { settle(); });
    return who.line_->ask_as_somebody<T>(
      std::chrono::steady_clock::now() + limit, std::move(request)...);
  }

  /// Sends a request from a client and gives the answer.
  template <class T, class... Ts>
  expected<T> ask_from(remote_client& who, Ts... request) {
    auto answer = who.send<T>(std::move(request)...);
    settle();
    if (!*answer)
      return fail(errc::timeout, "there is no answer");
    return **answer;
  }

  // -- looking inside ---------------------------------------------------------

  /// What the node's side of the network knows: connections, actors of clients,
  /// and its own actors that clients have heard of.
  struct acquaintances {
    std::size_t connections = 0;
    std::size_t theirs = 0;
    std::size_t ours = 0;

    friend bool operator==(const acquaintances&, const acquaintances&)
      = default;
  };

  [[nodiscard]] acquaintances known();

private:
  using node_bench::kill;

  std::vector<std::unique_ptr<remote_client>> clients_;
  /// Whom the node has met.
  std::vector<caf::node_id> met_;
  std::int64_t last_handle_ = 1;
};

} // namespace muster::test
