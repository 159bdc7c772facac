// SPDX-License-Identifier: Apache-2.0

// Groups of workers and pods that are kept alive, whatever is killed or hangs:
// their occupants, their node, or all of it for a while.

#define CAF_SUITE black_box.groups

#include "tests/black_box/calls.hpp"
#include "tests/black_box/command_line.hpp"
#include "tests/black_box/pod_box.hpp"
#include "tests/black_box/seed.hpp"
#include "tests/support/suite.hpp"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>
#include <set>

#include <signal.h>

using namespace muster;
using namespace muster::test;
using namespace std::chrono_literals;

namespace {

using words = std::vector<std::string>;

/// Two questions, the second one behind the answer to the first.
constexpr const char* ask_twice
  = "local x = alc.llm('first') return x .. alc.llm('behind ' .. x)";

/// What `told` says of it in the end.
constexpr const char* all_of_ask_twice = "first -> \"x\"\nbehind x -> \"y\"\n";

/// The program with groups. Those of the tests have the name `crew`.
class group_box : public pod_box {
public:
  json shown() {
    auto result = run_json({"group", "show", "crew"});
    if (result.code != 0)
      throw std::runtime_error{"the group is not shown: " + result.err};
    return result.document();
  }

  json slot(std::size_t index) {
    return shown().at("slots").at(index);
  }

  /// Makes a group, and waits until it is full.
  json created(int slots, words more = {}) {
    words all{"group",
              "create",
              "crew",
              "--kind",
              "worker",
              "--slots",
              std::to_string(slots)};
    all.insert(all.end(), more.begin(), more.end());
    auto result = run_json(all);
    if (result.code != 0)
      throw std::runtime_error{"the group is not made: " + result.err};
    return full();
  }

  /// The group once all of its slots are healthy, each with a process of its
  /// own that lives.
  json full() {
    json out;
    if (!eventually([&] { return is_full(out = shown()); }, patience))
      throw std::runtime_error{"the group is not full: " + out.dump()};
    return out;
  }

  static bool is_full(const json& group) {
    auto& slots = group.at("slots");
    std::set<pid_t> pids;
    for (auto& slot : slots)
      if (slot.at("state") == "healthy" && slot.at("pid").is_number()
          && is_living(slot.at("pid").get<pid_t>()))
        pids.insert(slot.at("pid").get<pid_t>());
    return pids.size() == group.at("wanted").get<std::size_t>()
           && pids.size() == slots.size();
  }
};

/// The processes of a group, by the numbers of their slots.
std::vector<json> pids_of(const json& group) {
  std::vector<json> out;
  for (auto& slot : group.at("slots"))
    out.push_back(slot.at("pid"));
  return out;
}

std::set<pid_t> pid_set_of(const json& group) {
  std::set<pid_t> out;
  for (auto& pid : pids_of(group))
    if (!pid.is_null())
      out.insert(pid.get<pid_t>());
  return out;
}

/// Another process came for the one that was lost, and for no other.
void check_replaced(const json& before, const json& after, std::size_t lost) {
  for (std::size_t i = 0; i < before.at("slots").size(); ++i) {
    auto is_same = pids_of(before).at(i) == pids_of(after).at(i);
    CAF_CHECK_EQUAL(is_same, i != lost);
    CAF_CHECK_EQUAL(after.at("slots").at(i).at("restarts"), i == lost ? 1 : 0);
  }
}

std::size_t lines_in(const std::string& path) {
  std::ifstream in{path};
  return static_cast<std::size_t>(
    std::count(std::istreambuf_iterator<char>{in}, {}, '\n'));
}

} // namespace

// -- workers ------------------------------------------------------------------

CAF_TEST(a worker of a group that is killed is replaced) {
  group_box box;
  box.require_start();
  auto before = box.created(4);
  CAF_CHECK_EQUAL(before["slots"].size(), 4u);
  CAF_CHECK_EQUAL(pid_set_of(before), box.processes());
  auto watch = launch(box, {"--json", "group", "show", "crew", "--watch"});
  auto first = only_document(watch->read_line(patience) + "\n");
  CAF_CHECK_EQUAL(pids_of(first), pids_of(before));
  ::kill(pids_of(before).at(2).get<pid_t>(), SIGKILL);
  // Each line is the group behind a change, and one of them has the new worker.
  json last = first;
  for (bool is_over = false; !is_over;) {
    auto line = watch->read_line(patience);
    CAF_REQUIRE(!line.empty());
    auto next = only_document(line + "\n");
    CAF_CHECK_NOT_EQUAL(next, last);
    last = next;
    is_over = last["slots"][2]["restarts"] == 1 && group_box::is_full(last);
  }
  watch->signal(SIGTERM);
  CAF_CHECK_EQUAL(end_of(*watch).code, -SIGTERM);
  check_replaced(before, last, 2);
  check_replaced(before, box.full(), 2);
  CAF_CHECK(contains(box.slot(2)["last_error"].get<std::string>(), "SIGKILL"));
  CAF_CHECK_EQUAL(pid_set_of(last), box.processes());
}

