// SPDX-License-Identifier: Apache-2.0

#pragma once

namespace muster {

/// Lets a process that serves others write its log to standard error.
void set_up_log();

} // namespace muster
