// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/history.hpp"
#include "messages/json.hpp"
#include "messages/session.hpp"

namespace muster {

// One place for each JSON shape that a client of any kind sees.

/// A session as the event that it came to last:
/// `{"session_id","status":"needs_response",...}`, flat for a single query and
/// with `queries` for several; `running`, `completed`, `error`, `cancelled`.
[[nodiscard]] json event_json(const session_view& view);

/// A feed's outcome: `{"status":"accepted","remaining"}` while answers are
/// missing, else the session's event.
[[nodiscard]] json feed_json(const feed_reply& reply);

/// A session as its state, tagged `state`: `running`, `paused`, `done`,
/// `failed` or `cancelled`, each with its fields.
[[nodiscard]] json state_json(const session_view& view);

/// One line of a list.
[[nodiscard]] json summary_json(const session_summary& summary);

/// `{"prompt_tokens","completion_tokens"}`, only what is known.
[[nodiscard]] json usage_json(const token_usage& usage);

/// Reads `usage_json`, from a client.
[[nodiscard]] expected<token_usage> usage_from(const json& value);

/// The fields of `q` that `filter` asks for.
[[nodiscard]] json project(const query& q, const pending_filter& filter);

/// Reads a filter: the name of a preset (`meta`, `preview`, `full`) or an
/// object with the fields of `pending_filter`. Unknown names and fields are
/// `invalid_argument`.
/// @param preview_chars what the presets show of a prompt.
[[nodiscard]] expected<pending_filter>
pending_filter_from(const json& value, std::uint32_t preview_chars);

/// Appends one event as it stands in the array of `encode_history`.
void append_event(std::string& to, const history_event& event,
                  const std::string& code_hash);

/// Reads what `decode_history` does, where it is parsed already.
[[nodiscard]] expected<history> history_from(const json& events,
                                             std::string& code_hash);

/// One line of a session's log.
[[nodiscard]] json log_json(const log_line& line);

/// The events that an observer sees for one event of the history.
/// @param before the phase before it.
/// @param after the session after it.
[[nodiscard]] std::vector<json> progress_json(const history_event& event,
                                              session_phase before,
                                              const session_view& after);

} // namespace muster
