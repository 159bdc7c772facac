// SPDX-License-Identifier: Apache-2.0

// Peers that die, hang or cannot be reached, in the middle of what they were
// asked: each wait ends, nothing is left behind, and what is asked again is not
// done again.

#define CAF_SUITE black_box.lost_and_found

#include "tests/black_box/calls.hpp"
#include "tests/black_box/command_line.hpp"
#include "tests/black_box/split_network.hpp"
#include "tests/black_box/told_work.hpp"
#include "tests/support/suite.hpp"

#include <atomic>
#include <mutex>

#include <arpa/inet.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

using namespace muster;
using namespace muster::test;
using namespace std::chrono_literals;

namespace {

/// Shows soon what it still has, and keeps no actor that nobody needs.
const std::vector<std::string> attentive{"--tick.interval", "20ms",
                                         "--session.passivate-after", "50ms"};

/// A client, which must connect.
std::unique_ptr<client> connected(client_options options) {
  auto made = client::connect(std::move(options));
  if (!made)
    throw std::runtime_error{made.error().message};
  return std::move(*made);
}

/// One that does not look for the node when its connection breaks.
client_options without_search(client_options options) {
  options.reconnect_for = {};
  return options;
}

std::string paused(client& node, const char* code) {
  auto view = node.start(spec_of(code), {patience});
  if (!view || view->phase != session_phase::paused)
    throw std::runtime_error{"the session does not pause"};
  return view->session_id;
}

bool is_lost(const expected<session_view>& x) {
  return !x && x.error().code == errc::connection_lost;
}

/// What a node still does for clients.
struct burden {
  std::uint64_t clients = 0;
  std::uint64_t requests = 0;
  std::uint64_t sessions = 0;

  friend bool operator==(const burden&, const burden&) = default;
};

burden burden_in(const json& status) {
  return {status["node"]["clients_waiting"], status["node"]["requests"],
          status["sessions"].value("active", std::uint64_t{99})};
}

burden burden_of(client& node) {
  auto status = node.status(patience);
  if (!status)
    throw std::runtime_error{status.error().message};
  return burden_in(json::parse(*status));
}

/// Somebody who is sent packets on the loopback address, and says nothing.
class udp_listener {
public:
  explicit udp_listener(std::uint16_t port)
    : socket_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::bind(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address))
        != 0)
      throw std::runtime_error{"cannot listen for packets"};
  }

  ~udp_listener() {
    ::close(socket_);
  }

  udp_listener(const udp_listener&) = delete;

  udp_listener& operator=(const udp_listener&) = delete;

  /// Whether a packet has come.
  bool was_asked() {
    char first = 0;
    return ::recv(socket_, &first, 1, MSG_DONTWAIT) > 0;
  }

private:
  int socket_;
};

/// The answer that a session has got, of which there must be one.
void check_answered_once(client& node, const std::string& id,
                         const std::string& answer) {
  auto text = node.transcript(id, patience);
  CAF_REQUIRE(text);
  auto all = json::parse(*text);
  CAF_REQUIRE_EQUAL(all.size(), 1u);
  CAF_CHECK_EQUAL(all[0]["response"], answer);
}

/// Everything that an observer was shown.
class diary {
public:
  bool add(const observed_event& event) {
    std::lock_guard guard{mutex_};
    numbers_.push_back(event.seq);
    return true;
  }

  std::vector<std::uint64_t> numbers() {
    std::lock_guard guard{mutex_};
    return numbers_;
  }

  /// Whether it is each event up to that number, once.
  bool is_whole(std::uint64_t last) {
    auto all = numbers();
    for (std::size_t i = 0; i < all.size(); ++i)
      if (all[i] != i + 1)
        return false;
    return all.size() == last;
  }

private:
  std::mutex mutex_;
  std::vector<std::uint64_t> numbers_;
};

} // namespace

// -- nodes that die -----------------------------------------------------------

