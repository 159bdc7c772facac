// SPDX-License-Identifier: Apache-2.0

#include "actors/pod/spawned_pod_registry.hpp"

#include "actors/pod/pod_output.hpp"
#include "actors/pod/scope_rules.hpp"
#include "actors/process/descendants.hpp"
#include "actors/process/process_handle.hpp"

#include "messages/pod_json.hpp"
#include "messages/scope_json.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

#include <signal.h>

namespace muster {

namespace {

using registry_pointer
  = spawned_pod_registry_impl::stateful_pointer<spawned_pod_registry_state>;

/// What an argument or a variable of a program may have; the kernel's limit is
/// 128 KiB.
constexpr std::size_t max_variable_bytes = 100'000;

/// How much of what a pod said is quoted when it did not start.
constexpr std::size_t max_tail_bytes = 4'096;

/// What stands before what the kernel enforces, in the line of `confine`.
constexpr std::string_view confined = "confined ";

void perform(registry_pointer self, pod::effects todo);

template <class Event>
std::function<void(Event)>
listener(registry_pointer self, const std::string& id) {
  return make_listener<Event>(self, [id](Event event) {
    return pod_process_event{id, std::move(event)};
  });
}

std::string folder_of(const pod_settings& settings, const std::string& id) {
  return fmt::format("{}/run/{}", settings.folder, id);
}

// -- what pods ask for --------------------------------------------------------

/// The answer to a request, as a pod reads it.
expected<json> answer_of(const pod::effect& x) {
  if (auto* refusal = std::get_if<pod::reply_refusal>(&x))
    return tl::unexpected<failure>{refusal->why};
  if (auto* list = std::get_if<pod::reply_list>(&x))
    return to_json(list->pods);
  if (auto* reply = std::get_if<pod::reply_pod>(&x))
    return to_json(reply->pod);
  if (auto* sent = std::get_if<pod::reply_sent>(&x))
    return json{{"turn", sent->turn}};
  if (auto* output = std::get_if<pod::reply_output>(&x))
    return to_json(output->output);
  if (auto* stop = std::get_if<pod::reply_stop>(&x))
    return to_json(stop->reply);
  return fail(errc::internal, "the request was answered with something else");
}

/// A text of what a pod asks for; empty if it is not there and need not be.
expected<std::string> text_in(const json& params, const char* name,
                              bool is_needed) {
  auto i = params.find(name);
  if (i == params.end() && !is_needed)
    return std::string{};
  if (i == params.end() || !i->is_string())
    return fail(errc::invalid_argument,
                fmt::format("the request has no proper '{}': it has to be a "
                            "text",
                            name));
  return i->get<std::string>();
}

/// Passes a request of a pod on in its name.
pod::effects ask(pod_table& table, const pod_parts& parts, pod::ticket ticket,
                 const std::string& by, const pod::request& what,
                 std::optional<failure>& wrong) {
  auto name = text_in(what.params, "name", what.verb != "list");
  auto text = text_in(what.params, "text", what.verb == "send");
  auto request_id = text_in(what.params, "request_id", false);
  for (auto* x : {&name, &text, &request_id})
    if (!*x)
      wrong = x->error();
  if (!wrong && what.params.contains("request_id") && request_id->empty())
    wrong = failure{errc::invalid_argument,
                    "the request has an empty 'request_id'; leave it out if it "
                    "is not to be recognised"};
  if (!wrong)
    wrong = refuse_slot_request(*request_id);
  if (wrong)
    return {};
  if (what.verb == "list")
    return table.list(ticket, by);
  if (what.verb == "stop")
    return table.stop(ticket, by, *name);
  if (what.verb == "read")
    return table.read(ticket, by, *name, by, std::nullopt);
  if (what.verb == "send")
    return table.send(ticket, by, *name, *text, *request_id);
  if (what.verb == "spawn") {
    auto order = pod_order_from(what.params).and_then([&](pod_order x) {
      return resolve_order(parts, std::move(x));
    });
    if (!order) {
      wrong = order.error();
      return {};
    }
    // Who asks for it is no one who may read any program.
    order->lender = by;
    return table.spawn(ticket, by, *order, *request_id);
  }
  wrong = failure{errc::invalid_argument,
                  fmt::format("a pod cannot ask for '{}'", what.verb)};
  return {};
}

// -- effects: each gives what follows from it at once -------------------------

struct performer {
  registry_pointer self;
  /// The processes of pods as they were seen first in this turn, so that a
  /// thousand pods that are gone cost one look.
  std::shared_ptr<std::optional<carriers>> seen
    = std::make_shared<std::optional<carriers>>();

