// SPDX-License-Identifier: Apache-2.0

#include "tests/bench/in_process_node.hpp"

#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <future>
#include <stdexcept>

#include <stdlib.h>

namespace muster::bench {

namespace {

using clock = std::chrono::steady_clock;

/// What a driver and whoever waits for it share.
struct drive {
  /// Asks for the next thing; calls `done` with what came of it.
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

/// An answer of the size that a record of the peers has.
answer next_answer(std::size_t count) {
  auto text = fmt::format("answer {:08}", count);
  text.resize(250, '.');
  return {{}, std::move(text), std::nullopt};
}

void feed_on(caf::event_based_actor* self, const node_actor& node,
             const drive_pointer& d, const std::string& id) {
  self
    ->request(node, caf::infinite, feed_atom::value, id,
              std::vector<answer>{next_answer(d->count)}, feed_mode::next_event,
              once)
    .then(
      [=](const feed_reply& reply) {
        if (reply.results.size() != 1 || reply.results[0].refused)
          d->error = "a feed was refused";
        ++d->count;
        if (d->goes_on())
          feed_on(self, node, d, id);
        else
          d->finish();
      },
      [=](const caf::error& error) {
        d->error = self->system().render(error);
        d->finish();
      });
}

void spawn_on(caf::event_based_actor* self, const node_actor& node,
              const drive_pointer& d, const session_spec& spec) {
  self->request(node, caf::infinite, spawn_atom::value, spec, once)
    .then(
      [=](const std::string&) {
        ++d->count;
        if (d->goes_on())
          spawn_on(self, node, d, spec);
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
    start(self, d);
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

} // namespace

scratch::scratch(const std::string& below) : path_(below + "/muster-XXXXXX") {
  if (!::mkdtemp(path_.data()))
    throw std::runtime_error{"cannot make a folder in " + below};
}

scratch::~scratch() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

in_process_node::in_process_node(const std::string& directory,
                                 node_settings settings) {
  settings.storage.directory = directory;
  auto parts = std::make_shared<node_parts>();
  parts->env = real_environment();
  auto disk = open_storage(settings.storage, make_posix_disk(), parts->env);
  if (!disk)
    throw std::runtime_error{disk.error().message};
  parts->disk = std::move(*disk);
  parts->settings = std::move(settings);
  system_ = std::make_unique<caf::actor_system>(config_);
  impl_ = system_->spawn(node, std::shared_ptr<const node_parts>{parts});
  node_ = caf::actor_cast<node_actor>(impl_);
}

in_process_node::~in_process_node() {
  {
    caf::scoped_actor self{*system_};
    self->request(impl_, caf::infinite, stop_atom::value)
      .receive([](caf::ok_atom) {}, [](const caf::error&) {});
  }
  impl_ = nullptr;
  node_ = nullptr;
  system_.reset();
}

std::vector<std::string> in_process_node::spawn(const std::string& code,
                                                std::size_t count,
                                                std::size_t at_a_time) {
  std::vector<std::string> ids;
  session_spec spec;
  spec.code = code;
  spec.name = "bench.lua";
  while (ids.size() < count) {
    auto n = std::min(at_a_time, count - ids.size());
    auto driver = std::make_shared<std::promise<std::vector<std::string>>>();
    auto got = driver->get_future();
    auto node = node_;
    system_->spawn([=](caf::event_based_actor* me) {
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

double in_process_node::feed(const std::vector<std::string>& ids,
                             double seconds) {
  auto node = node_;
  return run_driver(*system_, ids.size(), seconds,
                    [=](caf::event_based_actor* self, const drive_pointer& d) {
                      for (auto& id : ids)
                        feed_on(self, node, d, id);
                    });
}

double in_process_node::spawn_rate(const std::string& code,
                                   std::size_t at_a_time, double seconds) {
  auto node = node_;
  session_spec spec;
  spec.code = code;
  spec.name = "bench.lua";
  return run_driver(*system_, at_a_time, seconds,
                    [=](caf::event_based_actor* self, const drive_pointer& d) {
                      for (std::size_t i = 0; i < at_a_time; ++i)
                        spawn_on(self, node, d, spec);
                    });
}

std::string in_process_node::status() {
  caf::scoped_actor self{*system_};
  std::string out;
  self->request(node_, std::chrono::seconds(30), status_atom::value)
    .receive([&](const std::string& text) { out = text; },
             [&](const caf::error& error) {
               throw std::runtime_error{system_->render(error)};
             });
  return out;
}

std::string asking_script() {
  return R"lua(
local n = 0
while true do
  n = n + 1
  alc.llm("question " .. n)
end
)lua";
}

} // namespace muster::bench
