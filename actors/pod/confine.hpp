// SPDX-License-Identifier: Apache-2.0

// How a pod begins: this process confines itself to the scope of the pod, and
// becomes its program.

#pragma once

#include "actors/process/landlock.hpp"

#include "messages/pod.hpp"

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace muster {

// -- constants ----------------------------------------------------------------

/// The first version of Landlock under which no file outside of a scope can be
/// emptied.
constexpr int least_landlock_version = 3;

/// Rules of one scope.
constexpr std::size_t max_confined_rules = 1'000;

/// What a folder may hold of which a rule of one level speaks.
constexpr std::size_t max_direct_children = 10'000;

// -- types --------------------------------------------------------------------

/// A program, and all that it gets.
struct confine_order {
  sandbox_mode sandbox = sandbox_mode::required;
  /// Targets are absolute paths without symbolic links.
  std::vector<scope_rule> scope;
  /// The folder of the pod itself, for its socket and its log; may be empty.
  std::string own_folder;
  /// Where it starts; empty if it stays where this process is.
  std::string working_folder;
  /// The program and its arguments.
  std::vector<std::string> words;
  /// Whether even the files of the program are only what the scope gives.
  bool is_within_scope = false;
};

/// Why a program did not start.
struct start_failure {
  failure why;
  /// 127 if there is no such program, 126 if it cannot be executed, as a shell
  /// has it; otherwise that of the error.
  int exit_code = 0;
};

/// Gives the names of what a folder holds; absent if it is no folder.
using folder_reader
  = std::function<expected<std::optional<std::vector<std::string>>>(
    const std::string&)>;

// -- functions ----------------------------------------------------------------

/// Reads a folder of the operating system.
/// @returns `not_found`, `not_allowed`, or `too_large` beyond
///          `max_direct_children`.
[[nodiscard]] expected<std::optional<std::vector<std::string>>>
read_folder(const std::string& path);

/// Whether a kernel with that version of Landlock will do.
/// @returns `not_allowed` naming what is missing.
[[nodiscard]] expected<void> check_sandbox(sandbox_mode level, int version);

/// What every program gets to be able to begin, whatever its scope is.
[[nodiscard]] const std::vector<path_rule>& base_rules();

/// What is left to a pod: its scope, its own folder, `base_rules`, and, unless
/// it has to stay within its scope, the files of its program. It may use the
/// network, but no signals and abstract sockets of processes outside. Never
/// wider than its scope: as the kernel knows hierarchies alone, a rule of one
/// level allows the files that its target holds now, each by itself, and
/// neither to list it nor to make or remove something in it.
/// @param programs what is executed: the program, then its interpreters.
/// @returns `too_large` naming the limit, and what `read` returns.
[[nodiscard]] expected<landlock_order>
plan_confinement(const confine_order& order,
                 const std::vector<std::string>& programs,
                 const folder_reader& read);

/// Confines this process and becomes the program: no new privileges and no
/// powers over the machine, nothing
/// but what `plan_confinement` leaves, files for their owner only, and no
/// descriptor but the standard three. Whoever waits at `ready_descriptor` hears
/// `confined landlock VERSION` or `not confined`; if nobody does, `best_effort`
/// says so on standard error. `off` becomes the program and does nothing else.
/// @returns only if that failed; whoever waits has been told.
[[nodiscard]] start_failure confine(const confine_order& order);

} // namespace muster
