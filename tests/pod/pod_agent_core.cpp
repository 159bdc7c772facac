// SPDX-License-Identifier: Apache-2.0

#define CAF_SUITE pod.agent_core

#include "actors/pod/pod_agent_core.hpp"

#include "tests/support/suite.hpp"

#include <string>
#include <vector>

using namespace muster;
using namespace muster::pod;

namespace {

/// What a core does, in words: `1: {frame}` for what it says to whom.
std::vector<std::string> words_of(const pod_agent_effects& effects) {
  std::vector<std::string> out;
  for (auto& effect : effects) {
    if (auto* say = std::get_if<pod_send>(&effect))
      out.push_back(std::to_string(say->connection) + ": " + say->frame);
    else
      out.push_back("end");
  }
  return out;
}

std::string said(std::uint64_t connection, const from_pod& x) {
  return std::to_string(connection) + ": " + encode(x);
}

using words = std::vector<std::string>;

struct fixture {
  pod_agent_core core{"worker"};

  /// Says something, and gives what is answered.
  words tell(std::uint64_t connection, const to_pod& x) {
    return words_of(core.received(connection, encode(x)));
  }

  /// What the core says by itself.
  words connect(std::uint64_t connection) {
    return words_of(core.connected(connection));
  }

  /// Runs a whole turn without a connection.
  words turn(const std::string& id, expected<void> result = {}) {
    std::ignore = tell(9, run{id, "task"});
    std::ignore = core.begin_turn();
    return words_of(core.end_turn(result));
  }

  const std::string hello = encode(from_pod{snapshot{"worker", 1}});
};

} // namespace

CAF_TEST_FIXTURE_SCOPE(pod_agent_core_tests, fixture)

CAF_TEST(who connects is told who is here before all else) {
  CAF_CHECK_EQUAL(connect(1), words{"1: " + hello});
  CAF_CHECK_EQUAL(connect(2), words{"2: " + hello});
}

CAF_TEST(a ping is answered whatever goes on) {
  CAF_CHECK_EQUAL(tell(1, ping{7}), words{said(1, pong{7})});
  std::ignore = tell(1, run{"r-1", "task"});
  CAF_CHECK_EQUAL(tell(2, ping{8}), words{said(2, pong{8})});
  std::ignore = core.begin_turn();
  CAF_CHECK_EQUAL(tell(1, ping{9}), words{said(1, pong{9})});
}

CAF_TEST(a run becomes a turn that everybody hears the end of) {
  std::ignore = connect(1);
  std::ignore = connect(2);
  CAF_CHECK(!core.has_turn());
  CAF_CHECK_EQUAL(tell(1, run{"r-1", "look"}),
                  words{said(1, turn_start{"r-1", 1})});
  CAF_CHECK(core.has_turn());
  auto turn = core.begin_turn();
  CAF_CHECK(!core.has_turn());
  CAF_CHECK_EQUAL(turn.number, 1u);
  CAF_CHECK_EQUAL(turn.task, "look");
  CAF_CHECK(turn.notices.empty());
  core.lost(2);
  std::ignore = connect(3);
  CAF_CHECK_EQUAL(
    words_of(core.end_turn({})),
    (words{said(1, turn_ended{1, 1}), said(3, turn_ended{1, 1})}));
  CAF_CHECK_EQUAL(tell(1, run{"r-2", "again"}),
                  words{said(1, turn_start{"r-2", 2})});
  CAF_CHECK_EQUAL(core.begin_turn().number, 2u);
  CAF_CHECK_EQUAL(
    words_of(core.end_turn(fail(errc::internal, "broken"))),
    (words{said(1, errored{2, "broken"}), said(3, errored{2, "broken"})}));
}

CAF_TEST(there is one turn at a time) {
  std::ignore = tell(1, run{"r-1", "one"});
  run_error busy{"r-2", "already_running", "pod 'worker' is in turn 1"};
  CAF_CHECK_EQUAL(tell(1, run{"r-2", "two"}), words{said(1, busy)});
  std::ignore = core.begin_turn();
  CAF_CHECK_EQUAL(tell(1, run{"r-2", "two"}), words{said(1, busy)});
  CAF_CHECK(!core.has_turn());
  std::ignore = core.end_turn({});
  CAF_CHECK_EQUAL(tell(1, run{"r-2", "two"}),
                  words{said(1, turn_start{"r-2", 2})});
}

