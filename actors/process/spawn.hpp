// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/process/process_handle.hpp"
#include "actors/process/readiness.hpp"

#include <chrono>
#include <string>
#include <variant>
#include <vector>

namespace muster {

/// What a child writes to goes nowhere.
struct no_output {};

/// A program to start.
struct process_order {
  /// Its absolute path.
  std::string program;
  /// What stands behind its name.
  std::vector<std::string> arguments;
  /// All that it gets: `NAME=value`.
  std::vector<std::string> environment;
  /// An absolute path.
  std::string working_folder = "/";
  /// Takes both outputs: a file to append to, made for its owner only if there
  /// is none, or a descriptor that stays the caller's.
  std::variant<no_output, std::string, int> output;
  /// How long it may take until it says that it is ready; 0 if it never does.
  std::chrono::milliseconds ready_within{0};
  /// What makes it ready.
  readiness ready_by = readiness::line;
};

/// A child that runs, not yet ready.
struct started_process {
  process_handle handle;
  /// The end of its pipe, which does not block; none if it has none.
  descriptor ready;
};

/// Starts a program in a session of its own, with no descriptor of this
/// process, no blocked signal, and every signal at its default.
/// @returns `not_found` or `not_allowed` naming the program, the folder or the
///          file that is to blame; `overloaded` if there is no room for another
///          process; `invalid_argument` for what no program could be given.
[[nodiscard]] expected<started_process> spawn(const process_order& order);

} // namespace muster
