// SPDX-License-Identifier: Apache-2.0

#define CAF_SUITE messages.json

#include "messages/json.hpp"

#include "tests/support/suite.hpp"

#include "messages/history.hpp"
#include "messages/session_json.hpp"
#include "messages/tokens.hpp"

#include <random>

using namespace muster;

namespace {

session_view paused_view(std::vector<query> queries) {
  session_view view;
  view.session_id = "s-1";
  view.phase = session_phase::paused;
  view.asked = queries.size();
  view.queries = std::move(queries);
  view.since_ms = 7;
  return view;
}

query make_query(std::string id, std::string prompt) {
  query q;
  q.id = std::move(id);
  q.prompt = std::move(prompt);
  return q;
}

} // namespace

// -- texts --------------------------------------------------------------------

CAF_TEST(UTF8 is told from other bytes) {
  for (auto* text : {"", "plain", "\xC3\xA4", "\xE2\x82\xAC",
                     "\xF0\x9F\x98\x80", "\xEF\xBF\xBF", "\xF4\x8F\xBF\xBF"})
    CAF_CHECK(is_utf8(text));
  for (auto* text : {"\x80", "\xC3", "\xC0\x80", "\xC1\xBF", "\xE0\x80\x80",
                     "\xED\xA0\x80", "\xF0\x80\x80\x80", "\xF4\x90\x80\x80",
                     "\xF5\x80\x80\x80", "\xFF", "a\xE2\x82z"})
    CAF_CHECK(!is_utf8(text));
  CAF_CHECK(is_utf8(std::string_view{"a\0b", 3}));
}

CAF_TEST(a text is quoted as the library quotes it) {
  std::mt19937_64 random{7};
  std::vector<std::string> pieces{"plain", "\"",     "\\",     "/",
                                  "\n",    "\t",     "\x01",   "\x1f",
                                  "\x7f",  "\u00e9", "\u20ac", "\U0001F600"};
  pieces.emplace_back(1, '\0');
  for (int i = 0; i < 2'000; ++i) {
    std::string text;
    for (auto n = random() % 20; n > 0; --n)
      text += pieces[random() % pieces.size()];
    std::string quoted;
    append_quoted(quoted, text);
    CAF_REQUIRE_EQUAL(json::parse(quoted).get<std::string>(), text);
    CAF_CHECK(quoted.find_first_of("\n\x01") == std::string::npos);
  }
}

CAF_TEST(what is no text is not quoted) {
  for (std::string text : {"\xff", "a\xc3", "12345678\x80", "\xed\xa0\x80"}) {
    std::string quoted;
    bool refused = false;
    try {
      append_quoted(quoted, text);
    } catch (const std::invalid_argument&) {
      refused = true;
    }
    CAF_CHECK(refused);
  }
}

CAF_TEST(a preview never cuts a character) {
  std::string kana = "\xE3\x81\x82\xE3\x81\x84\xE3\x81\x86";
  CAF_CHECK_EQUAL(utf8_prefix(kana, 2), kana.substr(0, 6));
  CAF_CHECK_EQUAL(utf8_prefix(kana, 9), kana);
  CAF_CHECK_EQUAL(utf8_prefix(kana, 0), "");
}

CAF_TEST(text that is no JSON is refused with the place) {
  auto broken = parse_json("{\"a\": }", "the ctx");
  CAF_REQUIRE(!broken);
  CAF_CHECK_EQUAL(broken.error().code, errc::invalid_argument);
  CAF_CHECK_EQUAL(broken.error().message,
                  "the ctx is not JSON: it breaks at byte 7");
  CAF_CHECK(!parse_json("1e999", "x"));
  CAF_CHECK(!parse_json("[1] 2", "x"));
  CAF_CHECK(!parse_json("\"\xff\"", "x"));
  CAF_CHECK(parse_json(" [1, null] ", "x"));
}

CAF_TEST(tokens are estimated from ASCII and other characters) {
  CAF_CHECK_EQUAL(estimate_tokens(""), 0u);
  CAF_CHECK_EQUAL(estimate_tokens("hello world"), 3u);
  CAF_CHECK_EQUAL(estimate_tokens("\xE3\x81\x82\xE3\x81\x84\xE3\x81\x86"), 2u);
  CAF_CHECK_EQUAL(estimate_tokens("abcd\xE3\x81\x82"), 2u);
}

