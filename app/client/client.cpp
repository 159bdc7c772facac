// SPDX-License-Identifier: Apache-2.0

#include "app/client/client.hpp"

#include "messages/actors.hpp"

#include <caf/all.hpp>
#include <caf/io/all.hpp>
#include <fmt/format.h>

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

  /// Who is told when the connection breaks, by the number of the call.
  std::unordered_map<std::uint64_t, std::function<void(const failure&)>> open;
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

/// Sends the requests and is the first to hear that the connection broke: the
/// answers would not come, and nobody else would say so.
caf::behavior link(link_pointer self, node_actor node) {
  self->state.node = std::move(node);
  self->monitor(self->state.node);
  self->set_down_handler([=](const caf::down_msg&) {
    auto& st = self->state;
    st.lost = failure{errc::connection_lost,
                      "the connection to the node broke before it answered; "
                      "what it acknowledged is kept"};
    for (auto& [number, fail] : std::exchange(st.open, {}))
      fail(*st.lost);
  });
  return {[=](const job& what) { what.run(self); }};
}

struct client_config : caf::actor_system_config {
  client_config() {
    muster::add_message_types(*this);
    load<caf::io::middleman>();
    set("scheduler.max-threads", 2);
    set("middleman.heartbeat-interval", caf::timespan{1'000'000'000});
    set("middleman.connection-timeout", caf::timespan{5'000'000'000});
  }
};

} // namespace

struct client::connection {
  client_config config;
  caf::actor_system system{config};
  caf::actor link;

  ~connection() {
    caf::anon_send_exit(link, caf::exit_reason::user_shutdown);
  }

  /// Runs `f(self, deliver)` in the link, and waits until `deliver` was called
  /// with an `expected<T>` or the connection broke.
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
                     st.open.emplace(number, [=](const failure& why) {
                       promise->set_value(tl::unexpected<failure>{why});
                     });
                     f(self, [=](expected<T> result) {
                       if (self->state.open.erase(number) > 0)
                         promise->set_value(std::move(result));
                     });
                   }});
    return future.get();
  }

  /// Sends a request to the node and waits for its answer.
  template <class T, class... Ts>
  expected<T> ask(deadline limit, Ts... request) {
    return run<T>([=](link_pointer self, auto deliver) {
      auto timeout = limit ? caf::duration{*limit} : caf::infinite;
      self->request(self->state.node, timeout, request...)
        .then([=](T& x) { deliver(std::move(x)); },
              [=](const caf::error& error) {
                deliver(tl::unexpected<failure>{from_caf(error)});
              });
    });
  }
};

client::client(std::unique_ptr<connection> link) : link_(std::move(link)) {
  // nop
}

client::~client() = default;

expected<std::unique_ptr<client>>
client::connect(const client_options& options) {
  auto where = fmt::format("{}:{}", options.host, options.port);
  auto result = std::make_unique<connection>();
  auto& system = result->system;
  caf::scoped_actor self{system};
  node_actor node;
  std::optional<failure> why;
  self
    ->request(system.middleman().actor_handle(),
              caf::duration{options.connect_timeout}, caf::connect_atom::value,
              options.host, options.port)
    .receive(
      [&](const caf::node_id&, const caf::strong_actor_ptr& ptr,
          const std::set<std::string>& interface) {
        if (!ptr)
          why = failure{errc::unreachable,
                        fmt::format("the node at {} is not ready", where)};
        else if (!system.assignable<node_actor>(interface))
          why = failure{errc::version_mismatch,
                        fmt::format("what listens on {} is no node of this "
                                    "version",
                                    where)};
        else
          node = caf::actor_cast<node_actor>(ptr);
      },
      [&](const caf::error& error) {
        auto timed_out = error == caf::sec::request_timeout;
        why = failure{errc::unreachable,
                      fmt::format("no node answers on {}{}; is it running?",
                                  where, timed_out ? " in time" : "")};
      });
  if (why)
    return tl::unexpected<failure>{*why};
  result->link = system.spawn(link, std::move(node));
  return std::unique_ptr<client>{new client(std::move(result))};
}

// -- sessions -----------------------------------------------------------------

expected<session_view> client::start(session_spec spec, deadline limit) {
  return link_->ask<session_view>(limit, start_atom::value, std::move(spec));
}

expected<std::string> client::spawn(session_spec spec, deadline limit) {
  return link_->ask<std::string>(limit, spawn_atom::value, std::move(spec));
}

expected<feed_reply> client::feed(const std::string& id,
                                  std::vector<answer> answers, feed_mode mode,
                                  deadline limit) {
  return link_->ask<feed_reply>(limit, feed_atom::value, id, std::move(answers),
                                mode);
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
  return link_->run<session_view>([=](link_pointer self, auto deliver) {
    auto timeout = limit ? caf::duration{*limit} : caf::infinite;
    auto waiter = self->spawn([](caf::event_based_actor*) -> caf::behavior {
      return {[](caf::ok_atom) {
        // nop
      }};
    });
    auto finish = [=](expected<session_view> result) {
      self->send_exit(waiter, caf::exit_reason::user_shutdown);
      deliver(std::move(result));
    };
    self
      ->request(self->state.node, timeout, await_atom::value, id, what, waiter)
      .then([=](session_view& x) { finish(std::move(x)); },
            [=](const caf::error& error) {
              finish(tl::unexpected<failure>{from_caf(error)});
            });
  });
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
  return link_->run<session_view>([=](link_pointer self, auto deliver) {
    auto first = std::make_shared<session_view>();
    auto done = [=] { deliver(*first); };
    // What happens in the watcher is told to the link, whose turn it is then.
    auto tell = [link = caf::actor{self}, done] {
      caf::anon_send(link, job{[=](link_pointer) { done(); }});
    };
    auto watcher
      = self->spawn(watch, self->state.node, see, std::function<void()>{tell});
    self
      ->request(self->state.node, caf::infinite, observe_atom::value, id, after,
                watcher)
      .then(
        [=](session_view& view) {
          *first = std::move(view);
          if (!limit)
            return;
          auto stop = job{[=](link_pointer again) {
            again->send_exit(watcher, caf::exit_reason::user_shutdown);
            deliver(muster::fail(errc::timeout,
                                 fmt::format("session '{}' had not ended in "
                                             "time",
                                             id)));
          }};
          self->delayed_send(self, *limit, stop);
        },
        [=](const caf::error& error) {
          self->send_exit(watcher, caf::exit_reason::user_shutdown);
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
                                   std::move(value));
}

expected<bool> client::state_delete(state_key where, deadline limit) {
  return link_->ask<bool>(limit, delete_atom::value, std::move(where));
}

// -- the node -----------------------------------------------------------------

expected<std::string> client::status(deadline limit) {
  return link_->ask<std::string>(limit, status_atom::value);
}

} // namespace muster
