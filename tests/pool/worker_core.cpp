// SPDX-License-Identifier: Apache-2.0

#define CAF_SUITE pool.worker_core

#include "actors/pool/worker_core.hpp"

#include "tests/support/suite.hpp"

#include <deque>

using namespace muster;

namespace {

constexpr auto version = "1.0.0";

struct fixture {
  fixture()
    : core({version,
            "nonce",
            "none",
            {[this] { return now++; }, [this] { return now++; }},
            64 << 10,
            1 << 20}) {
    // nop
  }

  // -- speaking to the worker -------------------------------------------------

  void say(const worker_request& x, std::uint64_t connection = 1) {
    perform(core.received(connection, encode(x)));
  }

  void perform(const worker_effects& effects) {
    for (auto& effect : effects) {
      if (auto* frame = std::get_if<send_frame>(&effect)) {
        auto reply = decode_reply(frame->frame);
        CAF_REQUIRE(reply);
        said.emplace_back(frame->connection, std::move(*reply));
      } else if (auto* gone = std::get_if<close_connection>(&effect)) {
        closed.push_back(gone->connection);
      } else {
        has_ended = true;
      }
    }
  }

  /// What was said next, which must be a `T`, and to whom.
  template <class T>
  T heard(std::uint64_t connection = 1) {
    CAF_REQUIRE(!said.empty());
    auto [to, reply] = said.front();
    said.pop_front();
    CAF_CHECK_EQUAL(to, connection);
    CAF_REQUIRE(std::holds_alternative<T>(reply));
    return std::get<T>(reply);
  }

  failure refused(std::uint64_t connection = 1) {
    return heard<worker_refusal>(connection).why;
  }

  worker_standing standing() {
    say(worker_status{});
    return heard<worker_standing>();
  }

  // -- running a script -------------------------------------------------------

  void hello(std::uint64_t connection = 1) {
    say(worker_hello{version}, connection);
    CAF_CHECK_EQUAL(heard<worker_greeting>(connection).nonce, "nonce");
  }

  worker_start start_of(const std::string& code) {
    session_spec spec;
    spec.code = code;
    spec.ctx = "{}";
    events = {{1, spawned_event{spec, "00112233445566778899aabbccddeeff", ""}}};
    return {{"s-1", events, {}, 0, {}}, settings};
  }

