// SPDX-License-Identifier: Apache-2.0

#include "actors/pool/worker_protocol.hpp"

#include "messages/hash.hpp"
#include "messages/history_json.hpp"
#include "messages/json_writer.hpp"
#include "messages/session_json.hpp"

#include <fmt/format.h>

#include <array>
#include <limits>
#include <type_traits>
#include <utility>

namespace muster {

namespace {

// -- names --------------------------------------------------------------------

struct call_name {
  host_call::kind kind;
  std::string_view name;
};

constexpr std::array call_names{
  call_name{host_call::kind::state_get, "state_get"},
  call_name{host_call::kind::state_keys, "state_keys"},
  call_name{host_call::kind::module_source, "module_source"}};

struct setting_name {
  std::string_view name;
  std::uint64_t strategy_settings::*member;
};

constexpr std::array setting_names{
  setting_name{"slice_instructions", &strategy_settings::slice_instructions},
  setting_name{"max_instructions", &strategy_settings::max_instructions},
  setting_name{"max_unyielding", &strategy_settings::max_unyielding},
  setting_name{"max_crashes", &strategy_settings::max_crashes},
  setting_name{"max_memory_bytes", &strategy_settings::max_memory_bytes},
  setting_name{"max_queries", &strategy_settings::max_queries},
  setting_name{"max_prompt_bytes", &strategy_settings::max_prompt_bytes},
  setting_name{"max_result_bytes", &strategy_settings::max_result_bytes},
  setting_name{"max_effects", &strategy_settings::max_effects},
  setting_name{"max_effect_bytes", &strategy_settings::max_effect_bytes},
  setting_name{"max_state_bytes", &strategy_settings::max_state_bytes},
  setting_name{"max_stats_bytes", &strategy_settings::max_stats_bytes},
  setting_name{"max_source_bytes", &strategy_settings::max_source_bytes},
  setting_name{"max_log_lines", &strategy_settings::max_log_lines},
  setting_name{"max_log_line_bytes", &strategy_settings::max_log_line_bytes}};

// -- writing ------------------------------------------------------------------

/// Opens the object of a request.
json_writer begin_request(std::string& out, std::string_view op) {
  json_writer to{out};
  to.begin('{');
  to.text("op", op);
  return to;
}

/// Opens the object of what a reply says.
json_writer begin_reply(std::string& out, std::string_view kind) {
  json_writer to{out};
  to.begin('{');
  to.raw("ok", "true");
  to.key("data");
  to.begin('{');
  to.text("kind", kind);
  return to;
}

void end_reply(json_writer& to) {
  to.end('}');
  to.raw("error", "null");
  to.end('}');
}

/// Writes a list, an item by each call of `f`.
template <class List, class F>
void write_list(json_writer& to, std::string_view name, const List& list, F f) {
  to.key(name);
  to.begin('[');
  for (auto& item : list) {
    to.separate();
    f(item);
  }
  to.end(']');
}

/// Writes the text of a module: as it is, or as hexadecimal digits if it is no
/// UTF-8.
void write_bytes(json_writer& to, std::string_view text) {
  if (is_utf8(text))
    to.text("text", text);
  else
    to.text("hex", to_hex(text));
}

void write_key(json_writer& to, const state_key& x) {
  to.text("space", x.space);
  to.text("key", x.key);
}

void write_source(json_writer& to, const source_text& x) {
  to.begin('{');
  to.text("hash", x.hash);
  write_bytes(to, x.text);
  to.end('}');
}

void write_sources(json_writer& to, const std::vector<source_text>& sources) {
  write_list(to, "sources", sources, [&](auto& x) { write_source(to, x); });
}

/// The text of the script, which stands beside the history.
std::string_view code_of(const history& events) {
  if (events.empty())
    return {};
  auto* spawned = std::get_if<spawned_event>(&events.front().body);
  return spawned != nullptr ? std::string_view{spawned->spec.code}
                            : std::string_view{};
}

void write_settings(json_writer& to, const strategy_settings& x) {
  to.key("settings");
  to.begin('{');
  for (auto& [name, member] : setting_names)
    to.number(name, x.*member);
  write_list(to, "packages", x.packages,
             [&](auto& folder) { append_quoted(to.out(), folder); });
  to.end('}');
}

/// What a start says beside its history.
void write_head(json_writer& to, const worker_start& x) {
  to.text("session_id", x.what.session_id);
  to.number("log_lines", x.what.log_lines);
  write_list(to, "contended", x.what.contended, [&](auto& key) {
    to.begin('{');
    write_key(to, key);
    to.end('}');
  });
  write_settings(to, x.settings);
}

void write_history(json_writer& to, const history& events,
                   const std::vector<source_text>& sources) {
  to.text_if_any("code", code_of(events));
  to.raw("events", encode_history(events, {}));
  write_sources(to, sources);
}

void write_log(json_writer& to, const log_line& x) {
  to.begin('{');
  to.number("number", x.number);
  to.number("at", x.at_ms);
  to.text("level", x.level);
  to.text("source", x.source);
  to.text("message", x.message);
  to.end('}');
}

void write_standing(json_writer& to, const worker_standing& x) {
  if (x.session_id)
    to.text("session_id", *x.session_id);
  else
    to.raw("session_id", "null");
  to.number("seq", x.seq);
  to.number("at_rest", x.at_rest);
}

/// The events of a step as they will stand in the history, but for their times,
/// which the node gives them.
void write_events(json_writer& to, const strategy_step& x) {
  to.key("events");
  to.begin('[');
  for (auto& effect : x.effects) {
    to.separate();
    append_event(to.out(), {0, effect}, {});
  }
  to.separate();
  std::visit([&](auto& end) { append_event(to.out(), {0, end}, {}); }, x.end);
  to.end(']');
}

// -- requests -----------------------------------------------------------------

void write(std::string& out, const worker_hello& x) {
  auto to = begin_request(out, "handshake");
  to.text("version", x.version);
  to.end('}');
}

void write(std::string& out, const worker_history& x) {
  auto to = begin_request(out, "history");
  write_history(to, x.events, x.sources);
  to.end('}');
}

void write(std::string& out, const worker_start& x) {
  auto to = begin_request(out, "start");
  write_head(to, x);
  write_history(to, x.what.events, x.what.sources);
  to.end('}');
}

void write(std::string& out, const worker_resolve& x) {
  auto to = begin_request(out, "resolve");
  if (x.result.text)
    write_bytes(to, *x.result.text);
  to.number("version", x.result.version);
  to.text_if_any("name", x.result.name);
  to.text_if_any("error", x.result.error);
  to.end('}');
}

void write(std::string& out, const worker_answer& x) {
  auto to = begin_request(out, "answer");
  write_list(to, "events", x.answers, [&](auto& answer) {
    append_event(to.out(), {0, answer}, {});
  });
  to.end('}');
}

void write(std::string& out, const worker_committed& x) {
  auto to = begin_request(out, "committed");
  to.number("seq", x.seq);
  to.end('}');
}

void write(std::string& out, const worker_status&) {
  begin_request(out, "status").end('}');
}

void write(std::string& out, const worker_shutdown&) {
  begin_request(out, "shutdown").end('}');
}

// -- replies ------------------------------------------------------------------

void write(std::string& out, const worker_greeting& x) {
  auto to = begin_reply(out, "handshake");
  to.text("version", x.version);
  to.text("nonce", x.nonce);
  to.text("confinement", x.confinement);
  write_standing(to, x.standing);
  end_reply(to);
}

void write(std::string& out, const worker_standing& x) {
  auto to = begin_reply(out, "status");
  write_standing(to, x);
  end_reply(to);
}

json_writer begin_report(std::string& out, const host_call& x) {
  auto to = begin_reply(out, "call");
  for (auto& [kind, name] : call_names)
    if (kind == x.what)
      to.text("what", name);
  write_key(to, x.where);
  return to;
}

json_writer begin_report(std::string& out, const strategy_step& x) {
  auto to = begin_reply(out, "step");
  write_events(to, x);
  write_list(to, "writes", x.writes, [&](auto& write) {
    to.begin('{');
    write_key(to, write.where);
    if (write.value)
      to.text("value", *write.value);
    to.end('}');
  });
  write_list(to, "expectations", x.expectations, [&](auto& expectation) {
    to.begin('{');
    write_key(to, expectation.where);
    to.number("version", expectation.version);
    to.end('}');
  });
  write_sources(to, x.sources);
  return to;
}

json_writer begin_report(std::string& out, const host_restored&) {
  return begin_reply(out, "restored");
}

void write(std::string& out, const worker_report& x) {
  auto to
    = std::visit([&](auto& what) { return begin_report(out, what); }, x.what);
  write_list(to, "logs", x.logs, [&](auto& line) { write_log(to, line); });
  to.number("memory_bytes", x.memory_bytes);
  end_reply(to);
}

void write(std::string& out, const worker_taken&) {
  auto to = begin_reply(out, "taken");
  end_reply(to);
}

void write(std::string& out, const worker_working&) {
  auto to = begin_reply(out, "working");
  end_reply(to);
}

void write(std::string& out, const worker_farewell&) {
  auto to = begin_reply(out, "shutdown");
  end_reply(to);
}

void write(std::string& out, const worker_refusal& x) {
  json_writer to{out};
  to.begin('{');
  to.raw("ok", "false");
  to.raw("data", "null");
  to.key("error");
  to.begin('{');
  to.text("code", to_string(x.why.code));
  to.text("message", x.why.message);
  to.end('}');
  to.end('}');
}

// -- pieces -------------------------------------------------------------------

/// A frame that grows until the next item does not fit.
class piece {
public:
  [[nodiscard]] bool empty() const {
    return events_.empty() && sources_.empty();
  }

