// SPDX-License-Identifier: Apache-2.0

#include "app/commands/follow.hpp"

#include "app/commands/answer_program.hpp"
#include "app/output/session_text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iostream>

namespace muster {

namespace {

/// Asks the person at the terminal.
/// @returns nothing if there is no more input.
std::optional<std::string> ask_person(const query& q, std::size_t left) {
  if (q.system)
    fmt::print("[system] {}\n", *q.system);
  fmt::print("{}\n{}> ", q.prompt, left > 1 ? q.id : "");
  std::fflush(stdout);
  std::string line;
  if (!std::getline(std::cin, line))
    return std::nullopt;
  return line;
}

/// What to tell the user of a session that is left at a pause.
void explain_pause(const console& out, const std::string& id) {
  out.note(fmt::format("the session stays paused; go on with 'muster session "
                       "feed {}'",
                       id));
}

/// The same as a part of why a follow ends, which programs read too.
tl::unexpected<failure> left_paused(failure why, const std::string& id) {
  why.message += fmt::format("; session '{}' stays paused, go on with 'muster "
                             "session feed'",
                             id);
  return tl::unexpected<failure>{std::move(why)};
}

bool is_open(const session_view& view, const query& q) {
  return view.phase == session_phase::paused
         && std::any_of(view.queries.begin(), view.queries.end(),
                        [&](auto& x) { return x.id == q.id; });
}

/// Answers one query of the session.
/// @returns the session afterwards; nothing if it is left at its pause.
expected<std::optional<session_view>>
answer_one(client& node, const session_view& view,
           const follow_options& options) {
  auto& q = view.queries.front();
  std::optional<std::string> response;
  if (options.answer_program) {
    auto answered
      = answer_with_program(*options.answer_program, view.session_id, q);
    if (!answered)
      return left_paused(answered.error(), view.session_id);
    response = std::move(*answered);
  } else {
    response = ask_person(q, view.queries.size());
  }
  if (!response)
    return std::nullopt;
  auto reply = node.feed(view.session_id,
                         {answer{q.id, std::move(*response), std::nullopt}},
                         {options.limit, {}});
  if (!reply)
    return tl::unexpected<failure>{reply.error()};
  if (auto& refused = reply->results.front().refused) {
    // Somebody else may have answered meanwhile.
    if (is_open(reply->session, q))
      return left_paused(*refused, view.session_id);
    return tl::unexpected<failure>{*refused};
  }
  return std::move(reply->session);
}

} // namespace

expected<int> follow(client& node, const console& out, const std::string& id,
                     const follow_options& options) {
  auto view = node.await(id, wait_for::event, options.limit);
  while (view && view->phase == session_phase::paused
         && (options.answer_program || options.ask_person)) {
    auto next = answer_one(node, *view, options);
    if (!next)
      return tl::unexpected<failure>{next.error()};
    if (!*next) {
      explain_pause(out, view->session_id);
      return 0;
    }
    view = std::move(**next);
  }
  if (!view)
    return tl::unexpected<failure>{view.error()};
  print_session(out, *view);
  return exit_code(*view);
}

} // namespace muster
