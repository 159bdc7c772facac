// SPDX-License-Identifier: Apache-2.0

#define CAF_SUITE pool.worker_protocol

#include "actors/pool/worker_protocol.hpp"

#include "tests/support/suite.hpp"

#include "messages/json.hpp"

#include <algorithm>
#include <fstream>
#include <random>
#include <set>

using namespace muster;

namespace {

/// What documentation shows, one frame a line.
std::vector<std::string> known_frames() {
  std::vector<std::string> out;
  std::ifstream in{MUSTER_TEST_DIR "/pool/frames.jsonl"};
  for (std::string line; std::getline(in, line);)
    out.push_back(line);
  return out;
}

bool is_request(std::string_view frame) {
  return frame.find("\"op\":") != std::string_view::npos;
}

/// Reads a frame and writes it again; what is wrong with it otherwise.
std::string again(const std::string& frame) {
  if (is_request(frame)) {
    auto read = decode_request(frame);
    return read ? encode(*read) : read.error().message;
  }
  auto read = decode_reply(frame);
  return read ? encode(*read) : read.error().message;
}

template <class T>
T sent(const T& x) {
  if constexpr (std::is_constructible_v<worker_request, T>)
    return std::get<T>(decode_request(encode(worker_request{x})).value());
  else
    return std::get<T>(decode_reply(encode(worker_reply{x})).value());
}

history some_events() {
  session_spec spec;
  spec.code = "return \"ü\\n\"";
  spec.name = "plan.lua";
  spec.ctx = R"({"task":"x"})";
  spec.packages = {"/a", "/b"};
  spec.isolation = session_isolation::worker;
  query q{"q-0", "p\t\"ä\"", "sys", 77, true, true};
  query plain{"q-1", "p", std::nullopt, 1024, false, false};
  return {{5, spawned_event{spec, "5eed", "muster"}},
          {6, effect_event{"clock", "wall", "17", ""}},
          {7, effect_event{"state_write", "ab", "", "refused"}},
          {8, paused_event{{q, plain}, "d1", "{\"n\":1}", "{\"step\":1}"}},
          {9, answered_event{"q-0", "yes", token_usage{3, std::nullopt}}},
          {10, answered_event{"q-1", std::string(300, 'n'), std::nullopt}}};
}

/// No setting has the same value as another, or as by default.
strategy_settings some_settings() {
  return {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, {"/x", "/y"}};
}

worker_start some_start() {
  return {{"s-1",
           some_events(),
           {{"aa", "return 1"}, {"bb", "-- \xE4\xFF"}},
           12,
           {{"default", "k"}, {"other", "l"}}},
          some_settings()};
}

void check_sources(const std::vector<source_text>& x,
                   const std::vector<source_text>& y) {
  CAF_REQUIRE_EQUAL(x.size(), y.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    CAF_CHECK_EQUAL(x[i].hash, y[i].hash);
    CAF_CHECK_EQUAL(x[i].text, y[i].text);
  }
}

/// Every object of a frame gets a field that nobody knows, but for the one that
/// clients write.
void add_unknown(json& x) {
  for (auto& item : x)
    if (item.is_structured())
      add_unknown(item);
  if (x.is_object() && !x.contains("prompt_tokens"))
    x["future"] = {{"a", json::array({1, nullptr})}};
}

} // namespace

CAF_TEST(every kind of frame is known and reads back as it was written) {
  std::set<std::size_t> requests, replies;
  for (auto& frame : known_frames()) {
    CAF_CHECK_EQUAL(again(frame), frame);
    if (is_request(frame))
      requests.insert(decode_request(frame)->index());
    else
      replies.insert(decode_reply(frame)->index());
  }
  CAF_CHECK_EQUAL(requests.size(), std::variant_size_v<worker_request>);
  CAF_CHECK_EQUAL(replies.size(), std::variant_size_v<worker_reply>);
}

