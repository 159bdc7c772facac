// SPDX-License-Identifier: Apache-2.0

#include "tests/bench/groups.hpp"
#include "tests/bench/in_process_node.hpp"
#include "tests/black_box/program.hpp"

#include <chrono>
#include <filesystem>
#include <memory>
#include <stdexcept>

namespace muster::bench {

namespace {

double milliseconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(
           std::chrono::steady_clock::now() - begin)
    .count();
}

/// A state directory with many paused sessions.
struct stored {
  explicit stored(const options& how) : folder(how.folder) {
    node_settings settings;
    settings.session.passivate_after = std::chrono::milliseconds(200);
    in_process_node node{folder.path(), settings};
    ids = node.spawn(asking_script(), how.stored_sessions, 500);
  }

  scratch folder;
  std::vector<std::string> ids;
};

} // namespace

group restart(const options& how) {
  std::unique_ptr<stored> disk;
  std::unique_ptr<test::black_box> box;
  std::size_t next = 0;
  auto ready = [&] {
    if (!disk)
      disk = std::make_unique<stored>(how);
    box = std::make_unique<test::black_box>(disk->folder.path());
    auto begin = std::chrono::steady_clock::now();
    if (!box->start())
      throw std::runtime_error{"the node did not start"};
    return milliseconds_since(begin);
  };
  auto feed = [&] {
    if (!box)
      throw std::runtime_error{"there is no node"};
    auto link = box->connect();
    if (!link)
      throw std::runtime_error{link.error().message};
    // Anywhere among them.
    next = (next + 7'919) % disk->ids.size();
    auto begin = std::chrono::steady_clock::now();
    auto reply = (*link)->feed(disk->ids[next], {{{}, "answer", std::nullopt}});
    auto took = milliseconds_since(begin);
    if (!reply || reply->results[0].refused)
      throw std::runtime_error{"the feed was refused"};
    return took;
  };
  auto name = " with " + std::to_string(how.stored_sessions) + " sessions";
  row started{"restart" + name, "ms", {}, {}, {}};
  row fed{"first feed after a restart" + name, "ms", {}, {}, {}};
  for (int round = 0; round < how.rounds; ++round) {
    for (auto [to, measure] :
         {std::pair<row*, std::function<double()>>{&started, ready},
          {&fed, feed}}) {
      auto one = run_alone(how, {to->name, to->unit, measure}, 1);
      to->not_run = one.not_run;
      to->samples.insert(to->samples.end(), one.samples.begin(),
                         one.samples.end());
    }
    if (box && box->has_node())
      box->kill();
  }
  return {{started, fed},
          {{started.name, false, 1'000, {}}, {fed.name, false, 50, {}}}};
}

} // namespace muster::bench
