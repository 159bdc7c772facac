// SPDX-License-Identifier: Apache-2.0

#include "messages/history.hpp"

#include "messages/json.hpp"
#include "messages/session_json.hpp"

#include <fmt/format.h>

namespace muster {

namespace {

// -- writing ------------------------------------------------------------------

/// Adds `key` unless the text is empty: most events have few of their fields.
void put(json& out, const char* key, const std::string& text) {
  if (!text.empty())
    out[key] = text;
}

json query_json(const query& q) {
  json out{{"id", q.id}, {"prompt", q.prompt}, {"max_tokens", q.max_tokens}};
  if (q.system)
    out["system"] = *q.system;
  if (q.grounded)
    out["grounded"] = true;
  if (q.underspecified)
    out["underspecified"] = true;
  return out;
}

json spec_json(const session_spec& spec, const std::string& code_hash) {
  json out{{"kind", to_string(spec.kind)}, {"ctx", spec.ctx}};
  put(out, "code_hash", code_hash);
  put(out, "name", spec.name);
  put(out, "strategy", spec.strategy);
  if (spec.task)
    out["task"] = *spec.task;
  if (!spec.packages.empty())
    out["packages"] = spec.packages;
  return out;
}

struct writer {
  const std::string& code_hash;

  json operator()(const spawned_event& x) const {
    return {{"event", "spawned"},
            {"spec", spec_json(x.spec, code_hash)},
            {"seed", x.seed},
            {"versions", x.versions}};
  }

  json operator()(const effect_event& x) const {
    json out{{"event", "effect"}, {"kind", x.kind}};
    put(out, "arguments", x.arguments);
    put(out, "result", x.result);
    put(out, "error", x.error);
    return out;
  }

  json operator()(const paused_event& x) const {
    auto queries = json::array();
    for (auto& q : x.queries)
      queries.push_back(query_json(q));
    json out{{"event", "paused"},
             {"queries", std::move(queries)},
             {"digest", x.digest}};
    put(out, "stats", x.stats);
    put(out, "progress", x.progress);
    return out;
  }

  json operator()(const answered_event& x) const {
    json out{{"event", "answered"},
             {"query_id", x.query_id},
             {"response", x.response}};
    if (x.usage)
      out["usage"] = usage_json(*x.usage);
    return out;
  }

  json operator()(const done_event& x) const {
    json out{{"event", "done"}, {"result", x.result}, {"digest", x.digest}};
    put(out, "stats", x.stats);
    return out;
  }

  json operator()(const failed_event& x) const {
    json out{
      {"event", "failed"}, {"message", x.message}, {"kind", to_string(x.kind)}};
    put(out, "digest", x.digest);
    put(out, "stats", x.stats);
    return out;
  }

  json operator()(const cancelled_event& x) const {
    json out{{"event", "cancelled"},
             {"code", to_string(x.reason.code)},
             {"requested_at", x.reason.requested_at}};
    if (x.reason.detail)
      out["detail"] = *x.reason.detail;
    return out;
  }
};

// -- reading ------------------------------------------------------------------

/// Reads the fields of one event; `json::at` throws on what is missing or of
/// another type, which `decode_history` turns into an error with a place.
struct reader {
  const json& in;

  std::string text(const char* key) const {
    auto i = in.find(key);
    return i != in.end() ? i->get<std::string>() : std::string{};
  }

  query read_query() const {
    query q;
    q.id = in.at("id").get<std::string>();
    q.prompt = in.at("prompt").get<std::string>();
    q.max_tokens = in.at("max_tokens").get<std::uint32_t>();
    if (in.contains("system"))
      q.system = in.at("system").get<std::string>();
    q.grounded = in.value("grounded", false);
    q.underspecified = in.value("underspecified", false);
    return q;
  }

  session_spec read_spec(std::string& code_hash) const {
    session_spec spec;
    spec.kind
      = in.at("kind") == "advice" ? session_kind::advice : session_kind::run;
    spec.ctx = in.at("ctx").get<std::string>();
    code_hash = text("code_hash");
    spec.name = text("name");
    spec.strategy = text("strategy");
    if (in.contains("task"))
      spec.task = in.at("task").get<std::string>();
    if (in.contains("packages"))
      spec.packages = in.at("packages").get<std::vector<std::string>>();
    return spec;
  }

  paused_event read_paused() const {
    paused_event x;
    for (auto& q : in.at("queries"))
      x.queries.push_back(reader{q}.read_query());
    x.digest = in.at("digest").get<std::string>();
    x.stats = text("stats");
    x.progress = text("progress");
    return x;
  }

  answered_event read_answered() const {
    answered_event x;
    x.query_id = in.at("query_id").get<std::string>();
    x.response = in.at("response").get<std::string>();
    if (in.contains("usage"))
      if (auto usage = usage_from(in.at("usage")))
        x.usage = *usage;
    return x;
  }

  failed_event read_failed() const {
    failed_event x{text("message"), failure_kind::engine_error, text("digest"),
                   text("stats")};
    auto kind = in.at("kind").get<std::string>();
    for (auto k : {failure_kind::lua_error, failure_kind::limit_exceeded,
                   failure_kind::replay_diverged})
      if (to_string(k) == kind)
        x.kind = k;
    return x;
  }

  cancelled_event read_cancelled() const {
    cancelled_event x;
    auto name = in.at("code").get<std::string>();
    x.reason.code = cancel_code::internal;
    for (auto code :
         {cancel_code::user, cancel_code::timeout, cancel_code::parent_dropped,
          cancel_code::system_shutdown})
      if (to_string(code) == name)
        x.reason.code = code;
    x.reason.requested_at = in.at("requested_at").get<std::int64_t>();
    if (in.contains("detail"))
      x.reason.detail = in.at("detail").get<std::string>();
    return x;
  }

  std::optional<history_body> read(std::string& code_hash) const {
    auto event = in.at("event").get<std::string>();
    if (event == "spawned")
      return spawned_event{reader{in.at("spec")}.read_spec(code_hash),
                           in.at("seed").get<std::string>(),
                           in.at("versions").get<std::string>()};
    if (event == "effect")
      return effect_event{in.at("kind").get<std::string>(), text("arguments"),
                          text("result"), text("error")};
    if (event == "paused")
      return read_paused();
    if (event == "answered")
      return read_answered();
    if (event == "done")
      return done_event{in.at("result").get<std::string>(),
                        in.at("digest").get<std::string>(), text("stats")};
    if (event == "failed")
      return read_failed();
    if (event == "cancelled")
      return read_cancelled();
    return std::nullopt;
  }
};

} // namespace

std::string encode_history(const history& events,
                           const std::string& code_hash) {
  auto out = json::array();
  for (auto& event : events) {
    auto item = std::visit(writer{code_hash}, event.body);
    item["at"] = event.at_ms;
    out.push_back(std::move(item));
  }
  return out.dump();
}

expected<history> decode_history(std::string_view text,
                                 std::string& code_hash) {
  history result;
  try {
    auto events = json::parse(text);
    for (auto& event : events) {
      auto body = reader{event}.read(code_hash);
      if (!body)
        return fail(errc::registry_corrupted,
                    fmt::format("event {} of a stored batch has the unknown "
                                "name {}",
                                result.size() + 1, event.at("event").dump()));
      result.push_back({event.at("at").get<std::int64_t>(), std::move(*body)});
    }
  } catch (const json::exception& error) {
    return fail(errc::registry_corrupted,
                fmt::format("event {} of a stored batch cannot be read: {}",
                            result.size() + 1, error.what()));
  }
  return result;
}

} // namespace muster
