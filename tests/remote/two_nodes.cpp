// SPDX-License-Identifier: Apache-2.0

// A node and clients in other actor systems, connected by the framework's own
// protocol: what comes through, and what is left of those who go. The network
// moves when a test says so, and takes no real time.

#define CAF_SUITE remote.two_nodes

#include "tests/support/remote_bench.hpp"
#include "tests/support/suite.hpp"

#include "messages/history.hpp"
#include "messages/interface.hpp"

#include <caf/binary_serializer.hpp>

using namespace muster;
using namespace muster::test;
using namespace std::chrono_literals;

namespace {

constexpr const char* ask_once = "return alc.llm('q')";

constexpr const char* ask_often = "for i = 1, 20 do alc.llm('q') end";

/// Asks, and works for a good while behind the answer.
constexpr const char* ask_and_work
  = "alc.llm('q') for i = 1, 3000000 do end return alc.llm('r')";

session_spec spec_of(std::string code) {
  session_spec out;
  out.code = std::move(code);
  out.name = "test.lua";
  return out;
}

/// All of a value, to compare it.
template <class T>
std::vector<char> bytes_of(const T& x) {
  std::vector<char> out;
  caf::binary_serializer sink{nullptr, out};
  auto copy = x;
  if (auto error = sink(copy))
    throw std::runtime_error{"it cannot be written"};
  return out;
}

struct fixture : remote_bench {
  fixture() {
    settings.storage.keep_receipts = 1h;
    run_limit = 20'000;
    open();
  }

  std::string paused(const char* code = ask_once) {
    auto view = run_code(code);
    CAF_REQUIRE(view);
    CAF_REQUIRE_EQUAL(view->phase, session_phase::paused);
    return view->session_id;
  }

  /// What a client gets must be what is got beside the node.
  template <class T, class... Ts>
  T same(remote_client& who, Ts... request) {
    auto theirs = ask_from<T>(who, request...);
    auto ours = ask<T>(request...);
    CAF_REQUIRE(theirs);
    CAF_REQUIRE(ours);
    CAF_CHECK(bytes_of(*theirs) == bytes_of(*ours));
    return *theirs;
  }

  template <class T, class... Ts>
  void same_error(errc code, remote_client& who, Ts... request) {
    auto theirs = ask_from<T>(who, request...);
    auto ours = ask<T>(request...);
    CAF_REQUIRE(!theirs);
    CAF_REQUIRE(!ours);
    CAF_CHECK_EQUAL(theirs.error().code, code);
    CAF_CHECK(!theirs.error().message.empty());
    CAF_CHECK_EQUAL(theirs.error(), ours.error());
  }

  expected<session_view> feed_from(remote_client& who, const std::string& id,
                                   feed_mode mode = feed_mode::next_event) {
    return ask_from<feed_reply>(who, feed_atom::value, id,
                                std::vector<answer>{{"", "x", {}}}, mode, once)
      .map([](feed_reply&& x) { return x.session; });
  }

  expected<session_view> observe_from(remote_client& who, const std::string& id,
                                      const std::shared_ptr<observed>& by) {
    return ask_from<session_view>(who, observe_atom::value, id,
                                  std::uint64_t{0}, by->handle);
  }

  /// Who is still waited for, or looked after, in a session.
  struct remainder {
    std::size_t awaiters = 0;
    std::size_t observers = 0;
    std::size_t promises = 0;
  };

  remainder left_in(const std::string& id) {
    auto* state = active(id);
    return state == nullptr
             ? remainder{}
             : remainder{state->awaiters.size(), state->observers.size(),
                         state->promises.size()};
  }
};

std::vector<std::uint64_t> numbers_of(const observed& by) {
  std::vector<std::uint64_t> out;
  for (auto& event : by.events)
    out.push_back(event.seq);
  return out;
}

std::vector<std::uint64_t> up_to(std::uint64_t last) {
  std::vector<std::uint64_t> out;
  for (std::uint64_t i = 1; i <= last; ++i)
    out.push_back(i);
  return out;
}

template <class T>
bool is_lost(const node_bench::answer_ptr<T>& answer) {
  return *answer && !**answer
         && (*answer)->error().code == errc::connection_lost;
}

} // namespace

