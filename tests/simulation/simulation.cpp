// SPDX-License-Identifier: Apache-2.0

#include "tests/simulation/simulation.hpp"

#include "tests/simulation/damage.hpp"

#include "messages/session_json.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

using namespace std::chrono_literals;

namespace muster::test {

namespace {

constexpr std::size_t max_sessions = 14;
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
                      &simulation_report::given_up})
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
    "taken by strangers, {} sessions given up",
    sessions, requests, repeats, acknowledged, observed, missed, starts, stops,
    kills, power_cuts, disk_faults, syncs, damages, damages_refused,
    damages_unnoticed, workers, workers_killed, workers_crashed, workers_hung,
    workers_survived, sockets_usurped, given_up);
}

simulation::simulation(simulation_options options)
  : options_(std::move(options)), random_(options_.seed), bench_(options_.seed),
    audience_(bench_, model_, random_,
              [this](const std::function<std::string()>& text) { note(text); }),
    workforce_(
      bench_, model_, random_,
      [this](const std::function<std::string()>& text) { note(text); }) {
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
  if (options_.prepare)
    options_.prepare(bench_);
}

simulation_report simulation::run() {
  try {
    start();
    idle_actors_ = bench_.actors();
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
  else
    for (auto i = roll(12); i > 0; --i)
      run_something();
  die_if_due();
  harvest();
  check_counters();
  workforce_.check();
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

void simulation::spawn_session() {
  auto& script = simulated_scripts()[roll(simulated_scripts().size())];
  session_spec spec;
  spec.code = script.code;
  auto name = std::string{script.name};
  spec.name = name;
  auto in_worker = roll(10) < 4;
  if (in_worker)
    spec.isolation = session_isolation::worker;
  note([&] {
    return "a client spawns '" + name + (in_worker ? "' in a worker" : "'");
  });
  auto starts = chance(2);
  auto record = keep([=, this](request_record_ptr again) {
    send_spawn(spec, starts != chance(4), again);
  });
  ++spawn_requests_;
  send_spawn(spec, starts, record);
}

void simulation::send_spawn(session_spec spec, bool starts,
                            request_record_ptr record) {
  auto name = spec.name;
  auto spawned = [=, this](const std::string& id) {
    model_.spawned(id, name);
    if (record->request_id == once)
      return;
    if (record->result && *record->result != id)
      throw violation{fmt::format("request {} made session {} and session {}",
                                  record->request_id, *record->result, id)};
    record->result = id;
  };
  if (!starts) {
    auto answer = bench_.send<std::string>(spawn_atom::value, std::move(spec),
                                           record->request_id);
    open_.push_back({[this, answer, spawned] {
      if (!*answer)
        return false;
      if (**answer)
        spawned(***answer);
      else
        refused("(new)", (*answer)->error());
      return true;
    }});
    return;
  }
  auto answer = bench_.send<session_view>(start_atom::value, std::move(spec),
                                          record->request_id);
  open_.push_back({[this, answer, spawned, record] {
    if (!*answer)
      return false;
    if (**answer) {
      auto& view = ***answer;
      spawned(view.session_id);
      model_.shown({view.session_id, 0}, view);
    } else if (auto& why = (*answer)->error(); why.code == errc::not_found
                                               && prunes_
                                               && record->request_id != once) {
      note([] { return "what a repeated request has made is gone"; });
    } else {
      refused("(new)", why);
    }
    return true;
  }});
}

simulation::request_record_ptr
simulation::keep(std::function<void(request_record_ptr)> again) {
  auto record = std::make_shared<request_record>();
  if (chance(3))
    return record;
  record->request_id = fmt::format("r-{}", repeatable_.size());
  record->again = std::move(again);
  repeatable_.push_back(record);
  return record;
}

void simulation::feed_session(const std::string& id) {
  auto& session = model_.sessions().at(id);
  std::vector<answer> answers;
  auto add = [&](const std::string& query_id) {
    // The same again, as a client whose connection broke would.
    auto& sent = session.queries.at(query_id).sent;
    auto response = !sent.empty() && chance(2)
                      ? *sent.begin()
                      : fmt::format("r{}", ++responses_);
    answers.push_back({query_id, response, std::nullopt});
  };
  if (!session.open.empty() && !chance(8)) {
    add(session.open[roll(session.open.size())]);
    if (session.open.size() > 1 && chance(3))
      add(session.open[roll(session.open.size())]);
  } else if (!session.queries.empty()) {
    // A query of long ago.
    auto i = session.queries.begin();
    std::advance(i, roll(session.queries.size()));
    add(i->first);
  } else {
    return;
  }
  auto mode = chance(2) ? feed_mode::next_event : feed_mode::accepted;
  for (auto& given : answers) {
    model_.sends(id, given.query_id, given.response);
    note([&] {
      return fmt::format(
        "a client feeds {} {} = {}{}", id, given.query_id, given.response,
        mode == feed_mode::accepted ? ", without waiting" : "");
    });
  }
  auto record = keep([=, this](request_record_ptr again) {
    send_feed(id, answers, chance(4) ? feed_mode::accepted : mode, again);
  });
  send_feed(id, answers, mode, record);
}

void simulation::send_feed(const std::string& id, std::vector<answer> answers,
                           feed_mode mode, request_record_ptr record) {
  auto reply = bench_.send<feed_reply>(feed_atom::value, id, answers, mode,
                                       record->request_id);
  open_.push_back(
    {[this, reply, answers, record, expected = model_.expectation_for(id)] {
      if (!*reply)
        return false;
      if (!**reply) {
        refused(expected.session_id, (*reply)->error());
        return true;
      }
      auto& given = ***reply;
      note([&] {
        auto& first = given.results.at(0);
        return fmt::format("{} {}: {}, event {}", expected.session_id,
                           first.query_id,
                           first.refused ? first.refused->message : "accepted",
                           given.session.seq);
      });
      auto results = to_json(given.results);
      if (record->result) {
        if (*record->result != results)
          throw violation{fmt::format("request {} was answered {}, and then {}",
                                      record->request_id, *record->result,
                                      results)};
        model_.shown(expected, given.session);
        return true;
      }
      model_.fed(expected, answers, given);
      auto is_executed
        = std::any_of(given.results.begin(), given.results.end(),
                      [](auto& result) { return !result.refused; });
      if (record->request_id != once && is_executed)
        record->result = std::move(results);
      return true;
    }});
}

void simulation::show_session(const std::string& id) {
  auto view = bench_.send<session_view>(show_atom::value, id);
  open_.push_back({[this, view, expected = model_.expectation_for(id)] {
    if (!*view)
      return false;
    if (**view)
      model_.shown(expected, ***view);
    else
      refused(expected.session_id, (*view)->error());
    return true;
  }});
}

void simulation::await_session(const std::string& id) {
  // Some wait in the name of one who observes as well.
  auto what = chance(2) ? wait_for::event : wait_for::end;
  std::optional<audience::member> client;
  if (chance(2))
    client = audience_.somebody();
  auto view
    = client
        ? bench_.send<session_view>(await_atom::value, id, what, client->handle)
        : bench_.send_as_client<session_view>(await_atom::value, id, what);
  note([&] { return "a client waits for " + id; });
  std::optional<std::weak_ptr<void>> presence;
  if (client)
    presence = client->presence;
  open_.push_back(
    {[this, view, presence, expected = model_.expectation_for(id)] {
      auto is_gone = presence && presence->expired();
      if (!*view)
        return is_gone;
      if (!**view && is_gone && (*view)->error().code == errc::connection_lost)
        return true;
      if (**view)
        model_.shown(expected, ***view);
      else
        refused(expected.session_id, (*view)->error());
      return true;
    }});
}

void simulation::cancel_session(const std::string& id) {
  note([&] { return "a client cancels " + id; });
  auto reason = fmt::format("reason {}", ++reasons_);
  model_.cancels(id, reason);
  auto view = bench_.send<session_view>(
    cancel_atom::value, id, cancel_reason{cancel_code::user, reason, 0});
  open_.push_back({[this, view, expected = model_.expectation_for(id)] {
    if (!*view)
      return false;
    if (!**view)
      refused(expected.session_id, (*view)->error());
    else if (!is_terminal((**view)->phase))
      throw violation{"session " + expected.session_id
                      + " was cancelled and goes on"};
    else
      model_.shown(expected, ***view);
    return true;
  }});
}

void simulation::list_sessions(std::uint32_t limit, std::string before,
                               std::set<std::string> listed,
                               std::vector<std::string> known) {
  session_list_request request;
  request.limit = limit;
  request.before = before;
  auto page = bench_.send<session_page>(list_atom::value, request);
  open_.push_back({[=, this]() mutable {
    if (!*page)
      return false;
    if (!**page) {
      // The session that it was to go on behind may be deleted by now.
      auto& why = (*page)->error();
      if (why.code != errc::not_found || before.empty() || !prunes_)
        refused("(list)", why);
      return true;
    }
    auto& sessions = (**page)->sessions;
    for (auto& line : sessions)
      if (!listed.insert(line.session_id).second)
        throw violation{"session " + line.session_id + " is listed twice"};
    if ((**page)->more && (sessions.empty() || limit == 0))
      throw violation{"a list has no end"};
    if ((**page)->more) {
      if (!bench_.is_running())
        return true;
      list_sessions(limit, sessions.back().session_id, std::move(listed),
                    std::move(known));
      return true;
    }
    for (auto& id : known)
      if (listed.count(id) == 0
          && !model_.may_be_gone(model_.sessions().at(id)))
        throw violation{"session " + id
                        + " was acknowledged and is not listed"};
    return true;
  }});
}

void simulation::prune_sessions() {
  note([] { return "an operator deletes what has ended"; });
  model_.prunes();
  auto count = bench_.send<std::uint64_t>(
    prune_atom::value, static_cast<std::int64_t>(chance(2) ? 0 : roll(60'000)));
  open_.push_back({[this, count] {
    if (!*count)
      return false;
    if (!**count)
      refused("(prune)", (*count)->error());
    return true;
  }});
}

void simulation::use_state() {
  const state_key where{"default", "operator"};
  if (!is_writing_ && chance(2)) {
    is_writing_ = true;
    auto value = ++sent_value_;
    possible_values_.insert(value);
    auto version = bench_.send<std::uint64_t>(set_atom::value, where,
                                              std::to_string(value), once);
    open_.push_back({[this, version, value] {
      if (!*version)
        return false;
      is_writing_ = false;
      if (!**version) {
        refused("(set)", (*version)->error());
        return true;
      }
      if (***version <= value_version_)
        throw violation{fmt::format("version {} of a value comes behind {}",
                                    ***version, value_version_)};
      value_version_ = ***version;
      possible_values_ = {value};
      return true;
    }});
    return;
  }
  auto found = bench_.send<state_value>(get_atom::value, where);
  open_.push_back(
    {[this, found, possible = possible_values_, sent = sent_value_] {
      if (!*found)
        return false;
      if (!**found) {
        refused("(get)", (*found)->error());
        return true;
      }
      auto value = std::stoull((**found)->value.value_or("0"));
      if (possible.count(value) == 0 && value <= sent)
        throw violation{fmt::format("the value {} is back", value)};
      return true;
    }});
}

void simulation::disturb() {
  auto& disk = bench_.disk;
  switch (roll(14)) {
    case 13:
      ends_at_ = disk.operations() + 1;
      by_power_ = false;
      at_sync_ = true;
      note([] { return "the process will be killed at the next sync"; });
      break;
    case 12:
      stop();
      break;
    case 0:
      note([] { return "the process is killed"; });
      die(false);
      break;
    case 1:
      note([] { return "the power goes"; });
      die(true);
      break;
    case 2:
    case 3:
      ends_at_ = disk.operations() + 1 + roll(30);
      by_power_ = chance(2);
      at_sync_ = false;
      note([&] {
        return fmt::format("{} at operation {}",
                           by_power_ ? "the power will go"
                                     : "the process will be killed",
                           *ends_at_);
      });
      break;
    case 4:
    case 5: {
      auto number = disk.operations() + 1 + roll(12);
      auto error = chance(2) ? EIO : ENOSPC;
      disk.fail_once(number, error);
      ++report_.disk_faults;
      note([&] {
        return fmt::format("operation {} will fail with {}", number,
                           error == EIO ? "EIO" : "ENOSPC");
      });
      break;
    }
    case 6:
      disk.capacity = disk.used() + roll(20'000);
      ++report_.disk_faults;
      note([] { return "the disk is getting full"; });
      break;
    case 7:
    case 8:
    case 9:
      heal();
      break;
    default:
      bench_.wall_offset_ms
        += static_cast<std::int64_t>(roll(172'800'000)) - 86'400'000;
      note([] { return "the wall clock jumps"; });
      break;
  }
}

// -- life of the node ---------------------------------------------------------

void simulation::start() {
  bench_.disk.set_fault([this](disk_operation operation,
                               const std::string& path, std::uint64_t number) {
    if (!ends_at_ || number < *ends_at_
        || (at_sync_ && operation != disk_operation::sync))
      return 0;
    note([&] {
      return fmt::format("{} at operation {}: {} {}",
                         by_power_ ? "the power goes" : "the process is killed",
                         number, to_string(operation), path);
    });
    ends_at_.reset();
    has_ended_ = true;
    bench_.disk.is_off = true;
    return EIO;
  });
  for (int attempt = 0;; ++attempt) {
    auto started = bench_.start();
    if (started && !has_ended_ && !bench_.has_died())
      break;
    if (!started && attempt > 0)
      throw violation{"the node does not start: " + started.error().message};
    if (!started)
      refused("(start)", started.error());
    // The fault was in the way; it is over.
    if (has_ended_ && by_power_)
      cut_power();
    else if (has_ended_ || started)
      bench_.kill();
    has_ended_ = false;
    bench_.disk.is_off = false;
    heal();
  }
  ++report_.starts;
  note([] { return "the node starts"; });
  if (chance(4))
    audit();
}

void simulation::die(bool power) {
  audience_.go();
  if (power)
    cut_power();
  else
    bench_.kill();
  ++(power ? report_.power_cuts : report_.kills);
  has_ended_ = false;
  ends_at_.reset();
  // Nobody gets an answer any more.
  open_.clear();
  is_writing_ = false;
  if (power && chance(6))
    start_damaged();
  change_node();
}

void simulation::change_node() {
  workforce_.expect_survivors();
  workforce_.go_on_alone();
  start();
  workforce_.check_survivors();
}

void simulation::cut_power() {
  bench_.cut_power();
  workforce_.forget();
}

void simulation::stop() {
  heal();
  note([] { return "the node is told to stop"; });
  audience_.go();
  try {
    bench_.stop();
  } catch (const std::exception& fault) {
    // Of what happened before.
    if (!has_ended_ && !bench_.has_died())
      throw violation{fault.what()};
    die_if_due();
    return;
  }
  for (auto& request : std::exchange(open_, {}))
    if (!request.harvest())
      throw violation{"a request has no answer, and the node has stopped"};
  open_.clear();
  is_writing_ = false;
  if (bench_.disk.open_files() > 0)
    throw violation{
      fmt::format("{} files are left open", bench_.disk.open_files())};
  ++report_.stops;
  change_node();
}

void simulation::start_damaged() {
  damage harm{bench_.disk, random_};
  if (harm.path().empty())
    return;
  ++report_.damages;
  note([&] { return harm.text(); });
  bench_.disk.set_fault(nullptr);
  bench_.disk.capacity.reset();
  bench_.disk.forget_failures();
  auto started = bench_.start();
  if (!started) {
    ++report_.damages_refused;
    auto& why = started.error();
    note([&] { return "the start is refused: " + why.message; });
    if (why.code != errc::registry_corrupted && why.code != errc::newer_format
        && why.code != errc::storage_failed)
      throw violation{harm.text() + ", and a start is refused with "
                      + to_string(why.code)};
    if (why.message.find("/state/sessions.db") == std::string::npos)
      throw violation{harm.text()
                      + ", and nobody is told where: " + why.message};
    if (bench_.disk.contents(harm.path()) != harm.contents())
      throw violation{harm.text() + ", and a refused start has changed it"};
  } else {
    auto before = model_;
    try {
      audit_damaged();
    } catch (const violation& fault) {
      if (harm.is_plain())
        throw violation{harm.text() + ", and a start goes on: " + fault.what()};
      ++report_.damages_unnoticed;
      note([&] { return std::string{"not noticed: "} + fault.what(); });
    }
    model_ = std::move(before);
    check_damaged_pool(harm);
  }
  // Whatever was started on this disk is nothing to the one that it was.
  cut_power();
  harm.undo();
}

void simulation::check_damaged_pool(const damage& harm) {
  if (!harm.path().ends_with("/pool/registry.json"))
    return;
  auto known
    = bench_.ask<std::vector<worker_view>>(pool_atom::value, list_atom::value);
  if (known || bench_.has_died())
    return;
  auto& why = known.error();
  note([&] { return "the pool is refused: " + why.message; });
  if (why.code != errc::registry_corrupted && why.code != errc::newer_format)
    throw violation{harm.text() + ", and the pool is refused with "
                    + to_string(why.code)};
  if (bench_.disk.contents(harm.path()) != harm.contents())
    throw violation{harm.text() + ", and a refused pool has changed it"};
}

void simulation::audit_damaged() {
  auto is_loud = [&](const failure& why) {
    return bench_.has_died() || why.code == errc::registry_corrupted
           || why.code == errc::storage_failed;
  };
  auto known = model_.sessions();
  for (auto& [id, session] : known) {
    auto view = bench_.show(id);
    if (view) {
      model_.shown(model_.expectation_for(id), *view);
      auto text = bench_.ask<std::string>(transcript_atom::value, id);
      if (text)
        model_.told(id, *text);
      else if (!is_loud(text.error()))
        throw violation{"session " + id + ": " + text.error().message};
      if (text)
        check_record(id);
    } else if (!is_loud(view.error())) {
      model_.refused(id, view.error());
    }
    if (bench_.has_died())
      return;
  }
}

void simulation::die_if_due() {
  if (has_ended_) {
    auto by_power = by_power_;
    die(by_power);
    // What was written and not synced is there for now. If somebody sees it, it
    // has to stay.
    if (!by_power && (at_sync_ || chance(2))) {
      audit();
      die(true);
    }
  } else if (bench_.has_died()) {
    note([] { return "the node gives up"; });
    die(chance(3));
  }
}

void simulation::harvest() {
  audience_.harvest(
    [this](const std::string& id, const failure& why) { refused(id, why); });
  for (auto i = open_.begin(); i != open_.end();)
    i = i->harvest() ? open_.erase(i) : std::next(i);
  die_if_due();
}

// -- the end ------------------------------------------------------------------

void simulation::settle() {
  note([] { return "no more faults"; });
  heal();
  workforce_.heal();
  // Some of those that wait since before are answered in the end.
  auto& max_active = bench_.settings.session.max_active;
  auto is_scarce = max_active < max_sessions;
  max_active = 10 * max_sessions;
  if (is_scarce || chance(2))
    die(chance(2));
  bench_.run();
  harvest();
  // Those that nobody greets give up, and what is lost is replaced.
  workforce_.clear_away();
  bench_.advance(bench_.settings.pool.orphan_timeout + 2s);
  harvest();
  workforce_.check_rest();
  audience_.hurry();
  audit();
  // Those too that came through without an acknowledgement.
  auto all = bench_.list();
  if (!all)
    throw violation{"the sessions cannot be listed: " + all.error().message};
  std::vector<std::string> ids;
  for (auto& line : *all)
    ids.push_back(line.session_id);
  for (auto& [id, session] : model_.sessions())
    if (std::find(ids.begin(), ids.end(), id) == ids.end()
        && !model_.may_be_gone(session))
      throw violation{"session " + id + " was seen and is not listed"};
  if (ids.size() > spawn_requests_)
    throw violation{fmt::format("{} requests have made {} sessions",
                                spawn_requests_, ids.size())};
  // Some watch the end, and some go before it.
  audience_.gather(ids);
  bench_.run();
  harvest();
  audience_.thin_out();
  for (auto& id : ids)
    finish_session(id);
  check_leftovers();
  audience_.go();
  end_workers();
  // Nothing of all this may depend on what is only in memory.
  bench_.cut_power();
  start();
  audit();
  std::int64_t counted = 0;
  std::int64_t listed = 0;
  for (auto& id : ids) {
    check_session(id, counted, listed);
    check_record(id);
  }
  auto value = [&](const char* key) {
    auto found
      = bench_.ask<state_value>(get_atom::value, state_key{"default", key});
    return found && found->value ? json::parse(*found->value) : json();
  };
  auto written = value("operator");
  if (possible_values_.count(written.is_null() ? 0
                                               : written.get<std::uint64_t>())
      == 0)
    throw violation{"the value " + written.dump() + " is back"};
  // What deleted sessions did is not known.
  auto counter = value("counter");
  if (!prunes_ && (counter.is_null() ? 0 : counter.get<double>()) != counted)
    throw violation{
      fmt::format("the counter is {}, not {}", counter.dump(), counted)};
  auto list = value("list");
  auto items = list.is_null() ? 0 : list.size();
  if (!prunes_ && items != static_cast<std::size_t>(listed))
    throw violation{
      fmt::format("the list has {} items, not {}", items, listed)};
  bench_.stop();
  if (bench_.disk.open_files() > 0)
    throw violation{
      fmt::format("{} files are left open", bench_.disk.open_files())};
}

void simulation::end_workers() {
  auto stopped = bench_.send<pool_stop_reply>(pool_atom::value,
                                              stop_atom::value, std::string{});
  bench_.advance(bench_.settings.pool.orphan_timeout + 2s);
  if (!*stopped || !**stopped || !(**stopped)->errors.empty())
    throw violation{"the workers cannot be stopped"};
  bench_.stop();
  start();
  bench_.run();
  workforce_.check_end();
}

void simulation::check_counters() {
  if (!bench_.is_running() || bench_.has_died())
    return;
  auto& registry = bench_.registry();
  std::uint64_t machines = 0;
  std::uint64_t asked_back = 0;
  for (auto& [id, entry] : registry.active) {
    machines += entry.machine != machine_use::none ? 1 : 0;
    asked_back += entry.asked_back ? 1 : 0;
  }
  if (machines != registry.machines || asked_back != registry.asked_back)
    throw violation{fmt::format(
      "{} machines are counted, {} of them asked for, and there "
      "are {} and {}",
      registry.machines, registry.asked_back, machines, asked_back)};
  audience_.check_monitors();
}

void simulation::check_leftovers() {
  // A narrow window lets one event through at a time.
  for (int rounds = 0; rounds < 100; ++rounds) {
    bench_.run();
    harvest();
  }
  audience_.check_ends();
  // Machines and actors go when nobody has needed them for a while.
  bench_.advance(10s);
  harvest();
  if (!open_.empty())
    throw violation{
      fmt::format("{} requests are never answered", open_.size())};
  auto& registry = bench_.registry();
  if (!registry.active.empty() || !registry.ids.empty())
    throw violation{"session " + registry.active.begin()->first
                    + " has ended and has an actor"};
  if (registry.machines + registry.asked_back + registry.asked > 0)
    throw violation{"the registry counts what is not there"};
  auto actors = idle_actors_ + audience_.actors();
  if (bench_.actors() != actors)
    throw violation{
      fmt::format("there are {} actors, not {}", bench_.actors(), actors)};
  if (bench_.disk.open_files() != idle_files_)
    throw violation{fmt::format("{} files are open, not {}",
                                bench_.disk.open_files(), idle_files_)};
}

void simulation::check_record(const std::string& id) {
  auto stored = bench_.stored(id);
  if (!stored)
    throw violation{"session " + id + ": " + stored.error().message};
  std::vector<observed_event> seen;
  session_fold fold{id};
  for (auto& batch : stored->events) {
    std::string code_hash;
    auto events = decode_history(batch.payload, code_hash);
    if (!events)
      throw violation{"session " + id + ": " + events.error().message};
    for (auto& event : *events) {
      auto before = fold.phase();
      fold.apply(event);
      auto& x = seen.emplace_back();
      x.last = is_terminal(fold.phase());
      for (auto& item : progress_json(event, before, fold.view()))
        x.progress.push_back(item.dump());
    }
  }
  model_.recorded(id, seen);
}

void simulation::finish_session(const std::string& id) {
  for (int rounds = 0;; ++rounds) {
    if (rounds > 100)
      throw violation{fmt::format("session {} does not end, the pool is {}", id,
                                  bench_.status()["pool"].dump())};
    auto view = bench_.show(id);
    if (!view)
      throw violation{"session " + id + ": " + view.error().message};
    model_.shown(model_.expectation_for(id), *view);
    if (is_terminal(view->phase))
      return;
    auto is_endless = view->phase == session_phase::running && rounds > 3
                      && script_of(id).never_ends;
    if (is_endless) {
      model_.cancels(id, "test");
      auto ended = bench_.cancel(id);
      if (!ended)
        throw violation{"session " + id + ": " + ended.error().message};
      continue;
    }
    if (view->phase == session_phase::running) {
      bench_.advance(1s);
      continue;
    }
    auto& query_id = view->queries.front().id;
    std::vector<answer> answers{
      {query_id, fmt::format("r{}", ++responses_), std::nullopt}};
    model_.sends(id, query_id, answers[0].response);
    auto expected = model_.expectation_for(id);
    auto reply = bench_.ask<feed_reply>(feed_atom::value, id, answers,
                                        feed_mode::accepted, once);
    if (!reply)
      throw violation{"session " + id + ": " + reply.error().message};
    model_.fed(expected, answers, *reply);
    if (reply->results[0].refused)
      throw violation{"session " + id + ": "
                      + reply->results[0].refused->message};
  }
}

void simulation::check_session(const std::string& id, std::int64_t& counted,
                               std::int64_t& listed) {
  auto text = bench_.ask<std::string>(transcript_atom::value, id);
  if (!text)
    throw violation{"session " + id + ": " + text.error().message};
  model_.told(id, *text);
  auto transcript = json::parse(*text);
  auto view = bench_.show(id);
  if (!view)
    throw violation{"session " + id + ": " + view.error().message};
  auto* script = &script_of(id);
  if (is_given_up(*view))
    ++report_.given_up;
  counted
    += script->counts_per_query * static_cast<std::int64_t>(transcript.size());
  listed += script->lists ? static_cast<std::int64_t>(transcript.size()) : 0;
  if (view->phase == session_phase::cancelled || is_given_up(*view))
    return;
  if (view->phase
      != (script->fails ? session_phase::failed : session_phase::done))
    throw violation{fmt::format("session {} is {}: {}", id,
                                to_string(view->phase), view->error)};
  if (view->phase == session_phase::failed)
    return;
  auto log = json::array();
  for (auto& x : transcript)
    log.push_back({x["prompt"], x["response"]});
  if (log != json::parse(view->result))
    throw violation{fmt::format("session {} gives {}, and was answered {}", id,
                                view->result, log.dump())};
}

void simulation::audit() {
  std::vector<std::pair<std::string, model::expectation>> known;
  for (auto& [id, session] : model_.sessions())
    known.emplace_back(id, model_.expectation_for(id));
  for (auto& [id, expected] : known) {
    auto view = bench_.show(id);
    if (has_ended_ || bench_.has_died())
      return;
    if (view)
      model_.shown(expected, *view);
    else
      refused(id, view.error());
    if (has_ended_ || bench_.has_died())
      return;
  }
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
