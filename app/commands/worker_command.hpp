// SPDX-License-Identifier: Apache-2.0

#pragma once

namespace muster {

/// Runs `muster worker`, which is for nodes and not for people: it stands in no
/// help, and has a command line of its own.
/// @param argv the options, behind the name of the command.
/// @param version what the worker says that it is.
/// @returns an exit code, if the worker cannot begin.
[[nodiscard]] int worker_command(int argc, char** argv, const char* version);

} // namespace muster
