// SPDX-License-Identifier: Apache-2.0

#define CAF_SUITE messages.receipt

#include "messages/receipt.hpp"

#include "tests/support/suite.hpp"

#include <set>

using namespace muster;

CAF_TEST(a request id says when and cannot be guessed) {
  auto id = make_request_id(0x19a, {1, 2});
  CAF_CHECK_EQUAL(id, "r-19a-00000000000000010000000000000002");
  CAF_CHECK(!check_request_id(id));
  CAF_CHECK(!check_request_id(once));
}

CAF_TEST(whatever differs in a request differs in its digest) {
  std::set<std::string> digests;
  auto add = [&](const std::string& digest) {
    CAF_CHECK(digests.insert(digest).second);
  };
  session_spec spec;
  add(digest_of(spec));
  spec.kind = session_kind::advice;
  add(digest_of(spec));
  for (auto member : {&session_spec::code, &session_spec::name,
                      &session_spec::strategy, &session_spec::ctx}) {
    (spec.*member).push_back('x');
    add(digest_of(spec));
  }
  spec.task.emplace();
  add(digest_of(spec));
  spec.task->push_back('t');
  add(digest_of(spec));
  spec.packages = {"/a", "/b"};
  add(digest_of(spec));
  spec.packages = {"/a/b"};
  add(digest_of(spec));
  spec.isolation = session_isolation::worker;
  add(digest_of(spec));
  CAF_CHECK_EQUAL(digest_of(spec), digest_of(session_spec{spec}));

  std::vector<answer> answers{{"q-0", "x", {}}};
  add(digest_of("s-1", answers));
  add(digest_of("s-2", answers));
  answers[0].response.push_back('y');
  add(digest_of("s-1", answers));
  answers[0].query_id.clear();
  add(digest_of("s-1", answers));
  answers[0].usage = token_usage{1, {}};
  add(digest_of("s-1", answers));
  answers[0].usage = token_usage{{}, 1};
  add(digest_of("s-1", answers));
  answers.push_back(answers[0]);
  add(digest_of("s-1", answers));

  add(digest_of(state_write{{"a", "b"}, "1"}));
  add(digest_of(state_write{{"a", "b"}, std::nullopt}));
  add(digest_of(state_write{{"ab", ""}, "1"}));
  add(digest_of(state_write{{"", "ab"}, "1"}));
}

CAF_TEST(results of a feed are read back as they were) {
  std::vector<feed_result> results{
    {"q-0", std::nullopt},
    {"q-\n\"1\"", failure{errc::already_answered, "an earlier one counts"}}};
  auto text = to_json(results);
  auto back = feed_results_from(text);
  CAF_REQUIRE(back);
  CAF_REQUIRE_EQUAL(back->size(), 2u);
  CAF_CHECK(!back->at(0).refused);
  CAF_CHECK_EQUAL(back->at(1).query_id, results[1].query_id);
  CAF_CHECK(*back->at(1).refused == *results[1].refused);
  // A query id that is no text was refused, and must not break the rest.
  CAF_CHECK(feed_results_from(to_json({{"\xff", results[1].refused}})));
  for (auto* broken : {"", "{", "3", "[3]", R"([{"code":1}])"})
    CAF_CHECK(!feed_results_from(broken));
}
