// SPDX-License-Identifier: Apache-2.0

// Worker processes that are killed, hang, or are not who they seem to be, and
// nodes that are killed under them: nothing that was acknowledged is lost,
// nothing is asked twice, and nobody else is ever signalled.

#define CAF_SUITE black_box.pool_faults

#include "tests/black_box/calls.hpp"
#include "tests/black_box/command_line.hpp"
#include "tests/black_box/pool_box.hpp"
#include "tests/black_box/seed.hpp"
#include "tests/black_box/strace.hpp"
#include "tests/support/real_child.hpp"
#include "tests/support/suite.hpp"

#include "actors/process/process_identity.hpp"

#include "messages/hash.hpp"

#include <filesystem>
#include <muster_version.hpp>
#include <mutex>
#include <random>
#include <set>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace muster;
using namespace muster::test;
using namespace std::chrono_literals;

namespace {

/// Two questions, the second one behind the answer to the first.
constexpr const char* ask_twice
  = "local x = alc.llm('first') return x .. alc.llm('behind ' .. x)";

/// What `told` says of it in the end.
constexpr const char* all_of_ask_twice = "first -> \"x\"\nbehind x -> \"y\"\n";

/// Runs for some seconds behind its answer.
constexpr const char* ask_and_work_long = "local x = alc.llm('why?')\n"
                                          "for i = 1, 2e8 do end\n"
                                          "return x";

/// A session that has got its first answer, and its worker.
struct second_pause {
  explicit second_pause(pool_box& box) : id(box.paused_in_worker(ask_twice)) {
    box.fed(id, "x");
    auto worker = box.worker_of(id);
    sid = worker.at("sid");
    pid = worker.at("pid");
  }

  /// Ends as if nothing had happened.
  void check_end(pool_box& box) const {
    CAF_CHECK_EQUAL(box.fed(id, "y")["result"], "xy");
    CAF_CHECK_EQUAL(box.told(id), all_of_ask_twice);
  }

  std::string id;
  std::string sid;
  pid_t pid = 0;
};

/// How a process is doing, as in `/proc/<pid>/stat`; `-` if it is gone.
char state_of(pid_t pid) {
  auto stat = stat_of(pid);
  return stat && *stat ? (*stat)->state : '-';
}

/// The name of the program that a process runs.
std::string program_of(pid_t pid) {
  std::error_code code;
  auto path = fmt::format("/proc/{}/exe", pid);
  return std::filesystem::read_symlink(path, code).filename();
}

/// Whether each worker that lives is one that the node knows.
bool all_are_known(pool_box& box) {
  std::set<pid_t> known;
  for (auto& [sid, worker] : box.workers())
    known.insert(worker["pid"].get<pid_t>());
  auto all = box.processes();
  return std::includes(known.begin(), known.end(), all.begin(), all.end());
}

/// Documents with these entries.
std::string document_with(std::vector<json> entries) {
  return json{{"sessions", std::move(entries)}}.dump();
}

/// Four questions, each behind the answers to all before it.
constexpr const char* ask_four_times = R"lua(
local all = {}
for i = 1, 4 do
  all[i] = alc.llm("question " .. i .. " behind " .. table.concat(all, "+"))
  alc.state.incr("answers")
end
return #all
)lua";

constexpr const char* all_of_ask_four_times
  = "question 1 behind  -> \"0\"\nquestion 2 behind 0 -> \"1\"\n"
    "question 3 behind 0+1 -> \"2\"\nquestion 4 behind 0+1+2 -> \"3\"\n";

/// What clients in threads of their own have come to. Their test reads it.
class ledger {
public:
  void add_fault(const std::string& text) {
    std::lock_guard guard{mutex_};
    faults_.push_back(text);
  }

  void add_answer() {
    std::lock_guard guard{mutex_};
    ++answers_;
  }

  void add_end(const std::string& id) {
    std::lock_guard guard{mutex_};
    ended_.push_back(id);
  }

  [[nodiscard]] std::size_t answers() const {
    std::lock_guard guard{mutex_};
    return answers_;
  }

  [[nodiscard]] std::vector<std::string> ended() const {
    std::lock_guard guard{mutex_};
    return ended_;
  }

