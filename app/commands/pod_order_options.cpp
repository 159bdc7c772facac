// SPDX-License-Identifier: Apache-2.0

#include "app/commands/pod_order_options.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <string_view>
#include <system_error>

namespace muster {

namespace {

using failed = tl::unexpected<failure>;

/// The rules of all lists. Their paths are absolute: a rule with another one is
/// refused, as it would say something else in each folder.
expected<std::vector<scope_rule>>
read_rules(const std::vector<std::string>& lists) {
  std::vector<scope_rule> out;
  for (auto& list : lists) {
    auto rules = parse_rules(list);
    if (!rules)
      return failed{rules.error()};
    out.insert(out.end(), rules->begin(), rules->end());
  }
  return out;
}

std::size_t words_behind_mark(char** arguments) {
  std::size_t out = 0;
  auto is_behind = false;
  for (auto** word = arguments; *word != nullptr; ++word) {
    out += is_behind ? 1 : 0;
    is_behind = is_behind || std::string_view{*word} == "--";
  }
  return out;
}

} // namespace

CLI::Option* add_pod_order_options(CLI::App* command,
                                   const command_context& context,
                                   pod_order_options& x) {
  x.words_behind = words_behind_mark(context.arguments);
  command->add_option("--task", x.task, "What it shall do");
  auto* scope = command
                  ->add_option("--scope", x.scope,
                               "What it is lent: r:/PATH, w:/PATH, or r1: and "
                               "w1: for one level; with commas between them")
                  ->allow_extra_args(false);
  command
    ->add_option("--delegate", x.delegation,
                 "What of that it may lend to pods of its own")
    ->allow_extra_args(false);
  command
    ->add_option("--cwd", x.cwd,
                 "Where it works; the first rule's target otherwise")
    ->check(not_empty());
  command->add_option("--sandbox", x.sandbox, "required, best-effort or off");
  command->add_flag("--protocol", x.speaks_protocol,
                    "The program behind -- speaks the protocol of pods");
  command->add_option("COMMAND", x.command,
                      "The program and its arguments, behind --; the "
                      "reference pod otherwise");
  return scope;
}

expected<pod_order> read_pod_order(const pod_order_options& x) {
  pod_order out;
  out.task = x.task;
  out.command = x.command;
  if (x.command.size() > x.words_behind)
    return fail(errc::invalid_argument,
                fmt::format("'{}' does not belong here: a program and its "
                            "arguments stand behind --",
                            x.command.front()));
  if (x.speaks_protocol && x.command.empty())
    return fail(errc::invalid_argument,
                "--protocol: there is no program behind --; the reference pod "
                "speaks the protocol anyway");
  out.kind = out.command.empty() || x.speaks_protocol ? pod_class::protocol
                                                      : pod_class::plain;
  auto scope = read_rules(x.scope);
  if (!scope)
    return failed{scope.error()};
  out.scope = std::move(*scope);
  auto delegation = read_rules(x.delegation);
  if (!delegation)
    return failed{delegation.error()};
  out.delegation.allow = std::move(*delegation);
  auto sandbox = parse_sandbox(x.sandbox);
  if (!sandbox)
    return failed{sandbox.error()};
  out.sandbox = *sandbox;
  if (!x.cwd.empty()) {
    auto cwd = absolute_path(x.cwd);
    if (!cwd)
      return failed{cwd.error()};
    out.cwd = std::move(*cwd);
  }
  return out;
}

expected<std::string> absolute_path(const std::string& path) {
  std::error_code code;
  auto out = std::filesystem::absolute(path, code);
  if (code)
    return fail(errc::invalid_argument,
                fmt::format("'{}' is no path: {}", path, code.message()));
  return out.lexically_normal().string();
}

} // namespace muster
