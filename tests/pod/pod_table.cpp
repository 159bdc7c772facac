// SPDX-License-Identifier: Apache-2.0

// What a table of pods promises. C, S and E name rows of the acceptance matrix;
// a comment says where this node does better on purpose.

#define CAF_SUITE pod.table

#include "tests/pod/pod_bench.hpp"

#include <fmt/format.h>

#include <signal.h>

using namespace muster;
using namespace muster::test;
using namespace std::chrono_literals;

CAF_TEST_FIXTURE_SCOPE(pod_table_tests, pod_bench)

// -- talking to pods ----------------------------------------------------------

CAF_TEST(C1 a text that is sent begins one turn) {
  begin();
  auto id = spawned("a", "w:/a");
  auto t = send("a", "do it");
  CAF_CHECK(!is_answered(t));
  run();
  CAF_CHECK_EQUAL(get<pod::reply_sent>(t).turn, 1u);
  CAF_CHECK(pod_at(id).texts == std::vector<std::string>{"do it"});
}

CAF_TEST(C2 a text for nobody is refused) {
  begin();
  auto why = refusal(send("a", "do it"));
  CAF_CHECK_EQUAL(why.code, errc::not_found);
  CAF_CHECK(why.message.find("no spawned pod") != std::string::npos);
}

CAF_TEST(C3 a pod that runs a turn refuses another one) {
  begin();
  auto id = spawned("a", "w:/a");
  pod_at(id).is_busy = true;
  auto t = send("a", "do it");
  run();
  CAF_CHECK_EQUAL(pod_at(id).texts.size(), 1u);
  CAF_CHECK_EQUAL(refusal(t).code, errc::busy);
  CAF_CHECK(refusal(t).message.find("already running") != std::string::npos);
}

CAF_TEST(a repeat of a text begins no second turn) {
  begin();
  auto id = spawned("a", "w:/a");
  auto first = send("a", "do it", pod_operator, "r-1");
  run();
  auto second = send("a", "do it", pod_operator, "r-1");
  run();
  CAF_CHECK_EQUAL(get<pod::reply_sent>(first).turn, 1u);
  CAF_CHECK_EQUAL(get<pod::reply_sent>(second).turn, 1u);
  CAF_CHECK_EQUAL(pod_at(id).turns, 1u);
}

CAF_TEST(a pod that does not begin in time is said to be late) {
  begin();
  auto id = spawned("a", "w:/a");
  pod_at(id).is_silent = true;
  auto t = send("a", "do it");
  advance(settings.send_timeout - 1ms);
  CAF_CHECK(!is_answered(t));
  advance(1ms);
  CAF_CHECK_EQUAL(refusal(t).code, errc::timeout);
}

CAF_TEST(C4 what was read is not read again) {
  begin();
  auto id = spawned("a", "w:/a");
  outputs[id] = {"one", "two"};
  auto first = read("a");
  // Nobody has it before the place is on disk.
  CAF_CHECK(!is_answered(first));
  run();
  auto x = get<pod::reply_output>(first).output;
  CAF_CHECK(x.texts == std::vector<std::string>{"one"});
  CAF_CHECK(x.more);
  auto second = read("a");
  run();
  CAF_CHECK(get<pod::reply_output>(second).output.texts
            == std::vector<std::string>{"two"});
  auto third = read("a");
  CAF_CHECK(get<pod::reply_output>(third).output.texts.empty());
  // Another reader begins at the beginning, and goes his own way.
  auto other = read("a", "else");
  run();
  CAF_CHECK(get<pod::reply_output>(other).output.texts
            == std::vector<std::string>{"one"});
}

// The place of a reader is kept over a restart, where it was lost.
CAF_TEST(C4 what was read is not read again after a restart) {
  begin();
  auto id = spawned("a", "w:/a");
  outputs[id] = {"one", "two"};
  read("a");
  run();
  restart();
  begin();
  auto t = read("a");
  run();
  CAF_CHECK(get<pod::reply_output>(t).output.texts
            == std::vector<std::string>{"two"});
}

CAF_TEST(
  C4 a read whose place cannot be kept gives nothing and can be repeated) {
  begin();
  auto id = spawned("a", "w:/a");
  outputs[id] = {"one", "two"};
  auto t = read("a");
  run_failing();
  CAF_CHECK_EQUAL(refusal(t).code, errc::storage_full);
  auto again = read("a");
  run();
  CAF_CHECK(get<pod::reply_output>(again).output.texts
            == std::vector<std::string>{"one"});
}