CAF_TEST(
  whatever several clients ask is done once however often the node dies) {
  constexpr int workers = 3;
  constexpr int jobs = 4;
  black_box box;
  box.require_start();
  auto own = connected(box.options());
  auto shared = paused(*own, ask_thrice);
  // Some look on and wait.
  std::vector<std::unique_ptr<client>> clients;
  std::vector<std::unique_ptr<diary>> diaries;
  std::vector<std::future<expected<session_view>>> waits;
  for (int i = 0; i < 2; ++i) {
    auto* node = clients.emplace_back(connected(box.options())).get();
    auto* seen = diaries.emplace_back(std::make_unique<diary>()).get();
    waits.push_back(in_background([=] {
      return node->observe(
        shared, 0, [=](auto& event) { return seen->add(event); }, patience);
    }));
    waits.push_back(in_background(
      [=] { return node->await(shared, wait_for::end, patience); }));
  }
  // Others work, each with names of its own for what it asks.
  std::atomic<int> done{0};
  auto work = [&](client& node, int number) -> expected<void> {
    for (int job = 0; job < jobs; ++job) {
      auto name = fmt::format("{}.{}", number, job);
      auto id = node.spawn(spec_of(ask), {patience, "spawn-" + name});
      if (!id)
        return tl::unexpected<failure>{id.error()};
      auto view = node.await(*id, wait_for::event, patience);
      if (!view)
        return tl::unexpected<failure>{view.error()};
      auto reply = node.feed(*id, {{"", name, {}}}, {patience, "feed-" + name});
      if (!reply)
        return tl::unexpected<failure>{reply.error()};
      if (auto& refused = reply->results.at(0).refused)
        return tl::unexpected<failure>{*refused};
      if (reply->session.result != '"' + name + '"')
        return fail(errc::internal, "another result");
      ++done;
    }
    return {};
  };
  std::vector<std::future<expected<void>>> works;
  for (int i = 0; i < workers; ++i) {
    auto* node = clients.emplace_back(connected(box.options())).get();
    works.push_back(in_background([&, node, i] { return work(*node, i); }));
  }
  for (int i = 0; i < 3; ++i) {
    CAF_CHECK(eventually([&] { return done >= 3 * i + 1; }));
    box.kill();
    box.require_start();
    CAF_CHECK(own->feed(shared, {{"", "x", {}}}, {patience}));
  }
  for (auto& call : works)
    if (auto worked = result_of(call); !worked)
      CAF_ERROR(worked.error().message);
  auto end = own->show(shared, patience);
  CAF_REQUIRE(end);
  CAF_CHECK_EQUAL(end->result, R"(["x","x","x"])");
  for (auto& call : waits) {
    auto view = result_of(call);
    if (!view)
      CAF_ERROR(view.error().message);
  }
  for (auto& seen : diaries)
    CAF_CHECK(seen->is_whole(end->seq));
  auto page = own->list({}, patience);
  CAF_REQUIRE(page);
  CAF_CHECK_EQUAL(page->sessions.size(), std::size_t{workers * jobs + 1});
}

// -- clients that die ---------------------------------------------------------

CAF_TEST(a client that is killed in the middle of a request leaves nothing) {
  black_box box;
  box.require_start(attentive);
  auto own = connected(box.options());
  auto waited = paused(*own, ask);
  auto fed = paused(*own, ask_and_work);
  CAF_REQUIRE(eventually([&] { return burden_of(*own) == burden{}; }));
  auto before = footprint_of(box.node().pid());
  std::vector<std::unique_ptr<process>> dying;
  dying.push_back(launch(box, {"session", "wait", waited, "--timeout", "1h"}));
  dying.push_back(launch(box, {"session", "watch", waited}));
  dying.push_back(launch(box, {"session", "feed", fed, "x"}));
  CAF_CHECK(eventually([&] { return burden_of(*own) == burden{2, 2, 2}; }));
  CAF_CHECK(eventually([&] {
    return footprint_of(box.node().pid()).descriptors >= before.descriptors + 3;
  }));
  for (auto& client : dying)
    client->signal(SIGKILL);
  // What the session computes goes on to its end.
  CAF_CHECK(eventually([&] { return burden_of(*own) == burden{}; }));
  auto after = before;
  if (!eventually([&] {
        after = footprint_of(box.node().pid());
        return after.descriptors <= before.descriptors
               && after.threads <= before.threads;
      }))
    CAF_ERROR("it had " << to_string(before) << ", and now "
                        << to_string(after));
  check_answered_once(*own, fed, "x");
  CAF_CHECK_EQUAL(own->show(fed, patience)->result, "\"x\"");
  CAF_CHECK_EQUAL(own->show(waited, patience)->phase, session_phase::paused);
}

