// SPDX-License-Identifier: Apache-2.0

#define CAF_SUITE pool.document

#include "actors/pool/pool_document.hpp"

#include "tests/support/suite.hpp"

#include <fmt/format.h>

using namespace muster;

namespace {

/// What a program wrote that knows nothing of ours.
constexpr std::string_view foreign = R"({
  "sessions": [
    {"sid": "s-1", "pid": 12345, "sock": "/x/p-1.sock", "version": "0.44.2",
     "created_at": "2026-01-02T03:04:05Z", "colour": "red"}
  ],
  "note": {"kept": true}
})";

expected<pool_document> read(std::string_view text) {
  return read_pool_document(text, "registry.json");
}

std::string entry(const std::string& fields) {
  return fmt::format(R"({{"sessions":[{{"sid":"p-1","sock":"/s","version":"1",)"
                     R"("created_at":"t",{}}}]}})",
                     fields);
}

std::string rewrite(const pool_document& x) {
  std::vector<std::string> texts;
  for (auto& record : x.records)
    texts.push_back(render(record));
  std::vector<std::string_view> sessions;
  std::vector<std::string_view> starting;
  for (std::size_t i = 0; i < texts.size(); ++i)
    (x.records[i].is_identified() ? sessions : starting).push_back(texts[i]);
  return render(x.others, sessions, starting);
}

} // namespace

CAF_TEST(what another program wrote is read and survives a rewrite) {
  auto x = read(foreign);
  CAF_REQUIRE(x);
  CAF_REQUIRE_EQUAL(x->records.size(), 1u);
  auto& record = x->records[0];
  CAF_CHECK_EQUAL(record.sid, "s-1");
  CAF_CHECK_EQUAL(record.pid, 12345);
  CAF_CHECK_EQUAL(record.sock, "/x/p-1.sock");
  CAF_CHECK_EQUAL(record.version, "0.44.2");
  CAF_CHECK_EQUAL(record.created_at, "2026-01-02T03:04:05Z");
  CAF_CHECK(!record.who);
  CAF_CHECK(!record.session);
  auto text = json::parse(rewrite(*x));
  CAF_CHECK_EQUAL(text["note"]["kept"], true);
  CAF_CHECK_EQUAL(text["sessions"][0]["colour"], "red");
  CAF_CHECK_EQUAL(text["sessions"][0]["pid"], 12345);
  CAF_CHECK(text["sessions"][0]["session"].is_null());
  CAF_CHECK(text["starting"].empty());
}

CAF_TEST(what was written is read again) {
  pool_document x;
  pool_record intent;
  intent.sid = "p-1";
  intent.sock = "/s/p-1.sock";
  intent.version = "1.0";
  intent.created_at = "2026-01-02T03:04:05Z";
  intent.nonce_sha256 = "ab";
  intent.request_id = "r-1";
  auto worker = intent;
  worker.sid = "p-2";
  worker.pid = 4711;
  worker.who = process_identity{4711, 77, "boot"};
  worker.session = "s-1";
  x.records = {intent, worker};
  auto again = read(rewrite(x));
  CAF_REQUIRE(again);
  CAF_REQUIRE_EQUAL(again->records.size(), 2u);
  CAF_CHECK(!again->records[0].is_identified());
  CAF_CHECK_EQUAL(again->records[0].request_id, "r-1");
  CAF_CHECK_EQUAL(*again->records[1].who, *worker.who);
  CAF_CHECK_EQUAL(*again->records[1].session, "s-1");
  CAF_CHECK_EQUAL(again->records[1].nonce_sha256, "ab");
  auto text = json::parse(rewrite(*again));
  CAF_CHECK_EQUAL(text["sessions"].size(), 1u);
  CAF_CHECK_EQUAL(text["starting"].size(), 1u);
  CAF_CHECK(!text["starting"][0].contains("pid"));
}

CAF_TEST(of entries with the same id the last one counts) {
  auto x = read(R"({"sessions":[
    {"sid":"a","pid":1,"sock":"/1","version":"1","created_at":"t"},
    {"sid":"b","pid":2,"sock":"/2","version":"1","created_at":"t"},
    {"sid":"a","pid":3,"sock":"/3","version":"1","created_at":"t"}]})");
  CAF_REQUIRE(x);
  CAF_REQUIRE_EQUAL(x->records.size(), 2u);
  CAF_CHECK_EQUAL(x->records[0].pid, 3);
  CAF_CHECK_EQUAL(x->records[1].pid, 2);
}

CAF_TEST(pids that no process has are refused one by one) {
  for (auto* pid : {"0", "-1", "-2147483648", "4194305", "2147483648",
                    "18446744073709551615"}) {
    auto x = read(entry(fmt::format("\"pid\":{}", pid)));
    CAF_REQUIRE(x);
    CAF_CHECK(x->records.empty());
    CAF_REQUIRE_EQUAL(x->refused.size(), 1u);
    CAF_CHECK_EQUAL(x->refused[0].sid, "p-1");
    CAF_CHECK(x->refused[0].why.find(pid) != std::string::npos);
  }
}

CAF_TEST(what is damaged is refused by the name of the place) {
  for (
    auto [text, place] : std::vector<std::pair<std::string, std::string>>{
      {"[]", "object"},
      {"{", "object"},
      {"{}", "'sessions'"},
      {R"({"sessions":{}})", "'sessions'"},
      {R"({"sessions":[1]})", "a number"},
      {R"({"sessions":[],"starting":1})", "'starting'"},
      {R"({"sessions":[],"format":"x"})", "'format'"},
      {R"({"sessions":[{"sid":"p-1","pid":1}]})", "'sock'"},
      {entry("\"pid\":\"1\""), "'pid'"},
      {entry("\"pid\":1.5"), "'pid'"},
      {entry("\"pid\":1,\"session\":2"), "'session'"},
      {entry("\"pid\":1,\"start_ticks\":2"), "'boot_id'"},
      {R"({"sessions":[],"starting":[{"sid":"p-1","sock":"/s","version":"1",)"
       R"("created_at":"t"}]})",
       "'nonce_sha256'"}}) {
    auto x = read(text);
    CAF_REQUIRE(!x);
    CAF_CHECK_EQUAL(x.error().code, errc::registry_corrupted);
    CAF_CHECK(x.error().message.find(place) != std::string::npos);
    CAF_CHECK(x.error().message.find("registry.json") != std::string::npos);
  }
}

CAF_TEST(a newer format is refused) {
  CAF_CHECK(read(R"({"format":1,"sessions":[]})"));
  CAF_CHECK_EQUAL(read(R"({"format":2,"sessions":[]})").error().code,
                  errc::newer_format);
}
