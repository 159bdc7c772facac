// SPDX-License-Identifier: Apache-2.0

#include "tests/support/remote_bench.hpp"

#include "app/client/client_config.hpp"

#include "actors/remote/publish.hpp"

#include <caf/io/all.hpp>

#include <algorithm>
#include <stdexcept>

namespace muster::test {

namespace {

constexpr const char* place = "127.0.0.1";

constexpr std::uint16_t port = 7411;

/// The one door of the node.
constexpr auto door = 1;

observer_actor::behavior_type
note(observer_actor::pointer self, node_actor node,
     std::weak_ptr<observed> into, bool acknowledges) {
  return {
    [=](const observed_event& event) {
      if (auto seen = into.lock())
        seen->events.push_back(event);
      if (acknowledges)
        self->send(node, acknowledge_atom::value, event.session_id, event.seq,
                   observer_actor{self});
    },
    [=](lagged_atom, const std::string&, std::uint64_t count) {
      if (auto seen = into.lock())
        seen->lagged += count;
    },
  };
}

} // namespace

// -- remote_client ------------------------------------------------------------

remote_client::remote_client() : config_(std::make_unique<client_config>()) {
  use_test_network(*config_);
  system_ = std::make_unique<caf::actor_system>(*config_);
}

remote_client::~remote_client() {
  dismiss_actors();
  line_.reset();
  node_ = nullptr;
  while (work()) {
    // nop
  }
}

std::shared_ptr<observed> remote_client::observer(bool acknowledges) {
  auto out = std::make_shared<observed>();
  out->handle
    = system_->spawn(note, node_, std::weak_ptr<observed>{out}, acknowledges);
  actors_.push_back(caf::actor_cast<caf::actor>(out->handle));
  observers_.push_back(out);
  return out;
}

void remote_client::dismiss_actors() {
  for (auto& actor : actors_)
    caf::anon_send_exit(actor, caf::exit_reason::user_shutdown);
  actors_.clear();
  observers_.clear();
}

bool remote_client::work() {
  bool any = false;
  while (scheduler_of(*system_).try_run_once() || work_network(*system_))
    any = true;
  return any;
}

caf::actor remote_client::somebody() {
  actors_.push_back(system_->spawn([]() -> caf::behavior {
    return {[](caf::ok_atom) {
      // nop
    }};
  }));
  return actors_.back();
}

// -- remote_bench -------------------------------------------------------------

remote_bench::remote_bench(std::uint64_t seed) : node_bench(seed) {
  has_network = true;
}

remote_bench::~remote_bench() {
  clients_.clear();
}

// -- connections --------------------------------------------------------------

void remote_bench::open() {
  require_start();
  network_of(system()).provide_acceptor(port,
                                        caf::io::accept_handle::from_int(door));
  auto published = caf::actor_cast<node_actor>(node());
  settle();
  scheduler_of(system()).after_next_enqueue([this] { settle(); });
  auto opened = publish_insecurely(
    system(), caf::actor_cast<caf::strong_actor_ptr>(published),
    system().message_types(published), port);
  if (!opened)
    throw std::runtime_error{"the node does not listen"};
  settle();
}

remote_client& remote_bench::connect(std::optional<std::uint64_t> max_message) {
  auto& out = *clients_.emplace_back(std::make_unique<remote_client>());
  out.there_ = caf::io::connection_handle::from_int(++last_handle_);
  out.here_ = caf::io::connection_handle::from_int(++last_handle_);
  network_of(system()).prepare_connection(
    caf::io::accept_handle::from_int(door), out.there_,
    network_of(out.system()), place, port, out.here_);
  settle();
  // A thread that waits for an answer has nobody else to work it out.
  scheduler_of(out.system()).after_next_enqueue([this] { settle(); });
  auto found = out.system().middleman().remote_actor<node_actor>(place, port);
  if (!found)
    throw std::runtime_error{"the client does not connect"};
  out.node_ = std::move(*found);
  out.line_ = std::make_unique<line>(out.system(), out.node_, max_message);
  met_.push_back(out.system().node());
  settle();
  return out;
}

void remote_bench::remove(remote_client& who) {
  auto connection = who.there_;
  auto i = std::find_if(clients_.begin(), clients_.end(),
                        [&](auto& x) { return x.get() == &who; });
  // What a dying client still says does not come through.
  break_connection(who.system(), who.here_);
  clients_.erase(i);
  break_connection(system(), connection);
  settle();
}

void remote_bench::kill_remotely() {
  kill();
  for (auto& client : clients_)
    break_connection(client->system(), client->here_);
  settle();
}

// -- running ------------------------------------------------------------------

void remote_bench::settle() {
  // What an endless script may take until it is left alone.
  constexpr int rounds = 200;
  auto work_node = [this] {
    if (!is_running())
      return false;
    auto any = run(100) > 0;
    return work_network(system()) || any;
  };
  for (int i = 0; i < rounds; ++i) {
    auto any = work_node();
    for (auto& client : clients_)
      if (!client->is_silent_)
        any = client->work() || any;
    if (!any)
      return;
  }
}

void remote_bench::pass(std::chrono::milliseconds time) {
  constexpr auto step = std::chrono::milliseconds(100);
  for (; time.count() > 0; time -= step) {
    if (is_running())
      move_clock(step);
    for (auto& client : clients_)
      if (!client->is_silent_)
        scheduler_of(client->system()).clock().advance_time(step);
    settle();
  }
}

// -- looking inside -----------------------------------------------------------

remote_bench::acquaintances remote_bench::known() {
  auto& broker = broker_in(system());
  acquaintances out;
  out.connections = broker.ctx.size();
  out.ours = broker.monitored_actors.size();
  for (auto& id : met_)
    out.theirs += broker.proxy_registry_ptr()->count_proxies(id);
  return out;
}

} // namespace muster::test
