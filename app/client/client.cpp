// SPDX-License-Identifier: Apache-2.0

#include "app/client/client.hpp"

#include "app/client/client_config.hpp"

#include "actors/process/environment.hpp"
#include "actors/remote/publish.hpp"

#include "messages/actors.hpp"

#include <caf/all.hpp>
#include <caf/io/all.hpp>
#include <fmt/format.h>

#include <filesystem>
#include <future>
#include <unordered_map>

namespace muster {

namespace {

/// What the actor behind a connection keeps.
struct link_state {
  static inline const char* name = "client";

  node_actor node;

  /// Why there is no connection any more, if so.
  std::optional<failure> lost;

  /// A call that is not answered yet.
  struct open_call {
    /// Tells the caller that there will be no answer.
    std::function<void(const failure&)> fail;
    /// An actor that the node has a handle of, if the call needs one. It must
    /// be ended: the framework never lets go of what crossed the wire.
    caf::actor helper;
  };

  std::unordered_map<std::uint64_t, open_call> open;
  std::uint64_t next = 0;
};

using link_pointer = caf::stateful_actor<link_state>*;

/// Something to do in the actor behind a connection.
struct job {
  std::function<void(link_pointer)> run;
};

} // namespace

} // namespace muster

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(muster::job)

namespace muster {

namespace {

/// Closes a call.
/// @returns whether it was still open.
bool close_call(link_pointer self, std::uint64_t number) {
  auto node = self->state.open.extract(number);
  if (node.empty())
    return false;
  if (auto& helper = node.mapped().helper)
    self->send_exit(helper, caf::exit_reason::user_shutdown);
  return true;
}

/// Tells every caller that there will be no answer.
void close_all(link_pointer self, const failure& why) {
  for (auto& [number, call] : std::exchange(self->state.open, {})) {
    if (call.helper)
      self->send_exit(call.helper, caf::exit_reason::user_shutdown);
    call.fail(why);
  }
}

/// Sends the requests and is the first to hear that the connection broke: the
/// answers would not come, and nobody else would say so.
caf::behavior link(link_pointer self, node_actor node) {
  self->state.node = std::move(node);
  self->monitor(self->state.node);
  self->set_down_handler([=](const caf::down_msg&) {
    self->state.lost
      = failure{errc::connection_lost,
                "the connection to the node broke before it answered; what it "
                "acknowledged is kept"};
    close_all(self, *self->state.lost);
  });
  self->set_exit_handler([=](const caf::exit_msg& x) {
    close_all(self, {errc::connection_lost, "the client was closed"});
    self->quit(x.reason);
  });
  return {[=](const job& what) { what.run(self); }};
}

} // namespace

struct client::connection {
  client_config config;
  caf::actor_system system{config};
  caf::actor link;

  ~connection() {
    caf::anon_send_exit(link, caf::exit_reason::user_shutdown);
  }

  /// Runs `f(self, call, deliver)` in the link, and waits until `deliver` was
  /// called with an `expected<T>` or the connection broke.
  template <class T, class F>
  expected<T> run(F f) {
    auto promise = std::make_shared<std::promise<expected<T>>>();
    auto future = promise->get_future();
    caf::anon_send(link, job{[=](link_pointer self) {
                     auto& st = self->state;
                     if (st.lost) {
                       promise->set_value(tl::unexpected<failure>{*st.lost});
                       return;
                     }
                     auto number = ++st.next;
                     auto fail = [=](const failure& why) {
                       promise->set_value(tl::unexpected<failure>{why});
                     };
                     auto& call = st.open[number];
                     call.fail = fail;
                     f(self, call, [=](expected<T> result) {
                       if (close_call(self, number))
                         promise->set_value(std::move(result));
                     });
                   }});
    return future.get();
  }

