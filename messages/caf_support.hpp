// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/errors.hpp"

#include <caf/all.hpp>

#include <optional>

// -- std::optional in messages ------------------------------------------------

// The framework inspects its own optional only. Ours is found through the
// inspector's namespace.
namespace caf {

template <class Inspector, class T>
std::enable_if_t<Inspector::reads_state, typename Inspector::result_type>
inspect(Inspector& f, std::optional<T>& x) {
  bool has_value = x.has_value();
  return has_value ? f(has_value, *x) : f(has_value);
}

template <class Inspector, class T>
std::enable_if_t<Inspector::writes_state, typename Inspector::result_type>
inspect(Inspector& f, std::optional<T>& x) {
  bool has_value = false;
  if (auto error = f(has_value))
    return error;
  x.reset();
  return has_value ? f(x.emplace()) : typename Inspector::result_type{};
}

} // namespace caf

// -- errors -------------------------------------------------------------------

namespace muster {

/// The category of all our errors on the wire.
constexpr auto error_category = caf::atom("muster");

/// Turns a refusal into what an actor answers. The message is its context.
[[nodiscard]] caf::error to_caf(const failure& x);

/// Makes an error that an actor answers.
[[nodiscard]] caf::error make_error(errc code, std::string message);

/// Reads an error that an actor gave. One that is not ours becomes `timeout`,
/// `connection_lost` or `internal`.
[[nodiscard]] failure from_caf(const caf::error& x);

/// A result that is either the value or its error.
template <class T>
caf::result<T> to_result(expected<T> x) {
  if (x)
    return std::move(*x);
  return to_caf(x.error());
}

/// Adds every type that travels between actors, under its name on the wire,
/// and our error category. Each program that talks to a node needs this.
void add_message_types(caf::actor_system_config& config);

} // namespace muster
