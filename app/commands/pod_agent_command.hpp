// SPDX-License-Identifier: Apache-2.0

#pragma once

namespace muster {

/// Runs `muster pod-agent`, the reference pod. As nodes start it, it stands in
/// no help, and has a command line of its own; docs/pods.md shows it.
/// @param argv the options, behind the name of the command.
/// @returns an exit code, if the pod cannot begin, or of the turn of a plain
///          one.
[[nodiscard]] int pod_agent_command(int argc, char** argv);

} // namespace muster