CAF_TEST(a run that was accepted before is not begun anew) {
  std::ignore = tell(1, run{"r-1", "one"});
  auto again = words{said(2, turn_start{"r-1", 1})};
  CAF_CHECK_EQUAL(tell(2, run{"r-1", "one"}), again);
  CAF_CHECK_EQUAL(core.begin_turn().task, "one");
  CAF_CHECK_EQUAL(tell(2, run{"r-1", "one"}), again);
  std::ignore = core.end_turn({});
  CAF_CHECK_EQUAL(tell(2, run{"r-1", "one"}), again);
  CAF_CHECK(!core.has_turn());
  // One without an id is known by nothing.
  CAF_CHECK_EQUAL(tell(1, run{"", "two"}), words{said(1, turn_start{"", 2})});
  std::ignore = core.begin_turn();
  std::ignore = core.end_turn({});
  CAF_CHECK_EQUAL(tell(1, run{"", "two"}), words{said(1, turn_start{"", 3})});
}

CAF_TEST(of the runs that were accepted the last ones are known) {
  core = pod_agent_core{"worker", {.max_known = 2}};
  for (auto* id : {"r-1", "r-2", "r-3"})
    std::ignore = turn(id);
  CAF_CHECK_EQUAL(tell(1, run{"r-2", ""}),
                  words{said(1, turn_start{"r-2", 2})});
  CAF_CHECK_EQUAL(tell(1, run{"r-1", ""}),
                  words{said(1, turn_start{"r-1", 4})});
}

CAF_TEST(what was not confirmed is said again) {
  CAF_CHECK_EQUAL(turn("r-1"), words{});
  std::ignore = turn("r-2", fail(errc::internal, "broken"));
  std::ignore = turn("r-3");
  CAF_CHECK_EQUAL(connect(1), (words{"1: " + hello, said(1, turn_ended{1, 1}),
                                     said(1, errored{2, "broken"}),
                                     said(1, turn_ended{3, 3})}));
  // A number is confirmed with those before it.
  CAF_CHECK_EQUAL(tell(1, confirm{2}), words{});
  CAF_CHECK_EQUAL(connect(2),
                  (words{"2: " + hello, said(2, turn_ended{3, 3})}));
  CAF_CHECK_EQUAL(tell(1, confirm{99}), words{});
  CAF_CHECK_EQUAL(connect(3), words{"3: " + hello});
  std::ignore = turn("r-4");
  CAF_CHECK_EQUAL(connect(4),
                  (words{"4: " + hello, said(4, turn_ended{4, 4})}));
}

CAF_TEST(a pod that nobody confirms takes no turns any more) {
  core = pod_agent_core{"worker", {.max_events = 2}};
  std::ignore = turn("r-1");
  std::ignore = turn("r-2");
  CAF_CHECK_EQUAL(tell(1, run{"r-3", ""}),
                  words{said(1, run_error{"r-3", "overloaded",
                                          "2 events of pod 'worker' are not "
                                          "confirmed, and it keeps no more"})});
  CAF_CHECK(!core.has_turn());
  std::ignore = tell(1, confirm{1});
  CAF_CHECK_EQUAL(tell(1, run{"r-3", ""}),
                  words{said(1, turn_start{"r-3", 3})});
}

CAF_TEST(a text that is too long begins no turn) {
  core = pod_agent_core{"worker", {.max_text_bytes = 3}};
  CAF_CHECK_EQUAL(tell(1, run{"r-1", "four"}),
                  words{said(1, run_error{"r-1", "too_large",
                                          "the text of a run has 4 bytes, more "
                                          "than 3"})});
  CAF_CHECK_EQUAL(tell(1, run{"r-1", "one"}),
                  words{said(1, turn_start{"r-1", 1})});
}