CAF_TEST(requests arrive with every field) {
  CAF_CHECK_EQUAL(sent(worker_hello{"1.2.3"}).version, "1.2.3");
  auto start = sent(some_start());
  auto wanted = some_start();
  CAF_CHECK_EQUAL(start.what.session_id, "s-1");
  CAF_CHECK(start.what.events == wanted.what.events);
  check_sources(start.what.sources, wanted.what.sources);
  CAF_CHECK_EQUAL(start.what.log_lines, 12u);
  CAF_CHECK(start.what.contended == wanted.what.contended);
  auto& x = start.settings;
  auto numbers = std::vector<std::uint64_t>{
    x.slice_instructions, x.max_instructions, x.max_unyielding,
    x.max_crashes,        x.max_memory_bytes, x.max_queries,
    x.max_prompt_bytes,   x.max_result_bytes, x.max_effects,
    x.max_effect_bytes,   x.max_state_bytes,  x.max_stats_bytes,
    x.max_source_bytes,   x.max_log_lines,    x.max_log_line_bytes};
  for (std::size_t i = 0; i < numbers.size(); ++i)
    CAF_CHECK_EQUAL(numbers[i], i + 1);
  CAF_CHECK(x.packages == wanted.settings.packages);
  auto piece = sent(worker_history{some_events(), {{"aa", "x"}}});
  CAF_CHECK(piece.events == some_events());
  check_sources(piece.sources, {{"aa", "x"}});
  for (auto& result :
       {host_result{"text", 3, "a/b.lua", "why"},
        host_result{std::nullopt, 0, {}, {}}, host_result{"", 1, {}, {}},
        host_result{"\xFF\n", 2, {}, {}}})
    CAF_CHECK(sent(worker_resolve{result}).result == result);
  std::vector<answered_event> answers{{"q-3", "a", token_usage{1, 2}},
                                      {"q-4", "", std::nullopt}};
  CAF_CHECK(sent(worker_answer{answers}).answers == answers);
  CAF_CHECK_EQUAL(sent(worker_committed{~0ull}).seq, ~0ull);
  sent(worker_status{});
  sent(worker_shutdown{});
}

CAF_TEST(replies arrive with every field) {
  worker_standing standing{"s-1", 17, true};
  CAF_CHECK(sent(standing) == standing);
  CAF_CHECK(sent(worker_standing{}) == worker_standing{});
  auto greeting = sent(worker_greeting{"1.2.3", "n", standing, "seccomp"});
  CAF_CHECK_EQUAL(greeting.version, "1.2.3");
  CAF_CHECK_EQUAL(greeting.nonce, "n");
  CAF_CHECK(greeting.standing == standing);
  CAF_CHECK_EQUAL(greeting.confinement, "seccomp");
  std::vector<log_line> logs{{1, -5, "info", "print", "ä"},
                             {2, 6, "warn", "log", "b"}};
  for (auto kind : {host_call::kind::state_get, host_call::kind::state_keys,
                    host_call::kind::module_source}) {
    auto report = sent(worker_report{host_call{kind, {"s", "k"}}, logs, 9});
    CAF_CHECK(std::get<host_call>(report.what)
              == (host_call{kind, {"s", "k"}}));
    CAF_CHECK(report.logs == logs);
    CAF_CHECK_EQUAL(report.memory_bytes, 9u);
  }
  auto restored = sent(worker_report{host_restored{}, logs, 8});
  CAF_CHECK(std::holds_alternative<host_restored>(restored.what));
  sent(worker_taken{});
  sent(worker_working{});
  sent(worker_farewell{});
  for (auto& known : all_errors()) {
    failure why{known.code, "because \"of\" it"};
    CAF_CHECK(sent(worker_refusal{why}).why == why);
  }
}

