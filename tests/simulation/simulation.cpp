// SPDX-License-Identifier: Apache-2.0

#include "tests/simulation/simulation.hpp"

#include "messages/json.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

using namespace std::chrono_literals;

namespace muster::test {

namespace {

constexpr std::size_t max_sessions = 14;
constexpr std::size_t max_open_requests = 10;

} // namespace

simulation::simulation(simulation_options options)
  : options_(std::move(options)), random_(options_.seed),
    bench_(options_.seed) {
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
  settings.storage.checkpoint_pages = 1 + roll(60);
  if (options_.prepare)
    options_.prepare(bench_);
}

simulation_report simulation::run() {
  try {
    start();
    for (int i = 0; i < options_.steps; ++i)
      step();
    settle();
  } catch (const std::exception& fault) {
    report_.fault = fault.what();
  }
  report_.acknowledged = model_.acknowledged();
  report_.sessions = model_.sessions().size();
  report_.syncs = bench_.disk.syncs();
  return std::move(report_);
}

// -- what may happen ----------------------------------------------------------

void simulation::step() {
  auto what = roll(100);
  if (what < 14 && open_.size() < max_open_requests)
    request_something();
  else if (what < 17)
    bench_.move_clock(std::chrono::milliseconds{1 + roll(40)});
  else if (what < 18)
    bench_.move_clock(std::chrono::milliseconds{1 + roll(4'000)});
  else if (what < 20)
    disturb();
  else
    for (auto i = roll(12); i > 0; --i)
      bench_.run_one(random_);
  die_if_due();
  harvest();
}

void simulation::request_something() {
  ++report_.requests;
  auto id = some_session();
  auto what = roll(100);
  if (id.empty() || (what < 20 && model_.sessions().size() < max_sessions))
    spawn_session();
  else if (what < 70)
    feed_session(id);
  else if (what < 85)
    show_session(id);
  else if (what < 93)
    await_session(id);
  else if (what < 97)
    list_sessions();
  else
    cancel_session(id);
}

void simulation::spawn_session() {
  auto& script = simulated_scripts()[roll(simulated_scripts().size())];
  session_spec spec;
  spec.code = script.code;
  auto name = std::string{script.name};
  spec.name = name;
  note([&] { return "a client spawns '" + name + "'"; });
  if (chance(2)) {
    auto answer = bench_.send<std::string>(spawn_atom::value, spec);
    open_.push_back({[this, answer, name] {
      if (!*answer)
        return false;
      if (**answer)
        model_.spawned(***answer, name);
      else
        refused("(new)", (*answer)->error());
      return true;
    }});
    return;
  }
  auto answer = bench_.send<session_view>(start_atom::value, spec);
  open_.push_back({[this, answer, name] {
    if (!*answer)
      return false;
    if (**answer) {
      auto& view = ***answer;
      model_.spawned(view.session_id, name);
      model_.shown({view.session_id, 0}, view);
    } else {
      refused("(new)", (*answer)->error());
    }
    return true;
  }});
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
  auto reply = bench_.send<feed_reply>(feed_atom::value, id, answers, mode);
  open_.push_back({[this, reply, answers,
                    expected = model_.expectation_for(id)] {
    if (!*reply)
      return false;
    if (**reply) {
      note([&] {
        auto& first = (**reply)->results.at(0);
        return fmt::format("{} {}: {}, event {}", expected.session_id,
                           first.query_id,
                           first.refused ? first.refused->message : "accepted",
                           (**reply)->session.seq);
      });
      model_.fed(expected, answers, ***reply);
    } else {
      refused(expected.session_id, (*reply)->error());
    }
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
  auto view = bench_.send_as_client<session_view>(
    await_atom::value, id, chance(2) ? wait_for::event : wait_for::end);
  note([&] { return "a client waits for " + id; });
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

void simulation::cancel_session(const std::string& id) {
  note([&] { return "a client cancels " + id; });
  model_.cancels(id);
  auto view = bench_.send<session_view>(
    cancel_atom::value, id, cancel_reason{cancel_code::user, "enough", 0});
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

void simulation::list_sessions() {
  auto page
    = bench_.send<session_page>(list_atom::value, session_list_request{});
  std::vector<std::string> known;
  for (auto& [id, session] : model_.sessions())
    if (!session.script.empty())
      known.push_back(id);
  open_.push_back({[this, page, known = std::move(known)] {
    if (!*page)
      return false;
    if (!**page) {
      refused("(list)", (*page)->error());
      return true;
    }
    std::set<std::string> listed;
    for (auto& line : (**page)->sessions)
      listed.insert(line.session_id);
    for (auto& id : known)
      if (listed.count(id) == 0)
        throw violation{"session " + id
                        + " was acknowledged and is not listed"};
    return true;
  }});
}

void simulation::disturb() {
  auto& disk = bench_.disk;
  switch (roll(12)) {
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
      power_goes_at_ = disk.operations() + 1 + roll(30);
      note([&] {
        return fmt::format("the power will go at operation {}",
                           *power_goes_at_);
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
    if (!power_goes_at_ || number < *power_goes_at_)
      return 0;
    note([&] {
      return fmt::format("the power goes at operation {}: {} {}", number,
                         to_string(operation), path);
    });
    power_goes_at_.reset();
    power_is_gone_ = true;
    bench_.disk.is_off = true;
    return EIO;
  });
  for (int attempt = 0;; ++attempt) {
    auto started = bench_.start();
    if (started && !power_is_gone_ && !bench_.has_died())
      break;
    if (!started && attempt > 0)
      throw violation{"the node does not start: " + started.error().message};
    if (!started)
      refused("(start)", started.error());
    // The fault was in the way; it is over.
    if (started)
      bench_.kill();
    if (power_is_gone_)
      bench_.disk.cut_power();
    power_is_gone_ = false;
    bench_.disk.is_off = false;
    heal();
  }
  ++report_.starts;
  note([] { return "the node starts"; });
  if (chance(4))
    audit();
}

void simulation::die(bool power) {
  if (power)
    bench_.cut_power();
  else
    bench_.kill();
  ++(power ? report_.power_cuts : report_.kills);
  power_is_gone_ = false;
  power_goes_at_.reset();
  // Nobody gets an answer any more.
  open_.clear();
  start();
}

void simulation::die_if_due() {
  if (power_is_gone_) {
    die(true);
  } else if (bench_.has_died()) {
    note([] { return "the node gives up"; });
    die(chance(3));
  }
}

void simulation::harvest() {
  for (auto i = open_.begin(); i != open_.end();)
    i = i->harvest() ? open_.erase(i) : std::next(i);
  die_if_due();
}

// -- the end ------------------------------------------------------------------

void simulation::settle() {
  note([] { return "no more faults"; });
  heal();
  if (power_is_gone_ || bench_.has_died())
    die_if_due();
  else if (chance(2))
    die(chance(2));
  open_.clear();
  bench_.run();
  audit();
  // Those too that came through without an acknowledgement.
  auto all = bench_.list();
  if (!all)
    throw violation{"the sessions cannot be listed: " + all.error().message};
  std::vector<std::string> ids;
  for (auto& line : *all)
    ids.push_back(line.session_id);
  for (auto& [id, session] : model_.sessions())
    if (std::find(ids.begin(), ids.end(), id) == ids.end())
      throw violation{"session " + id + " was seen and is not listed"};
  for (auto& id : ids)
    finish_session(id);
  // Nothing of all this may depend on what is only in memory.
  bench_.cut_power();
  start();
  audit();
  std::int64_t counted = 0;
  std::int64_t listed = 0;
  for (auto& id : ids)
    check_session(id, counted, listed);
  auto value = [&](const char* key) {
    auto found
      = bench_.ask<state_value>(get_atom::value, state_key{"default", key});
    return found && found->value ? json::parse(*found->value) : json();
  };
  auto counter = value("counter");
  auto list = value("list");
  if ((counter.is_null() ? 0 : counter.get<double>()) != counted)
    throw violation{
      fmt::format("the counter is {}, not {}", counter.dump(), counted)};
  if ((list.is_null() ? 0 : list.size()) != static_cast<std::size_t>(listed))
    throw violation{
      fmt::format("the list has {} items, not {}", list.size(), listed)};
  bench_.stop();
  if (bench_.disk.open_files() > 0)
    throw violation{
      fmt::format("{} files are left open", bench_.disk.open_files())};
}

void simulation::finish_session(const std::string& id) {
  for (int rounds = 0;; ++rounds) {
    if (rounds > 100)
      throw violation{"session " + id + " does not end"};
    auto view = bench_.show(id);
    if (!view)
      throw violation{"session " + id + ": " + view.error().message};
    model_.shown(model_.expectation_for(id), *view);
    if (is_terminal(view->phase))
      return;
    auto is_endless = view->phase == session_phase::running && rounds > 3
                      && script_of(id).never_ends;
    if (is_endless) {
      model_.cancels(id);
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
                                        feed_mode::accepted);
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
  counted
    += script->counts_per_query * static_cast<std::int64_t>(transcript.size());
  listed += script->lists ? static_cast<std::int64_t>(transcript.size()) : 0;
  if (view->phase == session_phase::cancelled)
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
    if (power_is_gone_ || bench_.has_died())
      return;
    if (view)
      model_.shown(expected, *view);
    else
      refused(id, view.error());
  }
}

// -- helpers ------------------------------------------------------------------

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
  power_goes_at_.reset();
  note([] { return "the disk is fine"; });
}

void simulation::refused(const std::string& id, const failure& why) {
  note([&] { return id + ": " + why.message; });
  if (why.code != errc::connection_lost) {
    model_.refused(id, why);
    return;
  }
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
