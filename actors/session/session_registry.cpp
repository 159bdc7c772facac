// SPDX-License-Identifier: Apache-2.0

#include "actors/session/session_registry.hpp"

#include "messages/ids.hpp"
#include "messages/json.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

namespace muster {

namespace {

using registry_pointer
  = session_registry_impl::stateful_pointer<session_registry_state>;

void finish_stop(registry_pointer self);

/// Asks the disk, whose answer goes to `f` and whose error to `refuse`. What
/// began that way comes to its end before the registry does.
template <class T, class F, class Refuse, class... Ts>
void ask_disk(registry_pointer self, F f, Refuse refuse, Ts... request) {
  ++self->state.asked;
  self
    ->request(self->state.context->persistence, caf::infinite,
              std::move(request)...)
    .then(
      [=](T& x) mutable {
        f(x);
        --self->state.asked;
        finish_stop(self);
      },
      [=](caf::error& error) mutable {
        refuse(error);
        --self->state.asked;
        finish_stop(self);
      });
}

// -- entries ------------------------------------------------------------------

caf::error shutting_down() {
  return make_error(errc::shutting_down,
                    "the node is about to stop and takes no new work");
}

session_registry_state::entry&
activate(registry_pointer self, const std::string& id, session_origin origin) {
  auto& st = self->state;
  session_actor handle = self->spawn<session_runner, caf::monitored>(
    st.context, caf::actor_cast<session_owner_actor>(self), id, origin);
  st.ids.emplace(handle.address(), id);
  auto& entry = st.active[id];
  entry.handle = std::move(handle);
  ++st.activated;
  return entry;
}

/// Why no other session may become active.
std::optional<caf::error> check_room(registry_pointer self) {
  auto& st = self->state;
  if (st.active.size() < st.context->settings.max_active)
    return std::nullopt;
  return make_error(errc::overloaded,
                    fmt::format("{} sessions are active, as many as "
                                "session.max-active allows",
                                st.active.size()));
}

/// Keeps a request until its session has left, or has said that it stays.
/// @returns why not, if so many wait already.
std::optional<caf::error> park(registry_pointer self, const std::string& id,
                               std::function<void()> request) {
  auto& parked = self->state.active.at(id).parked;
  if (parked.size() >= self->state.context->settings.max_waiting)
    return make_error(errc::overloaded,
                      fmt::format("{} clients wait for session '{}', as many "
                                  "as session.max-waiting allows",
                                  parked.size(), id));
  parked.push_back(std::move(request));
  return std::nullopt;
}

/// Runs `f` with the session of that whole id, which is activated if need be.
/// @param refuse is told why that cannot be.
template <class F, class Refuse>
void with_session(registry_pointer self, const std::string& id, F f,
                  Refuse refuse) {
  auto& active = self->state.active;
  auto i = active.find(id);
  if (i != active.end() && i->second.leaving) {
    auto again = [=] { with_session(self, id, f, refuse); };
    if (auto refused = park(self, id, again))
      refuse(*refused);
    return;
  }
  if (i != active.end()) {
    f(i->second.handle);
    return;
  }
  if (auto refused = check_room(self)) {
    refuse(*refused);
    return;
  }
  auto handle = activate(self, id, session_origin::stored).handle;
  f(handle);
  // Woken by what began before the stop; the stop has gone to all others.
  if (self->state.stopping)
    self->send(handle, stop_atom::value);
}

/// Runs `f` with the whole id that `text` stands for.
/// @param refuse is told why there is no such one.
template <class F, class Refuse>
void with_id(registry_pointer self, const std::string& text, F f,
             Refuse refuse) {
  if (is_session_id(text)) {
    f(text);
    return;
  }
  if (!is_session_id_prefix(text)) {
    refuse(
      make_error(errc::not_found, fmt::format("session '{}' not found", text)));
    return;
  }
  auto take = [=](const std::vector<std::string>& found) mutable {
    if (found.size() == 1)
      f(found.front());
    else if (found.empty())
      refuse(make_error(errc::not_found,
                        fmt::format("session '{}' not found", text)));
    else
      refuse(make_error(errc::ambiguous,
                        fmt::format("'{}' fits more than one session, such as "
                                    "'{}' and '{}'; give more of it",
                                    text, found[0], found[1])));
  };
  ask_disk<std::vector<std::string>>(self, take, refuse, find_atom::value,
                                     text);
}

// -- passing on ---------------------------------------------------------------

/// Passes a request on to its session, which answers the client itself: its
/// answer comes before whatever it sends the client later.
template <class T, class... Ts>
caf::result<T>
pass_on(registry_pointer self, const std::string& text, Ts... request) {
  auto& st = self->state;
  if (st.stopping)
    return shutting_down();
  if (auto i = st.active.find(text); i != st.active.end() && !i->second.leaving)
    return self->delegate(i->second.handle, std::move(request)...);
  if (is_session_id(text) && !st.active.contains(text)) {
    if (auto refused = check_room(self))
      return std::move(*refused);
    return self->delegate(activate(self, text, session_origin::stored).handle,
                          std::move(request)...);
  }
  auto rp = self->make_response_promise<T>();
  auto refuse = [=](caf::error error) mutable { rp.deliver(std::move(error)); };
  auto ask = [=](const session_actor& handle) mutable {
    rp.delegate(handle, request...);
  };
  with_id(
    self, text,
    [=](const std::string& id) { with_session(self, id, ask, refuse); },
    refuse);
  return rp;
}

/// The same for what has no answer.
template <class... Ts>
void send_on(registry_pointer self, const std::string& id, Ts... message) {
  auto& st = self->state;
  if (auto i = st.active.find(id); i != st.active.end())
    self->send(i->second.handle, std::move(message)...);
}

template <class T, class Verb>
caf::result<T> create(registry_pointer self, Verb verb, session_spec& spec,
                      std::string& request_id) {
  auto& st = self->state;
  if (st.stopping)
    return shutting_down();
  auto& settings = st.context->settings;
  if (auto refused = check_spec(spec, settings))
    return to_caf(*refused);
  if (auto refused = check_room(self))
    return std::move(*refused);
  auto id
    = make_session_id(st.context->env.wall_ms(), st.context->env.random());
  ++st.spawned;
  auto& entry = activate(self, id, session_origin::created);
  return self->delegate(entry.handle, verb, std::move(spec),
                        std::move(request_id));
}

// -- leaving ------------------------------------------------------------------

/// Asks a session to end its actor, and keeps back what comes for it.
void ask_to_leave(registry_pointer self, const std::string& id, bool erase) {
  auto i = self->state.active.find(id);
  if (i == self->state.active.end() || i->second.leaving)
    return;
  i->second.leaving = true;
  i->second.erase = erase;
  self->send(i->second.handle, leave_atom::value);
}

void stay(registry_pointer self, const std::string& id) {
  auto i = self->state.active.find(id);
  if (i == self->state.active.end())
    return;
  i->second.leaving = i->second.erase = false;
  for (auto& request : std::exchange(i->second.parked, {}))
    request();
}

void erase_sessions(registry_pointer self, std::vector<std::string> ids) {
  auto count_them = [=](std::uint64_t count) { self->state.erased += count; };
  auto leave_them = [](const caf::error&) {
    // They are found again in the next round.
  };
  ask_disk<std::uint64_t>(self, count_them, leave_them, erase_atom::value,
                          std::move(ids));
}

void finish_stop(registry_pointer self) {
  auto& st = self->state;
  if (!st.stopping || !st.active.empty() || st.asked > 0)
    return;
  for (auto& promise : std::exchange(st.stoppers, {}))
    promise.deliver(caf::ok_atom::value);
}

/// A session's actor has ended.
void bury(registry_pointer self, const caf::actor_addr& who) {
  auto& st = self->state;
  auto i = st.ids.find(who);
  if (i == st.ids.end())
    return;
  auto node = st.active.extract(i->second);
  st.ids.erase(i);
  auto& entry = node.mapped();
  if (entry.machine != machine_use::none)
    --st.machines;
  if (entry.asked_back)
    --st.asked_back;
  if (entry.erase)
    erase_sessions(self, {node.key()});
  for (auto& request : entry.parked)
    request();
  finish_stop(self);
}

// -- virtual machines ---------------------------------------------------------

/// Machines above the limit, without those that were asked for.
std::uint64_t excess(registry_pointer self) {
  auto& st = self->state;
  auto kept = st.machines - st.asked_back;
  return kept - std::min(kept, st.context->settings.max_machines);
}

void ask_back(registry_pointer self, session_registry_state::entry& entry) {
  entry.asked_back = true;
  ++self->state.asked_back;
  self->send(entry.handle, expire_atom::value);
}

/// Lets the sessions that only wait and are the cheapest to build again give
/// their machines back.
void relieve(registry_pointer self) {
  auto& st = self->state;
  auto count = excess(self);
  if (count == 0)
    return;
  // A tenth at once: going through all of them for each one would cost more
  // than the machines.
  count += st.context->settings.max_machines / 10;
  // The id decides between equals, so that chance has no say.
  std::vector<std::pair<std::uint64_t, std::string_view>> candidates;
  for (auto& [id, entry] : st.active)
    if (entry.machine == machine_use::waiting && !entry.asked_back)
      candidates.emplace_back(entry.machine_cost, id);
  count = std::min<std::uint64_t>(count, candidates.size());
  std::nth_element(candidates.begin(),
                   candidates.begin() + static_cast<std::ptrdiff_t>(count),
                   candidates.end());
  for (std::uint64_t i = 0; i < count; ++i)
    ask_back(self, st.active.at(std::string{candidates[i].second}));
}

void note_machine(registry_pointer self, const std::string& id,
                  std::uint64_t cost, machine_use use) {
  auto& st = self->state;
  auto i = st.active.find(id);
  if (i == st.active.end())
    return;
  auto& entry = i->second;
  if (entry.machine != machine_use::none)
    --st.machines;
  if (use != machine_use::none)
    ++st.machines;
  if (std::exchange(entry.asked_back, false))
    --st.asked_back;
  entry.machine = use;
  entry.machine_cost = cost;
  // As long as there are too many, all others that wait have been asked.
  if (use == machine_use::waiting && excess(self) > 0)
    ask_back(self, entry);
  else if (use == machine_use::working)
    relieve(self);
}

// -- garbage collection -------------------------------------------------------

/// Ends what nobody came back to. Somebody may have done so since the scan, so
/// that the session has the last word.
void time_out(registry_pointer self, const scanned_session& found) {
  auto leave_it = [](const caf::error&) {
    // It is found again in the next round.
  };
  with_session(
    self, found.session_id,
    [=, seq = found.seq](const session_actor& handle) {
      self->request(handle, caf::infinite, collect_atom::value, seq)
        .then(
          [=](const session_view& view) {
            if (view.phase == session_phase::cancelled)
              ++self->state.timed_out;
          },
          leave_it);
    },
    leave_it);
}

/// Deletes the sessions of a page that ended long enough ago. One that has an
/// actor is asked first: somebody may watch it.
std::uint64_t erase_ended(registry_pointer self, const scan_page& page,
                          std::int64_t older_than_ms) {
  std::uint64_t count = 0;
  std::vector<std::string> gone;
  for (auto& x : page.sessions) {
    if (!is_terminal(x.phase) || x.idle_ms < older_than_ms)
      continue;
    ++count;
    if (self->state.active.contains(x.session_id))
      ask_to_leave(self, x.session_id, true);
    else
      gone.push_back(x.session_id);
  }
  if (!gone.empty())
    erase_sessions(self, std::move(gone));
  return count;
}

std::uint64_t collect_page(registry_pointer self, const scan_page& page) {
  auto& settings = self->state.context->settings;
  auto count = erase_ended(self, page, settings.retention.count());
  for (auto& x : page.sessions)
    if (x.phase == session_phase::paused
        && x.idle_ms >= settings.idle_ttl.count()) {
      ++count;
      time_out(self, x);
    }
  return count;
}

/// Looks through one page of all sessions; a round begins every
/// `session.collect-interval`.
caf::result<std::uint64_t> collect(registry_pointer self) {
  auto& st = self->state;
  auto now = st.context->env.steady_ns();
  if (st.stopping || st.collecting || now < st.next_round_ns)
    return std::uint64_t{0};
  st.collecting = true;
  auto rp = self->make_response_promise<std::uint64_t>();
  self
    ->request(st.context->persistence, caf::infinite, scan_atom::value,
              scan_request{st.collect_after, 1'000, false})
    .then(
      [=](const scan_page& page) mutable {
        auto& now_st = self->state;
        now_st.collecting = false;
        if (now_st.stopping) {
          rp.deliver(std::uint64_t{0});
          return;
        }
        now_st.collect_after = page.next;
        if (page.next == 0)
          now_st.next_round_ns
            = now_st.context->env.steady_ns()
              + std::chrono::nanoseconds{now_st.context->settings
                                           .collect_interval}
                  .count();
        rp.deliver(collect_page(self, page));
      },
      [=](caf::error& error) mutable {
        self->state.collecting = false;
        rp.deliver(std::move(error));
      });
  return rp;
}

/// Somebody who waits until sessions are deleted.
struct pruning {
  std::int64_t older_than_ms = 0;
  caf::typed_response_promise<std::uint64_t> promise;
  std::uint64_t count = 0;
  /// What is under way: requests, and sessions that were asked to leave.
  std::size_t open = 0;
  caf::error failed;

  void finish_one() {
    if (--open > 0)
      return;
    if (failed)
      promise.deliver(failed);
    else
      promise.deliver(count);
  }
};

using pruning_ptr = std::shared_ptr<pruning>;

void prune_these(registry_pointer self, const pruning_ptr& p,
                 std::vector<std::string> ids) {
  ++p->open;
  auto count_them = [=](std::uint64_t count) {
    self->state.erased += count;
    p->count += count;
    p->finish_one();
  };
  auto refuse = [=](const caf::error& error) {
    p->failed = error;
    p->finish_one();
  };
  ask_disk<std::uint64_t>(self, count_them, refuse, erase_atom::value,
                          std::move(ids));
}

/// Deletes a session that has an actor, unless it turns out to be needed.
void prune_active(registry_pointer self, const pruning_ptr& p,
                  const std::string& id) {
  ++p->open;
  ask_to_leave(self, id, false);
  auto go_on = [=] {
    if (!self->state.active.contains(id))
      prune_these(self, p, {id});
    p->finish_one();
  };
  if (auto refused = park(self, id, go_on)) {
    p->failed = std::move(*refused);
    p->finish_one();
  }
}

/// Deletes what ended long enough ago, page by page.
void prune_behind(registry_pointer self, std::int64_t after, pruning_ptr p) {
  ++p->open;
  auto prune_page = [=](const scan_page& page) {
    std::vector<std::string> gone;
    for (auto& x : page.sessions) {
      if (!is_terminal(x.phase) || x.idle_ms < p->older_than_ms)
        continue;
      if (self->state.active.contains(x.session_id))
        prune_active(self, p, x.session_id);
      else
        gone.push_back(x.session_id);
    }
    if (!gone.empty())
      prune_these(self, p, std::move(gone));
    if (page.next != 0)
      prune_behind(self, page.next, p);
    p->finish_one();
  };
  auto refuse = [=](const caf::error& error) {
    p->failed = error;
    p->finish_one();
  };
  ask_disk<scan_page>(self, prune_page, refuse, scan_atom::value,
                      scan_request{after, 1'000, false});
}

// -- coming back --------------------------------------------------------------

/// Has the pool end workers whose session is over or never came to be: the node
/// died before it could say so. Goes on with one after the other.
void end_workers_of(registry_pointer self, std::vector<std::string> sessions) {
  auto& st = self->state;
  if (st.stopping || sessions.empty())
    return;
  auto id = std::move(sessions.back());
  sessions.pop_back();
  auto settle = [=](bool is_over) {
    if (is_over)
      self->send(self->state.context->pool, release_atom::value, std::string{},
                 id);
    end_workers_of(self, sessions);
  };
  auto refused = [=](const caf::error& error) {
    settle(from_caf(error).code == errc::not_found);
  };
  auto ask = [=](const session_actor& handle) {
    self->request(handle, caf::infinite, show_atom::value)
      .then([=](const session_view& view) { settle(is_terminal(view.phase)); },
            refused);
  };
  with_session(self, id, ask, refused);
}

/// The same for all workers, once the pool has found them.
void end_workers(registry_pointer self) {
  self
    ->request(self->state.context->pool, caf::infinite, pool_atom::value,
              list_atom::value)
    .then(
      [=](const std::vector<worker_view>& workers) {
        std::vector<std::string> sessions;
        for (auto& worker : workers)
          if (worker.session)
            sessions.push_back(*worker.session);
        end_workers_of(self, std::move(sessions));
      },
      [](const caf::error&) {
        // The pool is broken, or the node stops.
      });
}

/// Activates a session that was running, and runs `f` when it is there.
template <class F>
void resume(registry_pointer self, const std::string& id, F f) {
  auto done = [=] {
    --self->state.resuming;
    f();
  };
  auto refused = [=](const caf::error&) { done(); };
  auto wait = [=](const session_actor& handle) {
    self->request(handle, caf::infinite, show_atom::value)
      .then([=](const session_view&) { done(); }, refused);
  };
  // There was room for it before the node died.
  if (!self->state.active.contains(id))
    activate(self, id, session_origin::stored);
  with_session(self, id, wait, refused);
}

/// Activates those under which the node died, one at a time.
void resume_suspects(registry_pointer self) {
  auto& st = self->state;
  if (st.stopping || st.suspects.empty())
    return;
  auto id = std::move(st.suspects.back());
  st.suspects.pop_back();
  resume(self, id, [=] { resume_suspects(self); });
}

/// Activates the running sessions of one page, a few at a time, and goes on
/// when they are there. What could take the node down again waits until all
/// others have had their turn.
void resume_running(registry_pointer self, std::int64_t after) {
  auto& st = self->state;
  if (st.stopping)
    return;
  auto limit = static_cast<std::uint32_t>(st.context->settings.max_activations);
  self
    ->request(st.context->persistence, caf::infinite, scan_atom::value,
              scan_request{after, limit, true})
    .then(
      [=](const scan_page& page) {
        if (self->state.stopping)
          return;
        auto open = std::make_shared<std::uint64_t>(1);
        auto next = page.next;
        auto done = [=] {
          if (--*open > 0)
            return;
          if (next != 0)
            self->send(self, recall_atom::value, next);
          else
            resume_suspects(self);
        };
        auto& now_st = self->state;
        for (auto& x : page.sessions) {
          ++now_st.resuming;
          if (now_st.context->crashes->contains(x.session_id)) {
            now_st.suspects.push_back(x.session_id);
            continue;
          }
          ++*open;
          resume(self, x.session_id, done);
        }
        done();
      },
      [](const caf::error&) {
        // The disk does not answer: the node is on its way down.
      });
}

// -- snapshots ----------------------------------------------------------------

/// Puts the snapshots of sessions together, in their order.
/// @param more whether there are others.
void gather(registry_pointer self, std::vector<std::string> ids, bool more,
            snapshot_options options,
            caf::typed_response_promise<std::string> rp) {
  struct collection {
    std::vector<json> parts;
    std::size_t missing = 0;
    caf::error failed;
  };
  auto all = std::make_shared<collection>();
  all->parts.resize(ids.size());
  all->missing = ids.size();
  auto finish = [=]() mutable {
    if (all->failed) {
      rp.deliver(all->failed);
      return;
    }
    auto sessions = json::array();
    for (auto& part : all->parts)
      if (!part.is_null())
        sessions.push_back(std::move(part));
    json out{{"active_sessions", sessions.size()},
             {"more", more},
             {"sessions", std::move(sessions)}};
    rp.deliver(out.dump());
  };
  if (ids.empty()) {
    finish();
    return;
  }
  for (std::size_t i = 0; i < ids.size(); ++i) {
    auto note = [=](json part) mutable {
      all->parts[i] = std::move(part);
      if (--all->missing == 0)
        finish();
    };
    auto ask = [=](const session_actor& handle) {
      self->request(handle, caf::infinite, snapshot_atom::value, options)
        .then([=](const std::string& text) mutable { note(json::parse(text)); },
              // It ended or went meanwhile.
              [=](const caf::error&) mutable { note(nullptr); });
    };
    auto refuse = [=](const caf::error& error) mutable {
      all->failed = error;
      note(nullptr);
    };
    with_session(self, ids[i], ask, refuse);
  }
}

caf::result<std::string> snapshot_all(registry_pointer self,
                                      snapshot_options options) {
  if (self->state.stopping)
    return shutting_down();
  auto rp = self->make_response_promise<std::string>();
  session_list_request request;
  request.phases = {session_phase::running, session_phase::paused};
  auto gather_page = [=](const session_page& page) {
    std::vector<std::string> ids;
    for (auto& summary : page.sessions)
      ids.push_back(summary.session_id);
    gather(self, std::move(ids), page.more, options, rp);
  };
  auto refuse
    = [=](caf::error& error) mutable { rp.deliver(std::move(error)); };
  ask_disk<session_page>(self, gather_page, refuse, list_atom::value, request);
  return rp;
}

caf::result<caf::ok_atom> stop(registry_pointer self) {
  auto& st = self->state;
  st.stopping = true;
  auto rp = self->make_response_promise<caf::ok_atom>();
  st.stoppers.push_back(rp);
  for (auto& [id, entry] : st.active)
    self->send(entry.handle, stop_atom::value);
  finish_stop(self);
  return rp;
}

bool is_package_name(const std::string& name) {
  return !name.empty()
         && std::all_of(name.begin(), name.end(), [](unsigned char c) {
              return std::isalnum(c) != 0 || c == '_' || c == '-';
            });
}

} // namespace

std::string session_registry_state::status() const {
  return json{{"active", active.size()}, {"machines", machines},
              {"resuming", resuming},    {"spawned", spawned},
              {"activated", activated},  {"timed_out", timed_out},
              {"erased", erased}}
    .dump();
}

std::optional<failure> check_spec(const session_spec& spec,
                                  const session_settings& settings) {
  auto is_blank = [](const std::string& text) {
    return text.find_first_not_of(" \t\r\n\v\f") == std::string::npos;
  };
  if (spec.kind == session_kind::run) {
    if (is_blank(spec.code))
      return failure{errc::invalid_spec, "the code must not be empty"};
    if (spec.code.size() > settings.max_code_bytes)
      return failure{errc::too_large,
                     fmt::format("the code has {} bytes, more than the {} that "
                                 "session.max-code allows",
                                 spec.code.size(), settings.max_code_bytes)};
    if (!is_utf8(spec.code))
      return failure{errc::not_utf8, "the code is not valid UTF-8"};
  } else if (spec.kind != session_kind::advice) {
    // A newer client may know more of them.
    return failure{errc::invalid_spec,
                   fmt::format("there is no kind {} of sessions here",
                               static_cast<int>(spec.kind))};
  } else if (!is_package_name(spec.strategy)) {
    return failure{errc::invalid_spec,
                   fmt::format("'{}' cannot be the name of a package: letters, "
                               "digits, '_' and '-' only",
                               spec.strategy)};
  }
  if (spec.ctx.size() > settings.max_ctx_bytes)
    return failure{errc::too_large,
                   fmt::format("the ctx has {} bytes, more than the {} that "
                               "session.max-ctx allows",
                               spec.ctx.size(), settings.max_ctx_bytes)};
  auto ctx = parse_json(spec.ctx, "the ctx");
  if (!ctx)
    return failure{errc::invalid_spec, ctx.error().message};
  if (!ctx->is_object())
    return failure{
      errc::invalid_spec,
      fmt::format("the ctx must be a JSON object, not {}", kind_of(*ctx))};
  for (auto* text : {&spec.name, &spec.strategy})
    if (!is_utf8(*text))
      return failure{errc::not_utf8, "the name is not valid UTF-8"};
  if (spec.task && !is_utf8(*spec.task))
    return failure{errc::not_utf8, "the task is not valid UTF-8"};
  for (auto& folder : spec.packages)
    if (folder.empty() || folder.front() != '/' || !is_utf8(folder))
      return failure{errc::invalid_spec,
                     fmt::format("the package folder '{}' is not an absolute "
                                 "path",
                                 folder)};
  return std::nullopt;
}

session_registry_impl::behavior_type
session_registry(registry_pointer self, session_context_ptr context,
                 status_sink_actor sink) {
  self->state.context = std::move(context);
  self->state.sink = std::move(sink);
  self->set_down_handler([=](const caf::down_msg& x) { bury(self, x.source); });
  self->set_exit_handler([=](const caf::exit_msg& x) {
    for (auto& [id, entry] : self->state.active)
      self->send_exit(entry.handle, x.reason);
    self->quit(x.reason);
  });
  self->send(self, recall_atom::value, std::int64_t{0});
  end_workers(self);
  return {
    // -- sessions -------------------------------------------------------------
    [=](start_atom verb, session_spec& spec, std::string& request_id) {
      return create<session_view>(self, verb, spec, request_id);
    },
    [=](spawn_atom verb, session_spec& spec, std::string& request_id) {
      return create<std::string>(self, verb, spec, request_id);
    },
    [=](feed_atom verb, const std::string& id, std::vector<answer>& answers,
        feed_mode mode, std::string& request_id) {
      return pass_on<feed_reply>(self, id, verb, std::move(answers), mode,
                                 std::move(request_id));
    },
    [=](pending_atom verb, const std::string& id) {
      return pass_on<std::string>(self, id, verb);
    },
    [=](show_atom verb, const std::string& id) {
      return pass_on<session_view>(self, id, verb);
    },
    [=](snapshot_atom verb, const std::string& id,
        const snapshot_options& options) {
      return pass_on<std::string>(self, id, verb, options);
    },
    [=](snapshot_atom, const snapshot_options& options) {
      return snapshot_all(self, options);
    },
    [=](transcript_atom verb, const std::string& id) {
      return pass_on<std::string>(self, id, verb);
    },
    [=](log_atom verb, const std::string& id, std::uint64_t after) {
      return pass_on<std::vector<log_line>>(self, id, verb, after);
    },
    [=](cancel_atom verb, const std::string& id, const cancel_reason& reason) {
      return pass_on<session_view>(self, id, verb, reason);
    },
    [=](await_atom verb, const std::string& id, wait_for what,
        const caf::actor& client) {
      return pass_on<session_view>(self, id, verb, what, client);
    },
    [=](observe_atom verb, const std::string& id, std::uint64_t after,
        const observer_actor& observer) {
      return pass_on<session_view>(self, id, verb, after, observer);
    },
    [=](acknowledge_atom verb, const std::string& id, std::uint64_t seq,
        const observer_actor& observer) {
      send_on(self, id, verb, seq, observer);
    },
    [=](unobserve_atom verb, const std::string& id,
        const observer_actor& observer) { send_on(self, id, verb, observer); },
    [=](list_atom verb,
        const session_list_request& request) -> caf::result<session_page> {
      return self->delegate(self->state.context->persistence, verb, request);
    },
    [=](prune_atom, std::int64_t older_than_ms) -> caf::result<std::uint64_t> {
      auto p = std::make_shared<pruning>();
      p->older_than_ms = std::max<std::int64_t>(older_than_ms, 0);
      p->promise = self->make_response_promise<std::uint64_t>();
      prune_behind(self, 0, p);
      return p->promise;
    },
    // -- the node -------------------------------------------------------------
    [=](collect_atom) { return collect(self); },
    [=](stop_atom) { return stop(self); },
    // -- the sessions themselves ----------------------------------------------
    [=](await_atom verb, const std::string& id) {
      return pass_on<session_view>(self, id, verb);
    },
    [=](leave_atom, const std::string& id) { ask_to_leave(self, id, false); },
    [=](stay_atom, const std::string& id) { stay(self, id); },
    [=](machine_atom, const std::string& id, std::uint64_t cost,
        machine_use use) { note_machine(self, id, cost, use); },
    // -- the registry itself --------------------------------------------------
    [=](recall_atom, std::int64_t after) { resume_running(self, after); },
    [=](report_atom) {
      self->send(self->state.sink, report_atom::value, "sessions",
                 self->state.status());
    },
  };
}

} // namespace muster