  [[nodiscard]] std::vector<std::string> faults() const {
    std::lock_guard guard{mutex_};
    return faults_;
  }

private:
  mutable std::mutex mutex_;
  std::size_t answers_ = 0;
  std::vector<std::string> ended_;
  std::vector<std::string> faults_;
};

/// Takes a session in a worker from its spawn to its end. Calls are repeated by
/// a client that has lost its node, so none may be refused.
void serve(client& link, ledger& book) {
  auto spec = spec_of(ask_four_times);
  spec.isolation = session_isolation::worker;
  auto view = link.start(spec, {patience});
  for (int i = 0; view && view->phase == session_phase::paused; ++i) {
    auto& query = view->queries.front().id;
    if (query != fmt::format("q-{}", i))
      book.add_fault(fmt::format("{} asks {} behind {} answers",
                                 view->session_id, query, i));
    auto reply = link.feed(view->session_id, {{query, std::to_string(i), {}}},
                           {patience});
    if (!reply || reply->results.at(0).refused) {
      book.add_fault(reply ? reply->results.at(0).refused->message
                           : reply.error().message);
      return;
    }
    book.add_answer();
    view = reply->session;
  }
  if (!view)
    book.add_fault(view.error().message);
  else if (view->result != "4")
    book.add_fault(view->session_id + " ends with " + view->error);
  else
    book.add_end(view->session_id);
}

} // namespace

// -- workers and nodes that are killed ----------------------------------------

CAF_TEST(sessions in workers end as if nobody had killed anybody all the time) {
  constexpr std::size_t session_count = 20;
  constexpr std::size_t client_count = 4;
  constexpr std::size_t answer_count = 4 * session_count;
  constexpr int kill_count = 8;
  auto seed = chosen_seed();
  std::mt19937_64 random{seed};
  pool_box box;
  box.require_start();
  ledger book;
  std::vector<std::future<void>> clients;
  for (std::size_t i = 0; i < client_count; ++i) {
    auto link = client::connect(box.options());
    CAF_REQUIRE(link);
    clients.push_back(
      in_background([&book, link = std::shared_ptr<client>{std::move(*link)}] {
        for (std::size_t n = 0; n < session_count / client_count; ++n)
          serve(*link, book);
      }));
  }
  // Each kill waits for its answer, and the next ones are on their way.
  std::multiset<std::size_t> moments;
  for (int i = 0; i < kill_count; ++i)
    moments.insert(random() % answer_count);
  for (auto moment : moments) {
    auto comes = eventually(
      [&] { return book.answers() >= moment || !book.faults().empty(); },
      patience);
    if (!comes)
      book.add_fault(fmt::format("answer {} does not come", moment));
    if (!book.faults().empty())
      break;
    auto what = random() % 3;
    auto workers = box.processes();
    if (what != 0 && !workers.empty())
      ::kill(*std::next(workers.begin(),
                        static_cast<long>(random() % workers.size())),
             SIGKILL);
    if (what != 1) {
      box.kill();
      box.require_start();
    }
  }
  for (auto& call : clients)
    result_of(call);
  for (auto& fault : book.faults())
    CAF_ERROR("seed " << seed << ": " << fault);
  auto ended = book.ended();
  CAF_CHECK_EQUAL(std::set<std::string>(ended.begin(), ended.end()).size(),
                  session_count);
  for (auto& id : ended)
    CAF_CHECK_EQUAL(box.told(id), all_of_ask_four_times);
  CAF_CHECK_EQUAL(box.run({"state", "get", "answers"}).out, "80.0\n");
  // A worker that was started for a session which has another one by now waits
  // for the next; none has a session that is over.
  auto is_over = [&] {
    std::set<std::string> socks;
    for (auto& [sid, worker] : box.workers()) {
      if (!worker["session"].is_null())
        return false;
      socks.insert(worker["sock"].get<std::string>());
    }
    for (auto& file : std::filesystem::directory_iterator{box.socket_folder()})
      if (socks.count(file.path().string()) == 0)
        return false;
    return all_are_known(box);
  };
  if (!eventually(is_over))
    CAF_ERROR("seed " << seed << ": " << box.run({"pool", "list"}).out);
  CAF_CHECK_EQUAL(box.run({"pool", "stop"}).code, 0);
  CAF_CHECK_EQUAL(box.leftovers(), "");
}