CAF_TEST(C4 two reads at once never give the same text) {
  begin();
  auto id = spawned("a", "w:/a");
  outputs[id] = {"one", "two"};
  holds_reads = true;
  auto first = read("a");
  auto second = read("a");
  CAF_CHECK_EQUAL(refusal(second).code, errc::busy);
  read_next();
  // The first one waits for the disk, and is not overtaken.
  CAF_CHECK_EQUAL(refusal(read("a")).code, errc::busy);
  run();
  CAF_CHECK(is_answered(first));
  auto third = read("a");
  read_next();
  run();
  CAF_CHECK(get<pod::reply_output>(third).output.texts
            == std::vector<std::string>{"two"});
}

CAF_TEST(a read at a place moves nobody) {
  begin();
  auto id = spawned("a", "w:/a");
  outputs[id] = {"one", "two"};
  for (int i = 0; i < 2; ++i) {
    auto t = read("a", pod_operator, output_cursor{1, 1});
    CAF_CHECK(get<pod::reply_output>(t).output.texts
              == std::vector<std::string>{"two"});
  }
  auto t = read("a");
  run();
  CAF_CHECK(get<pod::reply_output>(t).output.texts
            == std::vector<std::string>{"one"});
}

// What a dead pod has said can be read, where nothing was to be had.
CAF_TEST(C5 the output of a pod that has ended can be read) {
  begin();
  auto id = spawned("a", "w:/a");
  outputs[id] = {"one"};
  processes.die(id);
  run();
  auto t = read("a");
  run();
  auto x = get<pod::reply_output>(t).output;
  CAF_CHECK_EQUAL(x.phase, pod_phase::ended);
  CAF_CHECK(x.texts == std::vector<std::string>{"one"});
}

CAF_TEST(C5 the output of a pod that does not answer can be read) {
  begin();
  auto id = spawned("a", "w:/a");
  outputs[id] = {"one"};
  sockets.peers.erase(socket_of(id));
  for (auto on : sockets.at(socket_of(id)))
    sockets.hang_up(on);
  run();
  CAF_CHECK_EQUAL(view("a").phase, pod_phase::unreachable);
  auto t = read("a");
  run();
  CAF_CHECK_EQUAL(get<pod::reply_output>(t).output.phase,
                  pod_phase::unreachable);
}

// -- stopping -----------------------------------------------------------------

// The scope comes back after the confirmed end, not before it.
CAF_TEST(C6 a stop asks the pod to end and gives back what it was lent) {
  begin();
  auto id = spawned("a", "w:/a");
  CAF_CHECK(!is_back("/a/x"));
  auto t = stop("a");
  CAF_CHECK_EQUAL(view("a").phase, pod_phase::stopping);
  hear();
  CAF_CHECK(!processes.lives(id));
  CAF_CHECK(signals_to(pod_at(id).who).empty());
  // Its end is known, but not on disk.
  CAF_CHECK(!is_answered(t));
  save();
  auto reply = get<pod::reply_stop>(t).reply;
  CAF_CHECK_EQUAL(reply.name, "a");
  CAF_CHECK(reply.reclaimed == rules("w:/a"));
  CAF_CHECK(is_back("/a/x"));
  CAF_CHECK(document()["pods"].empty());
  CAF_CHECK(!is_lent_on_disk("a"));
  CAF_CHECK_EQUAL(json::parse(mirror).size(), 0u);
}

CAF_TEST(C6 nothing is given back while the process lives) {
  begin();
  auto id = spawned("a", "w:/a");
  processes.obey(pod_at(id).who, obedience::hangs);
  pod_at(id).obeys = false;
  auto t = stop("a");
  advance(9s);
  CAF_CHECK(!is_answered(t));
  CAF_CHECK(!is_back("/a/x"));
  auto other = spawn(order_of("b", "w:/a/sub"));
  run();
  CAF_CHECK_EQUAL(refusal(other).code, errc::conflict);
  advance(1s);
  CAF_CHECK_EQUAL(refusal(t).code, errc::timeout);
  CAF_CHECK(!is_back("/a/x"));
  CAF_CHECK(is_lent_on_disk("a"));
  // It ends after all.
  processes.end(pod_at(id).who, {});
  run();
  CAF_CHECK(is_back("/a/x"));
}

