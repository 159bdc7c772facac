// SPDX-License-Identifier: Apache-2.0

// Recovery as programs read it: the documents of the command line.

#pragma once

#include "messages/json.hpp"
#include "messages/recovery.hpp"

#include <vector>

namespace muster {

/// `{"initial_ms","factor","max_ms","jitter_percent","stable_run_ms",
/// "max_restarts","period_ms","pause_ms","gives_up"}`.
[[nodiscard]] json to_json(const restart_policy& x);

/// Reads the same.
/// @returns `invalid_argument` naming the field.
[[nodiscard]] expected<restart_policy> restart_policy_from(const json& value);

/// `{"name","kind","wanted","deleted","policy","pod","slots":[{"index","state",
/// "term","occupant","pid","session","restarts","backoff_ms","last_error"}]}`;
/// what is not known is null, and so is the pod of a group of workers. Of a
/// damaged group it is `{"name","error"}`.
[[nodiscard]] json to_json(const slot_group_view& x);

/// `{"groups":[...]}`.
[[nodiscard]] json to_json(const std::vector<slot_group_view>& groups);

/// `{"handlers":[{"name","policy","owner","runs","recovered","last_ms","late",
/// "times_late","quarantine_ms","last_error"}]}`.
[[nodiscard]] json to_json(const std::vector<handler_view>& handlers);

/// `{"pass","slots":[{"handler","index"}],"late":[...],"failed":[...]}`.
[[nodiscard]] json to_json(const recovery_pass& x);

} // namespace muster
