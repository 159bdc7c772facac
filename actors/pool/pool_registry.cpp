// SPDX-License-Identifier: Apache-2.0

#include "actors/pool/pool_registry.hpp"

#include "actors/pool/worker_process.hpp"
#include "actors/process/core_driver.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

#include <unistd.h>

namespace muster {

namespace {

using registry_pointer
  = pool_registry_impl::stateful_pointer<pool_registry_state>;

void perform(registry_pointer self, pool::effects todo);

// -- ports --------------------------------------------------------------------

/// Tells this actor what happens to a worker, for as long as it is there.
template <class Event>
std::function<void(Event)>
listener(registry_pointer self, const std::string& sid) {
  return make_listener<Event>(self, [sid](Event event) {
    return worker_event{sid, std::move(event)};
  });
}

// -- effects: each gives what follows from it at once -------------------------

struct performer {
  registry_pointer self;

  [[nodiscard]] const pool_parts& parts() const {
    return *self->state.parts;
  }

  [[nodiscard]] pool_table& table() const {
    return *self->state.table;
  }

  pool::effects operator()(pool::save& x) const {
    auto done = [self = self](const expected<void>& result) {
      perform(self, self->state.table->saved(result));
    };
    self
      ->request(parts().persistence, caf::infinite, save_atom::value,
                std::string{pool_registry_document}, std::move(x.text))
      .then([=](caf::ok_atom) { done({}); },
            [=](const caf::error& error) {
              done(tl::unexpected<failure>{from_caf(error)});
            });
    return {};
  }

  pool::effects operator()(pool::keep_copy& x) const {
    keep_broken_copy(self, parts().persistence, pool_registry_document,
                     std::move(x.text));
    return {};
  }

  pool::effects operator()(pool::remove_socket& x) const {
    parts().remove_file(x.path);
    return {};
  }

  pool::effects operator()(pool::sweep_sockets& x) const {
    std::error_code gone;
    for (auto& file : std::filesystem::directory_iterator{
           parts().settings.socket_folder(), gone})
      if (file.path().extension() == ".sock"
          && x.kept.count(file.path().string()) == 0)
        parts().remove_file(file.path().string());
    return {};
  }

  pool::effects operator()(pool::start& x) const {
    auto order = worker_order(parts().settings, x.sid, x.sock, x.nonce);
    return table().started(
      x.sid,
      parts().processes->start(order, listener<process_event>(self, x.sid)));
  }

  pool::effects operator()(pool::adopt& x) const {
    return table().adopted(
      x.sid,
      parts().processes->adopt(x.who, listener<process_event>(self, x.sid)));
  }

  pool::effects operator()(pool::look& x) const {
    return table().looked(x.sid, parts().find_process(x.pid));
  }

  pool::effects operator()(pool::identify& x) const {
    return table().identified(x.sid, parts().find_process(x.pid));
  }

  pool::effects operator()(pool::send_signal& x) const {
    auto sent = parts().processes->send(x.who, x.number);
    return sent ? pool::effects{} : table().signal_refused(x.sid, sent.error());
  }

  pool::effects operator()(pool::let_go&) const {
    parts().processes->stop();
    return {};
  }

  pool::effects operator()(pool::connect& x) const {
    return table().connecting(
      x.sid,
      parts().sockets->connect(x.sock, listener<socket_event>(self, x.sid)));
  }

  pool::effects operator()(pool::send& x) const {
    auto sent = parts().sockets->send(x.connection, encode(x.what));
    return sent ? pool::effects{} : table().send_refused(x.sid);
  }

  pool::effects operator()(pool::ping& x) const {
    auto& pings = self->state.pings;
    if (pings.empty())
      self->send(self, beat_atom::value);
    pings.push_back(x.connection);
    return {};
  }

  pool::effects operator()(pool::probe& x) const {
    return table().probed(x.sid, x.connection,
                          parts().sockets->heard(x.connection));
  }

  pool::effects operator()(pool::hang_up& x) const {
    parts().sockets->close(x.connection);
    return {};
  }

  pool::effects operator()(pool::warn& x) const {
    parts().warn(x.text);
    return {};
  }

  pool::effects operator()(pool::tell& x) const {
    if (self->state.watcher)
      self->send(self->state.watcher, slot_atom::value, std::move(x.what));
    return {};
  }

