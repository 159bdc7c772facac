// SPDX-License-Identifier: Apache-2.0

// What happens to pods when the disk fails, the node dies, or connections do.
// E, C8 to C10 name rows of the acceptance matrix, R1 to R11 those of the
// matrix of failures, in their order.

#define CAF_SUITE pod.failures

#include "tests/pod/pod_bench.hpp"

#include <fmt/format.h>

#include <signal.h>

using namespace muster;
using namespace muster::test;
using namespace std::chrono_literals;

namespace {

struct fixture : pod_bench {
  /// What a pod was told of others, as `kind pod`.
  std::vector<std::string> told(const std::string& id) {
    std::vector<std::string> out_;
    for (auto& x : pod_at(id).told)
      if (auto* event = std::get_if<pod::pod_event>(&x))
        out_.push_back(event->kind + " " + event->pod_name);
      else if (std::holds_alternative<pod::notify>(x))
        out_.push_back("notice");
    return out_;
  }

  /// A connection is lost, and made again.
  void reconnect(const std::string& id) {
    for (auto on : sockets.at(socket_of(id)))
      sockets.hang_up(on);
    run();
    CAF_REQUIRE_EQUAL(sockets.at(socket_of(id)).size(), 1u);
  }

  using texts = std::vector<std::string>;
};

} // namespace

CAF_TEST_FIXTURE_SCOPE(pod_failure_tests, fixture)

// -- events -------------------------------------------------------------------

CAF_TEST(E4 the end of a pod is told once and again is no end) {
  begin();
  auto [mother, child] = lender_and_borrower();
  processes.die(child);
  run();
  CAF_CHECK(told(mother) == texts{"shut_down child"});
  auto before = document();
  auto t = stop("child", "mother");
  run();
  CAF_CHECK(is_answered(t));
  CAF_CHECK(told(mother).size() == 1);
  CAF_CHECK_EQUAL(document(), before);
}

// The node knows all pods, so no pod has to hear of its grandchildren.
CAF_TEST(E5 E6 who is lent something by one that ends goes on with its lender) {
  begin();
  auto order = order_of("mother", "w:/land");
  order.delegation.allow = rules("w:/land");
  auto mother = spawned(order);
  order = order_of("child", "w:/land/part");
  order.delegation.allow = rules("w:/land/part");
  auto child = spawned(order, "mother");
  auto grandchild = spawned(order_of("grandchild", "w:/land/part/x"), "child");
  CAF_CHECK_EQUAL(listed("mother").size(), 1u);
  processes.die(child);
  run();
  CAF_CHECK_EQUAL(view("grandchild").lender, "mother");
  CAF_CHECK(processes.lives(grandchild));
  CAF_CHECK(*table->table().permission_of("mother", "/land/part/x")
            == permission::read);
  auto t = stop("grandchild", "mother");
  run();
  CAF_CHECK(get<pod::reply_stop>(t).reply.reclaimed == rules("w:/land/part/x"));
  CAF_CHECK(*table->table().permission_of("mother", "/land/part/x")
            == permission::write);
}

CAF_TEST(E7 E9 the end of a turn is counted and told and changes no scope) {
  begin();
  auto [mother, child] = lender_and_borrower();
  auto scopes = table->table().listing();
  processes.end_turn(child);
  hear();
  // Neither told nor confirmed before it is on disk.
  CAF_CHECK(told(mother).empty());
  CAF_CHECK_EQUAL(pod_at(child).unconfirmed.size(), 1u);
  save();
  CAF_CHECK(pod_at(child).unconfirmed.empty());
  CAF_CHECK(told(mother) == texts{"turn_ended child"});
  CAF_CHECK_EQUAL(on_disk("mother")["notices"].size(), 1u);
  run();
  CAF_CHECK(on_disk("mother")["notices"].is_null());
  CAF_CHECK_EQUAL(view("child").turns, 1u);
  CAF_CHECK(table->table().listing() == scopes);
}

