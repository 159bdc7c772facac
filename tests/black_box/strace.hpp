// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <map>
#include <string>
#include <vector>

namespace muster::test {

/// The system calls of a program that concern some paths, and what is to happen
/// to one of them.
struct system_calls {
  /// Their names, with commas between them.
  std::string names;
  std::vector<std::string> paths;
  /// In the words of strace, such as `error=EIO:when=3`; the calls are counted
  /// for each thread by itself. Nothing happens to any if this is empty.
  std::string injection;
};

/// What runs a program under strace: `program_options::runner`. strace stands
/// beside the program, which stays a child of the test with a pid and an end of
/// its own.
/// @param log where strace writes the calls.
[[nodiscard]] std::vector<std::string> under_strace(const std::string& log,
                                                    const system_calls& calls);

/// A system call that concerns a path.
struct call_site {
  std::string name;
  std::string path;

  friend auto operator<=>(const call_site&, const call_site&) = default;
};

/// Reads what strace wrote: how often each call was made by the thread that
/// made it most often. A call that concerns several of the paths counts for the
/// first that it names.
[[nodiscard]] std::map<call_site, int>
count_calls(const std::string& log, const std::vector<std::string>& paths);

} // namespace muster::test
