// SPDX-License-Identifier: Apache-2.0

#define CAF_SUITE pod.document

#include "actors/pod/pod_document.hpp"

#include "tests/support/suite.hpp"

#include <string>
#include <string_view>
#include <tuple>
#include <vector>

using namespace muster;

namespace {

/// What is on disk, byte by byte.
constexpr std::string_view golden = R"({"format":1,
"pods":[
{"class":"protocol","created_at":"2026-01-02T03:04:05Z","cwd":"/srv/src","id":"one.0badcafe","name":"one","ready":false,"sandbox":"required"},
{"class":"plain","command":["/bin/cat","-"],"created_at":"2026-01-02T03:04:06Z","cursors":{"me":{"offset":17,"segment":2}},"cwd":"/srv","enforced":"landlock 7","id":"two.00000001","last_error":"broken","last_event":4,"last_notice":9,"name":"two","notices":[{"id":9,"kind":"errored","message":"no","pod_name":"one"}],"process":{"boot_id":"b","pid":42,"start_ticks":7},"ready":true,"request_id":"once-1","sandbox":"best-effort","turns":3}],
"ended":[
{"class":"protocol","created_at":"2026-01-02T03:04:05Z","cwd":"/srv","end":"ended with exit code 0","ended_at":"2026-01-02T03:05:00Z","id":"old.12345678","lender":"operator","name":"old","ready":true,"reclaimed":[{"permission":"write","recursive":true,"target":"/srv/old"}],"sandbox":"off"}],
"scopes":{"allocations":[],"loans":[]},
"note":{"kept":true}}
)";

expected<pod_document> read(std::string_view text) {
  return read_pod_document(text, "pods.json");
}

/// What a node would write of it.
std::string rewrite(const pod_document& x) {
  std::vector<std::string> texts;
  for (auto& record : x.pods)
    texts.push_back(render(record));
  for (auto& broken : x.broken)
    texts.push_back(broken.entry.dump());
  std::vector<std::string> old;
  for (auto& ended : x.ended)
    old.push_back(render(ended));
  return render_pods(x.others, x.scopes, {texts.begin(), texts.end()},
                     {old.begin(), old.end()});
}

/// The document with something done to it.
template <class F>
std::string changed(F f) {
  auto value = json::parse(golden);
  f(value);
  return value.dump();
}

/// A document of one pod.
template <class F>
std::string changed_pod(F f) {
  return changed([&](json& x) {
    x["pods"].erase(0);
    f(x["pods"][0]);
  });
}

} // namespace

CAF_TEST(a document is read and written as it stands on disk) {
  auto x = read(golden);
  CAF_REQUIRE(x);
  CAF_CHECK(x->broken.empty());
  CAF_REQUIRE_EQUAL(x->pods.size(), 2u);
  auto& one = x->pods[0];
  CAF_CHECK_EQUAL(one.id, "one.0badcafe");
  CAF_CHECK_EQUAL(one.name, "one");
  CAF_CHECK_EQUAL(one.cwd, "/srv/src");
  CAF_CHECK(!one.who);
  CAF_CHECK(!one.was_ready);
  auto& two = x->pods[1];
  CAF_CHECK(two.kind == pod_class::plain);
  CAF_CHECK(two.sandbox == sandbox_mode::best_effort);
  CAF_CHECK_EQUAL(two.enforced, "landlock 7");
  CAF_CHECK(two.command == (std::vector<std::string>{"/bin/cat", "-"}));
  CAF_CHECK_EQUAL(two.request_id, "once-1");
  CAF_CHECK(two.who == (process_identity{42, 7, "b"}));
  CAF_CHECK(two.was_ready);
  CAF_CHECK_EQUAL(two.turns, 3u);
  CAF_CHECK_EQUAL(two.last_event, 4u);
  CAF_CHECK_EQUAL(two.last_error, "broken");
  CAF_CHECK(two.cursors.at("me") == (output_cursor{2, 17}));
  CAF_REQUIRE_EQUAL(two.notices.size(), 1u);
  CAF_CHECK(two.notices[0] == (pod_notice{9, "errored", "one", "no"}));
  CAF_CHECK_EQUAL(two.last_notice, 9u);
  CAF_REQUIRE_EQUAL(x->ended.size(), 1u);
  auto& old = x->ended[0];
  CAF_CHECK_EQUAL(old.record.id, "old.12345678");
  CAF_CHECK(old.record.sandbox == sandbox_mode::off);
  CAF_CHECK_EQUAL(old.lender, "operator");
  CAF_CHECK_EQUAL(old.end, "ended with exit code 0");
  CAF_CHECK_EQUAL(old.ended_at, "2026-01-02T03:05:00Z");
  CAF_CHECK(
    old.reclaimed
    == (std::vector<scope_rule>{{"/srv/old", permission::write, true}}));
  CAF_CHECK_EQUAL(rewrite(*x), golden);
}