CAF_TEST(E8 the end of a pod gives back its allocation) {
  begin();
  auto [mother, child] = lender_and_borrower();
  CAF_CHECK(*table->table().permission_of("mother", "/land/part/x")
            == permission::read);
  processes.die(child);
  run();
  CAF_CHECK(*table->table().permission_of("mother", "/land/part/x")
            == permission::write);
  CAF_CHECK(!table->table().find("child"));
  CAF_CHECK(!is_lent_on_disk("child"));
}

CAF_TEST(E11 an error of a pod is kept and told) {
  begin();
  auto [mother, child] = lender_and_borrower();
  processes.fail_turn(child, "no luck");
  run();
  CAF_CHECK(told(mother) == texts{"errored child"});
  CAF_CHECK_EQUAL(view("child").last_error, "no luck");
  CAF_CHECK_EQUAL(view("child").turns, 0u);
}

CAF_TEST(E10 E12 a turn that its lender did not ask for is no news for it) {
  begin();
  auto [mother, child] = lender_and_borrower();
  auto turn_by = [&, &child = child](const std::string& who) {
    auto t = send("child", "do it", who);
    run();
    CAF_CHECK(is_answered(t));
  };
  turn_by(pod_operator);
  processes.end_turn(child);
  run();
  CAF_CHECK_EQUAL(view("child").turns, 1u);
  turn_by(pod_operator);
  processes.fail_turn(child, "no luck");
  run();
  CAF_CHECK_EQUAL(view("child").last_error, "no luck");
  CAF_CHECK(told(mother).empty());
  turn_by("mother");
  processes.end_turn(child);
  run();
  CAF_CHECK(told(mother) == texts{"turn_ended child"});
  // A repeat of what is over takes no news of the next turn away.
  auto is_repeated = [&] {
    auto t = send("child", "do it", pod_operator, "op-1");
    run();
    CAF_CHECK(is_answered(t));
  };
  is_repeated();
  processes.end_turn(child);
  run();
  CAF_CHECK_EQUAL(told(mother).size(), 1u);
  turn_by("mother");
  is_repeated();
  processes.fail_turn(child, "no luck");
  run();
  CAF_CHECK(told(mother) == (texts{"turn_ended child", "errored child"}));
  // What nobody knows any more is told rather than not.
  turn_by(pod_operator);
  restart();
  begin();
  processes.fail_turn(child, "no luck");
  run();
  CAF_CHECK_EQUAL(told(mother).size(), 3u);
}

CAF_TEST(an event that was kept is neither told nor counted twice) {
  begin();
  auto [mother, child] = lender_and_borrower();
  processes.end_turn(child);
  run();
  // Its confirmation was lost.
  processes.say(child, pod::turn_ended{1, 1});
  pod_at(child).unconfirmed[1] = pod::turn_ended{1, 1};
  reconnect(child);
  CAF_CHECK(pod_at(child).unconfirmed.empty());
  CAF_CHECK_EQUAL(told(mother).size(), 1u);
  CAF_CHECK_EQUAL(view("child").turns, 1u);
}

CAF_TEST(
  an event that could not be saved is not confirmed when it comes again) {
  begin();
  auto [mother, child] = lender_and_borrower();
  processes.end_turn(child);
  run_failing();
  CAF_CHECK_EQUAL(pod_at(child).unconfirmed.size(), 1u);
  processes.say(child, pod::turn_ended{1, 1});
  hear();
  CAF_CHECK_EQUAL(pod_at(child).unconfirmed.size(), 1u);
  CAF_CHECK(told(mother).empty());
  run();
  tick();
  run();
  CAF_CHECK(pod_at(child).unconfirmed.empty());
  CAF_CHECK_EQUAL(on_disk("child")["last_event"], 1u);
  CAF_CHECK(told(mother) == texts{"turn_ended child"});
}

CAF_TEST(what is not on disk is not told to a lender that comes back) {
  begin();
  auto [mother, child] = lender_and_borrower();
  processes.end_turn(child);
  run_failing();
  for (auto on : sockets.at(socket_of(mother)))
    sockets.hang_up(on);
  hear();
  CAF_CHECK(told(mother).empty());
  tick();
  run();
  CAF_CHECK(told(mother) == texts{"turn_ended child"});
}

