// SPDX-License-Identifier: Apache-2.0

#define CAF_SUITE recovery.slot_group

#include "tests/recovery/slot_bench.hpp"

using namespace muster;
using namespace muster::test;
using namespace std::chrono_literals;

namespace {

using bytes = std::vector<std::uint8_t>;

struct fixture : slot_bench {
  failure why{errc::internal, "it is ill"};
};

} // namespace

CAF_TEST_FIXTURE_SCOPE(slot_group_tests, fixture)

// -- starting -----------------------------------------------------------------

CAF_TEST(a group is answered once it is on disk) {
  auto t = create();
  CAF_CHECK(!done.contains(t));
  save();
  CAF_CHECK(done.contains(t));
  CAF_CHECK(starts.empty());
}

CAF_TEST(a group that cannot be written is refused) {
  auto t = create();
  fail_save();
  CAF_CHECK_EQUAL(refusals[t].code, errc::storage_full);
}

CAF_TEST(the intent to start is on disk before the start) {
  create();
  save();
  tick();
  CAF_CHECK(starts.empty());
  CAF_CHECK(health(0) == slot_health::starting);
  save();
  CAF_CHECK(started_slots() == (bytes{0, 1, 2}));
  auto written = json::parse(disk)["slots"];
  for (auto& x : starts)
    CAF_CHECK_EQUAL(written[x.index]["term"], x.term);
}

CAF_TEST(an intent that cannot be written starts nothing until it can) {
  create();
  save();
  tick();
  fail_save();
  CAF_CHECK(starts.empty());
  tick();
  CAF_CHECK(starts.empty());
  save();
  CAF_CHECK_EQUAL(starts.size(), 3u);
}

CAF_TEST(a slot that is meant to be started later waits for its own write) {
  begin(2);
  crash(0);
  CAF_REQUIRE(out);
  wait(600);
  // The write that is out does not know of the start.
  tick();
  CAF_CHECK(health(0) == slot_health::starting);
  save();
  CAF_CHECK(starts.empty());
  save();
  CAF_CHECK(started_slots() == bytes{0});
}

CAF_TEST(a new slot is no recovery and a new occupant is) {
  begin(2);
  CAF_CHECK(core->take_recovered().empty());
  crash(1);
  wait(500);
  tick();
  settle();
  CAF_CHECK(core->take_recovered() == bytes{1});
  CAF_CHECK(core->take_recovered().empty());
  CAF_CHECK_EQUAL(slot(1).restarts, 1u);
  CAF_CHECK_EQUAL(slot(1).last_error, "it crashed");
}

// -- the rows of the specification --------------------------------------------

CAF_TEST(G1 a failed place with no other one keeps its occupants) {
  begin(1, "here");
  take(core->place_failed("here", now_ns));
  CAF_CHECK_EQUAL(core->healthy(), 0u);
  // The end of what cannot be reached is not waited for.
  CAF_CHECK(stops.empty());
  wait(500);
  tick();
  save_all();
  CAF_REQUIRE_EQUAL(starts.size(), 1u);
  CAF_CHECK(starts[0].excluded == std::set<std::string>{"here"});
  take(core->start_failed(0, starts[0].term, why, "", now_ns));
  starts.clear();
  take(core->place_healthy("here", now_ns));
  CAF_REQUIRE_EQUAL(finds.size(), 1u);
  CAF_CHECK_EQUAL(finds[0].occupant, "p-1");
  settle();
  CAF_CHECK(health(0) == slot_health::healthy);
  CAF_CHECK_EQUAL(slot(0).occupant, "p-1");
  CAF_CHECK_EQUAL(alive.size(), 1u);
}

CAF_TEST(G2 the occupants of a failed place are replaced at another one) {
  begin(2, "left");
  take(core->place_failed("left", now_ns));
  wait(500);
  tick();
  save_all();
  CAF_CHECK_EQUAL(starts.size(), 2u);
  for (auto& x : std::exchange(starts, {})) {
    CAF_CHECK(x.excluded.contains("left"));
    run(x, "right");
  }
  CAF_CHECK_EQUAL(core->healthy(), 2u);
  // Once the place is seen again, what was left there is stopped.
  take(core->place_healthy("left", now_ns));
  CAF_REQUIRE_EQUAL(stops.size(), 2u);
  CAF_CHECK_EQUAL(stops[0].occupant, "p-1");
  settle();
  CAF_CHECK_EQUAL(core->healthy(), 2u);
  CAF_CHECK_EQUAL(alive.size(), 2u);
  // That is over now.
  take(core->place_healthy("left", now_ns));
  CAF_CHECK(stops.empty());
}

