// SPDX-License-Identifier: Apache-2.0

// The client library: what a program that uses it sees of a node that dies and
// comes back.

#define CAF_SUITE black_box.client

#include "app/client/client_config.hpp"
#include "app/client/connect_node.hpp"
#include "app/client/find_node.hpp"
#include "tests/black_box/calls.hpp"
#include "tests/black_box/command_line.hpp"
#include "tests/support/suite.hpp"

#include "actors/remote/publish.hpp"

#include "messages/actors.hpp"
#include "messages/interface.hpp"

#include <atomic>
#include <map>
#include <mutex>

#include <signal.h>
#include <unistd.h>

using namespace muster;
using namespace muster::test;
using namespace std::chrono_literals;

namespace {

/// A node that is killed and started again, and a client of it.
struct fixture {
  fixture() {
    box.require_start();
    auto made = client::connect(counted());
    if (!made)
      throw std::runtime_error{made.error().message};
    node = std::move(*made);
  }

  /// Options that count how often a client connects.
  client_options counted() {
    auto out = box.options();
    out.find = [this, find = out.find] {
      auto found = find();
      if (found)
        ++connections;
      return found;
    };
    return out;
  }

  void restart() {
    box.kill();
    box.require_start();
  }

  /// Waits until the call that is under way has found a node that was started.
  void await_connections(int count) {
    CAF_REQUIRE(eventually([&] { return connections >= count; }));
  }

  std::string paused(const char* code) {
    auto view = node->start(spec_of(code), {patience});
    if (!view || view->phase != session_phase::paused)
      throw std::runtime_error{"the session does not pause"};
    return view->session_id;
  }

  /// The queries of a session with their answers.
  json transcript(const std::string& id) {
    return json::parse(*node->transcript(id, patience));
  }

  black_box box;
  std::atomic<int> connections{0};
  std::unique_ptr<client> node;
};

} // namespace

CAF_TEST_FIXTURE_SCOPE(client_tests, fixture)

// -- connecting ---------------------------------------------------------------

CAF_TEST(the first connection is tried once) {
  auto options = counted();
  connections = 0;
  options.find = [&]() -> expected<node_location> {
    ++connections;
    return node_location{"127.0.0.1", 1, box.state() + "/tls"};
  };
  auto made = client::connect(options);
  CAF_REQUIRE(!made);
  CAF_CHECK_EQUAL(made.error().code, errc::unreachable);
  CAF_CHECK_EQUAL(connections.load(), 1);
}

CAF_TEST(a node with another interface is named with its versions) {
  client_config config;
  caf::actor_system system{config};
  auto other = system.spawn([]() -> greeting_actor::behavior_type {
    return {[](hello_atom) {
      return to_json(greeting{"9.8.7", interface_version + 1});
    }};
  });
  auto port
    = publish_insecurely(system, caf::actor_cast<caf::strong_actor_ptr>(other),
                         system.message_types(other), 0);
  CAF_REQUIRE(port);
  client_options options;
  options.port = *port;
  auto made = client::connect(options);
  caf::anon_send_exit(other, caf::exit_reason::user_shutdown);
  CAF_REQUIRE(!made);
  auto& why = made.error();
  CAF_CHECK_EQUAL(why.code, errc::version_mismatch);
  auto ours = own_greeting();
  for (auto& part :
       {fmt::format("9.8.7 with interface {}", interface_version + 1),
        fmt::format("{} with interface {}", ours.version, ours.interface)})
    CAF_CHECK(contains(why.message, part));
}

CAF_TEST(a node of the same interface says so) {
  client_config config;
  caf::actor_system system{config};
  auto found = connect_node(system, *find_node({}, box.state()));
  CAF_REQUIRE(found);
  caf::scoped_actor self{system};
  self->request(*found, caf::duration{patience}, hello_atom::value)
    .receive(
      [](const std::string& text) {
        auto says = greeting_from(text);
        CAF_CHECK(says && says->interface == interface_version);
      },
      [](const caf::error&) { CAF_ERROR("there is no greeting"); });
}

// -- nodes that come back -----------------------------------------------------