  /// Runs until the script waits or ends.
  void run() {
    for (int slices = 0; core.has_work(); ++slices) {
      CAF_REQUIRE(slices < 1'000);
      perform(core.advance());
    }
  }

  void start(const std::string& code) {
    hello();
    say(start_of(code));
    run();
  }

  strategy_step step() {
    return std::get<strategy_step>(heard<worker_report>().what);
  }

  void answer(std::vector<answered_event> answers) {
    say(worker_answer{std::move(answers)});
    run();
  }

  static answered_event to(const std::string& id, const std::string& text) {
    return {id, text, std::nullopt};
  }

  std::int64_t now = 1'000;
  strategy_settings settings;
  history events;
  worker_core core;
  std::deque<std::pair<std::uint64_t, worker_reply>> said;
  std::vector<std::uint64_t> closed;
  bool has_ended = false;
};

} // namespace

CAF_TEST_FIXTURE_SCOPE(worker_core_tests, fixture)

CAF_TEST(C08 a worker obeys nobody of another version but can be stopped) {
  say(worker_hello{"2.0.0"});
  failure why{errc::version_mismatch,
              "the worker is muster 1.0.0, the node is muster 2.0.0: it can "
              "only be stopped"};
  CAF_CHECK(refused() == why);
  for (auto& request : std::vector<worker_request>{
         worker_status{}, start_of("return 1"), worker_history{},
         worker_resolve{}, worker_answer{}, worker_committed{1}}) {
    say(request);
    CAF_CHECK_EQUAL(refused().code, errc::not_allowed);
  }
  CAF_CHECK(!core.has_work());
  CAF_CHECK(!core.is_attached());
  CAF_CHECK(!core.was_greeted());
  CAF_CHECK(!has_ended);
  say(worker_shutdown{});
  heard<worker_farewell>();
  CAF_CHECK(has_ended);
}

CAF_TEST(C08 a node of another version does not take a worker over) {
  hello();
  say(worker_hello{"2.0.0"}, 2);
  CAF_CHECK_EQUAL(refused(2).code, errc::version_mismatch);
  CAF_CHECK(closed.empty());
  CAF_CHECK(!standing().session_id);
}

CAF_TEST(C12 a worker runs one session only) {
  hello();
  CAF_CHECK(standing() == worker_standing{});
  say(start_of("return alc.llm('a')"));
  run();
  step();
  failure busy{errc::busy, "worker already has an active session"};
  say(start_of("return 2"));
  CAF_CHECK(refused() == busy);
  say(worker_history{events, {}});
  CAF_CHECK(refused() == busy);
  // Nothing has changed.
  CAF_CHECK_EQUAL(*standing().session_id, "s-1");
  answer({to("q-0", "b")});
  CAF_CHECK_EQUAL(std::get<done_event>(step().end).result, "\"b\"");
  // Nor does an end make room for another.
  say(start_of("return 2"));
  CAF_CHECK(refused() == busy);
}

CAF_TEST(a session runs to its end) {
  start("print('hi')"
        "local n = alc.state.get('n')"
        "local m = require('m')"
        "local a = alc.llm_batch({{prompt='x'},{prompt='y'}})"
        "alc.state.set('n', n + 1)"
        "return {n, m.v, a[1], a[2]}");
  auto report = heard<worker_report>();
  CAF_REQUIRE_EQUAL(report.logs.size(), 1u);
  CAF_CHECK_EQUAL(report.logs[0].message, "hi");
  CAF_CHECK_GREATER(report.memory_bytes, 1'000u);
  auto call = std::get<host_call>(report.what);
  CAF_CHECK(call == (host_call{host_call::kind::state_get, {"default", "n"}}));
  say(worker_resolve{{"41", 3, {}, {}}});
  run();
  call = std::get<host_call>(heard<worker_report>().what);
  CAF_CHECK_EQUAL(call.what, host_call::kind::module_source);
  CAF_CHECK_EQUAL(call.where.key, "m");
  say(worker_resolve{{"return {v = 5}", 0, "m.lua", {}}});
  run();
  auto pause = step();
  CAF_CHECK_EQUAL(pause.effects.size(), 2u);
  CAF_CHECK_EQUAL(std::get<paused_event>(pause.end).queries.size(), 2u);
  answer({to("q-0", "X"), to("q-1", "Y")});
  auto end = step();
  CAF_CHECK_EQUAL(std::get<done_event>(end.end).result, R"([41,5,"X","Y"])");
  CAF_REQUIRE_EQUAL(end.writes.size(), 1u);
  CAF_CHECK_EQUAL(*end.writes[0].value, "42");
  CAF_CHECK(said.empty());
  CAF_CHECK(!standing().at_rest);
}

CAF_TEST(a worker is at rest in a pause that is on disk) {
  start("alc.llm('a') os.time() alc.llm('b')");
  step();
  CAF_CHECK(standing() == (worker_standing{"s-1", 1, false}));
  say(worker_committed{2});
  CAF_CHECK(standing() == (worker_standing{"s-1", 2, true}));
  answer({to("q-0", "b")});
  // The answer is 3, the clock 4, the pause 5.
  step();
  CAF_CHECK(standing() == (worker_standing{"s-1", 2, false}));
  // That the answer is on disk says nothing of what it led to.
  say(worker_committed{3});
  CAF_CHECK(standing() == (worker_standing{"s-1", 3, false}));
  say(worker_committed{5});
  CAF_CHECK(standing() == (worker_standing{"s-1", 5, true}));
  CAF_CHECK(said.empty());
}

CAF_TEST(a worker that was handed an answer is not at rest) {
  start("return alc.llm_batch({{prompt='x'},{prompt='y'}})");
  step();
  say(worker_committed{2});
  say(worker_answer{{to("q-0", "X")}});
  heard<worker_taken>();
  CAF_CHECK(!standing().at_rest);
  say(worker_answer{{to("q-1", "Y")}});
  // Before the script runs.
  CAF_CHECK(core.has_work());
  CAF_CHECK(!standing().at_rest);
  run();
  CAF_CHECK_EQUAL(std::get<done_event>(step().end).result, R"(["X","Y"])");
}

CAF_TEST(a history that ends in a pause is restored and at rest) {
  start("return alc.llm(alc.llm('a'))");
  auto first = step();
  answer({to("q-0", "b")});
  auto second = step();
  auto past = events;
  past.push_back({2, std::get<paused_event>(first.end)});
  past.push_back({3, to("q-0", "b")});
  past.push_back({4, std::get<paused_event>(second.end)});
  fixture other;
  other.hello();
  other.say(worker_start{{"s-1", past, {}, 0, {}}, {}});
  CAF_CHECK(!other.standing().at_rest);
  other.run();
  auto report = other.heard<worker_report>();
  CAF_CHECK(std::holds_alternative<host_restored>(report.what));
  CAF_CHECK(other.standing() == (worker_standing{"s-1", 4, true}));
  other.answer({to("q-1", "c")});
  CAF_CHECK_EQUAL(std::get<done_event>(other.step().end).result, "\"c\"");
}

CAF_TEST(events behind a pause that was restored are counted) {
  start("alc.llm_batch({{prompt='x'},{prompt='y'}}) alc.llm('z')");
  auto past = events;
  past.push_back({2, std::get<paused_event>(step().end)});
  past.push_back({3, to("q-0", "X")});
  fixture other;
  other.hello();
  other.say(worker_start{{"s-1", past, {}, 0, {}}, {}});
  other.run();
  other.heard<worker_report>();
  CAF_CHECK(other.standing() == (worker_standing{"s-1", 3, true}));
  // One of the two is event 3 already, so the next pause is 5.
  other.answer({to("q-0", "X"), to("q-1", "Y")});
  other.step();
  other.say(worker_committed{4});
  CAF_CHECK(!other.standing().at_rest);
  other.say(worker_committed{5});
  CAF_CHECK(other.standing().at_rest);
}

CAF_TEST(a history may come in pieces) {
  hello();
  auto start = start_of("return #require('m')");
  for (int i = 0; i < 3; ++i)
    start.what.events.push_back(
      {2, effect_event{"none", "", std::string(500, 'x'), ""}});
  auto frames = start_frames(start, 1'100);
  CAF_REQUIRE(frames);
  CAF_REQUIRE_GREATER(frames->size(), 1u);
  for (std::size_t i = 0; i + 1 < frames->size(); ++i) {
    perform(core.received(1, (*frames)[i]));
    heard<worker_taken>();
  }
  perform(core.received(1, frames->back()));
  CAF_CHECK_EQUAL(standing().seq, 4u);
  // The script asks for something else than that history says.
  run();
  auto end = std::get<failed_event>(step().end);
  CAF_CHECK_EQUAL(end.kind, failure_kind::replay_diverged);
}

CAF_TEST(pieces of a history are limited and forgotten with their node) {
  hello();
  worker_history piece{
    {{1, effect_event{"x", "", std::string(60'000, 'x'), ""}}}, {}};
  int taken = 0;
  for (;; ++taken) {
    say(piece);
    if (!std::holds_alternative<worker_taken>(said.front().second))
      break;
    said.pop_front();
  }
  CAF_CHECK_EQUAL(refused().code, errc::too_large);
  CAF_CHECK_EQUAL(taken, (1 << 20) / 60'100);
  core.lost(1);
  hello(2);
  say(piece, 2);
  heard<worker_taken>(2);
  core.lost(2);
  hello(3);
  say(start_of("return 1"), 3);
  run();
  auto end = std::get<strategy_step>(heard<worker_report>(3).what).end;
  CAF_CHECK_EQUAL(std::get<done_event>(end).result, "1");
}

CAF_TEST(a history that begins with something else is refused) {
  hello();
  say(worker_start{{"s-1", {}, {}, 0, {}}, {}});
  CAF_CHECK_EQUAL(refused().code, errc::invalid_argument);
  say(worker_start{{"s-1", {{1, to("q-0", "x")}}, {}, 0, {}}, {}});
  CAF_CHECK_EQUAL(refused().code, errc::invalid_argument);
  CAF_CHECK(!standing().session_id);
}

CAF_TEST(what does not fit the state of the script is refused) {
  hello();
  for (auto& request : std::vector<worker_request>{
         worker_resolve{}, worker_answer{}, worker_committed{1}}) {
    say(request);
    CAF_CHECK_EQUAL(refused().code, errc::not_found);
  }
  say(start_of("alc.llm_batch({{prompt='x'},{prompt='y'}})"
               "alc.state.get('k') return 1"));
  // It has not even begun.
  say(worker_answer{{to("q-0", "x")}});
  CAF_CHECK_EQUAL(refused().code, errc::conflict);
  run();
  step();
  say(worker_resolve{});
  CAF_CHECK_EQUAL(refused().code, errc::conflict);
  for (auto& wrong : std::vector<std::vector<answered_event>>{
         {},
         {to("q-1", "x")},
         {to("q-1", "x"), to("q-0", "x")},
         {to("q-0", "x"), to("q-1", "x"), to("q-2", "x")}}) {
    say(worker_answer{wrong});
    CAF_CHECK_EQUAL(refused().code, errc::invalid_argument);
  }
  CAF_CHECK(!core.has_work());
  answer({to("q-0", "x"), to("q-1", "x")});
  heard<worker_report>();
  say(worker_answer{{to("q-0", "x")}});
  CAF_CHECK_EQUAL(refused().code, errc::conflict);
  say(worker_resolve{});
  run();
  CAF_CHECK_EQUAL(std::get<done_event>(step().end).result, "1");
  perform(core.received(1, "{\"op\":"));
  CAF_CHECK_EQUAL(refused().code, errc::invalid_argument);
}

CAF_TEST(a node that comes back takes the worker over) {
  start("return alc.llm('a')");
  step();
  say(worker_committed{2});
  say(worker_hello{version}, 2);
  auto greeting = heard<worker_greeting>(2);
  CAF_CHECK(greeting.standing == (worker_standing{"s-1", 2, true}));
  CAF_CHECK(closed == std::vector<std::uint64_t>{1});
  // The old one is obeyed no more, and its end changes nothing.
  say(worker_status{}, 1);
  CAF_CHECK_EQUAL(refused(1).code, errc::not_allowed);
  core.lost(1);
  CAF_CHECK_EQUAL(core.attached(), 2u);
  say(worker_answer{{to("q-0", "b")}}, 2);
  run();
  heard<worker_report>(2);
}

CAF_TEST(what was reported to nobody is not said again) {
  start("return alc.llm('a')");
  step();
  say(worker_committed{2});
  say(worker_answer{{to("q-0", "b")}});
  core.lost(1);
  run();
  CAF_CHECK(said.empty());
  say(worker_hello{version}, 2);
  CAF_CHECK(!heard<worker_greeting>(2).standing.at_rest);
  run();
  CAF_CHECK(said.empty());
}

CAF_TEST(a script that runs is said to run) {
  hello();
  perform(core.beat());
  CAF_CHECK(said.empty());
  say(start_of("while true do end"));
  perform(core.beat());
  heard<worker_working>();
  for (int i = 0; i < 3; ++i)
    perform(core.advance());
  perform(core.beat());
  heard<worker_working>();
  auto orders = core.begin_slice();
  CAF_CHECK(!core.has_work());
  perform(core.beat());
  heard<worker_working>();
  CAF_CHECK(!standing().at_rest);
  core.lost(1);
  perform(core.beat());
  CAF_CHECK(said.empty());
}

CAF_TEST(a script that says more than fits into a frame fails) {
  start("alc.llm(('x'):rep(70000))");
  auto end = std::get<failed_event>(step().end);
  CAF_CHECK_EQUAL(end.kind, failure_kind::limit_exceeded);
  CAF_CHECK(end.message.find("more than the 65536 that a worker can tell")
            != std::string::npos);
  say(worker_committed{2});
  CAF_CHECK(!standing().at_rest);
  say(worker_answer{{to("q-0", "x")}});
  CAF_CHECK_EQUAL(refused().code, errc::conflict);
}

CAF_TEST(a script over its limit of memory fails and its worker goes on) {
  settings.max_memory_bytes = 1 << 20;
  start("local s = 'x' while true do s = s .. s end");
  auto end = std::get<failed_event>(step().end);
  CAF_CHECK_EQUAL(end.kind, failure_kind::limit_exceeded);
  CAF_CHECK_EQUAL(*standing().session_id, "s-1");
}

CAF_TEST_FIXTURE_SCOPE_END()
