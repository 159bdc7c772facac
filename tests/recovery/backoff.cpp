// SPDX-License-Identifier: Apache-2.0

#define CAF_SUITE recovery.backoff

#include "actors/recovery/backoff.hpp"

#include "tests/support/suite.hpp"

#include <initializer_list>
#include <set>
#include <vector>

using namespace muster;
using namespace std::chrono_literals;

namespace {

constexpr std::int64_t ms = 1'000'000;
constexpr std::int64_t s = 1'000 * ms;

/// Any time will do for the beginning, also one behind the boot.
constexpr std::int64_t t0 = 7'000 * s;

/// The default, but exact.
restart_policy exact() {
  restart_policy out;
  out.jitter_percent = 0;
  return out;
}

/// What is waited for between failures, where each run takes `run_ns` and each
/// start comes as soon as it may.
std::vector<std::int64_t> waits(const restart_policy& policy,
                                std::int64_t run_ns, int count) {
  backoff it{policy, 1};
  std::vector<std::int64_t> out;
  auto now_ns = t0;
  for (int i = 0; i < count; ++i) {
    it.on_started(now_ns);
    now_ns += run_ns;
    it.on_failure(now_ns);
    out.push_back(it.wait_ns(now_ns) / ms);
    now_ns += it.wait_ns(now_ns);
  }
  return out;
}

using waited = std::vector<std::int64_t>;

} // namespace

// -- the ladder ---------------------------------------------------------------

CAF_TEST(B1 what has never failed may start) {
  backoff it{exact(), 1};
  CAF_CHECK(it.phase(0) == backoff_phase::ready);
  CAF_CHECK(it.may_start(0));
  CAF_CHECK_EQUAL(it.wait_ns(t0), 0);
  CAF_CHECK_EQUAL(it.failures(), 0u);
}