CAF_TEST(a worker of a group that hangs is replaced) {
  group_box box;
  auto config
    = box.folder.write("muster.ini", "[pool]\nping-interval = 100ms\n");
  box.require_start({"--config", config});
  auto before = box.created(2);
  auto hanging = pids_of(before).at(1).get<pid_t>();
  ::kill(hanging, SIGSTOP);
  CAF_CHECK(eventually([&] { return !is_living(hanging); }));
  CAF_CHECK(eventually([&] { return box.slot(1)["restarts"] == 1; }));
  auto after = box.full();
  check_replaced(before, after, 1);
  CAF_CHECK_EQUAL(pid_set_of(after), box.processes());
}

CAF_TEST(a group has the same workers when its node comes back) {
  group_box box;
  box.require_start();
  auto before = box.created(4);
  box.kill();
  box.require_start();
  auto after = box.full();
  CAF_CHECK_EQUAL(pids_of(after), pids_of(before));
  for (auto& slot : after["slots"])
    CAF_CHECK_EQUAL(slot["restarts"], 0);
  CAF_CHECK_EQUAL(box.workers().size(), 4u);
  CAF_CHECK_EQUAL(pid_set_of(after), box.processes());
}

CAF_TEST(a worker that was killed while its node was dead is replaced) {
  group_box box;
  box.require_start();
  auto before = box.created(4);
  box.kill();
  box.end_process(pids_of(before).at(1).get<pid_t>());
  box.require_start();
  std::size_t most = 0;
  json after;
  CAF_CHECK(eventually([&] {
    most = std::max(most, box.workers().size());
    after = box.shown();
    return group_box::is_full(after);
  }));
  CAF_CHECK(std::max(most, box.workers().size()) <= 4);
  // Whether its start was on disk already is not known, so neither is whether
  // this counts as a restart.
  for (std::size_t i = 0; i < 4; ++i)
    CAF_CHECK_EQUAL(pids_of(after).at(i) == pids_of(before).at(i), i != 1);
  CAF_CHECK_EQUAL(pid_set_of(after), box.processes());
}

// -- sessions in workers of a group -------------------------------------------

CAF_TEST(a session takes a worker of a group and may lose it) {
  group_box box;
  box.require_start();
  auto before = box.created(3);
  auto id = box.paused_in_worker(ask_twice);
  CAF_CHECK_EQUAL(box.workers().size(), 3u);
  auto taken = box.full();
  CAF_CHECK_EQUAL(pids_of(taken), pids_of(before));
  auto& slots = taken["slots"];
  auto has_it = [&](auto& slot) { return slot["session"] == id; };
  auto slot = std::find_if(slots.begin(), slots.end(), has_it);
  CAF_REQUIRE(slot != slots.end());
  CAF_CHECK_EQUAL(std::count_if(slots.begin(), slots.end(), has_it), 1);
  auto index = (*slot)["index"].get<std::size_t>();
  ::kill((*slot)["pid"].get<pid_t>(), SIGKILL);
  box.fed(id, "x");
  CAF_CHECK_EQUAL(box.fed(id, "y")["result"], "xy");
  CAF_CHECK_EQUAL(box.told(id), all_of_ask_twice);
  CAF_CHECK(eventually([&] { return box.slot(index)["restarts"] == 1; }));
  auto is_settled = [&] {
    auto group = box.shown();
    return group_box::is_full(group) && pid_set_of(group) == box.processes();
  };
  CAF_CHECK(eventually(is_settled));
  CAF_CHECK_EQUAL(box.workers().size(), 3u);
}

CAF_TEST(a session that is over is no failure of its worker) {
  group_box box;
  box.require_start();
  auto before = box.created(2);
  auto id = box.paused_in_worker(ask);
  CAF_CHECK_EQUAL(box.fed(id, "x")["result"], "x");
  json after;
  CAF_CHECK(eventually([&] {
    after = box.shown();
    return group_box::is_full(after) && pids_of(after) != pids_of(before);
  }));
  for (auto& slot : after["slots"]) {
    CAF_CHECK_EQUAL(slot["restarts"], 0);
    CAF_CHECK(slot["last_error"].is_null());
    CAF_CHECK(slot["session"].is_null());
  }
}

// -- pods ---------------------------------------------------------------------

