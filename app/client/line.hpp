// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/actors.hpp"
#include "messages/request_size.hpp"

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

  /// How many bytes a request may have, if the node said so.
  std::optional<std::uint64_t> max_message;

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

  /// @param max_message how many bytes a request may have; larger ones are
  ///        refused here, because the node would close the connection.
  line(caf::actor_system& system, node_actor node,
       std::optional<std::uint64_t> max_message);

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
    return wait<T>(end, [=](link_pointer self, std::uint64_t, auto deliver) {
      send<T>(self, deliver, request...);
    });
  }

  /// The same for a request whose last part is an actor of the caller's, which
  /// is there as long as the call is.
  template <class T, class... Ts>
  expected<T> ask_as_somebody(call_end end, Ts... request) {
    return wait<T>(end,
                   [=](link_pointer self, std::uint64_t number, auto deliver) {
                     auto helper = spawn_somebody(self);
                     self->state.open[number].helper = helper;
                     send<T>(self, deliver, request..., helper);
                   });
  }

  // -- the parts of a call ----------------------------------------------------

  /// Begins a call.
  /// @param fail is called in the actor of the line if there is no answer.
  /// @returns the number by which to end it.
  std::uint64_t begin(std::function<void(const failure&)> fail, sender send);

  /// Sends the request of a call. It has no deadline here: the framework would
  /// keep a timer of each call until that is over. Who waits looks at the time.
  /// @param deliver is called in the actor of the line with what came of it,
  ///        whether the call is still open or not.
  template <class T, class F, class... Ts>
  static void send(link_pointer self, F deliver, const Ts&... request) {
    auto& st = self->state;
    if (st.max_message)
      if (auto refused
          = check_size(self->system(), *st.max_message, request...)) {
        deliver(expected<T>{tl::unexpected<failure>{std::move(*refused)}});
        return;
      }
    self->request(st.node, caf::infinite, request...)
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

  static caf::actor spawn_somebody(link_pointer self);

  /// @returns whether the call was still open.
  static bool take(link_pointer self, std::uint64_t number);

  void run(std::function<void(link_pointer)> what);

  template <class T, class F>
  expected<T> wait(call_end end, F send) {
    auto promise = std::make_shared<std::promise<expected<T>>>();
    auto fail = [=](const failure& why) {
      promise->set_value(tl::unexpected<failure>{why});
    };
    auto call = begin(fail, [=](link_pointer self, std::uint64_t number) {
      send(self, number, [=](expected<T> result) {
        if (take(self, number))
          promise->set_value(std::move(result));
      });
    });
    auto answer = promise->get_future();
    if (end != call_end::max()
        && answer.wait_until(end) == std::future_status::timeout) {
      this->end(call);
      return muster::fail(errc::timeout, "the node did not answer in time");
    }
    return answer.get();
  }

  // -- member variables -------------------------------------------------------

  std::shared_ptr<std::atomic<bool>> broken_;
  std::chrono::steady_clock::time_point since_;
  std::atomic<std::uint64_t> next_{0};
  caf::actor link_;
};

using line_ptr = std::shared_ptr<line>;

} // namespace muster
