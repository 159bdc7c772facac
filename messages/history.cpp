// SPDX-License-Identifier: Apache-2.0

#include "messages/history.hpp"

#include "messages/history_json.hpp"
#include "messages/json_writer.hpp"
#include "messages/session_json.hpp"

#include <fmt/format.h>

#include <utility>

namespace muster {

namespace {

// -- writing ------------------------------------------------------------------

/// Writes the fields of an event. This is done for every answer.
class writer : private json_writer {
public:
  writer(std::string& out, const std::string& code_hash)
    : json_writer(out), code_hash_(code_hash) {
    // nop
  }

  void event(const history_event& x) {
    begin('{');
    number("at", x.at_ms);
    std::visit([this](auto& body) { fields(body); }, x.body);
    end('}');
  }

private:
  // -- events -----------------------------------------------------------------

  void fields(const spawned_event& x) {
    text("event", "spawned");
    text("seed", x.seed);
    text("versions", x.versions);
    key("spec");
    begin('{');
    text("kind", to_string(x.spec.kind));
    text("ctx", x.spec.ctx);
    text_if_any("code_hash", code_hash_);
    text_if_any("name", x.spec.name);
    text_if_any("strategy", x.spec.strategy);
    if (x.spec.task)
      text("task", *x.spec.task);
    if (!x.spec.packages.empty()) {
      key("packages");
      begin('[');
      for (auto& folder : x.spec.packages) {
        separate();
        append_quoted(out(), folder);
      }
      end(']');
    }
    if (x.spec.isolation != session_isolation::node)
      text("isolation", to_string(x.spec.isolation));
    end('}');
  }

  void fields(const effect_event& x) {
    text("event", "effect");
    text("kind", x.kind);
    text_if_any("arguments", x.arguments);
    text_if_any("result", x.result);
    text_if_any("error", x.error);
  }

  void fields(const paused_event& x) {
    text("event", "paused");
    text("digest", x.digest);
    text_if_any("stats", x.stats);
    text_if_any("progress", x.progress);
    key("queries");
    begin('[');
    for (auto& q : x.queries) {
      separate();
      begin('{');
      text("id", q.id);
      text("prompt", q.prompt);
      number("max_tokens", q.max_tokens);
      if (q.system)
        text("system", *q.system);
      if (q.grounded)
        number("grounded", true);
      if (q.underspecified)
        number("underspecified", true);
      end('}');
    }
    end(']');
  }

  void fields(const answered_event& x) {
    text("event", "answered");
    text("query_id", x.query_id);
    text("response", x.response);
    if (x.usage)
      raw("usage", usage_json(*x.usage).dump());
  }

  void fields(const done_event& x) {
    text("event", "done");
    text("result", x.result);
    text("digest", x.digest);
    text_if_any("stats", x.stats);
  }

  void fields(const failed_event& x) {
    text("event", "failed");
    text("message", x.message);
    text("kind", to_string(x.kind));
    text_if_any("digest", x.digest);
    text_if_any("stats", x.stats);
  }

  void fields(const cancelled_event& x) {
    text("event", "cancelled");
    text("code", to_string(x.reason.code));
    number("requested_at", x.reason.requested_at);
    if (x.reason.detail)
      text("detail", *x.reason.detail);
  }

  const std::string& code_hash_;
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
    if (text("isolation") == "worker")
      spec.isolation = session_isolation::worker;
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

void append_event(std::string& to, const history_event& event,
                  const std::string& code_hash) {
  writer{to, code_hash}.event(event);
}

std::string encode_history(const history& events,
                           const std::string& code_hash) {
  std::string out = "[";
  for (auto& event : events) {
    if (out.size() > 1)
      out += ',';
    append_event(out, event, code_hash);
  }
  out += ']';
  return out;
}

expected<history> history_from(const json& events, std::string& code_hash) {
  history result;
  try {
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

expected<history> decode_history(std::string_view text,
                                 std::string& code_hash) {
  try {
    return history_from(json::parse(text), code_hash);
  } catch (const json::exception& error) {
    return fail(errc::registry_corrupted,
                fmt::format("a stored batch cannot be read: {}", error.what()));
  }
}

} // namespace muster