CAF_TEST(C7 a pod that does not answer is stopped) {
  begin();
  auto id = spawned("a", "w:/a");
  processes.silence(id);
  auto t = stop("a");
  advance(2s);
  // It does not listen to SIGTERM either.
  CAF_CHECK(signals_to(pod_at(id).who) == std::vector<int>{SIGTERM});
  advance(3s);
  CAF_CHECK((signals_to(pod_at(id).who) == std::vector<int>{SIGTERM, SIGKILL}));
  CAF_CHECK(is_answered(t));
  CAF_CHECK(listed().empty());
  CAF_CHECK(is_back("/a/x"));
}

CAF_TEST(a stop of one that has ended gives the same answer) {
  begin();
  spawned("a", "w:/a");
  auto first = stop("a");
  auto same = stop("a");
  run();
  auto again = stop("a");
  run();
  auto x = get<pod::reply_stop>(first).reply;
  CAF_CHECK(get<pod::reply_stop>(same).reply == x);
  CAF_CHECK(get<pod::reply_stop>(again).reply == x);
  restart();
  begin();
  again = stop("a");
  run();
  CAF_CHECK(get<pod::reply_stop>(again).reply == x);
  CAF_CHECK_EQUAL(table->counters().stopped, 0u);
}

CAF_TEST(the late end of a pod takes nothing from its successor) {
  begin();
  auto old = spawned("a", "w:/a");
  auto who = pod_at(old).who;
  stop("a");
  run();
  auto id = spawned("a", "w:/a");
  CAF_CHECK_NOT_EQUAL(id, old);
  perform(table->ended(old, {who, {}, {}}));
  perform(table->ended(id, {who, {}, {}}));
  perform(table->swept(old, true));
  perform(table->swept(id, true));
  run();
  CAF_CHECK_EQUAL(view("a").phase, pod_phase::ready);
  CAF_CHECK(is_lent_on_disk("a"));
  CAF_CHECK(!is_back("/a/x"));
}

CAF_TEST(what a pod leaves behind is killed before its loans come back) {
  begin();
  auto id = spawned("a", "w:/a");
  auto left = processes.leave_behind(id);
  processes.obey(left, obedience::hangs);
  sweep_fails = failure{errc::internal, "nobody knows"};
  processes.die(id);
  run();
  CAF_CHECK_EQUAL(view("a").phase, pod_phase::stopping);
  CAF_CHECK(!is_back("/a/x"));
  sweep_fails.reset();
  advance(1s);
  CAF_CHECK(!*processes.is_alive(left));
  CAF_CHECK(listed().empty());
  CAF_CHECK(is_back("/a/x"));
}

// -- starting -----------------------------------------------------------------

CAF_TEST(S1 a pod is lent what it asks for and is given its task) {
  begin();
  auto order = order_of("mother", "w:/land");
  order.delegation.allow = rules("w:/land");
  spawned(order);
  auto t = spawn(order_of("child", "w:/land/part", "begin"), {}, "mother");
  // What it is lent is on disk before its process is.
  CAF_REQUIRE(out);
  CAF_CHECK_EQUAL(processes.orders.size(), 1u);
  save();
  CAF_CHECK(is_lent_on_disk("child"));
  CAF_CHECK(on_disk("child")["process"].is_null());
  CAF_CHECK_EQUAL(processes.orders.size(), 2u);
  hear();
  // Who it is, is on disk before it works.
  CAF_CHECK(processes.pods.rbegin()->second.texts.empty());
  CAF_CHECK(!is_answered(t));
  run();
  auto x = get<pod::reply_pod>(t).pod;
  CAF_CHECK_EQUAL(x.lender, "mother");
  CAF_CHECK_EQUAL(x.phase, pod_phase::ready);
  CAF_CHECK_EQUAL(x.sandbox, "landlock 7");
  CAF_CHECK(x.scope == rules("w:/land/part"));
  CAF_CHECK(pod_at(x.id).texts == std::vector<std::string>{"begin"});
  CAF_CHECK_EQUAL(on_disk("child")["ready"], true);
  CAF_CHECK(*table->table().permission_of("mother", "/land/part/x")
            == permission::read);
  CAF_CHECK(*table->table().permission_of("child", "/land/part/x")
            == permission::write);
}

