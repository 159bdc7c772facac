// SPDX-License-Identifier: Apache-2.0

#include "tests/support/node_bench.hpp"

#include "tests/support/test_network.hpp"

#include "actors/node/node_config.hpp"

#include <algorithm>
#include <stdexcept>

namespace muster::test {

namespace {

std::unique_ptr<caf::actor_system_config> make_config(bool has_network) {
  if (has_network) {
    auto out = std::make_unique<node_config>();
    use_test_network(*out);
    return out;
  }
  auto out = std::make_unique<caf::actor_system_config>();
  muster::add_message_types(*out);
  out->set("scheduler.policy", caf::atom("testing"));
  return out;
}

} // namespace

// -- constructors and destructors ---------------------------------------------

node_bench::node_bench(std::uint64_t seed)
  : disk(seed),
    workers(std::make_shared<simulated_workers>(strategy_clocks{
      [this] { return wall_ms(); }, [this] { return steady_ns_; }})),
    random_(seed) {
  settings.pods.folder = "/state/pods";
  settings.recovery.groups.folder = "/state/groups";
  settings.pool.folder = "/state/pool";
  settings.pool.version = "test";
  settings.pool.program = "/muster";
  settings.storage.directory = "/state";
  settings.storage.file_system = disk.file_system();
  // Short slices: scripts that never end are to cost little.
  settings.strategy.slice_instructions = 1'000;
  // A tick now and then is enough, unless a test is about it.
  settings.tick.interval = std::chrono::seconds(30);
}

node_bench::~node_bench() {
  kill();
}

// -- life of the node ---------------------------------------------------------

expected<void> node_bench::start() {
  auto env = make_environment();
  auto opened = open_storage(settings.storage, disk.documents(), env);
  if (!opened)
    return tl::unexpected<failure>{opened.error()};
  auto parts = std::make_shared<node_parts>();
  parts->settings = settings;
  parts->env = env;
  parts->disk = std::move(*opened);
  parts->detached = false;
  parts->pool = make_pool_parts();
  parts->pods = make_pod_parts();
  parts->recovery.env = env;
  parts->recovery.warn = [](const std::string&) {
    // Seen by the tests of recovery alone.
  };
  config_ = make_config(has_network);
  system_ = std::make_unique<caf::actor_system>(*config_);
  scheduler().clock().current_time
    = caf::actor_clock::time_point{std::chrono::nanoseconds{steady_ns_}};
  node_
    = system_->spawn(muster::node, std::shared_ptr<const node_parts>{parts});
  died_ = std::make_shared<bool>(false);
  caf::actor_cast<caf::abstract_actor*>(node_)->attach_functor(
    [died = died_](const caf::error&) { *died = true; });
  if (run_at_start)
    run();
  return {};
}

void node_bench::require_start() {
  if (auto started = start(); !started)
    throw std::runtime_error{"the node does not start: "
                             + started.error().message};
}

void node_bench::kill() {
  drop();
  disk.kill_process();
  workers->restart_node();
}

void node_bench::cut_power() {
  drop();
  disk.cut_power();
  workers->cut_power();
}

void node_bench::stop() {
  auto done = send_to<caf::ok_atom>(node_, stop_atom::value);
  for (int rounds = 0; rounds < 2'000 && !*done; ++rounds)
    if (run(100) == 0)
      break;
  run();
  if (!*done || !**done)
    throw std::runtime_error{"the node does not stop"};
  node_ = nullptr;
  system_.reset();
  config_.reset();
  workers->restart_node();
}

void node_bench::drop() {
  died_.reset();
  if (!system_)
    return;
  disk.is_off = true;
  workers->lose_node();
  caf::anon_send_exit(node_, caf::exit_reason::user_shutdown);
  node_ = nullptr;
  // Those that wait for answers get none. Timers go with the system.
  while (system_->registry().running() > 0)
    if (run(1'000) == 0 && !scheduler().trigger_timeout())
      break;
  system_.reset();
  config_.reset();
  disk.is_off = false;
}

// -- running ------------------------------------------------------------------

std::size_t node_bench::run(std::size_t max_messages) {
  if (max_messages == 0)
    max_messages = run_limit;
  auto& jobs = scheduler().jobs;
  std::size_t count = 0;
  for (; count < max_messages && (!jobs.empty() || workers->work()); ++count) {
    if (jobs.empty())
      continue;
    // An endless script in the node is not to keep workers from working.
    if (count % 16 == 15)
      workers->work();
    auto* job = jobs.front();
    scheduler().try_run_once();
    // An actor with more to do is left at the front; here all take turns.
    if (jobs.size() > 1 && jobs.front() == job)
      std::rotate(jobs.begin(), jobs.begin() + 1, jobs.end());
  }
  return count;
}

bool node_bench::run_one(std::mt19937_64& random) {
  auto& jobs = scheduler().jobs;
  if (jobs.empty())
    return false;
  auto i = static_cast<std::ptrdiff_t>(random() % jobs.size());
  std::rotate(jobs.begin(), jobs.begin() + i, jobs.begin() + i + 1);
  return scheduler().try_run_once();
}

void node_bench::advance(std::chrono::milliseconds time) {
  auto step = std::min<std::chrono::milliseconds>(settings.tick.interval, time);
  while (time.count() > 0) {
    auto next = std::min(step, time);
    steady_ns_ += std::chrono::nanoseconds{next}.count();
    if (system_)
      scheduler().clock().advance_time(next);
    pass_time(next);
    run();
    time -= next;
  }
}

void node_bench::move_clock(std::chrono::milliseconds time) {
  steady_ns_ += std::chrono::nanoseconds{time}.count();
  if (system_)
    scheduler().clock().advance_time(time);
  pass_time(time);
}

void node_bench::pass_time(std::chrono::milliseconds time) {
  workers->advance(time);
  workers->sockets->advance(time);
  workers->beat();
}

std::int64_t node_bench::wall_ms() const {
  return steady_ns_ / 1'000'000 + wall_offset_ms;
}

// -- the verbs ----------------------------------------------------------------

expected<session_view> node_bench::run_code(const std::string& code,
                                            const std::string& ctx) {
  session_spec spec;
  spec.code = code;
  spec.name = "test.lua";
  spec.ctx = ctx;
  return ask<session_view>(start_atom::value, spec, once);
}

expected<std::string> node_bench::spawn(const std::string& code,
                                        const std::string& ctx) {
  session_spec spec;
  spec.code = code;
  spec.name = "test.lua";
  spec.ctx = ctx;
  return ask<std::string>(spawn_atom::value, spec, once);
}

expected<session_view>
node_bench::feed(const std::string& id, const std::string& query,
                 const std::string& response, feed_mode mode,
                 std::optional<token_usage> usage) {
  auto reply = ask<feed_reply>(feed_atom::value, id,
                               std::vector<answer>{{query, response, usage}},
                               mode, once);
  if (!reply)
    return tl::unexpected<failure>{reply.error()};
  if (auto& refused = reply->results.at(0).refused)
    return tl::unexpected<failure>{*refused};
  return std::move(reply->session);
}

expected<feed_reply>
node_bench::feed_all(const std::string& id,
                     std::vector<std::pair<std::string, std::string>> answers,
                     feed_mode mode) {
  std::vector<answer> all;
  for (auto& [query, response] : answers)
    all.push_back({query, response, std::nullopt});
  return ask<feed_reply>(feed_atom::value, id, all, mode, once);
}

expected<session_view> node_bench::show(const std::string& id) {
  return ask<session_view>(show_atom::value, id);
}

expected<session_view> node_bench::cancel(const std::string& id,
                                          const std::string& detail) {
  return ask<session_view>(cancel_atom::value, id,
                           cancel_reason{cancel_code::user, detail, 0});
}

expected<json> node_bench::snapshot(const std::string& id,
                                    snapshot_options options) {
  auto text = ask<std::string>(snapshot_atom::value, id, options);
  if (!text)
    return tl::unexpected<failure>{text.error()};
  return json::parse(*text);
}

expected<std::vector<session_summary>>
node_bench::list(std::vector<session_phase> phases) {
  session_list_request request;
  request.phases = std::move(phases);
  auto page = ask<session_page>(list_atom::value, request);
  if (!page)
    return tl::unexpected<failure>{page.error()};
  return std::move(page->sessions);
}

json node_bench::status() {
  auto text = ask<std::string>(status_atom::value);
  return text ? json::parse(*text) : json(nullptr);
}

// -- looking inside -----------------------------------------------------------

expected<stored_session> node_bench::stored(const std::string& id) {
  auto node = static_cast<node_impl::stateful_pointer<node_state>>(
    caf::actor_cast<caf::abstract_actor*>(node_));
  auto answer
    = send_to<stored_session>(node->state.persistence, load_atom::value, id);
  run();
  if (!*answer)
    return fail(errc::timeout, "there is no answer");
  return **answer;
}

const session_registry_state& node_bench::registry() const {
  return static_cast<
           session_registry_impl::stateful_pointer<session_registry_state>>(
           caf::actor_cast<caf::abstract_actor*>(parts().sessions))
    ->state;
}

const node_state& node_bench::parts() const {
  return static_cast<node_impl::stateful_pointer<node_state>>(
           caf::actor_cast<caf::abstract_actor*>(node_))
    ->state;
}

const session_actor_state* node_bench::active(const std::string& id) const {
  auto& all = registry().active;
  auto i = all.find(id);
  if (i == all.end())
    return nullptr;
  auto* actor = caf::actor_cast<caf::abstract_actor*>(i->second.handle);
  // One that has ended keeps nothing; the registry may not know yet.
  if (actor->getf(caf::abstract_actor::is_terminated_flag))
    return nullptr;
  return &static_cast<session_impl::stateful_pointer<session_actor_state>>(
            actor)
            ->state;
}

std::size_t node_bench::monitors_of(const caf::actor& who) {
  struct opened : caf::monitorable_actor {
    static std::size_t count(caf::monitorable_actor& actor) {
      std::size_t n = 0;
      for (auto* i = &(actor.*&opened::attachables_head_); *i; i = &(*i)->next)
        ++n;
      return n;
    }
  };
  return opened::count(*static_cast<caf::monitorable_actor*>(
    caf::actor_cast<caf::abstract_actor*>(who)));
}

std::size_t node_bench::actors() const {
  return system_->registry().running();
}

caf::scheduler::test_coordinator& node_bench::scheduler() {
  return dynamic_cast<caf::scheduler::test_coordinator&>(system_->scheduler());
}

environment node_bench::make_environment() {
  environment env;
  env.wall_ms = [this] {
    if (on_wall_clock)
      on_wall_clock();
    return wall_ms();
  };
  env.steady_ns = [this] { return steady_ns_; };
  env.random = [this] { return random_bits{random_(), random_()}; };
  return env;
}

pool_parts node_bench::make_pool_parts() {
  pool_parts out;
  out.env = make_environment();
  out.processes = workers;
  out.sockets = workers->sockets;
  out.find_process = [this](std::int32_t pid) { return workers->find(pid); };
  out.usage_of = [](const process_identity&) { return std::nullopt; };
  out.remove_file
    = [this](const std::string& path) { workers->sockets->peers.erase(path); };
  out.warn = [](const std::string&) {};
  return out;
}

pod_parts node_bench::make_pod_parts() {
  // No pod lives here: those have benches of their own.
  pod_parts out = system_pod_parts({});
  out.env = make_environment();
  out.processes = std::make_shared<scripted_processes>();
  out.sockets = std::make_shared<scripted_sockets>();
  out.warn = [](const std::string&) {};
  return out;
}

} // namespace muster::test