CAF_TEST(what a pod has not confirmed is told again on its next connection) {
  begin();
  auto [mother, child] = lender_and_borrower();
  pod_at(mother).confirms = false;
  processes.end_turn(child);
  run();
  CAF_CHECK_EQUAL(told(mother).size(), 1u);
  processes.fail_turn(child, "no");
  run();
  CAF_CHECK((told(mother) == texts{"turn_ended child", "errored child"}));
  pod_at(mother).told.clear();
  pod_at(mother).confirms = true;
  reconnect(mother);
  CAF_CHECK((told(mother) == texts{"turn_ended child", "errored child"}));
  CAF_CHECK(on_disk("mother")["notices"].is_null());
}

CAF_TEST(what a pod has not confirmed is told again after a restart) {
  begin();
  auto [mother, child] = lender_and_borrower();
  pod_at(mother).confirms = false;
  processes.end_turn(child);
  run();
  pod_at(mother).told.clear();
  restart();
  begin();
  CAF_CHECK(told(mother) == texts{"turn_ended child"});
}

CAF_TEST(of what a pod has to hear nothing is lost when there is too much) {
  begin();
  auto [mother, child] = lender_and_borrower();
  pod_at(mother).confirms = false;
  for (int i = 0; i < 130; ++i)
    processes.end_turn(child);
  run();
  CAF_CHECK_EQUAL(on_disk("mother")["notices"].size(), 128u);
  CAF_CHECK_EQUAL(pod_at(child).unconfirmed.size(), 2u);
  pod_at(mother).confirms = true;
  reconnect(mother);
  // There is room again, and the pod says the next one first.
  processes.end_turn(child);
  run();
  CAF_CHECK_EQUAL(view("child").turns, 128u);
  tick();
  run();
  CAF_CHECK(pod_at(child).unconfirmed.empty());
  CAF_CHECK_EQUAL(view("child").turns, 131u);
}

CAF_TEST(a pod that confirms nothing gets no more pods for ever) {
  begin();
  auto order = order_of("mother", "w:/land");
  order.delegation.allow = rules("w:/land");
  auto mother = spawned(order);
  pod_at(mother).confirms = false;
  std::optional<failure> why;
  for (int i = 0; i < 200 && !why; ++i) {
    auto t = spawn(order_of("child", "w:/land/part"), {}, "mother");
    run();
    if (auto* x = std::get_if<pod::reply_refusal>(&answers.at(t)))
      why = x->why;
    stop("child");
    run();
  }
  CAF_REQUIRE(why);
  CAF_CHECK_EQUAL(why->code, errc::overloaded);
  CAF_CHECK_EQUAL(on_disk("mother")["notices"].size(), 128u);
  pod_at(mother).confirms = true;
  reconnect(mother);
  auto t = spawn(order_of("child", "w:/land/part"), {}, "mother");
  run();
  CAF_CHECK_EQUAL(get<pod::reply_pod>(t).pod.lender, "mother");
}

// -- the disk fails -----------------------------------------------------------

CAF_TEST(R1 R2 a pod whose loans cannot be saved does not start) {
  begin();
  auto t = spawn(order_of("a", "w:/a"), "r-1");
  run_failing();
  CAF_CHECK_EQUAL(refusal(t).code, errc::storage_full);
  CAF_CHECK_EQUAL(processes.orders.size(), 0u);
  CAF_CHECK(is_back("/a/x"));
  auto again = spawn(order_of("a", "w:/a"), "r-1");
  run();
  CAF_CHECK_EQUAL(get<pod::reply_pod>(again).pod.phase, pod_phase::ready);
  CAF_CHECK(is_lent_on_disk("a"));
}

