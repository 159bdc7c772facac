// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/errors.hpp"

namespace muster {

/// Leaves of root's powers those over files, over processes of other users, and
/// over low ports; the program that comes next has no others. What is gone are
/// those over the machine: modules, mounts, devices, the memory of other
/// processes. Nobody but root has something to lose.
/// @returns `not_allowed` if the kernel refuses.
[[nodiscard]] expected<void> give_up_powers();

} // namespace muster
