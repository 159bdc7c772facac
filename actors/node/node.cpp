// SPDX-License-Identifier: Apache-2.0

#include "actors/node/node.hpp"

#include "actors/pool/worker_host.hpp"
#include "actors/session/session_registry.hpp"
#include "actors/strategy/guarded_host.hpp"
#include "actors/strategy/local_host.hpp"
#include "actors/strategy/package_folders.hpp"
#include "actors/tick/tick.hpp"

#include "messages/interface.hpp"
#include "messages/json.hpp"
#include "messages/request_size.hpp"

#include <fmt/format.h>
#include <lua.hpp>

#include <muster_version.hpp>

#include <gnu/libc-version.h>

namespace muster {

namespace {

using node_pointer = node_impl::stateful_pointer<node_state>;

// -- starting -----------------------------------------------------------------

/// What a session that begins now is run by. A replay elsewhere may differ.
std::string versions() {
  return fmt::format("muster {}, {}, glibc {}", version, LUA_RELEASE,
                     gnu_get_libc_version());
}

session_context_ptr
make_session_context(const std::shared_ptr<const node_parts>& parts,
                     persistence_actor persistence, pool_registry_actor pool) {
  auto context = std::make_shared<session_context>();
  context->settings = parts->settings.session;
  context->env = parts->env;
  context->versions = versions();
  context->persistence = std::move(persistence);
  context->pool = std::move(pool);
  context->crashes = parts->disk->crashes;
  context->make_host = [parts, crashes = context->crashes] {
    auto& strategy = parts->settings.strategy;
    auto host = std::make_unique<local_host>(
      strategy, strategy_clocks{parts->env.wall_ms, parts->env.steady_ns});
    return std::make_unique<guarded_host>(std::move(host), crashes,
                                          strategy.max_crashes);
  };
  context->make_worker_host
    = [parts](connection_id connection, std::function<void()> wake) {
        auto& settings = parts->settings;
        return std::make_unique<worker_host>(
          parts->pool.sockets, connection, settings.strategy,
          settings.pool.patience, parts->env.steady_ns, std::move(wake));
      };
  context->max_crashes = parts->settings.strategy.max_crashes;
  context->find_module
    = [parts](std::vector<std::string> folders, const std::string& name) {
        auto& strategy = parts->settings.strategy;
        folders.insert(folders.end(), strategy.packages.begin(),
                       strategy.packages.end());
        auto found = find_module(folders, name, strategy.max_source_bytes);
        return host_result{std::move(found.text), 0, std::move(found.name),
                           std::move(found.error)};
      };
  return context;
}

void start_parts(node_pointer self,
                 const std::shared_ptr<const node_parts>& parts) {
  auto& st = self->state;
  auto sink = caf::actor_cast<status_sink_actor>(self);
  st.persistence
    = parts->detached
        ? self->spawn<caf::monitored + caf::detached>(persistence, parts->disk,
                                                      sink)
        : self->spawn<caf::monitored>(persistence, parts->disk, sink);
  auto pool = std::make_shared<pool_parts>(parts->pool);
  pool->settings = parts->settings.pool;
  pool->persistence = st.persistence;
  st.pool = self->spawn<caf::monitored>(
    pool_registry, std::shared_ptr<const pool_parts>{std::move(pool)}, sink);
  auto pods = std::make_shared<pod_parts>(parts->pods);
  pods->settings = parts->settings.pods;
  pods->persistence = st.persistence;
  st.pods = self->spawn<caf::monitored>(
    spawned_pod_registry, std::shared_ptr<const pod_parts>{std::move(pods)},
    sink);
  st.sessions = self->spawn<caf::monitored>(
    session_registry, make_session_context(parts, st.persistence, st.pool),
    sink);
  auto recovery = std::make_shared<recovery_parts>(parts->recovery);
  recovery->settings = parts->settings.recovery;
  recovery->persistence = st.persistence;
  recovery->workers = st.pool;
  recovery->pods = st.pods;
  st.recovery = self->spawn<caf::monitored>(
    recovery_registry,
    std::shared_ptr<const recovery_parts>{std::move(recovery)}, sink);
  std::vector<probe> all{{"pool", st.pool}, {"pods", st.pods}};
  st.probes = self->spawn<caf::monitored>(probes, all, sink);
  st.on_tick = parts->on_tick;
  // Who hangs is known before it is put back what died, and that is done before
  // it is looked what is left over.
  std::vector<tick_step> steps{{"probes", st.probes},
                               {"recovery", st.recovery},
                               {"pool", st.pool},
                               {"pods", st.pods},
                               {"sessions", st.sessions}};
  std::vector<reporting_actor> reporters{
    st.probes, st.recovery, st.pool, st.pods, st.sessions, st.persistence};
  st.tick = self->spawn<caf::monitored>(
    tick, parts->settings.tick, parts->env.steady_ns, steps, reporters, sink);
}

// -- stopping -----------------------------------------------------------------

void finish_stop(node_pointer self) {
  // What has answered a client is held by the framework, so that it does not
  // end by itself when nobody else knows it.
  self->send_exit(self->state.probes, caf::exit_reason::user_shutdown);
  self->send_exit(self->state.recovery, caf::exit_reason::user_shutdown);
  self->send_exit(self->state.sessions, caf::exit_reason::user_shutdown);
  self->send_exit(self->state.pool, caf::exit_reason::user_shutdown);
  self->send_exit(self->state.pods, caf::exit_reason::user_shutdown);
  for (auto& promise : std::exchange(self->state.stoppers, {}))
    promise.deliver(caf::ok_atom::value);
  self->quit(caf::exit_reason::user_shutdown);
}

/// The order: no new work, no ticks, nothing is put back any more, the
/// sessions, the pool, the pods, the disk last.
void begin_stop(node_pointer self) {
  auto& st = self->state;
  if (std::exchange(st.stopping, true))
    return;
  self->delayed_send(self, st.settings.drain_timeout, expire_atom::value);
  self->send_exit(st.tick, caf::exit_reason::user_shutdown);
  auto stop_disk = [=] {
    self->request(self->state.persistence, caf::infinite, stop_atom::value)
      .then([=](caf::ok_atom) { finish_stop(self); },
            [=](const caf::error&) { finish_stop(self); });
  };
  auto hide = [=] {
    auto next = [=](const caf::error&) { stop_disk(); };
    self
      ->request(self->state.persistence, caf::infinite, remove_atom::value,
                std::string{node_document})
      .then([=](caf::ok_atom) { stop_disk(); }, next);
  };
  auto let_pods_go = [=] {
    self->request(self->state.pods, caf::infinite, stop_atom::value)
      .then([=](caf::ok_atom) { hide(); }, [=](const caf::error&) { hide(); });
  };
  auto let_workers_go = [=] {
    self->request(self->state.pool, caf::infinite, stop_atom::value)
      .then([=](caf::ok_atom) { let_pods_go(); },
            [=](const caf::error&) { let_pods_go(); });
  };
  auto stop_sessions = [=] {
    self->request(self->state.sessions, caf::infinite, stop_atom::value)
      .then([=](caf::ok_atom) { let_workers_go(); },
            [=](const caf::error&) { let_workers_go(); });
  };
  self->request(st.recovery, caf::infinite, stop_atom::value)
    .then([=](caf::ok_atom) { stop_sessions(); },
          [=](const caf::error&) { stop_sessions(); });
}

void stop_parts(node_pointer self, const caf::error& reason) {
  auto& st = self->state;
  self->send_exit(st.tick, reason);
  self->send_exit(st.probes, reason);
  self->send_exit(st.recovery, reason);
  self->send_exit(st.sessions, reason);
  self->send_exit(st.pool, reason);
  self->send_exit(st.pods, reason);
  self->send_exit(st.persistence, reason);
}

/// An actor of a client is gone. What it has asked for is answered to nobody,
/// however long that may take, and does not count any more.
void on_guest_down(node_state& st, const caf::actor_addr& who) {
  auto client = st.guests.find(who.node());
  if (client == st.guests.end())
    return;
  client->second.erase(who.id());
  if (client->second.empty())
    st.guests.erase(client);
}

/// A part died. Its state is on disk, what it had in mind is lost, and the rest
/// must not go on without it.
void on_down(node_pointer self, const caf::down_msg& x) {
  if (x.source.node() != self->node()) {
    on_guest_down(self->state, x.source);
    return;
  }
  if (self->state.stopping)
    return;
  auto why = x.reason ? x.reason
                      : make_error(errc::internal, "a part of the node ended");
  stop_parts(self, why);
  self->quit(why);
}

// -- the front door -----------------------------------------------------------

caf::error stopping() {
  return make_error(errc::shutting_down,
                    "the node is about to stop and takes no new work");
}

/// Why a client may not ask for more at the moment, if so.
template <class... Ts>
std::optional<caf::error> check_client(node_pointer self,
                                       const caf::node_id& client,
                                       const Ts&... request) {
  auto& st = self->state;
  if (auto open = st.requests_of(client); open >= st.settings.max_requests)
    return make_error(errc::overloaded,
                      fmt::format("{} requests of this client wait for their "
                                  "answer, as many as node.max-requests allows",
                                  open));
  if (auto refused = check_size(self->system(),
                                st.settings.gate.max_message_bytes, request...))
    return to_caf(*refused);
  return std::nullopt;
}

greeting greeting_of(const node_state& st) {
  auto out = own_greeting();
  out.max_message = st.settings.gate.max_message_bytes;
  return out;
}

/// Where the requests of an actor elsewhere are counted.
node_state::request_count count_of(node_pointer self,
                                   const caf::strong_actor_ptr& guest) {
  auto& count = self->state.guests[guest->node()][guest->id()];
  if (!count) {
    count = std::make_shared<std::size_t>(0);
    self->monitor(caf::actor_cast<caf::actor>(guest));
  }
  return count;
}

/// Passes a request on to one of the parts. Those of this process are answered
/// by the part itself; those of clients are counted until they are answered.
template <class T, class Part, class... Ts>
caf::result<T> pass_on(node_pointer self, const Part& part, Ts&&... request) {
  if (self->state.stopping)
    return stopping();
  auto sender = self->current_sender();
  if (!sender || sender->node() == self->node())
    return self->delegate(part, std::forward<Ts>(request)...);
  if (auto refused = check_client(self, sender->node(), request...))
    return std::move(*refused);
  auto open = count_of(self, sender);
  ++*open;
  auto rp = self->template make_response_promise<T>();
  self->request(part, caf::infinite, std::forward<Ts>(request)...)
    .then(
      [=](T& x) mutable {
        --*open;
        rp.deliver(std::move(x));
      },
      [=](caf::error& error) mutable {
        --*open;
        rp.deliver(std::move(error));
      });
  return rp;
}

/// The same for a request that changes something, whose id stands at its end.
template <class T, class Part, class... Ts>
caf::result<T> pass_on_once(node_pointer self, const Part& part,
                            std::string& request_id, Ts&&... request) {
  if (auto refused = check_request_id(request_id))
    return to_caf(*refused);
  if (auto refused = refuse_slot_request(request_id))
    return to_caf(*refused);
  return pass_on<T>(self, part, std::forward<Ts>(request)...,
                    std::move(request_id));
}

} // namespace

std::size_t node_state::requests_of(const caf::node_id& client) const {
  std::size_t out = 0;
  if (auto i = guests.find(client); i != guests.end())
    for (auto& [guest, count] : i->second)
      out += *count;
  return out;
}

std::string node_state::status() const {
  auto now = env.steady_ns();
  json out{{"version", version}, {"uptime_ms", (now - began_ns) / 1'000'000}};
  std::size_t waiting = 0;
  std::size_t requests = 0;
  for (auto& [client, actors] : guests)
    if (auto open = requests_of(client); open > 0) {
      ++waiting;
      requests += open;
    }
  out["node"] = {{"clients_waiting", waiting}, {"requests", requests}};
  for (auto& [part, report] : reports) {
    auto counters = json::parse(report.counters);
    counters["age_ms"] = (now - report.at_ns) / 1'000'000;
    out[part] = std::move(counters);
  }
  return out.dump();
}

node_impl::behavior_type node(node_pointer self,
                              std::shared_ptr<const node_parts> parts) {
  auto& st = self->state;
  st.settings = parts->settings;
  st.env = parts->env;
  st.began_ns = st.env.steady_ns();
  for (auto* part :
       {"pods", "pool", "probes", "recovery", "sessions", "storage", "tick"})
    st.reports[part] = {"{}", st.began_ns};
  self->set_down_handler([=](const caf::down_msg& x) { on_down(self, x); });
  self->set_exit_handler([=](const caf::exit_msg& x) {
    stop_parts(self, x.reason);
    self->quit(x.reason);
  });
  start_parts(self, parts);
  return {
    // -- sessions -------------------------------------------------------------
    [=](start_atom verb, session_spec& spec, std::string& request_id) {
      return pass_on_once<session_view>(self, self->state.sessions, request_id,
                                        verb, std::move(spec));
    },
    [=](spawn_atom verb, session_spec& spec, std::string& request_id) {
      return pass_on_once<std::string>(self, self->state.sessions, request_id,
                                       verb, std::move(spec));
    },
    [=](feed_atom verb, std::string& id, std::vector<answer>& answers,
        feed_mode mode, std::string& request_id) {
      return pass_on_once<feed_reply>(self, self->state.sessions, request_id,
                                      verb, std::move(id), std::move(answers),
                                      mode);
    },
    [=](pending_atom verb, std::string& id) {
      return pass_on<std::string>(self, self->state.sessions, verb,
                                  std::move(id));
    },
    [=](show_atom verb, std::string& id) {
      return pass_on<session_view>(self, self->state.sessions, verb,
                                   std::move(id));
    },
    [=](snapshot_atom verb, std::string& id, const snapshot_options& options) {
      return pass_on<std::string>(self, self->state.sessions, verb,
                                  std::move(id), options);
    },
    [=](snapshot_atom verb, const snapshot_options& options) {
      return pass_on<std::string>(self, self->state.sessions, verb, options);
    },
    [=](transcript_atom verb, std::string& id) {
      return pass_on<std::string>(self, self->state.sessions, verb,
                                  std::move(id));
    },
    [=](log_atom verb, std::string& id, std::uint64_t after) {
      return pass_on<std::vector<log_line>>(self, self->state.sessions, verb,
                                            std::move(id), after);
    },
    [=](cancel_atom verb, std::string& id, const cancel_reason& reason) {
      return pass_on<session_view>(self, self->state.sessions, verb,
                                   std::move(id), reason);
    },
    [=](await_atom verb, std::string& id, wait_for what,
        const caf::actor& client) {
      return pass_on<session_view>(self, self->state.sessions, verb,
                                   std::move(id), what, client);
    },
    [=](observe_atom verb, std::string& id, std::uint64_t after,
        const observer_actor& observer) -> caf::result<session_view> {
      if (self->state.stopping)
        return stopping();
      if (auto refused = check_client(self, observer.node(), verb, id))
        return std::move(*refused);
      // The session answers itself, so that its events come behind.
      return self->delegate(self->state.sessions, verb, std::move(id), after,
                            observer);
    },
    [=](acknowledge_atom verb, std::string& id, std::uint64_t seq,
        const observer_actor& observer) {
      self->send(self->state.sessions, verb, std::move(id), seq, observer);
    },
    [=](unobserve_atom verb, std::string& id, const observer_actor& observer) {
      self->send(self->state.sessions, verb, std::move(id), observer);
    },
    [=](list_atom verb, const session_list_request& request) {
      return pass_on<session_page>(self, self->state.sessions, verb, request);
    },
    [=](prune_atom verb, std::int64_t older_than_ms) {
      return pass_on<std::uint64_t>(self, self->state.sessions, verb,
                                    older_than_ms);
    },
    // -- shared state ---------------------------------------------------------
    [=](spaces_atom verb) {
      return pass_on<std::vector<state_space>>(self, self->state.persistence,
                                               verb);
    },
    [=](list_atom verb, std::string& space, std::string& prefix,
        std::uint32_t limit) {
      return pass_on<std::vector<state_entry>>(self, self->state.persistence,
                                               verb, std::move(space),
                                               std::move(prefix), limit);
    },
    [=](get_atom verb, const state_key& where) {
      return pass_on<state_value>(self, self->state.persistence, verb, where);
    },
    [=](set_atom verb, const state_key& where, std::string& value,
        std::string& request_id) -> caf::result<std::uint64_t> {
      auto limit = self->state.settings.strategy.max_state_bytes;
      if (value.size() > limit)
        return make_error(errc::too_large,
                          fmt::format("the value of '{}' has {} bytes, more "
                                      "than the {} that strategy.max-state "
                                      "allows",
                                      where.key, value.size(), limit));
      return pass_on_once<std::uint64_t>(self, self->state.persistence,
                                         request_id, verb, where,
                                         std::move(value));
    },
    [=](delete_atom verb, const state_key& where, std::string& request_id) {
      return pass_on_once<bool>(self, self->state.persistence, request_id, verb,
                                where);
    },
    // -- worker processes -----------------------------------------------------
    [=](pool_atom family, list_atom verb) {
      return pass_on<std::vector<worker_view>>(self, self->state.pool, family,
                                               verb);
    },
    [=](pool_atom family, spawn_atom verb, std::string& request_id) {
      return pass_on_once<worker_view>(self, self->state.pool, request_id,
                                       family, verb);
    },
    [=](pool_atom family, stop_atom verb, std::string& sid) {
      return pass_on<pool_stop_reply>(self, self->state.pool, family, verb,
                                      std::move(sid));
    },
    [=](pool_atom family, collect_atom verb) {
      return pass_on<std::vector<std::string>>(self, self->state.pool, family,
                                               verb);
    },
    // -- pods -----------------------------------------------------------------
    [=](pod_atom family, spawn_atom verb, pod_order& order,
        std::string& request_id) {
      return pass_on_once<pod_view>(self, self->state.pods, request_id, family,
                                    verb, std::move(order));
    },
    [=](pod_atom family, list_atom verb) {
      return pass_on<std::vector<pod_view>>(self, self->state.pods, family,
                                            verb);
    },
    [=](pod_atom family, send_atom verb, std::string& name, std::string& text,
        std::string& request_id) {
      return pass_on_once<std::uint64_t>(self, self->state.pods, request_id,
                                         family, verb, std::move(name),
                                         std::move(text));
    },
    [=](pod_atom family, read_atom verb, pod_read& what) {
      return pass_on<pod_output>(self, self->state.pods, family, verb,
                                 std::move(what));
    },
    [=](pod_atom family, stop_atom verb, std::string& name) {
      return pass_on<pod_stop_reply>(self, self->state.pods, family, verb,
                                     std::move(name));
    },
    [=](pod_atom family, scopes_atom verb) {
      return pass_on<scope_listing>(self, self->state.pods, family, verb);
    },
    [=](pod_atom family, scopes_atom verb, std::string& path) {
      return pass_on<std::vector<scope_holder>>(self, self->state.pods, family,
                                                verb, std::move(path));
    },
    // -- recovery -------------------------------------------------------------
    [=](group_atom family, create_atom verb, slot_group_definition& what,
        std::string& request_id) {
      return pass_on_once<slot_group_view>(
        self, self->state.recovery, request_id, family, verb, std::move(what));
    },
    [=](group_atom family, list_atom verb) {
      return pass_on<std::vector<slot_group_view>>(self, self->state.recovery,
                                                   family, verb);
    },
    [=](group_atom family, show_atom verb, std::string& name) {
      return pass_on<slot_group_view>(self, self->state.recovery, family, verb,
                                      std::move(name));
    },
    [=](group_atom family, scale_atom verb, std::string& name,
        std::uint8_t slots) {
      return pass_on<slot_group_view>(self, self->state.recovery, family, verb,
                                      std::move(name), slots);
    },
    [=](group_atom family, reset_atom verb, std::string& name) {
      return pass_on<slot_group_view>(self, self->state.recovery, family, verb,
                                      std::move(name));
    },
    [=](group_atom family, delete_atom verb, std::string& name) {
      return pass_on<caf::ok_atom>(self, self->state.recovery, family, verb,
                                   std::move(name));
    },
    [=](recovery_atom family, list_atom verb) {
      return pass_on<std::vector<handler_view>>(self, self->state.recovery,
                                                family, verb);
    },
    [=](recovery_atom family, run_atom verb) {
      return pass_on<recovery_pass>(self, self->state.recovery, family, verb);
    },
    [=](recovery_atom family, register_atom verb, handler_definition& what,
        recovery_handler_actor& who) {
      return pass_on<std::uint64_t>(self, self->state.recovery, family, verb,
                                    std::move(what), std::move(who));
    },
    [=](recovery_atom family, remove_atom verb, std::string& name) {
      return pass_on<std::uint64_t>(self, self->state.recovery, family, verb,
                                    std::move(name));
    },
    // -- the node -------------------------------------------------------------
    [=](hello_atom) { return to_json(greeting_of(self->state)); },
    // -- status ---------------------------------------------------------------
    [=](status_atom) -> caf::result<std::string> {
      return self->state.status();
    },
    [=](report_atom, const std::string& part, const std::string& counters) {
      auto& now = self->state;
      now.reports[part] = {counters, now.env.steady_ns()};
      if (part == tick_state::name && now.on_tick)
        now.on_tick();
    },
    // -- the process ----------------------------------------------------------
    [=](stop_atom) -> caf::result<caf::ok_atom> {
      auto rp = self->make_response_promise<caf::ok_atom>();
      self->state.stoppers.push_back(rp);
      begin_stop(self);
      return rp;
    },
    [=](expire_atom) {
      auto why
        = make_error(errc::timeout, "the ordered stop took longer than "
                                    "node.drain-timeout; everything that was "
                                    "acknowledged is on disk");
      stop_parts(self, why);
      self->quit(why);
    },
    [=](save_atom verb, std::string& text) {
      return pass_on<caf::ok_atom>(self, self->state.persistence, verb,
                                   std::string{node_document}, std::move(text));
    },
  };
}

} // namespace muster
