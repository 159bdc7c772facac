// SPDX-License-Identifier: Apache-2.0

// Worker processes as those see them who run a node: what the verbs say, who
// is found again after a kill, and that nothing is left behind.

#define CAF_SUITE black_box.pool

#include "tests/black_box/calls.hpp"
#include "tests/black_box/command_line.hpp"
#include "tests/black_box/pool_box.hpp"
#include "tests/support/suite.hpp"

#include <filesystem>
#include <fstream>
#include <set>

#include <signal.h>
#include <sys/stat.h>

using namespace muster;
using namespace muster::test;
using namespace std::chrono_literals;

namespace {

constexpr const char* fields_of_a_worker
  = "cpu_ms created_at pid rss_bytes session sid sock state version";

/// Two questions, the second one behind the answer to the first, and a count of
/// how often a session came that far.
constexpr const char* ask_twice = R"lua(
local first = alc.llm("first")
alc.state.incr("asked twice")
return first .. alc.llm("behind " .. first)
)lua";

/// What `told` says of it in the end.
constexpr const char* all_of_ask_twice = "first -> \"x\"\nbehind x -> \"y\"\n";

std::string status_field(pid_t pid, const std::string& name) {
  std::ifstream in{fmt::format("/proc/{}/status", pid)};
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(name + ":\t"))
      return line.substr(name.size() + 2);
  return "absent";
}

} // namespace

// -- lives of workers ---------------------------------------------------------

CAF_TEST(C04 ten sessions end though three workers and the node are killed) {
  pool_box box;
  box.require_start();
  auto before = box.settled();
  std::vector<std::string> ids;
  for (int i = 0; i < 10; ++i) {
    ids.push_back(box.paused_in_worker(ask_twice));
    CAF_CHECK_EQUAL(box.fed(ids.back(), "x")["prompt"], "behind x");
  }
  auto pid_of
    = [&](const std::string& id) { return box.worker_of(id).value("pid", 0); };
  std::map<std::string, pid_t> pids;
  for (auto& id : ids)
    pids[id] = pid_of(id);
  CAF_CHECK_EQUAL(box.processes().size(), 10u);
  for (int i = 0; i < 3; ++i)
    box.end_process(pids[ids[static_cast<std::size_t>(i)]]);
  box.kill();
  box.require_start();
  for (std::size_t i = 0; i < ids.size(); ++i)
    CAF_CHECK_EQUAL(pid_of(ids[i]), i < 3 ? 0 : pids[ids[i]]);
  CAF_CHECK_EQUAL(box.processes().size(), 7u);
  for (auto& id : ids) {
    CAF_CHECK_EQUAL(box.fed(id, "y")["result"], "xy");
    CAF_CHECK_EQUAL(box.told(id), all_of_ask_twice);
  }
  CAF_CHECK_EQUAL(box.run({"state", "get", "asked twice"}).out, "10.0\n");
  CAF_CHECK_EQUAL(box.leftovers(), "");
  CAF_CHECK_EQUAL(box.grown_since(before), "");
  CAF_CHECK_EQUAL(box.stop().code, 0);
}

CAF_TEST(C06 a worker goes with its session however that ends) {
  pool_box box;
  box.require_start();
  auto ended = box.paused_in_worker(ask);
  auto failed = box.paused_in_worker("alc.llm('q') error('no')");
  auto cancelled = box.paused_in_worker(ask);
  CAF_CHECK_EQUAL(box.workers().size(), 3u);
  CAF_CHECK_EQUAL(box.fed(ended, "x")["status"], "completed");
  CAF_CHECK_EQUAL(box.run({"session", "feed", failed, "x"}).code, 1);
  CAF_CHECK_EQUAL(box.run({"session", "cancel", cancelled}).code, 0);
  CAF_CHECK_EQUAL(box.leftovers(), "");
}

