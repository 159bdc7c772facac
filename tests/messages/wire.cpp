// SPDX-License-Identifier: Apache-2.0

// What travels between nodes comes out as it went in.

#define CAF_SUITE messages.wire

#include "tests/support/suite.hpp"

#include "messages/actors.hpp"
#include "messages/session_json.hpp"

using namespace muster;

namespace {

struct config : caf::actor_system_config {
  config() {
    muster::add_message_types(*this);
  }
};

struct fixture : test_coordinator_fixture<config> {
  /// The message as it arrives elsewhere.
  caf::message sent(const caf::message& x) {
    caf::message out;
    deserialize(serialize(x), out);
    return out;
  }

  template <class T>
  T travelled(const T& x) {
    return sent(caf::make_message(x)).template get_as<T>(0);
  }
};

} // namespace

CAF_TEST_FIXTURE_SCOPE(wire_tests, fixture)

CAF_TEST(specs and answers travel) {
  session_spec spec;
  spec.kind = session_kind::advice;
  spec.code = std::string{"a\0b", 3};
  spec.task = "t";
  spec.packages = {"/a", "/b"};
  CAF_CHECK(travelled(spec) == spec);
  spec.task = std::nullopt;
  CAF_CHECK(travelled(spec) == spec);
  std::vector<answer> answers{{"q-0", "x", token_usage{1, std::nullopt}},
                              {"", "\xC3\xA4", std::nullopt}};
  CAF_CHECK(travelled(answers) == answers);
}

CAF_TEST(views and replies travel with all their fields) {
  session_view view;
  view.session_id = "s-1";
  view.phase = session_phase::cancelled;
  view.seq = 1ull << 60;
  view.queries.push_back({"q-0", "p", "s", 7, true, false});
  view.asked = 2;
  view.usage = token_usage{3, 4};
  view.reason = {cancel_code::timeout, "d", -1};
  view.error_kind = failure_kind::limit_exceeded;
  view.phase_before = session_phase::paused;
  view.stats = "{}";
  auto other = travelled(view);
  CAF_CHECK_EQUAL(event_json(other), event_json(view));
  CAF_CHECK_EQUAL(state_json(other), state_json(view));
  CAF_CHECK(other.queries == view.queries);
  CAF_CHECK(other.usage == view.usage && other.seq == view.seq);
  feed_reply reply;
  reply.results.push_back({"q-0", failure{errc::busy, "b"}});
  reply.results.push_back({"q-1", std::nullopt});
  reply.session = view;
  auto same = travelled(reply);
  CAF_CHECK(*same.results[0].refused == *reply.results[0].refused);
  CAF_CHECK(!same.results[1].refused);
}

CAF_TEST(everything else that a client sends or gets travels) {
  snapshot_options options;
  options.pending
    = pending_filter{true, false, true, false, true, prompt_mode::preview, 9};
  options.history = true;
  auto same = travelled(options);
  CAF_CHECK(*same.pending == *options.pending && same.history);
  CAF_CHECK(!travelled(snapshot_options{}).pending);
  session_page page{{{"s-1", session_kind::run, session_phase::done, 1, 2, 3}},
                    true};
  CAF_CHECK_EQUAL(summary_json(travelled(page).sessions[0]),
                  summary_json(page.sessions[0]));
  observed_event event{"s-1", 7, {"{}", "[]"}, true};
  CAF_CHECK(travelled(event).progress == event.progress);
  CAF_CHECK(travelled(event).last);
  log_line line{1, 2, "info", "src", "text"};
  CAF_CHECK(travelled(std::vector<log_line>{line})[0] == line);
  CAF_CHECK(travelled(state_key{"a", "b"}) == (state_key{"a", "b"}));
  CAF_CHECK_EQUAL(*travelled(state_value{"1", 2}).value, "1");
  CAF_CHECK_EQUAL(travelled(std::vector<state_entry>{{"k", 1, 2}})[0].bytes,
                  2u);
  CAF_CHECK_EQUAL(travelled(std::vector<state_space>{{"s", 4}})[0].keys, 4u);
  session_list_request request{{session_phase::done}, "s-1", 5};
  CAF_CHECK_EQUAL(travelled(request).before, "s-1");
  CAF_CHECK_EQUAL(travelled(request).phases.size(), 1u);
}

CAF_TEST(an error travels with its sentence) {
  failure before{errc::storage_full, "no room at '/x'"};
  CAF_CHECK_EQUAL(from_caf(travelled(to_caf(before))), before);
  CAF_CHECK_EQUAL(sys.render(to_caf(before)), "storage_full: no room at '/x'");
}

CAF_TEST_FIXTURE_SCOPE_END()