CAF_TEST_FIXTURE_SCOPE(two_nodes_tests, fixture)

// -- what comes through -------------------------------------------------------

CAF_TEST(a spec arrives as it was sent) {
  auto& client = connect();
  auto spec = spec_of("return ctx.n");
  spec.ctx = R"({"n":[1,"\u0000"]})";
  spec.packages = {"/nowhere", "/elsewhere"};
  auto id = ask_from<std::string>(client, spawn_atom::value, spec, once);
  CAF_REQUIRE(id);
  std::string hash;
  auto events = decode_history(stored(*id)->events.at(0).payload, hash);
  CAF_REQUIRE(events);
  auto arrived = std::get<spawned_event>(events->front().body).spec;
  arrived.code = spec.code;
  CAF_CHECK(arrived == spec);
  CAF_CHECK_EQUAL(show(*id)->result, R"([1,"\u0000"])");
  spec = {};
  spec.kind = session_kind::advice;
  spec.strategy = "kit";
  spec.task = "you";
  spec.packages = {MUSTER_TEST_DIR "/strategies/packages"};
  auto view = ask_from<session_view>(client, start_atom::value, spec, once);
  CAF_REQUIRE(view);
  CAF_CHECK_EQUAL(view->queries.at(0).prompt, "while loading");
  CAF_CHECK(feed(view->session_id, "", "x")->result.find("x, you")
            != std::string::npos);
}

CAF_TEST(a view comes with all its fields) {
  auto& client = connect();
  auto paused_one = paused("return alc.llm('p', {system = 's', max_tokens = 7, "
                           "grounded = true, underspecified = true})");
  auto view = same<session_view>(client, show_atom::value, paused_one);
  CAF_CHECK(view.queries.at(0) == (query{"q-0", "p", "s", 7, true, true}));
  CAF_CHECK(feed(paused_one, "", "x", feed_mode::next_event,
                 token_usage{3, std::nullopt}));
  view = same<session_view>(client, show_atom::value, paused_one);
  CAF_REQUIRE(view.usage);
  CAF_CHECK_EQUAL(*view.usage->prompt_tokens, 3u);
  CAF_CHECK_EQUAL(view.result, "\"x\"");
  auto failed = run_code("error('no')");
  view = same<session_view>(client, show_atom::value, failed->session_id);
  CAF_CHECK_EQUAL(view.phase, session_phase::failed);
  CAF_CHECK_EQUAL(view.error_kind, failure_kind::lua_error);
  CAF_CHECK(view.error.find("no") != std::string::npos);
  auto id = paused();
  view = *ask_from<session_view>(client, cancel_atom::value, id,
                                 cancel_reason{cancel_code::timeout, "d", 0});
  CAF_CHECK(view.reason.code == cancel_code::timeout);
  CAF_CHECK(view.reason.detail == "d");
  CAF_CHECK(view.phase_before == session_phase::paused);
  same<session_view>(client, show_atom::value, id);
}

