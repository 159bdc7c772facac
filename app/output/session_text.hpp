// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "app/output/console.hpp"

#include "messages/session.hpp"

namespace muster {

/// Prints where a session stands, for a person or as JSON.
void print_session(const console& out, const session_view& view);

/// Prints what became of a feed.
void print_feed(const console& out, const feed_reply& reply);

/// What a command that ends with this session exits with: 1 if it failed or was
/// cancelled.
[[nodiscard]] int exit_code(const session_view& view);

} // namespace muster