CAF_TEST(G3 a place that is back in time has its occupants back) {
  begin(2, "here");
  take(core->place_failed("here", now_ns));
  take(core->place_healthy("here", now_ns));
  settle();
  CAF_CHECK_EQUAL(core->healthy(), 2u);
  CAF_CHECK_EQUAL(slot(0).occupant, "p-1");
  crash(0);
  wait(1'000);
  tick();
  save_all();
  CAF_REQUIRE_EQUAL(starts.size(), 1u);
  CAF_CHECK(starts[0].excluded.empty());
}

CAF_TEST(G4 a group is dead when nobody in it is healthy) {
  begin(2);
  crash(0);
  CAF_CHECK_EQUAL(core->healthy(), 1u);
  crash(1);
  CAF_CHECK_EQUAL(core->healthy(), 0u);
}

CAF_TEST(G5 G7 with all places excluded slots wait and are kept) {
  begin(2, "here");
  take(core->place_failed("here", now_ns));
  wait(500);
  tick();
  save_all();
  for (auto& x : std::exchange(starts, {}))
    take(core->start_failed(x.index, x.term, why, "there", now_ns));
  CAF_CHECK(health(0) == slot_health::backing_off);
  CAF_CHECK_EQUAL(core->slots(now_ns).size(), 2u);
  save_all();
  wait(1'000);
  tick();
  save_all();
  CAF_REQUIRE_EQUAL(starts.size(), 2u);
  CAF_CHECK((starts[0].excluded == std::set<std::string>{"here", "there"}));
}

CAF_TEST(G8 whoever is healthy is left alone) {
  begin(3);
  auto before = slot(0);
  crash(1);
  wait(500);
  tick();
  settle();
  CAF_CHECK_EQUAL(slot(0).term, before.term);
  CAF_CHECK_EQUAL(slot(0).occupant, before.occupant);
  CAF_CHECK_EQUAL(core->healthy(), 3u);
}

CAF_TEST(G9 each new occupant raises the term and an idle tick does not ) {
  begin(2);
  CAF_CHECK_EQUAL(slot(1).term, 2u);
  for (int i = 0; i < 5; ++i)
    tick();
  CAF_CHECK(!out);
  crash(1);
  wait(500);
  tick();
  settle();
  CAF_CHECK_EQUAL(slot(0).term, 1u);
  CAF_CHECK_EQUAL(slot(1).term, 3u);
}

// -- what is rarely tested ----------------------------------------------

CAF_TEST(one tick puts back four slots at most and starves none) {
  begin(9);
  for (std::uint8_t i = 0; i < 9; ++i)
    crash(i);
  save_all();
  wait(500);
  tick();
  save_all();
  CAF_CHECK(started_slots() == (bytes{0, 1, 2, 3}));
  // They fail at once, and are not first again.
  for (auto& x : std::exchange(starts, {}))
    take(core->start_failed(x.index, x.term, why, "", now_ns));
  wait(60'000);
  tick();
  save_all();
  CAF_CHECK(started_slots() == (bytes{4, 5, 6, 7}));
  starts.clear();
  tick();
  save_all();
  CAF_CHECK(started_slots() == (bytes{0, 1, 2, 8}));
}

CAF_TEST(the budget of a tick goes below the cap) {
  begin(4);
  for (std::uint8_t i = 0; i < 4; ++i)
    crash(i);
  save_all();
  wait(500);
  tick(0);
  CAF_CHECK(!out);
  tick(1);
  save_all();
  CAF_CHECK_EQUAL(starts.size(), 1u);
  tick(2);
  save_all();
  CAF_CHECK_EQUAL(starts.size(), 3u);
}

CAF_TEST(each slot has its own delay) {
  begin(2);
  crash(0);
  wait(500);
  tick();
  settle();
  crash(0);
  crash(1);
  save_all();
  CAF_CHECK_EQUAL(slot(0).backoff_ms, 1'000);
  CAF_CHECK_EQUAL(slot(1).backoff_ms, 500);
  wait(500);
  tick();
  save_all();
  CAF_CHECK(started_slots() == bytes{1});
  CAF_CHECK(health(0) == slot_health::backing_off);
}

CAF_TEST(a slot that gives up waits for a reset) {
  definition.policy.gives_up = true;
  definition.policy.max_restarts = 2;
  begin(1);
  crash(0);
  wait(500);
  tick();
  settle();
  crash(0);
  CAF_CHECK(health(0) == slot_health::failed);
  wait(10'000'000);
  tick();
  save_all();
  CAF_CHECK(starts.empty());
  // Also in the next life of the node.
  restart();
  tick();
  save_all();
  CAF_CHECK(health(0) == slot_health::failed);
  CAF_CHECK(starts.empty());
  CAF_CHECK(!core->slots(now_ns)[0].last_error.empty());
  take(core->reset(++tickets, now_ns));
  save();
  CAF_CHECK(done.contains(tickets));
  CAF_CHECK_EQUAL(core->slots(now_ns)[0].restarts, 0u);
  CAF_CHECK_EQUAL(core->slots(now_ns)[0].last_error, "");
  tick();
  settle();
  CAF_CHECK_EQUAL(core->healthy(), 1u);
}

// -- the ill and the late -----------------------------------------------------

CAF_TEST(who is ill has some time to get well) {
  begin(1);
  take(core->occupant_unhealthy(0, 1, why, now_ns));
  CAF_CHECK(health(0) == slot_health::unhealthy);
  wait(4'999);
  tick();
  CAF_CHECK(stops.empty());
  take(core->occupant_healthy(0, 1));
  CAF_CHECK(health(0) == slot_health::healthy);
  wait(10'000);
  tick();
  CAF_CHECK(stops.empty());
}

CAF_TEST(who stays ill is stopped and the next one waits for that) {
  begin(1);
  take(core->occupant_unhealthy(0, 1, why, now_ns));
  wait(5'000);
  tick();
  CAF_REQUIRE_EQUAL(stops.size(), 1u);
  CAF_CHECK_EQUAL(stops[0].occupant, "p-1");
  CAF_CHECK(health(0) == slot_health::stopping);
  // Nothing comes in its place, however long that takes; it is asked again.
  save_all();
  for (int i = 1; i < 5; ++i) {
    wait(15'000);
    tick();
    save_all();
    CAF_CHECK_EQUAL(stops.size(), 1u + static_cast<unsigned>(i));
    CAF_CHECK(starts.empty());
  }
  auto last = stops.back();
  stops.clear();
  end(last);
  tick();
  settle();
  CAF_CHECK(health(0) == slot_health::healthy);
  CAF_CHECK_EQUAL(slot(0).term, 2u);
}

CAF_TEST(a start that takes too long is undone before the next one) {
  definition.slots = 1;
  create();
  save();
  tick();
  save();
  auto first = starts.at(0);
  starts.clear();
  wait(29'999);
  tick();
  CAF_CHECK(stops.empty());
  wait(1);
  tick();
  CAF_REQUIRE_EQUAL(stops.size(), 1u);
  CAF_CHECK_EQUAL(stops[0].term, 1u);
  // It is ready after all, and still unwanted.
  run(first);
  CAF_CHECK(health(0) == slot_health::stopping);
  CAF_REQUIRE_EQUAL(stops.size(), 2u);
  CAF_CHECK_EQUAL(stops[1].occupant, "p-1");
  settle();
  CAF_CHECK(alive.empty());
  wait(500);
  tick();
  settle();
  CAF_CHECK(health(0) == slot_health::healthy);
}

CAF_TEST(what is heard of another term changes nothing) {
  begin(1);
  crash(0);
  wait(500);
  tick();
  settle();
  CAF_CHECK_EQUAL(slot(0).term, 2u);
  auto before = disk;
  take(core->occupant_ended(0, 1, why, now_ns));
  take(core->occupant_unhealthy(0, 1, why, now_ns));
  take(core->stopped(0, 1, now_ns));
  take(core->start_failed(0, 1, why, "here", now_ns));
  take(core->absent(0, 1, now_ns));
  take(core->occupant_ended(7, 2, why, now_ns));
  CAF_CHECK(health(0) == slot_health::healthy);
  CAF_CHECK(!out);
  CAF_CHECK(stops.empty());
  // But an occupant that nobody wants is stopped.
  take(core->started(0, 1, "p-late", "", now_ns));
  CAF_CHECK(health(0) == slot_health::healthy);
  CAF_REQUIRE_EQUAL(stops.size(), 1u);
  CAF_CHECK_EQUAL(stops[0].occupant, "p-late");
  CAF_CHECK_EQUAL(stops[0].term, 1u);
}

CAF_TEST(the same word twice changes nothing) {
  begin(1);
  take(core->started(0, 1, "p-1", "", now_ns));
  CAF_CHECK(stops.empty());
  CAF_CHECK(!out);
  crash(0);
  save_all();
  take(core->occupant_ended(0, 1, why, now_ns));
  CAF_CHECK_EQUAL(slot(0).backoff_ms, 500);
  CAF_CHECK(!out);
}

// -- scaling and deleting -----------------------------------------------------

CAF_TEST(fewer slots stop the highest first and go once that is confirmed) {
  begin(4);
  auto t = scale(2);
  // Until it is on disk it may be refused.
  CAF_CHECK(stops.empty());
  save();
  CAF_REQUIRE_EQUAL(stops.size(), 2u);
  CAF_CHECK_EQUAL(stops[0].index, 3);
  CAF_CHECK_EQUAL(stops[1].index, 2);
  CAF_CHECK(done.contains(t));
  CAF_CHECK_EQUAL(core->slots(now_ns).size(), 4u);
  settle();
  CAF_CHECK_EQUAL(core->slots(now_ns).size(), 2u);
  CAF_CHECK_EQUAL(alive.size(), 2u);
}

CAF_TEST(a start that is only meant is not made once it is not wanted) {
  create();
  save();
  tick();
  scale(1);
  save_all();
  CAF_CHECK(started_slots() == bytes{0});
  CAF_CHECK_EQUAL(core->slots(now_ns).size(), 1u);
}

CAF_TEST(a slot that comes back while it stops waits for its old occupant) {
  begin(2);
  scale(1);
  save();
  scale(2);
  tick();
  save_all();
  CAF_CHECK(health(1) == slot_health::stopping);
  CAF_CHECK(starts.empty());
  settle();
  tick();
  settle();
  CAF_CHECK_EQUAL(core->healthy(), 2u);
  CAF_CHECK_EQUAL(slot(1).term, 3u);
}

CAF_TEST(a slot that is made again has no term that it had before) {
  begin(2);
  scale(1);
  settle();
  scale(2);
  settle();
  tick();
  settle();
  CAF_CHECK_EQUAL(slot(1).term, 3u);
}

CAF_TEST(a group without slots is fine) {
  begin(3);
  scale(0);
  settle();
  CAF_CHECK(core->slots(now_ns).empty());
  tick();
  scale(255);
  settle();
  CAF_CHECK_EQUAL(core->slots(now_ns).size(), 255u);
}

CAF_TEST(a deleted group stops everything before its document goes) {
  begin(2);
  auto t = remove();
  CAF_CHECK(stops.empty());
  save();
  CAF_REQUIRE_EQUAL(stops.size(), 2u);
  CAF_CHECK_EQUAL(stops[0].index, 1);
  save_all();
  CAF_CHECK(!wants_removal);
  auto late = scale(9);
  CAF_CHECK_EQUAL(refusals[late].code, errc::conflict);
  settle();
  CAF_CHECK(wants_removal);
  CAF_CHECK(!done.contains(t));
  remove_document();
  CAF_CHECK(done.contains(t));
  CAF_CHECK(core->is_gone());
  CAF_CHECK(alive.empty());
}

CAF_TEST(what is not on disk is shown to nobody) {
  begin(2);
  scale(4);
  tick();
  CAF_CHECK_EQUAL(core->definition().slots, 2);
  CAF_CHECK_EQUAL(core->slots(now_ns).size(), 2u);
  save();
  CAF_CHECK_EQUAL(core->definition().slots, 4);
  CAF_CHECK_EQUAL(core->slots(now_ns).size(), 4u);
  settle();
  scale(1);
  CAF_CHECK_EQUAL(core->definition().slots, 4);
  settle();
  CAF_CHECK_EQUAL(core->definition().slots, 1);
  remove();
  CAF_CHECK(!core->is_deleted());
  save();
  CAF_CHECK(core->is_deleted());
}

CAF_TEST(fewer slots that the disk refuses stop nobody) {
  begin(4);
  auto t = scale(2);
  fail_save();
  CAF_CHECK_EQUAL(refusals[t].code, errc::storage_full);
  CAF_CHECK_EQUAL(core->definition().slots, 4);
  for (int i = 0; i < 3; ++i) {
    tick();
    settle();
  }
  CAF_CHECK_EQUAL(core->healthy(), 4u);
  CAF_CHECK_EQUAL(alive.size(), 4u);
  restart();
  settle();
  CAF_CHECK_EQUAL(core->healthy(), 4u);
}

CAF_TEST(what goes on is shown though the disk has fewer slots for a while) {
  begin(4);
  scale(2);
  scale(4);
  save();
  CAF_CHECK_EQUAL(core->slots(now_ns).size(), 4u);
  settle();
  CAF_CHECK_EQUAL(core->slots(now_ns).size(), 4u);
  CAF_CHECK_EQUAL(core->healthy(), 4u);
  CAF_CHECK_EQUAL(alive.size(), 4u);
}

CAF_TEST(more slots that the disk refuses are not started) {
  begin(1);
  auto t = scale(3);
  tick();
  fail_save();
  CAF_CHECK_EQUAL(refusals[t].code, errc::storage_full);
  for (int i = 0; i < 3; ++i) {
    tick();
    settle();
  }
  CAF_CHECK_EQUAL(core->slots(now_ns).size(), 1u);
  CAF_CHECK_EQUAL(alive.size(), 1u);
}

CAF_TEST(what was asked for behind a refused write is refused with it) {
  begin(4);
  auto first = scale(2);
  auto second = scale(3);
  fail_save();
  CAF_CHECK_EQUAL(refusals[first].code, errc::storage_full);
  CAF_CHECK_EQUAL(refusals[second].code, errc::storage_full);
  settle();
  CAF_CHECK_EQUAL(alive.size(), 4u);
}

CAF_TEST(a deletion that the disk refuses stops nobody) {
  begin(2);
  auto t = remove();
  fail_save();
  CAF_CHECK_EQUAL(refusals[t].code, errc::storage_full);
  CAF_CHECK(!core->is_deleted());
  tick();
  settle();
  CAF_CHECK_EQUAL(core->healthy(), 2u);
  CAF_CHECK(!wants_removal);
  // It can be asked for again.
  auto again = remove();
  settle();
  remove_document();
  CAF_CHECK(done.contains(again));
}

CAF_TEST(a deletion that is on disk is not taken back) {
  begin(2);
  auto t = remove();
  save();
  for (auto& x : std::exchange(stops, {}))
    end(x);
  fail_save();
  CAF_CHECK(core->is_deleted());
  CAF_CHECK(!refusals.contains(t));
  tick();
  settle();
  CAF_REQUIRE(wants_removal);
  remove_document();
  CAF_CHECK(done.contains(t));
}

CAF_TEST(a reset that the disk refuses forgets nothing) {
  definition.policy.max_restarts = 1;
  definition.policy.gives_up = true;
  begin(1);
  crash(0);
  save_all();
  CAF_REQUIRE(health(0) == slot_health::failed);
  auto t = reset();
  fail_save();
  CAF_CHECK_EQUAL(refusals[t].code, errc::storage_full);
  CAF_CHECK(health(0) == slot_health::failed);
  CAF_CHECK_EQUAL(slot(0).last_error, "it crashed");
  tick();
  settle();
  CAF_CHECK(starts.empty());
  t = reset();
  save();
  CAF_CHECK(done.contains(t));
  CAF_CHECK(slot(0).last_error.empty());
  tick();
  settle();
  CAF_CHECK_EQUAL(core->healthy(), 1u);
  // What begins anew is no restart.
  CAF_CHECK_EQUAL(slot(0).restarts, 0u);
}

CAF_TEST(a reset behind a write that the disk refuses forgets nothing) {
  definition.policy.max_restarts = 1;
  definition.policy.gives_up = true;
  begin(1);
  crash(0);
  save_all();
  auto first = scale(2);
  auto t = reset();
  fail_save();
  CAF_CHECK_EQUAL(refusals[first].code, errc::storage_full);
  CAF_CHECK_EQUAL(refusals[t].code, errc::storage_full);
  for (int i = 0; i < 3; ++i) {
    tick();
    settle();
  }
  CAF_CHECK(health(0) == slot_health::failed);
  CAF_CHECK(starts.empty());
}

CAF_TEST(a deletion goes on in the next life of the node) {
  begin(2);
  remove();
  save();
  restart();
  CAF_CHECK_EQUAL(stops.size(), 2u);
  settle();
  CAF_CHECK(alive.empty());
  CAF_CHECK(wants_removal);
}

CAF_TEST(a document that cannot be removed is tried again) {
  begin(1);
  auto t = remove();
  settle();
  CAF_REQUIRE(std::exchange(wants_removal, false));
  take(core->removed(fail(errc::storage_failed, "no")));
  CAF_CHECK_EQUAL(refusals[t].code, errc::storage_failed);
  CAF_CHECK(!core->is_gone());
  tick();
  remove_document();
  CAF_CHECK(core->is_gone());
}

// -- the next life of the node ------------------------------------------------

CAF_TEST(an occupant that is found again keeps its slot) {
  begin(3);
  restart();
  CAF_CHECK_EQUAL(finds.size(), 3u);
  CAF_CHECK_EQUAL(finds[2].occupant, "p-3");
  tick();
  save_all();
  CAF_CHECK(starts.empty());
  settle();
  CAF_CHECK_EQUAL(core->healthy(), 3u);
  CAF_CHECK_EQUAL(slot(2).term, 3u);
  CAF_CHECK_EQUAL(slot(2).restarts, 0u);
  CAF_CHECK(core->take_recovered().empty());
  CAF_CHECK_EQUAL(alive.size(), 3u);
}

CAF_TEST(an occupant that is gone has failed) {
  begin(2);
  restart();
  alive.erase(2);
  settle();
  CAF_CHECK(health(1) == slot_health::backing_off);
  wait(500);
  tick();
  settle();
  CAF_CHECK(core->take_recovered() == bytes{1});
}

CAF_TEST(a start of which nobody knows the outcome is asked for) {
  definition.slots = 2;
  create();
  save();
  tick();
  save();
  // One came to be, and nobody heard of it; the other did not.
  alive[1] = {0, 1, "p-1"};
  restart();
  CAF_REQUIRE_EQUAL(finds.size(), 2u);
  CAF_CHECK_EQUAL(finds[0].term, 1u);
  CAF_CHECK_EQUAL(finds[0].occupant, "");
  tick();
  save_all();
  CAF_CHECK(starts.empty());
  settle();
  CAF_CHECK(health(0) == slot_health::healthy);
  CAF_CHECK_EQUAL(slot(0).occupant, "p-1");
  // Nobody knows that it failed, so it does not wait.
  CAF_CHECK(health(1) == slot_health::empty);
  tick();
  settle();
  CAF_CHECK_EQUAL(slot(1).term, 3u);
  CAF_CHECK_EQUAL(alive.size(), 2u);
}

CAF_TEST(a search without an answer is repeated and nothing started) {
  begin(1);
  restart();
  for (unsigned i = 1; i < 4; ++i) {
    CAF_CHECK_EQUAL(finds.size(), i);
    wait(10'000);
    tick();
    save_all();
  }
  CAF_CHECK(starts.empty());
  settle();
  CAF_CHECK_EQUAL(core->healthy(), 1u);
}

CAF_TEST(delays and scaling are not forgotten) {
  begin(3);
  crash(0);
  crash(0);
  scale(2);
  save_all();
  wait(200);
  restart();
  CAF_CHECK(health(0) == slot_health::backing_off);
  CAF_CHECK_EQUAL(slot(0).backoff_ms, 500);
  CAF_CHECK_EQUAL(slot(0).last_error, "it crashed");
  CAF_REQUIRE(!stops.empty());
  CAF_CHECK_EQUAL(stops[0].index, 2);
  settle();
  CAF_CHECK_EQUAL(core->slots(now_ns).size(), 2u);
}

// -- the document -------------------------------------------------------------

CAF_TEST(a document comes back as it was with what is not known here) {
  definition.kind = slot_kind::pod;
  definition.pod.command = {"/bin/run", "ünï", ""};
  definition.pod.kind = pod_class::plain;
  definition.pod.task = "{slot}";
  definition.pod.scope = {{"/data/{slot}", permission::write, true}};
  definition.policy.gives_up = true;
  definition.policy.initial = 7ms;
  begin(2, "left");
  take(core->place_failed("left", now_ns));
  save_all();
  auto changed = json::parse(disk);
  changed["colour"] = "blue";
  changed["slots"][1]["weight"] = 7;
  disk = changed.dump();
  auto document = read_slot_group(disk, "groups/web.json");
  CAF_REQUIRE(document);
  CAF_CHECK(document->definition == definition);
  CAF_CHECK_EQUAL(document->strays.size(), 2u);
  CAF_CHECK(json::parse(render(*document)) == changed);
  restart();
  scale(2);
  save_all();
  CAF_CHECK_EQUAL(json::parse(disk)["colour"], "blue");
  CAF_CHECK_EQUAL(json::parse(disk)["slots"][1]["weight"], 7);
}

CAF_TEST(what is damaged is refused and names the place) {
  begin(2);
  auto good = json::parse(disk);
  auto refused = [&](auto change) {
    auto x = good;
    change(x);
    auto out = read_slot_group(x.dump(), "groups/web.json");
    CAF_CHECK(!out);
    if (out)
      return std::string{};
    CAF_CHECK(out.error().message.find("groups/web.json") != std::string::npos);
    CAF_CHECK(out.error().code == errc::registry_corrupted
              || out.error().code == errc::newer_format);
    return out.error().message;
  };
  auto has = [](const std::string& text, const char* what) {
    return text.find(what) != std::string::npos;
  };
  CAF_CHECK(has(refused([](json& x) { x = 7; }), "no JSON object"));
  CAF_CHECK(has(refused([](json& x) { x["format"] = 2; }), "format 2"));
  CAF_CHECK(has(refused([](json& x) { x["wanted"] = 256; }), "'wanted'"));
  CAF_CHECK(has(refused([](json& x) { x["kind"] = "tree"; }), "'kind'"));
  CAF_CHECK(
    has(refused([](json& x) { x["policy"]["factor"] = 0; }), "'policy'"));
  CAF_CHECK(has(refused([](json& x) { x["slots"][1]["index"] = 0; }),
                "slot 0 stands where slot 1 should"));
  CAF_CHECK(
    has(refused([](json& x) { x["slots"][1]["term"] = 99; }), "term 99"));
  CAF_CHECK(
    has(refused([](json& x) { x["slots"][0]["state"] = "fine"; }), "'state'"));
  CAF_CHECK(has(refused([](json& x) { x["slots"][0] = "fine"; }), "slot 0"));
  CAF_CHECK(has(refused([](json& x) { x.erase("slots"); }), "'slots'"));
}

CAF_TEST(a definition that makes no sense is refused) {
  auto refused = [this](auto change) {
    auto kept_definition = definition;
    change(definition);
    auto t = create();
    definition = kept_definition;
    CAF_CHECK(!out);
    return refusals[t].code == errc::invalid_argument;
  };
  CAF_CHECK(refused([](auto& x) { x.name = "a/b"; }));
  CAF_CHECK(refused([](auto& x) { x.pod.command = {"ls"}; }));
  CAF_CHECK(refused([](auto& x) { x.policy.factor = 0; }));
}

CAF_TEST_FIXTURE_SCOPE_END()
