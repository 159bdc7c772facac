// SPDX-License-Identifier: Apache-2.0

#include "messages/pod_json.hpp"

#include "messages/entry_reader.hpp"
#include "messages/scope_json.hpp"

#include <fmt/format.h>

namespace muster {

namespace {

json text_or_null(const std::string& text) {
  return text.empty() ? json{} : json(text);
}

json cursor_json(const output_cursor& x) {
  return {{"segment", x.segment}, {"offset", x.offset}};
}

} // namespace

json to_json(const pod_view& x) {
  return {{"name", x.name},
          {"id", x.id},
          {"pid", x.pid == 0 ? json{} : json(x.pid)},
          {"state", to_string(x.phase)},
          {"class", to_string(x.kind)},
          {"socket", text_or_null(x.socket)},
          {"folder", x.folder},
          {"scope", rules_json(x.scope)},
          {"lender", text_or_null(x.lender)},
          {"sandbox", text_or_null(x.sandbox)},
          {"created_at", x.created_at},
          {"turns", x.turns},
          {"last_error", text_or_null(x.last_error)}};
}

json to_json(const std::vector<pod_view>& pods) {
  auto list = json::array();
  for (auto& x : pods)
    list.push_back(to_json(x));
  return {{"pods", std::move(list)}};
}

json to_json(const pod_output& x) {
  return {{"name", x.name},          {"state", to_string(x.phase)},
          {"texts", x.texts},        {"from", cursor_json(x.from)},
          {"to", cursor_json(x.to)}, {"skipped", x.skipped},
          {"more", x.more}};
}

json to_json(const pod_stop_reply& x) {
  return {{"name", x.name},
          {"status", "stopped"},
          {"reclaimed", rules_json(x.reclaimed)},
          {"end", x.end}};
}

json to_json(const std::vector<scope_holder>& holders) {
  auto list = json::array();
  for (auto& x : holders)
    list.push_back({{"name", x.name},
                    {"permission", to_string(x.level)},
                    {"rule", rule_json(x.rule)},
                    {"lender", text_or_null(x.lender)}});
  return {{"holders", std::move(list)}};
}

json to_json(const pod_order& x) {
  return {{"name", x.name},
          {"task", x.task},
          {"scope", rules_json(x.scope)},
          {"delegation", scope_json(x.delegation)},
          {"cwd", x.cwd},
          {"command", x.command},
          {"class", to_string(x.kind)},
          {"sandbox", to_string(x.sandbox)}};
}

expected<pod_order> pod_order_from(const json& value) {
  if (!value.is_object())
    return fail(errc::invalid_argument,
                fmt::format("a pod is asked for with an object, and this is {}",
                            kind_of(value)));
  entry_reader from{value};
  pod_order out;
  out.name = from.text("name");
  out.task = from.text_or_none("task");
  out.cwd = from.text_or_none("cwd");
  auto scope = rules_from(from.take("scope"));
  if (!scope)
    return tl::unexpected<failure>{scope.error()};
  out.scope = std::move(*scope);
  if (auto delegation = from.take("delegation"); !delegation.is_null()) {
    auto read = scope_from(delegation);
    if (!read)
      return tl::unexpected<failure>{read.error()};
    out.delegation = std::move(*read);
  }
  if (auto command = from.take("command"); !command.is_null()) {
    if (!command.is_array())
      from.note("command");
    for (auto& word : command)
      if (word.is_string())
        out.command.push_back(word.get<std::string>());
      else
        from.note("command");
  }
  auto kind = from.text_or_none("class");
  if (kind == to_string(pod_class::plain)
      || (kind.empty() && !out.command.empty()))
    out.kind = pod_class::plain;
  else if (!kind.empty() && kind != to_string(pod_class::protocol))
    from.note("class");
  if (auto mode = from.text_or_none("sandbox"); !mode.empty()) {
    auto read = parse_sandbox(mode);
    if (!read)
      return tl::unexpected<failure>{read.error()};
    out.sandbox = *read;
  }
  if (!from.wrong().empty())
    return fail(
      errc::invalid_argument,
      fmt::format("what is asked for has no proper '{}'", from.wrong()));
  return out;
}

} // namespace muster