CAF_TEST(a step arrives with every field) {
  auto events = some_events();
  strategy_step step;
  step.effects = {std::get<effect_event>(events[1].body),
                  std::get<effect_event>(events[2].body)};
  step.writes = {{{"s", "k"}, "1"}, {{"s", "gone"}, std::nullopt}};
  step.expectations = {{{"s", "k"}, 0}, {{"t", "l"}, 44}};
  step.sources = {{"aa", "one"}, {"bb", "\xFF"}};
  std::vector<decltype(step.end)> ends{
    std::get<paused_event>(events[3].body), done_event{"{\"a\":1}", "d", "{}"},
    failed_event{"why", failure_kind::limit_exceeded, "d", "{}"}};
  for (auto& end : ends) {
    step.end = end;
    auto report = sent(worker_report{step, {}, 0});
    auto& read = std::get<strategy_step>(report.what);
    CAF_CHECK(read.effects == step.effects);
    CAF_CHECK(read.end == end);
    check_sources(read.sources, step.sources);
    CAF_REQUIRE_EQUAL(read.writes.size(), 2u);
    CAF_REQUIRE_EQUAL(read.expectations.size(), 2u);
    for (std::size_t i = 0; i < 2; ++i) {
      CAF_CHECK(read.writes[i].where == step.writes[i].where);
      CAF_CHECK(read.writes[i].value == step.writes[i].value);
      CAF_CHECK(read.expectations[i].where == step.expectations[i].where);
      CAF_CHECK_EQUAL(read.expectations[i].version,
                      step.expectations[i].version);
    }
  }
}

CAF_TEST(fields that are not known are left alone) {
  for (auto& frame : known_frames()) {
    auto more = json::parse(frame);
    add_unknown(more);
    CAF_CHECK_EQUAL(again(more.dump()), frame);
  }
}

CAF_TEST(a field that is missing is named) {
  // These may be absent.
  const std::set<std::string> optional{"code", "text"};
  for (auto& frame : known_frames()) {
    auto whole = json::parse(frame);
    auto is_reply = whole.contains("ok");
    auto part = is_reply && whole["ok"] == true ? "/data"_json_pointer
                                                : ""_json_pointer;
    for (auto& [key, value] : whole[part].items()) {
      if (value.is_null() || optional.contains(key) || key == "op"
          || (is_reply && key == "session_id"))
        continue;
      auto less = whole;
      less[part].erase(key);
      CAF_CHECK_NOT_EQUAL(again(less.dump()).find("'" + key + "' is missing"),
                          std::string::npos);
    }
  }
}

CAF_TEST(what is no frame is refused with its cause) {
  using row = std::pair<const char*, const char*>;
  for (auto& [frame, why] : {
         row{"", "request is not JSON: it breaks at byte 1"},
         row{"{\"op\":", "request is not JSON: it breaks at byte 7"},
         row{"[]", "malformed request: 'request' must be an object, not an "
                   "array"},
         row{"{}", "malformed request: 'op' is missing"},
         row{R"({"op":1})", "malformed request: 'op' must be a string, not a "
                            "number"},
         row{R"({"op":"dance"})", "malformed request: there is no op 'dance'"},
         row{R"({"op":"committed","seq":-1})",
             "malformed request: 'seq' must be a number without a sign, not a "
             "number"},
         row{R"({"op":"committed","seq":1.5})",
             "malformed request: 'seq' must be a number without a sign, not a "
             "number"},
         row{R"({"op":"resolve","hex":"f","version":0})",
             "malformed request: 'hex' must have pairs of hexadecimal digits"},
         row{R"({"op":"answer","events":{}})",
             "malformed request: 'events' must be a list, not an object"},
         row{
           R"({"op":"answer","events":[{"at":0,"event":"effect","kind":"x"}]})",
           "malformed request: 'events' must hold none but of the kind "
           "'answered'"},
         row{R"({"op":"history","code":"x","events":[],"sources":[]})",
             "malformed request: 'code' stands beside no event that has one"},
       }) {
    auto read = decode_request(frame);
    CAF_REQUIRE(!read);
    CAF_CHECK_EQUAL(read.error().code, errc::invalid_argument);
    CAF_CHECK_EQUAL(read.error().message, why);
  }
  for (auto& [frame, why] : {
         row{R"({"ok":false,"error":{"code":"odd","message":""}})",
             "malformed reply: 'code' cannot be 'odd'"},
         row{R"({"ok":true,"data":{"kind":"odd"}})",
             "malformed reply: there is no reply of the kind 'odd'"},
         row{R"({"ok":true,"data":{"kind":"step","events":[]}})",
             "malformed reply: 'events' must say where the step ends"},
         row{R"({"ok":true,"data":{"kind":"call","what":"odd"}})",
             "malformed reply: 'what' cannot be 'odd'"},
       }) {
    auto read = decode_reply(frame);
    CAF_REQUIRE(!read);
    CAF_CHECK_EQUAL(read.error().message, why);
  }
}

