// SPDX-License-Identifier: Apache-2.0

// What a worker process may do: run a script, and speak on its socket.

#pragma once

#include "messages/errors.hpp"

#include <cstdint>
#include <string>

namespace muster {

/// How a process is confined.
struct confinement {
  /// The folder of its socket, the only place where it may do something to a
  /// file: take it away. Best one that holds nothing else.
  std::string socket_folder;
  /// The socket on which it may accept connections.
  int listener = -1;
  /// What it may have of memory that is its own; 0 means any amount. A lack of
  /// it is an exception, and no death.
  std::uint64_t max_memory_bytes = 0;
};

/// The first half: no memory dumps, a limit of memory, no new privileges, and
/// no files, no TCP, and no signals to others by Landlock. Applies to this
/// thread and each that it starts, so it must come before the first of them.
/// @returns what the kernel gave, such as `landlock 7` or `no landlock`.
[[nodiscard]] expected<std::string> confine_files(const confinement& how);

/// The second half: by seccomp, for all threads of the process at once, nothing
/// but what a worker needs. It may read, write, wait and close what it has
/// open, accept on its own socket, take and give back memory that is no code,
/// read clocks and random bytes, take its socket away if Landlock says which
/// one, and end. All else is refused with EPERM, starting a program with death:
/// it never tries to. So there is neither a new process nor thread, nor a new
/// descriptor but by a connection.
/// @param has_landlock whether the first half left no file to take away but
///        those in the folder.
/// @returns what the kernel gave: `seccomp`.
[[nodiscard]] expected<std::string> confine_calls(const confinement& how,
                                                  bool has_landlock);

} // namespace muster
