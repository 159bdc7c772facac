// SPDX-License-Identifier: Apache-2.0

#define CAF_SUITE process.socket_server

#include "actors/process/socket_server.hpp"

#include "tests/support/real_sockets.hpp"
#include "tests/support/suite.hpp"

#include "actors/process/system_sockets.hpp"

#include <atomic>
#include <fstream>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>

using namespace muster;
using namespace muster::test;
using namespace std::chrono_literals;
using namespace std::string_literals;

namespace {

/// Waits until a descriptor is ready, as a small program does.
void await_ready(int file, short events) {
  pollfd end{file, events, 0};
  auto patience = std::chrono::milliseconds{socket_patience};
  CAF_REQUIRE_EQUAL(::poll(&end, 1, static_cast<int>(patience.count())), 1);
}

/// Whether another user can do something.
bool may(const std::function<bool()>& what) {
  try {
    other_user stranger{what};
    return true;
  } catch (const std::runtime_error&) {
    return false;
  }
}

struct fixture {
  socket_server opened() {
    auto out = socket_server::open(path, limits);
    if (!out)
      CAF_FAIL("cannot listen: " << out.error().message);
    return std::move(*out);
  }

  served_socket accepted(socket_server& server) {
    await_ready(server.get(), POLLIN);
    auto out = server.accept();
    CAF_REQUIRE(out);
    CAF_REQUIRE(*out);
    return std::move(**out);
  }

  std::string received(served_socket& from) {
    for (;;) {
      auto frame = from.receive();
      CAF_REQUIRE(frame);
      if (*frame)
        return **frame;
      await_ready(from.get(), POLLIN);
    }
  }

  failure end_of(served_socket& from) {
    for (;;) {
      auto frame = from.receive();
      if (!frame)
        return frame.error();
      CAF_REQUIRE(!*frame);
      await_ready(from.get(), POLLIN);
    }
  }

  errc refusal(const std::string& where) {
    auto out = socket_server::open(where);
    CAF_REQUIRE(!out);
    return out.error().code;
  }

  socket_limits limits;
  socket_folder folder;
  std::string path = folder / "socket";
};

} // namespace

CAF_TEST_FIXTURE_SCOPE(socket_server_tests, fixture)

// -- the path -----------------------------------------------------------------

CAF_TEST(nobody else may connect) {
  auto before = ::umask(0);
  auto server = opened();
  ::umask(before);
  struct stat found {};
  CAF_REQUIRE_EQUAL(::lstat(path.c_str(), &found), 0);
  CAF_CHECK_EQUAL(found.st_mode, mode_t{S_IFSOCK | S_IRUSR | S_IWUSR});
}

CAF_TEST(a path must fit and its folder be there) {
  CAF_CHECK(socket_server::open(folder.path_of_size(107)));
  CAF_CHECK_EQUAL(refusal(folder.path_of_size(108)), errc::invalid_argument);
  CAF_CHECK_EQUAL(refusal("socket"), errc::invalid_argument);
  CAF_CHECK_EQUAL(refusal(folder / "nothing/socket"), errc::not_found);
}

CAF_TEST(the socket goes with its server) {
  {
    auto server = opened();
    auto moved = std::move(server);
    CAF_CHECK(std::filesystem::exists(path));
  }
  CAF_CHECK(!std::filesystem::exists(path));
}

CAF_TEST(the socket of somebody else stays) {
  {
    auto server = opened();
    std::filesystem::remove(path);
    plain_listener other{path};
    CAF_CHECK_EQUAL(refusal(path), errc::in_use);
  }
  CAF_CHECK(std::filesystem::exists(path));
}

CAF_TEST(a path is taken as long as somebody answers) {
  {
    plain_listener other{path, 0};
    CAF_CHECK_EQUAL(refusal(path), errc::in_use);
    // The question was the first in its queue, which is full now.
    CAF_CHECK_EQUAL(refusal(path), errc::in_use);
  }
  CAF_CHECK(std::filesystem::exists(path));
  auto server = opened();
  plain_socket client{path};
  CAF_CHECK_EQUAL(refusal(path), errc::in_use);
  client.write("hello\n");
  auto x = accepted(server);
  CAF_CHECK_EQUAL(received(x), "hello");
}

CAF_TEST(a file that is no socket stays) {
  std::ofstream{path} << "precious";
  CAF_CHECK_EQUAL(refusal(path), errc::in_use);
  std::string text;
  std::ifstream{path} >> text;
  CAF_CHECK_EQUAL(text, "precious");
}

CAF_TEST(of many that want a dead path one gets it) {
  for (int i = 0; i < 100; ++i) {
    { plain_listener dead{path}; }
    std::atomic<int> winners = 0;
    std::atomic<int> losers = 0;
    std::vector<std::thread> threads;
    std::atomic<int> ready = 0;
    for (int k = 0; k < 4; ++k)
      threads.emplace_back([&] {
        ++ready;
        while (ready < 4)
          std::this_thread::yield();
        auto out = socket_server::open(path);
        if (out)
          ++winners;
        else if (out.error().code == errc::in_use)
          ++losers;
        // The winner answers until all have asked.
        while (winners + losers < 4)
          std::this_thread::yield();
      });
    for (auto& x : threads)
      x.join();
    CAF_REQUIRE_EQUAL(winners.load(), 1);
    CAF_REQUIRE_EQUAL(losers.load(), 3);
    CAF_REQUIRE(!std::filesystem::exists(path));
  }
}

// -- connections --------------------------------------------------------------

