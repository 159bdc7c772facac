// SPDX-License-Identifier: Apache-2.0

#include "tests/simulation/simulation.hpp"

#include <fmt/format.h>

#include <algorithm>

using namespace std::chrono_literals;

namespace muster::test {

namespace {

constexpr std::size_t max_open_requests = 10;

} // namespace

void simulation_report::add(const simulation_report& other) {
  for (auto number : {&simulation_report::requests,
                      &simulation_report::repeats,
                      &simulation_report::acknowledged,
                      &simulation_report::sessions,
                      &simulation_report::starts,
                      &simulation_report::kills,
                      &simulation_report::power_cuts,
                      &simulation_report::disk_faults,
                      &simulation_report::syncs,
                      &simulation_report::observed,
                      &simulation_report::missed,
                      &simulation_report::stops,
                      &simulation_report::damages,
                      &simulation_report::damages_refused,
                      &simulation_report::damages_unnoticed,
                      &simulation_report::workers,
                      &simulation_report::workers_killed,
                      &simulation_report::workers_crashed,
                      &simulation_report::workers_hung,
                      &simulation_report::workers_survived,
                      &simulation_report::sockets_usurped,
                      &simulation_report::given_up,
                      &simulation_report::groups,
                      &simulation_report::occupants,
                      &simulation_report::recovered,
                      &simulation_report::passes,
                      &simulation_report::handlers_asked,
                      &simulation_report::handlers_failed})
    this->*number += other.*number;
}

std::string simulation_report::text() const {
  return fmt::format(
    "{} sessions, {} requests and {} repeats, {} answers acknowledged, {} "
    "events observed and "
    "{} missed, {} starts, {} stops, {} kills, {} power cuts, {} faults of the "
    "disk, {} syncs, {} files damaged: {} refused, {} not noticed; {} workers, "
    "{} killed, {} crashed, {} hung, {} taken over by the next node, {} "
    "sockets "
    "taken by strangers, {} sessions given up; {} groups, {} occupants of "
    "their slots, {} slots put back, {} passes, {} handlers asked, {} failed",
    sessions, requests, repeats, acknowledged, observed, missed, starts, stops,
    kills, power_cuts, disk_faults, syncs, damages, damages_refused,
    damages_unnoticed, workers, workers_killed, workers_crashed, workers_hung,
    workers_survived, sockets_usurped, given_up, groups, occupants, recovered,
    passes, handlers_asked, handlers_failed);
}

simulation::simulation(simulation_options options)
  : options_(std::move(options)), random_(options_.seed), bench_(options_.seed),
    audience_(bench_, model_, random_,
              [this](const std::function<std::string()>& text) { note(text); }),
    workforce_(
      bench_, model_, random_,
      [this](const std::function<std::string()>& text) { note(text); }),
    recoverers_(
      bench_, random_,
      [this](const std::function<std::string()>& text) { note(text); }),
    crews_(bench_, workforce_, recoverers_, random_,
           {[this](const std::function<std::string()>& text) { note(text); },
            [this](std::function<bool()> harvest) {
              open_.push_back({std::move(harvest)});
            },
            [this](const std::string& what, const failure& why) {
              refused(what, why);
            }}) {
  report_.seed = options_.seed;
  bench_.run_limit = 500;
  bench_.linger = 20;
  // Scripts without an end are to cost little.
  bench_.settings.strategy.slice_instructions = 100;
  auto& settings = bench_.settings;
  settings.tick.interval = 500ms;
  // Little of everything, so that sessions come and go all the time.
  settings.session.passivate_after = 2s;
  settings.session.max_machines = 1 + roll(4);
  settings.session.max_activations = 2;
  // Clocks jump by days here, and nobody is to be forgotten.
  settings.session.retention = std::chrono::hours{100'000};
  settings.session.idle_ttl = std::chrono::hours{100'000};
  settings.storage.keep_receipts = std::chrono::hours{100'000};
  settings.session.observer_window = chance(2) ? 1 + roll(4) : 256;
  if (chance(4))
    settings.session.max_waiting = 1 + roll(4);
  if (chance(4))
    settings.session.max_active = 3 + roll(4);
  settings.storage.checkpoint_pages = 1 + roll(60);
  prunes_ = chance(5);
  settings.session.retry_after = chance(2) ? 1'000ms : 50ms;
  settings.strategy.max_crashes = model_.max_crashes = 2 + roll(2);
  settings.pool.spawn_timeout = 3s;
  settings.pool.greet_timeout = 2s;
  settings.pool.patience = 3s;
  settings.pool.idle_timeout = chance(2) ? 10s : 60s;
  settings.pool.orphan_timeout = 8s;
  settings.pool.stop = {300ms, 500ms, 1s};
  if (chance(4))
    settings.pool.max_workers = 2 + roll(4);
  has_groups_ = chance(2);
  auto& groups = settings.recovery.groups;
  groups.start_timeout = 5s;
  groups.stop_timeout = 3s;
  groups.find_timeout = 2s;
  groups.patience = 2s;
  settings.recovery.max_recoveries_per_handler = 1 + roll(6);
  if (options_.prepare)
    options_.prepare(bench_);
}

simulation_report simulation::run() {
  try {
    start();
    idle_actors_ = bench_.actors() - recoverers_.actors();
    idle_files_ = bench_.disk.open_files();
    for (int i = 0; i < options_.steps; ++i)
      step();
    settle();
  } catch (const std::exception& fault) {
    report_.fault = fault.what();
  }
  report_.acknowledged = model_.acknowledged();
  report_.sessions = model_.sessions().size();
  report_.syncs = bench_.disk.syncs();
  report_.observed = audience_.events();
  report_.missed = audience_.missed();
  auto& workers = workforce_.counters();
  report_.workers = workers.started;
  report_.workers_killed = workers.killed;
  report_.workers_crashed = workers.crashed;
  report_.workers_hung = workers.hung;
  report_.workers_survived = workers.survived;
  report_.sockets_usurped = workers.usurped;
  report_.groups = crews_.created();
  report_.occupants = crews_.occupants();
  report_.recovered = crews_.recovered();
  report_.passes = recoverers_.all_passes();
  report_.handlers_asked = recoverers_.times_asked();
  report_.handlers_failed = recoverers_.times_failed();
  return std::move(report_);
}

// -- what may happen ----------------------------------------------------------

void simulation::step() {
  auto what = roll(100);
  if (what < 13 && open_.size() < max_open_requests)
    request_something();
  else if (what < 15 && open_.size() < max_open_requests
           && !repeatable_.empty())
    repeat_something();
  else if (what < 17)
    bench_.move_clock(std::chrono::milliseconds{1 + roll(40)});
  else if (what < 18)
    bench_.move_clock(std::chrono::milliseconds{1 + roll(4'000)});
  else if (what < 20)
    disturb();
  else if (what < 22)
    workforce_.disturb();
  else if (what < 23 && has_groups_)
    recoverers_.act();
  else if (what < 26 && has_groups_ && open_.size() < max_open_requests)
    crews_.act();
  else
    for (auto i = roll(12); i > 0; --i)
      run_something();
  die_if_due();
  harvest();
  check_counters();
  workforce_.check();
  recoverers_.check();
  crews_.check();
}

void simulation::run_something() {
  auto is_turn_of_worker = chance(4);
  if (is_turn_of_worker && bench_.workers->work_one(random_))
    return;
  if (!bench_.run_one(random_) && !is_turn_of_worker)
    std::ignore = bench_.workers->work_one(random_);
}

void simulation::request_something() {
  ++report_.requests;
  auto id = some_session();
  auto what = roll(100);
  if (id.empty() || (what < 20 && model_.sessions().size() < max_sessions))
    spawn_session();
  else if (what < 58)
    feed_session(id);
  else if (what < 68)
    show_session(id);
  else if (what < 75)
    await_session(id);
  else if (what < 79)
    use_pool();
  else if (what < 88)
    audience_.act(id);
  else if (what < 91)
    list_sessions(static_cast<std::uint32_t>(roll(6)), {}, {},
                  known_sessions());
  else if (what < 95)
    use_state();
  else if (what < 97 && prunes_)
    prune_sessions();
  else
    cancel_session(id);
}

void simulation::repeat_something() {
  ++report_.repeats;
  // Mostly what is not long ago.
  auto count = repeatable_.size();
  auto among = chance(3) ? count : std::min<std::size_t>(count, 5);
  auto record = repeatable_[count - 1 - roll(among)];
  note([&] { return "a client repeats request " + record->request_id; });
  record->again(record);
}

// -- helpers ------------------------------------------------------------------

std::vector<std::string> simulation::known_sessions() const {
  std::vector<std::string> out;
  for (auto& [id, session] : model_.sessions())
    if (!session.script.empty())
      out.push_back(id);
  return out;
}

std::string simulation::some_session() {
  auto& all = model_.sessions();
  if (all.empty())
    return {};
  auto i = all.begin();
  std::advance(i, roll(all.size()));
  return i->first;
}

const simulated_script& simulation::script_of(const std::string& id) {
  auto stored = bench_.stored(id);
  if (!stored)
    throw violation{"session " + id + ": " + stored.error().message};
  auto& known = model_.sessions().at(id).script;
  auto name = json::parse(stored->events.at(0).payload)[0]["spec"]["name"]
                .get<std::string>();
  if (!known.empty() && known != name)
    throw violation{"session " + id + " runs '" + name + "', not '" + known
                    + "'"};
  for (auto& script : simulated_scripts())
    if (script.name == name)
      return script;
  throw violation{"session " + id + " runs '" + name + "'"};
}

void simulation::heal() {
  bench_.disk.capacity.reset();
  bench_.disk.forget_failures();
  ends_at_.reset();
  note([] { return "the disk is fine"; });
}

void simulation::refused(const std::string& id, const failure& why) {
  note([&] { return id + ": " + why.message; });
  if (why.code != errc::connection_lost) {
    model_.refused(id, why);
    return;
  }
  if (!bench_.is_running())
    throw violation{"session " + id + ": a request is lost by a stop"};
  // So it ends for those who were waiting when the node gives up, and only
  // then.
  for (int i = 0; i < 10'000 && !bench_.has_died(); ++i)
    bench_.run_one(random_);
  if (!bench_.has_died())
    throw violation{"session " + id + ": a request is lost, the node lives"};
}

void simulation::note(const std::function<std::string()>& text) {
  if (!options_.trace)
    return;
  report_.trace.push_back(
    fmt::format("{:>9} ms  {}", bench_.steady_ms(), text()));
}

} // namespace muster::test