// -- the shapes ---------------------------------------------------------------

CAF_TEST(a single query is shown flat and several as a list) {
  auto one = event_json(paused_view({make_query("q-3", "why?")}));
  CAF_CHECK_EQUAL(one, json::parse(R"({"session_id":"s-1",
    "status":"needs_response","query_id":"q-3","prompt":"why?","system":null,
    "max_tokens":1024})"));
  auto q = make_query("q-4", "how?");
  q.system = "s";
  q.grounded = true;
  auto two = event_json(paused_view({make_query("q-3", "why?"), q}));
  CAF_CHECK_EQUAL(two, json::parse(R"({"session_id":"s-1",
    "status":"needs_response","queries":[
      {"id":"q-3","prompt":"why?","system":null,"max_tokens":1024},
      {"id":"q-4","prompt":"how?","system":"s","max_tokens":1024,
       "grounded":true}]})"));
}

CAF_TEST(a batch with answers missing is accepted and one without goes on) {
  feed_reply reply;
  reply.session = paused_view({make_query("q-1", "b")});
  reply.session.asked = 3;
  CAF_CHECK_EQUAL(feed_json(reply), json::parse(R"({"session_id":"s-1",
    "status":"accepted","remaining":1})"));
  reply.session.asked = 1;
  CAF_CHECK_EQUAL(feed_json(reply)["status"], "needs_response");
}

CAF_TEST(every end has its shape) {
  session_view view;
  view.session_id = "s-1";
  view.stats = R"({"auto":{},"custom":{}})";
  view.phase = session_phase::done;
  view.result = "[1]";
  CAF_CHECK_EQUAL(event_json(view), json::parse(R"({"session_id":"s-1",
    "status":"completed","result":[1],"stats":{"auto":{},"custom":{}}})"));
  view.phase = session_phase::failed;
  view.error = "oh";
  CAF_CHECK_EQUAL(event_json(view), json::parse(R"({"session_id":"s-1",
    "status":"error","error":"oh","kind":"lua_error"})"));
  view.phase = session_phase::cancelled;
  view.reason = {cancel_code::timeout, std::nullopt, 5};
  CAF_CHECK_EQUAL(event_json(view), json::parse(R"({"session_id":"s-1",
    "status":"cancelled","stats":{"auto":{},"custom":{}},
    "reason":{"code":"timeout","detail":null,"requested_at":5}})"));
  view.phase = session_phase::running;
  CAF_CHECK_EQUAL(event_json(view)["status"], "running");
}

CAF_TEST(a state has the fields of its phase) {
  auto view = paused_view({make_query("q-0", "hi")});
  CAF_CHECK_EQUAL(state_json(view), json::parse(R"({"kind":"single",
    "paused_at":7,"state":"paused","prompts":[{"prompt":"hi",
    "query_id":"q-0","system":null,"max_tokens":1024}]})"));
  view.asked = 2;
  CAF_CHECK_EQUAL(state_json(view)["kind"], "batch");
  view.phase = session_phase::running;
  CAF_CHECK_EQUAL(state_json(view), json::parse(R"({"state":"running"})"));
  view.phase = session_phase::done;
  view.result = "42";
  CAF_CHECK_EQUAL(state_json(view), json::parse(R"({"state":"done",
    "value":42,"usage":null,"finished_at":7})"));
  view.phase = session_phase::failed;
  view.error = "x";
  CAF_CHECK_EQUAL(state_json(view), json::parse(R"({"state":"failed",
    "message":"x","kind":"lua_error","occurred_at":7})"));
  view.phase = session_phase::cancelled;
  view.phase_before = session_phase::paused;
  CAF_CHECK_EQUAL(state_json(view)["state_before"]["state"], "paused");
  CAF_CHECK_EQUAL(state_json(view)["observed_at"], 7);
}