CAF_TEST(each verb for sessions comes through) {
  auto& client = connect();
  auto answered = ask_from<session_view>(
    client, start_atom::value,
    spec_of("print('a line') return {alc.llm('1'), alc.llm('2')}"), once);
  CAF_REQUIRE(answered);
  auto& id = answered->session_id;
  CAF_CHECK_EQUAL(answered->phase, session_phase::paused);
  CAF_CHECK_EQUAL(same<std::string>(client, pending_atom::value, id), "q-0");
  auto reply = ask_from<feed_reply>(
    client, feed_atom::value, id,
    std::vector<answer>{{"q-7", "x", {}}, {"q-0", "y", token_usage{1, 2}}},
    feed_mode::next_event, once);
  CAF_REQUIRE(reply);
  CAF_REQUIRE_EQUAL(reply->results.size(), 2u);
  CAF_CHECK_EQUAL(reply->results[0].refused->code, errc::not_found);
  CAF_CHECK(!reply->results[1].refused);
  CAF_CHECK_EQUAL(reply->session.queries.at(0).prompt, "2");
  snapshot_options options;
  options.pending
    = pending_filter{true, true, true, true, true, prompt_mode::full, 9};
  options.history = true;
  same<std::string>(client, snapshot_atom::value, id, options);
  same<std::string>(client, snapshot_atom::value, options);
  CAF_CHECK_EQUAL(
    json::parse(same<std::string>(client, transcript_atom::value, id)).size(),
    2u);
  CAF_CHECK_EQUAL(
    same<std::vector<log_line>>(client, log_atom::value, id, std::uint64_t{0})
      .size(),
    1u);
  auto wait = client.send_as_somebody<session_view>(await_atom::value, id,
                                                    wait_for::end);
  auto by = client.observer();
  auto begun = observe_from(client, id, by);
  CAF_REQUIRE(begun);
  CAF_CHECK_EQUAL(begun->seq, reply->session.seq);
  CAF_CHECK(!*wait);
  auto end = feed_from(client, id);
  CAF_REQUIRE(end);
  CAF_CHECK_EQUAL(end->result, R"(["y","x"])");
  CAF_REQUIRE(*wait);
  CAF_CHECK_EQUAL((**wait)->result, end->result);
  CAF_CHECK_EQUAL(numbers_of(*by), up_to(end->seq));
  CAF_CHECK(by->events.back().last);
  session_list_request request;
  request.phases = {session_phase::done};
  request.limit = 5;
  CAF_CHECK_EQUAL(
    same<session_page>(client, list_atom::value, request).sessions.size(), 1u);
  CAF_CHECK_EQUAL(
    *ask_from<std::uint64_t>(client, prune_atom::value, std::int64_t{0}), 1u);
  same_error<session_view>(errc::not_found, client, show_atom::value, id);
}

CAF_TEST(each verb for shared state and for the node comes through) {
  auto& client = connect();
  state_key where{"default", "k"};
  CAF_CHECK_EQUAL(*ask_from<std::uint64_t>(client, set_atom::value, where,
                                           std::string{"[1]"}, once),
                  1u);
  CAF_CHECK_EQUAL(*same<state_value>(client, get_atom::value, where).value,
                  "[1]");
  CAF_CHECK(
    !same<state_value>(client, get_atom::value, state_key{"default", "other"})
       .value);
  CAF_CHECK_EQUAL(
    same<std::vector<state_space>>(client, spaces_atom::value).size(), 1u);
  CAF_CHECK_EQUAL(same<std::vector<state_entry>>(client, list_atom::value,
                                                 where.space, std::string{"k"},
                                                 std::uint32_t{0})
                    .size(),
                  1u);
  CAF_CHECK(*ask_from<bool>(client, delete_atom::value, where, once));
  CAF_CHECK(!*ask_from<bool>(client, delete_atom::value, where, once));
  same<std::string>(client, status_atom::value);
  auto says = greeting_from(same<std::string>(client, hello_atom::value));
  CAF_REQUIRE(says);
  CAF_CHECK_EQUAL(says->version, own_greeting().version);
  CAF_CHECK_EQUAL(says->interface, interface_version);
  CAF_CHECK_EQUAL(*says->max_message, settings.gate.max_message_bytes);
}

