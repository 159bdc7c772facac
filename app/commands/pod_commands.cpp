// SPDX-License-Identifier: Apache-2.0

#include "app/commands/command.hpp"
#include "app/commands/pod_order_options.hpp"
#include "app/settings/units.hpp"

#include "messages/pod_json.hpp"
#include "messages/scope_json.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace muster {

namespace {

using failed = tl::unexpected<failure>;

struct pod_options {
  std::string name;
  std::string text;
  std::string request_id;
  // -- of spawn ---------------------------------------------------------------
  pod_order_options order;
  std::string lender;
  std::vector<std::string> environment;
  // -- of read ----------------------------------------------------------------
  std::string reader{pod_operator};
  std::string from;
  // -- of scopes --------------------------------------------------------------
  bool is_check = false;
  std::string path;
};

std::vector<std::string> texts_of(const std::vector<scope_rule>& rules) {
  std::vector<std::string> out;
  for (auto& rule : rules)
    out.push_back(to_string(rule));
  return out;
}

std::string dash_if_empty(const std::string& text) {
  return text.empty() ? "-" : text;
}

/// One that ended at once is gone by the time of the answer.
std::string show_spawned(const pod_view& x) {
  if (x.phase == pod_phase::ended)
    return fmt::format("pod '{}' was started, {}, and {}", x.name, x.sandbox,
                       x.last_error);
  return fmt::format("pod '{}', process {}, {}", x.name, x.pid, x.sandbox);
}

expected<int> spawn(client& node, const console& out,
                    const pod_options& options) {
  auto order = read_pod_order(options.order);
  if (!order)
    return failed{order.error()};
  order->name = options.name;
  order->lender = options.lender;
  order->environment = options.environment;
  auto pod = node.pod_spawn(*order, {{}, options.request_id});
  if (!pod)
    return failed{pod.error()};
  if (out.is_json())
    out.print(to_json(*pod));
  else
    out.line(show_spawned(*pod));
  return 0;
}

expected<int> list(client& node, const console& out, const pod_options&) {
  auto pods = node.pod_list();
  if (!pods)
    return failed{pods.error()};
  if (out.is_json()) {
    out.print(to_json(*pods));
    return 0;
  }
  std::vector<std::vector<std::string>> rows;
  for (auto& x : *pods)
    rows.push_back({x.name, x.pid == 0 ? "-" : std::to_string(x.pid),
                    to_string(x.phase), to_string(x.kind),
                    dash_if_empty(x.sandbox), std::to_string(x.turns),
                    dash_if_empty(x.lender),
                    fmt::format("{}", fmt::join(texts_of(x.scope), ",")),
                    dash_if_empty(one_line(x.last_error))});
  out.table({"POD", "PID", "STATE", "CLASS", "SANDBOX", "TURNS", "LENDER",
             "SCOPE", "LAST ERROR"},
            rows);
  return 0;
}

expected<int> send(client& node, const console& out,
                   const pod_options& options) {
  auto text = options.text;
  if (text.empty() || text == "-") {
    auto input = read_input("-");
    if (!input)
      return failed{input.error()};
    text = without_newline(std::move(*input));
  }
  auto turn = node.pod_send(options.name, text, {{}, options.request_id});
  if (!turn)
    return failed{turn.error()};
  if (out.is_json())
    out.print({{"name", options.name}, {"status", "sent"}, {"turn", *turn}});
  else
    out.line(fmt::format("sent message to '{}': turn {}", options.name, *turn));
  return 0;
}

/// Reads `SEGMENT:OFFSET`.
expected<output_cursor> read_cursor(const std::string& text) {
  auto colon = text.find(':');
  auto segment = parse_count(text.substr(0, colon));
  auto offset = colon == std::string::npos
                  ? expected<std::uint64_t>{0}
                  : parse_count(text.substr(colon + 1));
  if (!segment || !offset)
    return fail(errc::invalid_argument,
                fmt::format("--from: '{}' is no place such as 1:4096; the "
                            "'from' and 'to' of an output are",
                            text));
  return output_cursor{*segment, *offset};
}

expected<int> read(client& node, const console& out,
                   const pod_options& options) {
  pod_read what;
  what.name = options.name;
  what.reader = options.reader;
  if (!options.from.empty()) {
    auto from = read_cursor(options.from);
    if (!from)
      return failed{from.error()};
    what.from = *from;
  }
  auto output = node.pod_read(what);
  if (!output)
    return failed{output.error()};
  if (out.is_json()) {
    out.print(to_json(*output));
    return 0;
  }
  for (auto& text : output->texts)
    out.line(text);
  if (output->texts.empty())
    out.note(fmt::format("pod '{}' is {}; no new text", output->name,
                         output->phase == pod_phase::ended
                           ? std::string{"stopped"}
                           : to_string(output->phase)));
  return 0;
}

expected<int> stop(client& node, const console& out,
                   const pod_options& options) {
  auto reply = node.pod_stop(options.name);
  if (!reply)
    return failed{reply.error()};
  if (out.is_json())
    out.print(to_json(*reply));
  else
    out.line(fmt::format(
      "stopped pod '{}'; reclaimed scope: {}", reply->name,
      reply->reclaimed.empty()
        ? "(none)"
        : fmt::format("{}", fmt::join(texts_of(reply->reclaimed), ", "))));
  return 0;
}

expected<int> check(client& node, const console& out,
                    const pod_options& options) {
  if (options.path.empty())
    return fail(errc::invalid_argument,
                "pod scopes check: the path is empty; name one");
  auto path = absolute_path(options.path);
  if (!path)
    return failed{path.error()};
  auto holders = node.pod_holders(*path);
  if (!holders)
    return failed{holders.error()};
  if (out.is_json()) {
    out.print(to_json(*holders));
    return 0;
  }
  std::vector<std::vector<std::string>> rows;
  for (auto& x : *holders)
    rows.push_back(
      {x.name, to_string(x.level), to_string(x.rule), dash_if_empty(x.lender)});
  out.table({"HOLDER", "MAY", "BY", "LENT BY"}, rows);
  return 0;
}

expected<int> scopes(client& node, const console& out,
                     const pod_options& options) {
  if (options.is_check)
    return check(node, out, options);
  auto all = node.pod_scopes();
  if (!all)
    return failed{all.error()};
  if (out.is_json()) {
    out.print(listing_json(*all));
    return 0;
  }
  std::vector<std::vector<std::string>> rows;
  for (auto& x : all->allocations)
    rows.push_back({x.name, dash_if_empty(x.lender), to_string(x.own),
                    dash_if_empty(to_string(x.delegation))});
  out.table({"HOLDER", "LENT BY", "SCOPE", "MAY LEND"}, rows);
  return 0;
}

} // namespace

