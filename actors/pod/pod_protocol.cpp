// SPDX-License-Identifier: Apache-2.0

#include "actors/pod/pod_protocol.hpp"

#include <fmt/format.h>

namespace muster::pod {

namespace {

// -- writing ------------------------------------------------------------------

std::string frame(const char* kind, const char* name, const char* body,
                  json fields) {
  return json{{kind, name}, {body, std::move(fields)}}.dump();
}

std::string method(const char* name, json params) {
  return frame("method", name, "params", std::move(params));
}

std::string event(const char* name, json data) {
  return frame("event", name, "data", std::move(data));
}

struct writer {
  std::string operator()(const ping& x) const {
    return method("ping", {{"id", x.id}});
  }

  std::string operator()(const run& x) const {
    return method(
      "run",
      {{"id", x.id},
       {"input", json::array({json{{"kind", "text"}, {"content", x.text}}})}});
  }

  std::string operator()(const notify& x) const {
    return method("notify", {{"id", x.id}, {"message", x.message}});
  }

  std::string operator()(const pod_event& x) const {
    json params{{"id", x.id}, {"kind", x.kind}, {"pod_name", x.pod_name}};
    if (!x.message.empty())
      params["message"] = x.message;
    return method("pod_event", std::move(params));
  }

  std::string operator()(const confirm& x) const {
    return method("confirm", {{"id", x.id}});
  }

  std::string operator()(const result& x) const {
    json params{{"id", x.id}};
    if (x.value)
      params["value"] = *x.value;
    else
      params["error"] = {{"code", to_string(x.value.error().code)},
                         {"message", x.value.error().message}};
    return method("result", std::move(params));
  }

  std::string operator()(const shutdown&) const {
    return R"({"method":"shutdown"})";
  }

  std::string operator()(const snapshot& x) const {
    return event("snapshot",
                 {{"pod_name", x.pod_name}, {"protocol", x.protocol}});
  }

  std::string operator()(const pong& x) const {
    return event("pong", {{"id", x.id}});
  }

  std::string operator()(const turn_start& x) const {
    return event("turn_start", {{"run", x.run}, {"turn", x.turn}});
  }

  std::string operator()(const run_error& x) const {
    return event("error",
                 {{"run", x.run}, {"code", x.code}, {"message", x.message}});
  }

  std::string operator()(const turn_ended& x) const {
    return event("turn_ended", {{"id", x.id}, {"turn", x.turn}});
  }

  std::string operator()(const errored& x) const {
    return event("errored", {{"id", x.id}, {"message", x.message}});
  }

  std::string operator()(const ack& x) const {
    return event("ack", {{"id", x.id}});
  }

  std::string operator()(const request& x) const {
    return event("request",
                 {{"id", x.id}, {"verb", x.verb}, {"params", x.params}});
  }

  std::string operator()(const other&) const {
    return event("other", json::object());
  }
};

// -- reading ------------------------------------------------------------------

/// Reads the fields of a frame; what is missing or of another kind is kept as
/// the reason why it is none.
class reader {
public:
  reader(std::string name, const json& fields)
    : name_(std::move(name)), fields_(fields) {
    // nop
  }

  std::string text(const char* field) {
    auto i = fields_.find(field);
    if (i != fields_.end() && i->is_string())
      return i->get<std::string>();
    miss(field, "a text");
    return {};
  }

  std::string text_if_any(const char* field) {
    return fields_.contains(field) ? text(field) : std::string{};
  }

  std::uint64_t number(const char* field) {
    auto i = fields_.find(field);
    if (i != fields_.end() && i->is_number_unsigned())
      return i->get<std::uint64_t>();
    miss(field, "a number that is not negative");
    return 0;
  }

  json object(const char* field) {
    auto i = fields_.find(field);
    if (i == fields_.end() || i->is_null())
      return json::object();
    if (!i->is_object())
      miss(field, "an object");
    return *i;
  }

  /// The texts of a list of segments; those of other kinds say nothing here.
  std::string input() {
    auto i = fields_.find("input");
    if (i == fields_.end() || !i->is_array()) {
      miss("input", "a list of segments");
      return {};
    }
    std::string out;
    for (auto& segment : *i)
      if (segment.is_object() && segment.value("kind", json{}) == "text") {
        auto content = segment.find("content");
        if (content != segment.end() && content->is_string()) {
          if (!out.empty())
            out.push_back('\n');
          out += content->get<std::string>();
        } else {
          miss("content", "a text");
        }
      }
    return out;
  }