  [[nodiscard]] const pod_parts& parts() const {
    return *self->state.parts;
  }

  [[nodiscard]] pod_table& table() const {
    return *self->state.table;
  }

  [[nodiscard]] std::string folder(const std::string& id) const {
    return folder_of(parts().settings, id);
  }

  /// What is seen of a pod; `unsure` if that may not be all.
  struct remains {
    std::vector<process_identity> found;
    std::optional<failure> unsure;
  };

  /// @param first its own process, which is older than all that it started;
  ///        absent if nobody knows it.
  [[nodiscard]] remains
  processes_of(const std::string& id,
               const std::optional<process_identity>& first) const {
    if (!*seen)
      *seen = parts().find_pods();
    remains out{{}, (*seen)->unsure};
    if (auto i = (*seen)->by_value.find(id); i != (*seen)->by_value.end())
      out.found = i->second;
    // It may have written over what it was started with.
    auto itself = first ? parts().find_process(first->pid)
                        : expected<std::optional<process_identity>>{};
    if (!itself)
      out.unsure = itself.error();
    else if (*itself && **itself == first
             && std::find(out.found.begin(), out.found.end(), **itself)
                  == out.found.end())
      out.found.push_back(**itself);
    for (auto& who : (*seen)->unknown)
      if (!first || who.start_ticks >= first->start_ticks)
        out.unsure = failure{errc::overloaded,
                             fmt::format("process {} begins another program, "
                                         "and may be of it",
                                         who.pid)};
    return out;
  }

  pod::effects operator()(pod::save& x) const {
    auto done = [self = self](const expected<void>& result) {
      perform(self, self->state.table->saved(result));
    };
    // Nobody waits for the mirror, and nobody reads it back.
    auto mirror = [self = self, text = std::move(x.mirror)] {
      self
        ->request(self->state.parts->persistence, caf::infinite,
                  save_atom::value, std::string{pod_mirror_document}, text)
        .then([](caf::ok_atom) {},
              [=](const caf::error& error) {
                self->state.parts->warn(from_caf(error).message);
              });
    };
    self
      ->request(parts().persistence, caf::infinite, save_atom::value,
                std::string{pod_registry_document}, std::move(x.text))
      .then(
        [=](caf::ok_atom) {
          mirror();
          done({});
        },
        [=](const caf::error& error) {
          done(tl::unexpected<failure>{from_caf(error)});
        });
    return {};
  }

  pod::effects operator()(pod::keep_copy& x) const {
    keep_broken_copy(self, parts().persistence, pod_registry_document,
                     std::move(x.text));
    return {};
  }

  pod::effects operator()(pod::remove_folder& x) const {
    parts().remove_folder(folder(x.id));
    return {};
  }

  pod::effects operator()(pod::read_output& x) const {
    return table().output_read(
      x.reader, parts().read_output(folder(x.id), x.from, x.max_bytes));
  }

  pod::effects operator()(pod::start& x) const {
    auto made = parts().make_folder(folder(x.id) + "/output");
    return table().started(x.id, made.and_then([&] {
      return parts().processes->start(
        pod_process(parts().settings, x.id, x.order),
        listener<process_event>(self, x.id));
    }));
  }

  pod::effects operator()(pod::adopt& x) const {
    return table().adopted(x.id, parts().processes->adopt(
                                   x.who, listener<process_event>(self, x.id)));
  }

  pod::effects operator()(pod::look& x) const {
    return table().looked(x.id, parts().find_process(x.pid));
  }

  pod::effects operator()(pod::find_started& x) const {
    auto [found, unsure] = processes_of(x.id, std::nullopt);
    if (found.empty() && unsure)
      return table().looked(x.id, tl::unexpected<failure>{*unsure});
    return table().looked(x.id, found.empty() ? std::nullopt
                                              : std::optional{found.front()});
  }

  pod::effects operator()(pod::send_signal& x) const {
    auto sent = parts().processes->send(x.who, x.number);
    return sent ? pod::effects{} : table().signal_refused(x.id, sent.error());
  }

  pod::effects operator()(pod::sweep& x) const {
    auto [found, unsure] = processes_of(x.id, x.who);
    for (auto& who : found)
      parts().kill(who);
    if (found.empty() && unsure)
      return table().swept(x.id, tl::unexpected<failure>{*unsure});
    return table().swept(x.id, found.empty());
  }

