// SPDX-License-Identifier: Apache-2.0

#include "app/client/client.hpp"

#include "app/client/connection.hpp"
#include "app/client/event_queue.hpp"

#include "actors/process/environment.hpp"

#include <fmt/format.h>

namespace muster {

namespace {

/// The id of a request: the caller's, or a new one.
std::string id_of(const call_options& how) {
  static const auto env = real_environment();
  return how.request_id.empty() ? make_request_id(env.wall_ms(), env.random())
                                : how.request_id;
}

/// What to say of a request that changes something and was not answered.
std::string fate_of(const std::string& request_id) {
  return fmt::format("it may have been executed; repeated as request '{}', it "
                     "is not executed again",
                     request_id);
}

/// Sends a request and waits for its answer.
template <class T, class... Ts>
expected<T> ask(connection& node, deadline limit, const Ts&... request) {
  return node.call(
    limit, [&](line& on, call_end end) { return on.ask<T>(end, request...); });
}

/// The same for one that changes something.
template <class T, class... Ts>
expected<T>
ask_once(connection& node, const call_options& how, const Ts&... request) {
  auto id = id_of(how);
  return node.call(
    how.limit,
    [&](line& on, call_end end) { return on.ask<T>(end, request..., id); },
    fate_of(id));
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

client::client(std::unique_ptr<connection> node) : node_(std::move(node)) {
  // nop
}

client::~client() = default;

expected<std::unique_ptr<client>> client::connect(client_options options) {
  auto node = std::make_unique<connection>(std::move(options));
  return node->open().map(
    [&] { return std::unique_ptr<client>{new client(std::move(node))}; });
}

// -- sessions -----------------------------------------------------------------

expected<session_view> client::start(session_spec spec, call_options how) {
  return ask_once<session_view>(*node_, how, start_atom::value, spec);
}

expected<std::string> client::spawn(session_spec spec, call_options how) {
  return ask_once<std::string>(*node_, how, spawn_atom::value, spec);
}

expected<feed_reply> client::feed(const std::string& id,
                                  std::vector<answer> answers,
                                  call_options how) {
  auto request_id = id_of(how);
  auto attempt = [&](line& on, call_end end) {
    return name_wait(on.ask<feed_reply>(end, feed_atom::value, id, answers,
                                        feed_mode::next_event, request_id),
                     id, "come to its next event");
  };
  return node_->call(how.limit, attempt, fate_of(request_id));
}

expected<feed_reply> client::resume(const std::string& id,
                                    std::vector<answer> answers,
                                    call_options how) {
  return ask_once<feed_reply>(*node_, how, feed_atom::value, id, answers,
                              feed_mode::accepted);
}

expected<std::string> client::sole_pending(const std::string& id,
                                           deadline limit) {
  return ask<std::string>(*node_, limit, pending_atom::value, id);
}

expected<session_view> client::show(const std::string& id, deadline limit) {
  return ask<session_view>(*node_, limit, show_atom::value, id);
}

expected<std::string> client::snapshot(const std::string& id,
                                       snapshot_options options,
                                       deadline limit) {
  return ask<std::string>(*node_, limit, snapshot_atom::value, id, options);
}

expected<std::string> client::snapshots(snapshot_options options,
                                        deadline limit) {
  return ask<std::string>(*node_, limit, snapshot_atom::value, options);
}

expected<std::string> client::transcript(const std::string& id,
                                         deadline limit) {
  return ask<std::string>(*node_, limit, transcript_atom::value, id);
}

expected<std::vector<log_line>>
client::log(const std::string& id, std::uint64_t after, deadline limit) {
  return ask<std::vector<log_line>>(*node_, limit, log_atom::value, id, after);
}

expected<session_view> client::cancel(const std::string& id,
                                      cancel_reason reason, deadline limit) {
  return ask<session_view>(*node_, limit, cancel_atom::value, id,
                           std::move(reason));
}

expected<session_view> client::await(const std::string& id, wait_for what,
                                     deadline limit) {
  // A waiter of its own for each call: the node keeps one wait for each.
  return node_->call(limit, [&](line& on, call_end end) {
    return name_wait(
      on.ask_as_somebody<session_view>(end, await_atom::value, id, what), id,
      what == wait_for::end ? "ended" : "paused or ended");
  });
}

namespace {

/// How far an observation has come, over all its connections.
struct progress {
  std::string id;
  /// The last event that was seen.
  std::uint64_t seq = 0;
  /// The session as it was in the beginning.
  std::optional<session_view> first;
};

/// Ends a call of a line, whatever happens.
struct open_observation {
  line& on;
  std::uint64_t number;

  ~open_observation() {
    on.end(number);
  }
};

/// Begins to observe.
/// @returns the number of the call.
std::uint64_t begin(line& on, const progress& from,
                    const std::shared_ptr<event_queue>& into) {
  auto fail = [=](const failure& why) { into->fail(why); };
  return on.begin(fail, [=, id = from.id, seq = from.seq](
                          link_pointer self, std::uint64_t number) {
    auto observer = self->spawn(watch, into);
    self->state.open[number].helper = caf::actor_cast<caf::actor>(observer);
    auto deliver = [=](expected<session_view> view) {
      if (view)
        into->begin({std::move(*view), observer});
      else
        into->fail(view.error());
    };
    line::send<session_view>(self, deliver, observe_atom::value, id, seq,
                             observer);
  });
}

/// Shows events until there are no more, or the connection breaks.
expected<session_view> follow(line& on, call_end end, progress& so_far,
                              const client::observer& see) {
  auto queue = std::make_shared<event_queue>();
  open_observation call{on, begin(on, so_far, queue)};
  auto begun = queue->begun(end);
  if (!begun)
    return tl::unexpected<failure>{begun.error()};
  if (!so_far.first)
    so_far.first = std::move(begun->session);
  so_far.id = so_far.first->session_id;
  for (;;) {
    auto event = queue->next(end);
    if (!event)
      return tl::unexpected<failure>{event.error()};
    auto is_new = event->seq == 0 || event->seq > so_far.seq;
    so_far.seq = std::max(so_far.seq, event->seq);
    auto goes_on = !is_new || see(*event);
    if (event->seq > 0)
      on.tell(acknowledge_atom::value, so_far.id, event->seq, begun->observer);
    if (event->last || !goes_on)
      return *so_far.first;
  }
}

} // namespace

expected<session_view> client::observe(const std::string& id,
                                       std::uint64_t after, observer see,
                                       deadline limit) {
  progress so_far{id, after, std::nullopt};
  return node_->call(limit, [&](line& on, call_end end) {
    return name_wait(follow(on, end, so_far, see), id, "ended");
  });
}

expected<session_page> client::list(session_list_request request,
                                    deadline limit) {
  return ask<session_page>(*node_, limit, list_atom::value, std::move(request));
}

expected<std::uint64_t> client::prune(std::chrono::milliseconds older_than,
                                      deadline limit) {
  return ask<std::uint64_t>(*node_, limit, prune_atom::value,
                            static_cast<std::int64_t>(older_than.count()));
}

// -- shared state -------------------------------------------------------------

expected<std::vector<state_space>> client::state_spaces(deadline limit) {
  return ask<std::vector<state_space>>(*node_, limit, spaces_atom::value);
}

expected<std::vector<state_entry>>
client::state_keys(const std::string& space, const std::string& prefix,
                   std::uint32_t count, deadline limit) {
  return ask<std::vector<state_entry>>(*node_, limit, list_atom::value, space,
                                       prefix, count);
}

expected<state_value> client::state_get(state_key where, deadline limit) {
  return ask<state_value>(*node_, limit, get_atom::value, std::move(where));
}

expected<std::uint64_t> client::state_set(state_key where, std::string value,
                                          call_options how) {
  return ask_once<std::uint64_t>(*node_, how, set_atom::value, where, value);
}

expected<bool> client::state_delete(state_key where, call_options how) {
  return ask_once<bool>(*node_, how, delete_atom::value, where);
}

// -- worker processes ---------------------------------------------------------

expected<std::vector<worker_view>> client::pool_list(deadline limit) {
  return ask<std::vector<worker_view>>(*node_, limit, pool_atom::value,
                                       list_atom::value);
}

expected<worker_view> client::pool_spawn(call_options how) {
  return ask_once<worker_view>(*node_, how, pool_atom::value,
                               spawn_atom::value);
}

expected<pool_stop_reply> client::pool_stop(const std::string& sid,
                                            deadline limit) {
  return ask<pool_stop_reply>(*node_, limit, pool_atom::value, stop_atom::value,
                              sid);
}

expected<std::vector<std::string>> client::pool_collect(deadline limit) {
  return ask<std::vector<std::string>>(*node_, limit, pool_atom::value,
                                       collect_atom::value);
}

// -- pods ---------------------------------------------------------------------

expected<pod_view> client::pod_spawn(const pod_order& order, call_options how) {
  return ask_once<pod_view>(*node_, how, pod_atom::value, spawn_atom::value,
                            order);
}

expected<std::vector<pod_view>> client::pod_list(deadline limit) {
  return ask<std::vector<pod_view>>(*node_, limit, pod_atom::value,
                                    list_atom::value);
}

expected<std::uint64_t> client::pod_send(const std::string& name,
                                         const std::string& text,
                                         call_options how) {
  return ask_once<std::uint64_t>(*node_, how, pod_atom::value, send_atom::value,
                                 name, text);
}

expected<pod_output> client::pod_read(const struct pod_read& what,
                                      deadline limit) {
  return ask<pod_output>(*node_, limit, pod_atom::value, read_atom::value,
                         what);
}

expected<pod_stop_reply> client::pod_stop(const std::string& name,
                                          deadline limit) {
  return ask<pod_stop_reply>(*node_, limit, pod_atom::value, stop_atom::value,
                             name);
}

expected<scope_listing> client::pod_scopes(deadline limit) {
  return ask<scope_listing>(*node_, limit, pod_atom::value, scopes_atom::value);
}

expected<std::vector<scope_holder>> client::pod_holders(const std::string& path,
                                                        deadline limit) {
  return ask<std::vector<scope_holder>>(*node_, limit, pod_atom::value,
                                        scopes_atom::value, path);
}

// -- recovery -----------------------------------------------------------------

expected<slot_group_view>
client::group_create(const slot_group_definition& what, call_options how) {
  return ask_once<slot_group_view>(*node_, how, group_atom::value,
                                   create_atom::value, what);
}

expected<std::vector<slot_group_view>> client::group_list(deadline limit) {
  return ask<std::vector<slot_group_view>>(*node_, limit, group_atom::value,
                                           list_atom::value);
}

expected<slot_group_view> client::group_show(const std::string& name,
                                             deadline limit) {
  return ask<slot_group_view>(*node_, limit, group_atom::value,
                              show_atom::value, name);
}

expected<slot_group_view> client::group_scale(const std::string& name,
                                              std::uint8_t slots,
                                              deadline limit) {
  return ask<slot_group_view>(*node_, limit, group_atom::value,
                              scale_atom::value, name, slots);
}

expected<slot_group_view> client::group_reset(const std::string& name,
                                              deadline limit) {
  return ask<slot_group_view>(*node_, limit, group_atom::value,
                              reset_atom::value, name);
}

expected<void> client::group_delete(const std::string& name, deadline limit) {
  return ask<caf::ok_atom>(*node_, limit, group_atom::value, delete_atom::value,
                           name)
    .map([](caf::ok_atom) {});
}

expected<std::vector<handler_view>> client::recovery_list(deadline limit) {
  return ask<std::vector<handler_view>>(*node_, limit, recovery_atom::value,
                                        list_atom::value);
}

expected<struct recovery_pass> client::recovery_run(deadline limit) {
  return ask<struct recovery_pass>(*node_, limit, recovery_atom::value,
                                   run_atom::value);
}

// -- the node -----------------------------------------------------------------

expected<std::string> client::status(deadline limit) {
  return ask<std::string>(*node_, limit, status_atom::value);
}

} // namespace muster