CAF_TEST(S2 who may not lend cannot spawn) {
  begin();
  spawned("mother", "w:/land");
  auto t = spawn(order_of("child", "w:/land/part"), {}, "mother");
  CAF_CHECK_EQUAL(refusal(t).code, errc::not_allowed);
  CAF_CHECK_EQUAL(table->size(), 1u);
}

CAF_TEST(S3 a rule that is not recursive lends nothing that reaches further) {
  begin();
  auto order = order_of("mother", "w1:/land");
  order.delegation.allow = rules("w1:/land");
  spawned(order);
  for (auto* wanted : {"w1:/land/child", "w:/land"})
    CAF_CHECK_EQUAL(
      refusal(spawn(order_of("child", wanted), {}, "mother")).code,
      errc::not_allowed);
}

CAF_TEST(S4 what the lender has not is refused and changes nothing) {
  begin();
  auto order = order_of("mother", "w:/land");
  order.delegation.allow = rules("w:/land");
  spawned(order);
  auto before = table->table().listing();
  auto saved = saves;
  auto t = spawn(order_of("child", "w:/elsewhere"), {}, "mother");
  CAF_CHECK_EQUAL(refusal(t).code, errc::not_allowed);
  CAF_CHECK(table->table().listing() == before);
  CAF_CHECK_EQUAL(saves, saved);
  CAF_CHECK_EQUAL(processes.orders.size(), 1u);
}

// The process is killed, where it was left running.
CAF_TEST(S5 a pod that is never there is killed and gives back its loans) {
  begin();
  processes.on_start = [this](fake_pod& x) {
    x.is_silent = true;
    processes.scripts.assign(1, {{}, "confined none", obedience::ends});
  };
  auto t = spawn(order_of("a", "w:/a"));
  run();
  CAF_CHECK(!is_answered(t));
  advance(settings.spawn_timeout);
  CAF_CHECK_EQUAL(refusal(t).code, errc::timeout);
  CAF_CHECK_EQUAL(processes.running(), 0u);
  CAF_CHECK_EQUAL(table->size(), 0u);
  CAF_CHECK(is_back("/a/x"));
  CAF_CHECK(!is_lent_on_disk("a"));
  CAF_CHECK_EQUAL(removed.size(), 1u);
  CAF_CHECK_EQUAL(sockets.size(), 0u);
}

CAF_TEST(S5 whenever a pod dies while it starts its loans come back) {
  // After each number of events that it lives to see.
  for (int events = 0; events < 12; ++events) {
    pod_bench x;
    x.begin();
    auto t = x.spawn(order_of("a", "w:/a", "task"));
    for (int i = 0; i < events; ++i)
      if (!x.deliver(x.process_events) && !x.deliver(x.socket_events) && x.out)
        x.save();
    if (!x.processes.pods.empty())
      x.processes.die(x.processes.pods.begin()->first);
    else
      x.stop("a");
    x.run();
    CAF_CHECK(x.is_answered(t));
    CAF_CHECK_EQUAL(x.table->size(), 0u);
    CAF_CHECK(x.is_back("/a/x"));
    CAF_CHECK(!x.is_lent_on_disk("a"));
  }
}

CAF_TEST(a stop ends a pod that starts at every stage) {
  for (int events = 0; events < 12; ++events) {
    pod_bench x;
    x.begin();
    auto t = x.spawn(order_of("a", "w:/a", "task"));
    for (int i = 0; i < events; ++i)
      if (!x.deliver(x.process_events) && !x.deliver(x.socket_events) && x.out)
        x.save();
    auto stopping = x.stop("a");
    x.run();
    CAF_CHECK(x.is_answered(t));
    CAF_CHECK(x.is_answered(stopping));
    CAF_CHECK_EQUAL(x.processes.running(), 0u);
    CAF_CHECK_EQUAL(x.table->size(), 0u);
    CAF_CHECK(!x.is_lent_on_disk("a"));
  }
}

CAF_TEST(a stop of a pod that hangs while it starts is answered) {
  begin();
  processes.on_start = [this](fake_pod& x) {
    x.is_silent = true;
    processes.scripts.assign(1, {{}, "confined none", obedience::hangs});
  };
  auto t = spawn(order_of("a", "w:/a"));
  run();
  advance(settings.spawn_timeout + settings.stop.kill);
  CAF_CHECK_EQUAL(refusal(t).code, errc::timeout);
  auto stopping = stop("a");
  advance(settings.stop.kill);
  CAF_CHECK_EQUAL(refusal(stopping).code, errc::timeout);
  CAF_CHECK(!is_back("/a/x"));
}