CAF_TEST(C07 a batch is answered one by one in a worker) {
  pool_box box;
  box.require_start();
  auto id = box.paused_in_worker(
    "return alc.parallel({'a', 'b', 'c'}, function(x) return x end)");
  auto feed = [&](const std::string& query, const std::string& text) {
    auto fed = box.run_json({"session", "feed", id, "--query", query, text});
    return fed.document()["status"];
  };
  CAF_CHECK_EQUAL(feed("q-2", "three"), "accepted");
  CAF_CHECK_EQUAL(feed("q-0", "one"), "accepted");
  // N13: the sole query that is left is meant, which is not the first one.
  CAF_CHECK_EQUAL(box.fed(id, "two")["result"].dump(),
                  R"(["one","two","three"])");
  CAF_CHECK_EQUAL(box.leftovers(), "");
}

CAF_TEST(an ordered stop leaves workers with sessions and those that wait) {
  pool_box box;
  box.require_start();
  auto id = box.paused_in_worker(ask);
  box.spawn_workers(1);
  auto before = box.processes();
  CAF_CHECK_EQUAL(before.size(), 2u);
  CAF_CHECK_EQUAL(box.stop().code, 0);
  CAF_CHECK(box.processes() == before);
  box.require_start();
  CAF_CHECK_EQUAL(box.workers().size(), 2u);
  CAF_CHECK(box.processes() == before);
  CAF_CHECK_EQUAL(box.fed(id, "x")["result"], "x");
  CAF_CHECK_EQUAL(box.workers().size(), 1u);
}

CAF_TEST(a session takes a worker that waits for one) {
  pool_box box;
  box.require_start();
  box.spawn_workers(1);
  auto before = box.processes();
  auto id = box.paused_in_worker(ask);
  CAF_CHECK(box.processes() == before);
  CAF_CHECK_EQUAL(box.worker_of(id)["pid"], *before.begin());
}

CAF_TEST(a worker is confined) {
  pool_box box;
  box.require_start();
  std::ignore = box.paused_in_worker(ask);
  box.spawn_workers(1);
  auto all = box.processes();
  CAF_CHECK_EQUAL(all.size(), 2u);
  for (auto pid : all) {
    CAF_CHECK_EQUAL(status_field(pid, "Seccomp"), "2");
    CAF_CHECK_EQUAL(status_field(pid, "NoNewPrivs"), "1");
  }
  // L14: nobody else comes near.
  auto mode_of = [](const std::string& path) {
    struct stat found {};
    CAF_REQUIRE_EQUAL(::stat(path.c_str(), &found), 0);
    return found.st_mode & 07777;
  };
  CAF_CHECK_EQUAL(mode_of(box.pool_folder()), 0700u);
  CAF_CHECK_EQUAL(mode_of(box.document_path()), 0600u);
  // They may remove what lies beside their sockets, which is nothing.
  CAF_CHECK_EQUAL(mode_of(box.socket_folder()), 0700u);
  std::size_t sockets = 0;
  for (auto& file : std::filesystem::directory_iterator{box.socket_folder()}) {
    ++sockets;
    CAF_CHECK(file.is_socket());
    CAF_CHECK_EQUAL(mode_of(file.path()), 0600u);
  }
  CAF_CHECK_EQUAL(sockets, 2u);
}

CAF_TEST(200 workers at once are started and stopped) {
  pool_box box;
  box.require_start({"--pool.max-starts", "1000"});
  auto before = box.settled();
  constexpr int client_count = 20;
  std::vector<std::future<void>> clients;
  for (int i = 0; i < client_count; ++i)
    clients.push_back(in_background([&] { box.spawn_workers(10); }));
  for (auto& client : clients)
    result_of(client);
  auto all = box.processes();
  CAF_CHECK_EQUAL(all.size(), 200u);
  auto listed = (*box.connect())->pool_list(patience);
  CAF_REQUIRE(listed);
  std::set<pid_t> pids;
  for (auto& worker : *listed) {
    CAF_CHECK_EQUAL(worker.phase, worker_phase::idle);
    pids.insert(worker.pid);
  }
  CAF_CHECK(pids == all);
  auto reply = (*box.connect())->pool_stop({}, patience);
  CAF_REQUIRE(reply);
  CAF_CHECK_EQUAL(reply->stopped.size(), 200u);
  CAF_CHECK_EQUAL(reply->errors.size(), 0u);
  // What was confirmed needs no wait.
  CAF_CHECK_EQUAL(box.leftovers(0s), "");
  CAF_CHECK_EQUAL(box.grown_since(before), "");
}