// -- peers that hang ----------------------------------------------------------

CAF_TEST(calls of a node that hangs end and are done once when it goes on) {
  black_box box;
  box.require_start();
  auto own = connected(box.options());
  auto strict = connected(without_search(box.options()));
  auto waited = paused(*own, ask);
  auto fed = paused(*own, ask);
  auto wait
    = in_background([&] { return strict->await(waited, wait_for::end); });
  auto goes_on = in_background(
    [&] { return own->await(waited, wait_for::end, patience); });
  CAF_REQUIRE(eventually([&] { return burden_of(*own).requests == 2; }));
  box.node().signal(SIGSTOP);
  // It takes a moment until the last of its threads stands still.
  CAF_REQUIRE(eventually([&] {
    auto late = own->show(waited, 200ms);
    return !late && late.error().code == errc::timeout;
  }));
  // It lies in front of the node, which reads it when it goes on.
  auto feed = in_background([&] {
    return own->feed(fed, {{"", "x", {}}}, {patience});
  });
  // This one has no deadline.
  CAF_CHECK(is_lost(result_of(wait)));
  box.node().signal(SIGCONT);
  auto reply = result_of(feed);
  CAF_REQUIRE(reply);
  CAF_CHECK(!reply->results.at(0).refused);
  check_answered_once(*own, fed, "x");
  CAF_CHECK(own->feed(waited, {{"", "y", {}}}, {patience}));
  auto end = result_of(goes_on);
  CAF_REQUIRE(end);
  CAF_CHECK_EQUAL(end->result, "\"y\"");
}

CAF_TEST(a client that hangs is dropped and comes back when it goes on) {
  black_box box;
  box.require_start(attentive);
  auto own = connected(box.options());
  auto id = paused(*own, ask);
  CAF_REQUIRE(eventually([&] { return burden_of(*own) == burden{}; }));
  auto before = footprint_of(box.node().pid()).descriptors;
  auto wait = launch(box, {"session", "wait", id, "--json"});
  auto watch = launch(box, {"session", "watch", id, "--json"});
  CAF_CHECK(eventually([&] { return burden_of(*own) == burden{1, 1, 1}; }));
  CAF_CHECK_EQUAL(json::parse(watch->read_line(patience))["seq"], 1);
  for (auto* client : {wait.get(), watch.get()})
    client->signal(SIGSTOP);
  // Until the node has noticed, and behind that, others are served.
  auto serve = [&] {
    auto other = own->start(spec_of("return 1"), {patience});
    CAF_REQUIRE(other);
    CAF_REQUIRE_EQUAL(other->result, "1");
  };
  int served_before = 0;
  CAF_CHECK(eventually([&] {
    serve();
    auto left = burden_of(*own);
    CAF_CHECK_EQUAL(left.clients, left.requests);
    served_before += left.requests == 1;
    return left.requests == 0;
  }));
  // A node that waited for the one that hangs would have served one, maybe.
  CAF_CHECK(served_before >= 5);
  CAF_CHECK(eventually([&] {
    serve();
    return burden_of(*own) == burden{}
           && footprint_of(box.node().pid()).descriptors <= before;
  }));
  for (auto* client : {wait.get(), watch.get()})
    client->signal(SIGCONT);
  CAF_CHECK(eventually([&] { return burden_of(*own) == burden{1, 1, 1}; }));
  auto fed = own->feed(id, {{"", "x", {}}}, {patience});
  CAF_REQUIRE(fed);
  auto waited = end_of(*wait);
  CAF_CHECK_EQUAL(waited.code, 0);
  CAF_CHECK_EQUAL(only_document(waited.out)["result"], "x");
  auto watched = end_of(*watch);
  CAF_CHECK_EQUAL(watched.code, 0);
  CAF_CHECK_EQUAL(watched.out, box.run_json({"session", "watch", id}).out);
}

// -- names that nobody tells --------------------------------------------------

