// SPDX-License-Identifier: Apache-2.0

// Recovery handlers that are actors of a connected peer.

#define CAF_SUITE remote.recovery_handlers

#include "tests/support/remote_bench.hpp"
#include "tests/support/suite.hpp"

using namespace muster;
using namespace muster::test;

namespace {

using slots = std::vector<std::uint8_t>;

recovery_handler_actor::behavior_type theirs(recovery_handler_actor::pointer,
                                             std::shared_ptr<int> asked) {
  return {
    [=](recover_atom, std::uint64_t, std::uint64_t) {
      ++*asked;
      return slots{7};
    },
  };
}

struct fixture : remote_bench {
  std::shared_ptr<int> asked = std::make_shared<int>(0);
  std::vector<caf::actor> handlers;

  fixture() {
    open();
  }

  ~fixture() {
    end_handlers();
  }

  void end_handlers() {
    for (auto& x : std::exchange(handlers, {}))
      anon_send_exit(x, caf::exit_reason::kill);
  }

  expected<std::uint64_t> add(remote_client& peer, const std::string& name,
                              handler_policy policy = handler_policy::evict) {
    auto who = peer.system().spawn(theirs, asked);
    handlers.push_back(caf::actor_cast<caf::actor>(who));
    return ask_from<std::uint64_t>(
      peer, recovery_atom::value, register_atom::value,
      handler_definition{name, policy, std::chrono::milliseconds(200), "a lie"},
      who);
  }

  std::vector<handler_view> listed() {
    auto x
      = ask<std::vector<handler_view>>(recovery_atom::value, list_atom::value);
    CAF_REQUIRE(x);
    return *x;
  }
};

} // namespace

CAF_TEST_FIXTURE_SCOPE(recovery_handler_tests, fixture)

CAF_TEST(a handler of a peer is asked and bears the name of its process) {
  auto& peer = connect();
  auto count = add(peer, "theirs");
  CAF_REQUIRE(count);
  CAF_CHECK_EQUAL(*count, 1u);
  CAF_CHECK_EQUAL(listed().at(0).owner, caf::to_string(peer.system().node()));
  auto pass
    = ask_from<recovery_pass>(peer, recovery_atom::value, run_atom::value);
  CAF_REQUIRE(pass);
  CAF_CHECK_EQUAL(pass->indices(), slots{7});
  CAF_CHECK_EQUAL(*asked, 1);
  CAF_CHECK_EQUAL(listed().at(0).recovered, 1u);
  end_handlers();
}

CAF_TEST(a peer that goes takes its handlers along and may come back) {
  auto& first = connect();
  CAF_REQUIRE(add(first, "a"));
  CAF_REQUIRE(add(first, "b"));
  CAF_CHECK_EQUAL(listed().size(), 2u);
  end_handlers();
  remove(first);
  run();
  CAF_CHECK(listed().empty());
  CAF_CHECK(!has_died());
  auto& second = connect();
  auto count = add(second, "a");
  CAF_REQUIRE(count);
  CAF_CHECK_EQUAL(*count, 1u);
  end_handlers();
}

CAF_TEST(a peer can neither end the node nor pass for a group) {
  auto& peer = connect();
  auto ending = add(peer, "theirs", handler_policy::escalate);
  CAF_REQUIRE(!ending);
  CAF_CHECK_EQUAL(ending.error().code, errc::invalid_argument);
  CAF_CHECK(ending.error().message.find("'theirs'") != std::string::npos);
  auto group = add(peer, "group:web");
  CAF_REQUIRE(!group);
  CAF_CHECK_EQUAL(group.error().code, errc::invalid_argument);
  CAF_CHECK(listed().empty());
  end_handlers();
  run();
  CAF_CHECK(!has_died());
}

CAF_TEST_FIXTURE_SCOPE_END()