// -- the verbs ----------------------------------------------------------------

CAF_TEST(the verbs of the pool print one document each) {
  pool_box box;
  box.require_start();
  CAF_CHECK_EQUAL(only_document(box.run_json({"pool", "list"}).out).dump(),
                  R"({"workers":[]})");
  auto spawned = box.run_json({"pool", "spawn"});
  CAF_CHECK_EQUAL(spawned.code, 0);
  auto worker = only_document(spawned.out);
  CAF_CHECK_EQUAL(fields_of(worker), fields_of_a_worker);
  CAF_CHECK_EQUAL(worker["state"], "idle");
  CAF_CHECK(worker["session"].is_null());
  auto id = box.paused_in_worker(ask);
  auto listed = only_document(box.run_json({"pool", "list"}).out);
  CAF_CHECK_EQUAL(fields_of(listed), "workers");
  CAF_REQUIRE_EQUAL(listed["workers"].size(), 1u);
  auto& busy = listed["workers"][0];
  CAF_CHECK_EQUAL(fields_of(busy), fields_of_a_worker);
  for (auto* same : {"sid", "pid", "sock", "version", "created_at"})
    CAF_CHECK_EQUAL(busy[same], worker[same]);
  CAF_CHECK_EQUAL(busy["state"], "busy");
  CAF_CHECK_EQUAL(busy["session"], id);
  CAF_CHECK(busy["rss_bytes"].get<std::uint64_t>() > 1 << 20);
  CAF_CHECK(busy["cpu_ms"].is_number_unsigned());
  CAF_CHECK_EQUAL(busy["version"],
                  box.run_json({"version"}).document()["version"]);
  auto removed = box.run_json({"pool", "gc"});
  CAF_CHECK_EQUAL(only_document(removed.out).dump(), R"({"removed":[]})");
  auto stopped = box.run_json({"pool", "stop"});
  CAF_CHECK_EQUAL(stopped.code, 0);
  CAF_CHECK_EQUAL(only_document(stopped.out).dump(),
                  fmt::format(R"({{"errors":[],"stopped":["{}"]}})",
                              worker["sid"].get<std::string>()));
}

CAF_TEST(the same request for a worker starts one) {
  pool_box box;
  box.require_start();
  auto first = box.run_json({"pool", "spawn", "--request-id", "mine"});
  auto second = box.run_json({"pool", "spawn", "--request-id", "mine"});
  CAF_CHECK_EQUAL(first.document()["sid"], second.document()["sid"]);
  CAF_CHECK_EQUAL(box.processes().size(), 1u);
  box.kill();
  box.require_start();
  auto third = box.run_json({"pool", "spawn", "--request-id", "mine"});
  CAF_CHECK_EQUAL(first.document()["sid"], third.document()["sid"]);
  CAF_CHECK_EQUAL(box.processes().size(), 1u);
}

CAF_TEST(a run in a worker is answered by a program) {
  pool_box box;
  box.require_start();
  auto script = box.folder.write("script.lua", ask_twice);
  auto result
    = box.run_json({"run", script, "--in", "worker", "--answer", "tr a-z A-Z"});
  CAF_CHECK_EQUAL(result.code, 0);
  CAF_CHECK_EQUAL(only_document(result.out)["result"], "FIRSTBEHIND FIRST");
  auto failing = box.folder.write("failing.lua", "error('no')");
  auto failed = box.run_json({"run", failing, "--in", "worker"});
  CAF_CHECK_EQUAL(failed.code, 1);
  CAF_CHECK_EQUAL(only_document(failed.out)["status"], "error");
  CAF_CHECK_EQUAL(box.leftovers(), "");
}