CAF_TEST(an error comes with its code and its sentence) {
  auto& client = connect();
  auto id = paused();
  same_error<session_view>(errc::not_found, client, show_atom::value,
                           std::string{"nobody"});
  auto bad = spec_of("return 1");
  bad.ctx = "[]";
  same_error<std::string>(errc::invalid_spec, client, spawn_atom::value, bad,
                          once);
  same_error<std::string>(errc::invalid_argument, client, spawn_atom::value,
                          spec_of("return 1"), std::string{"a\nb"});
  CAF_CHECK(
    ask<std::string>(spawn_atom::value, spec_of(ask_once), std::string{"job"}));
  same_error<std::string>(errc::conflict, client, spawn_atom::value,
                          spec_of("return 1"), std::string{"job"});
  CAF_CHECK(feed(id, "", "x"));
  same_error<std::string>(errc::not_found, client, pending_atom::value,
                          std::string{"s-0"});
}

CAF_TEST(a repeat over another connection is not executed again) {
  auto spec = spec_of(ask_once);
  auto& first = connect();
  auto spawned
    = first.send<std::string>(spawn_atom::value, spec, std::string{"job"});
  // The request goes out; its answer does not come any more.
  first.work();
  work_network(system());
  silence(first);
  settle();
  remove(first);
  CAF_CHECK(is_lost(spawned));
  auto& second = connect();
  auto again = ask_from<std::string>(second, spawn_atom::value, spec,
                                     std::string{"job"});
  CAF_REQUIRE(again);
  auto all = list();
  CAF_REQUIRE_EQUAL(all->size(), 1u);
  CAF_CHECK_EQUAL(all->front().session_id, *again);
}

// -- clients that go ----------------------------------------------------------

CAF_TEST(a client that goes while it waits leaves nothing) {
  auto id = paused();
  auto& stays = connect();
  auto before = known();
  auto& goes = connect();
  goes.send_as_somebody<session_view>(await_atom::value, id, wait_for::end);
  goes.send_as_somebody<session_view>(await_atom::value, id, wait_for::end);
  auto other = stays.send_as_somebody<session_view>(await_atom::value, id,
                                                    wait_for::end);
  settle();
  CAF_CHECK_EQUAL(left_in(id).awaiters, 3u);
  CAF_CHECK_EQUAL(status()["node"]["requests"], 3);
  remove(goes);
  CAF_CHECK_EQUAL(left_in(id).awaiters, 1u);
  CAF_CHECK_EQUAL(status()["node"]["requests"], 1);
  CAF_CHECK(feed(id, "", "x"));
  settle();
  CAF_REQUIRE(*other);
  CAF_CHECK_EQUAL((**other)->result, "\"x\"");
  CAF_CHECK_EQUAL(known().connections, before.connections);
}

CAF_TEST(a client that goes while it observes leaves nothing) {
  auto id = paused(ask_often);
  auto& stays = connect();
  auto& goes = connect();
  auto seen = stays.observer();
  CAF_CHECK(observe_from(stays, id, seen));
  CAF_CHECK(observe_from(goes, id, goes.observer()));
  CAF_CHECK(observe_from(goes, id, goes.observer(false)));
  CAF_CHECK_EQUAL(left_in(id).observers, 3u);
  remove(goes);
  CAF_CHECK_EQUAL(left_in(id).observers, 1u);
  auto view = feed_from(stays, id);
  CAF_REQUIRE(view);
  CAF_CHECK_EQUAL(numbers_of(*seen), up_to(view->seq));
}