CAF_TEST(R1 R2 a pod whose process cannot be saved is killed) {
  begin();
  auto t = spawn(order_of("a", "w:/a"), "r-1");
  save();
  CAF_CHECK_EQUAL(processes.running(), 1u);
  fail_save();
  hear();
  CAF_CHECK_EQUAL(processes.running(), 0u);
  run_failing();
  CAF_CHECK(is_answered(t));
  // The disk has it still, and loses it with the next write.
  CAF_CHECK(is_lent_on_disk("a"));
  tick();
  run();
  CAF_CHECK(!is_lent_on_disk("a"));
  auto again = spawn(order_of("a", "w:/a"), "r-1");
  run();
  CAF_CHECK_EQUAL(get<pod::reply_pod>(again).pod.phase, pod_phase::ready);
}

CAF_TEST(R1 R2 that a pod is ready is said once that is on disk) {
  begin();
  auto t = spawn(order_of("a", "w:/a"), "r-1");
  save();
  hear();
  save();
  hear();
  fail_save();
  CAF_CHECK_EQUAL(refusal(t).code, errc::storage_full);
  // It is there, but a crash would undo it.
  auto again = spawn(order_of("a", "w:/a"), "r-1");
  CAF_CHECK(!is_answered(again));
  run();
  CAF_CHECK(is_answered(again));
  CAF_CHECK_EQUAL(on_disk("a")["ready"], true);
  CAF_CHECK_EQUAL(processes.orders.size(), 1u);
}

// The reclaim is not lost with the answer: the retry waits for it.
CAF_TEST(R3 R4 a stop that cannot be saved can be repeated) {
  begin();
  spawned("a", "w:/a");
  auto t = stop("a");
  run_failing();
  CAF_CHECK_EQUAL(refusal(t).code, errc::storage_full);
  CAF_CHECK(is_lent_on_disk("a"));
  auto again = stop("a");
  CAF_CHECK(!is_answered(again));
  run();
  CAF_CHECK(get<pod::reply_stop>(again).reply.reclaimed == rules("w:/a"));
  CAF_CHECK(!is_lent_on_disk("a"));
  CAF_CHECK(is_back("/a/x"));
}

CAF_TEST(R3 R4 a stop that was not saved is done by the next node) {
  begin();
  spawned("a", "w:/a");
  stop("a");
  run_failing();
  restart();
  begin();
  CAF_CHECK(table->reclaimed() == texts{"a"});
  CAF_CHECK(is_back("/a/x"));
  CAF_CHECK(!is_lent_on_disk("a"));
}

// One document has loans and records: there is no reclaim that is half done.
// What can fail is to know that nothing is left of the pod.
CAF_TEST(R5 R6 loans stay where nobody knows what a pod left behind) {
  begin();
  auto id = spawned("a", "w:/a");
  sweep_fails = failure{errc::internal, "nobody knows"};
  auto t = stop("a");
  run();
  advance(settings.stop.kill - 1s);
  CAF_CHECK(!is_answered(t));
  // Whoever waits is told; the loans stay.
  advance(2s);
  CAF_CHECK_EQUAL(refusal(t).code, errc::timeout);
  CAF_CHECK(!is_back("/a/x"));
  CAF_CHECK(is_lent_on_disk("a"));
  CAF_CHECK(!processes.lives(id));
  t = stop("a");
  sweep_fails.reset();
  tick();
  run();
  CAF_CHECK(is_answered(t));
  CAF_CHECK(is_back("/a/x"));
}

CAF_TEST(R7 what has ended stands in the document of its reclaim) {
  begin();
  auto [mother, child] = lender_and_borrower();
  processes.die(child);
  hear();
  CAF_REQUIRE(out);
  auto x = json::parse(*out);
  CAF_CHECK_EQUAL(x["pods"].size(), 1u);
  CAF_CHECK_EQUAL(x["ended"].size(), 1u);
  CAF_CHECK_EQUAL(x["scopes"]["loans"].size(), 1u);
  CAF_CHECK_EQUAL(x["pods"][0]["notices"].size(), 1u);
}

// Nobody of that name is an error, and nothing is written.
CAF_TEST(R8 a stop of nobody writes nothing) {
  begin();
  CAF_CHECK_EQUAL(refusal(stop("a")).code, errc::not_found);
  CAF_CHECK(!out);
}

