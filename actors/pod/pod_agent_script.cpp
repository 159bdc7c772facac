// SPDX-License-Identifier: Apache-2.0

#include "actors/pod/pod_agent_script.hpp"

#include "actors/strategy/local_host.hpp"
#include "actors/strategy/package_folders.hpp"
#include "actors/strategy/values.hpp"

#include "messages/scope_json.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace muster {

namespace {

json notices_json(const std::vector<pod_agent_notice>& notices) {
  auto out = json::array();
  for (auto& x : notices) {
    json entry{{"kind", x.kind}, {"message", x.message}};
    if (!x.pod_name.empty())
      entry["pod_name"] = x.pod_name;
    out.push_back(std::move(entry));
  }
  return out;
}

/// The first bytes of a text, but no part of a character.
std::string_view piece_of(std::string_view text, std::size_t size) {
  if (text.size() <= size)
    return text;
  while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xC0) == 0x80)
    --size;
  return text.substr(0, size);
}

} // namespace

// -- constructors -------------------------------------------------------------

pod_agent_script::pod_agent_script(std::string id,
                                   const std::vector<scope_rule>& scope,
                                   pod_agent_strategy strategy,
                                   pod_agent_output output, environment env)
  : id_(std::move(id)), scope_(scope), strategy_(std::move(strategy)),
    output_(std::move(output)), env_(std::move(env)),
    files_(scope), tools_{files_,
                          [this](auto text) { return write_text(text); }} {
  // nop
}

// -- work ---------------------------------------------------------------------

expected<void> pod_agent_script::run(const pod_agent_turn& turn) {
  turn_ = turn.number;
  written_ = 0;
  auto result = write("turn_start", {});
  if (result)
    result = run_strategy(turn);
  if (result)
    return write("turn_ended", {});
  auto why = result.error();
  why.message = lua::repaired_utf8(why.message);
  // That the log takes nothing may be the very reason.
  std::ignore = write("error", {{"message", why.message}});
  return tl::unexpected<failure>{std::move(why)};
}

// -- the script ---------------------------------------------------------------

expected<void> pod_agent_script::run_strategy(const pod_agent_turn& turn) {
  local_host host{strategy_.settings,
                  {env_.wall_ms, env_.steady_ns},
                  pod_agent_library(tools_)};
  host.start(start_of(turn));
  for (;;) {
    auto report = host.advance();
    if (auto fine = write_logs(host.take_logs()); !fine)
      return fine;
    if (auto* call = std::get_if<host_call>(&report))
      host.resolve(look_up(*call));
    auto* step = std::get_if<strategy_step>(&report);
    if (step == nullptr)
      continue;
    if (auto* end = std::get_if<failed_event>(&step->end))
      return fail(errc::program_failed, end->message);
    if (auto fine = commit(step->writes); !fine)
      return fine;
    if (auto* end = std::get_if<done_event>(&step->end)) {
      auto value = json::parse(end->result);
      if (value.is_null())
        return {};
      return write_text(value.is_string() ? value.get<std::string>()
                                          : end->result);
    }
    auto answers = answers_to(std::get<paused_event>(step->end));
    if (!answers)
      return tl::unexpected<failure>{answers.error()};
    host.answer(std::move(*answers));
  }
}

strategy_start pod_agent_script::start_of(const pod_agent_turn& turn) {
  session_spec spec;
  spec.code = strategy_.text;
  spec.name = strategy_.name;
  spec.ctx = json{{"task", turn.task},
                  {"turn", turn.number},
                  {"notices", notices_json(turn.notices)},
                  {"scope", rules_json(scope_)}}
               .dump();
  auto seed = env_.random();
  spawned_event spawned{
    std::move(spec), fmt::format("{:016x}{:016x}", seed[0], seed[1]), {}};
  return {id_, {{env_.wall_ms(), std::move(spawned)}}, {}, 0, {}};
}

expected<std::vector<answered_event>>
pod_agent_script::answers_to(const paused_event& pause) const {
  if (!strategy_.answer)
    return fail(errc::invalid_argument,
                "the strategy asks a language model, and this pod has none; "
                "start it with --answer COMMAND");
  std::vector<answered_event> out;
  for (auto& q : pause.queries) {
    auto text = strategy_.answer(q);
    if (!text)
      return tl::unexpected<failure>{text.error()};
    if (!is_utf8(*text))
      return fail(errc::not_utf8,
                  fmt::format("the answer to query '{}' is not UTF-8", q.id));
    out.push_back({q.id, std::move(*text), std::nullopt});
  }
  return out;
}

host_result pod_agent_script::look_up(const host_call& call) const {
  if (call.what == host_call::kind::module_source) {
    auto found = find_module(strategy_.settings.packages, call.where.key,
                             strategy_.settings.max_source_bytes);
    return {std::move(found.text), 0, std::move(found.name),
            std::move(found.error)};
  }
  if (call.what == host_call::kind::state_keys) {
    auto keys = json::array();
    for (auto& [where, entry] : state_)
      if (where.space == call.where.space)
        keys.push_back(where.key);
    return {keys.dump(), 0, {}, {}};
  }
  auto i = state_.find(call.where);
  if (i == state_.end())
    return {};
  return {i->second.value, i->second.version, {}, {}};
}

expected<void>
pod_agent_script::commit(const std::vector<state_write>& writes) {
  for (auto& [where, value] : writes) {
    if (auto i = state_.find(where); i != state_.end()) {
      state_bytes_ -= where.key.size() + i->second.value.size();
      state_.erase(i);
    }
    if (!value)
      continue;
    state_bytes_ += where.key.size() + value->size();
    state_[where] = {*value, ++last_version_};
  }
  if (state_bytes_ <= max_state_bytes)
    return {};
  return fail(errc::too_large,
              fmt::format("the shared state of the pod takes {} bytes, more "
                          "than {}",
                          state_bytes_, max_state_bytes));
}

// -- the log ------------------------------------------------------------------

expected<void> pod_agent_script::write(const char* kind, json more) {
  more["kind"] = kind;
  more["turn"] = turn_;
  more["ts"] = env_.wall_ms();
  return output_.append(more);
}

expected<void> pod_agent_script::write_text(std::string_view text) {
  written_ += text.size();
  if (written_ > max_turn_bytes)
    return fail(
      errc::too_large,
      fmt::format("the turn reports more than {} bytes", max_turn_bytes));
  do {
    auto piece = piece_of(text, max_line_bytes);
    if (auto fine = write("text", {{"text", piece}}); !fine)
      return fine;
    text.remove_prefix(piece.size());
  } while (!text.empty());
  return {};
}

expected<void>
pod_agent_script::write_logs(const std::vector<log_line>& lines) {
  for (auto& line : lines)
    if (auto fine = write("log", {{"level", line.level},
                                  {"source", line.source},
                                  {"message", line.message}});
        !fine)
      return fine;
  return {};
}

} // namespace muster
