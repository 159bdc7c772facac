// SPDX-License-Identifier: Apache-2.0

#define CAF_SUITE process.system_sockets

#include "actors/process/system_sockets.hpp"

#include "tests/support/real_sockets.hpp"
#include "tests/support/suite.hpp"

#include "actors/process/system_processes.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <functional>
#include <future>
#include <thread>
#include <vector>

#include <sys/resource.h>
#include <sys/stat.h>

using namespace muster;
using namespace muster::test;
using namespace std::chrono_literals;
using namespace std::string_literals;

namespace {

/// Stays in the middle of a call for a moment, so that others do what they must
/// not do then, if they do it at all.
void dawdle(const std::function<bool()>& is_wrong) {
  auto end = std::chrono::steady_clock::now() + 20ms;
  while (!is_wrong() && std::chrono::steady_clock::now() < end)
    std::this_thread::yield();
}

struct fixture {
  ~fixture() {
    port.stop();
  }

  /// A connection that stands.
  connection_id connected(const std::string& path) {
    auto id = port.connect(path, heard.listener());
    CAF_REQUIRE(id);
    CAF_CHECK_EQUAL(heard.next<socket_opened>().id, *id);
    return *id;
  }

  /// Why a connection is over, or never stood.
  failure end_of(connection_id id) {
    auto out = heard.next<socket_closed>();
    CAF_CHECK_EQUAL(out.id, id);
    CAF_CHECK(heard.is_silent());
    return out.why;
  }

  failure refusal(const std::string& path) {
    auto id = port.connect(path, heard.listener());
    CAF_REQUIRE(id);
    return end_of(*id);
  }

  /// Keeps the loop from serving anything.
  class pause {
  public:
    explicit pause(io_loop& loop) {
      std::promise<void> begun;
      std::ignore = loop.call_at(io_loop::clock::now(),
                                 [&begun, go = go_.get_future().share()] {
                                   begun.set_value();
                                   go.wait();
                                 });
      begun.get_future().wait();
    }

    ~pause() {
      go_.set_value();
    }

  private:
    std::promise<void> go_;
  };

  socket_limits small{10, 1'000'000, 3, 50ms, 50ms};

  socket_folder folder;
  std::string path = folder / "socket";
  socket_ear heard;
  std::shared_ptr<io_loop> loop = *io_loop::open();
  system_sockets port{loop};
};

} // namespace

CAF_TEST_FIXTURE_SCOPE(system_sockets_tests, fixture)

// -- beginning ----------------------------------------------------------------

CAF_TEST(frames go to and fro) {
  plain_listener server{path};
  auto id = port.connect(path, heard.listener());
  CAF_REQUIRE(id);
  auto opened = heard.next<socket_opened>();
  CAF_CHECK_EQUAL(opened.id, *id);
  CAF_CHECK(opened.peer == (peer_credentials{::getpid(), ::geteuid()}));
  CAF_CHECK_EQUAL(port.size(), 1u);
  auto peer = server.accept();
  CAF_CHECK(port.send(*id, "hello"));
  CAF_CHECK(port.send(*id, ""));
  CAF_CHECK(port.send(*id, "\r\t\0"s));
  CAF_CHECK_EQUAL(peer.read(11), "hello\n\n\r\t\0\n"s);
  peer.write("one\n\ntwo\r\nthr");
  CAF_CHECK_EQUAL(heard.next<socket_frame>().text, "one");
  CAF_CHECK_EQUAL(heard.next<socket_frame>().text, "");
  CAF_CHECK_EQUAL(heard.next<socket_frame>().text, "two\r");
  peer.write("ee\n");
  auto frame = heard.next<socket_frame>();
  CAF_CHECK_EQUAL(frame.id, *id);
  CAF_CHECK_EQUAL(frame.text, "three");
  peer.close();
  auto why = end_of(*id);
  CAF_CHECK_EQUAL(why.code, errc::connection_lost);
  CAF_CHECK_EQUAL(why.message, "'" + path + "' ended the connection");
  CAF_CHECK_EQUAL(port.size(), 0u);
  CAF_CHECK_EQUAL(port.send(*id, "x").error().code, errc::not_found);
  CAF_CHECK_EQUAL(port.listen(*id, heard.listener()).error().code,
                  errc::not_found);
}