CAF_TEST(a group of pods that end at once gives up until it is told to try) {
  group_box box;
  box.require_start();
  auto folder = box.make_folder("a");
  auto starts = [&] { return lines_in(folder + "/starts"); };
  auto made = box.run_json(
    {"group", "create", "crew", "--kind", "pod", "--slots", "1", "--scope",
     "w:" + folder, "--backoff-initial", "50ms", "--max-restarts", "3/60s",
     "--give-up", "--", "/bin/sh", "-c", "echo >>starts; exit 3"});
  CAF_REQUIRE_EQUAL(made.code, 0);
  // What is on disk survives; a person may have seen it before.
  auto has_failed = [&] {
    std::ifstream in{box.state() + "/groups/crew.json"};
    auto text = json::parse(in, nullptr, false);
    return text.is_object() && text["slots"][0]["state"] == "failed"
           && box.slot(0)["state"] == "failed";
  };
  CAF_CHECK(eventually(has_failed));
  CAF_CHECK_EQUAL(starts(), 3u);
  auto failed = box.slot(0);
  CAF_CHECK(contains(failed["last_error"].get<std::string>(),
                     "ended with exit code 3"));
  CAF_CHECK(failed["pid"].is_null());
  box.kill();
  box.require_start();
  // A pass has nothing to put back.
  CAF_CHECK_EQUAL(box.run_json({"recovery", "run"}).code, 0);
  CAF_CHECK_EQUAL(box.slot(0), failed);
  CAF_CHECK_EQUAL(starts(), 3u);
  CAF_CHECK_EQUAL(box.run({"group", "reset", "crew"}).code, 0);
  CAF_CHECK(eventually([&] { return starts() == 6 && has_failed(); }));
  CAF_CHECK_EQUAL(box.run({"group", "delete", "crew"}).code, 0);
  CAF_CHECK(eventually([&] {
    return box.run({"group", "show", "crew"}).code == 3;
  }));
  CAF_CHECK(box.pod_processes().empty());
  CAF_CHECK(box.borrowers().empty());
}

// -- the storm ----------------------------------------------------------------

namespace {

/// How long workers are killed; `MUSTER_STORM_SECONDS` says it otherwise.
std::chrono::seconds storm_time() {
  auto* given = std::getenv("MUSTER_STORM_SECONDS");
  return given ? std::chrono::seconds{std::strtol(given, nullptr, 10)} : 8s;
}

/// What there is too much of, in words.
std::string excess(client& link, std::size_t limit) {
  auto group = link.group_show("crew", patience);
  auto workers = link.pool_list(patience);
  if (!group || !workers)
    return (group ? workers.error() : group.error()).message;
  auto occupied
    = std::count_if(group->slots.begin(), group->slots.end(),
                    [](auto& slot) { return !slot.occupant.empty(); });
  auto staying = std::count_if(workers->begin(), workers->end(), [](auto& x) {
    return x.phase != worker_phase::stopping;
  });
  auto is_too_much
    = [=](auto count) { return static_cast<std::size_t>(count) > limit; };
  if (is_too_much(occupied) || is_too_much(staying))
    return fmt::format("{} slots are occupied, and there are {} workers that "
                       "are not about to stop",
                       occupied, staying);
  return {};
}

} // namespace

CAF_TEST(a group is full again behind a storm that kills and stops workers) {
  constexpr std::size_t slot_count = 8;
  auto seed = chosen_seed();
  std::mt19937_64 random{seed};
  group_box box;
  // One that is stopped before it has said who it is hears no ping.
  box.require_start({"--pool.ping-interval", "300ms", "--pool.spawn-timeout",
                     "3s", "--pool.ask-patience", "200ms",
                     "--pool.terminate-patience", "200ms"});
  box.created(slot_count, {"--backoff-initial", "50ms", "--backoff-max",
                           "500ms", "--max-restarts", "none"});
  words sessions;
  for (int i = 0; i < 3; ++i) {
    sessions.push_back(box.paused_in_worker(ask_twice));
    box.fed(sessions.back(), "x");
  }
  auto link = *box.connect();
  std::string fault;
  std::size_t strikes = 0;
  auto end = std::chrono::steady_clock::now() + storm_time();
  while (fault.empty() && std::chrono::steady_clock::now() < end) {
    if (auto all = box.processes(); !all.empty()) {
      auto which = static_cast<std::ptrdiff_t>(random() % all.size());
      auto number = random() % 2 == 0 ? SIGKILL : SIGSTOP;
      ::kill(*std::next(all.begin(), which), number);
      ++strikes;
    }
    std::ignore = eventually(
      [&] { return !(fault = excess(*link, slot_count)).empty(); }, 200ms);
  }
  CAF_MESSAGE(strikes << " strikes");
  CAF_CHECK(strikes > 0);
  if (!fault.empty())
    CAF_ERROR("seed " << seed << ": " << fault);
  // One that was stopped looks healthy until it has missed its pings.
  auto is_calm = [&] {
    auto all = box.processes();
    auto group = box.shown();
    return std::none_of(all.begin(), all.end(), is_stopped)
           && group_box::is_full(group) && pid_set_of(group) == all;
  };
  if (!eventually(is_calm, 10s))
    CAF_ERROR("seed " << seed << ": " << box.shown().dump() << "\n"
                      << box.run({"pool", "list"}).out);
  CAF_CHECK_EQUAL(box.workers().size(), slot_count);
  for (auto& id : sessions) {
    CAF_CHECK_EQUAL(box.fed(id, "y")["result"], "xy");
    CAF_CHECK_EQUAL(box.told(id), all_of_ask_twice);
  }
  CAF_CHECK(eventually(is_calm));
  CAF_CHECK_EQUAL(box.run({"group", "delete", "crew"}).code, 0);
  CAF_CHECK_EQUAL(box.leftovers(), "");
}

