// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/errors.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace muster {

/// What may be done below a path. The bits are the kernel's own; those that it
/// learned after the packaged headers were written stand here as well.
namespace path_rights {

inline constexpr std::uint64_t execute = 1u << 0;
inline constexpr std::uint64_t write_file = 1u << 1;
inline constexpr std::uint64_t read_file = 1u << 2;
inline constexpr std::uint64_t read_folder = 1u << 3;
inline constexpr std::uint64_t remove_folder = 1u << 4;
inline constexpr std::uint64_t remove_file = 1u << 5;
inline constexpr std::uint64_t make_anything = 0x7Fu << 6;
/// The part of it that makes devices: who has one and is root has the disk.
inline constexpr std::uint64_t make_devices = 1u << 6 | 1u << 11;
/// Moves and links between folders, since ABI 2.
inline constexpr std::uint64_t refer = 1u << 13;
/// Since ABI 3; before, whoever could name a file could empty it.
inline constexpr std::uint64_t truncate = 1u << 14;
/// Of devices, since ABI 5.
inline constexpr std::uint64_t ioctl_device = 1u << 15;

inline constexpr std::uint64_t read = read_file | read_folder;
inline constexpr std::uint64_t write
  = write_file | remove_folder | remove_file | make_anything | refer | truncate;

} // namespace path_rights

/// What a path of a rule may be.
enum class path_kind {
  /// Whatever is there, also by way of symbolic links.
  any,
  /// The same; if nothing is there, the rule allows nothing.
  any_if_there,
  /// Whatever is there, without a symbolic link anywhere on the way.
  exact,
  /// The same, but neither a folder nor a device; if it is something else, or
  /// nothing, the rule allows nothing.
  exact_file,
  /// Whatever is there, also by way of symbolic links; if that is no file that
  /// somebody may execute, the rule allows nothing.
  program,
};

/// Allows something below a path, which may be a file.
struct path_rule {
  std::string path;
  std::uint64_t rights = 0;
  path_kind kind = path_kind::any;
};

/// What is left to a process. All that is not allowed here is refused, with
/// EACCES, or EPERM for signals and sockets.
struct landlock_order {
  std::vector<path_rule> paths;
  /// Listening at TCP ports and connecting to them, since ABI 4.
  bool allows_network = false;
  /// Signals to processes outside, and their abstract sockets, since ABI 6.
  bool allows_outside = false;
};

/// What version of Landlock the kernel has; 0 if none, or if it is off.
[[nodiscard]] int landlock_version();

/// From now on this thread, and each that it starts, has no more than that, and
/// never gets anything back. What is open stays open. Rights that the kernel
/// does not know yet cannot be taken away.
/// @returns the version that is in force, 0 if the kernel has none;
///          `not_found` naming a path that is not there, `not_allowed` if one
///          is not what its rule says, or if the kernel refuses.
[[nodiscard]] expected<int> restrict_thread(const landlock_order& order);

} // namespace muster
