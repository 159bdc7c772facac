// SPDX-License-Identifier: Apache-2.0

// What clients and operators want of sessions and of the state.

#include "tests/simulation/simulation.hpp"

#include "messages/session_json.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace muster::test {

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

} // namespace muster::test