  void miss(const char* field, const char* kind) {
    if (!why_)
      why_ = failure{errc::invalid_argument,
                     fmt::format("the frame '{}' of a pod has no '{}' that is "
                                 "{}",
                                 name_, field, kind)};
  }

  template <class Frame, class T>
  expected<Frame> done(T value) {
    if (why_)
      return tl::unexpected<failure>{*why_};
    return Frame{std::move(value)};
  }

private:
  std::string name_;
  const json& fields_;
  std::optional<failure> why_;
};

/// The error of a result. As another version wrote it, it may be any.
failure failure_from(const json& error) {
  auto text = [&](const char* field) {
    auto i = error.find(field);
    return i != error.end() && i->is_string() ? i->get<std::string>()
                                              : std::string{};
  };
  failure out{errc::internal, text("message")};
  for (auto& known : all_errors())
    if (known.name == text("code"))
      out.code = known.code;
  return out;
}

/// A frame taken apart: its name and its fields.
struct parts {
  std::string name;
  json fields = json::object();
};

expected<parts> take_apart(std::string_view text, const char* kind,
                           const char* body) {
  auto value = parse_json(text, "the frame of a pod");
  if (!value)
    return tl::unexpected<failure>{value.error()};
  parts out;
  if (!value->is_object() || !value->contains(kind)
      || !(*value)[kind].is_string())
    return fail(
      errc::invalid_argument,
      fmt::format("the frame of a pod has no '{}' that is a text", kind));
  out.name = (*value)[kind].get<std::string>();
  auto i = value->find(body);
  if (i != value->end() && !i->is_null()) {
    if (!i->is_object())
      return fail(
        errc::invalid_argument,
        fmt::format("the '{}' of the frame '{}' of a pod is no object", body,
                    out.name));
    out.fields = std::move(*i);
  }
  return out;
}

} // namespace

std::string encode(const to_pod& what) {
  return std::visit(writer{}, what);
}

std::string encode(const from_pod& what) {
  return std::visit(writer{}, what);
}

expected<from_pod> decode_event(std::string_view text) {
  auto x = take_apart(text, "event", "data");
  if (!x)
    return tl::unexpected<failure>{x.error()};
  reader from{x->name, x->fields};
  if (x->name == "snapshot")
    return from.done<from_pod>(
      snapshot{from.text("pod_name"), from.number("protocol")});
  if (x->name == "pong")
    return from.done<from_pod>(pong{from.number("id")});
  if (x->name == "turn_start")
    return from.done<from_pod>(
      turn_start{from.text("run"), from.number("turn")});
  if (x->name == "error")
    return from.done<from_pod>(run_error{
      from.text_if_any("run"), from.text("code"), from.text_if_any("message")});
  if (x->name == "turn_ended")
    return from.done<from_pod>(
      turn_ended{from.number("id"), from.number("turn")});
  if (x->name == "errored")
    return from.done<from_pod>(
      errored{from.number("id"), from.text_if_any("message")});
  if (x->name == "ack")
    return from.done<from_pod>(ack{from.number("id")});
  if (x->name == "request")
    return from.done<from_pod>(
      request{from.text("id"), from.text("verb"), from.object("params")});
  return from_pod{other{}};
}

expected<to_pod> decode_method(std::string_view text) {
  auto x = take_apart(text, "method", "params");
  if (!x)
    return tl::unexpected<failure>{x.error()};
  reader from{x->name, x->fields};
  if (x->name == "ping")
    return from.done<to_pod>(ping{from.number("id")});
  if (x->name == "run")
    return from.done<to_pod>(run{from.text_if_any("id"), from.input()});
  if (x->name == "notify")
    return from.done<to_pod>(notify{from.number("id"), from.text("message")});
  if (x->name == "pod_event")
    return from.done<to_pod>(pod_event{from.number("id"), from.text("kind"),
                                       from.text("pod_name"),
                                       from.text_if_any("message")});
  if (x->name == "confirm")
    return from.done<to_pod>(confirm{from.number("id")});
  if (x->name == "result") {
    result out;
    out.id = from.text("id");
    auto value = x->fields.find("value");
    auto error = x->fields.find("error");
    if (value != x->fields.end())
      out.value = *value;
    else if (error != x->fields.end() && error->is_object())
      out.value = tl::unexpected<failure>{failure_from(*error)};
    else
      from.miss("value", "anything");
    return from.done<to_pod>(std::move(out));
  }
  if (x->name == "shutdown")
    return from.done<to_pod>(shutdown{});
  return fail(errc::invalid_argument,
              fmt::format("there is no method '{}'", x->name));
}

} // namespace muster::pod
