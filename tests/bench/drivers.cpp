// SPDX-License-Identifier: Apache-2.0

#include "tests/bench/drivers.hpp"

#include "actors/process/environment.hpp"

#include <fmt/format.h>

#include <chrono>
#include <future>
#include <memory>
#include <stdexcept>

namespace muster::bench {

namespace {

using clock = std::chrono::steady_clock;

/// What a driver and whoever waits for it share.
struct drive {
  std::size_t in_flight = 0;
  std::size_t count = 0;
  clock::time_point end;
  clock::time_point last;
  std::string error;
  std::promise<void> over;

  [[nodiscard]] bool goes_on() const {
    return error.empty() && clock::now() < end;
  }

  /// One request has been answered and no other follows.
  void finish() {
    last = clock::now();
    if (--in_flight == 0)
      over.set_value();
  }
};

using drive_pointer = std::shared_ptr<drive>;

/// Asks, and again behind each answer, until the time is over.
/// @param ask sends the next request; is called with a count.
/// @param look says what is wrong with an answer, if anything.
template <class Answer, class Ask, class Look>
void drive_on(caf::event_based_actor* self, const drive_pointer& d, Ask ask,
              Look look) {
  ask(d->count).then(
    [=](const Answer& x) {
      if (auto wrong = look(x); !wrong.empty())
        d->error = wrong;
      ++d->count;
      if (d->goes_on())
        drive_on<Answer>(self, d, ask, look);
      else
        d->finish();
    },
    [=](const caf::error& error) {
      d->error = self->system().render(error);
      d->finish();
    });
}

/// Runs a driver to its end.
/// @returns what it did per second.
template <class Start>
double run_driver(caf::actor_system& system, std::size_t at_a_time,
                  double seconds, Start start) {
  auto d = std::make_shared<drive>();
  d->in_flight = at_a_time;
  auto begin = clock::now();
  d->end = begin
           + std::chrono::duration_cast<clock::duration>(
             std::chrono::duration<double>(seconds));
  auto over = d->over.get_future();
  auto hdl = system.spawn([=](caf::event_based_actor* self) {
    for (std::size_t i = 0; i < at_a_time; ++i)
      start(self, d, i);
    return caf::behavior{[](caf::unit_t) {}};
  });
  if (over.wait_for(std::chrono::seconds(120)) != std::future_status::ready)
    throw std::runtime_error{"the node does not answer"};
  caf::anon_send_exit(hdl, caf::exit_reason::user_shutdown);
  if (!d->error.empty())
    throw std::runtime_error{d->error};
  return static_cast<double>(d->count)
         / std::chrono::duration<double>(d->last - begin).count();
}

/// An answer of the size that a record of the peers has.
answer next_answer(std::size_t count) {
  auto text = fmt::format("answer {:08}", count);
  text.resize(250, '.');
  return {{}, std::move(text), std::nullopt};
}

session_spec spec_of(const std::string& code) {
  session_spec out;
  out.code = code;
  out.name = "bench.lua";
  return out;
}

} // namespace

std::string asking_script() {
  return R"lua(
local n = 0
while true do
  n = n + 1
  alc.llm("question " .. n)
end
)lua";
}

std::vector<std::string> spawn(caf::actor_system& system,
                               const node_actor& node, const std::string& code,
                               std::size_t count, std::size_t at_a_time) {
  std::vector<std::string> ids;
  auto spec = spec_of(code);
  while (ids.size() < count) {
    auto n = std::min(at_a_time, count - ids.size());
    auto driver = std::make_shared<std::promise<std::vector<std::string>>>();
    auto got = driver->get_future();
    system.spawn([=](caf::event_based_actor* me) {
      auto views = std::make_shared<std::vector<std::string>>();
      for (std::size_t i = 0; i < n; ++i)
        me->request(node, caf::infinite, start_atom::value, spec, once)
          .then(
            [=](const session_view& view) {
              views->push_back(view.session_id);
              if (views->size() == n)
                driver->set_value(*views);
            },
            [=](const caf::error& why) {
              driver->set_exception(std::make_exception_ptr(
                std::runtime_error{me->system().render(why)}));
            });
    });
    auto some = got.get();
    ids.insert(ids.end(), some.begin(), some.end());
  }
  return ids;
}

namespace {

/// @param next_id gives the id of the next request, or `once`.
template <class F>
double feed_as(caf::actor_system& system, const node_actor& node,
               const std::vector<std::string>& ids, double seconds, F next_id) {
  return run_driver(
    system, ids.size(), seconds,
    [=](caf::event_based_actor* self, const drive_pointer& d, std::size_t i) {
      drive_on<feed_reply>(
        self, d,
        [=, id = ids[i]](std::size_t count) {
          return self->request(node, caf::infinite, feed_atom::value, id,
                               std::vector<answer>{next_answer(count)},
                               feed_mode::next_event, next_id());
        },
        [](const feed_reply& reply) -> std::string {
          auto fine = reply.results.size() == 1 && !reply.results[0].refused;
          return fine ? "" : "a feed was refused";
        });
    });
}

} // namespace

double feed(caf::actor_system& system, const node_actor& node,
            const std::vector<std::string>& ids, double seconds) {
  return feed_as(system, node, ids, seconds, [] { return once; });
}

double feed_with_ids(caf::actor_system& system, const node_actor& node,
                     const std::vector<std::string>& ids, double seconds) {
  return feed_as(system, node, ids, seconds, [env = real_environment()] {
    return make_request_id(env.wall_ms(), env.random());
  });
}

double show(caf::actor_system& system, const node_actor& node,
            const std::vector<std::string>& ids, double seconds) {
  return run_driver(
    system, ids.size(), seconds,
    [=](caf::event_based_actor* self, const drive_pointer& d, std::size_t i) {
      drive_on<session_view>(
        self, d,
        [=, id = ids[i]](std::size_t) {
          return self->request(node, caf::infinite, show_atom::value, id);
        },
        [](const session_view& view) -> std::string {
          return view.queries.empty() ? "a session is not paused" : "";
        });
    });
}

double spawn_rate(caf::actor_system& system, const node_actor& node,
                  const std::string& code, std::size_t at_a_time,
                  double seconds) {
  auto spec = spec_of(code);
  return run_driver(
    system, at_a_time, seconds,
    [=](caf::event_based_actor* self, const drive_pointer& d, std::size_t) {
      drive_on<std::string>(
        self, d,
        [=](std::size_t) {
          return self->request(node, caf::infinite, spawn_atom::value, spec,
                               once);
        },
        [](const std::string&) { return std::string{}; });
    });
}

} // namespace muster::bench