CAF_TEST(a filter is a preset or an object and nothing else) {
  CAF_CHECK(pending_filter_from("meta", 200)->query_id);
  CAF_CHECK_EQUAL(pending_filter_from("preview", 17)->preview_chars, 17u);
  CAF_CHECK_EQUAL(pending_filter_from("full", 200)->prompt, prompt_mode::full);
  auto custom = pending_filter_from(
    json::parse(R"({"query_id":true,"prompt":{"mode":"preview","chars":5}})"),
    200);
  CAF_REQUIRE(custom);
  CAF_CHECK_EQUAL(custom->preview_chars, 5u);
  CAF_CHECK(!custom->system);
  CAF_CHECK_EQUAL(*pending_filter_from(json::object(), 200), pending_filter{});
  auto message = [](const json& value) {
    auto filter = pending_filter_from(value, 200);
    CAF_REQUIRE(!filter);
    CAF_CHECK_EQUAL(filter.error().code, errc::invalid_argument);
    return filter.error().message;
  };
  CAF_CHECK_EQUAL(message("META"),
                  "unknown pending_filter preset 'META' (valid: \"meta\" | "
                  "\"preview\" | \"full\")");
  CAF_CHECK_EQUAL(message(3), "pending_filter must be a preset name (string) "
                              "or filter object, got a number");
  for (auto* text : {R"({"promt":{}})", R"({"query_id":1})",
                     R"({"prompt":"full"})", R"({"prompt":{"mode":"loud"}})",
                     R"({"prompt":{"mode":"full","chars":-1}})"})
    CAF_CHECK_EQUAL(message(json::parse(text))
                      .find("invalid pending_filter "
                            "object"),
                    0u);
}

CAF_TEST(a usage is two whole numbers) {
  auto usage = usage_from(json::parse(R"({"prompt_tokens":3})"));
  CAF_REQUIRE(usage);
  CAF_CHECK_EQUAL(*usage->prompt_tokens, 3u);
  CAF_CHECK(!usage->completion_tokens);
  for (auto* text :
       {"[]", "3", R"({"prompt_tokens":-1})", R"({"prompt_tokens":"3"})",
        R"({"tokens":3})", R"({"prompt_tokens":1.5})"})
    CAF_CHECK(!usage_from(json::parse(text)));
}

// -- histories ----------------------------------------------------------------

CAF_TEST(a history is read as it was written) {
  session_spec spec;
  spec.code = "return 1";
  spec.name = "a.lua";
  spec.ctx = "{\"x\": 1.50}";
  spec.packages = {"/p"};
  session_spec advice;
  advice.kind = session_kind::advice;
  advice.strategy = "cot";
  advice.task = "";
  auto q = make_query("q-0", "p\n\"\xC3\xA4");
  q.system = "";
  q.grounded = q.underspecified = true;
  q.max_tokens = 1;
  history events{
    {1, spawned_event{spec, "00", "v"}},
    {2, spawned_event{advice, "01", "v"}},
    {3, effect_event{"clock", "wall", "17", ""}},
    {4, effect_event{"source", "h", "", "no"}},
    {5, paused_event{{q}, "digest", "{}", "[1]"}},
    {6, answered_event{"q-0", "", std::nullopt}},
    {7, answered_event{"q-1", "x", token_usage{1, std::nullopt}}},
    {8, done_event{"{\"a\":1.0}", "d", ""}},
    {9, failed_event{"m", failure_kind::replay_diverged, "d", "s"}},
    {10, cancelled_event{{cancel_code::parent_dropped, "why", 5}}},
    {11, cancelled_event{{cancel_code::internal, std::nullopt, 0}}},
  };
  std::string hash;
  auto text = encode_history(events, "abc");
  auto read = decode_history(text, hash);
  CAF_REQUIRE(read);
  CAF_CHECK_EQUAL(encode_history(*read, "abc"), text);
  // The text of the script stands elsewhere, under its hash.
  std::get<spawned_event>(events[0].body).spec.code.clear();
  CAF_CHECK(*read == events);
  CAF_CHECK(text.find("return 1") == std::string::npos);
}

CAF_TEST(a damaged history is an error that says where) {
  std::string hash;
  auto good = encode_history(
    {{1, answered_event{"q-0", "x", {}}}, {2, done_event{"1", "d", ""}}}, "");
  for (std::size_t n = 0; n < good.size(); ++n) {
    auto cut = decode_history(good.substr(0, n), hash);
    CAF_REQUIRE(!cut);
    CAF_CHECK_EQUAL(cut.error().code, errc::registry_corrupted);
  }
  for (auto* text : {"{}x", "3", "[3]", "[{}]", R"([{"event":"done"}])",
                     R"([{"event":"paused","at":1,"digest":"d","queries":3}])",
                     R"([{"event":"answered","at":"soon"}])"})
    CAF_CHECK(!decode_history(text, hash));
}
