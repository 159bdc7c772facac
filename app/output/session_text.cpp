// SPDX-License-Identifier: Apache-2.0

#include "app/output/session_text.hpp"

#include "messages/session_json.hpp"

#include <fmt/format.h>

namespace muster {

namespace {

void print_queries(const console& out, const session_view& view) {
  out.line(fmt::format("session {} waits for {} answer{}", view.session_id,
                       view.queries.size(),
                       view.queries.size() == 1 ? "" : "s"));
  for (auto& q : view.queries) {
    out.line(fmt::format("-- {} --", q.id));
    if (q.system)
      out.line(fmt::format("[system] {}", *q.system));
    out.line(q.prompt);
  }
}

} // namespace

void print_session(const console& out, const session_view& view) {
  if (out.is_json()) {
    out.print(event_json(view));
    return;
  }
  switch (view.phase) {
    case session_phase::running:
      out.line(fmt::format("session {} is running", view.session_id));
      break;
    case session_phase::paused:
      print_queries(out, view);
      break;
    case session_phase::done:
      out.line(view.result);
      break;
    case session_phase::failed:
      out.line(fmt::format("session {} failed ({}): {}", view.session_id,
                           to_string(view.error_kind), view.error));
      break;
    case session_phase::cancelled:
      out.line(
        fmt::format("session {} was cancelled ({}){}", view.session_id,
                    to_string(view.reason.code),
                    view.reason.detail ? ": " + *view.reason.detail : ""));
  }
}

void print_feed(const console& out, const feed_reply& reply) {
  auto& view = reply.session;
  if (out.is_json())
    out.print(feed_json(reply));
  else if (view.phase == session_phase::paused
           && view.queries.size() < view.asked)
    out.line(fmt::format("accepted; session {} waits for {} more",
                         view.session_id, view.queries.size()));
  else
    print_session(out, view);
}

int exit_code(const session_view& view) {
  return view.phase == session_phase::failed
             || view.phase == session_phase::cancelled
           ? 1
           : 0;
}

} // namespace muster
