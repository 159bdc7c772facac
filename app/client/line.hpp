// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/actors.hpp"

#include <caf/all.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <unordered_map>
#include <utility>

namespace muster {

/// When a call is over. The last one that there is means never.
using call_end = std::chrono::steady_clock::time_point;

/// What the actor behind a line keeps.
struct link_state {
  static inline const char* name = "link";

  /// A call that is not answered yet.
  struct open_call {
    /// Tells the caller that there will be no answer.
    std::function<void(const failure&)> fail;
    /// An actor that the node has a handle of, if the call needs one. It must
    /// be ended: the framework never lets go of what crossed the wire.
    caf::actor helper;
  };

  node_actor node;

  /// Why there is no connection any more, if so.
  std::optional<failure> lost;

  std::unordered_map<std::uint64_t, open_call> open;
};

using link_pointer = caf::stateful_actor<link_state>*;

/// One connection to a node, until it breaks; from then on every call fails
/// with `connection_lost`. May be used by several threads at once.
class line {
public:
  // -- member types -----------------------------------------------------------

  /// Sends the request of the call of that number, in the actor of the line.
  using sender = std::function<void(link_pointer, std::uint64_t)>;

  // -- constructors and destructors -------------------------------------------

  line(caf::actor_system& system, node_actor node);

  ~line();

  line(const line&) = delete;

  line& operator=(const line&) = delete;

  // -- properties -------------------------------------------------------------

  [[nodiscard]] bool is_broken() const {
    return *broken_;
  }

  /// How long it has held.
  [[nodiscard]] std::chrono::steady_clock::duration age() const {
    return std::chrono::steady_clock::now() - since_;
  }

  // -- calls ------------------------------------------------------------------

  /// Sends a request and waits for its answer.
  template <class T, class... Ts>
  expected<T> ask(call_end end, Ts... request) {
    return wait<T>([=](link_pointer self, std::uint64_t, auto deliver) {
      send<T>(self, end, deliver, request...);
    });
  }

  /// The same for a request whose last part is an actor of the caller's, which
  /// is there as long as the call is.
  template <class T, class... Ts>
  expected<T> ask_as_somebody(call_end end, Ts... request) {
    return wait<T>([=](link_pointer self, std::uint64_t number, auto deliver) {
      auto& helper = self->state.open[number].helper;
      helper = spawn_somebody(self);
      send<T>(self, end, deliver, request..., helper);
    });
  }

  // -- the parts of a call ----------------------------------------------------

  /// Begins a call.
  /// @param fail is called in the actor of the line if there is no answer.
  /// @returns the number by which to end it.
  std::uint64_t begin(std::function<void(const failure&)> fail, sender send);

  /// Sends the request of a call.
  /// @param deliver is called in the actor of the line with what came of it,
  ///        whether the call is still open or not.
  template <class T, class F, class... Ts>
  static void
  send(link_pointer self, call_end end, F deliver, const Ts&... request) {
    self->request(self->state.node, time_left(end), request...)
      .then([=](T& x) { deliver(expected<T>{std::move(x)}); },
            [=](const caf::error& error) {
              deliver(expected<T>{tl::unexpected<failure>{from_caf(error)}});
            });
  }

  /// Tells the node something that has no answer.
  template <class... Ts>
  void tell(Ts... message) {
    run([=](link_pointer self) { self->send(self->state.node, message...); });
  }

  /// Ends a call, whether it is answered or not.
  void end(std::uint64_t number);

  /// Fails all calls, those to come as well.
  void close(failure why);

private:
  // -- implementation details -------------------------------------------------

  static caf::duration time_left(call_end end);

  static caf::actor spawn_somebody(link_pointer self);

  /// @returns whether the call was still open.
  static bool take(link_pointer self, std::uint64_t number);

  void run(std::function<void(link_pointer)> what);

  template <class T, class F>
  expected<T> wait(F send) {
    auto promise = std::make_shared<std::promise<expected<T>>>();
    auto fail = [=](const failure& why) {
      promise->set_value(tl::unexpected<failure>{why});
    };
    begin(fail, [=](link_pointer self, std::uint64_t number) {
      send(self, number, [=](expected<T> result) {
        if (take(self, number))
          promise->set_value(std::move(result));
      });
    });
    return promise->get_future().get();
  }

  // -- member variables -------------------------------------------------------

  std::shared_ptr<std::atomic<bool>> broken_;
  std::chrono::steady_clock::time_point since_;
  std::atomic<std::uint64_t> next_{0};
  caf::actor link_;
};

using line_ptr = std::shared_ptr<line>;

} // namespace muster
