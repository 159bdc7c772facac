// SPDX-License-Identifier: Apache-2.0

// A CAF program that talks to a node by messages: its actor spawns a session,
// observes it, and feeds it at each pause.

#include <chrono>
#include <iostream>
#include <muster/client_config.hpp>
#include <muster/connect_node.hpp>
#include <muster/find_node.hpp>

namespace {

using namespace std::chrono_literals;
using courier_actor = muster::observer_actor;

constexpr const char* strategy
  = R"lua(return alc.llm("Who is there?") .. ", " .. alc.llm("Where to?"))lua";

// The config of a program may have more than what nodes need.
struct config : muster::client_config {
  config() {
    set("scheduler.max-threads", 1);
  }
};

struct courier_state {
  static inline const char* name = "courier";
  // The last pause that was answered.
  std::uint64_t answered = 0;
};

using courier_pointer = courier_actor::stateful_pointer<courier_state>;

// Ends the actor with what went wrong.
auto give_up(courier_pointer self) {
  return [=](const caf::error& error) {
    std::cerr << self->system().render(error) << "\n";
    self->quit(error);
  };
}

// Answers all that a paused session asks.
void answer(courier_pointer self, const muster::node_actor& node,
            const muster::session_view& session) {
  auto& st = self->state;
  if (session.phase != muster::session_phase::paused
      || session.seq <= st.answered)
    return;
  st.answered = session.seq;
  std::vector<muster::answer> answers;
  for (auto& q : session.queries)
    answers.push_back(
      {q.id, q.prompt == "Where to?" ? "home" : "a courier", {}});
  // `once`: nobody repeats this. With an id in its place, it could be repeated
  // and would not be executed again.
  self
    ->request(node, 30s, muster::feed_atom::value, session.session_id, answers,
              muster::feed_mode::accepted, muster::once)
    .then([](const muster::feed_reply&) {}, give_up(self));
}

courier_actor::behavior_type courier(courier_pointer self,
                                     muster::node_actor node) {
  self->monitor(node);
  // The node is gone.
  self->set_down_handler(
    [=](const caf::down_msg& x) { give_up(self)(x.reason); });
  muster::session_spec spec;
  spec.code = strategy;
  self->request(node, 30s, muster::spawn_atom::value, spec, muster::once)
    .then(
      [=](const std::string& id) {
        self
          ->request(node, 30s, muster::observe_atom::value, id,
                    std::uint64_t{0}, courier_actor{self})
          .then([](const muster::session_view&) {}, give_up(self));
      },
      give_up(self));
  return {
    [=](const muster::observed_event& event) {
      for (auto& what : event.progress)
        std::cout << event.seq << " " << what << "\n";
      self->send(node, muster::acknowledge_atom::value, event.session_id,
                 event.seq, courier_actor{self});
      auto& id = event.session_id;
      self->request(node, 30s, muster::show_atom::value, id)
        .then(
          [=, is_last = event.last](const muster::session_view& session) {
            answer(self, node, session);
            if (!is_last)
              return;
            std::cout << to_string(session.phase) << ": " << session.result
                      << "\n";
            self->quit();
          },
          give_up(self));
    },
    [](muster::lagged_atom, const std::string&, std::uint64_t count) {
      std::cout << count << " events were missed\n";
    },
  };
}

} // namespace

int main(int argc, char** argv) {
  config settings;
  caf::actor_system system{settings};
  auto node = muster::find_node({}, argc > 1 ? argv[1] : "")
                .and_then([&](const muster::node_location& where) {
                  return muster::connect_node(system, where);
                });
  if (!node) {
    std::cerr << to_string(node.error().code) << ": " << node.error().message
              << "\n";
    return 1;
  }
  caf::scoped_actor self{system};
  self->spawn<caf::monitored>(courier, *node);
  int exit_code = 0;
  self->receive([&](const caf::down_msg& x) { exit_code = x.reason ? 1 : 0; });
  return exit_code;
}