  [[nodiscard]] std::size_t size() const {
    return code_.size() + events_.size() + sources_.size();
  }

  void add_event(const std::string& text, std::string_view code) {
    add(events_, text);
    if (!code.empty())
      append_quoted(code_, code);
  }

  void add_source(const std::string& text) {
    add(sources_, text);
  }

  /// Writes all into the open object of a request, and closes it.
  void finish(json_writer& to) const {
    if (!code_.empty())
      to.raw("code", code_);
    to.raw("events", "[" + events_ + "]");
    to.raw("sources", "[" + sources_ + "]");
    to.end('}');
  }

private:
  static void add(std::string& list, const std::string& item) {
    if (!list.empty())
      list += ',';
    list += item;
  }

  /// Quoted already.
  std::string code_;
  std::string events_;
  std::string sources_;
};

/// What a frame has beside its items, at most.
constexpr std::size_t frame_bytes = 128;

tl::unexpected<failure> no_room(std::string_view what, std::size_t bytes,
                                std::size_t limit) {
  return fail(errc::too_large,
              fmt::format("{} takes {} bytes, more than the {} that a frame of "
                          "the worker protocol may have",
                          what, bytes, limit));
}

// -- reading ------------------------------------------------------------------

/// What is wrong with a frame.
struct malformed {
  std::string why;
};

/// Reads the fields of an object.
class reader {
public:
  reader(const json& in, std::string_view name) : in_(in) {
    if (!in.is_object())
      throw malformed{
        fmt::format("'{}' must be an object, not {}", name, kind_of(in))};
  }