  template <class Reply>
  pool::effects operator()(Reply&) const {
    // Answered by whoever has its promise.
    return {};
  }
};

/// Does what the table wants, and what it wants next, in order.
void perform(registry_pointer self, pool::effects todo) {
  drive(self, std::move(todo), performer{self});
}

// -- requests -----------------------------------------------------------------

/// Adds what the processes use; who is not known here uses nothing.
std::vector<worker_view> with_usage(registry_pointer self,
                                    pool::reply_list& x) {
  for (auto& worker : x.workers) {
    auto who = self->state.table->process_of(worker.sid);
    auto usage = who ? self->state.parts->usage_of(*who) : std::nullopt;
    if (usage) {
      worker.rss_bytes = usage->memory_bytes;
      worker.cpu_ms = usage->cpu_ms;
    }
  }
  return std::move(x.workers);
}

/// Passes a request to the table, and answers with the effect of kind `Reply`.
/// @param f makes the answer of it.
/// @param ask calls the table with the ticket.
template <class T, class Reply, class F, class Ask>
caf::result<T> enter(registry_pointer self, F f, Ask ask) {
  return enter<T, Reply, pool::reply_refusal>(
    self, std::move(f), [&](auto ticket) { perform(self, ask(ticket)); });
}

slot_occupant occupant_of(const slot_id& slot, pool::reply_worker& x) {
  return {slot, std::move(x.worker.sid), x.worker.pid,
          std::move(x.worker.session)};
}

/// Ends the worker of a slot. One that does not end is an error.
caf::result<caf::ok_atom> enter_stop(registry_pointer self,
                                     const slot_id& slot) {
  auto rp = self->make_response_promise<caf::ok_atom>();
  auto answer = [=](pool::effect& x) mutable {
    if (auto* refusal = std::get_if<pool::reply_refusal>(&x))
      rp.deliver(to_caf(refusal->why));
    else if (auto& errors = std::get<pool::reply_stop>(x).reply.errors;
             !errors.empty())
      rp.deliver(to_caf(errors.front().why));
    else
      rp.deliver(caf::ok_atom::value);
  };
  auto ticket = open_request(self, std::move(answer));
  perform(self, self->state.table->stop_slot(ticket, slot));
  return rp;
}

void read_document(registry_pointer self) {
  auto load = [=](const expected<std::string>& text) {
    perform(self, self->state.table->load(text));
  };
  self
    ->request(self->state.parts->persistence, caf::infinite, read_atom::value,
              std::string{pool_registry_document})
    .then([=](const std::string& text) { load(text); },
          [=](const caf::error& error) {
            load(tl::unexpected<failure>{from_caf(error)});
          });
}

// -- events -------------------------------------------------------------------

/// How many workers are asked in a row whether they are there.
constexpr std::size_t pings_in_a_row = 32;

/// Asks some of them, and leaves the others for later.
void send_pings(registry_pointer self) {
  auto& pings = self->state.pings;
  auto question = encode(worker_status{});
  for (auto count = std::min(pings.size(), pings_in_a_row); count > 0;
       --count) {
    // Where that cannot be, the end of the connection is heard.
    (void)self->state.parts->sockets->send(pings.front(), question);
    pings.pop_front();
  }
  if (!pings.empty())
    self->send(self, beat_atom::value);
}

pool::effects on_event(pool_table& table, const std::string& sid,
                       process_event& event) {
  if (std::holds_alternative<process_ready>(event))
    return table.ready(sid);
  return table.ended(sid, std::get<process_ended>(event));
}

pool::effects on_event(pool_table& table, const std::string& sid,
                       socket_event& event) {
  if (auto* opened = std::get_if<socket_opened>(&event))
    return table.opened(sid, opened->id, opened->peer);
  if (auto* frame = std::get_if<socket_frame>(&event))
    return table.heard(sid, frame->id, decode_reply(frame->text));
  auto& closed = std::get<socket_closed>(event);
  return table.closed(sid, closed.id, closed.why);
}

} // namespace

pool_parts system_pool_parts(pool_settings settings) {
  pool_parts out;
  out.settings = std::move(settings);
  out.env = real_environment();
  out.find_process = [](std::int32_t pid) { return find_process(pid); };
  out.usage_of = [](const process_identity& who) { return usage_of(who); };
  out.remove_file = [](const std::string& path) { ::unlink(path.c_str()); };
  out.warn = [](const std::string& text) { spdlog::warn("{}", text); };
  return out;
}

process_order worker_order(const pool_settings& settings,
                           const std::string& sid, const std::string& sock,
                           const std::string& nonce) {
  process_order out;
  out.program = settings.program;
  out.arguments = settings.arguments;
  for (auto& x : {std::string{"--sid"}, sid, std::string{"--sock"}, sock,
                  std::string{"--orphan-timeout"},
                  fmt::format("{}ms", settings.orphan_timeout.count()),
                  std::string{"--greet-timeout"},
                  fmt::format("{}ms", settings.spawn_timeout.count()),
                  std::string{"--max-memory"},
                  fmt::format("{}", settings.max_memory_bytes)})
    out.arguments.push_back(x);
  // Arguments can be read by everybody on the machine.
  out.environment
    = {fmt::format("{}={}", worker_nonce_variable, nonce), "TZ=UTC"};
  out.ready_within = settings.spawn_timeout;
  return out;
}

pool_registry_impl::behavior_type
pool_registry(registry_pointer self, std::shared_ptr<const pool_parts> parts,
              status_sink_actor sink) {
  auto& st = self->state;
  st.parts = std::move(parts);
  st.sink = std::move(sink);
  st.table = std::make_unique<pool_table>(st.parts->settings, st.parts->env);
  read_document(self);
  return {
    // -- clients --------------------------------------------------------------
    [=](pool_atom, list_atom) {
      return enter<std::vector<worker_view>, pool::reply_list>(
        self, [=](pool::reply_list& x) { return with_usage(self, x); },
        [=](auto ticket) { return self->state.table->list(ticket); });
    },
    [=](pool_atom, spawn_atom, const std::string& request_id) {
      return enter<worker_view, pool::reply_worker>(
        self, [](pool::reply_worker& x) { return std::move(x.worker); },
        [&](auto ticket) {
          return self->state.table->spawn(ticket, request_id);
        });
    },
    [=](pool_atom, stop_atom, const std::string& prefix) {
      return enter<pool_stop_reply, pool::reply_stop>(
        self, [](pool::reply_stop& x) { return std::move(x.reply); },
        [&](auto ticket) { return self->state.table->stop(ticket, prefix); });
    },
    [=](pool_atom, collect_atom) {
      return enter<std::vector<std::string>, pool::reply_ids>(
        self, [](pool::reply_ids& x) { return std::move(x.ids); },
        [=](auto ticket) { return self->state.table->collect(ticket); });
    },
    // -- the node -------------------------------------------------------------
    [=](report_atom) {
      self->send(self->state.sink, report_atom::value, "pool",
                 self->state.table->status().dump());
    },
    [=](collect_atom) {
      return enter<std::uint64_t, pool::reply_count>(
        self, [](pool::reply_count& x) { return x.count; },
        [=](auto ticket) { return self->state.table->tick(ticket); });
    },
    [=](probe_atom) {
      return enter<std::uint64_t, pool::reply_count>(
        self, [](pool::reply_count& x) { return x.count; },
        [=](auto ticket) { return self->state.table->probe(ticket); });
    },
    // -- groups ---------------------------------------------------------------
    [=](slot_atom, check_atom, const std::vector<pod_order>& orders) {
      return enter<caf::ok_atom, pool::reply_count>(
        self, [](pool::reply_count&) { return caf::ok_atom::value; },
        [&](auto ticket) {
          return self->state.table->check_slots(ticket, orders.size());
        });
    },
    [=](slot_atom, spawn_atom, const slot_id& slot, const pod_order&) {
      return enter<slot_occupant, pool::reply_worker>(
        self, [=](pool::reply_worker& x) { return occupant_of(slot, x); },
        [&](auto ticket) {
          return self->state.table->spawn_slot(ticket, slot);
        });
    },
    [=](slot_atom, find_atom, const slot_id& slot) {
      return enter<slot_occupant, pool::reply_worker>(
        self, [=](pool::reply_worker& x) { return occupant_of(slot, x); },
        [&](auto ticket) {
          return self->state.table->find_slot(ticket, slot);
        });
    },
    [=](slot_atom, stop_atom, const slot_id& slot) {
      return enter_stop(self, slot);
    },
    [=](slot_atom, list_atom, const std::string& group) {
      return enter<std::vector<slot_occupant>, pool::reply_slots>(
        self,
        [=](pool::reply_slots& x) {
          std::erase_if(x.occupants,
                        [&](auto& y) { return y.slot.group != group; });
          return std::move(x.occupants);
        },
        [=](auto ticket) { return self->state.table->list_slots(ticket); });
    },
    [=](slot_atom, watch_atom, slot_watcher_actor& watcher) {
      self->state.watcher = std::move(watcher);
    },
    // -- sessions -------------------------------------------------------------
    [=](take_atom, const std::string& session, std::uint64_t seq) {
      return enter<worker_lease, pool::reply_lease>(
        self, [](pool::reply_lease& x) { return x.lease; },
        [&](auto ticket) {
          return self->state.table->take(ticket, session, seq);
        });
    },
    [=](release_atom, const std::string& sid, const std::string& session) {
      perform(self, self->state.table->release(sid, session));
    },
    [=](release_atom, const std::string& sid, const std::string& session,
        failure& why) {
      perform(self, self->state.table->lose_lease(sid, session, why));
    },
    // -- the end --------------------------------------------------------------
    [=](stop_atom) {
      return enter<caf::ok_atom, pool::reply_stopped>(
        self, [](pool::reply_stopped&) { return caf::ok_atom::value; },
        [=](auto ticket) { return self->state.table->shut_down(ticket); });
    },
    // -- the actor itself -----------------------------------------------------
    [=](worker_event& x) {
      perform(self, std::visit(
                      [&](auto& event) {
                        return on_event(*self->state.table, x.sid, event);
                      },
                      x.what));
    },
    [=](beat_atom) { send_pings(self); },
    [=](expire_atom, std::uint64_t number) {
      if (timer_fired(self, number))
        perform(self, self->state.table->on_time());
    },
  };
}

} // namespace muster
