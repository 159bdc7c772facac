// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "tests/black_box/pool_box.hpp"

#include <set>
#include <string>
#include <vector>

namespace muster::test {

/// The real program with pods. These outlive their node, but not the box.
class pod_box : public pool_box {
public:
  pod_box() = default;

  ~pod_box();

  // -- folders ----------------------------------------------------------------

  /// Makes a folder that can be lent.
  /// @returns its path.
  [[nodiscard]] std::string make_folder(const std::string& name) const;

  // -- pods -------------------------------------------------------------------

  /// Spawns a pod that must come to be ready, and knows no way but the command
  /// line.
  /// @param more options, and behind `--` the program.
  /// @returns its document.
  json spawned(const std::string& name, const std::string& rules,
               std::vector<std::string> more = {});

  /// The same with a shell script, which must say `up` before this returns.
  json spawned_shell(const std::string& name, const std::string& rules,
                     const std::string& script,
                     std::vector<std::string> options = {});

  /// Runs the script as a turn of the reference pod, and waits for its end.
  /// @returns what it wrote.
  std::string said(const std::string& name, const std::string& script);

  // -- what the node says -----------------------------------------------------

  /// A pod of `pod list`; without fields if it is not there.
  json pod(const std::string& name);

  /// Whom something is lent to.
  std::set<std::string> borrowers();

  // -- what the system says ---------------------------------------------------

  /// The processes that were started as a pod of this box, whoever knows of
  /// them.
  [[nodiscard]] std::set<pid_t> pod_processes() const;

  /// What is wrong with who is there: processes that no pod of the list has
  /// started, pods without a process, loans of nobody. Waits until that is
  /// nothing.
  /// @returns it in words at the deadline; empty if there is nothing.
  [[nodiscard]] std::string disorder();

  /// What a plain pod has said so far.
  [[nodiscard]] static std::string output_of(const json& pod);
};

} // namespace muster::test