CAF_TEST(C04 an answer is not lost when its worker is killed at work) {
  pool_box box;
  box.require_start();
  auto id = box.paused_in_worker(ask_and_work_long);
  pid_t pid = box.worker_of(id)["pid"];
  auto link = *box.connect();
  auto before = (*stat_of(pid))->cpu_ticks;
  auto feed = in_background([&] {
    return link->feed(id, {{"", "x", {}}}, {patience});
  });
  // It computes, and that is not the deserialising of an answer any more.
  CAF_REQUIRE(eventually([&] {
    auto stat = stat_of(pid);
    return stat && *stat && (*stat)->cpu_ticks >= before + 10;
  }));
  box.end_process(pid);
  CAF_CHECK(feed.wait_for(0s) != std::future_status::ready);
  auto reply = result_of(feed);
  CAF_REQUIRE(reply);
  CAF_CHECK(!reply->results.at(0).refused);
  CAF_CHECK_EQUAL(reply->session.result, "\"x\"");
  CAF_CHECK_EQUAL(box.told(id), "why? -> \"x\"\n");
  CAF_CHECK_EQUAL(box.leftovers(), "");
}

CAF_TEST(a worker that hangs is replaced when its session is fed) {
  pool_box box;
  box.require_start({"--pool.patience", "2s", "--pool.ask-patience", "100ms",
                     "--pool.terminate-patience", "100ms"});
  second_pause session{box};
  ::kill(session.pid, SIGSTOP);
  session.check_end(box);
  CAF_CHECK(!is_living(session.pid));
  CAF_CHECK_EQUAL(box.leftovers(), "");
}

CAF_TEST(C09 a worker that hangs is stopped and a silent one too) {
  pool_box box;
  box.require_start(
    {"--pool.ask-patience", "100ms", "--pool.terminate-patience", "100ms"});
  second_pause hanging{box};
  second_pause working{box};
  ::kill(hanging.pid, SIGSTOP);
  auto stopped = box.run_json({"pool", "stop"});
  CAF_CHECK_EQUAL(stopped.code, 0);
  CAF_CHECK_EQUAL(stopped.document()["stopped"].size(), 2u);
  CAF_CHECK_EQUAL(box.leftovers(0s), "");
  hanging.check_end(box);
  working.check_end(box);
}

CAF_TEST(a worker that hangs while its node comes back is unreachable) {
  pool_box box;
  box.require_start();
  second_pause session{box};
  box.kill();
  ::kill(session.pid, SIGSTOP);
  box.require_start(
    {"--pool.probe-timeout", "50ms", "--tick.interval", "20ms"});
  auto worker = box.worker_of(session.id);
  CAF_CHECK_EQUAL(worker["state"], "unreachable");
  CAF_CHECK_EQUAL(worker["pid"], session.pid);
  ::kill(session.pid, SIGCONT);
  CAF_CHECK(
    eventually([&] { return box.worker_of(session.id)["state"] == "busy"; }));
  session.check_end(box);
  CAF_CHECK_EQUAL(box.leftovers(), "");
}

CAF_TEST(C05 a worker whose start was cut short is known or ends) {
  // The thread of the disk renames one for the node, one that says that a
  // worker will be, and one that says who it is.
  for (int document = 1; document <= 2; ++document) {
    CAF_MESSAGE("document " << document);
    pool_box box;
    // With certificates, which are renamed, too.
    box.require_start();
    CAF_CHECK_EQUAL(box.stop().code, 0);
    program_options options;
    options.runner = under_strace(
      box.folder.path() + "/calls",
      {"rename", {}, fmt::format("signal=KILL:when={}", document + 1)});
    box.require_start({}, options);
    auto made = (*box.connect())->pool_spawn({patience, {}});
    CAF_CHECK(!made);
    // strace keeps what the node wrote to open, for the worker.
    CAF_REQUIRE(eventually([&] { return !is_living(box.node().pid()); }));
    auto ended = box.node().wait(100ms);
    CAF_REQUIRE(ended);
    CAF_CHECK_EQUAL(ended->code, -SIGKILL);
    CAF_CHECK_EQUAL(box.processes().size(), document == 1 ? 0u : 1u);
    box.require_start();
    auto workers = box.workers();
    CAF_CHECK_EQUAL(workers.size(), document == 1 ? 0u : 1u);
    for (auto& [sid, worker] : workers)
      CAF_CHECK_EQUAL(worker["state"], "idle");
    CAF_CHECK(all_are_known(box));
    auto id = box.paused_in_worker(ask);
    CAF_CHECK_EQUAL(box.fed(id, "x")["result"], "x");
    CAF_CHECK_EQUAL(box.leftovers(), "");
  }
}

