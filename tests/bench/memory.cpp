// SPDX-License-Identifier: Apache-2.0

#include "tests/bench/groups.hpp"
#include "tests/bench/in_process_node.hpp"

#include "messages/json.hpp"

#include <array>
#include <chrono>
#include <fstream>
#include <functional>
#include <stdexcept>
#include <thread>

#include <malloc.h>
#include <sys/wait.h>
#include <unistd.h>

namespace muster::bench {

namespace {

constexpr std::size_t session_count = 4'000;

/// Bytes of this process that are in memory.
double resident_bytes() {
  ::malloc_trim(0);
  std::ifstream in{"/proc/self/statm"};
  double total = 0;
  double resident = 0;
  in >> total >> resident;
  return resident * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

/// Measures in a child, whose memory nothing else has used before.
double in_child(const std::function<double()>& measure) {
  std::array<int, 2> ends{};
  if (::pipe(ends.data()) != 0)
    throw std::runtime_error{"no pipe"};
  auto pid = ::fork();
  if (pid == 0) {
    double result = -1;
    try {
      result = measure();
    } catch (const std::exception&) {
      // The parent sees that there is no result.
    }
    auto written = ::write(ends[1], &result, sizeof(result));
    ::_exit(written == sizeof(result) ? 0 : 1);
  }
  ::close(ends[1]);
  double result = -1;
  auto got = ::read(ends[0], &result, sizeof(result));
  ::close(ends[0]);
  ::waitpid(pid, nullptr, 0);
  if (got != sizeof(result) || result < 0)
    throw std::runtime_error{"the child did not measure"};
  return result;
}

std::uint64_t machines(in_process_node& node) {
  auto status = parse_json(node.status(), "the status");
  return (*status)["sessions"].value("machines", std::uint64_t{0});
}

/// Waits until the node says that a condition holds for its machines.
template <class Predicate>
void wait_for_machines(in_process_node& node, Predicate holds) {
  auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!holds(machines(node))) {
    if (std::chrono::steady_clock::now() > end)
      throw std::runtime_error{"the machines do not change"};
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

double bytes_with_machine(const options& how) {
  scratch folder{how.folder};
  node_settings settings;
  settings.session.max_machines = 2 * session_count;
  in_process_node node{folder.path(), settings};
  // What the first few bring with them belongs to the node.
  node.spawn(asking_script(), 50);
  auto before = resident_bytes();
  node.spawn(asking_script(), session_count);
  return (resident_bytes() - before) / session_count;
}

double bytes_without_machine(const options& how) {
  scratch folder{how.folder};
  node_settings settings;
  settings.session.max_machines = 2 * session_count;
  settings.session.passivate_after = std::chrono::seconds(2);
  in_process_node node{folder.path(), settings};
  node.spawn(asking_script(), 50);
  auto before = resident_bytes();
  node.spawn(asking_script(), session_count);
  // The node says now and then how many there are.
  wait_for_machines(node, [](auto count) { return count > session_count; });
  wait_for_machines(node, [](auto count) { return count == 0; });
  return std::max(0.0, resident_bytes() - before) / session_count;
}

} // namespace

group memory(const options& how) {
  group out;
  out.rows = {
    run_alone(
      how,
      {"paused session with its machine", "bytes",
       [&] { return in_child([&] { return bytes_with_machine(how); }); }},
      3),
    run_alone(
      how,
      {"paused session without machine", "bytes",
       [&] { return in_child([&] { return bytes_without_machine(how); }); }},
      3),
  };
  out.bars = {
    {"paused session with its machine", false, 40 * 1024, {}},
    {"paused session without machine", false, 2 * 1024, {}},
  };
  return out;
}

} // namespace muster::bench
