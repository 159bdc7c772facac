// SPDX-License-Identifier: Apache-2.0

// The sockets of tests keep to what the real ones do.

#define CAF_SUITE process.scripted_sockets

#include "tests/support/scripted_sockets.hpp"

#include "tests/support/suite.hpp"

using namespace muster;
using namespace muster::test;
using namespace std::chrono_literals;

namespace {

struct fixture {
  fixture() {
    port.peers[path] = {};
  }

  socket_listener listener(const std::string& name = "") {
    return [this, name](const socket_event& event) {
      if (std::holds_alternative<socket_opened>(event))
        heard.push_back(name + "opened");
      else if (auto frame = std::get_if<socket_frame>(&event))
        heard.push_back(name + "frame " + frame->text);
      else
        heard.push_back(name
                        + to_string(std::get<socket_closed>(event).why.code));
    };
  }

  connection_id connect() {
    return *port.connect(path, listener());
  }

  /// What was heard since this was asked last.
  std::vector<std::string> news() {
    return std::exchange(heard, {});
  }

  using words = std::vector<std::string>;

  std::string path = "/run/worker";
  scripted_sockets port;
  words heard;
};

} // namespace

CAF_TEST_FIXTURE_SCOPE(scripted_sockets_tests, fixture)

CAF_TEST(a peer answers each frame) {
  port.peers[path].on_frame = [&](connection_id id, const std::string& text) {
    port.say(id, "you said " + text);
  };
  auto id = connect();
  CAF_CHECK(news() == words{"opened"});
  CAF_CHECK(port.send(id, "one"));
  CAF_CHECK(port.send(id, "two"));
  CAF_CHECK(news() == (words{"frame you said one", "frame you said two"}));
  CAF_CHECK_EQUAL(port.sent.size(), 2u);
  CAF_CHECK_EQUAL(port.sent.front().first, path);
  CAF_CHECK(port.at(path) == std::vector<connection_id>{id});
}

CAF_TEST(nobody connects to nothing) {
  CAF_CHECK(port.connect("/run/other", listener()));
  CAF_CHECK(news() == words{"unreachable"});
  port.peers[path].refused = failure{errc::not_allowed, "no"};
  connect();
  CAF_CHECK(news() == words{"not_allowed"});
  port.peers[path] = {};
  port.peers[path].who.uid = ::geteuid() + 1;
  connect();
  CAF_CHECK(news() == words{"not_allowed"});
  CAF_CHECK_EQUAL(port.size(), 0u);
  CAF_CHECK_EQUAL(port.connected.size(), 3u);
  CAF_CHECK_EQUAL(port.connect("worker", listener()).error().code,
                  errc::invalid_argument);
  CAF_CHECK_EQUAL(
    port.connect("/" + std::string(107, 'x'), listener()).error().code,
    errc::invalid_argument);
}

CAF_TEST(a full queue ends with time) {
  port.peers[path].is_full = true;
  auto id = connect();
  CAF_CHECK(port.send(id, "one"));
  port.advance(port.limits.connect_within - 1ms);
  CAF_CHECK(news().empty());
  port.advance(1ms);
  CAF_CHECK(news() == words{"timeout"});
  CAF_CHECK_EQUAL(port.send(id, "two").error().code, errc::not_found);
}

CAF_TEST(a late peer comes when its time has come) {
  port.peers[path].delay = 10ms;
  port.peers[path].on_frame = [&](connection_id id, const std::string& text) {
    port.say(id, text);
    if (text == "bye")
      port.hang_up(id);
  };
  auto id = connect();
  CAF_CHECK(port.send(id, "one"));
  port.advance(9ms);
  CAF_CHECK(port.send(id, "bye"));
  CAF_CHECK(news() == words{"opened"});
  port.advance(1ms);
  CAF_CHECK(news() == words{"frame one"});
  port.advance(9ms);
  CAF_CHECK(news() == (words{"frame bye", "connection_lost"}));
  CAF_CHECK_EQUAL(port.size(), 0u);
}