  /// The field, or null if there is none or it is null.
  [[nodiscard]] const json* find(const char* name) const {
    auto i = in_.find(name);
    return i != in_.end() && !i->is_null() ? &*i : nullptr;
  }

  [[nodiscard]] const json& at(const char* name) const {
    auto* value = find(name);
    if (value == nullptr)
      throw malformed{fmt::format("'{}' is missing", name)};
    return *value;
  }

  [[nodiscard]] const std::string& text(const char* name) const {
    auto& value = at(name);
    if (!value.is_string())
      throw wrong(name, "a string", value);
    return value.get_ref<const std::string&>();
  }

  [[nodiscard]] std::optional<std::string>
  optional_text(const char* name) const {
    return find(name) != nullptr ? std::optional{text(name)} : std::nullopt;
  }

  [[nodiscard]] std::uint64_t number(const char* name) const {
    auto& value = at(name);
    if (!value.is_number_unsigned())
      throw wrong(name, "a number without a sign", value);
    return value.get<std::uint64_t>();
  }

  [[nodiscard]] std::int64_t time(const char* name) const {
    auto& value = at(name);
    if (!value.is_number_integer()
        || (value.is_number_unsigned()
            && value.get<std::uint64_t>()
                 > std::numeric_limits<std::int64_t>::max()))
      throw wrong(name, "a whole number", value);
    return value.get<std::int64_t>();
  }