CAF_TEST(a repeat of a spawn gives the same pod) {
  begin();
  auto first = spawn(order_of("a", "w:/a"), "r-1");
  auto second = spawn(order_of("a", "w:/a"), "r-1");
  run();
  auto third = spawn(order_of("a", "w:/a"), "r-1");
  auto id = get<pod::reply_pod>(first).pod.id;
  CAF_CHECK_EQUAL(get<pod::reply_pod>(second).pod.id, id);
  CAF_CHECK_EQUAL(get<pod::reply_pod>(third).pod.id, id);
  restart();
  begin();
  CAF_CHECK_EQUAL(
    get<pod::reply_pod>(spawn(order_of("a", "w:/a"), "r-1")).pod.id, id);
  CAF_CHECK_EQUAL(refusal(spawn(order_of("a", "w:/a"), "r-2")).code,
                  errc::conflict);
  stop("a");
  run();
  auto late = get<pod::reply_pod>(spawn(order_of("a", "w:/a"), "r-1")).pod;
  CAF_CHECK_EQUAL(late.id, id);
  CAF_CHECK_EQUAL(late.phase, pod_phase::ended);
  CAF_CHECK_EQUAL(processes.orders.size(), 1u);
}

CAF_TEST(a repeat of a spawn that asks for something else is refused) {
  begin();
  auto order = order_of("a", "w:/a");
  spawn(order, "r-1");
  run();
  auto other = order;
  other.command = {"/bin/else"};
  auto looser = order;
  looser.sandbox = sandbox_mode::off;
  auto plain = order;
  plain.kind = pod_class::plain;
  for (auto ended : {false, true}) {
    for (auto& x : {other, looser, plain})
      CAF_CHECK_EQUAL(refusal(spawn(x, "r-1")).code, errc::conflict);
    CAF_CHECK_EQUAL(get<pod::reply_pod>(spawn(order, "r-1")).pod.name, "a");
    if (!ended)
      stop("a");
    run();
  }
  CAF_CHECK_EQUAL(processes.orders.size(), 1u);
}

CAF_TEST(a pod of another protocol or name is told so) {
  begin();
  processes.on_start = [](fake_pod& x) { x.is_silent = true; };
  for (auto& hello : {pod::snapshot{"a", 9}, pod::snapshot{"b", 1}}) {
    auto t = spawn(order_of("a", "w:/a"));
    run();
    processes.say(processes.pods.rbegin()->first, hello);
    advance(settings.stop.kill);
    auto why = refusal(t);
    CAF_CHECK_EQUAL(why.code, hello.protocol == 9 ? errc::version_mismatch
                                                  : errc::program_failed);
    CAF_CHECK(why.message.find(hello.protocol == 9 ? "version 9" : "'b'")
              != std::string::npos);
    CAF_CHECK_EQUAL(processes.running(), 0u);
    CAF_CHECK(is_back("/a/x"));
    processes.pods.clear();
  }
  processes.on_start = nullptr;
  spawn(order_of("a", "w:/a"));
  run();
  auto connections = sockets.connected;
  warnings.clear();
  processes.say(processes.pods.rbegin()->first, pod::snapshot{"a", 1});
  run();
  CAF_CHECK(warnings.empty());
  CAF_CHECK_EQUAL(sockets.connected, connections);
  CAF_CHECK(listed().at(0).phase == pod_phase::ready);
}

CAF_TEST(nobody is given the pod of somebody else by its request) {
  begin();
  lender_and_borrower();
  run();
  spawn(order_of("a", "w:/a"), "r-1");
  run();
  auto t = spawn(order_of("a", "w:/land/x"), "r-1", "mother");
  run();
  CAF_CHECK_EQUAL(refusal(t).code, errc::conflict);
}

CAF_TEST(a repeat of a spawn that a crash undid does not get the dying pod) {
  begin();
  spawn(order_of("a", "w:/a"), "r-1");
  // Its process is on disk, that it is ready is not.
  save();
  hear();
  save();
  restart();
  load();
  auto t = spawn(order_of("a", "w:/a"), "r-1");
  run();
  CAF_CHECK_EQUAL(refusal(t).code, errc::conflict);
  CAF_CHECK_EQUAL(processes.running(), 0u);
  CAF_CHECK(!is_lent_on_disk("a"));
  auto again = spawn(order_of("a", "w:/a"), "r-1");
  run();
  CAF_CHECK_EQUAL(get<pod::reply_pod>(again).pod.phase, pod_phase::ready);
}

