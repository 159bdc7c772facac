// SPDX-License-Identifier: Apache-2.0

#define CAF_SUITE tick

#include "actors/tick/tick.hpp"

#include "tests/support/suite.hpp"

#include "messages/json.hpp"

using namespace muster;
using namespace std::chrono_literals;

namespace {

struct config : caf::actor_system_config {
  config() {
    muster::add_message_types(*this);
  }
};

/// What a step was asked, and the promises that it has not kept yet.
struct step_log {
  std::size_t asked = 0;
  bool answers = true;
  bool fails = false;
  std::vector<caf::typed_response_promise<std::uint64_t>> open;
};

using step_log_ptr = std::shared_ptr<step_log>;

/// A step that also keeps a promise when it is told to: only the actor that
/// made one may do that.
using scripted_step_actor
  = ticking_actor::extend<caf::reacts_to<beat_atom, std::uint64_t>>;

scripted_step_actor::behavior_type
step(scripted_step_actor::pointer self, step_log_ptr log,
     std::shared_ptr<std::string> order, char name) {
  return {
    [=](collect_atom) -> caf::result<std::uint64_t> {
      ++log->asked;
      *order += name;
      if (log->fails)
        return make_error(errc::internal, "broken step");
      if (log->answers)
        return std::uint64_t{2};
      log->open.push_back(self->make_response_promise<std::uint64_t>());
      return log->open.back();
    },
    [=](beat_atom, std::uint64_t done) {
      log->open.at(0).deliver(done);
      log->open.clear();
    },
  };
}

struct fixture : test_coordinator_fixture<config> {
  step_log_ptr a = std::make_shared<step_log>();
  step_log_ptr b = std::make_shared<step_log>();
  std::shared_ptr<std::string> order = std::make_shared<std::string>();
  std::shared_ptr<std::string> last = std::make_shared<std::string>();
  std::shared_ptr<std::size_t> reports = std::make_shared<std::size_t>(0);
  tick_actor hdl;
  caf::actor first_step;
  std::vector<caf::actor> others;

  fixture() {
    auto make = [&](step_log_ptr log, char name) {
      auto x = sys.spawn(step, std::move(log), order, name);
      others.push_back(caf::actor_cast<caf::actor>(x));
      return x;
    };
    auto sink = sys.spawn(
      [](status_sink_actor::pointer,
         std::shared_ptr<std::string> to) -> status_sink_actor::behavior_type {
        return {[=](report_atom, const std::string&, const std::string& text) {
          *to = text;
        }};
      },
      last);
    auto reporter = sys.spawn(
      [](reporting_actor::pointer,
         std::shared_ptr<std::size_t> count) -> reporting_actor::behavior_type {
        return {[=](report_atom) { ++*count; }};
      },
      reports);
    others.push_back(caf::actor_cast<caf::actor>(sink));
    others.push_back(caf::actor_cast<caf::actor>(reporter));
    auto step_a = make(a, 'a');
    auto step_b = make(b, 'b');
    first_step = caf::actor_cast<caf::actor>(step_a);
    tick_settings settings;
    settings.interval = 100ms;
    settings.step_deadline = 40ms;
    auto now = [this] {
      return sched.clock().current_time.time_since_epoch().count();
    };
    hdl = sys.spawn(tick, settings, std::function<std::int64_t()>{now},
                    std::vector<tick_step>{{"a", step_a}, {"b", step_b}},
                    std::vector<reporting_actor>{reporter}, sink);
    sched.run();
  }

  ~fixture() {
    caf::anon_send_exit(hdl, caf::exit_reason::user_shutdown);
    for (auto& x : others)
      caf::anon_send_exit(x, caf::exit_reason::user_shutdown);
    // A step that never answered must not keep its promise beyond the system.
    a->open.clear();
    b->open.clear();
    sched.run();
  }

  void pass(std::chrono::milliseconds time) {
    advance_time(time);
    sched.run();
  }

  json status() {
    return json::parse(*last);
  }
};

} // namespace

CAF_TEST_FIXTURE_SCOPE(tick_tests, fixture)

CAF_TEST(each beat asks every step in order and then for the counters) {
  pass(99ms);
  CAF_CHECK_EQUAL(*order, "");
  pass(1ms);
  CAF_CHECK_EQUAL(*order, "ab");
  CAF_CHECK_EQUAL(*reports, 1u);
  for (int i = 0; i < 4; ++i)
    pass(100ms);
  CAF_CHECK_EQUAL(*order, "ababababab");
  CAF_CHECK_EQUAL(status()["completed"], 5);
  CAF_CHECK_EQUAL(status()["steps"][0]["done"], 10);
}

CAF_TEST(a step that misses its deadline is left behind) {
  a->answers = false;
  pass(100ms);
  CAF_CHECK_EQUAL(*order, "a");
  pass(39ms);
  CAF_CHECK_EQUAL(*order, "a");
  pass(1ms);
  CAF_CHECK_EQUAL(*order, "ab");
  CAF_CHECK_EQUAL(status()["steps"][0]["late"], 1);
  // It is not asked again before it answered; the others are.
  pass(60ms);
  CAF_CHECK_EQUAL(*order, "abb");
  CAF_CHECK_EQUAL(status()["steps"][0]["skipped"], 1);
  a->answers = true;
  self->send(first_step, beat_atom::value, std::uint64_t{7});
  sched.run();
  pass(100ms);
  CAF_CHECK_EQUAL(*order, "abbab");
  CAF_CHECK_EQUAL(status()["steps"][0]["done"], 9);
}

CAF_TEST(ticks never overlap and a late one is not followed by a burst) {
  b->answers = false;
  pass(100ms);
  CAF_CHECK_EQUAL(*order, "ab");
  // The whole time passes at once: the beats of this time come one by one.
  pass(1'000ms);
  CAF_CHECK(a->asked <= 3u);
  CAF_CHECK_EQUAL(b->asked, 1u);
}

CAF_TEST(a step that fails is told and does not stop the others) {
  a->fails = true;
  pass(100ms);
  CAF_CHECK_EQUAL(*order, "ab");
  CAF_CHECK_EQUAL(status()["steps"][0]["last_error"], "broken step");
  a->fails = false;
  pass(100ms);
  CAF_CHECK(!status()["steps"][0].contains("last_error"));
}

CAF_TEST(a beat can be asked for) {
  self->send(hdl, beat_atom::value);
  sched.run();
  CAF_CHECK_EQUAL(*order, "ab");
}

CAF_TEST_FIXTURE_SCOPE_END()