CAF_TEST(an error is said with so many characters) {
  std::string all;
  for (int i = 0; i < 5'000; ++i)
    all += "ü";
  std::ignore = turn("r-1", fail(errc::internal, all));
  auto frame = std::get<pod_send>(core.connected(1).at(1)).frame;
  CAF_CHECK_EQUAL(std::get<errored>(*decode_event(frame)).message,
                  all.substr(0, 8'192));
}

CAF_TEST(the next turn hears what came since the last one) {
  CAF_CHECK_EQUAL(tell(1, notify{5, "one"}), words{said(1, ack{5})});
  CAF_CHECK_EQUAL(tell(1, pod_event{6, "errored", "helper", "broken"}),
                  words{said(1, ack{6})});
  CAF_CHECK(!core.has_turn());
  // Comes again behind a connection that was lost.
  CAF_CHECK_EQUAL(tell(2, notify{5, "one"}), words{said(2, ack{5})});
  std::ignore = tell(1, run{"r-1", ""});
  auto first = core.begin_turn().notices;
  CAF_REQUIRE_EQUAL(first.size(), 2u);
  CAF_CHECK_EQUAL(first[0].kind, "notice");
  CAF_CHECK_EQUAL(first[0].message, "one");
  CAF_CHECK_EQUAL(first[1].kind, "errored");
  CAF_CHECK_EQUAL(first[1].pod_name, "helper");
  CAF_CHECK_EQUAL(first[1].message, "broken");
  std::ignore = tell(1, notify{5, "one"});
  std::ignore = tell(1, notify{7, "two"});
  std::ignore = core.end_turn({});
  std::ignore = tell(1, run{"r-2", ""});
  auto second = core.begin_turn().notices;
  CAF_REQUIRE_EQUAL(second.size(), 1u);
  CAF_CHECK_EQUAL(second[0].message, "two");
}

CAF_TEST(of too many notices the oldest are dropped) {
  core = pod_agent_core{"worker", {.max_notices = 2, .max_notice_bytes = 40}};
  auto kept = [this](const std::string& run_id) {
    std::ignore = tell(1, run{run_id, ""});
    std::string out;
    for (auto& x : core.begin_turn().notices)
      out += x.message.substr(0, 1);
    std::ignore = core.end_turn({});
    return out;
  };
  std::uint64_t id = 0;
  for (auto* text : {"a", "b", "c"})
    std::ignore = tell(1, notify{++id, text});
  CAF_CHECK_EQUAL(kept("r-1"), "bc");
  std::ignore = tell(1, notify{++id, std::string(20, 'd')});
  std::ignore = tell(1, notify{++id, std::string(20, 'e')});
  CAF_CHECK_EQUAL(kept("r-2"), "e");
  // One alone is kept whatever its size, which a frame bounds.
  std::ignore = tell(1, notify{++id, std::string(200, 'f')});
  CAF_CHECK_EQUAL(kept("r-3"), "f");
}

CAF_TEST(what is no frame is refused and changes nothing) {
  auto refused = words_of(core.received(1, "garbage"));
  CAF_REQUIRE_EQUAL(refused.size(), 1u);
  CAF_CHECK_EQUAL(refused[0],
                  said(1, run_error{"", "invalid_request",
                                    "the frame of a pod is not JSON: it breaks "
                                    "at byte 1"}));
  CAF_CHECK_EQUAL(words_of(core.received(1, R"({"method":"dance"})")).size(),
                  1u);
  CAF_CHECK_EQUAL(tell(1, result{"q", json{1}}), words{});
  CAF_CHECK_EQUAL(tell(1, ping{1}), words{said(1, pong{1})});
}

CAF_TEST(a pod that was told to end says nothing more) {
  std::ignore = connect(1);
  std::ignore = tell(1, run{"r-1", "x"});
  std::ignore = core.begin_turn();
  CAF_CHECK_EQUAL(tell(1, pod::shutdown{}), words{"end"});
  CAF_CHECK_EQUAL(tell(1, ping{1}), words{});
  CAF_CHECK_EQUAL(connect(2), words{});
  CAF_CHECK_EQUAL(words_of(core.end_turn({})), words{});
}

CAF_TEST_FIXTURE_SCOPE_END()
