// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/session.hpp"

#include <string>

namespace muster {

/// Lets a program answer a query: runs `command` with `/bin/sh -c`, the prompt
/// on its standard input and the query as JSON in `$MUSTER_QUERY`.
/// @returns what it wrote to standard output, less one newline at the end;
///          `program_failed` if it could not be run or did not exit with 0.
[[nodiscard]] expected<std::string>
answer_with_program(const std::string& command, const std::string& session_id,
                    const query& q);

} // namespace muster
