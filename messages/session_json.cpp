// SPDX-License-Identifier: Apache-2.0

#include "messages/session_json.hpp"

#include <fmt/format.h>

namespace muster {

namespace {

/// The fields that a query has beside its id and prompt.
void put_options(json& out, const query& q) {
  out["system"] = q.system ? json(*q.system) : json(nullptr);
  out["max_tokens"] = q.max_tokens;
  if (q.grounded)
    out["grounded"] = true;
  if (q.underspecified)
    out["underspecified"] = true;
}

/// A text that holds JSON already, as a value. Ours, so always well-formed.
json embedded(const std::string& text) {
  return text.empty() ? json(nullptr) : json::parse(text);
}

json reason_json(const cancel_reason& reason) {
  return {{"code", to_string(reason.code)},
          {"detail", reason.detail ? json(*reason.detail) : json(nullptr)},
          {"requested_at", reason.requested_at}};
}

json pause_json(const session_view& view) {
  auto prompts = json::array();
  for (auto& q : view.queries) {
    json item{{"query_id", q.id}, {"prompt", q.prompt}};
    put_options(item, q);
    prompts.push_back(std::move(item));
  }
  return {{"kind", view.asked == 1 ? "single" : "batch"},
          {"prompts", std::move(prompts)},
          {"paused_at", view.since_ms}};
}

} // namespace

json event_json(const session_view& view) {
  json out{{"session_id", view.session_id}};
  switch (view.phase) {
    case session_phase::running:
      out["status"] = "running";
      break;
    case session_phase::paused:
      out["status"] = "needs_response";
      if (view.queries.size() == 1) {
        auto& q = view.queries.front();
        out["query_id"] = q.id;
        out["prompt"] = q.prompt;
        put_options(out, q);
      } else {
        auto queries = json::array();
        for (auto& q : view.queries) {
          json item{{"id", q.id}, {"prompt", q.prompt}};
          put_options(item, q);
          queries.push_back(std::move(item));
        }
        out["queries"] = std::move(queries);
      }
      break;
    case session_phase::done:
      out["status"] = "completed";
      out["result"] = embedded(view.result);
      out["stats"] = embedded(view.stats);
      break;
    case session_phase::failed:
      out["status"] = "error";
      out["error"] = view.error;
      out["kind"] = to_string(view.error_kind);
      break;
    case session_phase::cancelled:
      out["status"] = "cancelled";
      out["reason"] = reason_json(view.reason);
      out["stats"] = embedded(view.stats);
      break;
  }
  return out;
}

json feed_json(const feed_reply& reply) {
  auto& view = reply.session;
  if (view.phase == session_phase::paused && view.queries.size() < view.asked)
    return {{"session_id", view.session_id},
            {"status", "accepted"},
            {"remaining", view.queries.size()}};
  return event_json(view);
}

json state_json(const session_view& view) {
  switch (view.phase) {
    case session_phase::running:
      return {{"state", "running"}};
    case session_phase::paused: {
      auto out = pause_json(view);
      out["state"] = "paused";
      return out;
    }
    case session_phase::done:
      return {{"state", "done"},
              {"value", embedded(view.result)},
              {"usage", view.usage ? usage_json(*view.usage) : json(nullptr)},
              {"finished_at", view.since_ms}};
    case session_phase::failed:
      return {{"state", "failed"},
              {"message", view.error},
              {"kind", to_string(view.error_kind)},
              {"occurred_at", view.since_ms}};
    default:
      return {{"state", "cancelled"},
              {"reason", reason_json(view.reason)},
              {"observed_at", view.since_ms},
              {"state_before", {{"state", to_string(view.phase_before)}}}};
  }
}

json summary_json(const session_summary& summary) {
  return {{"session_id", summary.session_id},
          {"state", to_string(summary.phase)},
          {"kind", to_string(summary.kind)},
          {"created_at", summary.created_ms},
          {"last_active_at", summary.last_active_ms},
          {"pending", summary.pending}};
}

json usage_json(const token_usage& usage) {
  auto out = json::object();
  if (usage.prompt_tokens)
    out["prompt_tokens"] = *usage.prompt_tokens;
  if (usage.completion_tokens)
    out["completion_tokens"] = *usage.completion_tokens;
  return out;
}

expected<token_usage> usage_from(const json& value) {
  if (!value.is_object())
    return fail(
      errc::invalid_argument,
      fmt::format("a usage must be an object, not {}", kind_of(value)));
  token_usage usage;
  for (auto& [key, count] : value.items()) {
    if (key != "prompt_tokens" && key != "completion_tokens")
      return fail(errc::invalid_argument,
                  fmt::format("a usage has no field '{}'", key));
    if (!count.is_number_unsigned())
      return fail(errc::invalid_argument,
                  fmt::format("'{}' of a usage must be a whole number, not {}",
                              key, count.dump()));
    auto& field
      = key == "prompt_tokens" ? usage.prompt_tokens : usage.completion_tokens;
    field = count.get<std::uint64_t>();
  }
  return usage;
}

json project(const query& q, const pending_filter& filter) {
  auto out = json::object();
  if (filter.query_id)
    out["query_id"] = q.id;
  if (filter.max_tokens)
    out["max_tokens"] = q.max_tokens;
  if (filter.system)
    out["system"] = q.system ? json(*q.system) : json(nullptr);
  if (filter.grounded)
    out["grounded"] = q.grounded;
  if (filter.underspecified)
    out["underspecified"] = q.underspecified;
  if (filter.prompt == prompt_mode::full)
    out["prompt"] = q.prompt;
  else if (filter.prompt == prompt_mode::preview)
    out["prompt_preview"] = utf8_prefix(q.prompt, filter.preview_chars);
  return out;
}

namespace {

expected<pending_filter> preset(const std::string& name,
                                std::uint32_t preview_chars) {
  pending_filter filter;
  filter.preview_chars = preview_chars;
  filter.query_id = filter.max_tokens = true;
  if (name == "meta")
    return filter;
  filter.prompt = prompt_mode::preview;
  if (name == "preview")
    return filter;
  filter.system = filter.grounded = filter.underspecified = true;
  filter.prompt = prompt_mode::full;
  if (name == "full")
    return filter;
  return fail(errc::invalid_argument,
              fmt::format("unknown pending_filter preset '{}' (valid: \"meta\" "
                          "| \"preview\" | \"full\")",
                          name));
}

expected<void> read_prompt(const json& value, pending_filter& filter) {
  if (!value.is_object() || !value.contains("mode")
      || !value["mode"].is_string())
    return fail(errc::invalid_argument,
                "invalid pending_filter object: 'prompt' must be an object "
                "with a 'mode'");
  auto mode = value["mode"].get<std::string>();
  if (mode == "off")
    filter.prompt = prompt_mode::off;
  else if (mode == "preview")
    filter.prompt = prompt_mode::preview;
  else if (mode == "full")
    filter.prompt = prompt_mode::full;
  else
    return fail(errc::invalid_argument,
                fmt::format("invalid pending_filter object: unknown mode '{}' "
                            "(valid: \"off\" | \"preview\" | \"full\")",
                            mode));
  for (auto& [key, field] : value.items()) {
    if (key == "mode")
      continue;
    if (key != "chars" || !field.is_number_unsigned())
      return fail(
        errc::invalid_argument,
        fmt::format("invalid pending_filter object: 'prompt.{}'", key));
    filter.preview_chars = field.get<std::uint32_t>();
  }
  return {};
}

} // namespace

expected<pending_filter> pending_filter_from(const json& value,
                                             std::uint32_t preview_chars) {
  if (value.is_string())
    return preset(value.get<std::string>(), preview_chars);
  if (!value.is_object())
    return fail(errc::invalid_argument,
                fmt::format("pending_filter must be a preset name (string) or "
                            "filter object, got {}",
                            kind_of(value)));
  pending_filter filter;
  filter.preview_chars = preview_chars;
  const std::pair<const char*, bool*> flags[] = {
    {"query_id", &filter.query_id},
    {"max_tokens", &filter.max_tokens},
    {"system", &filter.system},
    {"grounded", &filter.grounded},
    {"underspecified", &filter.underspecified},
  };
  for (auto& [key, field] : value.items()) {
    if (key == "prompt") {
      if (auto ok = read_prompt(field, filter); !ok)
        return tl::unexpected<failure>{ok.error()};
      continue;
    }
    auto flag = std::find_if(std::begin(flags), std::end(flags),
                             [&](auto& x) { return key == x.first; });
    if (flag == std::end(flags) || !field.is_boolean())
      return fail(errc::invalid_argument,
                  fmt::format("invalid pending_filter object: '{}'", key));
    *flag->second = field.get<bool>();
  }
  return filter;
}

json log_json(const log_line& line) {
  return {{"line", line.number},
          {"ts", line.at_ms},
          {"level", line.level},
          {"source", line.source},
          {"message", line.message}};
}

std::vector<json> progress_json(const history_event& event,
                                session_phase before,
                                const session_view& after) {
  std::vector<json> out;
  auto add = [&](const char* kind, json fields) {
    fields["kind"] = kind;
    fields["at"] = event.at_ms;
    out.push_back(std::move(fields));
  };
  if (std::holds_alternative<spawned_event>(event.body))
    add("tick", {{"phase", "running"}});
  if (auto* x = std::get_if<answered_event>(&event.body)) {
    json fields{{"query_id", x->query_id}};
    if (x->usage)
      fields["usage"] = usage_json(*x->usage);
    add("llm_call_end", std::move(fields));
  }
  if (before != after.phase)
    add("state_transition",
        {{"from", to_string(before)}, {"to", to_string(after.phase)}});
  if (auto* x = std::get_if<paused_event>(&event.body)) {
    add("pause_requested", {{"info", pause_json(after)}});
    for (auto& q : x->queries)
      add("llm_call_begin", {{"query_id", q.id}});
  }
  if (std::holds_alternative<answered_event>(event.body)
      && before == session_phase::paused
      && after.phase == session_phase::running)
    add("resume_accepted",
        {{"payload_kind", after.asked == 1 ? "single" : "batch"}});
  return out;
}

} // namespace muster