CAF_TEST(C05 no worker is lost when the node is killed while many start) {
  auto seed = chosen_seed();
  std::mt19937_64 random{seed};
  pool_box box;
  // Those that nobody greets do not stay for long.
  const std::vector<std::string> hasty{"--pool.spawn-timeout", "5s"};
  box.require_start(hasty);
  for (int round = 0; round < 6; ++round) {
    auto spawn = [&] {
      auto link = box.connect();
      for (int i = 0; link && i < 5; ++i)
        if (!(*link)->pool_spawn({patience, {}}))
          return;
    };
    std::vector<std::future<void>> clients;
    for (int i = 0; i < 4; ++i)
      clients.push_back(in_background(spawn));
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 500'000));
    box.node().signal(SIGKILL);
    for (auto& client : clients)
      result_of(client);
    box.kill();
    box.require_start(hasty);
    if (!eventually([&] { return all_are_known(box); }))
      CAF_ERROR("seed " << seed << ", round " << round
                        << ": a worker lives that nobody knows");
    CAF_CHECK_EQUAL(box.run({"pool", "stop"}).code, 0);
    CAF_CHECK_EQUAL(box.leftovers(), "");
  }
}

CAF_TEST(a lock that outlives its node for a moment is waited for) {
  pool_box box;
  box.require_start();
  box.kill();
  // Like a process that was about to become a worker.
  auto path = box.state() + "/lock";
  process heir{{"/usr/bin/flock", "--no-fork", path, "/usr/bin/sleep", "1000"},
               {}};
  CAF_REQUIRE(eventually([&] { return program_of(heir.pid()) == "sleep"; }));
  box.launch();
  auto has_opened_it = [&] {
    std::error_code code;
    auto files = fmt::format("/proc/{}/fd", box.node().pid());
    for (auto& file : std::filesystem::directory_iterator{files, code})
      if (std::filesystem::read_symlink(file, code) == path)
        return true;
    return false;
  };
  CAF_CHECK(eventually(has_opened_it));
  heir.signal(SIGKILL);
  CAF_CHECK(box.await_ready());
}

CAF_TEST(workers whose node never comes back end) {
  pool_box box;
  box.require_start({"--pool.orphan-timeout", "1s"});
  second_pause session{box};
  box.spawn_workers(1);
  CAF_CHECK_EQUAL(box.processes().size(), 2u);
  box.kill();
  CAF_CHECK(eventually([&] { return box.processes().empty(); }));
  // They took their sockets along, and nobody was there to note it.
  CAF_CHECK(std::filesystem::is_empty(box.socket_folder()));
  CAF_CHECK_EQUAL(box.document()["sessions"].size(), 2u);
  box.require_start();
  CAF_CHECK_EQUAL(box.workers().size(), 0u);
  session.check_end(box);
  CAF_CHECK_EQUAL(box.leftovers(), "");
}

// -- processes that are no workers --------------------------------------------

CAF_TEST(C03 a stranger that has the pid of a worker is left alone) {
  pool_box box;
  box.require_start();
  second_pause session{box};
  box.kill();
  box.end_process(session.pid);
  // Somebody else on this machine may have it for a moment.
  auto stranger = real_child::with_pid(session.pid);
  auto has_it = [&] {
    return stranger || (stranger = real_child::with_pid(session.pid));
  };
  CAF_REQUIRE(eventually(has_it));
  box.require_start();
  CAF_CHECK_EQUAL(box.workers().size(), 0u);
  CAF_CHECK_EQUAL(box.leftovers(), "");
  session.check_end(box);
  CAF_CHECK_EQUAL(box.run({"pool", "stop"}).code, 0);
  CAF_CHECK_EQUAL(state_of(session.pid), 'S');
  CAF_CHECK_EQUAL(box.leftovers(), "");
}