  [[nodiscard]] bool boolean(const char* name) const {
    auto& value = at(name);
    if (!value.is_boolean())
      throw wrong(name, "true or false", value);
    return value.get<bool>();
  }

  [[nodiscard]] reader object(const char* name) const {
    return {at(name), name};
  }

  /// The items of a list, each made by `f` of a reader.
  template <class F>
  auto list(const char* name, F f) const {
    std::vector<decltype(f(*this))> out;
    auto& items = array(name);
    out.reserve(items.size());
    for (auto& item : items)
      out.push_back(f(reader{item, name}));
    return out;
  }

  [[nodiscard]] std::vector<std::string> texts(const char* name) const {
    std::vector<std::string> out;
    for (auto& item : array(name)) {
      if (!item.is_string())
        throw wrong(name, "a list of strings", item);
      out.push_back(item.get<std::string>());
    }
    return out;
  }

  /// Events as they stand in a history.
  [[nodiscard]] history events(const char* name) const {
    std::string no_hash;
    auto out = history_from(array(name), no_hash);
    if (!out)
      throw malformed{fmt::format("'{}': {}", name, out.error().message)};
    return std::move(*out);
  }

private:
  static malformed wrong(const char* name, std::string_view what,
                         const json& value) {
    return {fmt::format("'{}' must be {}, not {}", name, what, kind_of(value))};
  }

  [[nodiscard]] const json& array(const char* name) const {
    auto& value = at(name);
    if (!value.is_array())
      throw wrong(name, "a list", value);
    return value;
  }