CAF_TEST(the state directory of a pool is not too long for its sockets) {
  pool_box box;
  box.require_start(
    {"--state-dir", box.folder.path() + "/" + std::string(90, 'x')});
  program_options there;
  there.variables["MUSTER_STATE_DIR"] = box.ready().at("state_dir");
  auto result = box.run_json({"pool", "spawn"}, there);
  CAF_CHECK_EQUAL(result.code, 2);
  CAF_CHECK_EQUAL(result.error_code(), "invalid_argument");
  CAF_CHECK(contains(result.err, "--state-dir"));
}

CAF_TEST(C10 a worker is stopped by a part of its id and its session goes on) {
  pool_box box;
  box.require_start();
  std::vector<std::string> ids;
  for (int i = 0; i < 3; ++i) {
    ids.push_back(box.paused_in_worker(ask_twice));
    std::ignore = box.fed(ids.back(), "x");
  }
  auto sid = box.worker_of(ids[0])["sid"].get<std::string>();
  CAF_CHECK_EQUAL(box.run({"pool", "stop", ""}).code, 2);
  auto some = box.run_json({"pool", "stop", "p-"});
  CAF_CHECK_EQUAL(some.error_code(), "ambiguous");
  CAF_CHECK_EQUAL(box.workers().size(), 3u);
  for (auto* unknown : {"p-0", "nobody", "0", "-1"}) {
    auto none = box.run({"--json", "pool", "stop", "--", unknown});
    CAF_CHECK_EQUAL(none.code, 3);
    CAF_CHECK_EQUAL(none.error_code(), "not_found");
    CAF_CHECK(contains(none.err, unknown));
  }
  auto one = box.run_json({"pool", "stop", sid.substr(0, sid.size() - 3)});
  CAF_CHECK_EQUAL(one.code, 0);
  CAF_CHECK_EQUAL(one.document()["stopped"].dump(), json::array({sid}).dump());
  CAF_CHECK(!box.workers().contains(sid));
  CAF_CHECK_EQUAL(box.processes().size(), 2u);
  auto all = box.run_json({"pool", "stop"});
  CAF_CHECK_EQUAL(all.document()["stopped"].size(), 2u);
  CAF_CHECK_EQUAL(box.leftovers(0s), "");
  for (auto& id : ids) {
    CAF_CHECK_EQUAL(show(box, id)["status"], "needs_response");
    CAF_CHECK_EQUAL(box.fed(id, "y")["result"], "xy");
    CAF_CHECK_EQUAL(box.told(id), all_of_ask_twice);
  }
  CAF_CHECK_EQUAL(box.leftovers(), "");
}

CAF_TEST(workers above the limit are refused) {
  pool_box box;
  box.require_start({"--pool.max-workers", "2"});
  box.spawn_workers(2);
  auto third = box.run_json({"pool", "spawn"});
  CAF_CHECK_EQUAL(third.error_code(), "overloaded");
  CAF_CHECK(contains(third.err, "pool.max-workers"));
  // Those that wait are of use all the same.
  std::ignore = box.paused_in_worker(ask);
  CAF_CHECK_EQUAL(box.processes().size(), 2u);
}

CAF_TEST(a node has room for the files of as many workers as it may have) {
  const std::vector<std::string> few{
    "--node.max-connections", "3",  "--node.max-handshakes", "16",
    "--pool.max-workers",     "60", "--pods.max-pods",       "1"};
  pool_box box;
  program_options options;
  // Enough for connections, and for more once it is asked for.
  options.runner = {"/usr/bin/prlimit", "--nofile=85:1024"};
  box.require_start(few, options);
  box.spawn_workers(60);
  CAF_CHECK_EQUAL(box.processes().size(), 60u);
  CAF_CHECK_EQUAL(box.run({"pool", "stop"}).code, 0);
  CAF_CHECK_EQUAL(box.stop().code, 0);
  options.runner.back() = "--nofile=85:85";
  CAF_CHECK(!box.start(few, options));
  auto ended = box.node().wait(patience);
  CAF_REQUIRE(ended);
  CAF_CHECK_EQUAL(ended->code, 2);
  CAF_CHECK(contains(ended->err, "pool.max-workers"));
}