void add_pod_commands(CLI::App& app, command_context& context) {
  auto* parent = app.add_subcommand(
    "pod", "Look after child agents that are lent parts of the file system");
  parent->require_subcommand(1);
  auto o = std::make_shared<pod_options>();
  auto* spawn_app = add_client_command(
    parent, context, o, "spawn", "Start a pod and lend it its scope", spawn);
  spawn_app
    ->add_option("NAME", o->name,
                 "Its name, unique among those that "
                 "live")
    ->required();
  spawn_app
    ->add_option("--lender", o->lender,
                 "The pod that lends to it; the operator otherwise")
    ->check(not_empty());
  spawn_app
    ->add_option("--env", o->environment, "A variable for it, NAME=VALUE")
    ->allow_extra_args(false);
  add_pod_order_options(spawn_app, context, o->order)->required();
  add_request_id(spawn_app, o->request_id);
  add_client_command(parent, context, o, "list", "List the pods", list);
  auto* send_app = add_client_command(
    parent, context, o, "send",
    "Let a pod begin a turn; returns once it has confirmed that", send);
  send_app->add_option("NAME", o->name, "The pod")->required();
  send_app->add_option("TEXT", o->text,
                       "What is said; - or nothing reads standard input");
  add_request_id(send_app, o->request_id);
  auto* read_app
    = add_client_command(parent, context, o, "read",
                         "Show what a pod has written since the last "
                         "time",
                         read);
  read_app->add_option("NAME", o->name, "The pod")->required();
  read_app->add_option("--as", o->reader,
                       "Who reads; each reader has a place of its own");
  read_app
    ->add_option("--from", o->from,
                 "Where to read, SEGMENT:OFFSET; the reader stays where it is")
    ->check(not_empty());
  auto* stop_app = add_client_command(
    parent, context, o, "stop",
    "Stop a pod; returns once what it was lent has come back", stop);
  stop_app->add_option("NAME", o->name, "The pod")->required();
  auto* scopes_app = add_client_command(
    parent, context, o, "scopes", "Show who has what, and who lent it", scopes);
  auto* check_app = scopes_app->add_subcommand(
    "check", "Show who may do something at a path");
  check_app->add_option("PATH", o->path, "The path")->required();
  check_app->callback([o] { o->is_check = true; });
}

} // namespace muster