CAF_TEST(what is sent before a connection stands or before its end is sent) {
  plain_listener server{path};
  for (int i = 0; i < 100; ++i) {
    auto id = port.connect(path, heard.listener());
    CAF_REQUIRE(id);
    CAF_CHECK(port.send(*id, "good"));
    CAF_CHECK(port.send(*id, "bye"));
    port.close(*id);
    CAF_CHECK_EQUAL(port.send(*id, "x").error().code, errc::not_found);
    auto peer = server.accept();
    CAF_REQUIRE_EQUAL(peer.read(100), "good\nbye\n");
  }
  CAF_CHECK_EQUAL(port.size(), 0u);
}

CAF_TEST(nobody is there) {
  CAF_CHECK_EQUAL(refusal(path).code, errc::unreachable);
  { plain_listener dead{path}; }
  auto why = refusal(path);
  CAF_CHECK_EQUAL(why.code, errc::unreachable);
  CAF_CHECK_EQUAL(why.message,
                  "cannot connect to '" + path + "': Connection refused");
  CAF_CHECK_EQUAL(refusal(folder.path()).code, errc::unreachable);
  CAF_CHECK_EQUAL(port.size(), 0u);
}

CAF_TEST(a path must fit and be absolute) {
  auto longest = folder.path_of_size(107);
  plain_listener server{longest};
  connected(longest);
  for (auto& wrong : {folder.path_of_size(108), folder.path_of_size(200),
                      "socket"s, ""s, path + "\0"s}) {
    auto id = port.connect(wrong, heard.listener());
    CAF_REQUIRE(!id);
    CAF_CHECK_EQUAL(id.error().code, errc::invalid_argument);
  }
  CAF_CHECK(heard.is_silent());
}

CAF_TEST(a full queue is tried again until it has room) {
  plain_listener server{path, 0};
  plain_socket first{path};
  auto id = port.connect(path, heard.listener());
  CAF_REQUIRE(id);
  CAF_CHECK(port.send(*id, "waited"));
  // It has been refused by then, as the attempt stands before this.
  pause{*loop};
  CAF_CHECK(heard.is_silent());
  auto other = server.accept();
  CAF_CHECK_EQUAL(heard.next<socket_opened>().id, *id);
  CAF_CHECK_EQUAL(server.accept().read(7), "waited\n");
}

CAF_TEST(a full queue is no connection) {
  system_sockets impatient{loop, small};
  plain_listener server{path, 0};
  plain_socket first{path};
  auto id = impatient.connect(path, heard.listener());
  auto why = end_of(*id);
  CAF_CHECK_EQUAL(why.code, errc::timeout);
  CAF_CHECK_EQUAL(why.message, "'" + path + "' accepts nobody within 50 ms");
  CAF_CHECK_EQUAL(impatient.size(), 0u);
}

CAF_TEST(a socket of another user is refused) {
  if (::geteuid() != 0) {
    CAF_MESSAGE("only root can become another user");
    return;
  }
  ::chmod(folder.path().c_str(), 0777);
  auto address = *unix_address(path);
  other_user thief{[&address] {
    auto socket = ::socket(AF_UNIX, SOCK_STREAM, 0);
    return ::bind(socket, reinterpret_cast<const sockaddr*>(&address),
                  sizeof(address))
             == 0
           && ::listen(socket, 1) == 0;
  }};
  auto why = refusal(path);
  CAF_CHECK_EQUAL(why.code, errc::not_allowed);
  CAF_CHECK_EQUAL(why.message, "the other end of '" + path
                                 + "' belongs to user 65534, this one to user "
                                   "0");
}

CAF_TEST(there are no more connections than the limit) {
  system_sockets few{loop, small};
  plain_listener server{path};
  std::vector<connection_id> ids;
  for (int i = 0; i < 3; ++i)
    ids.push_back(*few.connect(path, heard.listener()));
  CAF_CHECK_EQUAL(few.connect(path, heard.listener()).error().code,
                  errc::overloaded);
  few.close(ids.front());
  CAF_CHECK(few.connect(path, heard.listener()));
}