  const json& in_;
};

std::string from_hex(std::string_view digits) {
  auto value = [](char c) -> int {
    if (c >= '0' && c <= '9')
      return c - '0';
    if (c >= 'a' && c <= 'f')
      return c - 'a' + 10;
    throw malformed{"'hex' must have pairs of hexadecimal digits"};
  };
  std::string out;
  out.reserve(digits.size() / 2);
  for (std::size_t i = 0; i < digits.size(); i += 2)
    out += static_cast<char>(
      16 * value(digits[i])
      + value(i + 1 < digits.size() ? digits[i + 1] : '\0'));
  return out;
}

std::optional<std::string> read_bytes(const reader& in) {
  if (auto hex = in.optional_text("hex"))
    return from_hex(*hex);
  return in.optional_text("text");
}

state_key read_key(const reader& in) {
  return {in.text("space"), in.text("key")};
}

std::vector<source_text> read_sources(const reader& in) {
  return in.list("sources", [](const reader& x) -> source_text {
    auto text = read_bytes(x);
    if (!text)
      throw malformed{"'text' is missing"};
    return {x.text("hash"), std::move(*text)};
  });
}

history read_history(const reader& in) {
  auto out = in.events("events");
  auto code = in.optional_text("code");
  auto* spawned
    = out.empty() ? nullptr : std::get_if<spawned_event>(&out.front().body);
  if (code && spawned == nullptr)
    throw malformed{"'code' stands beside no event that has one"};
  if (code)
    spawned->spec.code = std::move(*code);
  return out;
}

/// All events of a list must be of that type.
template <class T>
std::vector<T> all_of(history&& events, std::string_view name) {
  std::vector<T> out;
  out.reserve(events.size());
  for (auto& event : events) {
    auto* body = std::get_if<T>(&event.body);
    if (body == nullptr)
      throw malformed{
        fmt::format("'events' must hold none but of the kind '{}'", name)};
    out.push_back(std::move(*body));
  }
  return out;
}

strategy_settings read_settings(const reader& in) {
  strategy_settings out;
  for (auto& [name, member] : setting_names)
    out.*member = in.number(std::string{name}.c_str());
  out.packages = in.texts("packages");
  return out;
}

worker_start read_start(const reader& in) {
  worker_start out;
  out.what.session_id = in.text("session_id");
  out.what.events = read_history(in);
  out.what.sources = read_sources(in);
  out.what.log_lines = in.number("log_lines");
  out.what.contended = in.list("contended", read_key);
  out.settings = read_settings(in.object("settings"));
  return out;
}

worker_resolve read_resolve(const reader& in) {
  return {{read_bytes(in), in.number("version"),
           in.optional_text("name").value_or(""),
           in.optional_text("error").value_or("")}};
}

worker_standing read_standing(const reader& in) {
  return {in.optional_text("session_id"), in.number("seq"),
          in.boolean("at_rest")};
}

host_call read_call(const reader& in) {
  auto& what = in.text("what");
  for (auto& [kind, name] : call_names)
    if (name == what)
      return {kind, read_key(in)};
  throw malformed{fmt::format("'what' cannot be '{}'", what)};
}

strategy_step read_step(const reader& in) {
  strategy_step out;
  auto events = in.events("events");
  if (events.empty())
    throw malformed{"'events' must say where the step ends"};
  auto end = std::move(events.back().body);
  events.pop_back();
  out.effects = all_of<effect_event>(std::move(events), "effect");
  std::visit(
    [&]<class T>(T& body) {
      if constexpr (std::is_constructible_v<decltype(out.end), T>)
        out.end = std::move(body);
      else
        throw malformed{"'events' must end where the script stopped"};
    },
    end);
  out.writes = in.list("writes", [](const reader& x) -> state_write {
    return {read_key(x), x.optional_text("value")};
  });
  out.expectations
    = in.list("expectations", [](const reader& x) -> state_expectation {
        return {read_key(x), x.number("version")};
      });
  out.sources = read_sources(in);
  return out;
}

template <class T>
worker_report read_report(T what, const reader& in) {
  return {std::move(what),
          in.list("logs",
                  [](const reader& x) -> log_line {
                    return {x.number("number"), x.time("at"), x.text("level"),
                            x.text("source"), x.text("message")};
                  }),
          in.number("memory_bytes")};
}

worker_refusal read_refusal(const reader& in) {
  auto& name = in.text("code");
  for (auto& known : all_errors())
    if (known.name == name)
      return {{known.code, in.text("message")}};
  throw malformed{fmt::format("'code' cannot be '{}'", name)};
}

worker_request read_request(const reader& in) {
  auto& op = in.text("op");
  if (op == "handshake")
    return worker_hello{in.text("version")};
  if (op == "history")
    return worker_history{read_history(in), read_sources(in)};
  if (op == "start")
    return read_start(in);
  if (op == "resolve")
    return read_resolve(in);
  if (op == "answer")
    return worker_answer{
      all_of<answered_event>(in.events("events"), "answered")};
  if (op == "committed")
    return worker_committed{in.number("seq")};
  if (op == "status")
    return worker_status{};
  if (op == "shutdown")
    return worker_shutdown{};
  throw malformed{fmt::format("there is no op '{}'", op)};
}

worker_reply read_reply(const reader& in) {
  if (!in.boolean("ok"))
    return read_refusal(in.object("error"));
  auto data = in.object("data");
  auto& kind = data.text("kind");
  if (kind == "handshake")
    return worker_greeting{data.text("version"), data.text("nonce"),
                           read_standing(data), data.text("confinement")};
  if (kind == "status")
    return read_standing(data);
  if (kind == "call")
    return read_report(read_call(data), data);
  if (kind == "step")
    return read_report(read_step(data), data);
  if (kind == "restored")
    return read_report(host_restored{}, data);
  if (kind == "taken")
    return worker_taken{};
  if (kind == "working")
    return worker_working{};
  if (kind == "shutdown")
    return worker_farewell{};
  throw malformed{fmt::format("there is no reply of the kind '{}'", kind)};
}

/// Takes a frame apart with `read`.
template <class F>
auto decode(std::string_view frame, std::string_view what, F read)
  -> expected<decltype(read(std::declval<const reader&>()))> {
  auto document = parse_json(frame, what);
  if (!document)
    return tl::unexpected<failure>{document.error()};
  try {
    return read(reader{*document, what});
  } catch (const malformed& error) {
    return fail(errc::invalid_argument,
                fmt::format("malformed {}: {}", what, error.why));
  }
}

} // namespace

std::string encode(const worker_request& x) {
  std::string out;
  std::visit([&](auto& request) { write(out, request); }, x);
  return out;
}

std::string encode(const worker_reply& x) {
  std::string out;
  std::visit([&](auto& reply) { write(out, reply); }, x);
  return out;
}

expected<std::vector<std::string>> start_frames(const worker_start& x,
                                                std::size_t max_frame_bytes) {
  std::vector<std::string> out;
  std::string last;
  auto head = begin_request(last, "start");
  write_head(head, x);
  if (last.size() + frame_bytes > max_frame_bytes)
    return no_room("what a start says beside its history", last.size(),
                   max_frame_bytes);
  piece open;
  auto flush = [&] {
    auto& frame = out.emplace_back();
    auto to = begin_request(frame, "history");
    std::exchange(open, {}).finish(to);
  };
  auto make_room = [&](std::size_t bytes) {
    if (!open.empty() && open.size() + bytes + frame_bytes > max_frame_bytes)
      flush();
    return bytes + frame_bytes <= max_frame_bytes;
  };
  std::string item;
  for (auto& event : x.what.events) {
    item.clear();
    append_event(item, event, {});
    auto code = &event == &x.what.events.front() ? code_of(x.what.events)
                                                 : std::string_view{};
    // Escaped, a byte takes up to six.
    if (!make_room(item.size() + 6 * code.size()))
      return no_room(fmt::format("event {} of the history",
                                 &event - x.what.events.data() + 1),
                     item.size(), max_frame_bytes);
    open.add_event(item, code);
  }
  for (auto& source : x.what.sources) {
    item.clear();
    json_writer to{item};
    write_source(to, source);
    if (!make_room(item.size()))
      return no_room("a source of the history", item.size(), max_frame_bytes);
    open.add_source(item);
  }
  if (last.size() + open.size() + frame_bytes > max_frame_bytes)
    flush();
  open.finish(head);
  out.push_back(std::move(last));
  return out;
}

expected<std::vector<std::string>>
answer_frames(const std::vector<answered_event>& answers,
              std::size_t max_frame_bytes) {
  std::vector<std::string> out;
  std::string events;
  auto flush = [&] {
    auto& frame = out.emplace_back();
    auto to = begin_request(frame, "answer");
    events.insert(events.begin(), '[');
    events.push_back(']');
    to.raw("events", events);
    events.clear();
    to.end('}');
  };
  std::string item;
  for (auto& answer : answers) {
    item.clear();
    append_event(item, {0, answer}, {});
    if (item.size() + frame_bytes > max_frame_bytes)
      return no_room(fmt::format("the answer to '{}'", answer.query_id),
                     item.size(), max_frame_bytes);
    if (events.size() + item.size() + frame_bytes > max_frame_bytes)
      flush();
    if (!events.empty())
      events += ',';
    events += item;
  }
  if (!events.empty())
    flush();
  return out;
}

expected<worker_request> decode_request(std::string_view frame) {
  return decode(frame, "request", read_request);
}

expected<worker_reply> decode_reply(std::string_view frame) {
  return decode(frame, "reply", read_reply);
}

} // namespace muster