CAF_TEST(frames go to and fro) {
  auto server = opened();
  CAF_CHECK(!*server.accept());
  plain_socket client{path};
  auto x = accepted(server);
  CAF_CHECK(!*server.accept());
  CAF_CHECK(x.peer() == (peer_credentials{::getpid(), ::geteuid()}));
  CAF_CHECK(!*x.receive());
  client.write("one\n\ntwo\r\nthr");
  CAF_CHECK_EQUAL(received(x), "one");
  // They came together, so that there is nothing to poll for.
  CAF_CHECK_EQUAL(x.receive()->value(), "");
  CAF_CHECK_EQUAL(x.receive()->value(), "two\r");
  CAF_CHECK(!*x.receive());
  client.write("ee\n");
  CAF_CHECK_EQUAL(received(x), "three");
  CAF_CHECK(x.send("four"));
  CAF_CHECK(!x.is_waiting());
  CAF_CHECK_EQUAL(client.read(5), "four\n");
  client.write("fi");
  client.close();
  auto why = end_of(x);
  CAF_CHECK_EQUAL(why.code, errc::connection_lost);
  CAF_CHECK_EQUAL(why.message, "the client at '" + path
                                 + "' ended in the middle of a frame");
  CAF_CHECK_EQUAL(x.send("six").error().code, errc::connection_lost);
}

CAF_TEST(another user is turned away) {
  if (::geteuid() != 0) {
    CAF_MESSAGE("only root can become another user");
    return;
  }
  auto server = opened();
  auto address = *unix_address(path);
  auto connect = [&address] {
    auto socket = ::socket(AF_UNIX, SOCK_STREAM, 0);
    return ::connect(socket, reinterpret_cast<const sockaddr*>(&address),
                     sizeof(address))
           == 0;
  };
  ::chmod(folder.path().c_str(), 0777);
  // The file alone keeps strangers away.
  CAF_CHECK(!may(connect));
  ::chmod(path.c_str(), 0777);
  other_user stranger{connect};
  auto before = open_descriptors();
  await_ready(server.get(), POLLIN);
  auto out = server.accept();
  CAF_REQUIRE(!out);
  CAF_CHECK_EQUAL(out.error().code, errc::not_allowed);
  CAF_CHECK_EQUAL(out.error().message, "the other end of '" + path
                                         + "' belongs to user 65534, this one "
                                           "to user 0");
  CAF_CHECK(!*server.accept());
  CAF_CHECK_EQUAL(open_descriptors(), before);
}

CAF_TEST(what is no frame ends the connection) {
  limits.max_frame_bytes = 10;
  auto server = opened();
  plain_socket client{path};
  auto x = accepted(server);
  client.write("1234567890\n12345678901");
  CAF_CHECK_EQUAL(received(x), "1234567890");
  CAF_CHECK_EQUAL(end_of(x).code, errc::too_large);
  CAF_CHECK_EQUAL(x.send("12345678901").error().code, errc::too_large);
  CAF_CHECK_EQUAL(x.send("a\nb").error().code, errc::invalid_argument);
  plain_socket other{path};
  auto y = accepted(server);
  other.write("\xFF\n");
  auto why = end_of(y);
  CAF_CHECK_EQUAL(why.code, errc::not_utf8);
  CAF_CHECK_EQUAL(why.message, "the client at '" + path
                                 + "' sent a frame that is not valid UTF-8");
}

CAF_TEST(no more waits for one that does not read than the limit) {
  limits.max_waiting_bytes = 1'000'000;
  auto server = opened();
  plain_socket client{path};
  auto x = accepted(server);
  std::string frame(9'999, 'x');
  std::size_t sent = 0;
  expected<void> fine;
  while ((fine = x.send(frame)) && sent < 10'000)
    ++sent;
  CAF_REQUIRE(!fine);
  CAF_CHECK_EQUAL(fine.error().code, errc::overloaded);
  CAF_CHECK(sent >= 100);
  CAF_CHECK(x.is_waiting());
  std::size_t left = sent;
  while (x.is_waiting()) {
    CAF_REQUIRE(client.read(10'000) == frame + "\n");
    --left;
    CAF_REQUIRE(x.flush());
  }
  for (; left > 0; --left)
    CAF_REQUIRE(client.read(10'000) == frame + "\n");
}

CAF_TEST(both ends of this house understand each other) {
  auto server = opened();
  auto before = open_descriptors();
  std::string large(3'000'000, 'x');
  {
    system_sockets port{*io_loop::open()};
    socket_ear heard;
    auto id = *port.connect(path, heard.listener());
    auto x = accepted(server);
    heard.next<socket_opened>();
    for (int i = 0; i < 1'000; ++i) {
      auto text = std::to_string(i);
      CAF_REQUIRE(port.send(id, text));
      CAF_REQUIRE_EQUAL(received(x), text);
      CAF_REQUIRE(x.send(text));
      CAF_REQUIRE_EQUAL(heard.next<socket_frame>().text, text);
    }
    CAF_CHECK(port.send(id, large));
    CAF_CHECK(received(x) == large);
    CAF_CHECK(x.send(large));
    while (x.is_waiting()) {
      await_ready(x.get(), POLLOUT);
      CAF_REQUIRE(x.flush());
    }
    CAF_CHECK(heard.next<socket_frame>().text == large);
    port.close(id);
    CAF_CHECK_EQUAL(end_of(x).code, errc::connection_lost);
  }
  CAF_CHECK_EQUAL(open_descriptors(), before);
}

CAF_TEST(a folder that somebody holds for long is in use) {
  descriptor other{::open(folder.path().c_str(), O_RDONLY | O_CLOEXEC)};
  CAF_REQUIRE_EQUAL(::flock(other.get(), LOCK_EX), 0);
  CAF_CHECK_EQUAL(refusal(path), errc::in_use);
  other.close();
  opened();
}

CAF_TEST_FIXTURE_SCOPE_END()