CAF_TEST(a thousand that never answer cost no thread) {
  rlimit before{};
  ::getrlimit(RLIMIT_NOFILE, &before);
  rlimit enough{before.rlim_max, before.rlim_max};
  ::setrlimit(RLIMIT_NOFILE, &enough);
  auto threads = running_threads();
  auto descriptors = open_descriptors();
  plain_listener server{path, 1'000};
  std::vector<connection_id> ids;
  for (int i = 0; i < 1'000; ++i)
    ids.push_back(*port.connect(path, heard.listener()));
  for (auto id : ids)
    CAF_REQUIRE_EQUAL(heard.next<socket_opened>().id, id);
  for (auto id : ids)
    CAF_REQUIRE(port.send(id, "are you there?"));
  CAF_CHECK_EQUAL(port.size(), 1'000u);
  CAF_CHECK_EQUAL(running_threads(), threads);
  // One of them does, and is not kept waiting by the others.
  auto peer = server.accept();
  CAF_CHECK_EQUAL(peer.read(15), "are you there?\n");
  peer.write("yes\n");
  CAF_CHECK_EQUAL(heard.next<socket_frame>().text, "yes");
  for (auto id : ids)
    port.close(id);
  CAF_CHECK_EQUAL(port.size(), 0u);
  server.close();
  peer.close();
  CAF_CHECK_EQUAL(open_descriptors(), descriptors);
  CAF_CHECK(heard.is_silent());
  ::setrlimit(RLIMIT_NOFILE, &before);
}

// -- what is no frame ---------------------------------------------------------

CAF_TEST(a frame that is too long ends the connection) {
  system_sockets strict{loop, small};
  plain_listener server{path};
  auto id = *strict.connect(path, heard.listener());
  heard.next<socket_opened>();
  auto peer = server.accept();
  peer.write("1234567890\n12345678901");
  CAF_CHECK_EQUAL(heard.next<socket_frame>().text, "1234567890");
  auto why = end_of(id);
  CAF_CHECK_EQUAL(why.code, errc::too_large);
  CAF_CHECK_EQUAL(why.message,
                  "'" + path + "' sent a frame of more than 10 bytes");
  CAF_CHECK_EQUAL(peer.read(1), "");
}

CAF_TEST(a frame that is not UTF - 8 ends the connection) {
  plain_listener server{path};
  auto id = connected(path);
  server.accept().write("\xC3\xA9\n\xC3\n");
  CAF_CHECK_EQUAL(heard.next<socket_frame>().text, "\xC3\xA9");
  auto why = end_of(id);
  CAF_CHECK_EQUAL(why.code, errc::not_utf8);
  CAF_CHECK_EQUAL(why.message,
                  "'" + path + "' sent a frame that is not valid UTF-8");
}

CAF_TEST(half a frame is none) {
  plain_listener server{path};
  auto id = connected(path);
  server.accept().write("one\ntw");
  CAF_CHECK_EQUAL(heard.next<socket_frame>().text, "one");
  auto why = end_of(id);
  CAF_CHECK_EQUAL(why.code, errc::connection_lost);
  CAF_CHECK_EQUAL(why.message, "'" + path + "' ended in the middle of a frame");
}

CAF_TEST(what cannot be sent is refused and harms nothing) {
  system_sockets strict{loop, small};
  plain_listener server{path};
  auto id = *strict.connect(path, heard.listener());
  heard.next<socket_opened>();
  CAF_CHECK_EQUAL(strict.send(id, "12345678901").error().code, errc::too_large);
  CAF_CHECK_EQUAL(strict.send(id, "a\nb").error().code, errc::invalid_argument);
  CAF_CHECK(strict.send(id, "1234567890"));
  CAF_CHECK_EQUAL(server.accept().read(11), "1234567890\n");
}

// -- sending ------------------------------------------------------------------

CAF_TEST(large frames go to and fro) {
  plain_listener server{path};
  auto id = connected(path);
  auto peer = server.accept();
  auto echo = std::async(std::launch::async, [&] {
    for (int i = 0; i < 3; ++i)
      peer.write(peer.read(5'000'001));
  });
  for (auto letter : {'a', 'b', 'c'})
    CAF_CHECK(port.send(id, std::string(5'000'000, letter)));
  for (auto letter : {'a', 'b', 'c'})
    CAF_CHECK(heard.next<socket_frame>().text
              == std::string(5'000'000, letter));
  echo.get();
}

CAF_TEST(no more waits for one that does not read than the limit) {
  system_sockets strict{loop, {10'000, 1'000'000, 10, 50ms, 50ms}};
  plain_listener server{path};
  auto id = *strict.connect(path, heard.listener());
  heard.next<socket_opened>();
  auto peer = server.accept();
  std::string frame(9'999, 'x');
  std::size_t sent = 0;
  expected<void> fine;
  // The kernel keeps something, too, but not for ever.
  while ((fine = strict.send(id, frame)) && sent < 10'000)
    ++sent;
  CAF_REQUIRE(!fine);
  CAF_CHECK_EQUAL(fine.error().code, errc::overloaded);
  CAF_CHECK(sent >= 100);
  CAF_CHECK(heard.is_silent());
  // Nothing of what was taken is lost, and there is room again.
  for (std::size_t i = 0; i < sent; ++i)
    CAF_REQUIRE(peer.read(10'000) == frame + "\n");
  CAF_CHECK(strict.send(id, "again"));
  CAF_CHECK_EQUAL(peer.read(6), "again\n");
}

CAF_TEST(whoever does not read keeps no closed connection) {
  system_sockets impatient{loop, {1'000'000, 9'000'000, 10, 50ms, 50ms}};
  plain_listener server{path};
  auto before = open_descriptors();
  auto id = *impatient.connect(path, heard.listener());
  heard.next<socket_opened>();
  for (int i = 0; i < 5; ++i)
    CAF_CHECK(impatient.send(id, std::string(999'999, 'x')));
  impatient.close(id);
  CAF_CHECK_EQUAL(impatient.size(), 0u);
  CAF_CHECK_EQUAL(impatient.send(id, "x").error().code, errc::not_found);
  await([&] { return open_descriptors() == before; });
  CAF_CHECK(server.accept().drain() < 5'000'000u);
  CAF_CHECK(heard.is_silent());
}

CAF_TEST(a closed connection sends what waits) {
  plain_listener server{path};
  auto before = open_descriptors();
  auto id = connected(path);
  for (int i = 0; i < 5; ++i)
    CAF_CHECK(port.send(id, std::string(999'999, 'x')));
  auto peer = server.accept();
  // What the other side says now, nobody hears.
  peer.write("too late\n");
  port.close(id);
  port.close(id);
  CAF_CHECK_EQUAL(peer.drain(), 5'000'000u);
  peer.close();
  await([&] { return open_descriptors() == before; });
}

// -- ending -------------------------------------------------------------------

CAF_TEST(the last words are heard though nothing can be sent any more) {
  plain_listener server{path};
  auto id = connected(path);
  auto peer = server.accept();
  {
    pause now{*loop};
    peer.write("last\nwords\n");
    peer.close();
    // The first one finds out.
    std::ignore = port.send(id, "x");
    CAF_CHECK_EQUAL(port.send(id, "x").error().code, errc::not_found);
  }
  CAF_CHECK_EQUAL(heard.next<socket_frame>().text, "last");
  CAF_CHECK_EQUAL(heard.next<socket_frame>().text, "words");
  CAF_CHECK_EQUAL(end_of(id).code, errc::connection_lost);
}

CAF_TEST(one that speaks and does not listen is no connection) {
  plain_listener server{path};
  auto id = connected(path);
  auto peer = server.accept();
  {
    pause now{*loop};
    // So much that it is read in several pieces.
    std::string frames;
    for (int i = 0; i < 150; ++i)
      frames += std::string(999, 'x') + "\n";
    peer.write(frames);
    peer.shut(SHUT_RD);
    std::ignore = port.send(id, "x");
  }
  for (int i = 0; i < 150; ++i)
    CAF_REQUIRE_EQUAL(heard.next<socket_frame>().text.size(), 999u);
  auto why = end_of(id);
  CAF_CHECK_EQUAL(why.code, errc::connection_lost);
  CAF_CHECK_EQUAL(why.message, "'" + path + "' takes no more frames");
}

CAF_TEST(connections leave no descriptor behind) {
  plain_listener server{path};
  auto before = open_descriptors();
  for (int i = 0; i < 100; ++i) {
    auto id = connected(path);
    auto peer = server.accept();
    CAF_REQUIRE(port.send(id, "x"));
    if (i % 2 == 0) {
      port.close(id);
    } else {
      peer.close();
      end_of(id);
    }
    refusal(folder / "nothing");
  }
  CAF_CHECK_EQUAL(open_descriptors(), before);
}

CAF_TEST(nothing is heard after the end) {
  plain_listener server{path};
  for (int i = 0; i < 30; ++i) {
    std::atomic<int> count = 0;
    std::atomic<bool> is_closing = false;
    std::atomic<bool> is_closed = false;
    std::atomic<bool> is_wrong = false;
    auto id = port.connect(path, [&](const socket_event&) {
      auto number = count++;
      is_wrong = is_wrong || is_closed;
      // The end comes in the middle of this one.
      while (number == i && !is_closing)
        std::this_thread::yield();
      if (number == i)
        dawdle([&] { return is_closed.load(); });
      is_wrong = is_wrong || is_closed;
    });
    CAF_REQUIRE(id);
    auto peer = server.accept();
    std::string frames;
    for (int k = 0; k < 200; ++k)
      frames += "frame\n";
    peer.write(frames);
    // Some hear their end, too, right then.
    if (i % 3 == 0)
      peer.close();
    await([&] { return count.load() > i; });
    is_closing = true;
    port.close(*id);
    is_closed = true;
    CAF_REQUIRE(!is_wrong);
    pause{*loop};
    CAF_REQUIRE(!is_wrong);
  }
}

CAF_TEST(a stop in the middle of everything) {
  system_sockets busy{loop, {1'000, 1'000'000, 10, 500ms, 50ms}};
  plain_listener server{path};
  struct guest {
    std::atomic<int> ends = 0;
    std::atomic<bool> is_wrong = false;
  };
  std::array<guest, 8> guests;
  std::atomic<bool> is_stopping = false;
  std::atomic<bool> is_stopped = false;
  std::atomic<std::size_t> frames = 0;
  std::vector<connection_id> ids;
  std::vector<plain_socket> peers;
  std::vector<std::thread> threads;
  for (auto& x : guests) {
    auto id = busy.connect(path, [&](const socket_event& event) {
      x.is_wrong = x.is_wrong || is_stopped || x.ends > 0;
      if (std::holds_alternative<socket_frame>(event)) {
        auto number = ++frames;
        // The stop comes in the middle of this one.
        while (number == 1'001 && !is_stopping)
          std::this_thread::yield();
        if (number == 1'001)
          dawdle([&] { return is_stopped || x.ends > 0; });
        x.is_wrong = x.is_wrong || x.ends > 0;
      }
      if (auto end = std::get_if<socket_closed>(&event)) {
        x.is_wrong = x.is_wrong || end->why.code != errc::shutting_down;
        ++x.ends;
      }
      x.is_wrong = x.is_wrong || is_stopped;
    });
    CAF_REQUIRE(id);
    ids.push_back(*id);
    peers.push_back(server.accept());
  }
  // All are there before anybody speaks.
  for (auto& x : peers)
    threads.emplace_back([&x] {
      try {
        for (;;)
          x.write("frame\nframe\nframe\n");
      } catch (const std::runtime_error&) {
        // It has ended.
      }
    });
  for (auto id : ids)
    threads.emplace_back([&busy, id] {
      for (;;) {
        auto fine = busy.send(id, std::string(1'000, 'x'));
        if (!fine && fine.error().code != errc::overloaded)
          return;
      }
    });
  await([&] { return frames.load() > 1'000; });
  is_stopping = true;
  busy.stop();
  is_stopped = true;
  for (auto& x : threads)
    x.join();
  for (auto& x : guests) {
    CAF_CHECK_EQUAL(x.ends.load(), 1);
    CAF_CHECK(!x.is_wrong);
  }
  CAF_CHECK_EQUAL(busy.size(), 0u);
  CAF_CHECK_EQUAL(busy.connect(path, heard.listener()).error().code,
                  errc::shutting_down);
  busy.stop();
}

CAF_TEST(a port ends before its loop) {
  plain_listener server{path, 0};
  plain_socket first{path};
  auto before = open_descriptors();
  {
    system_sockets brief{loop};
    // It waits for room.
    CAF_REQUIRE(brief.connect(path, heard.listener()));
    pause{*loop};
  }
  CAF_CHECK_EQUAL(heard.next<socket_closed>().why.code, errc::shutting_down);
  CAF_CHECK_EQUAL(open_descriptors(), before);
  // Whatever the loop would still do for it, it would do by now.
  auto next = port.connect(path, heard.listener());
  CAF_REQUIRE(next);
  auto other = server.accept();
  CAF_CHECK_EQUAL(heard.next<socket_opened>().id, *next);
}

// -- listening ----------------------------------------------------------------

CAF_TEST(a swap of listeners loses and doubles nothing) {
  constexpr int count = 50'000;
  plain_listener server{path};
  auto id = connected(path);
  auto peer = server.accept();
  std::mutex mutex;
  std::vector<int> numbers;
  std::vector<int> listeners;
  std::atomic<int> current = 0;
  std::atomic<bool> is_wrong = false;
  auto listener = [&](int name) {
    return [&, name](socket_event event) {
      // It may be called before the call that it was given to returns, but not
      // after the next one has.
      is_wrong = is_wrong || name < current;
      auto frame = std::get_if<socket_frame>(&event);
      if (!frame)
        return;
      auto number = std::stoi(frame->text);
      if (number % 5'000 == 0)
        dawdle([&] { return name < current; });
      is_wrong = is_wrong || name < current;
      std::lock_guard guard{mutex};
      numbers.push_back(number);
      listeners.push_back(name);
    };
  };
  CAF_REQUIRE(port.listen(id, listener(0)));
  auto speaker = std::async(std::launch::async, [&] {
    for (int i = 0; i < count; ++i)
      peer.write(std::to_string(i) + "\n");
  });
  auto heard_all = [&] {
    std::lock_guard guard{mutex};
    return numbers.size() >= count;
  };
  int swaps = 0;
  while (!heard_all()) {
    ++swaps;
    CAF_REQUIRE(port.listen(id, listener(swaps)));
    current = swaps;
    std::this_thread::yield();
  }
  speaker.get();
  port.close(id);
  CAF_CHECK(!is_wrong);
  CAF_CHECK_EQUAL(numbers.size(), std::size_t{count});
  for (int i = 0; i < count; ++i)
    CAF_REQUIRE_EQUAL(numbers.at(static_cast<std::size_t>(i)), i);
  CAF_CHECK(std::is_sorted(listeners.begin(), listeners.end()));
  CAF_CHECK(listeners.back() > listeners.front());
  CAF_MESSAGE(swaps << " swaps");
}

CAF_TEST(listeners may use the port) {
  plain_listener server{path};
  connection_id second = 0;
  auto id = port.connect(path, [&](socket_event event) {
    if (auto opened = std::get_if<socket_opened>(&event))
      std::ignore = port.send(opened->id, "hello");
    if (auto frame = std::get_if<socket_frame>(&event)) {
      second = *port.connect(path, heard.listener());
      std::ignore = port.send(second, frame->text);
      port.close(frame->id);
    }
  });
  CAF_REQUIRE(id);
  auto peer = server.accept();
  CAF_CHECK_EQUAL(peer.read(6), "hello\n");
  peer.write("tell it\nand this is not heard\n");
  auto opened = heard.next<socket_opened>();
  CAF_CHECK_EQUAL(server.accept().read(8), "tell it\n");
  CAF_CHECK_EQUAL(opened.id, second);
  CAF_CHECK_EQUAL(peer.drain(), 0u);
  CAF_CHECK_EQUAL(end_of(second).code, errc::connection_lost);
}

CAF_TEST(processes and sockets share a thread) {
  auto threads = running_threads();
  auto processes = *system_processes::open(10, loop);
  plain_listener server{path};
  auto id = connected(path);
  std::promise<void> ended;
  CAF_REQUIRE(
    processes->start({"/bin/sh", {"-c", "exit 1"}, {}, "/", {}, {}},
                     [&](const process_event&) { ended.set_value(); }));
  server.accept().write("one\n");
  CAF_CHECK_EQUAL(heard.next<socket_frame>().text, "one");
  CAF_CHECK_EQUAL(end_of(id).code, errc::connection_lost);
  CAF_CHECK(ended.get_future().wait_for(socket_patience)
            == std::future_status::ready);
  CAF_CHECK_EQUAL(running_threads(), threads);
  processes->stop();
  // The loop goes on for the others.
  connected(path);
}

CAF_TEST_FIXTURE_SCOPE_END()