// -- passes -------------------------------------------------------------------

CAF_TEST(a group is one of those who put back what died) {
  group_box box;
  box.require_start();
  box.created(1);
  auto names_in = [](const json& list) {
    words out;
    for (auto& x : list)
      out.push_back(x.at("name"));
    return fmt::format("{}", fmt::join(out, " "));
  };
  auto list = box.run_json({"recovery", "list"}).document();
  CAF_CHECK(contains(names_in(list["handlers"]) + " ", "group:crew "));
  auto first = box.run_json({"recovery", "run"}).document();
  auto second = box.run_json({"recovery", "run"}).document();
  CAF_CHECK(first["pass"] < second["pass"]);
  CAF_CHECK(second["slots"].empty());
  CAF_CHECK(second["late"].empty());
  CAF_CHECK(second["failed"].empty());
  // Before the first beat there is nothing to tell.
  json steps;
  CAF_CHECK(eventually([&] {
    steps = box.run_json({"status"}).document()["tick"]["steps"];
    return steps.is_array();
  }));
  CAF_CHECK_EQUAL(names_in(steps), "probes recovery pool pods sessions");
  CAF_CHECK_EQUAL(box.run({"group", "delete", "crew"}).code, 0);
  list = box.run_json({"recovery", "list"}).document();
  CAF_CHECK(!contains(names_in(list["handlers"]), "group:crew"));
}

// -- what is refused ----------------------------------------------------------

CAF_TEST(a damaged document stops no start and is named in the log alone) {
  black_box own;
  std::filesystem::create_directories(own.state() + "/groups");
  std::ofstream{own.state() + "/groups/web.json"} << "{";
  // The first line of its output says that it is ready, and nothing else.
  own.require_start();
  auto shown = own.run({"--json", "group", "show", "web"});
  CAF_CHECK_EQUAL(shown.code, 8);
  CAF_CHECK_EQUAL(shown.error_code(), "registry_corrupted");
  own.stop();
}

CAF_TEST(an order that makes no group is refused) {
  group_box box;
  box.require_start();
  auto refused = [&](words more) {
    words all{"group", "create", "crew"};
    all.insert(all.end(), more.begin(), more.end());
    auto result = box.run(all);
    CAF_CHECK_EQUAL(result.out, "");
    // A sentence, and not only a word.
    CAF_CHECK(contains(result.err, " "));
    CAF_MESSAGE(result.err);
    return result.code;
  };
  CAF_CHECK_EQUAL(refused({"--kind", "thread", "--slots", "1"}), 2);
  CAF_CHECK_EQUAL(refused({"--kind", "worker", "--slots", "256"}), 2);
  CAF_CHECK_EQUAL(refused({"--kind", "worker", "--slots", "-1"}), 2);
  for (auto* slots : {"0x1", "+1", "1.0", ""})
    CAF_CHECK_EQUAL(refused({"--kind", "worker", "--slots", slots}), 2);
  CAF_CHECK_EQUAL(refused({"--kind", "worker"}), 2);
  CAF_CHECK_EQUAL(refused({"--kind", "worker", "--slots", "1", "--", "true"}),
                  2);
  CAF_CHECK(box.run_json({"group", "list"}).document()["groups"].empty());
  for (words verb : {words{"show"}, words{"reset"}, words{"delete"}})
    CAF_CHECK_EQUAL(box.run({"group", verb.front(), "crew"}).code, 3);
  CAF_CHECK_EQUAL(box.run({"group", "scale", "crew", "1"}).code, 3);
  auto before = box.created(1);
  CAF_CHECK_EQUAL(refused({"--kind", "worker", "--slots", "2"}), 6);
  CAF_CHECK_EQUAL(pids_of(box.full()), pids_of(before));
}
