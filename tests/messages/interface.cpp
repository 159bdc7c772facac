// SPDX-License-Identifier: Apache-2.0

// The interface has a number, which must be raised with every change.

#define CAF_SUITE messages.interface

#include "messages/interface.hpp"

#include "tests/support/suite.hpp"

#include "messages/actors.hpp"
#include "messages/hash.hpp"

#include <fmt/format.h>

#include <optional>
#include <regex>
#include <set>
#include <string>
#include <vector>

using namespace muster;

namespace {

struct config : caf::actor_system_config {
  config() {
    muster::add_message_types(*this);
  }
};

// -- all enumerators ----------------------------------------------------------

// Each of these gives the one behind the given one. The compiler says so if one
// is missing, and each is named, so that renumbering is seen.

std::optional<session_kind> behind(session_kind x) {
  switch (x) {
    case session_kind::run:
      return session_kind::advice;
    case session_kind::advice:
      break;
  }
  return std::nullopt;
}

std::optional<feed_mode> behind(feed_mode x) {
  switch (x) {
    case feed_mode::next_event:
      return feed_mode::accepted;
    case feed_mode::accepted:
      break;
  }
  return std::nullopt;
}

std::optional<wait_for> behind(wait_for x) {
  switch (x) {
    case wait_for::event:
      return wait_for::end;
    case wait_for::end:
      break;
  }
  return std::nullopt;
}

std::optional<cancel_code> behind(cancel_code x) {
  switch (x) {
    case cancel_code::user:
      return cancel_code::timeout;
    case cancel_code::timeout:
      return cancel_code::parent_dropped;
    case cancel_code::parent_dropped:
      return cancel_code::system_shutdown;
    case cancel_code::system_shutdown:
      return cancel_code::internal;
    case cancel_code::internal:
      break;
  }
  return std::nullopt;
}

std::optional<session_phase> behind(session_phase x) {
  switch (x) {
    case session_phase::running:
      return session_phase::paused;
    case session_phase::paused:
      return session_phase::done;
    case session_phase::done:
      return session_phase::failed;
    case session_phase::failed:
      return session_phase::cancelled;
    case session_phase::cancelled:
      break;
  }
  return std::nullopt;
}

std::optional<failure_kind> behind(failure_kind x) {
  switch (x) {
    case failure_kind::lua_error:
      return failure_kind::limit_exceeded;
    case failure_kind::limit_exceeded:
      return failure_kind::replay_diverged;
    case failure_kind::replay_diverged:
      return failure_kind::engine_error;
    case failure_kind::engine_error:
      break;
  }
  return std::nullopt;
}

std::optional<prompt_mode> behind(prompt_mode x) {
  switch (x) {
    case prompt_mode::off:
      return prompt_mode::preview;
    case prompt_mode::preview:
      return prompt_mode::full;
    case prompt_mode::full:
      break;
  }
  return std::nullopt;
}

std::optional<session_isolation> behind(session_isolation x) {
  switch (x) {
    case session_isolation::node:
      return session_isolation::worker;
    case session_isolation::worker:
      break;
  }
  return std::nullopt;
}

std::optional<worker_phase> behind(worker_phase x) {
  switch (x) {
    case worker_phase::starting:
      return worker_phase::idle;
    case worker_phase::idle:
      return worker_phase::busy;
    case worker_phase::busy:
      return worker_phase::mismatched;
    case worker_phase::mismatched:
      return worker_phase::unreachable;
    case worker_phase::unreachable:
      return worker_phase::stopping;
    case worker_phase::stopping:
      break;
  }
  return std::nullopt;
}

std::optional<pod_phase> behind(pod_phase x) {
  switch (x) {
    case pod_phase::starting:
      return pod_phase::ready;
    case pod_phase::ready:
      return pod_phase::unreachable;
    case pod_phase::unreachable:
      return pod_phase::stopping;
    case pod_phase::stopping:
      return pod_phase::ended;
    case pod_phase::ended:
      break;
  }
  return std::nullopt;
}

std::optional<pod_class> behind(pod_class x) {
  switch (x) {
    case pod_class::plain:
      return pod_class::protocol;
    case pod_class::protocol:
      break;
  }
  return std::nullopt;
}

std::optional<sandbox_mode> behind(sandbox_mode x) {
  switch (x) {
    case sandbox_mode::required:
      return sandbox_mode::best_effort;
    case sandbox_mode::best_effort:
      return sandbox_mode::off;
    case sandbox_mode::off:
      break;
  }
  return std::nullopt;
}

std::optional<slot_kind> behind(slot_kind x) {
  switch (x) {
    case slot_kind::worker:
      return slot_kind::pod;
    case slot_kind::pod:
      break;
  }
  return std::nullopt;
}

std::optional<slot_health> behind(slot_health x) {
  switch (x) {
    case slot_health::empty:
      return slot_health::starting;
    case slot_health::starting:
      return slot_health::healthy;
    case slot_health::healthy:
      return slot_health::unhealthy;
    case slot_health::unhealthy:
      return slot_health::backing_off;
    case slot_health::backing_off:
      return slot_health::failed;
    case slot_health::failed:
      return slot_health::stopping;
    case slot_health::stopping:
      break;
  }
  return std::nullopt;
}

std::optional<handler_policy> behind(handler_policy x) {
  switch (x) {
    case handler_policy::evict:
      return handler_policy::quarantine;
    case handler_policy::quarantine:
      return handler_policy::escalate;
    case handler_policy::escalate:
      break;
  }
  return std::nullopt;
}

std::optional<permission> behind(permission x) {
  switch (x) {
    case permission::read:
      return permission::write;
    case permission::write:
      break;
  }
  return std::nullopt;
}

/// All enumerators from the first one on.
template <class E>
std::vector<E> from(E first) {
  std::vector<E> out;
  for (std::optional<E> x = first; x; x = behind(*x))
    out.push_back(*x);
  return out;
}

/// A name for each error, and its number.
std::string errors() {
  std::string out;
  for (auto& x : all_errors())
    out += fmt::format("{} {}\n", x.name, static_cast<int>(x.code));
  return out;
}

struct fixture : test_coordinator_fixture<config> {
  /// All that travels between a client and a node: each message that one of
  /// them takes, and each type as its bytes on the wire.
  std::string interface() {
    std::string out;
    for (auto& signature : sys.message_types(node_actor{}))
      out += signature + "\n";
    for (auto& signature : sys.message_types(observer_actor{}))
      out += signature + "\n";
    out += errors();
    for (auto& message : {samples(), enumerators()}) {
      auto bytes = serialize(message);
      out.append(bytes.begin(), bytes.end());
    }
    return out;
  }