CAF_TEST(a wait goes on with the node that comes next) {
  auto id = paused(ask);
  auto wait
    = in_background([&] { return node->await(id, wait_for::end, patience); });
  for (int i = 0; i < 3; ++i) {
    restart();
    await_connections(2 + i);
  }
  // An ordered stop tells those who wait, who must not take that for an end.
  box.stop();
  box.require_start();
  await_connections(5);
  box.run({"session", "feed", id, "x"});
  auto view = result_of(wait);
  CAF_REQUIRE(view);
  CAF_CHECK_EQUAL(view->phase, session_phase::done);
  CAF_CHECK_EQUAL(view->result, "\"x\"");
}

CAF_TEST(an observation goes on behind what was seen) {
  auto id = paused(ask_thrice);
  std::mutex mutex;
  std::vector<observed_event> seen;
  auto caller = std::thread::id{};
  auto thread_of_see = std::thread::id{};
  auto observe = in_background([&] {
    caller = std::this_thread::get_id();
    return node->observe(
      id, 0,
      [&](const observed_event& event) {
        std::lock_guard guard{mutex};
        thread_of_see = std::this_thread::get_id();
        seen.push_back(event);
        return true;
      },
      patience);
  });
  auto last_seen = [&] {
    std::lock_guard guard{mutex};
    return seen.empty() ? 0 : seen.back().seq;
  };
  for (int i = 0; i < 3; ++i) {
    auto other = *box.connect();
    auto stands_at = other->show(id, patience)->seq;
    CAF_CHECK(eventually([&] { return last_seen() == stands_at; }));
    restart();
    await_connections(2 + i);
    CAF_CHECK((*box.connect())->feed(id, {{"", "x", {}}}, {patience}));
  }
  auto first = result_of(observe);
  CAF_REQUIRE(first);
  CAF_CHECK_EQUAL(first->phase, session_phase::paused);
  CAF_CHECK(caller == thread_of_see);
  // The same, seen by somebody who was not disturbed.
  std::vector<observed_event> all;
  CAF_CHECK((*box.connect())
              ->observe(
                id, 0,
                [&](const observed_event& event) {
                  all.push_back(event);
                  return true;
                },
                patience));
  CAF_REQUIRE_EQUAL(seen.size(), all.size());
  for (std::size_t i = 0; i < all.size(); ++i) {
    CAF_CHECK_EQUAL(seen[i].seq, i + 1);
    CAF_CHECK_EQUAL(seen[i].seq, all[i].seq);
    CAF_CHECK(seen[i].progress == all[i].progress);
  }
  CAF_CHECK(seen.back().last);
}

CAF_TEST(an answer that the node took before it died is given once) {
  auto id = paused(ask_and_work);
  auto feed = in_background([&] {
    return node->feed(id, {{"", "x", {}}}, {patience});
  });
  // It is on disk, and its feed is not answered.
  auto other = *box.connect();
  CAF_REQUIRE(eventually([&] {
    return other->show(id, patience)->phase == session_phase::running;
  }));
  other.reset();
  restart();
  auto reply = result_of(feed);
  CAF_REQUIRE(reply);
  CAF_CHECK(!reply->results.at(0).refused);
  CAF_CHECK_EQUAL(reply->session.result, "\"x\"");
  CAF_CHECK_EQUAL(connections.load(), 2);
  auto told = transcript(id);
  CAF_REQUIRE_EQUAL(told.size(), 1u);
  CAF_CHECK_EQUAL(told[0]["response"], "x");
}

CAF_TEST(an answer that the node never got is given to the next one) {
  auto id = paused(ask);
  box.node().signal(SIGSTOP);
  auto feed = in_background([&] {
    return node->feed(id, {{"", "x", {}}}, {patience});
  });
  restart();
  auto reply = result_of(feed);
  CAF_REQUIRE(reply);
  CAF_CHECK(!reply->results.at(0).refused);
  CAF_CHECK_EQUAL(transcript(id).size(), 1u);
}

