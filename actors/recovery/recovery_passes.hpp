// SPDX-License-Identifier: Apache-2.0

// The part of the RECOVERY REGISTRY that asks its handlers, one pass after the
// other.

#pragma once

#include "actors/recovery/recovery_registry.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace muster::recovery {

/// Does what the table wants.
void perform(recovery_registry_pointer self, effects todo);

[[nodiscard]] std::int64_t now_ns(recovery_registry_pointer self);

/// Why nothing is taken on any more.
[[nodiscard]] failure stopping();

/// Whether who was asked has ended before it answered. What it answers itself
/// may have the same code: then others have ended, that it has asked.
[[nodiscard]] bool is_end(const caf::error& x);

// -- passes -------------------------------------------------------------------

/// Begins a pass, or waits for the one that is running.
/// @param f makes the answer of its result.
template <class T, class F>
caf::result<T> enter_pass(recovery_registry_pointer self, F f) {
  auto& st = self->state;
  if (st.is_stopping)
    return to_caf(stopping());
  if (!st.table->is_running())
    st.last_pass_ns = now_ns(self);
  return enter<T, reply_pass, reply_refusal>(
    self, std::move(f), [=](auto ticket) {
      perform(self, self->state.table->begin_pass(ticket, now_ns(self)));
    });
}

/// Plans a pass before the next tick. Many who want one share it.
void plan_pass(recovery_registry_pointer self);

/// The time of that pass has come.
void planned_pass(recovery_registry_pointer self);

// -- handlers -----------------------------------------------------------------

/// How the names of the handlers of groups begin.
constexpr std::string_view group_prefix = "group:";

/// Adds a handler behind all others: an actor, or a function.
/// @returns how many there are now.
expected<std::uint64_t>
add_handler(recovery_registry_pointer self, handler_definition what,
            const recovery_handler_actor& who, recovery_function run = {});

/// The same for one that is not of a group, after a check of what is allowed.
expected<std::uint64_t>
register_handler(recovery_registry_pointer self, handler_definition what,
                 const recovery_handler_actor& who, recovery_function run = {});

/// Takes out a handler that is not of a group.
/// @returns how many are left.
expected<std::uint64_t> remove_handler(recovery_registry_pointer self,
                                       const std::string& name);

/// An actor that may be a handler has ended, or the node that it is on is gone.
void handler_down(recovery_registry_pointer self, const caf::down_msg& x);

} // namespace muster::recovery