CAF_TEST(a pod that does not take its task lives and that is said) {
  begin();
  processes.on_start = [this](fake_pod& x) { x.is_busy = true; };
  auto t = spawn(order_of("a", "w:/a", "task"));
  run();
  CAF_CHECK_EQUAL(refusal(t).code, errc::busy);
  CAF_CHECK(refusal(t).message.find("remains registered") != std::string::npos);
  CAF_CHECK_EQUAL(view("a").phase, pod_phase::ready);
}

CAF_TEST(a pod that begins another program is asked again who it is) {
  begin();
  is_own.reset();
  auto t = spawn(order_of("a", "w:/a"));
  run();
  advance(1s);
  CAF_CHECK(!answers.contains(t));
  is_own = true;
  advance(100ms);
  auto id = get<pod::reply_pod>(t).pod.id;
  restart();
  is_own.reset();
  load();
  hear();
  CAF_CHECK(processes.lives(id));
  is_own = true;
  advance(100ms);
  CAF_CHECK(listed().at(0).phase == pod_phase::ready);
  // Not for ever.
  restart();
  is_own.reset();
  load();
  advance(settings.probe_timeout + 1s);
  CAF_CHECK(!processes.lives(id));
  CAF_CHECK(listed().empty());
}

CAF_TEST(another process at the socket of a pod is not the pod) {
  begin();
  is_own = false;
  auto t = spawn(order_of("a", "w:/a"));
  run();
  CAF_CHECK_EQUAL(refusal(t).code, errc::conflict);
  CAF_CHECK_EQUAL(processes.running(), 0u);
}

CAF_TEST(a text is refused for good if the connection of its pod ends) {
  for (bool is_garbage : {true, false}) {
    pod_bench x;
    x.begin();
    auto id = x.spawned("a", "w:/a");
    x.pod_at(id).is_silent = true;
    auto t = x.send("a", "do it");
    x.run();
    CAF_CHECK(!x.is_answered(t));
    auto on = x.sockets.at(x.socket_of(id)).at(0);
    if (is_garbage)
      x.sockets.say(on, "garbage");
    else
      x.sockets.hang_up(on);
    x.run();
    x.advance(x.settings.probe_timeout);
    x.run();
    // A client repeats what was lost with its own connection.
    CAF_CHECK_EQUAL(x.refusal(t).code, errc::program_failed);
    CAF_CHECK(x.refusal(t).message.find("'a'") != std::string::npos);
  }
}

CAF_TEST(whoever sent a text to a pod that dies of it is told how) {
  begin();
  auto id = spawned("a", "w:/a");
  pod_at(id).is_silent = true;
  auto t = send("a", "do it");
  run();
  // Of the connection one may hear first.
  sockets.hang_up(sockets.at(socket_of(id)).at(0));
  hear();
  CAF_CHECK(!is_answered(t));
  processes.end(pod_at(id).who, {process_exit::manner::exited, 3});
  run();
  CAF_CHECK_EQUAL(refusal(t).code, errc::program_failed);
  CAF_CHECK(refusal(t).message.find("ended with exit code 3")
            != std::string::npos);
  // The next one is told so, too.
  auto next = refusal(send("a", "more"));
  CAF_CHECK_EQUAL(next.code, errc::not_found);
  CAF_CHECK(next.message.find("ended with exit code 3") != std::string::npos);
}

CAF_TEST(frames that are none end the connection and no more) {
  begin();
  auto id = spawned("a", "w:/a");
  auto old = sockets.at(socket_of(id)).at(0);
  sockets.say(old, "garbage");
  run();
  CAF_CHECK_EQUAL(view("a").phase, pod_phase::ready);
  CAF_CHECK(!sockets.has(old));
  CAF_CHECK_EQUAL(sockets.size(), 1u);
}