CAF_TEST(no bytes whatever make a reader throw) {
  std::mt19937 random{4'711};
  auto frames = known_frames();
  frames.push_back("");
  for (int i = 0; i < 20'000; ++i) {
    auto frame = frames[random() % frames.size()];
    for (auto changes = random() % 8; changes-- > 0;) {
      auto at = random() % (frame.size() + 1);
      auto byte = static_cast<char>(
        random() % 2 == 0 ? random() : R"({}[]",:0-9.etfn\u)"[random() % 17]);
      switch (random() % 3) {
        case 0:
          frame.insert(at, 1, byte);
          break;
        case 1:
          frame.erase(at, random() % 20);
          break;
        default:
          if (at < frame.size())
            frame[at] = byte;
      }
    }
    std::ignore = decode_request(frame);
    std::ignore = decode_reply(frame);
  }
  // As deep as a frame goes.
  std::ignore = decode_request(std::string(1'000'000, '['));
}

CAF_TEST(a start of any size travels in frames of any size) {
  auto start = some_start();
  for (int i = 0; i < 40; ++i)
    start.what.events.push_back(
      {20 + i, effect_event{"state_get", "x", std::string(i * 7, '"'), ""}});
  for (int i = 0; i < 9; ++i)
    start.what.sources.push_back({"cc", std::string(i * 90, 's')});
  std::set<std::size_t> counts;
  for (std::size_t limit : {1'200, 2'000, 5'000, 100'000}) {
    auto frames = start_frames(start, limit);
    CAF_REQUIRE(frames);
    counts.insert(frames->size());
    worker_history all;
    for (auto& frame : *frames) {
      CAF_CHECK_LESS_OR_EQUAL(frame.size(), limit);
      auto read = decode_request(frame);
      CAF_REQUIRE(read);
      auto is_last = &frame == &frames->back();
      CAF_CHECK_EQUAL(std::holds_alternative<worker_start>(*read), is_last);
      auto* piece = std::get_if<worker_history>(&*read);
      auto& events
        = piece ? piece->events : std::get<worker_start>(*read).what.events;
      auto& sources
        = piece ? piece->sources : std::get<worker_start>(*read).what.sources;
      all.events.insert(all.events.end(), events.begin(), events.end());
      all.sources.insert(all.sources.end(), sources.begin(), sources.end());
    }
    CAF_CHECK(all.events == start.what.events);
    check_sources(all.sources, start.what.sources);
  }
  CAF_CHECK_EQUAL(counts.size(), 4u);
  CAF_CHECK_EQUAL(*counts.begin(), 1u);
  CAF_CHECK_EQUAL(start_frames(start, 100'000)->front(),
                  encode(worker_request{start}));
  for (std::size_t limit : {0, 200, 500}) {
    auto frames = start_frames(start, limit);
    CAF_REQUIRE(!frames);
    CAF_CHECK_EQUAL(frames.error().code, errc::too_large);
  }
}

CAF_TEST(answers of any size travel in frames of any size) {
  std::vector<answered_event> answers;
  for (int i = 0; i < 20; ++i)
    answers.push_back(
      {"q-" + std::to_string(i), std::string(i * 10, 'a'), std::nullopt});
  for (std::size_t limit : {500, 1'000, 100'000}) {
    auto frames = answer_frames(answers, limit);
    CAF_REQUIRE(frames);
    std::vector<answered_event> all;
    for (auto& frame : *frames) {
      CAF_CHECK_LESS_OR_EQUAL(frame.size(), limit);
      auto read = decode_request(frame);
      CAF_REQUIRE(read);
      auto& piece = std::get<worker_answer>(*read).answers;
      CAF_CHECK(!piece.empty());
      all.insert(all.end(), piece.begin(), piece.end());
    }
    CAF_CHECK(all == answers);
  }
  CAF_CHECK_EQUAL(answer_frames(answers, 200).error().code, errc::too_large);
}
