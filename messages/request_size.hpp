// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/errors.hpp"

#include <caf/all.hpp>
#include <caf/detail/serialized_size.hpp>
#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <optional>

namespace muster {

/// Why a request is larger than a node takes, if it is. Node and client measure
/// it by the same rule.
/// @param limit the `node.max-message` of the node.
template <class... Ts>
std::optional<failure> check_size(caf::actor_system& system,
                                  std::uint64_t limit, caf::atom_value verb,
                                  const Ts&... request) {
  std::size_t bytes = caf::detail::serialized_size(system, verb);
  ((bytes += caf::detail::serialized_size(system, request)), ...);
  if (bytes <= limit)
    return std::nullopt;
  return failure{errc::too_large,
                 fmt::format("the request '{}' has {} bytes, more than the {} "
                             "that node.max-message allows",
                             caf::to_string(verb), bytes, limit)};
}

} // namespace muster