CAF_TEST(what several threads ask under way is done once each) {
  constexpr int count = 8;
  std::vector<std::future<expected<std::string>>> work;
  std::atomic<int> spawned{0};
  for (int i = 0; i < count; ++i)
    work.push_back(in_background([&, i]() -> expected<std::string> {
      auto id = node->spawn(spec_of(ask_thrice), {patience});
      if (!id)
        return id;
      ++spawned;
      for (int n = 0; n < 3; ++n) {
        auto view = node->await(*id, wait_for::event, patience);
        if (!view)
          return tl::unexpected<failure>{view.error()};
        auto reply
          = node->feed(*id, {{"", fmt::format("{}.{}", i, n), {}}}, {patience});
        if (!reply)
          return tl::unexpected<failure>{reply.error()};
        if (auto& refused = reply->results.at(0).refused)
          return tl::unexpected<failure>{*refused};
      }
      return id;
    }));
  for (int i = 1; i < 4; ++i) {
    CAF_CHECK(eventually([&] { return spawned >= i; }));
    restart();
  }
  for (int i = 0; i < count; ++i) {
    auto id = result_of(work[static_cast<std::size_t>(i)]);
    if (!id)
      CAF_FAIL(id.error().message);
    auto view = node->show(*id, patience);
    CAF_REQUIRE(view);
    CAF_CHECK_EQUAL(view->result,
                    fmt::format(R"(["{0}.0","{0}.1","{0}.2"])", i));
  }
  // No spawn was done twice.
  CAF_CHECK_EQUAL(node->list({}, patience)->sessions.size(),
                  static_cast<std::size_t>(count));
}

// -- requests of the same name ------------------------------------------------

CAF_TEST(a program that was killed repeats its request by its own id) {
  auto first = node->spawn(spec_of(ask), {patience, "job-17"});
  CAF_REQUIRE(first);
  node.reset();
  restart();
  auto other = *box.connect();
  auto again = other->spawn(spec_of(ask), {patience, "job-17"});
  CAF_REQUIRE(again);
  CAF_CHECK_EQUAL(*again, *first);
  auto different = other->spawn(spec_of("return 1"), {patience, "job-17"});
  CAF_REQUIRE(!different);
  CAF_CHECK_EQUAL(different.error().code, errc::conflict);
  CAF_CHECK_EQUAL(other->list({}, patience)->sessions.size(), 1u);
}

// -- the end of patience ------------------------------------------------------

CAF_TEST(without a node in time the connection is lost) {
  auto id = paused(ask);
  auto options = counted();
  options.reconnect_for = 200ms;
  auto other = *client::connect(options);
  box.node().signal(SIGSTOP);
  auto feed = in_background([&] {
    return other->feed(id, {{"", "x", {}}}, {patience, "job-1"});
  });
  auto wait
    = in_background([&] { return other->await(id, wait_for::end, patience); });
  box.kill();
  auto fed = result_of(feed);
  CAF_REQUIRE(!fed);
  CAF_CHECK_EQUAL(fed.error().code, errc::connection_lost);
  auto waited = result_of(wait);
  CAF_REQUIRE(!waited);
  CAF_CHECK_EQUAL(waited.error().code, errc::connection_lost);
  CAF_CHECK(contains(waited.error().message, "within 200ms"));
  CAF_CHECK(!contains(waited.error().message, "executed"));
  // Also what begins now, and when a node is there again it goes on.
  CAF_CHECK_EQUAL(other->status(patience).error().code, errc::connection_lost);
  box.require_start();
  // On a busy machine 200 ms may be too little for one.
  CAF_CHECK(eventually([&] { return other->status(patience).has_value(); }));
}

