// SPDX-License-Identifier: Apache-2.0

#define CAF_SUITE messages.ids

#include "messages/ids.hpp"

#include "tests/support/suite.hpp"

using namespace muster;

CAF_TEST(a session id says when and cannot be guessed) {
  auto id = make_session_id(0x19a, {1, 2});
  CAF_CHECK_EQUAL(id, "s-19a-00000000000000010000000000000002");
  CAF_CHECK(is_session_id(id));
  CAF_CHECK(is_session_id_prefix(id));
  // Later ids sort behind earlier ones of the same length.
  CAF_CHECK(make_session_id(0x19b, {0, 0}) > id);
}

CAF_TEST(a worker id says when and is no session id) {
  auto id = make_worker_id(0x19a, {1, 2});
  CAF_CHECK_EQUAL(id, "p-19a-00000000000000010000000000000002");
  CAF_CHECK(!is_session_id(id));
  CAF_CHECK(make_worker_id(0x19b, {0, 0}) > id);
}

CAF_TEST(what is no session id is not taken for one) {
  for (auto* text : {"", "s", "s-", "x-19a-00000000000000010000000000000002",
                     "s-19a", "s-19a-", "s-19a-0000000000000001000000000000000",
                     "s-19a-000000000000000100000000000000020",
                     "s-19A-00000000000000010000000000000002",
                     "s--00000000000000010000000000000002", "s-19a-0000-0000",
                     "s-19a-00000000000000010000000000000002 ",
                     "s-19a-0000000000000001000000000000000\xff"})
    CAF_CHECK(!is_session_id(text));
}

CAF_TEST(a beginning of an id is one) {
  auto id = make_session_id(0x19a1fbac043e, {1, 2});
  for (std::size_t n = 2; n <= id.size(); ++n)
    CAF_CHECK(is_session_id_prefix(id.substr(0, n)));
  for (auto* text : {"", "s", "q-", "s-g", "s-1_", "s-1-2-3", "s-%"})
    CAF_CHECK(!is_session_id_prefix(text));
}

CAF_TEST(query ids are numbers that are written in one way only) {
  CAF_CHECK_EQUAL(make_query_id(0), "q-0");
  CAF_CHECK_EQUAL(*query_number("q-0"), 0u);
  CAF_CHECK_EQUAL(*query_number("q-18446744073709551615"), UINT64_MAX);
  for (std::uint64_t n : {0ull, 9ull, 10ull, 123456789ull})
    CAF_CHECK_EQUAL(*query_number(make_query_id(n)), n);
  for (auto* text : {"", "q", "q-", "q-00", "q-01", "q--1", "q-+1", "q-1 ",
                     "Q-1", "q-1x", "q-18446744073709551616", "f-0-1"})
    CAF_CHECK(!query_number(text));
}