CAF_TEST(R9 R10 R11 what a start finds out is saved later if it has to be) {
  begin();
  auto id = spawned("a", "w:/a");
  restart();
  processes.die(id);
  load();
  run_failing();
  CAF_CHECK(is_lent_on_disk("a"));
  CAF_CHECK(table->is_ready());
  tick();
  run();
  CAF_CHECK(!is_lent_on_disk("a"));
  CAF_CHECK_EQUAL(document()["ended"].size(), 1u);
  restart();
  begin();
  CAF_CHECK(table->reclaimed().empty());
}

// -- the node dies ------------------------------------------------------------

CAF_TEST(C8 pods are found again from the document alone) {
  begin();
  auto id = spawned("a", "w:/a");
  auto who = pod_at(id).who;
  restart();
  load();
  auto early = send("a", "go on");
  CAF_CHECK(!is_answered(early));
  run();
  CAF_CHECK_EQUAL(get<pod::reply_sent>(early).turn, 1u);
  CAF_CHECK_EQUAL(view("a").pid, who.pid);
  CAF_CHECK_EQUAL(table->counters().found, 1u);
  auto t = stop("a");
  run();
  CAF_CHECK(is_answered(t));
  CAF_CHECK_EQUAL(document()["ended"].size(), 1u);
  CAF_CHECK_EQUAL(json::parse(mirror).size(), 0u);
}

CAF_TEST(C9 of two pods the one that is gone is dropped) {
  begin();
  auto a = spawned("a", "w:/a");
  spawned("b", "w:/b");
  restart();
  processes.die(a);
  begin();
  auto all = listed();
  CAF_REQUIRE_EQUAL(all.size(), 1u);
  CAF_CHECK_EQUAL(all[0].name, "b");
  CAF_CHECK_EQUAL(all[0].phase, pod_phase::ready);
  CAF_CHECK_EQUAL(document()["pods"].size(), 1u);
  CAF_CHECK_EQUAL(document()["ended"].size(), 1u);
}

CAF_TEST(C9 a pod that lives and cannot be held is not dropped) {
  begin();
  auto id = spawned("a", "w:/a");
  restart();
  processes.max_processes = 0;
  begin();
  CAF_CHECK_EQUAL(view("a").phase, pod_phase::unreachable);
  CAF_CHECK(processes.lives(id));
  CAF_CHECK(is_lent_on_disk("a"));
  CAF_CHECK(!is_back("/a/x"));
  processes.max_processes = 1;
  tick();
  run();
  CAF_CHECK_EQUAL(view("a").phase, pod_phase::ready);
}

CAF_TEST(C10 what a missing pod was lent comes back and its lender hears so) {
  begin();
  auto [mother, child] = lender_and_borrower();
  restart();
  processes.die(child);
  begin();
  CAF_CHECK(table->reclaimed() == texts{"child"});
  CAF_CHECK(*table->table().permission_of("mother", "/land/part/x")
            == permission::write);
  CAF_CHECK((told(mother) == texts{"shut_down child", "notice"}));
  CAF_CHECK(!table->table().find("child"));
  CAF_CHECK_EQUAL(warnings.size(), 1u);
}

// It could write still, so it is stopped first.
CAF_TEST(C10 a pod that does not answer after a restart is stopped first) {
  begin();
  auto id = spawned("a", "w:/a");
  restart();
  processes.silence(id);
  load();
  run();
  CAF_CHECK(!table->is_ready());
  advance(settings.probe_timeout);
  CAF_CHECK(signals_to(pod_at(id).who) == std::vector<int>{SIGTERM});
  CAF_CHECK(!is_back("/a/x"));
  advance(settings.stop.terminate);
  CAF_CHECK(!processes.lives(id));
  CAF_CHECK(is_back("/a/x"));
  CAF_CHECK(table->reclaimed() == texts{"a"});
}

