// SPDX-License-Identifier: Apache-2.0

// Measures the node next to others, in one run: the machine's speed changes
// from minute to minute, a ratio within one run does not. See
// docs/performance.md.

#include "tests/bench/groups.hpp"
#include "tests/bench/in_process_node.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <filesystem>

#include <linux/magic.h>
#include <sys/statfs.h>

namespace {

/// Whether a sync there means anything.
bool is_on_disk(const std::string& folder) {
  struct statfs about {};
  return ::statfs(folder.c_str(), &about) == 0 && about.f_type != TMPFS_MAGIC
         && about.f_type != RAMFS_MAGIC;
}

} // namespace

int main(int argc, char** argv) {
  muster::bench::options how;
  how.folder = std::filesystem::temp_directory_path().string();
  CLI::App app{"Measures muster next to a raw disk, Redis and gRPC."};
  app.add_option("--rounds", how.rounds, "How often each row is measured");
  app.add_option("--seconds", how.seconds, "What one measurement takes");
  app.add_option("--only", how.only, "Only rows with this in their name");
  app.add_option("--folder", how.folder, "Where to write, on a disk");
  app.add_option("--sessions", how.stored_sessions,
                 "Sessions for the restart to find");
  app.add_option("--cycles", how.cycles, "How often a node starts and stops");
  CLI11_PARSE(app, argc, argv);
  if (!is_on_disk(how.folder)) {
    fmt::print(stderr,
               "'{}' is in memory, where a sync costs nothing; give a folder "
               "on a disk with --folder\n",
               how.folder);
    return 2;
  }
  using namespace muster::bench;
  std::vector<row> rows;
  std::vector<bar> bars;
  // The children of `memory` are to begin with little in memory.
  for (auto* measure : {memory, durable, pool, pods, recovery, tick, remote,
                        replay, restart, life}) {
    auto part = measure(how);
    rows.insert(rows.end(), part.rows.begin(), part.rows.end());
    bars.insert(bars.end(), part.bars.begin(), part.bars.end());
  }
  print(rows);
  return print(bars, rows) == 0 ? 0 : 1;
}