CAF_TEST(no pod is confined less than the one that lends to it) {
  begin();
  auto lender = order_of("a", "w:/a");
  lender.delegation.allow = rules("w:/a");
  lender.sandbox = sandbox_mode::best_effort;
  spawned(lender);
  auto order = order_of("b", "w:/a/b");
  order.sandbox = sandbox_mode::off;
  auto t = spawn(order, once, "a");
  run();
  CAF_CHECK_EQUAL(refusal(t).code, errc::not_allowed);
  CAF_CHECK(refusal(t).message.find("'off'") != std::string::npos);
  for (auto mode : {sandbox_mode::best_effort, sandbox_mode::required}) {
    order.sandbox = mode;
    order.name = order.name + "x";
    order.scope = rules("w:/a/" + order.name);
    auto fine = spawn(order, once, "a");
    run();
    CAF_CHECK_EQUAL(get<pod::reply_pod>(fine).pod.name, order.name);
  }
}

// -- limits -------------------------------------------------------------------

CAF_TEST(there are no more pods than are allowed) {
  settings.max_pods = 2;
  begin();
  spawned("a", "w:/a");
  spawned("b", "w:/b");
  auto why = refusal(spawn(order_of("c", "w:/c")));
  CAF_CHECK_EQUAL(why.code, errc::overloaded);
  CAF_CHECK(why.message.find("pods.max-pods") != std::string::npos);
}

CAF_TEST(no more requests wait than are allowed) {
  settings.max_waiting = 2;
  list();
  list();
  auto why = refusal(list());
  CAF_CHECK_EQUAL(why.code, errc::overloaded);
  CAF_CHECK(why.message.find("pods.max-waiting") != std::string::npos);
  begin();
  CAF_CHECK_EQUAL(answers.size(), 3u);
  CAF_CHECK(listed().empty());
}

CAF_TEST(a pod has no more readers than are allowed) {
  begin();
  auto id = spawned("a", "w:/a");
  outputs[id] = {"one"};
  for (int i = 0; i < 64; ++i) {
    auto t = read("a", fmt::format("reader-{}", i));
    run();
    CAF_CHECK(get<pod::reply_output>(t).output.texts.size() == 1);
  }
  CAF_CHECK_EQUAL(refusal(read("a", "one-more")).code, errc::overloaded);
  CAF_CHECK(is_answered(read("a", "reader-0")));
}

CAF_TEST(no more pods that have ended are remembered than are allowed) {
  settings.max_ended = 2;
  begin();
  std::vector<std::string> ids;
  for (auto* name : {"a", "b", "c"}) {
    ids.push_back(spawned(name, "w:/x"));
    stop(name);
    run();
  }
  CAF_CHECK_EQUAL(document()["ended"].size(), 2u);
  CAF_CHECK(removed == std::vector<std::string>{ids[0]});
  CAF_CHECK_EQUAL(refusal(read("a")).code, errc::not_found);
}

CAF_TEST(texts that are too long or none are refused) {
  settings.max_text_bytes = 10;
  begin();
  spawned("a", "w:/a");
  CAF_CHECK_EQUAL(refusal(send("a", "12345678901")).code, errc::too_large);
  CAF_CHECK_EQUAL(refusal(send("a", "\xFF")).code, errc::not_utf8);
  CAF_CHECK_EQUAL(refusal(spawn(order_of("b", "w:/b", "12345678901"))).code,
                  errc::too_large);
  CAF_CHECK_EQUAL(refusal(spawn(order_of("b", "w:/b"), "\n")).code,
                  errc::invalid_argument);
}

CAF_TEST(a pod touches only those that it has lent to) {
  begin();
  lender_and_borrower();
  spawned("other", "w:/other");
  CAF_CHECK_EQUAL(listed("mother").size(), 1u);
  CAF_CHECK(listed("child").empty());
  for (auto t : {send("other", "x", "mother"), stop("other", "mother"),
                 read("other", "mother", {}, "mother"), stop("mother", "child"),
                 stop("mother", "mother")})
    CAF_CHECK_EQUAL(refusal(t).code, errc::not_found);
  run();
  CAF_CHECK_EQUAL(listed().size(), 3u);
}

CAF_TEST(a plain program hears and says nothing here) {
  begin();
  auto order = order_of("a", "w:/a", "task");
  order.kind = pod_class::plain;
  order.command = {"/bin/cat"};
  spawned(order);
  CAF_CHECK_EQUAL(refusal(send("a", "x")).code, errc::invalid_argument);
  CAF_CHECK_EQUAL(refusal(read("a")).code, errc::invalid_argument);
  CAF_CHECK(sockets.connected.empty());
  restart();
  begin();
  CAF_CHECK_EQUAL(view("a").phase, pod_phase::ready);
}

CAF_TEST_FIXTURE_SCOPE_END()