CAF_TEST(
  a client that goes while it feeds leaves nothing and its answer counts) {
  settings.session.passivate_after = 1min;
  kill_remotely();
  open();
  auto id = paused(ask_and_work);
  auto& goes = connect();
  goes.send<feed_reply>(feed_atom::value, id,
                        std::vector<answer>{{"", "x", {}}},
                        feed_mode::next_event, std::string{"job"});
  goes.work();
  work_network(system());
  run(60);
  CAF_CHECK_EQUAL(left_in(id).promises, 1u);
  remove(goes);
  // The work goes on without it, and then nobody is waited for.
  while (show(id)->phase == session_phase::running)
    settle();
  CAF_CHECK_EQUAL(left_in(id).promises, 0u);
  CAF_CHECK_EQUAL(status()["node"]["requests"], 0);
  pass(3min);
  CAF_CHECK(active(id) == nullptr);
  // Whoever repeats it gets the answer of the first.
  auto& comes = connect();
  auto reply = ask_from<feed_reply>(comes, feed_atom::value, id,
                                    std::vector<answer>{{"", "x", {}}},
                                    feed_mode::next_event, std::string{"job"});
  CAF_REQUIRE(reply);
  CAF_CHECK_EQUAL(reply->results.at(0).query_id, "q-0");
  CAF_CHECK_EQUAL(reply->session.queries.at(0).id, "q-1");
}

CAF_TEST(a client that goes while a script works on does not count any more) {
  auto id = paused("alc.llm('q') while true do end");
  auto& stays = connect();
  auto& goes = connect();
  auto wait = stays.send_as_somebody<session_view>(await_atom::value, id,
                                                   wait_for::end);
  goes.send<feed_reply>(feed_atom::value, id,
                        std::vector<answer>{{"", "x", {}}},
                        feed_mode::next_event, std::string{"job"});
  // The answer is on disk, and the script has its time.
  pass(200ms);
  auto counts = [&] {
    auto counters = status()["node"];
    return std::pair{counters["clients_waiting"].get<int>(),
                     counters["requests"].get<int>()};
  };
  CAF_CHECK(counts() == std::pair(2, 2));
  remove(goes);
  CAF_CHECK_EQUAL(show(id)->phase, session_phase::running);
  CAF_CHECK(counts() == std::pair(1, 1));
  // The answer that comes late is of no account.
  CAF_CHECK(cancel(id));
  settle();
  CAF_CHECK(*wait);
  CAF_CHECK(counts() == std::pair(0, 0));
}

CAF_TEST(a hundred clients that come and go are forgotten) {
  settings.session.passivate_after = 1min;
  kill_remotely();
  open();
  auto id = paused(ask_often);
  auto visit = [&] {
    auto& guest = connect();
    CAF_CHECK(observe_from(guest, id, guest.observer()));
    guest.send_as_somebody<session_view>(await_atom::value, id, wait_for::end);
    CAF_CHECK(ask_from<session_view>(guest, show_atom::value, id));
    settle();
    remove(guest);
  };
  // What the first of all made the framework keep is not counted.
  visit();
  pass(3min);
  auto before = known();
  auto count = actors();
  for (int i = 0; i < 100; ++i)
    visit();
  pass(3min);
  CAF_CHECK_EQUAL(known().connections, 0u);
  CAF_CHECK_EQUAL(known().theirs, 0u);
  CAF_CHECK_EQUAL(known().ours, before.ours);
  CAF_CHECK_EQUAL(actors(), count);
  CAF_CHECK(active(id) == nullptr);
}

CAF_TEST(what a client and a node know of each other does not grow) {
  settings.session.passivate_after = 1min;
  kill_remotely();
  open();
  auto& client = connect();
  auto round = [&] {
    auto view = ask_from<session_view>(client, start_atom::value,
                                       spec_of(ask_once), once);
    CAF_REQUIRE(view);
    auto& id = view->session_id;
    auto by = client.observer();
    CAF_CHECK(observe_from(client, id, by));
    client.send_as_somebody<session_view>(await_atom::value, id, wait_for::end);
    CAF_CHECK(feed_from(client, id));
    CAF_CHECK_EQUAL(numbers_of(*by), up_to(show(id)->seq));
    client.dismiss_actors();
    pass(3min);
  };
  round();
  auto node_knows = known();
  auto client_knows = client.known_of(system().node());
  for (int i = 0; i < 20; ++i)
    round();
  CAF_CHECK_EQUAL(known().theirs, node_knows.theirs);
  CAF_CHECK_EQUAL(known().ours, node_knows.ours);
  CAF_CHECK_EQUAL(client.known_of(system().node()), client_knows);
}

