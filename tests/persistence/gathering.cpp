// SPDX-License-Identifier: Apache-2.0

// How long a batch of commits waits for others.

#define CAF_SUITE persistence.gathering

#include "actors/persistence/gathering.hpp"

#include "tests/support/suite.hpp"

using namespace muster;
using namespace std::chrono_literals;

namespace {

struct fixture {
  gathering patience{1ms};

  /// A transaction, and how many had come meanwhile.
  void write(std::size_t count, gathering::duration took, std::size_t waiting) {
    patience.written(count, took);
    patience.waiting(waiting);
  }

  gathering::duration of(std::size_t count) const {
    return patience.patience(count);
  }
};

} // namespace

CAF_TEST_FIXTURE_SCOPE(gathering_tests, fixture)

CAF_TEST(nobody waits before anything was written) {
  CAF_CHECK(of(1) == 0ns);
}

CAF_TEST(one client alone never waits) {
  for (int i = 0; i < 5; ++i) {
    write(1, 4ms, 0);
    CAF_CHECK(of(1) == 0ns);
  }
}

CAF_TEST(a batch waits for those who were answered and for those who waited) {
  write(20, 4ms, 30);
  CAF_CHECK(of(30) == 1ms);
  CAF_CHECK(of(49) == 1ms);
  CAF_CHECK(of(50) == 0ns);
}

CAF_TEST(the wait is a quarter of a sync and no more than was set) {
  write(2, 400us, 0);
  CAF_CHECK(of(1) == 100us);
  patience = gathering{10us};
  write(2, 400us, 0);
  CAF_CHECK(of(1) == 10us);
  patience = gathering{0ns};
  write(2, 400us, 0);
  CAF_CHECK(of(1) == 0ns);
}

CAF_TEST(what a sync takes is learnt slowly) {
  write(2, 800us, 0);
  write(2, 1600us, 0);
  CAF_CHECK(of(1) == 225us);
}

CAF_TEST(who did not come is not waited for again) {
  write(50, 4ms, 0);
  CAF_CHECK(of(3) == 1ms);
  patience.given_up(3);
  CAF_CHECK(of(3) == 0ns);
  write(3, 4ms, 0);
  CAF_CHECK(of(3) == 0ns);
}

CAF_TEST_FIXTURE_SCOPE_END()
