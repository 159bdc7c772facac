// SPDX-License-Identifier: Apache-2.0

#include "messages/session.hpp"

namespace muster {

std::string to_string(session_isolation isolation) {
  return isolation == session_isolation::worker ? "worker" : "node";
}

std::string to_string(session_kind kind) {
  return kind == session_kind::advice ? "advice" : "run";
}

std::string to_string(cancel_code code) {
  switch (code) {
    case cancel_code::user:
      return "user";
    case cancel_code::timeout:
      return "timeout";
    case cancel_code::parent_dropped:
      return "parent_dropped";
    case cancel_code::system_shutdown:
      return "system_shutdown";
    default:
      return "internal";
  }
}

std::string to_string(session_phase phase) {
  switch (phase) {
    case session_phase::running:
      return "running";
    case session_phase::paused:
      return "paused";
    case session_phase::done:
      return "done";
    case session_phase::failed:
      return "failed";
    default:
      return "cancelled";
  }
}

std::optional<session_phase> session_phase_from(std::string_view name) {
  for (auto phase :
       {session_phase::running, session_phase::paused, session_phase::done,
        session_phase::failed, session_phase::cancelled})
    if (to_string(phase) == name)
      return phase;
  return std::nullopt;
}

std::string to_string(failure_kind kind) {
  switch (kind) {
    case failure_kind::lua_error:
      return "lua_error";
    case failure_kind::limit_exceeded:
      return "limit_exceeded";
    case failure_kind::replay_diverged:
      return "replay_diverged";
    default:
      return "engine_error";
  }
}

} // namespace muster