CAF_TEST(a peer that says nothing is gone after the timeout) {
  auto id = paused();
  auto& stays = connect();
  auto& hangs = connect();
  CAF_CHECK(observe_from(hangs, id, hangs.observer()));
  hangs.send_as_somebody<session_view>(await_atom::value, id, wait_for::end);
  settle();
  silence(hangs);
  pass(4s);
  CAF_CHECK_EQUAL(left_in(id).observers, 1u);
  CAF_CHECK_EQUAL(status()["node"]["clients_waiting"], 1);
  CAF_CHECK_EQUAL(status()["node"]["requests"], 1);
  CAF_CHECK(ask_from<session_view>(stays, show_atom::value, id));
  pass(3s);
  CAF_CHECK_EQUAL(left_in(id).observers, 0u);
  CAF_CHECK_EQUAL(left_in(id).awaiters, 0u);
  CAF_CHECK_EQUAL(status()["node"]["clients_waiting"], 0);
  CAF_CHECK_EQUAL(status()["node"]["requests"], 0);
  CAF_CHECK_EQUAL(known().connections, 1u);
  // One that does say something stays, however long.
  pass(1min);
  CAF_CHECK(ask_from<session_view>(stays, show_atom::value, id));
}

CAF_TEST(one of two clients is cut off and the other one sees nothing of it) {
  auto id = paused(ask_often);
  auto& stays = connect();
  auto& is_cut = connect();
  auto seen = stays.observer();
  auto missed = is_cut.observer();
  CAF_CHECK(observe_from(stays, id, seen));
  CAF_CHECK(observe_from(is_cut, id, missed));
  auto wait = stays.send_as_somebody<session_view>(await_atom::value, id,
                                                   wait_for::end);
  auto lost = is_cut.send_as_somebody<session_view>(await_atom::value, id,
                                                    wait_for::end);
  settle();
  CAF_CHECK_EQUAL(status()["node"]["clients_waiting"], 2);
  silence(is_cut);
  // Before the node notices, while it does, and behind that.
  for (int i = 0; i < 10; ++i) {
    CAF_CHECK(feed_from(stays, id));
    CAF_CHECK_EQUAL(numbers_of(*seen), up_to(show(id)->seq));
    pass(1s);
  }
  CAF_CHECK_EQUAL(left_in(id).observers, 1u);
  CAF_CHECK_EQUAL(left_in(id).awaiters, 1u);
  CAF_CHECK_EQUAL(status()["node"]["clients_waiting"], 1);
  CAF_CHECK_EQUAL(status()["node"]["requests"], 1);
  CAF_CHECK(!*wait);
  CAF_CHECK(!*lost);
  // The one that was cut off finds its connection broken.
  mend(is_cut);
  pass(7s);
  CAF_CHECK(is_lost(lost));
  // What was under way when the node gave it up came through, and no more.
  CAF_CHECK_EQUAL(numbers_of(*missed), up_to(missed->events.size()));
  CAF_CHECK(missed->events.size() < seen->events.size());
  while (show(id)->phase == session_phase::paused)
    CAF_CHECK(feed_from(stays, id));
  CAF_REQUIRE(*wait);
  CAF_CHECK(**wait);
  CAF_CHECK(seen->events.back().last);
}

// -- limits -------------------------------------------------------------------