// -- a document that is broken ------------------------------------------------

CAF_TEST(C01 a broken document refuses workers and leaves all else alone) {
  for (std::string text :
       {"{", "[]", "\xff\xfe", R"({"sessions":[{"sid":7}]})",
        R"({"sessions":{}})", R"({"sessions":[{"sid":"p-1","pid":"7"}]})"}) {
    CAF_MESSAGE(text);
    pool_box box;
    auto script = box.folder.write("return.lua", "return 1");
    box.require_start();
    auto id = box.paused_in_worker(ask);
    auto answered = box.paused_in_worker(ask);
    auto pid = box.worker_of(id)["pid"];
    CAF_CHECK_EQUAL(box.stop().code, 0);
    auto whole = box.document_text();
    box.write_document(text);
    // What was fed has to wait, and is not waited for.
    box.require_start({"--node.drain-timeout", "200ms"});
    for (std::vector<std::string> verb :
         {std::vector<std::string>{"pool", "list"},
          {"pool", "spawn"},
          {"pool", "stop"},
          {"pool", "stop", "p-1"},
          {"pool", "gc"},
          {"session", "feed", answered, "x"},
          {"run", script, "--in", "worker"}}) {
      auto refused = box.run_json(verb);
      CAF_CHECK_EQUAL(refused.code, 8);
      CAF_CHECK_EQUAL(refused.error_code(), "registry_corrupted");
      CAF_CHECK(contains(refused.err, box.document_path()));
    }
    auto in_node = paused_session(box, ask);
    CAF_CHECK_EQUAL(box.fed(in_node, "x")["result"], "x");
    CAF_CHECK_EQUAL(show(box, id)["status"], "needs_response");
    CAF_CHECK_EQUAL(box.document_text(), text);
    std::ifstream copy{box.document_path() + ".broken", std::ios::binary};
    CAF_CHECK_EQUAL(std::string(std::istreambuf_iterator<char>{copy}, {}),
                    text);
    // Once it is mended, both workers are found, and what was fed meanwhile has
    // not been lost.
    CAF_CHECK_EQUAL(box.processes().size(), 2u);
    CAF_CHECK_EQUAL(box.stop().code, 0);
    box.write_document(whole);
    box.require_start();
    CAF_CHECK_EQUAL(box.worker_of(id)["pid"], pid);
    CAF_CHECK_EQUAL(box.fed(id, "x")["result"], "x");
    auto ended = box.run_json({"session", "wait", answered});
    CAF_CHECK_EQUAL(only_document(ended.out)["result"], "x");
    CAF_CHECK_EQUAL(box.told(answered), "why? -> \"x\"\n");
    std::filesystem::remove(box.document_path() + ".broken");
    CAF_CHECK_EQUAL(box.leftovers(), "");
  }
}

// -- a node that hangs --------------------------------------------------------

CAF_TEST(C11 a node that hangs keeps its state directory and another one ends) {
  pool_box box;
  box.require_start();
  auto id = box.paused_in_worker(ask);
  auto link = *box.connect();
  box.node().signal(SIGSTOP);
  auto second = launch(box, {"node", "--port", "0", "--json"});
  auto ended = end_of(*second);
  CAF_CHECK_EQUAL(ended.code, 6);
  CAF_CHECK(contains(ended.err, box.state()));
  CAF_CHECK(contains(ended.err, std::to_string(box.node().pid())));
  CAF_CHECK_EQUAL(ended.out, "");
  auto late = link->pool_list(200ms);
  CAF_REQUIRE(!late);
  CAF_CHECK_EQUAL(late.error().code, errc::timeout);
  box.node().signal(SIGCONT);
  CAF_CHECK_EQUAL(box.fed(id, "x")["result"], "x");
}
