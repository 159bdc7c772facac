// SPDX-License-Identifier: Apache-2.0

#include "actors/strategy/local_host.hpp"

#include "actors/strategy/builtin_sources.hpp"
#include "actors/strategy/values.hpp"

#include "messages/hash.hpp"
#include "messages/ids.hpp"
#include "messages/tokens.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace muster {

namespace {

/// Enough of a hash to tell the arguments of two calls apart.
std::string short_hash(std::string_view text) {
  return sha256(text).substr(0, 16);
}

std::string hash_of(const state_key& where) {
  return short_hash(where.space + "\n" + where.key);
}

std::string name_of(host_call::kind kind) {
  return kind == host_call::kind::state_get ? "state_get" : "state_keys";
}

json encode(const host_result& result) {
  json out{{"version", result.version}};
  if (result.text)
    out["text"] = *result.text;
  return out;
}

host_result decode(const effect_event& effect) {
  auto in = json::parse(effect.result);
  host_result out;
  out.version = in.at("version").get<std::uint64_t>();
  if (in.contains("text"))
    out.text = in.at("text").get<std::string>();
  return out;
}

std::uint64_t tokens_of(const query& q, const answered_event& a) {
  auto usage = a.usage.value_or(token_usage{});
  auto prompt = usage.prompt_tokens.value_or(
    estimate_tokens(q.prompt) + (q.system ? estimate_tokens(*q.system) : 0));
  return prompt + usage.completion_tokens.value_or(estimate_tokens(a.response));
}

} // namespace

// -- constructors -------------------------------------------------------------

local_host::local_host(const strategy_settings& settings,
                       strategy_clocks clocks, machine_extension more)
  : settings_(settings), clocks_(std::move(clocks)), more_(std::move(more)) {
  // nop
}

local_host::~local_host() = default;

// -- strategy_host ------------------------------------------------------------

void local_host::start(strategy_start what) {
  events_ = std::move(what.events);
  contended_ = std::move(what.contended);
  log_lines_ = what.log_lines;
  for (auto& source : what.sources)
    sources_.emplace(std::move(source.hash), std::move(source.text));
  auto& spawned = std::get<spawned_event>(events_.at(0).body);
  began_ms_ = events_[0].at_ms;
  cursor_ = 1;
  try {
    machine_ = std::make_unique<machine>(
      settings_, static_cast<machine_port&>(*this), more_);
    machine_->start(spawned);
  } catch (const std::exception& error) {
    start_error_ = error.what();
  }
}

host_report local_host::advance() {
  if (waiting_ != waiting_for::nothing)
    return host_waiting{};
  if (!start_error_.empty())
    return fail(start_error_, failure_kind::engine_error);
  machine_->begin_slice();
  try {
    do {
      go_live_at_end();
      auto event = machine_->advance();
      if (!divergence_.empty())
        return fail(divergence_, failure_kind::replay_diverged);
      if (auto report = std::visit([this](auto& x) { return on(x); }, event))
        return std::move(*report);
    } while (!machine_->slice_is_over());
  } catch (const std::exception& error) {
    return fail(fmt::format("the history cannot be replayed: {}", error.what()),
                failure_kind::engine_error);
  }
  return host_busy{};
}

void local_host::resolve(host_result result) {
  waiting_ = waiting_for::nothing;
  if (asked_ == host_call::kind::module_source) {
    provide(std::move(result));
    return;
  }
  call_.result = encode(result).dump();
  record(std::move(call_));
  machine_->resolve(std::move(result));
}

void local_host::committed(std::uint64_t) {
  // nop
}

void local_host::answer(std::vector<answered_event> answers) {
  waiting_ = waiting_for::nothing;
  hand_over(std::move(answers));
}

std::vector<log_line> local_host::take_logs() {
  return std::exchange(logs_, {});
}

std::uint64_t local_host::memory_bytes() const {
  return machine_ ? machine_->memory_bytes() : 0;
}

// -- machine_port -------------------------------------------------------------

std::optional<std::int64_t> local_host::read_clock(std::string_view which) {
  std::string kind = "clock";
  auto arguments = std::string{which};
  if (replaying()) {
    auto* effect = replay_effect(kind, arguments);
    if (effect == nullptr)
      return std::nullopt;
    return json::parse(effect->result).get<std::int64_t>();
  }
  if (out_of_effects())
    return std::nullopt;
  auto time = which == "cpu" ? clocks_.steady_ns() : clocks_.wall_ms();
  if (which == "elapsed")
    time = std::max<std::int64_t>(time - began_ms_, 0);
  record({kind, arguments, std::to_string(time), {}});
  return time;
}

std::optional<std::string> local_host::refuse_write(const state_key& where) {
  effect_event refusal{"conflict",
                       hash_of(where),
                       {},
                       fmt::format("'{}' was changed by others each time it "
                                   "was written",
                                   where.key)};
  if (replaying()) {
    auto* next = std::get_if<effect_event>(&events_[cursor_].body);
    if (next == nullptr || next->kind != refusal.kind)
      return std::nullopt;
    auto* effect = replay_effect(refusal.kind, refusal.arguments);
    return effect != nullptr ? effect->error : std::string{};
  }
  if (std::find(contended_.begin(), contended_.end(), where)
      == contended_.end())
    return std::nullopt;
  auto reason = refusal.error;
  record(std::move(refusal));
  return reason;
}