CAF_TEST(a request that is too large disturbs nobody) {
  CAF_CHECK_EQUAL(box.stop().code, 0);
  box.require_start({"--node.max-message", "64KiB"});
  auto id = paused(ask);
  auto before = connections.load();
  // Another thread waits over the same connection.
  std::atomic<bool> is_seen = false;
  auto watch = in_background([&] {
    return node->observe(
      id, 0,
      [&](auto&) {
        is_seen = true;
        return true;
      },
      patience);
  });
  CAF_REQUIRE(eventually([&] { return is_seen.load(); }));
  for (std::size_t bytes : {100'000u, 10'000'000u}) {
    auto fed = node->feed(id, {{"q-0", std::string(bytes, 'x'), {}}}, {});
    CAF_REQUIRE(!fed);
    CAF_CHECK_EQUAL(fed.error().code, errc::too_large);
    for (auto* part : {"'feed'", "65536", "node.max-message"})
      CAF_CHECK(contains(fed.error().message, part));
  }
  CAF_CHECK(
    node->feed(id, {{"q-0", std::string(10'000, 'x'), {}}}, {patience}));
  CAF_CHECK(result_of(watch));
  CAF_CHECK_EQUAL(connections.load(), before);
  CAF_CHECK(!contains(box.stop().err, "max-message"));
}

CAF_TEST(a message out of all proportion ends its connection and no other) {
  CAF_CHECK_EQUAL(box.stop().code, 0);
  box.require_start({"--node.max-message", "64KiB"});
  auto id = paused(ask);
  // The client library does not send it. This one talks by messages.
  client_config config;
  caf::actor_system system{config};
  auto found = meet_node(system, *find_node({}, box.state()));
  CAF_REQUIRE(found);
  CAF_CHECK_EQUAL(*found->says.max_message, 65'536u);
  caf::scoped_actor self{system};
  auto feed = [&](std::size_t bytes) {
    errc code{};
    std::vector<answer> answers{{"q-0", std::string(bytes, 'x'), {}}};
    self
      ->request(found->handle, caf::duration{patience}, feed_atom::value, id,
                answers, feed_mode::accepted, once)
      .receive([](feed_reply&) {},
               [&](const caf::error& why) { code = from_caf(why).code; });
    return code;
  };
  CAF_CHECK_EQUAL(feed(100'000), errc::too_large);
  self->monitor(found->handle);
  self->send(found->handle, feed_atom::value, id,
             std::vector<answer>{{"q-0", std::string(10'000'000, 'x'), {}}},
             feed_mode::accepted, once);
  bool is_down = false;
  self->receive([&](const caf::down_msg&) { is_down = true; },
                caf::after(caf::duration{patience}) >>
                  [] { CAF_ERROR("the connection stays"); });
  CAF_CHECK(is_down);
  CAF_CHECK_EQUAL(node->show(id, patience)->queries.size(), 1u);
  auto log = box.stop();
  CAF_CHECK_EQUAL(log.code, 0);
  CAF_CHECK(contains(log.err, "more than twice node.max-message"));
}

CAF_TEST(what may have become of a request is said) {
  auto id = paused(ask_and_work);
  auto options = counted();
  options.reconnect_for = 100ms;
  auto other = *client::connect(options);
  auto feed = in_background([&] {
    return other->feed(id, {{"", "x", {}}}, {patience, "job-1"});
  });
  CAF_REQUIRE(eventually(
    [&] { return node->show(id, patience)->phase == session_phase::running; }));
  box.kill();
  auto fed = result_of(feed);
  CAF_REQUIRE(!fed);
  CAF_CHECK_EQUAL(fed.error().code, errc::connection_lost);
  CAF_CHECK(contains(fed.error().message, "may have been executed"));
  CAF_CHECK(contains(fed.error().message, "'job-1'"));
}

CAF_TEST(a deadline ends the search for a node) {
  auto id = paused(ask);
  box.kill();
  auto late = node->await(id, wait_for::end, 100ms);
  CAF_REQUIRE(!late);
  CAF_CHECK_EQUAL(late.error().code, errc::timeout);
  auto fed = node->feed(id, {{"", "x", {}}}, {100ms});
  CAF_REQUIRE(!fed);
  CAF_CHECK_EQUAL(fed.error().code, errc::timeout);
  // However long that took, and however little time there is now.
  auto found = node->status(2s);
  CAF_CHECK(!found);
  box.require_start();
  CAF_CHECK(node->await(id, wait_for::event, 2s));
}

CAF_TEST(a certificate that is refused is the end of a search) {
  auto tls = box.folder.path() + "/lost";
  CAF_REQUIRE_EQUAL(box.run({"tls", "issue", "lost", "--out", tls}).code, 0);
  auto options = counted();
  options.reconnect_for = patience;
  options.find = [=, find = options.find] {
    auto found = find();
    if (found)
      found->tls = tls;
    return found;
  };
  auto other = client::connect(options);
  CAF_REQUIRE(other);
  CAF_REQUIRE_EQUAL(box.run({"tls", "revoke", "lost"}).code, 0);
  restart();
  connections = 0;
  CAF_CHECK_EQUAL((*other)->status(patience).error().code, errc::not_allowed);
  CAF_CHECK_EQUAL(connections.load(), 1);
}

CAF_TEST(a final error behind a lost connection says what may have been done) {
  auto id = paused(ask_and_work);
  auto tls = box.folder.path() + "/lost";
  CAF_REQUIRE_EQUAL(box.run({"tls", "issue", "lost", "--out", tls}).code, 0);
  auto options = box.options();
  options.find = [=, find = options.find] {
    auto found = find();
    if (found)
      found->tls = tls;
    return found;
  };
  auto other = *client::connect(options);
  auto feed = in_background([&] {
    return other->feed(id, {{"", "x", {}}}, {patience, "job-1"});
  });
  auto wait
    = in_background([&] { return other->await(id, wait_for::end, patience); });
  CAF_REQUIRE(eventually(
    [&] { return node->show(id, patience)->phase == session_phase::running; }));
  CAF_REQUIRE_EQUAL(box.run({"tls", "revoke", "lost"}).code, 0);
  restart();
  auto fed = result_of(feed);
  CAF_REQUIRE(!fed);
  CAF_CHECK_EQUAL(fed.error().code, errc::not_allowed);
  CAF_CHECK(contains(fed.error().message, "may have been executed"));
  CAF_CHECK(contains(fed.error().message, "'job-1'"));
  // One that changes nothing has nothing to tell.
  auto waited = result_of(wait);
  CAF_REQUIRE(!waited);
  CAF_CHECK_EQUAL(waited.error().code, errc::not_allowed);
  CAF_CHECK(!contains(waited.error().message, "executed"));
  // What the next call is refused for, nobody has sent.
  fed = other->feed(id, {{"", "x", {}}}, {patience, "job-2"});
  CAF_REQUIRE(!fed);
  CAF_CHECK_EQUAL(fed.error().code, errc::not_allowed);
  CAF_CHECK(!contains(fed.error().message, "executed"));
}

CAF_TEST(the end of a client ends its calls) {
  auto id = paused(ask);
  std::atomic<bool> is_seen = false;
  std::optional<failure> inner;
  auto observe = in_background([&, link = node.get()] {
    auto see = [&](auto&) {
      is_seen = true;
      inner = link->await(id, wait_for::end).error();
      return true;
    };
    return link->observe(id, 0, see);
  });
  CAF_REQUIRE(eventually([&] { return is_seen.load(); }));
  node.reset();
  auto view = result_of(observe);
  CAF_REQUIRE(!view);
  CAF_CHECK_EQUAL(view.error().code, errc::connection_lost);
  CAF_CHECK_EQUAL(inner->code, errc::connection_lost);
}

CAF_TEST(the end of a client ends its search for a node) {
  auto id = paused(ask);
  std::atomic<bool> is_seen = false;
  auto observe = in_background([&] {
    return node->observe(id, 0, [&](auto&) { return is_seen = true; });
  });
  CAF_REQUIRE(eventually([&] { return is_seen.load(); }));
  box.kill();
  node.reset();
  auto view = result_of(observe);
  CAF_REQUIRE(!view);
  CAF_CHECK_EQUAL(view.error().code, errc::connection_lost);
  CAF_CHECK(contains(view.error().message, "the client was closed"));
}

// -- observers ----------------------------------------------------------------

CAF_TEST(an observer may call the client and end the observation) {
  auto id = paused(ask_thrice);
  std::vector<std::uint64_t> seen;
  auto see = [&](const observed_event& event) {
    seen.push_back(event.seq);
    return node->show(event.session_id, patience)
      .map([&](auto&& view) { return event.seq < view.seq; })
      .value_or(false);
  };
  auto view = node->observe(id, 0, see, patience);
  CAF_REQUIRE(view);
  CAF_REQUIRE(!seen.empty());
  CAF_CHECK_EQUAL(seen.back(), view->seq);
}

CAF_TEST(an observer that comes too late is told how much it missed) {
  black_box narrow;
  narrow.require_start({"--session.observer-window", "2"});
  auto link = *narrow.connect();
  auto id
    = link->start(spec_of("for i = 1, 20 do alc.llm('why?') end"), {patience})
        ->session_id;
  std::uint64_t missed = 0;
  std::uint64_t shown = 0;
  std::uint64_t last = 0;
  auto see = [&](const observed_event& event) {
    if (event.seq == 0) {
      missed += json::parse(event.progress.at(0))["n"].get<std::uint64_t>();
      return true;
    }
    CAF_CHECK(event.seq > last);
    last = event.seq;
    // All of it happens while the first event is looked at.
    if (++shown == 1)
      for (int i = 0; i < 20; ++i)
        CAF_CHECK(link->feed(id, {{"", "x", {}}}, {patience}));
    return true;
  };
  CAF_REQUIRE(link->observe(id, 0, see, patience));
  CAF_CHECK(missed > 0);
  CAF_CHECK_EQUAL(missed + shown, link->show(id, patience)->seq);
}

// -- the command line ---------------------------------------------------------

CAF_TEST(commands that wait go on with the node that comes next) {
  auto id = paused("print('here') return alc.llm('why?')");
  auto watch = launch(box, {"session", "watch", id, "--json"});
  auto log = launch(box, {"session", "log", id, "--follow", "--json"});
  // The node goes while both work on their first answers.
  auto sign = box.folder.path() + "/sign-";
  auto answer = [&](const char* name) {
    return fmt::format("cat; touch {0}{1}; "
                       "until [ -e {0}go ]; do sleep 0.01; done",
                       sign, name);
  };
  auto script = box.folder.write("thrice.lua", ask_thrice);
  auto run = launch(box, {"run", script, "--answer", answer("run"), "--json"});
  auto follow = launch(box, {"session", "follow", paused(ask_thrice),
                             "--answer", answer("follow"), "--json"});
  // The first connection is tried once, so all must have theirs.
  CAF_CHECK_EQUAL(json::parse(watch->read_line(patience))["seq"], 1);
  CAF_CHECK_EQUAL(json::parse(log->read_line(patience))["message"], "here");
  for (auto* name : {"run", "follow"})
    CAF_REQUIRE(
      eventually([&] { return ::access((sign + name).c_str(), F_OK) == 0; }));
  restart();
  box.folder.write("sign-go", "");
  CAF_CHECK(node->feed(id, {{"", "x", {}}}, {patience}));
  for (auto* command : {run.get(), follow.get()}) {
    auto result = end_of(*command);
    CAF_CHECK_EQUAL(result.code, 0);
    CAF_CHECK_EQUAL(only_document(result.out)["result"].dump(),
                    R"(["why 1","why 2","why 3"])");
  }
  CAF_CHECK_EQUAL(end_of(*log).code, 0);
  auto watched = end_of(*watch);
  CAF_CHECK_EQUAL(watched.code, 0);
  auto undisturbed = box.run_json({"session", "watch", id});
  CAF_CHECK_EQUAL(watched.out, undisturbed.out);
}

CAF_TEST(a command that is repeated under its id is not done again) {
  temporary_folder files;
  auto file = files.write("why.lua", ask);
  auto run = [&] {
    return box.run_json({"run", file, "--detach", "--request-id", "job-1"});
  };
  auto first = run();
  CAF_CHECK_EQUAL(first.code, 0);
  restart();
  auto id = first.document()["session_id"].get<std::string>();
  CAF_CHECK_EQUAL(run().document()["session_id"], id);
  auto feed = [&] {
    return box.run_json(
      {"session", "feed", id, "because", "--request-id", "job-2"});
  };
  CAF_CHECK_EQUAL(feed().document()["status"], "completed");
  CAF_CHECK_EQUAL(feed().document()["result"], "because");
  CAF_CHECK_EQUAL(node->list({}, patience)->sessions.size(), 1u);
  auto set = [&](const char* value, const char* request) {
    return box.run_json(
      {"state", "set", "key", value, "--request-id", request});
  };
  auto version = set("1", "job-3").document()["version"];
  CAF_CHECK_EQUAL(set("2", "job-4").code, 0);
  CAF_CHECK_EQUAL(set("1", "job-3").document()["version"], version);
  CAF_CHECK_EQUAL(set("3", "job-4").error_code(), "conflict");
  CAF_CHECK_EQUAL(*node->state_get({"default", "key"})->value, "2");
}

CAF_TEST(a command whose node stays away exits with 4) {
  auto id = paused(ask);
  auto watch
    = launch(box, {"session", "watch", id, "--json", "--reconnect-for", "0s"});
  CAF_CHECK(!watch->read_line(patience).empty());
  auto patient = launch(
    box, {"session", "watch", id, "--json", "--reconnect-for", "200ms"});
  CAF_CHECK(!patient->read_line(patience).empty());
  box.kill();
  for (auto* command : {watch.get(), patient.get()}) {
    auto result = end_of(*command);
    CAF_CHECK_EQUAL(result.code, 4);
    CAF_CHECK_EQUAL(result.error_code(), "connection_lost");
  }
}

CAF_TEST_FIXTURE_SCOPE_END()
