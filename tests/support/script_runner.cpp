// SPDX-License-Identifier: Apache-2.0

#include "tests/support/script_runner.hpp"

#include "actors/strategy/package_folders.hpp"

#include "messages/json.hpp"

#include <stdexcept>

namespace muster::test {

namespace {

template <class T>
const T* last_as(const history& events) {
  return std::get_if<T>(&events.back().body);
}

/// Lets a replay come to the pause at which the session stands.
/// @returns how it failed, if it did.
std::optional<failed_event> come_back(local_host& host) {
  for (;;) {
    auto report = host.advance();
    if (std::holds_alternative<host_busy>(report))
      continue;
    if (std::holds_alternative<host_restored>(report))
      return std::nullopt;
    if (auto* step = std::get_if<strategy_step>(&report))
      if (auto* failure = std::get_if<failed_event>(&step->end))
        return *failure;
    throw std::runtime_error{"a replay did not stop where the session stands"};
  }
}

} // namespace

// -- script_outcome -----------------------------------------------------------

std::string script_outcome::result() const {
  auto* end = last_as<done_event>(events);
  return end != nullptr ? end->result : std::string{};
}

std::string script_outcome::error() const {
  auto* end = last_as<failed_event>(events);
  return end != nullptr ? end->message : std::string{};
}

failure_kind script_outcome::error_kind() const {
  return std::get<failed_event>(events.back().body).kind;
}

std::vector<std::string> script_outcome::prompts() const {
  std::vector<std::string> out;
  for (auto& event : events)
    if (auto* pause = std::get_if<paused_event>(&event.body))
      for (auto& q : pause->queries)
        out.push_back(q.prompt);
  return out;
}

std::string comparable(history events) {
  for (auto& event : events)
    event.at_ms = 0;
  return encode_history(events, "hash");
}

// -- script_runner ------------------------------------------------------------

script_runner::script_runner()
  : answer([](const query& q) {
      return answered_event{q.id, "A(" + q.prompt + ")", std::nullopt};
    }) {
  // nop
}

script_outcome script_runner::run(const std::string& code) {
  session_spec spec;
  spec.code = code;
  spec.name = name;
  spec.ctx = ctx;
  return run(std::move(spec));
}

script_outcome script_runner::advise(const std::string& package) {
  session_spec spec;
  spec.kind = session_kind::advice;
  spec.strategy = package;
  spec.ctx = ctx;
  return run(std::move(spec));
}

script_outcome script_runner::run(session_spec spec) {
  script_outcome out;
  out.state = state;
  out.events.push_back({wall_ms, spawned_event{std::move(spec), seed, "test"}});
  sources.clear();
  auto host = make_host(out, out.events);
  auto note = [&](auto&& body) { out.events.push_back({wall_ms, body}); };
  auto replace = [&] {
    before_replay();
    host = make_host(out, out.events);
  };
  while (out.slices < max_slices) {
    auto report = host->advance();
    for (auto& line : host->take_logs())
      out.logs.push_back(std::move(line));
    if (std::holds_alternative<host_busy>(report)) {
      ++out.slices;
      continue;
    }
    if (auto* call = std::get_if<host_call>(&report)) {
      host->resolve(look_up(*call, out.state));
      continue;
    }
    auto* step = std::get_if<strategy_step>(&report);
    if (step == nullptr)
      throw std::runtime_error{"the host waits for nobody knows what"};
    for (auto& effect : step->effects)
      note(effect);
    for (auto& write : step->writes) {
      if (write.value)
        out.state[write.where.key] = *write.value;
      else
        out.state.erase(write.where.key);
    }
    for (auto& source : step->sources)
      sources.push_back(source);
    std::visit(note, step->end);
    auto* pause = std::get_if<paused_event>(&step->end);
    if (pause == nullptr)
      return out;
    std::vector<answered_event> answers;
    for (auto& q : pause->queries)
      answers.push_back(answer(q));
    if (!replays) {
      for (auto& a : answers)
        note(a);
      host->answer(std::move(answers));
      continue;
    }
    // First with no answer at all, then with one after the other.
    for (auto& a : answers) {
      replace();
      if (auto failure = come_back(*host)) {
        note(*failure);
        return out;
      }
      note(a);
    }
    replace();
  }
  out.events.push_back(
    {wall_ms, failed_event{
                "the script is endless", failure_kind::engine_error, {}, {}}});
  return out;
}

host_report script_runner::replay(const script_outcome& past) {
  auto events = past.events;
  events.pop_back(); // how it ended is what the replay is to find out
  auto host = make_host(past, std::move(events));
  for (;;) {
    auto report = host->advance();
    if (auto* call = std::get_if<host_call>(&report))
      host->resolve(look_up(*call, past.state));
    else if (!std::holds_alternative<host_busy>(report))
      return report;
  }
}

std::unique_ptr<local_host> script_runner::make_host(const script_outcome& past,
                                                     history events) {
  auto host = std::make_unique<local_host>(
    settings, strategy_clocks{[this] { return wall_ms += wall_step; },
                              [this] { return wall_ms += wall_step; }});
  host->start({"s-test", std::move(events), sources, past.logs.size(), {}});
  return host;
}

host_result
script_runner::look_up(const host_call& call,
                       const std::map<std::string, std::string>& values) const {
  if (call.what == host_call::kind::module_source) {
    auto found = find_module(settings.packages, call.where.key,
                             settings.max_source_bytes);
    return {std::move(found.text), 0, std::move(found.name),
            std::move(found.error)};
  }
  if (call.what == host_call::kind::state_keys) {
    auto keys = json::array();
    for (auto& [key, value] : values)
      keys.push_back(key);
    return {keys.dump(), 0, {}, {}};
  }
  auto i = values.find(call.where.key);
  if (i == values.end())
    return {};
  return {i->second, 1, {}, {}};
}

} // namespace muster::test