  pod::effects operator()(pod::let_go&) const {
    parts().processes->stop();
    return {};
  }

  pod::effects operator()(pod::connect& x) const {
    return table().connecting(
      x.id, parts().sockets->connect(folder(x.id) + "/sock",
                                     listener<socket_event>(self, x.id)));
  }

  pod::effects operator()(pod::send& x) const {
    auto sent = parts().sockets->send(x.connection, encode(x.what));
    return sent ? pod::effects{} : table().send_refused(x.id);
  }

  pod::effects operator()(pod::probe& x) const {
    return table().probed(x.id, x.connection,
                          parts().sockets->heard(x.connection));
  }

  pod::effects operator()(pod::hang_up& x) const {
    parts().sockets->close(x.connection);
    return {};
  }

  pod::effects operator()(pod::ask& x) const {
    auto reply = [self = self, connection = x.connection,
                  id = x.what.id](const expected<json>& value) {
      // Whoever asked may be gone.
      std::ignore = self->state.parts->sockets->send(
        connection, encode(pod::to_pod{pod::result{id, value}}));
    };
    std::optional<failure> wrong;
    auto ticket = open_request(
      self, [reply](pod::effect& effect) { reply(answer_of(effect)); });
    auto out = muster::ask(table(), parts(), ticket, x.name, x.what, wrong);
    if (wrong) {
      self->state.open.erase(ticket);
      reply(tl::unexpected<failure>{*wrong});
    }
    return out;
  }

  pod::effects operator()(pod::warn& x) const {
    parts().warn(x.text);
    return {};
  }

  pod::effects operator()(pod::tell& x) const {
    if (self->state.watcher)
      self->send(self->state.watcher, slot_atom::value, std::move(x.what));
    return {};
  }