CAF_TEST(a client has only so many requests open and others have theirs) {
  kill_remotely();
  settings.max_requests = 3;
  open();
  auto id = paused();
  auto& greedy = connect();
  auto& other = connect();
  for (int i = 0; i < 3; ++i)
    greedy.send_as_somebody<session_view>(await_atom::value, id, wait_for::end);
  settle();
  CAF_CHECK_EQUAL(status()["node"]["requests"], 3);
  CAF_CHECK_EQUAL(status()["node"]["clients_waiting"], 1);
  auto refused = ask_from<session_view>(greedy, show_atom::value, id);
  CAF_REQUIRE(!refused);
  CAF_CHECK_EQUAL(refused.error().code, errc::overloaded);
  CAF_CHECK(refused.error().message.find("node.max-requests")
            != std::string::npos);
  CAF_CHECK(ask_from<session_view>(other, show_atom::value, id));
  // What is answered makes room, and so does whoever goes.
  CAF_CHECK(feed_from(other, id));
  settle();
  CAF_CHECK(ask_from<session_view>(greedy, show_atom::value, id));
  auto next = paused();
  greedy.send_as_somebody<session_view>(await_atom::value, next, wait_for::end);
  settle();
  remove(greedy);
  CAF_CHECK_EQUAL(status()["node"]["requests"], 0);
  CAF_CHECK_EQUAL(status()["node"]["clients_waiting"], 0);
}

