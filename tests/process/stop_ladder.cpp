// SPDX-License-Identifier: Apache-2.0

#define CAF_SUITE process.stop_ladder

#include "actors/process/stop_ladder.hpp"

#include "tests/support/suite.hpp"

using namespace muster;
using namespace std::chrono_literals;

namespace {

constexpr std::int64_t ms = 1'000'000;

/// Any time will do for the beginning.
constexpr std::int64_t t0 = 7'000 * ms;

using limit = std::optional<std::int64_t>;

} // namespace

CAF_TEST(each step gets its time before the next one) {
  stop_ladder ladder{{30ms, 20ms, 10ms}};
  CAF_CHECK(!ladder.is_stopping());
  CAF_CHECK(ladder.limit_ns() == limit{});
  CAF_CHECK(ladder.on_time(t0) == stop_step::wait);
  CAF_CHECK(ladder.begin(t0) == stop_step::ask);
  CAF_CHECK(ladder.is_stopping());
  CAF_CHECK(ladder.limit_ns() == limit{t0 + 30 * ms});
  CAF_CHECK(ladder.on_time(t0 + 30 * ms - 1) == stop_step::wait);
  CAF_CHECK(ladder.on_time(t0 + 30 * ms) == stop_step::terminate);
  CAF_CHECK(ladder.on_time(t0 + 50 * ms - 1) == stop_step::wait);
  CAF_CHECK(ladder.on_time(t0 + 50 * ms) == stop_step::kill);
  CAF_CHECK(ladder.limit_ns() == limit{t0 + 60 * ms});
  CAF_CHECK(ladder.on_time(t0 + 60 * ms) == stop_step::report);
  CAF_CHECK(ladder.limit_ns() == limit{});
  CAF_CHECK(ladder.on_time(t0 + 1'000 * ms) == stop_step::wait);
  CAF_CHECK(ladder.is_stopping());
  ladder.on_ended();
  CAF_CHECK(ladder.has_ended());
  CAF_CHECK(!ladder.is_stopping());
}

CAF_TEST(a late clock leaves no step out) {
  stop_ladder ladder{{30ms, 20ms, 10ms}};
  CAF_CHECK(ladder.begin(t0) == stop_step::ask);
  auto late = t0 + 1'000 * ms;
  CAF_CHECK(ladder.on_time(late) == stop_step::terminate);
  CAF_CHECK(ladder.on_time(late) == stop_step::wait);
  CAF_CHECK(ladder.limit_ns() == limit{late + 20 * ms});
}

CAF_TEST(a confirmed end takes no further step) {
  stop_ladder ladder{{30ms, 20ms, 10ms}};
  CAF_CHECK(ladder.begin(t0) == stop_step::ask);
  ladder.on_ended();
  CAF_CHECK(ladder.limit_ns() == limit{});
  CAF_CHECK(ladder.on_time(t0 + 30 * ms) == stop_step::wait);
  CAF_CHECK(ladder.on_refused(t0 + 30 * ms) == stop_step::wait);
  CAF_CHECK(ladder.begin(t0 + 30 * ms) == stop_step::wait);
}

CAF_TEST(whoever asks twice does not hurry it) {
  stop_ladder ladder{{30ms, 20ms, 10ms}};
  CAF_CHECK(ladder.begin(t0) == stop_step::ask);
  CAF_CHECK(ladder.begin(t0 + 29 * ms) == stop_step::wait);
  CAF_CHECK(ladder.limit_ns() == limit{t0 + 30 * ms});
}

CAF_TEST(a step that cannot be taken is not waited for) {
  stop_ladder ladder{{30ms, 20ms, 10ms}};
  CAF_CHECK(ladder.on_refused(t0) == stop_step::wait);
  CAF_CHECK(ladder.begin(t0) == stop_step::ask);
  CAF_CHECK(ladder.on_refused(t0 + ms) == stop_step::terminate);
  CAF_CHECK(ladder.limit_ns() == limit{t0 + 21 * ms});
  CAF_CHECK(ladder.on_refused(t0 + 2 * ms) == stop_step::kill);
  CAF_CHECK(ladder.on_refused(t0 + 3 * ms) == stop_step::wait);
  CAF_CHECK(ladder.on_time(t0 + 12 * ms) == stop_step::report);
}

CAF_TEST(steps without time are left out) {
  stop_ladder impolite{{0ms, 20ms, 10ms}};
  CAF_CHECK(impolite.begin(t0) == stop_step::terminate);
  stop_ladder patient{{30ms, 0ms, 10ms}};
  CAF_CHECK(patient.begin(t0) == stop_step::ask);
  CAF_CHECK(patient.on_time(t0 + 30 * ms) == stop_step::kill);
  stop_ladder harsh{stop_patience{}};
  CAF_CHECK(harsh.begin(t0) == stop_step::kill);
  CAF_CHECK(harsh.on_time(t0) == stop_step::report);
}
