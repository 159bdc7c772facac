// SPDX-License-Identifier: Apache-2.0

#pragma once

namespace muster {

/// Runs `muster confine`, by which nodes start pods: it stands in no help, and
/// has a command line of its own.
/// @param argv the options, behind the name of the command; what stands behind
///        `--` is the program with its arguments.
/// @returns an exit code, if the program cannot begin.
[[nodiscard]] int confine_command(int argc, char** argv);

} // namespace muster
