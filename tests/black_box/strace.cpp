// SPDX-License-Identifier: Apache-2.0

#include "tests/black_box/strace.hpp"

#include <algorithm>
#include <fstream>

namespace muster::test {

namespace {

/// The path that a line names first; empty if none.
std::string path_in(const std::string& line,
                    const std::vector<std::string>& paths) {
  std::string found;
  auto at = std::string::npos;
  for (auto& path : paths)
    // Names stand in quotes, descriptors in angle brackets.
    for (auto& text : {"\"" + path + "\"", "<" + path + ">"})
      if (auto i = line.find(text); i < at) {
        at = i;
        found = path;
      }
  return found;
}

} // namespace

std::vector<std::string> under_strace(const std::string& log,
                                      const system_calls& calls) {
  std::vector<std::string> out{
    "/usr/bin/strace",     "-D", "-f", "-y", "-o", log, "-e",
    "trace=" + calls.names};
  for (auto& path : calls.paths)
    out.insert(out.end(), {"-P", path});
  if (!calls.injection.empty())
    out.insert(out.end(),
               {"-e", "inject=" + calls.names + ":" + calls.injection});
  return out;
}

std::map<call_site, int> count_calls(const std::string& log,
                                     const std::vector<std::string>& paths) {
  std::map<call_site, int> out;
  std::map<std::pair<std::string, call_site>, int> by_thread;
  std::ifstream in{log};
  for (std::string line; std::getline(in, line);) {
    auto space = line.find(' ');
    auto name = line.find_first_not_of(' ', space);
    auto open = line.find('(', name);
    if (open == std::string::npos || line[name] == '<')
      continue;
    call_site site{line.substr(name, open - name), path_in(line, paths)};
    if (site.path.empty())
      continue;
    auto count = ++by_thread[{line.substr(0, space), site}];
    out[site] = std::max(out[site], count);
  }
  return out;
}

} // namespace muster::test