CAF_TEST(B2 B3 delays double from the first failure on) {
  backoff it{exact(), 1};
  for (auto expected_ms : {500, 1'000, 2'000, 4'000}) {
    it.on_failure(t0);
    CAF_CHECK(it.phase(t0) == backoff_phase::backing_off);
    CAF_CHECK_EQUAL(it.wait_ns(t0), expected_ms * ms);
  }
  CAF_CHECK_EQUAL(it.failures(), 4u);
}

CAF_TEST(B4 the fifth failure in a period begins the pause) {
  backoff it{exact(), 1};
  for (int i = 0; i < 4; ++i)
    it.on_failure(t0 + i * s);
  CAF_CHECK(it.phase(t0 + 4 * s) == backoff_phase::backing_off);
  it.on_failure(t0 + 4 * s);
  CAF_CHECK(it.phase(t0 + 4 * s) == backoff_phase::paused);
  CAF_CHECK_EQUAL(it.wait_ns(t0 + 4 * s), 300 * s);
  CAF_CHECK(!it.may_start(t0 + 304 * s - 1));
  CAF_CHECK(it.may_start(t0 + 304 * s));
}

CAF_TEST(B5 failures of an earlier period do not count) {
  backoff it{exact(), 1};
  for (int i = 0; i < 4; ++i)
    it.on_failure(t0);
  it.on_failure(t0 + 120 * s);
  CAF_CHECK(it.phase(t0 + 120 * s) == backoff_phase::backing_off);
  // Those of exactly one period ago do.
  backoff edge{exact(), 1};
  for (int i = 0; i < 4; ++i)
    edge.on_failure(t0);
  edge.on_failure(t0 + 60 * s);
  CAF_CHECK(edge.phase(t0 + 60 * s) == backoff_phase::paused);
}

CAF_TEST(B8 B9 a delay is over at its very end) {
  backoff it{exact(), 1};
  it.on_failure(t0);
  CAF_CHECK(!it.may_start(t0));
  CAF_CHECK(!it.may_start(t0 + 500 * ms - 1));
  CAF_CHECK(it.may_start(t0 + 500 * ms));
  CAF_CHECK(it.may_start(t0 + 600 * ms));
  CAF_CHECK(it.until_ns() == t0 + 500 * ms);
}

CAF_TEST(B10 no delay is longer than the longest one) {
  backoff it{exact(), 1};
  auto now_ns = t0;
  for (int i = 0; i < 15; ++i, now_ns += 200 * s)
    it.on_failure(now_ns);
  CAF_CHECK_EQUAL(it.wait_ns(now_ns - 200 * s), 60 * s);
}

// -- what a stable run is -----------------------------------------------------

CAF_TEST(B6 a stable run makes the very next delay the first one again) {
  backoff it{exact(), 1};
  it.on_failure(t0);
  it.on_failure(t0);
  it.on_started(t0 + s);
  it.on_failure(t0 + 121 * s);
  CAF_CHECK_EQUAL(it.wait_ns(t0 + 121 * s), 500 * ms);
  // Exactly as long as it takes.
  it.on_started(t0 + 122 * s);
  it.on_failure(t0 + 182 * s);
  CAF_CHECK_EQUAL(it.wait_ns(t0 + 182 * s), 500 * ms);
}

CAF_TEST(B7 a short run does not ) {
  backoff it{exact(), 1};
  it.on_failure(t0);
  it.on_started(t0 + s);
  it.on_failure(t0 + 5 * s);
  CAF_CHECK_EQUAL(it.wait_ns(t0 + 5 * s), s);
  it.on_started(t0 + 6 * s);
  it.on_failure(t0 + 66 * s - 1);
  CAF_CHECK_EQUAL(it.wait_ns(t0 + 66 * s - 1), 2 * s);
}

CAF_TEST(time that is spent waiting is no stable run) {
  auto policy = exact();
  policy.max_restarts = 100;
  // Each of these delays is longer than a stable run, or the sum is.
  policy.initial = 40s;
  policy.max = 600s;
  CAF_CHECK((waits(policy, 30 * s, 6)
             == waited{40'000, 80'000, 160'000, 320'000, 600'000, 600'000}));
}

CAF_TEST(the longest delay lasts while the failures do) {
  // With failures every 20 to 59 s, a stable run that is counted from start to
  // start would take the delays back again and again.
  for (auto run_ns : {20 * s, 30 * s, 45 * s, 59 * s}) {
    auto all = waits(exact(), run_ns, 14);
    CAF_CHECK_EQUAL(all[0], 500);
    for (std::size_t i = 8; i < all.size(); ++i)
      CAF_CHECK_EQUAL(all[i], 60'000);
  }
}

CAF_TEST(what runs well for a long time starts again quickly for ever) {
  for (auto wait_ms : waits(exact(), 60 * s, 20))
    CAF_CHECK_EQUAL(wait_ms, 500);
}

CAF_TEST(a start that fails is no run however long it takes) {
  backoff it{exact(), 1};
  it.on_started(t0);
  it.on_failure(t0 + s);
  it.on_failure(t0 + 1'000 * s);
  CAF_CHECK_EQUAL(it.wait_ns(t0 + 1'000 * s), s);
}

CAF_TEST(a second word of the same start does not prolong or shorten a run) {
  backoff it{exact(), 1};
  it.on_failure(t0);
  it.on_started(t0);
  it.on_started(t0 + 59 * s);
  it.on_failure(t0 + 60 * s);
  CAF_CHECK_EQUAL(it.wait_ns(t0 + 60 * s), 500 * ms);
}

// -- the pause ----------------------------------------------------------------

CAF_TEST(a pause neither makes delays short again nor comes at once again) {
  CAF_CHECK((waits(exact(), 1, 9)
             == waited{500, 1'000, 2'000, 4'000, 300'000, 8'000, 16'000, 32'000,
                       60'000}));
}

CAF_TEST(failures before a pause do not count behind it) {
  auto policy = exact();
  policy.pause = 1s;
  policy.initial = 1ms;
  policy.max = 1ms;
  CAF_CHECK(
    (waits(policy, 1, 10) == waited{1, 1, 1, 1, 1'000, 1, 1, 1, 1, 1'000}));
}

CAF_TEST(a start from outside shortens no pause) {
  backoff it{exact(), 1};
  for (int i = 0; i < 5; ++i)
    it.on_failure(t0);
  it.on_started(t0 + 10 * s);
  it.on_failure(t0 + 11 * s);
  CAF_CHECK(it.phase(t0 + 11 * s) == backoff_phase::paused);
  CAF_CHECK_EQUAL(it.wait_ns(t0 + 11 * s), 289 * s);
  // A stable run does.
  it.on_started(t0 + 12 * s);
  it.on_failure(t0 + 72 * s);
  CAF_CHECK(it.phase(t0 + 72 * s) == backoff_phase::backing_off);
  CAF_CHECK_EQUAL(it.wait_ns(t0 + 72 * s), 500 * ms);
}

CAF_TEST(what gives up waits for a reset and nothing else) {
  auto policy = exact();
  policy.gives_up = true;
  backoff it{policy, 1};
  for (int i = 0; i < 5; ++i)
    it.on_failure(t0);
  CAF_CHECK(it.phase(t0) == backoff_phase::failed);
  CAF_CHECK(!it.until_ns());
  CAF_CHECK(!it.may_start(t0 + 1'000'000 * s));
  it.on_started(t0 + 1);
  it.on_failure(t0 + 1'000 * s);
  CAF_CHECK(it.phase(t0 + 1'000'000 * s) == backoff_phase::failed);
  CAF_CHECK(it.reset(t0 + 1'000 * s));
  CAF_CHECK(it.may_start(t0 + 1'000 * s));
  it.on_failure(t0 + 1'000 * s);
  CAF_CHECK_EQUAL(it.wait_ns(t0 + 1'000 * s), 500 * ms);
}

// -- resets -------------------------------------------------------------------

CAF_TEST(B11 B12 B13 a reset says whether anything was waited for) {
  backoff it{exact(), 1};
  CAF_CHECK(!it.reset(t0));
  it.on_failure(t0);
  it.on_failure(t0);
  CAF_CHECK(it.reset(t0 + 1));
  CAF_CHECK(it.may_start(t0 + 1));
  CAF_CHECK(!it.reset(t0 + 1));
  for (int i = 0; i < 4; ++i)
    it.on_failure(t0 + 2);
  // The two before the reset do not count.
  CAF_CHECK(it.phase(t0 + 2) == backoff_phase::backing_off);
  it.on_failure(t0 + 2);
  CAF_CHECK(it.phase(t0 + 2) == backoff_phase::paused);
  CAF_CHECK(it.reset(t0 + 2));
  CAF_CHECK(it.may_start(t0 + 2));
  it.on_failure(t0 + 2);
  CAF_CHECK_EQUAL(it.wait_ns(t0 + 2), 500 * ms);
}

// -- chance -------------------------------------------------------------------

CAF_TEST(chance takes its part of a delay and never adds to it) {
  restart_policy policy;
  policy.initial = policy.max = 1'000ms;
  policy.max_restarts = 1'000;
  std::set<std::int64_t> seen;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    backoff it{policy, seed};
    it.on_failure(t0);
    auto wait_ns = it.wait_ns(t0);
    CAF_CHECK(wait_ns >= 800 * ms && wait_ns <= 1'000 * ms);
    seen.insert(wait_ns);
  }
  CAF_CHECK(seen.size() > 50);
  CAF_CHECK(*seen.begin() < 820 * ms);
  CAF_CHECK(*seen.rbegin() > 980 * ms);
}

CAF_TEST(a seed always gives the same delays) {
  restart_policy policy;
  backoff first{policy, 42};
  backoff second{policy, 42};
  for (int i = 0; i < 4; ++i) {
    first.on_failure(t0);
    second.on_failure(t0);
    CAF_CHECK_EQUAL(first.wait_ns(t0), second.wait_ns(t0));
  }
}

// -- the disk -----------------------------------------------------------------

CAF_TEST(a restart of the node shortens no delay and forgives nothing) {
  backoff before{exact(), 1};
  for (int i = 0; i < 3; ++i)
    before.on_failure(t0);
  backoff after{exact(), 1};
  after.restore(before.record(t0 + 500 * ms), 9 * s);
  CAF_CHECK_EQUAL(after.wait_ns(9 * s), 1'500 * ms);
  after.on_failure(11 * s);
  CAF_CHECK_EQUAL(after.wait_ns(11 * s), 4 * s);
  // A pause goes on as one, and one that gave up has.
  for (int i = 0; i < 2; ++i)
    before.on_failure(t0);
  after.restore(before.record(t0), 0);
  CAF_CHECK(after.phase(0) == backoff_phase::paused);
  CAF_CHECK_EQUAL(after.wait_ns(0), 300 * s);
  after.restore({0, 0, false, true}, 0);
  CAF_CHECK(after.phase(1'000'000 * s) == backoff_phase::failed);
}

CAF_TEST(what is on disk cannot make a delay longer than any) {
  backoff it{exact(), 1};
  it.restore({std::int64_t{1} << 62, std::int64_t{1} << 62, false, false}, t0);
  CAF_CHECK_EQUAL(it.wait_ns(t0), 300 * s);
  it.on_failure(t0 + 300 * s);
  CAF_CHECK_EQUAL(it.wait_ns(t0 + 300 * s), 60 * s);
  it.restore({-5, -5, false, false}, t0);
  CAF_CHECK(it.may_start(t0));
}

// -- policies -----------------------------------------------------------------

CAF_TEST(a policy that makes no sense is refused by name) {
  CAF_CHECK(check(restart_policy{}));
  auto refused = [](auto change) {
    restart_policy x;
    change(x);
    auto result = check(x);
    return result ? std::string{} : result.error().message;
  };
  auto names = [](const std::string& text, const char* option) {
    return text.find(option) != std::string::npos;
  };
  CAF_CHECK(names(refused([](auto& x) { x.initial = -1ms; }), "'initial'"));
  CAF_CHECK(names(refused([](auto& x) { x.max = 100ms; }), "'max'"));
  CAF_CHECK(names(refused([](auto& x) { x.factor = 0; }), "'factor'"));
  CAF_CHECK(names(refused([](auto& x) { x.jitter_percent = 101; }),
                  "'jitter_percent'"));
  CAF_CHECK(
    names(refused([](auto& x) { x.max_restarts = 1'001; }), "'max_restarts'"));
  CAF_CHECK(names(refused([](auto& x) { x.period = 25h; }), "'period'"));
}
