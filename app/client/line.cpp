// SPDX-License-Identifier: Apache-2.0

#include "app/client/line.hpp"

namespace muster {

namespace {

/// Something to do in the actor of a line.
struct job {
  std::function<void(link_pointer)> run;
};

} // namespace

} // namespace muster

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(muster::job)

namespace muster {

namespace {

using clock = std::chrono::steady_clock;

void dismiss(link_pointer self, const caf::actor& helper) {
  if (helper)
    self->send_exit(helper, caf::exit_reason::user_shutdown);
}

void break_off(link_pointer self, const failure& why) {
  auto& st = self->state;
  if (!st.lost)
    st.lost = why;
  for (auto& [number, call] : std::exchange(st.open, {})) {
    dismiss(self, call.helper);
    call.fail(*st.lost);
  }
}

/// Sends the requests and is the first to hear that the connection broke: the
/// answers would not come, and nobody else would say so.
caf::behavior link(link_pointer self, node_actor node,
                   std::optional<std::uint64_t> max_message,
                   std::shared_ptr<std::atomic<bool>> broken) {
  self->state.node = std::move(node);
  self->state.max_message = max_message;
  self->monitor(self->state.node);
  self->set_down_handler([=](const caf::down_msg&) {
    *broken = true;
    break_off(self, {errc::connection_lost,
                     "the connection to the node broke before it answered"});
  });
  return {[=](const job& what) { what.run(self); }};
}

} // namespace

// -- constructors and destructors ---------------------------------------------

line::line(caf::actor_system& system, node_actor node,
           std::optional<std::uint64_t> max_message)
  : broken_(std::make_shared<std::atomic<bool>>(false)), since_(clock::now()),
    link_(system.spawn(link, std::move(node), max_message, broken_)) {
  // nop
}

line::~line() {
  // No exit message: that would overtake the end of a call, whose actor would
  // stay for ever.
  run([](link_pointer self) {
    break_off(self, {errc::connection_lost, "the client was closed"});
    self->quit();
  });
}

// -- the parts of a call ------------------------------------------------------

std::uint64_t line::begin(std::function<void(const failure&)> fail,
                          sender send) {
  auto number = next_++;
  run([=](link_pointer self) {
    auto& st = self->state;
    if (st.lost) {
      fail(*st.lost);
      return;
    }
    st.open[number].fail = fail;
    send(self, number);
  });
  return number;
}

void line::end(std::uint64_t number) {
  run([=](link_pointer self) { take(self, number); });
}

void line::close(failure why) {
  *broken_ = true;
  run([=](link_pointer self) { break_off(self, why); });
}

// -- implementation details ---------------------------------------------------

caf::actor line::spawn_somebody(link_pointer self) {
  return self->spawn([](caf::event_based_actor*) -> caf::behavior {
    return {[](caf::ok_atom) {
      // nop
    }};
  });
}

bool line::take(link_pointer self, std::uint64_t number) {
  auto call = self->state.open.extract(number);
  if (call.empty())
    return false;
  dismiss(self, call.mapped().helper);
  return true;
}

void line::run(std::function<void(link_pointer)> what) {
  caf::anon_send(link_, job{std::move(what)});
}

} // namespace muster