CAF_TEST(an empty document is one) {
  auto text = render_pods(json::object(), {}, {}, {});
  auto x = read(text);
  CAF_REQUIRE(x);
  CAF_CHECK(x->pods.empty());
  CAF_CHECK(x->ended.empty());
  CAF_CHECK_EQUAL(rewrite(*x), text);
}

CAF_TEST(fields that are not known survive) {
  auto text = changed([](json& x) {
    x["future"] = {1, 2};
    x["pods"][0]["colour"] = "red";
    x["ended"][0]["colour"] = nullptr;
  });
  auto x = read(text);
  CAF_REQUIRE(x);
  CAF_CHECK(json::parse(rewrite(*x)) == json::parse(text));
}

CAF_TEST(an entry that cannot be read is kept as it is) {
  using row = std::pair<const char*, json>;
  for (auto& [field, value] :
       {row{"name", 7}, row{"name", "../x"}, row{"id", "three.1"},
        row{"id", "two./x"}, row{"class", "odd"}, row{"sandbox", nullptr},
        row{"cwd", ""}, row{"command", "ls"}, row{"process", 7},
        row{"ready", "yes"}, row{"turns", -1}, row{"cursors", json::array()},
        row{"cursors", {{"me", 7}}}, row{"notices", {{"id", 1}}},
        row{"created_at", 1}}) {
    auto text
      = changed_pod([&, f = field, v = value](json& pod) { pod[f] = v; });
    auto x = read(text);
    CAF_REQUIRE(x);
    CAF_CHECK(x->pods.empty());
    CAF_REQUIRE_EQUAL(x->broken.size(), 1u);
    CAF_CHECK_EQUAL(x->broken[0].why,
                    std::string{"it has no proper '"} + field + "'");
    CAF_CHECK(json::parse(rewrite(*x)) == json::parse(text));
  }
  auto x = read(changed([](json& all) { all["pods"][0] = 7; }));
  CAF_REQUIRE(x);
  CAF_CHECK_EQUAL(x->pods.size(), 1u);
  CAF_REQUIRE_EQUAL(x->broken.size(), 1u);
  CAF_CHECK_EQUAL(x->broken[0].why, "it is a number and no object");
  CAF_CHECK(x->broken[0].entry == json(7));
}

CAF_TEST(of two pods of one name the first is read) {
  auto x = read(changed([](json& all) {
    all["pods"][1] = all["pods"][0];
    all["pods"][1]["id"] = "one.ffffffff";
  }));
  CAF_REQUIRE(x);
  CAF_REQUIRE_EQUAL(x->pods.size(), 1u);
  CAF_CHECK_EQUAL(x->pods[0].id, "one.0badcafe");
  CAF_REQUIRE_EQUAL(x->broken.size(), 1u);
  CAF_CHECK_EQUAL(x->broken[0].name, "one");
  CAF_CHECK_EQUAL(x->broken[0].id, "one.ffffffff");
  CAF_CHECK_EQUAL(x->broken[0].why, "there is another pod 'one'");
}

CAF_TEST(what is no document is damaged) {
  auto damaged = [](const std::string& text) {
    auto x = read(text);
    return !x && x.error().code == errc::registry_corrupted
           && x.error().message.find("pods.json") != std::string::npos;
  };
  for (auto* text : {"", "[]", "{}", "{\"format\":1}", "{\"format\":\"1\"}"})
    CAF_CHECK(damaged(text));
  CAF_CHECK(damaged(std::string{golden.substr(0, golden.size() / 2)}));
  CAF_CHECK(damaged(changed([](json& x) { x["pods"] = 7; })));
  CAF_CHECK(damaged(changed([](json& x) { x["ended"][0] = 7; })));
  CAF_CHECK(damaged(changed([](json& x) { x["ended"][0].erase("end"); })));
  CAF_CHECK(damaged(changed([](json& x) { x["ended"][0]["reclaimed"] = 7; })));
  CAF_CHECK(damaged(changed([](json& x) { x["scopes"] = 7; })));
}

CAF_TEST(a document of a later version is left alone) {
  auto x = read(changed([](json& all) { all["format"] = pod_format + 1; }));
  CAF_REQUIRE(!x);
  CAF_CHECK_EQUAL(x.error().code, errc::newer_format);
}

CAF_TEST(no bytes whatever make the reader throw) {
  for (std::size_t i = 0; i < golden.size(); ++i)
    for (auto byte : {'"', '7', '{', '\xFF'}) {
      std::string text{golden};
      text[i] = byte;
      std::ignore = read(text);
    }
}
