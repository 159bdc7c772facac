// SPDX-License-Identifier: Apache-2.0

#define CAF_SUITE process.io_loop

#include "actors/process/io_loop.hpp"

#include "tests/support/real_sockets.hpp"
#include "tests/support/suite.hpp"

#include <atomic>
#include <future>
#include <vector>

#include <sys/epoll.h>
#include <sys/eventfd.h>

using namespace muster;
using namespace muster::test;
using namespace std::chrono_literals;

namespace {

using clock_type = io_loop::clock;

struct fixture {
  /// Waits until the loop has done all that is due.
  void catch_up() {
    std::promise<void> done;
    std::ignore = loop->call_at(clock_type::now(), [&] { done.set_value(); });
    CAF_REQUIRE(done.get_future().wait_for(socket_patience)
                == std::future_status::ready);
    loop->settle();
  }

  std::shared_ptr<io_loop> loop = *io_loop::open();
  descriptor event{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
};

} // namespace

CAF_TEST_FIXTURE_SCOPE(io_loop_tests, fixture)

CAF_TEST(limits come in the order of their times) {
  std::vector<int> order;
  auto now = clock_type::now();
  // Nothing comes before all are there.
  std::promise<void> ready;
  std::ignore
    = loop->call_at(now, [go = ready.get_future().share()] { go.wait(); });
  std::promise<void> done;
  std::ignore = loop->call_at(now + 3ms, [&] {
    order.push_back(3);
    done.set_value();
  });
  std::ignore = loop->call_at(now + 1ms, [&] { order.push_back(1); });
  auto never = loop->call_at(now + 2ms, [&] { order.push_back(2); });
  loop->forget(never);
  ready.set_value();
  CAF_REQUIRE(done.get_future().wait_for(socket_patience)
              == std::future_status::ready);
  loop->settle();
  CAF_CHECK(order == (std::vector<int>{1, 3}));
}

CAF_TEST(an earlier limit wakes one that waits for a later one) {
  std::ignore = loop->call_at(clock_type::now() + 1h, [] {});
  catch_up();
}

CAF_TEST(a limit may set itself the next one) {
  std::promise<void> done;
  int left = 100;
  std::function<void()> next = [&] {
    if (--left == 0)
      done.set_value();
    else
      std::ignore = loop->call_at(clock_type::now(), next);
  };
  std::ignore = loop->call_at(clock_type::now(), next);
  CAF_REQUIRE(done.get_future().wait_for(socket_patience)
              == std::future_status::ready);
  loop->stop();
}

CAF_TEST(a descriptor is served until it is forgotten) {
  std::atomic<int> calls = 0;
  io_loop::key key = 0;
  std::promise<void> forgotten;
  ::eventfd_write(event.get(), 1);
  {
    // It must not be called before the key is known.
    std::promise<void> ready;
    std::ignore = loop->call_at(
      clock_type::now(), [go = ready.get_future().share()] { go.wait(); });
    key = *loop->watch(event.get(), EPOLLIN, [&] {
      if (++calls == 3) {
        loop->forget(key);
        forgotten.set_value();
      }
    });
    ready.set_value();
  }
  CAF_REQUIRE(forgotten.get_future().wait_for(socket_patience)
              == std::future_status::ready);
  catch_up();
  CAF_CHECK_EQUAL(calls.load(), 3);
  // The kernel has forgotten it, too.
  CAF_CHECK(loop->watch(event.get(), 0, [] {}));
}

CAF_TEST(what is watched can change) {
  std::atomic<int> calls = 0;
  auto key = *loop->watch(event.get(), EPOLLIN, [&] { ++calls; });
  catch_up();
  CAF_CHECK_EQUAL(calls.load(), 0);
  loop->change(key, EPOLLOUT);
  await([&] { return calls.load() > 0; });
  loop->change(key, 0);
  loop->settle();
  catch_up();
  auto before = calls.load();
  catch_up();
  CAF_CHECK_EQUAL(calls.load(), before);
}

CAF_TEST(a call is over once it has settled) {
  for (int i = 0; i < 200; ++i) {
    std::promise<void> begun;
    std::atomic<bool> is_over = false;
    std::ignore = loop->call_at(clock_type::now(), [&] {
      begun.set_value();
      for (int k = 0; k < 100; ++k)
        std::this_thread::yield();
      is_over = true;
    });
    CAF_REQUIRE(begun.get_future().wait_for(socket_patience)
                == std::future_status::ready);
    loop->settle();
    CAF_REQUIRE(is_over);
  }
}

CAF_TEST(a call need not wait for itself) {
  std::promise<void> done;
  std::ignore = loop->call_at(clock_type::now(), [&] {
    loop->settle();
    done.set_value();
  });
  CAF_CHECK(done.get_future().wait_for(socket_patience)
            == std::future_status::ready);
  loop->stop();
}

CAF_TEST(nothing is called after the stop) {
  std::atomic<int> calls = 0;
  ::eventfd_write(event.get(), 1);
  auto key = loop->watch(event.get(), EPOLLIN, [&] { ++calls; });
  CAF_REQUIRE(key);
  await([&] { return calls.load() > 0; });
  loop->stop();
  auto before = calls.load();
  std::ignore = loop->call_at(clock_type::now(), [&] { ++calls; });
  loop->settle();
  loop->forget(*key);
  CAF_CHECK_EQUAL(calls.load(), before);
}

CAF_TEST(what cannot be watched is refused) {
  CAF_CHECK_EQUAL(loop->watch(-1, EPOLLIN, [] {}).error().code,
                  errc::overloaded);
}

CAF_TEST_FIXTURE_SCOPE_END()