  /// The names on the wire of all types in messages.
  std::set<std::string> sampled_types() {
    std::set<std::string> out;
    auto message = samples();
    for (std::size_t i = 0; i < message.size(); ++i)
      out.insert(sys.types().portable_name(message.type(i)));
    return out;
  }

  /// The types of ours that the messages of an interface name.
  static std::set<std::string> named_types(const std::set<std::string>& all) {
    std::set<std::string> out;
    std::regex type{"std::vector<muster::[a-z_]+>|muster::[a-z_]+"};
    for (auto& signature : all)
      for (std::sregex_iterator i{signature.begin(), signature.end(), type};
           i != std::sregex_iterator{}; ++i)
        out.insert(i->str());
    return out;
  }

  /// What has any of several values, with each of them.
  static caf::message enumerators() {
    session_page page;
    for (auto kind : from(session_kind::run))
      for (auto phase : from(session_phase::running))
        page.sessions.push_back({"s-1", kind, phase, 1, 2, 3});
    caf::message_builder out;
    for (auto mode : from(feed_mode::next_event))
      out.append(mode);
    for (auto what : from(wait_for::event))
      out.append(what);
    for (auto code : from(cancel_code::user))
      out.append(cancel_reason{code, std::nullopt, 0});
    for (auto kind : from(failure_kind::lua_error)) {
      session_view view;
      view.error_kind = kind;
      out.append(view);
    }
    for (auto isolation : from(session_isolation::node)) {
      session_spec spec;
      spec.isolation = isolation;
      out.append(spec);
    }
    for (auto phase : from(worker_phase::starting)) {
      worker_view worker;
      worker.phase = phase;
      out.append(worker);
    }
    for (auto phase : from(pod_phase::starting)) {
      pod_view pod;
      pod.phase = phase;
      out.append(pod);
    }
    for (auto kind : from(pod_class::plain))
      for (auto sandbox : from(sandbox_mode::required)) {
        pod_order order;
        order.kind = kind;
        order.sandbox = sandbox;
        out.append(order);
      }
    for (auto kind : from(slot_kind::worker))
      out.append(slot_group_definition{"group", kind, 1, {}, {}});
    for (auto health : from(slot_health::empty)) {
      slot_view slot;
      slot.health = health;
      out.append(slot_group_view{{}, false, {slot}, {}});
    }
    for (auto policy : from(handler_policy::evict))
      out.append(handler_definition{"handler", policy});
    for (auto level : from(permission::read)) {
      pod_view pod;
      pod.scope = {{"/", level, true}};
      out.append(pod);
    }
    for (auto prompt : from(prompt_mode::off)) {
      pending_filter filter;
      filter.prompt = prompt;
      out.append(snapshot_options{filter, false});
    }
    out.append(page);
    return out.to_message();
  }