CAF_TEST(N15 a zombie is a dead worker) {
  pool_box box;
  box.require_start();
  second_pause session{box};
  box.kill();
  // It is ours now, and nobody reaps it.
  box.end_process(session.pid, false);
  CAF_CHECK_EQUAL(state_of(session.pid), 'Z');
  box.require_start();
  CAF_CHECK_EQUAL(box.workers().size(), 0u);
  CAF_CHECK_EQUAL(box.leftovers(), "");
  session.check_end(box);
  CAF_CHECK_EQUAL(state_of(session.pid), 'Z');
  ::waitpid(session.pid, nullptr, 0);
}

CAF_TEST(C03 entries of what cannot be a worker are taken out) {
  pool_box box;
  real_child stranger;
  real_child zombie;
  zombie.become_zombie();
  auto dead = real_child{}.pid();
  auto later = box.entry_of("p-later", stranger.pid());
  later["start_ticks"] = later["start_ticks"].get<std::uint64_t>() + 1;
  auto elsewhere = box.entry_of("p-elsewhere", stranger.pid());
  elsewhere["boot_id"] = "00000000-0000-0000-0000-000000000000";
  std::vector<json> entries{later, elsewhere, box.entry("p-dead", dead),
                            box.entry_of("p-zombie", zombie.pid())};
  // What the kernel would read as groups, as everybody, or as the stranger.
  for (auto& pid :
       {json(0), json(-1), json(-::getpgrp()), json(-stranger.pid()),
        json(999'999), json(2'147'483'648), json(INT64_MIN), json(INT64_MAX),
        json(UINT64_MAX), json((std::int64_t{1} << 32) + stranger.pid())})
    entries.push_back(box.entry(fmt::format("p-{}", entries.size()), pid));
  box.write_document(document_with(entries));
  box.require_start(
    {"--pool.ask-patience", "10ms", "--pool.terminate-patience", "10ms"});
  CAF_CHECK_EQUAL(box.workers().size(), 0u);
  CAF_CHECK_EQUAL(box.run({"pool", "gc"}).code, 0);
  CAF_CHECK_EQUAL(box.run({"pool", "stop"}).code, 0);
  CAF_CHECK_EQUAL(box.leftovers(), "");
  CAF_CHECK_EQUAL(state_of(stranger.pid()), 'S');
  CAF_CHECK_EQUAL(box.stop().code, 0);
}

CAF_TEST(C03 who is known by a pid alone is shown and never signalled) {
  pool_box box;
  real_child stranger;
  box.write_document(document_with({box.entry("p-1", stranger.pid())}));
  box.require_start({"--pool.probe-timeout", "50ms"});
  auto workers = box.workers();
  CAF_REQUIRE_EQUAL(workers.size(), 1u);
  CAF_CHECK_EQUAL(workers["p-1"]["state"], "unreachable");
  CAF_CHECK_EQUAL(workers["p-1"]["pid"], stranger.pid());
  auto refused = box.run_json({"pool", "stop", "p-1"});
  CAF_CHECK_EQUAL(refused.code, 5);
  auto document = refused.document();
  CAF_CHECK_EQUAL(document["stopped"].size(), 0u);
  CAF_REQUIRE_EQUAL(document["errors"].size(), 1u);
  CAF_CHECK_EQUAL(document["errors"][0]["code"], "not_allowed");
  CAF_CHECK_EQUAL(state_of(stranger.pid()), 'S');
  // Once it is gone, so is its entry.
  stranger = real_child{};
  CAF_CHECK_EQUAL(only_document(box.run_json({"pool", "gc"}).out).dump(),
                  R"({"removed":["p-1"]})");
  CAF_CHECK_EQUAL(box.leftovers(), "");
}