CAF_TEST(a thousand pods that are gone cost few writes) {
  settings.max_pods = 1'000;
  settings.max_waiting = 1'000;
  begin();
  for (int i = 0; i < 1'000; ++i)
    spawn(order_of(fmt::format("p{}", i), fmt::format("w:/p{}", i)));
  run();
  restart();
  for (auto& [id, x] : processes.pods)
    processes.die(id);
  saves = 0;
  begin();
  CAF_CHECK_EQUAL(table->reclaimed().size(), 1'000u);
  CAF_CHECK(saves <= 3);
  CAF_CHECK(document()["pods"].empty());
  CAF_CHECK(document()["scopes"]["loans"].empty());
  CAF_CHECK_EQUAL(document()["ended"].size(), settings.max_ended);
}

CAF_TEST(an intent that a crash left is dropped) {
  begin();
  spawn(order_of("a", "w:/a"));
  restart(true);
  CAF_CHECK(is_lent_on_disk("a"));
  begin();
  CAF_CHECK(listed().empty());
  CAF_CHECK(!is_lent_on_disk("a"));
  CAF_CHECK(document()["ended"].empty());
}

CAF_TEST(a process that nobody wrote down is looked for and killed) {
  begin();
  spawn(order_of("a", "w:/a"));
  save();
  CAF_CHECK_EQUAL(processes.running(), 1u);
  restart();
  CAF_CHECK(on_disk("a")["process"].is_null());
  begin();
  CAF_CHECK_EQUAL(processes.running(), 0u);
  CAF_CHECK(listed().empty());
  CAF_CHECK(!is_lent_on_disk("a"));
}

CAF_TEST(whenever the node dies while a pod starts nothing is left over) {
  for (int events = 0; events < 12; ++events)
    for (auto keeps : {false, true}) {
      pod_bench x;
      x.begin();
      auto t = x.spawn(order_of("a", "w:/a", "task"));
      for (int i = 0; i < events; ++i)
        if (!x.deliver(x.process_events) && !x.deliver(x.socket_events)
            && x.out)
          x.save();
      auto was_told = x.answers.contains(t);
      x.restart(keeps);
      x.begin();
      x.advance(10s);
      auto lives = x.processes.running();
      CAF_CHECK_EQUAL(x.listed().size(), lives);
      CAF_CHECK_EQUAL(x.is_lent_on_disk("a"), lives == 1);
      CAF_CHECK(!was_told || lives == 1);
    }
}

CAF_TEST(the pid of a pod that somebody else has by now is left alone) {
  begin();
  auto id = spawned("a", "w:/a");
  auto pid = pod_at(id).who.pid;
  restart();
  processes.die(id);
  auto stranger = processes.begin_stranger(pid);
  CAF_CHECK_EQUAL(stranger.pid, pid);
  begin();
  CAF_CHECK(*processes.is_alive(stranger));
  CAF_CHECK(signals_to(stranger).empty());
  CAF_CHECK(table->reclaimed() == texts{"a"});
}

CAF_TEST(where nobody can look a pod is neither dropped nor forgotten) {
  for (auto* kind : {"w:/a", "w:/b"}) {
    pod_bench x;
    auto order = order_of("a", kind);
    if (kind == std::string{"w:/b"})
      order.kind = pod_class::plain;
    x.begin();
    auto t = x.spawn(order);
    x.run();
    CAF_REQUIRE(x.is_answered(t));
    x.restart();
    x.look_fails = failure{errc::internal, "no /proc"};
    x.begin();
    CAF_CHECK_EQUAL(x.view("a").phase, pod_phase::unreachable);
    CAF_CHECK(x.is_lent_on_disk("a"));
    x.tick();
    x.run();
    CAF_CHECK_EQUAL(x.view("a").phase, pod_phase::unreachable);
    x.look_fails.reset();
    x.tick();
    x.run();
    CAF_CHECK_EQUAL(x.view("a").phase, pod_phase::ready);
    // Its end is heard.
    x.processes.die(x.processes.pods.begin()->first);
    x.run();
    CAF_CHECK(x.listed().empty());
  }
}

CAF_TEST(a stop of an intent that nobody can look for is answered) {
  begin();
  spawn(order_of("a", "w:/a"));
  save();
  restart();
  look_fails = failure{errc::internal, "no /proc"};
  begin();
  auto t = stop("a");
  run();
  CAF_CHECK_EQUAL(refusal(t).code, errc::internal);
  CAF_CHECK(is_lent_on_disk("a"));
  look_fails.reset();
  t = stop("a");
  run();
  CAF_CHECK(is_answered(t));
  CAF_CHECK_EQUAL(processes.running(), 0u);
  CAF_CHECK(!is_lent_on_disk("a"));
}

// -- documents ----------------------------------------------------------------

CAF_TEST(a damaged record is kept and its loans stay) {
  begin();
  auto id = spawned("a", "w:/a");
  spawned("b", "w:/b");
  restart();
  auto x = document();
  x["pods"][0]["cwd"] = 7;
  disk = x.dump();
  begin();
  CAF_CHECK_EQUAL(warnings.size(), 1u);
  auto all = listed();
  CAF_REQUIRE_EQUAL(all.size(), 2u);
  CAF_CHECK(!is_back("/a/x"));
  CAF_CHECK_EQUAL(refusal(spawn(order_of("a", "w:/else"))).code,
                  errc::conflict);
  stop("b");
  run();
  CAF_CHECK_EQUAL(on_disk("a")["cwd"], 7);
  CAF_CHECK(is_lent_on_disk("a"));
  // Nothing comes back before its processes are gone.
  auto left = processes.leave_behind(id);
  CAF_CHECK(processes.lives(id));
  auto t = stop("a");
  CAF_CHECK(!is_answered(t));
  CAF_CHECK(!is_back("/a/x"));
  advance(1s);
  CAF_CHECK(!processes.lives(id));
  CAF_CHECK(processes.processes_of(id).empty());
  CAF_CHECK(get<pod::reply_stop>(t).reply.reclaimed == rules("w:/a"));
  CAF_CHECK(is_back("/a/x"));
  CAF_CHECK_EQUAL(document()["pods"].size(), 0u);
}

CAF_TEST(a damaged record is still one if the node dies while it stops) {
  begin();
  auto id = spawned("a", "w:/a");
  restart();
  auto x = document();
  x["pods"][0]["cwd"] = 7;
  disk = x.dump();
  begin();
  // Nobody knows what is there.
  sweep_fails = failure{errc::overloaded, "no descriptor"};
  auto t = stop("a");
  spawned("b", "w:/b");
  advance(settings.stop.kill + 1s);
  CAF_CHECK_EQUAL(refusal(t).code, errc::timeout);
  CAF_CHECK(!is_back("/a/x"));
  CAF_CHECK_EQUAL(on_disk("a")["cwd"], 7);
  restart();
  begin();
  sweep_fails.reset();
  CAF_CHECK(is_lent_on_disk("a"));
  CAF_CHECK(processes.lives(id));
  t = stop("a");
  advance(1s);
  CAF_CHECK(is_answered(t));
  CAF_CHECK(!processes.lives(id));
  CAF_CHECK(!is_lent_on_disk("a"));
}

CAF_TEST(a record that is there twice gives nothing back before its last stop) {
  begin();
  auto first = spawned("a", "w:/a");
  restart();
  auto good = document();
  for (auto is_damaged : {false, true}) {
    auto x = good;
    x["pods"].push_back(x["pods"][0]);
    x["pods"][1]["id"] = "a.00c0ffee";
    if (is_damaged)
      x["pods"][0]["cwd"] = x["pods"][1]["cwd"] = 7;
    disk = x.dump();
    begin();
    auto t = stop("a");
    advance(settings.stop.kill);
    CAF_CHECK(is_answered(t));
    CAF_CHECK(is_lent_on_disk("a"));
    CAF_CHECK(!is_back("/a/x"));
    t = stop("a");
    advance(1s);
    CAF_CHECK(get<pod::reply_stop>(t).reply.reclaimed == rules("w:/a"));
    CAF_CHECK(is_back("/a/x"));
    // Nor is anything damaged by that.
    restart();
    begin();
    CAF_CHECK(listed().empty());
  }
}

CAF_TEST(a damaged record of a pod that nobody lent to can be stopped) {
  begin();
  spawned("a", "w:/a");
  auto pods = document()["pods"];
  stop("a");
  run();
  restart();
  auto x = document();
  x["pods"] = pods;
  x["pods"][0]["cwd"] = 7;
  disk = x.dump();
  begin();
  auto t = stop("a");
  advance(1s);
  CAF_CHECK(get<pod::reply_stop>(t).reply.reclaimed.empty());
  restart();
  begin();
  CAF_CHECK(listed().empty());
}

CAF_TEST(a damaged record that does not say who it is of is not stopped) {
  begin();
  auto id = spawned("a", "w:/a");
  auto other = spawned("b", "w:/b");
  restart();
  auto good = document();
  for (std::string wrong : {std::string{}, other, std::string{"a.../../x"},
                            id + "0", std::string{"a.0123456G"}}) {
    auto x = good;
    x["pods"][0]["id"] = wrong;
    x["pods"][0]["cwd"] = 7;
    disk = x.dump();
    begin();
    auto t = stop("a");
    run();
    CAF_CHECK_EQUAL(refusal(t).code, errc::registry_corrupted);
    CAF_CHECK(refusal(t).message.find("/state/pods/pods.json")
              != std::string::npos);
    CAF_CHECK(processes.lives(id));
    CAF_CHECK(processes.lives(other));
    CAF_CHECK(!is_back("/a/x"));
    restart();
  }
}

CAF_TEST(the loans of a record without a name stay) {
  begin();
  auto id = spawned("a", "w:/a");
  restart();
  auto x = document();
  x["pods"][0]["name"] = 7;
  disk = x.dump();
  begin();
  CAF_CHECK(processes.lives(id));
  CAF_CHECK(!is_back("/a/x"));
  CAF_CHECK_EQUAL(refusal(spawn(order_of("b", "w:/a"))).code, errc::conflict);
}

CAF_TEST(loans that belong to nobody come back) {
  begin();
  spawned("a", "w:/a");
  spawned("b", "w:/b");
  restart();
  auto x = document();
  x["pods"].erase(0);
  disk = x.dump();
  begin();
  CAF_CHECK(is_back("/a/x"));
  CAF_CHECK(!is_back("/b/x"));
  CAF_CHECK(!is_lent_on_disk("a"));
}

CAF_TEST(a broken document answers everything and is not written) {
  disk = "{\"format\":1";
  auto early = list();
  begin();
  CAF_CHECK_EQUAL(refusal(early).code, errc::registry_corrupted);
  for (auto t : {list(), spawn(order_of("a", "w:/a")), stop("a"), read("a"),
                 send("a", "x"), tick()})
    CAF_CHECK_EQUAL(refusal(t).code, errc::registry_corrupted);
  CAF_CHECK(!out);
  CAF_CHECK(copies == texts{disk});
  CAF_CHECK(is_answered(shut_down()));
}

// -- the node stops -----------------------------------------------------------

CAF_TEST(pods outlive an ordered stop and are found again) {
  begin();
  auto id = spawned("a", "w:/a");
  auto waiting = spawn(order_of("b", "w:/b"));
  auto t = shut_down();
  CAF_CHECK_EQUAL(refusal(waiting).code, errc::shutting_down);
  CAF_CHECK_EQUAL(refusal(list()).code, errc::shutting_down);
  run();
  CAF_CHECK(is_answered(t));
  CAF_CHECK(processes.lives(id));
  CAF_CHECK_EQUAL(processes.running(), 1u);
  CAF_CHECK(!is_lent_on_disk("b"));
  restart();
  begin();
  CAF_CHECK_EQUAL(view("a").phase, pod_phase::ready);
}

CAF_TEST_FIXTURE_SCOPE_END()
