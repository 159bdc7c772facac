// SPDX-License-Identifier: Apache-2.0

#include "actors/session/session.hpp"

#include "actors/session/snapshot.hpp"

#include "messages/hash.hpp"
#include "messages/json.hpp"
#include "messages/session_json.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

namespace muster {

namespace {

using session_pointer = session_impl::stateful_pointer<session_actor_state>;

void perform(session_pointer self, session_effects effects);

void leave(session_pointer self, failure why);

std::int64_t now_ms(session_pointer self) {
  return self->state.context->env.wall_ms();
}

const std::string& id_of(session_pointer self) {
  return self->state.core->view().session_id;
}

/// Runs a handler, unless the actor is about to end; what goes wrong in it ends
/// this session and no other.
template <class F>
void guarded(session_pointer self, F f) {
  if (self->state.ended)
    return;
  try {
    f();
  } catch (const std::exception& error) {
    leave(self, {errc::internal, fmt::format("session '{}' broke down: {}",
                                             id_of(self), error.what())});
  }
}

// -- requests that wait -------------------------------------------------------

/// Why no other client may wait where so many do.
std::optional<caf::error> check_room(session_pointer self,
                                     std::size_t waiting) {
  if (waiting < self->state.context->settings.max_waiting)
    return std::nullopt;
  return make_error(errc::overloaded,
                    fmt::format("{} clients wait for session '{}', as many as "
                                "session.max-waiting allows",
                                waiting, id_of(self)));
}

/// Runs `f`, which answers the promise, now or once the history was loaded or
/// turned out to be lost.
template <class T, class F>
void when_loaded(session_pointer self, caf::typed_response_promise<T> rp, F f) {
  auto& st = self->state;
  if (st.loaded || st.ended)
    f();
  else if (auto refused = check_room(self, st.parked.size()))
    rp.deliver(std::move(*refused));
  else
    st.parked.emplace_back(std::move(f));
}

/// Answers with what `f` gives once the history is there.
template <class T, class F>
caf::result<T> answer_with(session_pointer self, F f) {
  auto rp = self->make_response_promise<T>();
  when_loaded(self, rp, [=]() mutable {
    if (self->state.ended) {
      rp.deliver(to_caf(*self->state.ended));
      return;
    }
    expected<T> result = f();
    if (result)
      rp.deliver(std::move(*result));
    else
      rp.deliver(to_caf(result.error()));
  });
  return rp;
}

/// Passes a request on to the core, which answers by its ticket.
template <class T, class F>
caf::result<T> ask_core(session_pointer self, F f) {
  auto rp = self->make_response_promise<T>();
  when_loaded(self, rp, [=]() mutable {
    auto& st = self->state;
    if (st.ended) {
      rp.deliver(to_caf(*st.ended));
      return;
    }
    auto number = ++st.next_ticket;
    st.promises.emplace(number, rp);
    guarded(self, [&] { perform(self, f(number)); });
  });
  return rp;
}

/// Takes the promise of a ticket.
session_actor_state::promise claim(session_pointer self, ticket number) {
  auto node = self->state.promises.extract(number);
  return std::move(node.mapped());
}

void refuse(session_actor_state::promise& promise, const failure& why) {
  std::visit([&](auto& x) { x.deliver(to_caf(why)); }, promise);
}

// -- observers and awaiters ---------------------------------------------------

void send_progress(session_pointer self, session_actor_state::observer& o) {
  if (!o.progress)
    return;
  auto delivery = o.progress->next(self->state.ring);
  if (delivery.lagged > 0)
    self->send(o.handle, lagged_atom::value, id_of(self), delivery.lagged);
  for (auto& event : delivery.events)
    self->send(o.handle, std::move(event));
}

/// Whether a client waits for the session or observes it.
bool is_here(session_pointer self, const caf::actor_addr& who) {
  auto& st = self->state;
  return std::any_of(st.awaiters.begin(), st.awaiters.end(),
                     [&](auto& x) { return x.client == who; })
         || std::any_of(st.observers.begin(), st.observers.end(),
                        [&](auto& x) { return x.handle.address() == who; });
}

/// Hears of the end of a client that is about to wait or to observe.
template <class Handle>
void welcome(session_pointer self, const Handle& client) {
  if (!is_here(self, client.address()))
    self->monitor(client);
}

/// Needs to hear nothing of a client any more, unless it is here for something
/// else: all that was asked about it is taken back at once.
void dismiss(session_pointer self, const caf::actor_addr& who) {
  if (!is_here(self, who))
    self->demonitor(who);
}

/// Takes out those that fit, and gives them.
template <class T, class Predicate>
std::vector<T> take_out(std::vector<T>& from, Predicate fits) {
  auto i = std::stable_partition(from.begin(), from.end(),
                                 [&](auto& x) { return !fits(x); });
  std::vector<T> out{std::make_move_iterator(i),
                     std::make_move_iterator(from.end())};
  from.erase(i, from.end());
  return out;
}

template <class Predicate>
void remove_observers(session_pointer self, Predicate is_gone) {
  auto& st = self->state;
  for (auto& gone : take_out(st.observers, is_gone))
    dismiss(self, gone.handle.address());
  st.core->observed = !st.observers.empty();
}

/// A client or an observer is gone.
void forget(session_pointer self, const caf::actor_addr& who) {
  auto is_gone = [&](auto& x) { return x.client == who; };
  for (auto& gone : take_out(self->state.awaiters, is_gone))
    gone.promise.deliver(
      make_error(errc::connection_lost,
                 fmt::format("the client that waited for session '{}' is gone",
                             id_of(self))));
  remove_observers(self, [&](auto& x) { return x.handle.address() == who; });
}

/// Whether a wait is over.
bool is_reached(session_phase phase, wait_for what) {
  return what == wait_for::end ? is_terminal(phase)
                               : phase != session_phase::running;
}

/// Tells all who wait why the session cannot go on.
void refuse_awaiters(session_pointer self, const failure& why) {
  for (auto& awaiter : std::exchange(self->state.awaiters, {})) {
    dismiss(self, awaiter.client);
    awaiter.promise.deliver(to_caf(why));
  }
}

/// Answers those whose wait is over.
void answer_awaiters(session_pointer self) {
  auto& st = self->state;
  auto phase = st.core->fold().phase();
  auto is_over = [=](auto& x) { return is_reached(phase, x.what); };
  for (auto& awaiter : take_out(st.awaiters, is_over)) {
    dismiss(self, awaiter.client);
    awaiter.promise.deliver(st.core->view());
  }
}

// -- coming and going ---------------------------------------------------------

/// Whether nobody would miss the actor.
bool may_leave(session_pointer self) {
  auto& st = self->state;
  // A worker that comes for nobody would be nobody's to give back. When the
  // node stops, none comes.
  if (st.taking > 0 && !st.stopping)
    return false;
  if (st.ended)
    return st.reading == 0;
  return st.loaded && st.core->is_idle() && !st.core->has_machine()
         && st.promises.empty() && st.observers.empty() && st.awaiters.empty()
         && st.reading == 0;
}

/// Tells the registry when the actor has become superfluous.
void offer_to_leave(session_pointer self) {
  auto& st = self->state;
  if (st.offered_to_leave || (st.stopping && !st.ended) || !may_leave(self))
    return;
  st.offered_to_leave = true;
  self->send(st.owner, leave_atom::value, id_of(self));
}

/// Hears nothing more of the host, or of one that is on its way.
void end_host(session_pointer self) {
  auto& st = self->state;
  ++st.host_number;
  st.host_due = false;
  st.host.reset();
}

/// Gives back the worker, if the session has one.
void release_worker(session_pointer self) {
  auto& st = self->state;
  if (auto worker = std::exchange(st.worker, std::nullopt))
    self->send(st.context->pool, release_atom::value, worker->sid, id_of(self));
}

/// The same for one that is dead, or hangs.
void lose_worker(session_pointer self, const failure& why) {
  auto& st = self->state;
  if (auto worker = std::exchange(st.worker, std::nullopt))
    self->send(st.context->pool, release_atom::value, worker->sid, id_of(self),
               why);
}

/// A session that is over has no worker: neither one that an earlier node gave
/// it, nor one that is on its way.
void end_workers(session_pointer self) {
  auto& st = self->state;
  auto& fold = st.core->fold();
  if (!st.is_over && is_terminal(fold.phase())
      && fold.isolation() == session_isolation::worker) {
    st.is_over = true;
    self->send(st.context->pool, release_atom::value, std::string{},
               id_of(self));
  }
}

/// Ends the actor as soon as the registry sends it nothing more; whoever waits,
/// or still comes, is told why.
void leave(session_pointer self, failure why) {
  auto& st = self->state;
  if (st.ended)
    return;
  st.ended = std::move(why);
  for (auto& [number, promise] : std::exchange(st.promises, {}))
    refuse(promise, *st.ended);
  for (auto& waiting : std::exchange(st.awaiters, {})) {
    dismiss(self, waiting.client);
    waiting.promise.deliver(to_caf(*st.ended));
  }
  remove_observers(self, [](auto&) { return true; });
  for (auto& request : std::exchange(st.parked, {}))
    request();
  end_host(self);
  // When the node stops, its workers go on without it.
  if (!st.stopping)
    release_worker(self);
  offer_to_leave(self);
}

/// Leaves once nothing is on its way to the disk.
void leave_when_written(session_pointer self) {
  auto& st = self->state;
  if (st.stopping && !st.ended && !st.core->is_committing())
    leave(self, {errc::shutting_down,
                 fmt::format("the node is about to stop; session '{}' goes on "
                             "when it is started again",
                             id_of(self))});
}

// -- the strategy -------------------------------------------------------------

void tell_about_machine(session_pointer self, machine_use use) {
  auto& st = self->state;
  st.told = use;
  self->send(st.owner, machine_atom::value, id_of(self), st.core->view().seq,
             use);
}

/// Makes the host of the machine that begins now.
void make_host(session_pointer self) {
  auto& st = self->state;
  ++st.host_number;
  st.host_due = true;
  st.touched_ns = st.context->env.steady_ns();
  if (!st.worker) {
    st.host = st.context->make_host();
    return;
  }
  // The thread that calls this must not keep the session.
  caf::weak_actor_ptr me{self->ctrl()};
  auto wake = [me, number = st.host_number] {
    if (auto here = me.lock())
      caf::anon_send(caf::actor_cast<session_impl>(here), advance_atom::value,
                     number);
  };
  st.host = st.context->make_worker_host(st.worker->connection, wake);
}

void start_host(session_pointer self, strategy_start what) {
  auto& st = self->state;
  make_host(self);
  what.session_id = id_of(self);
  what.log_lines = st.core->log_lines();
  st.host->start(std::move(what));
  tell_about_machine(self, machine_use::working);
}

/// A text that a session needs, as it was when it was loaded first.
expected<std::string> text_of(const stored_session& stored,
                              const std::string& hash) {
  auto& all = stored.sources;
  auto i = std::find_if(all.begin(), all.end(),
                        [&](auto& x) { return x.hash == hash; });
  if (i == all.end() || sha256(i->text) != hash)
    return fail(errc::registry_corrupted,
                fmt::format("a text that session '{}' needs is {} on disk: its "
                            "script or a module with the hash {}",
                            stored.session_id,
                            i == all.end() ? "missing" : "damaged", hash));
  return i->text;
}

/// The hash of a module that a script loaded; empty for all other events.
std::string module_in(const history_event& event) {
  auto* effect = std::get_if<effect_event>(&event.body);
  if (effect == nullptr || effect->kind != "source")
    return {};
  auto result = json::parse(effect->result, nullptr, false);
  if (!result.is_object() || !result.contains("hash")
      || !result["hash"].is_string())
    return {};
  return result["hash"];
}

/// The history of a stored session, with the text of its script put back.
expected<strategy_start> assemble(const stored_session& stored) {
  strategy_start what;
  for (auto& batch : stored.events) {
    std::string code_hash;
    auto events = decode_history(batch.payload, code_hash);
    if (!events)
      return tl::unexpected<failure>{events.error()};
    if (!code_hash.empty()) {
      auto text = text_of(stored, code_hash);
      if (!text)
        return tl::unexpected<failure>{text.error()};
      std::get<spawned_event>(events->front().body).spec.code = *text;
    }
    for (auto& event : *events)
      if (auto hash = module_in(event); !hash.empty())
        if (auto text = text_of(stored, hash); !text)
          return tl::unexpected<failure>{text.error()};
    std::move(events->begin(), events->end(), std::back_inserter(what.events));
  }
  what.sources = stored.sources;
  return what;
}

void rebuild_host(session_pointer self, const stored_session& stored,
                  std::vector<state_key> contended) {
  auto what = assemble(stored);
  if (!what) {
    // It would be the same the next time.
    leave(self, what.error());
    return;
  }
  what->contended = std::move(contended);
  start_host(self, std::move(*what));
}

/// Passes on what the strategy asks, and the answer back.
void answer_call(session_pointer self, const host_call& call) {
  auto& st = self->state;
  if (call.what == host_call::kind::module_source) {
    st.host->resolve(
      st.context->find_module(st.core->packages(), call.where.key));
    self->send(self, advance_atom::value, st.host_number);
    return;
  }
  auto number = st.host_number;
  auto resolve = [=](host_result result) {
    auto& now = self->state;
    if (now.host_number != number || !now.host)
      return;
    now.host->resolve(std::move(result));
    now.host_due = true;
    perform(self, {});
  };
  auto give_up = [=](const caf::error& error) {
    // Without an answer the script cannot go on; it is run again later.
    if (self->state.host_number == number)
      perform(self, self->state.core->machine_failed(from_caf(error)));
  };
  auto& disk = st.context->persistence;
  if (call.what == host_call::kind::state_get) {
    self->request(disk, caf::infinite, get_atom::value, call.where)
      .then(
        [=](state_value& x) {
          resolve({std::move(x.value), x.version, {}, {}});
        },
        give_up);
    return;
  }
  self
    ->request(disk, caf::infinite, list_atom::value, call.where.space,
              std::string{}, std::uint32_t{0})
    .then(
      [=](std::vector<state_entry>& entries) {
        auto keys = json::array();
        for (auto& entry : entries)
          keys.push_back(std::move(entry.key));
        // Only what an older version took could be no text; it must not stop
        // the session.
        resolve({keys.dump(-1, ' ', false, json::error_handler_t::replace),
                 0,
                 {},
                 {}});
      },
      give_up);
}

/// Looks at the host again after a time, also if it does not ask for it.
void arm_look(session_pointer self, std::chrono::nanoseconds after) {
  if (after.count() == 0 || std::exchange(self->state.look_armed, true))
    return;
  self->delayed_send(self, after, beat_atom::value, session_timer::look);
}

/// Goes on without a worker that is gone. Whatever ends several of them in a
/// row is not asked for the next one at once.
void lose_host(session_pointer self, const failure& why) {
  auto& st = self->state;
  auto& core = *st.core;
  lose_worker(self, why);
  perform(self, ++st.losses > 1 ? core.machine_failed(why)
                                : core.machine_lost(now_ms(self)));
}

/// Gives the strategy one slice.
void advance(session_pointer self) {
  auto& st = self->state;
  st.host_due = false;
  auto report = st.host->advance();
  for (auto& line : st.host->take_logs())
    st.core->unwritten_log.push_back(std::move(line));
  if (std::holds_alternative<host_busy>(report))
    self->send(self, advance_atom::value, st.host_number);
  else if (auto* waiting = std::get_if<host_waiting>(&report))
    arm_look(self, waiting->look_again);
  else if (std::holds_alternative<host_restored>(report))
    perform(self, st.core->machine_restored(now_ms(self)));
  else if (auto* lost = std::get_if<host_lost>(&report))
    lose_host(self, lost->why);
  else if (auto* call = std::get_if<host_call>(&report))
    answer_call(self, *call);
  else if (auto* step = std::get_if<strategy_step>(&report))
    perform(self, st.core->machine_stopped(std::move(*step), now_ms(self)));
}

/// Sets the timer that gives the virtual machine back.
void arm_expiry(session_pointer self, std::chrono::nanoseconds after) {
  auto& st = self->state;
  if (st.expiry_armed || !st.core->has_machine())
    return;
  st.expiry_armed = true;
  self->delayed_send(self, after, beat_atom::value, session_timer::expiry);
}

void expire(session_pointer self) {
  auto& st = self->state;
  auto patience
    = std::chrono::nanoseconds{st.context->settings.passivate_after};
  auto idle
    = std::chrono::nanoseconds{st.context->env.steady_ns() - st.touched_ns};
  st.expiry_armed = false;
  if (idle < patience)
    arm_expiry(self, patience - idle);
  else
    perform(self, st.core->passivate());
}

// -- the effects of the core --------------------------------------------------

void on(session_pointer self, write_events& x) {
  self
    ->request(self->state.context->persistence, caf::infinite,
              commit_atom::value, std::move(x.request))
    .then(
      [=](const commit_ack& ack) {
        guarded(self, [&] {
          perform(self, self->state.core->committed(ack, now_ms(self)));
        });
      },
      [=](const caf::error& error) {
        guarded(self, [&] {
          perform(self,
                  self->state.core->refused(from_caf(error), now_ms(self)));
        });
      });
}

void fail_to_build(session_pointer self, const caf::error& error) {
  auto why = from_caf(error);
  guarded(self, [&] { perform(self, self->state.core->machine_failed(why)); });
}

/// Builds a machine, in the worker if the session has one.
void build(session_pointer self, build_machine& x) {
  auto& st = self->state;
  if (!x.at_hand.empty()) {
    strategy_start what;
    what.events = std::move(x.at_hand);
    what.contended = std::move(x.contended);
    start_host(self, std::move(what));
    return;
  }
  if (auto stored = std::exchange(st.at_hand, std::nullopt)) {
    rebuild_host(self, *stored, std::move(x.contended));
    return;
  }
  auto number = ++st.host_number;
  self
    ->request(st.context->persistence, caf::infinite, load_atom::value,
              id_of(self))
    .then(
      [=, contended = std::move(x.contended)](const stored_session& stored) {
        if (self->state.host_number != number)
          return;
        guarded(self, [&] {
          rebuild_host(self, stored, contended);
          perform(self, {});
        });
      },
      [=](const caf::error& error) {
        if (self->state.host_number == number)
          fail_to_build(self, error);
      });
}

/// Asks for a worker, and goes on with `f` once the session has it.
/// @param refuse is told why there is none.
template <class F, class Refuse>
void take_worker(session_pointer self, F f, Refuse refuse) {
  auto& st = self->state;
  auto number = ++st.host_number;
  ++st.taking;
  self
    ->request(st.context->pool, caf::infinite, take_atom::value, id_of(self),
              st.core->fold().pause_seq())
    .then(
      [=](worker_lease& lease) mutable {
        auto& now = self->state;
        --now.taking;
        auto is_wanted = now.host_number == number && !now.ended;
        now.worker = std::move(lease);
        if (is_wanted)
          guarded(self, f);
        else
          release_worker(self);
        offer_to_leave(self);
      },
      [=](const caf::error& error) mutable {
        --self->state.taking;
        if (self->state.host_number == number)
          guarded(self, [&] { refuse(error); });
        offer_to_leave(self);
      });
}

/// A script under which one worker after the other crashes is run no more.
/// @returns whether that is so.
bool end_crashing(session_pointer self) {
  auto& st = self->state;
  if (st.worker->crashed_by == 0 || ++st.crashes < st.context->max_crashes)
    return false;
  strategy_step step;
  step.end = failed_event{
    fmt::format("{} workers in a row crashed, of signal {} at last, while they "
                "ran this session's script, which is not run again",
                st.crashes, st.worker->crashed_by),
    failure_kind::engine_error,
    {},
    {}};
  perform(self, st.core->machine_stopped(std::move(step), now_ms(self)));
  return true;
}

/// The session has the worker that it had before: it stands where it stood.
void find_host(session_pointer self) {
  auto& st = self->state;
  make_host(self);
  tell_about_machine(self, machine_use::working);
  perform(self, st.core->machine_restored(now_ms(self)));
}

void on(session_pointer self, build_machine& x) {
  auto& st = self->state;
  if (st.core->fold().isolation() == session_isolation::node || st.worker) {
    build(self, x);
    return;
  }
  auto begin = [=, what = std::move(x)]() mutable {
    auto& now = self->state;
    if (end_crashing(self))
      return;
    if (now.worker->has_session) {
      find_host(self);
    } else {
      build(self, what);
      perform(self, {});
    }
  };
  take_worker(self, std::move(begin),
              [=](const caf::error& error) { fail_to_build(self, error); });
}

void on(session_pointer self, feed_machine& x) {
  auto& st = self->state;
  st.host->answer(std::move(x.answers));
  st.host_due = true;
  st.touched_ns = st.context->env.steady_ns();
}

void on(session_pointer self, confirm_pause& x) {
  auto& st = self->state;
  st.losses = st.crashes = 0;
  if (st.host)
    st.host->committed(x.seq);
}

void on(session_pointer self, drop_machine&) {
  auto& st = self->state;
  bool had_host = st.host != nullptr;
  // One that is only on its way is not wanted any more either.
  end_host(self);
  release_worker(self);
  if (had_host)
    tell_about_machine(self, machine_use::none);
}

void on(session_pointer self, reply_feed& x) {
  auto promise = claim(self, x.to);
  std::get<caf::typed_response_promise<feed_reply>>(promise).deliver(
    std::move(x.reply));
}

void on(session_pointer self, reply_view& x) {
  auto promise = claim(self, x.to);
  if (auto* wants_id
      = std::get_if<caf::typed_response_promise<std::string>>(&promise))
    wants_id->deliver(x.view.session_id);
  else
    std::get<caf::typed_response_promise<session_view>>(promise).deliver(
      std::move(x.view));
}

void on(session_pointer self, reply_refusal& x) {
  auto promise = claim(self, x.to);
  refuse(promise, x.why);
}

void on(session_pointer self, tell_awaiters& x) {
  refuse_awaiters(self, x.why);
}

void on(session_pointer self, publish_events& x) {
  auto& st = self->state;
  for (std::size_t i = 0; i < x.progress.size(); ++i)
    st.ring.push({id_of(self), x.first_seq + i, std::move(x.progress[i]),
                  x.last && i + 1 == x.progress.size()});
  for (auto& o : st.observers)
    send_progress(self, o);
}

void on(session_pointer self, arm_commit_time&) {
  self->delayed_send(self, self->state.context->settings.commit_after,
                     beat_atom::value, session_timer::commit);
}

void on(session_pointer self, arm_retry&) {
  self->delayed_send(self, self->state.context->settings.retry_after,
                     beat_atom::value, session_timer::retry);
}

void on(session_pointer self, reply_repeated& x) {
  auto promise = claim(self, x.to);
  if (auto* wants_id
      = std::get_if<caf::typed_response_promise<std::string>>(&promise))
    wants_id->deliver(std::move(x.session_id));
  else
    std::get<caf::typed_response_promise<session_view>>(promise).delegate(
      self->state.owner, await_atom::value, std::move(x.session_id));
}

void on(session_pointer self, recall_feed& x) {
  auto feed = std::make_shared<feed_request>(std::move(x.feed));
  auto go_on = [=](const expected<std::string>& kept) {
    guarded(self, [&] {
      perform(self,
              self->state.core->recalled(std::move(*feed), kept, now_ms(self)));
    });
  };
  self
    ->request(self->state.context->persistence, caf::infinite,
              recall_atom::value, std::move(x.wanted))
    .then([=](std::string& kept) { go_on(std::move(kept)); },
          [=](const caf::error& error) {
            go_on(tl::unexpected<failure>{from_caf(error)});
          });
}

void on(session_pointer self, vanish&) {
  leave(self, {errc::not_found,
               fmt::format("session '{}' could not be kept", id_of(self))});
}

/// Does what the core decided, and whatever follows from it at once.
void perform(session_pointer self, session_effects effects) {
  for (auto& effect : effects)
    std::visit([=](auto& x) { on(self, x); }, effect);
  auto& st = self->state;
  if (st.ended)
    return;
  if (st.host_due && !st.stopping)
    advance(self);
  if (st.ended)
    return;
  end_workers(self);
  if (!st.awaiters.empty())
    answer_awaiters(self);
  if (st.told == machine_use::working && st.core->can_passivate())
    tell_about_machine(self, machine_use::waiting);
  arm_expiry(self, st.context->settings.passivate_after);
  leave_when_written(self);
  offer_to_leave(self);
}

// -- loading ------------------------------------------------------------------

void finish_loading(session_pointer self) {
  auto& st = self->state;
  st.loaded = true;
  for (auto& request : std::exchange(st.parked, {}))
    request();
}

void load(session_pointer self) {
  self
    ->request(self->state.context->persistence, caf::infinite, load_atom::value,
              id_of(self))
    .then(
      [=](stored_session& stored) {
        guarded(self, [&] {
          auto& st = self->state;
          auto effects = st.core->restore(stored);
          if (!effects) {
            leave(self, effects.error());
            return;
          }
          st.at_hand = std::move(stored);
          st.loaded = true;
          perform(self, std::move(*effects));
          st.at_hand.reset();
          finish_loading(self);
        });
      },
      [=](const caf::error& error) { leave(self, from_caf(error)); });
}

// -- verbs --------------------------------------------------------------------

/// The first event of a new session.
spawned_event first_event(session_pointer self, session_spec spec) {
  auto seed = self->state.context->env.random();
  return spawned_event{std::move(spec),
                       fmt::format("{:016x}{:016x}", seed[0], seed[1]),
                       self->state.context->versions};
}

/// Begins a new session. One that runs in a worker has it before anything is
/// written: where there is none, there is no session.
template <class T>
caf::result<T> spawn(session_pointer self, session_spec spec, feed_mode mode,
                     std::string request_id) {
  auto isolation = spec.isolation;
  auto begin = [=](ticket number) {
    return self->state.core->spawn(number, first_event(self, spec), mode,
                                   request_id, now_ms(self));
  };
  if (isolation == session_isolation::node)
    return ask_core<T>(self, begin);
  auto rp = self->make_response_promise<T>();
  auto number = ++self->state.next_ticket;
  self->state.promises.emplace(number, rp);
  take_worker(
    self, [=] { perform(self, begin(number)); },
    [=](const caf::error& error) { leave(self, from_caf(error)); });
  return rp;
}

/// Asks the disk for something that a client waits for; the actor stays until
/// then.
template <class T, class F, class OnError, class... Ts>
void read_disk(session_pointer self, F f, OnError on_error, Ts... request) {
  ++self->state.reading;
  auto done = [=] {
    --self->state.reading;
    offer_to_leave(self);
  };
  self->request(self->state.context->persistence, caf::infinite, request...)
    .then(
      [=](T& x) mutable {
        f(std::move(x));
        done();
      },
      [=](caf::error& error) mutable {
        on_error(std::move(error));
        done();
      });
}

/// Reads lines of the log, those on disk and those that are not there yet.
template <class F, class OnError>
void with_log(session_pointer self, std::uint64_t after, F f,
              OnError on_error) {
  auto add_unwritten = [=](std::vector<log_line> lines) mutable {
    for (auto& line : self->state.core->unwritten_log)
      if (line.number > after)
        lines.push_back(line);
    f(std::move(lines));
  };
  read_disk<std::vector<log_line>>(self, add_unwritten, on_error,
                                   log_atom::value, id_of(self), after);
}

/// Reads the whole history.
template <class F, class OnError>
void with_history(session_pointer self, F f, OnError on_error) {
  auto decode = [=](const stored_session& stored) mutable {
    auto start = assemble(stored);
    if (start)
      f(std::move(start->events));
    else
      on_error(to_caf(start.error()));
  };
  read_disk<stored_session>(self, decode, on_error, load_atom::value,
                            id_of(self));
}

/// Runs `f` with a promise once the history was loaded.
template <class T, class F>
caf::result<T> promise_with(session_pointer self, F f) {
  auto rp = self->make_response_promise<T>();
  when_loaded(self, rp, [=]() mutable {
    if (self->state.ended)
      rp.deliver(to_caf(*self->state.ended));
    else if (auto refused = check_room(self, self->state.reading))
      rp.deliver(std::move(*refused));
    else
      f(rp);
  });
  return rp;
}

template <class T>
auto refuse_with(caf::typed_response_promise<T> rp) {
  return [=](caf::error error) mutable { rp.deliver(std::move(error)); };
}

caf::result<std::string> snapshot(session_pointer self,
                                  snapshot_options options) {
  using promise = caf::typed_response_promise<std::string>;
  return promise_with<std::string>(self, [=](promise rp) {
    auto& core = *self->state.core;
    auto lines = core.log_lines() + core.unwritten_log.size();
    auto after = lines > snapshot_logs ? lines - snapshot_logs : 0;
    auto finish = [=](snapshot_sources sources) mutable {
      rp.deliver(
        snapshot_json(self->state.core->fold(), options, sources, now_ms(self))
          .dump());
    };
    auto add_history = [=](std::vector<log_line> logs) mutable {
      if (!options.history) {
        finish({std::move(logs), {}});
        return;
      }
      auto add_newest = [=](history events) mutable {
        auto all = transcript_of(events);
        if (all.size() > snapshot_exchanges)
          all.erase(all.begin(), all.end() - snapshot_exchanges);
        finish({logs, std::move(all)});
      };
      with_history(self, add_newest, refuse_with(rp));
    };
    with_log(self, after, add_history, refuse_with(rp));
  });
}

caf::result<std::string> transcript(session_pointer self) {
  using promise = caf::typed_response_promise<std::string>;
  return promise_with<std::string>(self, [=](promise rp) {
    auto finish = [=](history events) mutable {
      rp.deliver(transcript_json(transcript_of(events)).dump());
    };
    with_history(self, finish, refuse_with(rp));
  });
}

caf::result<std::vector<log_line>> log(session_pointer self,
                                       std::uint64_t after) {
  using promise = caf::typed_response_promise<std::vector<log_line>>;
  return promise_with<std::vector<log_line>>(self, [=](promise rp) {
    auto finish = [=](std::vector<log_line> lines) mutable {
      rp.deliver(std::move(lines));
    };
    with_log(self, after, finish, refuse_with(rp));
  });
}

caf::result<session_view> await(session_pointer self, wait_for what,
                                caf::actor client) {
  using promise = caf::typed_response_promise<session_view>;
  return promise_with<session_view>(self, [=](promise rp) mutable {
    auto& st = self->state;
    if (is_reached(st.core->fold().phase(), what)) {
      rp.deliver(st.core->view());
      return;
    }
    auto address = client.address();
    auto i = std::find_if(st.awaiters.begin(), st.awaiters.end(),
                          [&](auto& x) { return x.client == address; });
    if (i == st.awaiters.end()) {
      if (auto refused = check_room(self, st.awaiters.size())) {
        rp.deliver(std::move(*refused));
        return;
      }
      welcome(self, client);
      st.awaiters.push_back({address, what, rp});
      return;
    }
    i->promise.deliver(make_error(
      errc::conflict,
      fmt::format("a later wait of the same client for session '{}' has taken "
                  "the place of this one",
                  id_of(self))));
    i->what = what;
    i->promise = rp;
  });
}

/// What an observer would have seen of events `after + 1` to `last`.
std::vector<observed_event>
replay_progress(const std::string& id, const history& events,
                std::uint64_t after, std::uint64_t last) {
  std::vector<observed_event> out;
  session_fold fold{id};
  for (auto& event : events) {
    auto before = fold.phase();
    fold.apply(event);
    auto seq = fold.view().seq;
    if (seq > last)
      break;
    if (seq <= after)
      continue;
    observed_event shown{id, seq, {}, is_terminal(fold.phase())};
    for (auto& item : progress_json(event, before, fold.view()))
      shown.progress.push_back(item.dump());
    out.push_back(std::move(shown));
  }
  return out;
}

/// Begins to send events to an observer, past ones first, if it did not ask
/// again meanwhile.
void begin_observation(session_pointer self, ticket number, std::uint64_t seq,
                       std::vector<observed_event> backlog) {
  auto& st = self->state;
  for (auto& o : st.observers)
    if (o.number == number) {
      o.progress.emplace(seq, std::move(backlog),
                         st.context->settings.observer_window);
      send_progress(self, o);
    }
}

caf::result<session_view> observe(session_pointer self, std::uint64_t after,
                                  observer_actor handle) {
  using promise = caf::typed_response_promise<session_view>;
  return promise_with<session_view>(self, [=](promise rp) mutable {
    auto& st = self->state;
    auto number = ++st.next_ticket;
    auto i = std::find_if(st.observers.begin(), st.observers.end(),
                          [&](auto& x) { return x.handle == handle; });
    if (i != st.observers.end()) {
      *i = {handle, number, std::nullopt};
    } else if (auto refused = check_room(self, st.observers.size())) {
      rp.deliver(std::move(*refused));
      return;
    } else {
      welcome(self, handle);
      st.observers.push_back({handle, number, std::nullopt});
    }
    st.core->observed = true;
    auto seq = st.core->view().seq;
    rp.deliver(st.core->view());
    std::vector<observed_event> end;
    if (is_terminal(st.core->fold().phase()))
      end.push_back({id_of(self), seq, {}, true});
    if (after < seq) {
      auto begin = [=](history events) {
        begin_observation(self, number, seq,
                          replay_progress(id_of(self), events, after, seq));
      };
      // What cannot be read again counts as missed.
      auto skip = [=](const caf::error&) {
        begin_observation(self, number, after, end);
      };
      with_history(self, begin, skip);
      return;
    }
    begin_observation(self, number, seq, std::move(end));
  });
}

void acknowledge(session_pointer self, std::uint64_t seq,
                 const observer_actor& handle) {
  auto& st = self->state;
  for (auto& o : st.observers)
    if (o.handle == handle && o.progress) {
      o.progress->acknowledge(seq);
      send_progress(self, o);
    }
  remove_observers(self,
                   [](auto& x) { return x.progress && x.progress->is_over(); });
  offer_to_leave(self);
}

void on_timer(session_pointer self, session_timer timer) {
  auto& st = self->state;
  switch (timer) {
    case session_timer::commit:
      perform(self, st.core->commit_time(now_ms(self)));
      break;
    case session_timer::retry:
      perform(self, st.core->retry(now_ms(self)));
      break;
    case session_timer::expiry:
      expire(self);
      break;
    case session_timer::look:
      st.look_armed = false;
      st.host_due = st.host != nullptr;
      perform(self, {});
  }
}

} // namespace

session_impl::behavior_type
session(session_pointer self, session_context_ptr context,
        session_owner_actor owner, std::string id, session_origin origin) {
  auto& st = self->state;
  st.context = std::move(context);
  st.owner = std::move(owner);
  st.core
    = std::make_unique<session_state>(std::move(id), st.context->settings);
  st.ring = event_ring{st.context->settings.observer_window};
  self->set_down_handler([=](const caf::down_msg& x) {
    forget(self, x.source);
    offer_to_leave(self);
  });
  if (origin == session_origin::created)
    st.loaded = true;
  else
    load(self);
  return {
    [=](start_atom, session_spec& spec, std::string& request_id) {
      return spawn<session_view>(self, std::move(spec), feed_mode::next_event,
                                 std::move(request_id));
    },
    [=](spawn_atom, session_spec& spec, std::string& request_id) {
      return spawn<std::string>(self, std::move(spec), feed_mode::accepted,
                                std::move(request_id));
    },
    [=](feed_atom, std::vector<answer>& answers, feed_mode mode,
        const std::string& request_id) {
      return ask_core<feed_reply>(self, [=](ticket number) {
        return self->state.core->feed({number, answers, mode, request_id},
                                      now_ms(self));
      });
    },
    [=](pending_atom) {
      return answer_with<std::string>(
        self, [=] { return self->state.core->sole_pending(); });
    },
    [=](show_atom) {
      return answer_with<session_view>(
        self, [=] { return self->state.core->view(); });
    },
    [=](snapshot_atom, const snapshot_options& options) {
      return snapshot(self, options);
    },
    [=](transcript_atom) { return transcript(self); },
    [=](log_atom, std::uint64_t after) { return log(self, after); },
    [=](cancel_atom, const cancel_reason& reason) {
      return ask_core<session_view>(self, [=](ticket number) {
        return self->state.core->cancel(number, reason, now_ms(self));
      });
    },
    [=](collect_atom, std::uint64_t seq) {
      return ask_core<session_view>(self, [=](ticket number) {
        return self->state.core->time_out(number, seq, now_ms(self));
      });
    },
    [=](await_atom, wait_for what, const caf::actor& client) {
      return await(self, what, client);
    },
    [=](await_atom) {
      return ask_core<session_view>(
        self, [=](ticket number) { return self->state.core->wait(number); });
    },
    [=](observe_atom, std::uint64_t after, const observer_actor& handle) {
      return observe(self, after, handle);
    },
    [=](acknowledge_atom, std::uint64_t seq, const observer_actor& handle) {
      acknowledge(self, seq, handle);
    },
    [=](unobserve_atom, const observer_actor& handle) {
      remove_observers(self, [&](auto& x) { return x.handle == handle; });
      offer_to_leave(self);
    },
    [=](expire_atom) {
      guarded(self, [=] {
        perform(self, self->state.core->passivate());
        if (self->state.host)
          tell_about_machine(self, machine_use::working);
      });
    },
    [=](leave_atom) {
      auto& now = self->state;
      now.offered_to_leave = false;
      if (may_leave(self))
        self->quit();
      else
        self->send(now.owner, stay_atom::value, id_of(self));
    },
    [=](stop_atom) {
      auto& now = self->state;
      now.stopping = true;
      ++now.host_number;
      now.host_due = false;
      guarded(self, [&] { perform(self, now.core->flush(now_ms(self))); });
    },
    [=](advance_atom, std::uint64_t number) {
      if (self->state.host_number != number || !self->state.host)
        return;
      self->state.host_due = true;
      guarded(self, [=] { perform(self, {}); });
    },
    [=](beat_atom, session_timer timer) {
      guarded(self, [=] { on_timer(self, timer); });
    },
  };
}

// -- session_runner -----------------------------------------------------------

session_runner::session_runner(caf::actor_config& config,
                               session_context_ptr context,
                               session_owner_actor owner, std::string id,
                               session_origin origin)
  : super(config),
    begin_([=, this] { return session(this, context, owner, id, origin); }) {
  // nop
}

session_runner::resume_result
session_runner::resume(caf::execution_unit* context,
                       std::size_t max_throughput) {
  constexpr std::size_t messages_at_a_time = 5;
  return super::resume(context, std::min(max_throughput, messages_at_a_time));
}

session_runner::behavior_type session_runner::make_behavior() {
  return std::exchange(begin_, nullptr)();
}

} // namespace muster
