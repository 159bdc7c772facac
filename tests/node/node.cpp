// SPDX-License-Identifier: Apache-2.0

#define CAF_SUITE node

#include "actors/node/node.hpp"

#include "tests/support/node_bench.hpp"
#include "tests/support/suite.hpp"

#include "messages/json.hpp"

using namespace muster;
using namespace muster::test;
using namespace std::chrono_literals;

namespace {

struct fixture : node_bench {
  fixture() {
    require_start();
  }
};

} // namespace

CAF_TEST_FIXTURE_SCOPE(node_tests, fixture)

CAF_TEST(the status tells of every part and how old that is) {
  CAF_REQUIRE(run_code("return alc.llm('q')"));
  advance(30s);
  auto told = status();
  CAF_CHECK(told.contains("version"));
  CAF_CHECK_EQUAL(told["uptime_ms"], 30'000);
  for (auto* part : {"sessions", "storage", "tick"})
    CAF_CHECK_EQUAL(told[part]["age_ms"], 0);
  CAF_CHECK_EQUAL(told["storage"]["sessions"]["paused"], 1);
  CAF_CHECK_EQUAL(told["storage"]["writable"], true);
  CAF_CHECK_EQUAL(told["sessions"]["spawned"], 1);
  CAF_CHECK_EQUAL(told["tick"]["completed"], 1);
  advance(7s);
  CAF_CHECK_EQUAL(status()["storage"]["age_ms"], 7'000);
}

CAF_TEST(the status answers while scripts spin and others are busy) {
  for (int i = 0; i < 50; ++i) {
    session_spec spec;
    spec.code = "while true do end";
    send<std::string>(spawn_atom::value, spec, once);
  }
  run(2'000);
  auto told = send<std::string>(status_atom::value);
  // Everyone gets a turn: a round is a message of each, and there are three
  // hops.
  run(250);
  CAF_CHECK(*told);
}

CAF_TEST(an ordered stop ends every actor and syncs everything) {
  CAF_REQUIRE(run_code("return alc.llm('q')"));
  auto first = send_to<caf::ok_atom>(node(), stop_atom::value);
  auto second = send_to<caf::ok_atom>(node(), stop_atom::value);
  run();
  CAF_CHECK(*first && **first);
  CAF_CHECK(*second && **second);
  CAF_CHECK_EQUAL(actors(), 0u);
  // The log was copied back and removed with its last reader.
  CAF_CHECK_EQUAL(disk.open_files(), 0u);
}

CAF_TEST(an ordered stop ends actors that somebody has a handle of) {
  using node_type
    = std::remove_pointer_t<node_impl::stateful_pointer<node_state>>;
  // As the network does of whoever answered a client.
  auto& parts
    = dynamic_cast<node_type&>(*caf::actor_cast<caf::abstract_actor*>(node()))
        .state;
  auto sessions = parts.sessions;
  auto tick = parts.tick;
  auto persistence = parts.persistence;
  CAF_REQUIRE(run_code("return alc.llm('q')"));
  auto stopped = send_to<caf::ok_atom>(node(), stop_atom::value);
  run();
  CAF_CHECK(*stopped && **stopped);
  CAF_CHECK_EQUAL(actors(), 0u);
}

CAF_TEST(where the node is reached is written and removed again) {
  auto saved = send_to<caf::ok_atom>(node(), save_atom::value,
                                     std::string{"{\"port\":1}"});
  run();
  CAF_REQUIRE(*saved && **saved);
  CAF_CHECK_EQUAL(*disk.contents("/state/node.json"), "{\"port\":1}");
  stop();
  CAF_CHECK(!disk.contents("/state/node.json"));
}

CAF_TEST(a node whose part dies ends with its reason) {
  // The disk fails for good: persistence ends, and the rest with it.
  disk.set_fault([](disk_operation x, const std::string&, std::uint64_t) {
    return x == disk_operation::sync ? EIO : 0;
  });
  auto view = send<session_view>(
    start_atom::value,
    session_spec{session_kind::run, "return 1", {}, {}, {}, "{}", {}}, once);
  run();
  CAF_REQUIRE(*view);
  CAF_CHECK_EQUAL((**view).error().code, errc::storage_failed);
  CAF_CHECK_EQUAL(actors(), 0u);
}

CAF_TEST(a hundred starts and stops leave nothing behind) {
  for (int i = 0; i < 100; ++i) {
    CAF_REQUIRE(run_code("return alc.llm('q')"));
    if (i % 3 == 0)
      stop();
    else
      kill();
    CAF_CHECK_EQUAL(disk.open_files(), 0u);
    require_start();
  }
  CAF_CHECK_EQUAL(list()->size(), 100u);
}

CAF_TEST_FIXTURE_SCOPE_END()
