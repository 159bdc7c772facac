// SPDX-License-Identifier: Apache-2.0

// Pods as programs read them: the documents of the command line, and what a pod
// is answered.

#pragma once

#include "messages/json.hpp"
#include "messages/pod.hpp"

#include <vector>

namespace muster {

/// `{"name","id","pid","state","class","socket","folder","scope":[{"target",
/// "permission","recursive"}],"lender","sandbox","created_at","turns",
/// "last_error"}`; what is not known is null.
[[nodiscard]] json to_json(const pod_view& x);

/// `{"pods":[...]}`.
[[nodiscard]] json to_json(const std::vector<pod_view>& pods);

/// `{"name","state","texts":[...],"from":{"segment","offset"},"to":...,
/// "skipped","more"}`.
[[nodiscard]] json to_json(const pod_output& x);

/// `{"name","status":"stopped","reclaimed":[...],"end"}`.
[[nodiscard]] json to_json(const pod_stop_reply& x);

/// `{"holders":[{"name","permission","rule","lender"}]}`.
[[nodiscard]] json to_json(const std::vector<scope_holder>& holders);

/// What `pod_order_from` reads.
[[nodiscard]] json to_json(const pod_order& x);

/// Reads what a pod wants of a pod: `{"name","task","scope":[...],
/// "delegation":{"allow":[...]},"cwd","command":[...],"class","sandbox"}`. All
/// but `name` and `scope` may be missing.
/// @returns `invalid_argument` naming the field.
[[nodiscard]] expected<pod_order> pod_order_from(const json& value);

} // namespace muster