std::string local_host::builtin(std::string_view name) {
  auto arguments = short_hash(name);
  if (replaying()) {
    auto* effect = replay_effect("source", arguments);
    if (effect == nullptr)
      return "error('the replay has diverged', 0)";
    return sources_.at(json::parse(effect->result).at("hash"));
  }
  source_text source;
  source.text = builtin_sources().find(name)->second;
  source.hash = sha256(source.text);
  record({"source",
          arguments,
          json{{"name", name}, {"hash", source.hash}}.dump(),
          {}});
  auto text = source.text;
  step_.sources.push_back(std::move(source));
  return text;
}

void local_host::did(std::string_view what, std::string_view text) {
  digest_.add(what, text);
}

void local_host::log(std::string_view level, std::string_view source,
                     std::string_view message) {
  if (!live_ || ++step_log_lines_ > settings_.max_log_lines)
    return;
  auto text
    = lua::repaired_utf8(message.substr(0, settings_.max_log_line_bytes));
  if (step_log_lines_ == settings_.max_log_lines)
    text = "strategy.max-log-lines: what follows until the next pause is not "
           "kept";
  logs_.push_back({++log_lines_, clocks_.wall_ms(), lua::repaired_utf8(level),
                   std::string{source}, std::move(text)});
}

// -- what the machine reports -------------------------------------------------

std::optional<host_report> local_host::on(machine_sliced&) {
  return host_busy{};
}

std::optional<host_report> local_host::on(machine_asks& asks) {
  paused_event pause;
  pause.queries = std::move(asks.queries);
  for (auto& q : pause.queries) {
    q.id = make_query_id(next_query_++);
    digest_.add("prompt", q.prompt);
    digest_.add("system", q.system.value_or(""));
    digest_.add("options",
                fmt::format("{} {} {} {}", q.max_tokens, q.system.has_value(),
                            q.grounded, q.underspecified));
  }
  pause.digest = digest_.link();
  queries_ = pause.queries;
  machine_->context().spending.add_calls(queries_.size());
  if (replaying())
    return replay_pause(pause);
  pause.stats = stats_text();
  pause.progress = machine_->context().progress;
  waiting_ = waiting_for::answer;
  return finish_step(std::move(pause));
}

std::optional<host_report> local_host::on(machine_calls& calls) {
  call_ = {name_of(calls.call.what), hash_of(calls.call.where), {}, {}};
  if (replaying()) {
    if (auto* effect = replay_effect(call_.kind, call_.arguments)) {
      machine_->resolve(decode(*effect));
      return host_busy{};
    }
    return fail(divergence_, failure_kind::replay_diverged);
  }
  if (out_of_effects())
    return fail(fmt::format("strategy.max-effects: the script asked the host "
                            "more than {} times, or for more than {} bytes, "
                            "since its last pause",
                            settings_.max_effects, settings_.max_effect_bytes),
                failure_kind::limit_exceeded);
  return ask(std::move(calls.call));
}

std::optional<host_report> local_host::on(machine_requires& requires_module) {
  call_ = {"source", short_hash(requires_module.name), {}, {}};
  if (replaying()) {
    auto* effect = replay_effect(call_.kind, call_.arguments);
    if (effect == nullptr)
      return fail(divergence_, failure_kind::replay_diverged);
    module_text module;
    module.error = effect->error;
    if (!effect->result.empty()) {
      auto found = json::parse(effect->result);
      module.name = found.at("name").get<std::string>();
      module.text = sources_.at(found.at("hash").get<std::string>());
    }
    machine_->provide(std::move(module));
    // As behind the answer of a session.
    return host_busy{};
  }
  if (out_of_effects())
    return fail(fmt::format("strategy.max-effects: the script asked the host "
                            "more than {} times since its last pause",
                            settings_.max_effects),
                failure_kind::limit_exceeded);
  module_name_ = requires_module.name;
  return ask({host_call::kind::module_source, {{}, module_name_}});
}

std::optional<host_report> local_host::on(machine_returned& returned) {
  if (replaying()) {
    diverge("returned");
    return fail(divergence_, failure_kind::replay_diverged);
  }
  digest_.add("result", returned.result);
  waiting_ = waiting_for::end;
  return finish_step(
    done_event{std::move(returned.result), digest_.link(), stats_text()});
}

std::optional<host_report> local_host::on(machine_raised& raised) {
  if (replaying()) {
    diverge("raised the error: " + raised.message);
    return fail(divergence_, failure_kind::replay_diverged);
  }
  return fail(std::move(raised.message), raised.kind);
}

// -- replay -------------------------------------------------------------------

