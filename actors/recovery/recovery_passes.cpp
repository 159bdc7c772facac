// SPDX-License-Identifier: Apache-2.0

#include "actors/recovery/recovery_passes.hpp"

#include <fmt/format.h>

#include <utility>

namespace muster::recovery {

namespace {

using registry_pointer = recovery_registry_pointer;

// -- effects ------------------------------------------------------------------

struct performer {
  registry_pointer self;

  using effects = recovery::effects;

  [[nodiscard]] recovery_table& table() const {
    return *self->state.table;
  }

  effects operator()(recovery::ask& x) const {
    auto i = self->state.handlers.find(x.id);
    if (i == self->state.handlers.end())
      return {};
    self
      ->request(i->second, caf::infinite, recover_atom::value, x.pass, x.budget)
      .then(
        [self = self, x](const std::vector<std::uint8_t>& slots) {
          perform(self, self->state.table->answered(x.id, x.pass, slots,
                                                    now_ns(self)));
        },
        [self = self, x](const caf::error& error) {
          // Of its end more is heard.
          if (!is_end(error))
            perform(self, self->state.table->failed(
                            x.id, x.pass, from_caf(error), now_ns(self)));
        });
    return {};
  }

  effects operator()(recovery::forget& x) const {
    self->state.handlers.erase(x.id);
    // That it was removed is no news to whoever did so.
    if (x.why.code != errc::finished)
      self->state.parts->warn(
        fmt::format("the recovery handler '{}' is asked no more: {}", x.name,
                    x.why.message));
    return {};
  }

  effects operator()(recovery::escalate& x) const {
    self->state.handlers.erase(x.id);
    self->quit(make_error(errc::internal,
                          fmt::format("the recovery handler '{}' failed: {}",
                                      x.name, x.why.message)));
    return {};
  }

  template <class Reply>
  effects operator()(Reply&) const {
    // Answered by whoever has its promise.
    return {};
  }
};

} // namespace

void perform(registry_pointer self, effects todo) {
  drive(self, std::move(todo), performer{self});
}

std::int64_t now_ns(registry_pointer self) {
  return self->state.parts->env.steady_ns();
}

bool is_end(const caf::error& x) {
  return x == caf::sec::request_receiver_down
         || x == caf::exit_reason::remote_link_unreachable;
}

failure stopping() {
  return {errc::shutting_down,
          "the node is about to stop and takes no new work"};
}

// -- passes -------------------------------------------------------------------

void plan_pass(registry_pointer self) {
  auto& st = self->state;
  if (st.is_stopping || std::exchange(st.is_planned, true))
    return;
  auto gap = std::chrono::nanoseconds(st.parts->settings.pass_gap).count();
  auto left = st.last_pass_ns ? *st.last_pass_ns + gap - now_ns(self) : 0;
  if (left <= 0)
    self->send(self, recover_atom::value);
  else
    self->delayed_send(self,
                       std::chrono::milliseconds((left + 999'999) / 1'000'000),
                       recover_atom::value);
}

void planned_pass(registry_pointer self) {
  auto& st = self->state;
  st.is_planned = false;
  if (st.is_stopping)
    return;
  if (st.table->is_running()) {
    // It may have been asked before that happened for which this was planned.
    st.last_pass_ns = now_ns(self);
    plan_pass(self);
    return;
  }
  st.last_pass_ns = now_ns(self);
  auto ticket = open_request(self, [](recovery::effect&) {});
  perform(self, st.table->begin_pass(ticket, *st.last_pass_ns));
}

// -- handlers -----------------------------------------------------------------

expected<std::uint64_t>
add_handler(registry_pointer self, handler_definition what,
            const recovery_handler_actor& who, recovery_function run) {
  auto& st = self->state;
  if (st.is_stopping)
    return tl::unexpected<failure>{stopping()};
  auto added = st.table->add(std::move(what), now_ns(self), std::move(run));
  if (!added)
    return tl::unexpected<failure>{added.error()};
  if (who) {
    self->monitor(who);
    st.handlers.emplace(added->id, who);
  }
  perform(self, std::move(added->effects));
  return added->count;
}

expected<std::uint64_t>
register_handler(registry_pointer self, handler_definition what,
                 const recovery_handler_actor& who, recovery_function run) {
  if (!who && !run)
    return fail(errc::invalid_argument,
                fmt::format("the recovery handler '{}' has neither an actor "
                            "nor a function that is called",
                            what.name));
  if (what.name.starts_with(group_prefix))
    return fail(errc::invalid_argument,
                fmt::format("the recovery handler '{}' cannot have that name: "
                            "those with '{}' are of groups",
                            what.name, group_prefix));
  what.owner.clear();
  if (who && who.node() != self->node())
    what.owner = caf::to_string(who.node());
  if (!what.owner.empty() && what.policy == handler_policy::escalate)
    return fail(errc::invalid_argument,
                fmt::format("the recovery handler '{}' is of another node, and "
                            "can be evicted or quarantined; only one of this "
                            "node can end it",
                            what.name));
  return add_handler(self, std::move(what), who, std::move(run));
}

expected<std::uint64_t> remove_handler(registry_pointer self,
                                       const std::string& name) {
  auto& groups = self->state.groups;
  if (name.starts_with(group_prefix)
      && groups.contains(name.substr(group_prefix.size())))
    return fail(errc::conflict,
                fmt::format("the recovery handler '{}' is that of a group; "
                            "delete the group",
                            name));
  auto removed = self->state.table->remove(name, now_ns(self));
  if (!removed)
    return tl::unexpected<failure>{removed.error()};
  perform(self, std::move(*removed));
  return self->state.table->size();
}

void handler_down(registry_pointer self, const caf::down_msg& x) {
  auto& st = self->state;
  if (x.source.node() != self->node()
      && x.reason == caf::exit_reason::remote_link_unreachable) {
    perform(self,
            st.table->peer_gone(caf::to_string(x.source.node()), now_ns(self)));
    return;
  }
  auto why = x.reason ? from_caf(x.reason)
                      : failure{errc::connection_lost, "it has ended"};
  std::vector<handler_id> gone;
  for (auto& [id, who] : st.handlers)
    if (who.address() == x.source)
      gone.push_back(id);
  for (auto id : gone)
    perform(self, st.table->gone(id, why, now_ns(self)));
}

} // namespace muster::recovery
