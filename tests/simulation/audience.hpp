// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "tests/simulation/model.hpp"
#include "tests/support/node_bench.hpp"

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <variant>
#include <vector>

namespace muster::test {

/// A client that observes sessions, each of them behind an event number.
using viewer_actor = observer_actor::extend<
  caf::reacts_to<observe_atom, std::string, std::uint64_t>>;

/// Clients that observe sessions: some acknowledge at once, some now and then,
/// some not at all. They go without a word, come back, and begin somewhere
/// else. The model sees every event that they are sent.
class audience {
public:
  // -- constructors -----------------------------------------------------------

  /// @param note writes down what happens.
  audience(node_bench& bench, model& known, std::mt19937_64& random,
           std::function<void(const std::function<std::string()>&)> note);

  ~audience();

  // -- life -------------------------------------------------------------------

  /// One of them does something about a session.
  void act(const std::string& id);

  /// One of them: for a wait in its name.
  struct member {
    caf::actor handle;
    /// Ends when it goes.
    std::weak_ptr<void> presence;
  };

  [[nodiscard]] member somebody();

  /// Looks at what they were sent, and lets them acknowledge.
  /// @param refused is told why one may not observe a session.
  void harvest(
    const std::function<void(const std::string&, const failure&)>& refused);

  /// The node goes, and they with it. They come back with the next one.
  void go();

  /// From now on all acknowledge at once.
  void hurry();

  /// All of them observe all of these.
  void gather(const std::vector<std::string>& ids);

  /// One of them goes without a word.
  void thin_out();

  // -- what must hold ---------------------------------------------------------

  /// At any time: a client is monitored by those sessions that know it, and by
  /// no other.
  void check_monitors() const;

  /// All sessions have ended: so has each stream.
  void check_ends() const;

  // -- introspection ----------------------------------------------------------

  /// Actors that they are at the moment.
  [[nodiscard]] std::size_t actors() const;

  /// Events that they were sent.
  [[nodiscard]] std::uint64_t events() const {
    return events_;
  }

  /// Events that they were told they missed.
  [[nodiscard]] std::uint64_t missed() const {
    return missed_;
  }

private:
  /// The answer to an observe.
  struct begun {
    std::string session_id;
    std::uint64_t after = 0;
    expected<session_view> view;
  };

  struct lagged {
    std::string session_id;
    std::uint64_t count = 0;
  };

  using parcel = std::variant<begun, observed_event, lagged>;

  struct seat {
    viewer_actor handle;
    std::shared_ptr<std::deque<parcel>> inbox;
    /// Acknowledges one time in so many.
    std::uint64_t patience = 1;
    std::map<std::string, model::stream> streams;
    std::map<std::string, std::uint64_t> unacknowledged;
  };

  static viewer_actor::behavior_type
  view(viewer_actor::pointer self, node_actor node,
       std::shared_ptr<std::deque<parcel>> inbox);

  void enter(seat& who);

  void leave(seat& who);

  void observe(seat& who, const std::string& id, std::uint64_t after);

  std::uint64_t roll(std::uint64_t below) {
    return random_() % below;
  }

  node_bench& bench_;
  model& model_;
  std::mt19937_64& random_;
  std::function<void(const std::function<std::string()>&)> note_;
  std::vector<seat> seats_;
  std::uint64_t events_ = 0;
  std::uint64_t missed_ = 0;
};

} // namespace muster::test