CAF_TEST(a closed connection is silent) {
  port.peers[path].delay = 10ms;
  auto id = connect();
  port.say(id, "one");
  port.hang_up(id);
  port.close(id);
  port.advance(1h);
  CAF_CHECK(news() == words{"opened"});
  port.say(id, "two");
  port.hang_up(id);
  CAF_CHECK(news().empty());
  CAF_CHECK_EQUAL(port.listen(id, listener()).error().code, errc::not_found);
}

CAF_TEST(another one listens from now on) {
  auto id = connect();
  port.say(id, "one");
  CAF_CHECK(port.listen(id, listener("second ")));
  port.say(id, "two");
  port.hang_up(id, {errc::too_large, "too much"});
  CAF_CHECK(
    news()
    == (words{"opened", "frame one", "second frame two", "second too_large"}));
}

CAF_TEST(limits are those of the real ones) {
  port.limits.max_frame_bytes = 10;
  port.limits.max_waiting_bytes = 11;
  port.limits.max_connections = 1;
  port.peers[path].reads = false;
  auto id = connect();
  CAF_CHECK_EQUAL(port.connect(path, listener()).error().code,
                  errc::overloaded);
  CAF_CHECK_EQUAL(port.send(id, "12345678901").error().code, errc::too_large);
  CAF_CHECK_EQUAL(port.send(id, "a\nb").error().code, errc::invalid_argument);
  CAF_CHECK(port.send(id, "1234567890"));
  CAF_CHECK_EQUAL(port.send(id, "").error().code, errc::overloaded);
  CAF_CHECK_EQUAL(port.sent.size(), 1u);
}

CAF_TEST(a listener may use the port and hears one thing after the other) {
  port.peers[path].on_frame
    = [&](connection_id id, const std::string& text) { port.say(id, text); };
  bool is_inside = false;
  auto id = port.connect(path, [&](const socket_event& event) {
    CAF_CHECK(!std::exchange(is_inside, true));
    if (auto opened = std::get_if<socket_opened>(&event))
      CAF_CHECK(port.send(opened->id, "one"));
    auto frame = std::get_if<socket_frame>(&event);
    if (frame && frame->text == "one")
      CAF_CHECK(port.send(frame->id, "two"));
    if (frame && frame->text == "two")
      port.close(frame->id);
    listener()(event);
    is_inside = false;
  });
  CAF_REQUIRE(id);
  CAF_CHECK(news() == (words{"opened", "frame one", "frame two"}));
  CAF_CHECK_EQUAL(port.size(), 0u);
}

CAF_TEST(what is sent early comes in time) {
  words taken;
  port.peers["/run/second"].on_frame
    = [&](connection_id, const std::string& text) { taken.push_back(text); };
  // In the middle of a call, the next connection stands only after it.
  auto id = port.connect(path, [&](const socket_event&) {
    auto second = port.connect("/run/second", listener());
    CAF_CHECK(port.send(*second, "one"));
    CAF_CHECK(port.send(*second, "two"));
    CAF_CHECK(taken.empty());
  });
  CAF_REQUIRE(id);
  CAF_CHECK(news() == words{"opened"});
  CAF_CHECK(taken == (words{"one", "two"}));
}

CAF_TEST(a stop is told to those that listen) {
  auto id = connect();
  connect();
  port.close(id);
  port.stop();
  CAF_CHECK(news() == (words{"opened", "opened", "shutting_down"}));
  CAF_CHECK_EQUAL(port.connect(path, listener()).error().code,
                  errc::shutting_down);
  port.restart_holder();
  auto next = connect();
  CAF_CHECK(next > id);
  port.restart_holder();
  CAF_CHECK_EQUAL(port.size(), 0u);
  CAF_CHECK(news() == words{"opened"});
}

CAF_TEST_FIXTURE_SCOPE_END()