  /// Sends a request to the node and waits for its answer.
  template <class T, class... Ts>
  expected<T> ask(deadline limit, Ts... request) {
    return run<T>([=](link_pointer self, auto&, auto deliver) {
      auto timeout = limit ? caf::duration{*limit} : caf::infinite;
      self->request(self->state.node, timeout, request...)
        .then([=](T& x) { deliver(std::move(x)); },
              [=](const caf::error& error) {
                deliver(tl::unexpected<failure>{from_caf(error)});
              });
    });
  }
};

namespace {

/// The id of a new request.
std::string make_id() {
  static const auto env = real_environment();
  return make_request_id(env.wall_ms(), env.random());
}

/// Says of a wait that took too long what was waited for.
template <class T>
expected<T>
name_wait(expected<T> result, const std::string& id, std::string_view what) {
  if (!result && result.error().code == errc::timeout)
    result.error().message = fmt::format("session '{}' had not {} in time; its "
                                         "work goes on",
                                         id, what);
  return result;
}

} // namespace

client::client(std::unique_ptr<connection> link) : link_(std::move(link)) {
  // nop
}

client::~client() = default;

expected<std::unique_ptr<client>>
client::connect(const client_options& options) {
  std::optional<identity> own;
  std::error_code code;
  if (!options.tls.empty()) {
    if (!std::filesystem::exists(options.tls, code))
      return fail(errc::bad_certificate,
                  fmt::format("there is no folder '{}' with certificates; give "
                              "one with --tls, made with 'muster tls issue'",
                              options.tls));
    auto read = load_client(options.tls, real_environment().wall_ms());
    if (!read)
      return tl::unexpected<failure>{read.error()};
    own = std::move(*read);
  } else if (options.host != "127.0.0.1") {
    return fail(errc::not_allowed,
                fmt::format("without TLS, a client connects to 127.0.0.1 and "
                            "not to '{}'",
                            options.host));
  }
  auto result = std::make_unique<connection>();
  auto& system = result->system;
  auto found = muster::connect(system, options.host, options.port,
                               own ? &*own : nullptr, options.connect_timeout);
  if (!found)
    return tl::unexpected<failure>{found.error()};
  auto where = show_address(options.host, options.port);
  if (!found->whom)
    return fail(errc::unreachable,
                fmt::format("the node at {} is not ready", where));
  if (!system.assignable<node_actor>(found->interface))
    return fail(
      errc::version_mismatch,
      fmt::format("what listens on {} is no node of this version", where));
  result->link
    = system.spawn(link, caf::actor_cast<node_actor>(std::move(found->whom)));
  return std::unique_ptr<client>{new client(std::move(result))};
}

// -- sessions -----------------------------------------------------------------

expected<session_view> client::start(session_spec spec, deadline limit) {
  return link_->ask<session_view>(limit, start_atom::value, std::move(spec),
                                  make_id());
}

expected<std::string> client::spawn(session_spec spec, deadline limit) {
  return link_->ask<std::string>(limit, spawn_atom::value, std::move(spec),
                                 make_id());
}

expected<feed_reply> client::feed(const std::string& id,
                                  std::vector<answer> answers, feed_mode mode,
                                  deadline limit) {
  return name_wait(link_->ask<feed_reply>(limit, feed_atom::value, id,
                                          std::move(answers), mode, make_id()),
                   id, "come to its next event");
}

expected<std::string> client::sole_pending(const std::string& id,
                                           deadline limit) {
  return link_->ask<std::string>(limit, pending_atom::value, id);
}

expected<session_view> client::show(const std::string& id, deadline limit) {
  return link_->ask<session_view>(limit, show_atom::value, id);
}

expected<std::string> client::snapshot(const std::string& id,
                                       snapshot_options options,
                                       deadline limit) {
  return link_->ask<std::string>(limit, snapshot_atom::value, id, options);
}

expected<std::string> client::snapshots(snapshot_options options,
                                        deadline limit) {
  return link_->ask<std::string>(limit, snapshot_atom::value, options);
}

expected<std::string> client::transcript(const std::string& id,
                                         deadline limit) {
  return link_->ask<std::string>(limit, transcript_atom::value, id);
}

expected<std::vector<log_line>>
client::log(const std::string& id, std::uint64_t after, deadline limit) {
  return link_->ask<std::vector<log_line>>(limit, log_atom::value, id, after);
}

expected<session_view> client::cancel(const std::string& id,
                                      cancel_reason reason, deadline limit) {
  return link_->ask<session_view>(limit, cancel_atom::value, id,
                                  std::move(reason));
}

expected<session_view> client::await(const std::string& id, wait_for what,
                                     deadline limit) {
  // A waiter of its own for each call: the node keeps one wait for each.
  auto view = link_->run<session_view>(
    [=](link_pointer self, auto& call, auto deliver) {
      call.helper = self->spawn([](caf::event_based_actor*) -> caf::behavior {
        return {[](caf::ok_atom) {
          // nop
        }};
      });
      auto timeout = limit ? caf::duration{*limit} : caf::infinite;
      self
        ->request(self->state.node, timeout, await_atom::value, id, what,
                  call.helper)
        .then([=](session_view& x) { deliver(std::move(x)); },
              [=](const caf::error& error) {
                deliver(tl::unexpected<failure>{from_caf(error)});
              });
    });
  return name_wait(std::move(view), id,
                   what == wait_for::end ? "ended" : "paused or ended");
}

namespace {

/// Shows events and acknowledges them, one by one.
observer_actor::behavior_type watch(observer_actor::pointer self,
                                    node_actor node, client::observer see,
                                    std::function<void()> done) {
  return {
    [=](const observed_event& event) {
      auto goes_on = see(event) && !event.last;
      self->send(node, acknowledge_atom::value, event.session_id, event.seq,
                 observer_actor{self});
      if (goes_on)
        return;
      done();
      self->quit();
    },
    [=](lagged_atom, const std::string& id, std::uint64_t count) {
      observed_event notice;
      notice.session_id = id;
      notice.progress.push_back(
        fmt::format(R"({{"kind":"lagged","n":{}}})", count));
      if (!see(notice)) {
        done();
        self->quit();
      }
    },
  };
}

} // namespace

expected<session_view> client::observe(const std::string& id,
                                       std::uint64_t after, observer see,
                                       deadline limit) {
  return link_->run<session_view>([=](link_pointer self, auto& call,
                                      auto deliver) {
    auto first = std::make_shared<session_view>();
    // What happens in the watcher is told to the link, whose turn it is then.
    auto done = [=, link = caf::actor{self}] {
      caf::anon_send(link, job{[=](link_pointer) { deliver(*first); }});
    };
    auto watcher
      = self->spawn(watch, self->state.node, see, std::function<void()>{done});
    call.helper = caf::actor_cast<caf::actor>(watcher);
    auto expire = job{[=](link_pointer) {
      deliver(muster::fail(
        errc::timeout,
        fmt::format("session '{}' had not ended in time; its work goes on",
                    id)));
    }};
    self
      ->request(self->state.node, caf::infinite, observe_atom::value, id, after,
                watcher)
      .then(
        [=](session_view& view) {
          *first = std::move(view);
          if (limit)
            self->delayed_send(self, *limit, expire);
        },
        [=](const caf::error& error) {
          deliver(tl::unexpected<failure>{from_caf(error)});
        });
  });
}

expected<session_page> client::list(session_list_request request,
                                    deadline limit) {
  return link_->ask<session_page>(limit, list_atom::value, std::move(request));
}

expected<std::uint64_t> client::prune(std::chrono::milliseconds older_than,
                                      deadline limit) {
  return link_->ask<std::uint64_t>(
    limit, prune_atom::value, static_cast<std::int64_t>(older_than.count()));
}

// -- shared state -------------------------------------------------------------

expected<std::vector<state_space>> client::state_spaces(deadline limit) {
  return link_->ask<std::vector<state_space>>(limit, spaces_atom::value);
}

expected<std::vector<state_entry>>
client::state_keys(const std::string& space, const std::string& prefix,
                   std::uint32_t count, deadline limit) {
  return link_->ask<std::vector<state_entry>>(limit, list_atom::value, space,
                                              prefix, count);
}

expected<state_value> client::state_get(state_key where, deadline limit) {
  return link_->ask<state_value>(limit, get_atom::value, std::move(where));
}

expected<std::uint64_t> client::state_set(state_key where, std::string value,
                                          deadline limit) {
  return link_->ask<std::uint64_t>(limit, set_atom::value, std::move(where),
                                   std::move(value), make_id());
}

expected<bool> client::state_delete(state_key where, deadline limit) {
  return link_->ask<bool>(limit, delete_atom::value, std::move(where),
                          make_id());
}

// -- the node -----------------------------------------------------------------

expected<std::string> client::status(deadline limit) {
  return link_->ask<std::string>(limit, status_atom::value);
}

} // namespace muster