CAF_TEST(a request that is too large is refused and changes nothing) {
  kill_remotely();
  settings.gate.max_message_bytes = 10'000;
  open();
  auto& client = connect();
  auto with = [&](std::size_t bytes) {
    return ask_from<std::string>(
      client, spawn_atom::value,
      spec_of("return 1 --" + std::string(bytes, 'x')), once);
  };
  CAF_CHECK(with(9'000));
  auto refused = with(10'000);
  CAF_REQUIRE(!refused);
  CAF_CHECK_EQUAL(refused.error().code, errc::too_large);
  CAF_CHECK(refused.error().message.find("node.max-message")
            != std::string::npos);
  std::vector<answer> answers(3, {"q-0", std::string(4'000, 'x'), {}});
  auto fed = ask_from<feed_reply>(client, feed_atom::value, paused(), answers,
                                  feed_mode::accepted, once);
  CAF_REQUIRE(!fed);
  CAF_CHECK_EQUAL(fed.error().code, errc::too_large);
  CAF_CHECK_EQUAL(list()->size(), 2u);
}

CAF_TEST(a client refuses by itself what its node would refuse) {
  kill_remotely();
  settings.gate.max_message_bytes = 10'000;
  open();
  auto& knows = connect(10'000);
  auto& does_not_know = connect();
  // The two measure alike, to the byte.
  auto with = [&](remote_client& client, std::size_t bytes) {
    auto spec = spec_of("return 1 --" + std::string(bytes, 'x'));
    auto text = ask_from<std::string>(client, spawn_atom::value, spec, once);
    return text ? std::string{"ok"} : text.error().message;
  };
  std::size_t fits = 9'000;
  while (with(does_not_know, fits + 1) == "ok")
    ++fits;
  CAF_CHECK_EQUAL(with(knows, fits), "ok");
  auto refused = with(knows, fits + 1);
  CAF_CHECK_EQUAL(refused, with(does_not_know, fits + 1));
  CAF_CHECK_EQUAL(refused, "the request 'spawn' has 10001 bytes, more than the "
                           "10000 that node.max-message allows");
  // It does not even send it.
  auto sent = knows.send<std::string>(spawn_atom::value,
                                      spec_of(std::string(20'000, 'x')), once);
  knows.work();
  CAF_REQUIRE(*sent);
  CAF_CHECK_EQUAL((*sent)->error().code, errc::too_large);
  // An await has an actor of its own, and an observation begins elsewhere.
  auto wait = knows.send_as_somebody<session_view>(
    await_atom::value, std::string(20'000, 's'), wait_for::end);
  knows.work();
  CAF_REQUIRE(*wait);
  CAF_CHECK_EQUAL((*wait)->error().code, errc::too_large);
}

CAF_TEST(a call with a deadline leaves no timer) {
  auto& client = connect();
  auto before = client.timers();
  for (int i = 0; i < 10; ++i)
    CAF_CHECK(wait_from<std::string>(client, 1h, status_atom::value));
  CAF_CHECK_EQUAL(client.timers(), before);
}

CAF_TEST(a call whose deadline is over leaves nothing) {
  auto id = paused();
  auto& client = connect();
  auto before = client.timers();
  for (int i = 0; i < 10; ++i) {
    auto late = wait_as_somebody_from<session_view>(
      client, 0ms, await_atom::value, id, wait_for::end);
    CAF_REQUIRE(!late);
    CAF_CHECK_EQUAL(late.error().code, errc::timeout);
    settle();
  }
  CAF_CHECK_EQUAL(client.timers(), before);
  CAF_CHECK_EQUAL(left_in(id).awaiters, 0u);
  CAF_CHECK_EQUAL(status()["node"]["requests"], 0);
}

// -- observers that do not read -----------------------------------------------

CAF_TEST(a client that acknowledges nothing lags and holds nobody up) {
  settings.session.observer_window = 4;
  kill_remotely();
  open();
  auto id = paused(ask_often);
  auto& reads = connect();
  auto& sleeps = connect();
  auto seen = reads.observer();
  auto missed = sleeps.observer(false);
  CAF_CHECK(observe_from(reads, id, seen));
  CAF_CHECK(observe_from(sleeps, id, missed));
  for (int i = 0; i < 20; ++i)
    CAF_CHECK(feed_from(reads, id));
  auto last = show(id)->seq;
  CAF_CHECK_EQUAL(numbers_of(*seen), up_to(last));
  CAF_CHECK_EQUAL(seen->lagged, 0u);
  CAF_CHECK_EQUAL(missed->events.size(), 4u);
  // When it acknowledges it is told how much it missed.
  sleeps.tell(acknowledge_atom::value, id, missed->events.back().seq,
              missed->handle);
  settle();
  CAF_CHECK(missed->lagged > 0);
  CAF_CHECK_EQUAL(missed->events.size() + missed->lagged, last);
  CAF_CHECK(missed->events.back().last);
}

// -- nodes that go ------------------------------------------------------------

CAF_TEST(each open request ends when the node goes) {
  auto id = paused(ask_and_work);
  auto other = paused();
  auto& client = connect();
  auto wait = client.send_as_somebody<session_view>(await_atom::value, other,
                                                    wait_for::end);
  auto by = client.observer();
  CAF_CHECK(observe_from(client, other, by));
  auto feed = client.send<feed_reply>(feed_atom::value, id,
                                      std::vector<answer>{{"", "x", {}}},
                                      feed_mode::next_event, once);
  client.work();
  work_network(system());
  run(60);
  // These do not even arrive.
  auto shown = client.send<session_view>(show_atom::value, id);
  auto spawned
    = client.send<std::string>(spawn_atom::value, spec_of("return 1"), once);
  client.work();
  for (auto& open : {wait, shown})
    CAF_CHECK(!*open);
  kill_remotely();
  CAF_CHECK(is_lost(wait));
  CAF_CHECK(is_lost(feed));
  CAF_CHECK(is_lost(shown));
  CAF_CHECK(is_lost(spawned));
  // So does what is asked from here on.
  auto late = client.send<std::string>(status_atom::value);
  settle();
  CAF_CHECK(is_lost(late));
  // The next node is another one; what was shown is there.
  open();
  auto& again = connect();
  CAF_CHECK(ask_from<session_view>(again, show_atom::value, other));
}

CAF_TEST(a node that stops in order answers those who wait) {
  auto id = paused();
  auto& client = connect();
  auto wait = client.send_as_somebody<session_view>(await_atom::value, id,
                                                    wait_for::end);
  settle();
  auto done = send_to<caf::ok_atom>(node(), stop_atom::value);
  settle();
  CAF_CHECK(*done);
  CAF_REQUIRE(*wait);
  CAF_REQUIRE(!**wait);
  CAF_CHECK_EQUAL((*wait)->error().code, errc::shutting_down);
}

CAF_TEST_FIXTURE_SCOPE_END()