  template <class Reply>
  pod::effects operator()(Reply&) const {
    // Answered by whoever has its promise.
    return {};
  }
};

void perform(registry_pointer self, pod::effects todo) {
  drive(self, std::move(todo), performer{self});
}

// -- requests -----------------------------------------------------------------

template <class T, class Reply, class F, class Ask>
caf::result<T> enter(registry_pointer self, F f, Ask ask) {
  return enter<T, Reply, pod::reply_refusal>(
    self, std::move(f), [&](auto ticket) { perform(self, ask(ticket)); });
}

slot_occupant occupant_of(const slot_id& slot, pod::reply_pod& x) {
  return {slot, std::move(x.pod.id), x.pod.pid, std::nullopt};
}

void read_document(registry_pointer self) {
  auto load = [=](const expected<std::string>& text) {
    perform(self, self->state.table->load(text));
  };
  self
    ->request(self->state.parts->persistence, caf::infinite, read_atom::value,
              std::string{pod_registry_document})
    .then([=](const std::string& text) { load(text); },
          [=](const caf::error& error) {
            load(tl::unexpected<failure>{from_caf(error)});
          });
}

// -- events -------------------------------------------------------------------

pod::effects on_event(registry_pointer self, const std::string& id,
                      process_event& event) {
  auto& table = *self->state.table;
  if (auto* ready = std::get_if<process_ready>(&event)) {
    auto line = std::string_view{ready->line};
    return table.ready(id, std::string{line.starts_with(confined)
                                         ? line.substr(confined.size())
                                         : "none"});
  }
  auto& ended = std::get<process_ended>(event);
  if (table.is_new(id)) {
    auto& parts = *self->state.parts;
    auto said
      = parts.tail_of_output(folder_of(parts.settings, id), max_tail_bytes);
    if (!ended.never_ready)
      ended.never_ready = failure{
        errc::program_failed,
        fmt::format("pod '{}' {} before it was ready", id, show(ended.end))};
    // What could not start has been told, and says the same.
    if (!said.empty()
        && said.find(ended.never_ready->message) == std::string::npos)
      ended.never_ready->message += fmt::format("; it said: {}", said);
  }
  return table.ended(id, ended);
}

pod::effects on_event(registry_pointer self, const std::string& id,
                      socket_event& event) {
  auto& st = self->state;
  if (auto* opened = std::get_if<socket_opened>(&event))
    return st.table->opened(id, opened->id,
                            st.parts->is_pod(opened->peer.pid, id));
  if (auto* frame = std::get_if<socket_frame>(&event))
    return st.table->heard(id, frame->id, pod::decode_event(frame->text));
  auto& closed = std::get<socket_closed>(event);
  return st.table->closed(id, closed.id, closed.why);
}

} // namespace

// -- what the operating system gives ------------------------------------------

pod_parts system_pod_parts(pod_settings settings) {
  namespace fs = std::filesystem;
  pod_parts out;
  out.settings = std::move(settings);
  out.env = real_environment();
  out.find_process = [](std::int32_t pid) { return find_process(pid); };
  out.find_pods = [] { return find_by_variable(pod_id_variable); };
  out.is_pod = [](std::int32_t pid, const std::string& id) {
    return was_started_with(pid, pod_id_variable, id);
  };
  out.kill = [](const process_identity& who) {
    if (auto handle = process_handle::hold(who))
      std::ignore = handle->send(SIGKILL);
  };
  out.resolve = real_path;
  out.is_folder = [](const std::string& path) {
    std::error_code code;
    return fs::is_directory(path, code);
  };
  out.make_folder = [](const std::string& path) -> expected<void> {
    std::error_code code;
    fs::create_directories(path, code);
    if (code)
      return fail(errc::storage_failed,
                  fmt::format("cannot make '{}': {}", path, code.message()));
    return {};
  };
  out.remove_folder = [](const std::string& path) {
    std::error_code code;
    fs::remove_all(path, code);
  };
  out.read_output = read_output;
  out.tail_of_output = tail_of_output;
  out.warn = [](const std::string& text) { spdlog::warn("{}", text); };
  return out;
}

process_order pod_process(const pod_settings& settings, const std::string& id,
                          const pod_order& order) {
  auto folder = folder_of(settings, id);
  process_order out;
  out.program = settings.program;
  out.arguments
    = {"confine", "--sandbox", to_string(order.sandbox), "--own", folder,
       "--cwd",   order.cwd};
  // Otherwise a pod could read any program by starting it.
  if (!order.lender.empty() && !order.command.empty())
    out.arguments.push_back("--within-scope");
  for (auto& rule : order.scope) {
    out.arguments.push_back("--allow");
    out.arguments.push_back(to_string(rule));
  }
  out.arguments.push_back("--");
  if (order.command.empty()) {
    out.arguments.push_back(settings.program);
    out.arguments.push_back("pod-agent");
  }
  out.arguments.insert(out.arguments.end(), order.command.begin(),
                       order.command.end());
  out.environment = {"PATH=/usr/local/bin:/usr/bin:/bin",
                     "LANG=C.UTF-8",
                     "TZ=UTC",
                     "HOME=" + folder,
                     "TMPDIR=" + folder,
                     "MUSTER_POD_NAME=" + order.name,
                     "MUSTER_POD_FOLDER=" + folder,
                     "MUSTER_POD_SCOPE=" + rules_json(order.scope).dump()};
  if (order.kind == pod_class::protocol)
    out.environment.push_back(fmt::format("MUSTER_POD_SOCKET={}/sock", folder));
  else
    out.environment.push_back("MUSTER_POD_TASK=" + order.task);
  for (auto& variable : order.environment)
    out.environment.push_back(variable);
  out.environment.push_back(fmt::format("{}={}", pod_id_variable, id));
  out.output = folder + "/" + pod_output_log;
  out.ready_within = settings.spawn_timeout;
  out.ready_by = readiness::exec;
  return out;
}

expected<pod_order> resolve_order(const pod_parts& parts, pod_order order,
                                  needed when) {
  if (auto fine = check_pod_name(order.name); !fine)
    return tl::unexpected<failure>{fine.error()};
  if (auto fine = check_texts(order); !fine)
    return tl::unexpected<failure>{fine.error()};
  if (order.scope.empty())
    return fail(errc::invalid_argument,
                fmt::format("pod '{}' is lent nothing; a scope needs at least "
                            "one rule",
                            order.name));
  for (auto& rule : order.scope) {
    auto place = canonical_rule(rule, parts.resolve);
    if (!place)
      return tl::unexpected<failure>{place.error()};
    if (when == needed::now && !parts.resolve(place->target))
      return fail(errc::not_found,
                  fmt::format("'{}' is not there; make it before it is lent",
                              place->target));
    rule = std::move(*place);
  }
  auto delegation = canonical_scope(order.delegation, parts.resolve);
  if (!delegation)
    return tl::unexpected<failure>{delegation.error()};
  order.delegation = std::move(*delegation);
  if (order.cwd.empty())
    order.cwd = order.scope.front().target;
  else if (order.cwd.front() != '/')
    return fail(
      errc::invalid_argument,
      fmt::format("the working folder '{}' is no absolute path", order.cwd));
  auto is_there = parts.resolve(order.cwd);
  if (!is_there && when == needed::now)
    return tl::unexpected<failure>{is_there.error()};
  auto cwd = canonical_path(order.cwd, parts.resolve);
  if (!cwd)
    return fail(cwd.error().code, fmt::format("pod '{}' cannot work there: {}",
                                              order.name, cwd.error().message));
  order.cwd = std::move(*cwd);
  if (is_there && !parts.is_folder(order.cwd))
    return fail(errc::invalid_argument,
                fmt::format("'{}' is no folder to work in; name one with --cwd",
                            order.cwd));
  if (!permission_of(scope{order.scope, {}}, order.cwd))
    return fail(errc::not_allowed,
                fmt::format("pod '{}' could not read its working folder '{}'; "
                            "it is not in its scope",
                            order.name, order.cwd));
  if (order.kind == pod_class::plain && order.task.size() > max_variable_bytes)
    return fail(errc::too_large,
                fmt::format("the task of pod '{}' has {} bytes, and a plain "
                            "program can be given {}",
                            order.name, order.task.size(), max_variable_bytes));
  for (auto& variable : order.environment) {
    auto is_named = variable.find('=') != std::string::npos
                    && variable.front() != '='
                    && variable.find('\0') == std::string::npos;
    if (!is_named || variable.starts_with("MUSTER_POD_")
        || variable.size() > max_variable_bytes)
      return fail(errc::invalid_argument,
                  fmt::format("'{}' is no variable for a pod: it has to be "
                              "NAME=VALUE, of at most {} bytes, and no name "
                              "that begins with MUSTER_POD_",
                              variable.substr(0, std::max<std::size_t>(
                                                   variable.find('='), 1)),
                              max_variable_bytes));
  }
  return order;
}

spawned_pod_registry_impl::behavior_type
spawned_pod_registry(registry_pointer self,
                     std::shared_ptr<const pod_parts> parts,
                     status_sink_actor sink) {
  auto& st = self->state;
  st.parts = std::move(parts);
  st.sink = std::move(sink);
  st.table = std::make_unique<pod_table>(st.parts->settings, st.parts->env);
  read_document(self);
  return {
    // -- clients --------------------------------------------------------------
    [=](pod_atom, spawn_atom, pod_order& order,
        const std::string& request_id) -> caf::result<pod_view> {
      auto resolved = resolve_order(*self->state.parts, std::move(order));
      if (!resolved)
        return to_caf(resolved.error());
      auto lender = std::exchange(resolved->lender, {});
      if (lender.empty())
        lender = pod_operator;
      return enter<pod_view, pod::reply_pod>(
        self, [](pod::reply_pod& x) { return std::move(x.pod); },
        [&](auto ticket) {
          return self->state.table->spawn(ticket, lender, *resolved,
                                          request_id);
        });
    },
    [=](pod_atom, list_atom) {
      return enter<std::vector<pod_view>, pod::reply_list>(
        self, [](pod::reply_list& x) { return std::move(x.pods); },
        [=](auto ticket) {
          return self->state.table->list(ticket, pod_operator);
        });
    },
    [=](pod_atom, send_atom, const std::string& name, const std::string& text,
        const std::string& request_id) {
      return enter<std::uint64_t, pod::reply_sent>(
        self, [](pod::reply_sent& x) { return x.turn; },
        [&](auto ticket) {
          return self->state.table->send(ticket, pod_operator, name, text,
                                         request_id);
        });
    },
    [=](pod_atom, read_atom, const pod_read& what) {
      return enter<pod_output, pod::reply_output>(
        self, [](pod::reply_output& x) { return std::move(x.output); },
        [&](auto ticket) {
          return self->state.table->read(ticket, pod_operator, what.name,
                                         what.reader, what.from);
        });
    },
    [=](pod_atom, stop_atom, const std::string& name) {
      return enter<pod_stop_reply, pod::reply_stop>(
        self, [](pod::reply_stop& x) { return std::move(x.reply); },
        [&](auto ticket) {
          return self->state.table->stop(ticket, pod_operator, name);
        });
    },
    [=](pod_atom, scopes_atom) {
      return enter<scope_listing, pod::reply_scopes>(
        self, [](pod::reply_scopes& x) { return std::move(x.scopes); },
        [=](auto ticket) { return self->state.table->scopes(ticket); });
    },
    [=](pod_atom, scopes_atom,
        const std::string& path) -> caf::result<std::vector<scope_holder>> {
      auto place = canonical_path(path, self->state.parts->resolve);
      if (!place)
        return to_caf(place.error());
      return enter<std::vector<scope_holder>, pod::reply_holders>(
        self, [](pod::reply_holders& x) { return std::move(x.holders); },
        [&](auto ticket) {
          return self->state.table->holders(ticket, *place);
        });
    },
    // -- the node -------------------------------------------------------------
    [=](report_atom) {
      self->send(self->state.sink, report_atom::value, "pods",
                 self->state.table->status().dump());
    },
    [=](collect_atom) {
      return enter<std::uint64_t, pod::reply_count>(
        self, [](pod::reply_count& x) { return x.count; },
        [=](auto ticket) { return self->state.table->tick(ticket); });
    },
    [=](probe_atom) {
      return enter<std::uint64_t, pod::reply_count>(
        self, [](pod::reply_count& x) { return x.count; },
        [=](auto ticket) { return self->state.table->probe(ticket); });
    },
    // -- groups ---------------------------------------------------------------
    [=](slot_atom, check_atom,
        std::vector<pod_order>& orders) -> caf::result<caf::ok_atom> {
      std::vector<pod_order> resolved;
      for (auto& order : orders) {
        // What is not there may come.
        auto x
          = resolve_order(*self->state.parts, std::move(order), needed::later);
        if (!x)
          return to_caf(x.error());
        resolved.push_back(std::move(*x));
      }
      return enter<caf::ok_atom, pod::reply_count>(
        self, [](pod::reply_count&) { return caf::ok_atom::value; },
        [&](auto ticket) {
          return self->state.table->check_slots(ticket, resolved);
        });
    },
    [=](slot_atom, spawn_atom, const slot_id& slot,
        pod_order& order) -> caf::result<slot_occupant> {
      auto resolved = resolve_order(*self->state.parts, std::move(order));
      if (!resolved)
        return to_caf(resolved.error());
      return enter<slot_occupant, pod::reply_pod>(
        self, [=](pod::reply_pod& x) { return occupant_of(slot, x); },
        [&](auto ticket) {
          return self->state.table->spawn_slot(ticket, slot, *resolved);
        });
    },
    [=](slot_atom, find_atom, const slot_id& slot) {
      return enter<slot_occupant, pod::reply_pod>(
        self, [=](pod::reply_pod& x) { return occupant_of(slot, x); },
        [&](auto ticket) {
          return self->state.table->find_slot(ticket, slot);
        });
    },
    [=](slot_atom, stop_atom, const slot_id& slot) {
      return enter<caf::ok_atom, pod::reply_stop>(
        self, [](pod::reply_stop&) { return caf::ok_atom::value; },
        [&](auto ticket) {
          return self->state.table->stop_slot(ticket, slot);
        });
    },
    [=](slot_atom, list_atom, const std::string& group) {
      return enter<std::vector<slot_occupant>, pod::reply_slots>(
        self,
        [=](pod::reply_slots& x) {
          std::erase_if(x.occupants,
                        [&](auto& y) { return y.slot.group != group; });
          return std::move(x.occupants);
        },
        [=](auto ticket) { return self->state.table->list_slots(ticket); });
    },
    [=](slot_atom, watch_atom, slot_watcher_actor& watcher) {
      self->state.watcher = std::move(watcher);
    },
    // -- the end --------------------------------------------------------------
    [=](stop_atom) {
      return enter<caf::ok_atom, pod::reply_stopped>(
        self, [](pod::reply_stopped&) { return caf::ok_atom::value; },
        [=](auto ticket) { return self->state.table->shut_down(ticket); });
    },
    // -- the actor itself -----------------------------------------------------
    [=](pod_process_event& x) {
      perform(self, std::visit(
                      [&](auto& event) { return on_event(self, x.id, event); },
                      x.what));
    },
    [=](expire_atom, std::uint64_t number) {
      if (timer_fired(self, number))
        perform(self, self->state.table->on_time());
    },
  };
}

} // namespace muster
