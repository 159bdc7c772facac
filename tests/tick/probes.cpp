// SPDX-License-Identifier: Apache-2.0

#define CAF_SUITE tick.probes

#include "actors/tick/probes.hpp"

#include "tests/support/suite.hpp"

#include "messages/json.hpp"

using namespace muster;

namespace {

struct config : caf::actor_system_config {
  config() {
    muster::add_message_types(*this);
  }
};

/// A probe whose answers are the test's.
struct probe_log {
  std::size_t asked = 0;
  bool fails = false;
  bool is_silent = false;
  caf::typed_response_promise<std::uint64_t> open;
};

using probe_log_ptr = std::shared_ptr<probe_log>;

using scripted_probe = probing_actor::extend<caf::reacts_to<beat_atom>>;

scripted_probe::behavior_type prober(scripted_probe::pointer self,
                                     probe_log_ptr log) {
  return {
    [=](probe_atom) -> caf::result<std::uint64_t> {
      ++log->asked;
      if (log->fails)
        return make_error(errc::internal, "it threw");
      if (!log->is_silent)
        return std::uint64_t{3};
      log->open = self->make_response_promise<std::uint64_t>();
      return log->open;
    },
    [=](beat_atom) { log->open.deliver(std::uint64_t{5}); },
  };
}

struct fixture : test_coordinator_fixture<config> {
  probe_log_ptr a = std::make_shared<probe_log>();
  probe_log_ptr b = std::make_shared<probe_log>();
  caf::actor second;
  std::shared_ptr<std::string> last = std::make_shared<std::string>();
  probes_actor hdl;

  fixture() {
    auto sink = sys.spawn(
      [](status_sink_actor::pointer,
         std::shared_ptr<std::string> to) -> status_sink_actor::behavior_type {
        return {[=](report_atom, const std::string&, const std::string& text) {
          *to = text;
        }};
      },
      last);
    auto first = sys.spawn(prober, a);
    auto other = sys.spawn(prober, b);
    second = caf::actor_cast<caf::actor>(other);
    hdl
      = sys.spawn(probes, std::vector<probe>{{"a", first}, {"b", other}}, sink);
    run();
  }

  ~fixture() {
    caf::anon_send_exit(hdl, caf::exit_reason::kill);
    run();
  }

  using answer = std::shared_ptr<std::optional<std::uint64_t>>;

  answer beat() {
    auto out = std::make_shared<std::optional<std::uint64_t>>();
    sys.spawn([=, to = hdl](caf::event_based_actor* self) {
      self->request(to, caf::infinite, collect_atom::value)
        .then([=](std::uint64_t x) { *out = x; });
    });
    run();
    return out;
  }

  json status() {
    caf::anon_send(hdl, report_atom::value);
    run();
    return json::parse(*last)["probes"];
  }
};

} // namespace

CAF_TEST_FIXTURE_SCOPE(probe_tests, fixture)

CAF_TEST(all probes are asked and what they did adds up) {
  CAF_CHECK_EQUAL(*beat(), std::optional<std::uint64_t>{6});
  auto x = status();
  CAF_CHECK_EQUAL(x[0]["name"], "a");
  CAF_CHECK_EQUAL(x[0]["asked"], 3);
  CAF_CHECK_EQUAL(x[1]["runs"], 1);
}

CAF_TEST(L4 L5 a probe that fails is kept and the others are asked) {
  a->fails = true;
  CAF_CHECK_EQUAL(*beat(), std::optional<std::uint64_t>{3});
  CAF_CHECK_EQUAL(status()[0]["failures"], 1);
  CAF_CHECK_EQUAL(status()[0]["last_error"], "it threw");
  CAF_CHECK_EQUAL(*beat(), std::optional<std::uint64_t>{3});
  CAF_CHECK_EQUAL(a->asked, 2u);
  CAF_CHECK_EQUAL(b->asked, 2u);
  a->fails = false;
  CAF_CHECK_EQUAL(*beat(), std::optional<std::uint64_t>{6});
  CAF_CHECK(!status()[0].contains("last_error"));
}

CAF_TEST(a probe that hangs is asked no second time and holds up no other) {
  b->is_silent = true;
  auto first = beat();
  CAF_CHECK(!*first);
  // The beat goes on without it, and so does the next one.
  CAF_CHECK_EQUAL(*beat(), std::optional<std::uint64_t>{3});
  CAF_CHECK_EQUAL(a->asked, 2u);
  CAF_CHECK_EQUAL(b->asked, 1u);
  CAF_CHECK_EQUAL(status()[1]["skipped"], 1);
  b->is_silent = false;
  caf::anon_send(second, beat_atom::value);
  run();
  CAF_CHECK_EQUAL(*first, std::optional<std::uint64_t>{8});
  CAF_CHECK_EQUAL(*beat(), std::optional<std::uint64_t>{6});
}

CAF_TEST_FIXTURE_SCOPE_END()
