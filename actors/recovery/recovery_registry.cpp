// SPDX-License-Identifier: Apache-2.0

#include "actors/recovery/recovery_registry.hpp"

#include "actors/recovery/recovery_groups.hpp"
#include "actors/recovery/recovery_passes.hpp"

#include "messages/json.hpp"

#include <spdlog/spdlog.h>

#include <utility>

namespace muster {

namespace {

using namespace recovery;

using registry_pointer = recovery_registry_pointer;

void on_down(registry_pointer self, const caf::down_msg& x) {
  if (!self->state.is_stopping && !group_down(self, x))
    handler_down(self, x);
}

// -- the end ------------------------------------------------------------------

void stop(registry_pointer self) {
  auto& st = self->state;
  st.is_stopping = true;
  for (auto& [ticket, answer] : std::exchange(st.open, {})) {
    effect refusal = reply_refusal{ticket, stopping()};
    answer(refusal);
  }
  stop_groups(self);
}

} // namespace

recovery_parts system_recovery_parts() {
  recovery_parts out;
  out.env = real_environment();
  out.warn = [](const std::string& text) { spdlog::warn("{}", text); };
  return out;
}

std::string recovery_registry_state::status() const {
  auto& x = table->counters();
  auto all = json::array();
  for (auto& [name, group] : groups)
    all.push_back(
      {{"name", name}, {"healthy", group.healthy}, {"wanted", group.wanted}});
  json out{{"handlers", table->size()},
           {"groups", std::move(all)},
           {"passes", x.passes},
           {"recovered", x.recovered},
           {"late", x.late},
           {"failures", x.failures},
           {"evicted", x.evicted},
           {"escalated", x.escalated},
           {"last_pass_ms", x.last_pass_ms}};
  for (auto& [name, why] : broken)
    out["broken"].push_back({{"name", name}, {"error", why.message}});
  if (unreadable)
    out["error"] = unreadable->message;
  return out.dump();
}

recovery_registry_impl::behavior_type
recovery_registry(registry_pointer self,
                  std::shared_ptr<const recovery_parts> parts,
                  status_sink_actor sink) {
  auto& st = self->state;
  st.parts = std::move(parts);
  st.sink = std::move(sink);
  st.table = std::make_unique<recovery_table>(st.parts->settings,
                                              st.parts->env.random()[0]);
  self->set_down_handler([=](const caf::down_msg& x) { on_down(self, x); });
  self->set_exit_handler([=](const caf::exit_msg& x) {
    stop(self);
    self->quit(x.reason);
  });
  auto watcher = caf::actor_cast<slot_watcher_actor>(self);
  for (auto& keeper : {st.parts->workers, st.parts->pods})
    self->send(keeper, slot_atom::value, watch_atom::value, watcher);
  read_groups(self);
  return {
    // -- groups ---------------------------------------------------------------
    [=](group_atom, create_atom, slot_group_definition& what,
        std::string& request_id) {
      return create_group(self, what, request_id);
    },
    [=](group_atom, list_atom) { return list_groups(self); },
    [=](group_atom, show_atom, const std::string& name) {
      return show_group(self, name);
    },
    [=](group_atom, scale_atom, const std::string& name, std::uint8_t slots) {
      return scale_group(self, name, slots);
    },
    [=](group_atom, reset_atom, const std::string& name) {
      return reset_group(self, name);
    },
    [=](group_atom, delete_atom, const std::string& name) {
      return delete_group(self, name);
    },
    // -- handlers -------------------------------------------------------------
    [=](recovery_atom, list_atom) {
      return self->state.table->list(now_ns(self));
    },
    [=](recovery_atom, run_atom) {
      return enter_pass<recovery_pass>(
        self, [](recovery::reply_pass& x) { return std::move(x.result); });
    },
    [=](recovery_atom, register_atom, handler_definition& what,
        const recovery_handler_actor& who) {
      return to_result(register_handler(self, std::move(what), who));
    },
    [=](recovery_atom, remove_atom, const std::string& name) {
      return to_result(remove_handler(self, name));
    },
    [=](recovery_atom, register_atom, local_handler& x) {
      return to_result(
        register_handler(self, std::move(x.what), {}, std::move(x.run)));
    },
    // -- the node -------------------------------------------------------------
    [=](report_atom) {
      self->send(self->state.sink, report_atom::value, "recovery",
                 self->state.status());
    },
    [=](collect_atom) {
      return enter_pass<std::uint64_t>(self, [](recovery::reply_pass& x) {
        return static_cast<std::uint64_t>(x.result.slots.size());
      });
    },
    [=](stop_atom) {
      stop(self);
      return caf::ok_atom::value;
    },
    // -- occupants ------------------------------------------------------------
    [=](slot_atom, slot_event& x) { slot_changed(self, x); },
    // -- the actor itself -----------------------------------------------------
    [=](beat_atom) { plan_pass(self); },
    [=](recover_atom) { planned_pass(self); },
    [=](group_atom, report_atom, const std::string& id, std::uint64_t healthy,
        std::uint64_t wanted) { health_changed(self, id, healthy, wanted); },
    [=](expire_atom, std::uint64_t number) {
      if (timer_fired(self, number))
        perform(self, self->state.table->on_time(now_ns(self)));
    },
  };
}

} // namespace muster
