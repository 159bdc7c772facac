// SPDX-License-Identifier: Apache-2.0

// The end of a life: what must hold once nothing happens any more.

#include "tests/simulation/simulation.hpp"

#include "messages/session_json.hpp"

#include <fmt/format.h>

#include <algorithm>

using namespace std::chrono_literals;

namespace muster::test {

void simulation::settle() {
  note([] { return "no more faults"; });
  heal();
  workforce_.heal();
  recoverers_.heal();
  // Some of those that wait since before are answered in the end.
  auto& max_active = bench_.settings.session.max_active;
  auto is_scarce = max_active < max_sessions;
  max_active = 10 * max_sessions;
  // There is room for all groups.
  if (has_groups_) {
    auto& max_workers = bench_.settings.pool.max_workers;
    is_scarce = is_scarce || max_workers < 100;
    max_workers = 1'000;
  }
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
  if (has_groups_)
    settle_groups();
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
  recoverers_.go();
  has_groups_ = false;
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

void simulation::settle_groups() {
  crews_.check_rest();
  if (chance(2)) {
    die(chance(2));
    crews_.audit();
    crews_.check_rest();
  }
  crews_.end();
  harvest();
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
  auto actors = idle_actors_ + audience_.actors() + recoverers_.actors();
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
  crews_.audit();
}

} // namespace muster::test