CAF_TEST(C03 a process that must not be signalled stays in the list) {
  pool_box box;
  process stranger{{"/usr/bin/setpriv", "--reuid", "65534", "--clear-groups",
                    "/usr/bin/sleep", "1000"},
                   {}};
  auto link = fmt::format("/proc/{}/exe", stranger.pid());
  CAF_REQUIRE(eventually(
    [&] { return std::filesystem::read_symlink(link).filename() == "sleep"; }));
  box.write_document(document_with({box.entry_of("p-1", stranger.pid())}));
  program_options powerless;
  powerless.runner = {"/usr/bin/setpriv", "--bounding-set", "-kill"};
  box.require_start({"--pool.probe-timeout", "50ms", "--pool.ask-patience",
                     "10ms", "--pool.terminate-patience", "10ms",
                     "--pool.kill-patience", "100ms"},
                    powerless);
  CAF_CHECK_EQUAL(box.workers()["p-1"]["state"], "unreachable");
  auto refused = box.run_json({"pool", "stop"});
  CAF_CHECK_EQUAL(refused.code, 5);
  CAF_CHECK_EQUAL(refused.document()["errors"][0]["code"], "not_allowed");
  CAF_CHECK(is_living(stranger.pid()));
  CAF_CHECK_EQUAL(box.workers().size(), 1u);
  // It lives, so it was not taken out; and it is none that is of use.
  auto id = box.paused_in_worker(ask);
  CAF_CHECK_EQUAL(box.fed(id, "x")["result"], "x");
  CAF_CHECK(is_living(stranger.pid()));
  CAF_CHECK_EQUAL(box.stop().code, 0);
}

// -- workers of another version -----------------------------------------------

namespace {

/// A session whose worker is one of another version, as behind an upgrade.
struct upgraded {
  explicit upgraded(pool_box& box) : session(box) {
    auto entries = box.document()["sessions"];
    CAF_REQUIRE_EQUAL(entries.size(), 1u);
    box.kill();
    box.end_process(session.pid);
    auto old = entries[0];
    std::filesystem::remove(old["sock"].get<std::string>());
    program_options options;
    options.variables[worker_nonce] = "told";
    worker = std::make_unique<process>(
      std::vector<std::string>{MUSTER_OTHER_VERSION, "worker", "--sid",
                               session.sid, "--sock", old["sock"],
                               "--greet-timeout", "10m"},
      options);
    CAF_REQUIRE(eventually(
      [&] { return std::filesystem::exists(old["sock"].get<std::string>()); }));
    old.update(to_json(*identify(worker->pid())));
    old["nonce_sha256"] = sha256("told");
    old["version"] = "999.0.0";
    box.write_document(document_with({old}));
    box.require_start({"--tick.interval", "20ms"});
    CAF_CHECK(eventually(
      [&] { return box.worker_of(session.id)["state"] == "mismatched"; }));
  }

  static constexpr const char* worker_nonce = "MUSTER_WORKER_NONCE";

  second_pause session;
  std::unique_ptr<process> worker;
};

} // namespace

CAF_TEST(C08 a session whose worker is of another version gets a new one) {
  pool_box box;
  box.require_start();
  upgraded old{box};
  auto seen = box.worker_of(old.session.id);
  CAF_CHECK_EQUAL(seen["version"], "999.0.0");
  CAF_CHECK_EQUAL(seen["pid"], old.worker->pid());
  old.session.check_end(box);
  auto ended = old.worker->wait(patience);
  CAF_REQUIRE(ended);
  CAF_CHECK_EQUAL(ended->code, 0);
  CAF_CHECK_EQUAL(box.leftovers(), "");
  // N14: both versions are named.
  auto said = box.stop().err;
  CAF_CHECK(contains(
    said, fmt::format("is of version 999.0.0, and this node of {}", version)));
}

CAF_TEST(C08 a worker of another version is stopped) {
  pool_box box;
  box.require_start();
  upgraded old{box};
  auto stopped = box.run_json({"pool", "stop", old.session.sid});
  CAF_CHECK_EQUAL(stopped.code, 0);
  auto ended = old.worker->wait(patience);
  CAF_REQUIRE(ended);
  CAF_CHECK_EQUAL(ended->code, 0);
  CAF_CHECK_EQUAL(box.leftovers(0s), "");
  old.session.check_end(box);
}
