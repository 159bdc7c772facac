// SPDX-License-Identifier: Apache-2.0

// The interface has a number, which must be raised with every change.

#define CAF_SUITE messages.interface

#include "messages/interface.hpp"

#include "tests/support/suite.hpp"

#include "messages/actors.hpp"
#include "messages/hash.hpp"

using namespace muster;

namespace {

struct config : caf::actor_system_config {
  config() {
    muster::add_message_types(*this);
  }
};

struct fixture : test_coordinator_fixture<config> {
  /// All that travels between a client and a node: each message that one of
  /// them takes, and each type as its bytes on the wire.
  std::string interface() {
    std::string out;
    for (auto& signature : sys.message_types(node_actor{}))
      out += signature + "\n";
    for (auto& signature : sys.message_types(observer_actor{}))
      out += signature + "\n";
    auto bytes = serialize(samples());
    out.append(bytes.begin(), bytes.end());
    return out;
  }

  /// One of each type, with nothing left at its default.
  static caf::message samples() {
    session_spec spec{
      session_kind::advice, "code", "name", "strategy", "task", "{}", {"p"}};
    query q{"q-1", "prompt", "system", 7, true, true};
    cancel_reason reason{cancel_code::timeout, "detail", 3};
    token_usage usage{1, 2};
    session_view view;
    view.session_id = "s-1";
    view.kind = session_kind::advice;
    view.phase = session_phase::cancelled;
    view.seq = 2;
    view.created_ms = 3;
    view.since_ms = 4;
    view.last_active_ms = 5;
    view.queries = {q};
    view.asked = 6;
    view.result = "result";
    view.stats = "stats";
    view.usage = usage;
    view.error = "error";
    view.error_kind = failure_kind::limit_exceeded;
    view.reason = reason;
    view.phase_before = session_phase::paused;
    failure why{errc::busy, "why"};
    pending_filter filter{true, true, true, true, true, prompt_mode::full, 9};
    return caf::make_message(
      spec, std::vector<answer>{{"q-1", "response", usage}},
      feed_mode::accepted, wait_for::end, reason, view,
      feed_reply{{{"q-1", why}, {"q-2", std::nullopt}}, view},
      session_list_request{{session_phase::done}, "s-1", 8},
      session_page{{{"s-1", session_kind::run, session_phase::failed, 1, 2, 3}},
                   true},
      snapshot_options{filter, true}, observed_event{"s-1", 1, {"{}"}, true},
      std::vector<log_line>{{1, 2, "level", "source", "message"}},
      state_key{"space", "key"}, state_value{"value", 1},
      std::vector<state_entry>{{"key", 1, 2}},
      std::vector<state_space>{{"space", 1}}, to_caf(why));
  }
};

} // namespace

CAF_TEST_FIXTURE_SCOPE(interface_tests, fixture)

CAF_TEST(an interface that has changed has another number) {
  auto found = sha256(interface());
  if (found != interface_fingerprint)
    CAF_FAIL("the messages between clients and nodes have changed: raise "
             "interface_version in messages/interface.hpp, and write "
             << found << " behind it as interface_fingerprint");
  CAF_CHECK_EQUAL(found, interface_fingerprint);
}

CAF_TEST(whatever is added to the interface is seen) {
  auto before = interface();
  CAF_CHECK(before.find("hello") != std::string::npos);
  CAF_CHECK(before.find("transcript") != std::string::npos);
  CAF_CHECK(before.find("system") != std::string::npos);
  CAF_CHECK_EQUAL(before, interface());
}

CAF_TEST(a greeting is read as it was written) {
  CAF_CHECK_EQUAL(to_json(greeting{"0.1.0", 1}),
                  R"({"version":"0.1.0","interface":1})");
  CAF_CHECK(*greeting_from(to_json(own_greeting())) == own_greeting());
  // Whatever a later version may add.
  CAF_CHECK(*greeting_from(R"({"interface":9,"version":"2","more":[]})")
            == (greeting{"2", 9}));
  for (auto* text :
       {"", "[]", "{}", R"({"version":"1"})", R"({"version":1,"interface":1})",
        R"({"version":"1","interface":"1"})"})
    CAF_CHECK_EQUAL(greeting_from(text).error().code, errc::version_mismatch);
}

CAF_TEST_FIXTURE_SCOPE_END()