template <class T>
const T* local_host::next_as(std::string_view what) {
  if (auto* event = std::get_if<T>(&events_[cursor_].body)) {
    ++cursor_;
    return event;
  }
  diverge(what);
  return nullptr;
}

const effect_event* local_host::replay_effect(const std::string& kind,
                                              const std::string& arguments) {
  if (!divergence_.empty())
    return nullptr;
  auto at = cursor_;
  auto* effect = next_as<effect_event>("asked the host for a " + kind);
  if (effect == nullptr)
    return nullptr;
  if (effect->kind != kind || effect->arguments != arguments) {
    cursor_ = at;
    diverge(fmt::format("asked the host for a {} where it asked for a {}, or "
                        "for another one",
                        kind, effect->kind));
    return nullptr;
  }
  digest_.add("effect", kind + " " + arguments);
  return effect;
}

void local_host::diverge(std::string_view what) {
  if (divergence_.empty())
    divergence_ = fmt::format("replayed, the script did something else at "
                              "event {} of its history: it {}",
                              cursor_ + 1, what);
}

std::optional<host_report> local_host::replay_pause(const paused_event& pause) {
  auto* recorded = next_as<paused_event>("paused");
  if (recorded != nullptr
      && (recorded->digest != pause.digest
          || recorded->queries != pause.queries)) {
    --cursor_;
    diverge("asked something else, or did something else before it asked");
  }
  if (!divergence_.empty())
    return fail(divergence_, failure_kind::replay_diverged);
  machine_->context().state.clear();
  std::vector<answered_event> answers(queries_.size());
  std::size_t given = 0;
  auto first = *query_number(queries_.front().id);
  while (replaying() && given < queries_.size()) {
    auto* event = next_as<answered_event>("waited for an answer");
    if (event == nullptr)
      return fail(divergence_, failure_kind::replay_diverged);
    answers.at(query_number(event->query_id).value() - first) = *event;
    ++given;
  }
  if (given == queries_.size()) {
    hand_over(std::move(answers));
    // As when it ran first, a new slice begins here. Where slices end is hidden
    // from the script but for one thing: how deep its calls may nest in C.
    return host_busy{};
  }
  go_live_at_end();
  waiting_ = waiting_for::answer;
  return host_restored{};
}

void local_host::go_live_at_end() {
  if (live_ || replaying())
    return;
  live_ = true;
  machine_->go_live();
  events_ = {};
  cursor_ = 0;
  sources_.clear();
}

// -- asking the session -------------------------------------------------------

host_report local_host::ask(host_call call) {
  waiting_ = waiting_for::resolve;
  asked_ = call.what;
  return call;
}

void local_host::provide(host_result found) {
  module_text module{std::move(found.text), std::move(found.name),
                     std::move(found.error)};
  if (!module.text && module.error.empty()) {
    auto name = module_name_;
    std::replace(name.begin(), name.end(), '.', '_');
    if (auto i = builtin_sources().find(name + ".lua");
        i != builtin_sources().end())
      module = {i->second, i->first, {}};
  }
  call_.error = module.error;
  if (module.text) {
    auto hash = sha256(*module.text);
    call_.result = json{{"name", module.name}, {"hash", hash}}.dump();
    step_.sources.push_back({std::move(hash), *module.text});
  }
  record(std::move(call_));
  machine_->provide(std::move(module));
}

// -- recording ----------------------------------------------------------------

void local_host::record(effect_event effect) {
  digest_.add("effect", effect.kind + " " + effect.arguments);
  effect_bytes_ += effect.result.size() + effect.error.size();
  step_.effects.push_back(std::move(effect));
}

bool local_host::out_of_effects() const {
  return step_.effects.size() >= settings_.max_effects
         || effect_bytes_ > settings_.max_effect_bytes;
}

template <class T>
host_report local_host::finish_step(T end) {
  auto& state = machine_->context().state;
  step_.writes = state.writes();
  step_.expectations = state.expectations();
  step_.end = std::move(end);
  state.clear();
  effect_bytes_ = 0;
  step_log_lines_ = 0;
  return std::exchange(step_, {});
}

host_report local_host::fail(std::string message, failure_kind kind) {
  waiting_ = waiting_for::end;
  failed_event end{std::move(message), kind, {}, {}};
  if (kind == failure_kind::replay_diverged
      || kind == failure_kind::engine_error || !machine_) {
    // Nothing that came before may be kept: it is not what happened.
    strategy_step step;
    step.end = std::move(end);
    return step;
  }
  digest_.add("error", end.message);
  end.digest = digest_.link();
  end.stats = stats_text();
  return finish_step(std::move(end));
}

std::string local_host::stats_text() {
  auto& stats = machine_->context().stats;
  return stats.empty() ? std::string{} : stats.dump();
}

void local_host::hand_over(std::vector<answered_event> answers) {
  auto& spending = machine_->context().spending;
  for (std::size_t i = 0; i < answers.size(); ++i)
    spending.add_tokens(tokens_of(queries_[i], answers[i]));
  machine_->answer(std::move(answers));
}

} // namespace muster