  /// One of each type, with nothing left at its default.
  static caf::message samples() {
    session_spec spec{
      session_kind::advice,     "code", "name", "strategy", "task", "{}", {"p"},
      session_isolation::worker};
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
    worker_view worker{
      "p-1", 1, "s-1", worker_phase::stopping, "sock", "version", "2026", 2, 3};
    scope_rule rule{"/src", permission::write, false};
    scope both{{rule}, {rule}};
    pod_order order{
      "pod",  "task",      "lender", {rule},           both,
      "/src", {"program"}, {"A=b"},  pod_class::plain, sandbox_mode::off};
    pod_view pod{"pod",
                 "pod.1",
                 1,
                 pod_phase::stopping,
                 pod_class::plain,
                 "socket",
                 "folder",
                 {rule},
                 "lender",
                 "landlock 7",
                 "2026",
                 2,
                 "error"};
    using std::chrono::milliseconds;
    restart_policy policy{milliseconds(1),
                          3,
                          milliseconds(4),
                          5,
                          milliseconds(6),
                          7,
                          milliseconds(8),
                          milliseconds(9),
                          true};
    slot_group_definition group{"group", slot_kind::pod, 2, order, policy};
    slot_view slot{1,      slot_health::failed, 2, "crew-1.0", 3, "s-1", 4, 5,
                   "error"};
    slot_group_view group_view{group, true, {slot}, "damaged"};
    return caf::make_message(
      group, group_view, std::vector<slot_group_view>{group_view},
      handler_definition{"handler", handler_policy::quarantine, milliseconds(7),
                         "peer"},
      std::vector<handler_view>{{"handler", handler_policy::escalate, "peer", 1,
                                 2, 3, true, 4, 5, "error"}},
      recovery_pass{1, {{"handler", 2}}, {"late"}, {"failed"}}, spec,
      std::vector<answer>{{"q-1", "response", usage}}, feed_mode::accepted,
      wait_for::end, reason, view,
      feed_reply{{{"q-1", why}, {"q-2", std::nullopt}}, view},
      session_list_request{{session_phase::done}, "s-1", 8},
      session_page{{{"s-1", session_kind::run, session_phase::failed, 1, 2, 3}},
                   true},
      snapshot_options{filter, true}, observed_event{"s-1", 1, {"{}"}, true},
      std::vector<log_line>{{1, 2, "level", "source", "message"}},
      state_key{"space", "key"}, state_value{"value", 1},
      std::vector<state_entry>{{"key", 1, 2}},
      std::vector<state_space>{{"space", 1}}, worker,
      std::vector<worker_view>{worker},
      pool_stop_reply{{"p-1"}, {{"p-2", why}}}, std::vector<std::string>{"p-1"},
      order, pod, std::vector<pod_view>{pod},
      pod_read{"pod", "reader", output_cursor{1, 2}},
      pod_output{"pod", pod_phase::ended, {"text"}, {1, 2}, {3, 4}, 5, true},
      pod_stop_reply{"pod", {rule}, "end"},
      scope_listing{{{"pod", "lender", both, both}},
                    {{"l-1", "lender", "pod", rule}}},
      std::vector<scope_holder>{{"pod", permission::write, rule, "lender"}},
      to_caf(why));
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

CAF_TEST(each type of a message has a sample) {
  auto sampled = sampled_types();
  for (auto& signatures :
       {sys.message_types(node_actor{}), sys.message_types(observer_actor{})}) {
    auto named = named_types(signatures);
    CAF_CHECK(!named.empty());
    for (auto& type : named)
      // Handles have no bytes of their own.
      if (!type.ends_with("_actor") && sampled.count(type) == 0)
        CAF_ERROR("give the test a sample of " << type);
  }
}

CAF_TEST(each enumerator has a sample) {
  CAF_CHECK_EQUAL(from(session_kind::run).size(), 2u);
  CAF_CHECK_EQUAL(from(cancel_code::user).size(), 5u);
  CAF_CHECK_EQUAL(from(session_phase::running).size(), 5u);
  CAF_CHECK_EQUAL(from(failure_kind::lua_error).size(), 4u);
  CAF_CHECK_EQUAL(from(prompt_mode::off).size(), 3u);
  CAF_CHECK(errors().find("bad_certificate 27\n") != std::string::npos);
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
  greeting of_a_node{"0.1.0", 1, 65536};
  CAF_CHECK_EQUAL(to_json(of_a_node),
                  R"({"version":"0.1.0","interface":1,"max_message":65536})");
  CAF_CHECK(*greeting_from(to_json(of_a_node)) == of_a_node);
  CAF_CHECK(*greeting_from(to_json(own_greeting())) == own_greeting());
  // Whatever a later version may add.
  for (auto* text : {R"({"interface":9,"version":"2","more":[]})",
                     R"({"interface":9,"version":"2","max_message":"some"})",
                     R"({"interface":9,"version":"2","max_message":-1})"})
    CAF_CHECK(*greeting_from(text) == (greeting{"2", 9}));
  for (auto* text :
       {"", "[]", "{}", R"({"version":"1"})", R"({"version":1,"interface":1})",
        R"({"version":"1","interface":"1"})"})
    CAF_CHECK_EQUAL(greeting_from(text).error().code, errc::version_mismatch);
}

CAF_TEST_FIXTURE_SCOPE_END()