CAF_TEST(a name server that never answers costs no more than a node does) {
  split_network network;
  // It takes questions, and that is all.
  udp_listener name_server{53};
  temporary_folder files;
  auto config = files.write("resolv.conf", "nameserver 127.0.0.1\n"
                                           "options timeout:30 attempts:5\n");
  program_options own_names;
  own_names.runner = {"/usr/bin/unshare",
                      "--mount",
                      "/bin/sh",
                      "-c",
                      "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"",
                      config};
  black_box box;
  box.require_start();
  // The system would let it wait for minutes.
  auto result
    = box.run_json({"--node", "node.example.org:7411", "status"}, own_names);
  CAF_CHECK_EQUAL(result.code, 4);
  CAF_CHECK_EQUAL(result.error_code(), "unreachable");
  CAF_CHECK(contains(result.err, "node.example.org"));
  CAF_CHECK(name_server.was_asked());
  // What is no name needs none.
  auto address = fmt::format("127.0.0.1:{}", box.ready().at("port").get<int>());
  CAF_CHECK_EQUAL(box.run({"--node", address, "status"}, own_names).code, 0);
}

// -- networks that are cut ----------------------------------------------------

CAF_TEST(both sides of a cut network notice and go on when it is mended) {
  split_network network;
  black_box box;
  auto arguments = attentive;
  arguments.insert(arguments.end(), {"--host", "0.0.0.0"});
  program_options far;
  far.runner = network.far_side();
  box.require_start(arguments, far);
  client_options options;
  options.host = network.far_address();
  options.port = box.ready().at("port").get<std::uint16_t>();
  options.tls = box.state() + "/tls";
  auto own = connected(options);
  auto strict = connected(without_search(options));
  // Somebody on the other side of the cut looks at the node.
  auto status
    = [&] { return burden_in(box.run_json({"status"}, far).document()); };
  auto waited = paused(*own, ask_thrice);
  auto taken = paused(*own, ask_and_work);
  auto lost = paused(*own, ask);
  CAF_REQUIRE(eventually([&] { return status() == burden{}; }));
  diary seen;
  auto watch = in_background([&] {
    return own->observe(
      waited, 0, [&](auto& event) { return seen.add(event); }, patience);
  });
  auto wait = in_background(
    [&] { return own->await(waited, wait_for::end, patience); });
  auto strict_wait
    = in_background([&] { return strict->await(waited, wait_for::end); });
  CAF_REQUIRE(eventually([&] { return status() == burden{2, 2, 1}; }));
  // The node has taken this one when the network is cut, and its answer does
  // not come through.
  auto first = in_background([&] {
    return own->feed(taken, {{"", "x", {}}}, {patience});
  });
  CAF_REQUIRE(eventually([&] {
    return strict->show(taken, patience)->phase == session_phase::running;
  }));
  network.cut();
  // This one never comes to it.
  auto second = in_background([&] {
    return own->feed(lost, {{"", "y", {}}}, {patience});
  });
  CAF_CHECK(eventually([&] { return status() == burden{}; }));
  CAF_CHECK(is_lost(result_of(strict_wait)));
  auto none = strict->show(waited, 100ms);
  CAF_REQUIRE(!none);
  CAF_CHECK(none.error().code == errc::connection_lost
            || none.error().code == errc::timeout);
  network.mend();
  auto reply = result_of(first);
  CAF_REQUIRE(reply);
  CAF_CHECK(!reply->results.at(0).refused);
  CAF_CHECK_EQUAL(reply->session.result, "\"x\"");
  check_answered_once(*own, taken, "x");
  reply = result_of(second);
  CAF_REQUIRE(reply);
  CAF_CHECK(!reply->results.at(0).refused);
  check_answered_once(*own, lost, "y");
  for (int i = 0; i < 3; ++i)
    CAF_CHECK(own->feed(waited, {{"", "z", {}}}, {patience}));
  auto end = result_of(wait);
  CAF_REQUIRE(end);
  CAF_CHECK_EQUAL(end->result, R"(["z","z","z"])");
  CAF_CHECK(result_of(watch));
  CAF_CHECK(seen.is_whole(end->seq));
}
