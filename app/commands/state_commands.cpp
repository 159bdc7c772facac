// SPDX-License-Identifier: Apache-2.0

#include "app/commands/command.hpp"

#include <fmt/format.h>

namespace muster {

namespace {

using failed = tl::unexpected<failure>;

struct state_options {
  std::optional<std::string> space;
  std::string prefix;
  std::uint32_t limit = 0;
  std::string key;
  std::string value;
  std::string request_id;
};

state_key key_of(const state_options& options) {
  return {options.space.value_or("default"), options.key};
}

failure no_such_key(const state_key& where) {
  return {errc::not_found,
          fmt::format("there is no state '{}' in the namespace '{}'", where.key,
                      where.space)};
}

expected<int> list_spaces(client& node, const console& out) {
  auto spaces = node.state_spaces();
  if (!spaces)
    return failed{spaces.error()};
  std::vector<std::vector<std::string>> rows;
  auto all = json::array();
  for (auto& x : *spaces) {
    all.push_back({{"namespace", x.space}, {"keys", x.keys}});
    rows.push_back({x.space, std::to_string(x.keys)});
  }
  if (out.is_json())
    out.print({{"namespaces", std::move(all)}});
  else
    out.table({"NAMESPACE", "KEYS"}, rows);
  return 0;
}

expected<int> list(client& node, const console& out,
                   const state_options& options) {
  if (!options.space)
    return list_spaces(node, out);
  auto keys = node.state_keys(*options.space, options.prefix, options.limit);
  if (!keys)
    return failed{keys.error()};
  std::vector<std::vector<std::string>> rows;
  auto all = json::array();
  for (auto& x : *keys) {
    all.push_back({{"key", x.key}, {"version", x.version}, {"bytes", x.bytes}});
    rows.push_back({x.key, std::to_string(x.version), std::to_string(x.bytes)});
  }
  if (out.is_json())
    out.print({{"namespace", *options.space}, {"keys", std::move(all)}});
  else
    out.table({"KEY", "VERSION", "BYTES"}, rows);
  return 0;
}

expected<int> get(client& node, const console& out,
                  const state_options& options) {
  auto where = key_of(options);
  auto found = node.state_get(where);
  if (!found)
    return failed{found.error()};
  if (!found->value)
    return failed{no_such_key(where)};
  if (out.is_json())
    out.print({{"namespace", where.space},
               {"key", where.key},
               {"value", json::parse(*found->value)},
               {"version", found->version}});
  else
    out.line(*found->value);
  return 0;
}

expected<int> set(client& node, const console& out,
                  const state_options& options) {
  auto where = key_of(options);
  auto version = node.state_set(where, options.value, {{}, options.request_id});
  if (!version)
    return failed{version.error()};
  if (out.is_json())
    out.print(
      {{"namespace", where.space}, {"key", where.key}, {"version", *version}});
  return 0;
}

expected<int> remove(client& node, const console& out,
                     const state_options& options) {
  auto where = key_of(options);
  auto existed = node.state_delete(where, {{}, options.request_id});
  if (!existed)
    return failed{existed.error()};
  if (!*existed)
    return failed{no_such_key(where)};
  if (out.is_json())
    out.print(
      {{"namespace", where.space}, {"key", where.key}, {"deleted", true}});
  return 0;
}

template <class F>
CLI::App* add(CLI::App* parent, command_context& context,
              std::shared_ptr<state_options> options, const char* name,
              const char* help, F run) {
  auto* command = add_client_command(parent, context, options, name, help, run);
  command->add_option("--namespace", options->space,
                      "The namespace; 'default' if absent");
  return command;
}

} // namespace

void add_state_commands(CLI::App& app, command_context& context) {
  auto* parent
    = app.add_subcommand("state", "Look after the state that sessions share");
  parent->require_subcommand(1);
  auto o = std::make_shared<state_options>();
  auto* list_app = add(parent, context, o, "list",
                       "List the namespaces, or the keys of one", list);
  list_app->add_option("--prefix", o->prefix, "Only keys that begin with this");
  list_app->add_option("--limit", o->limit, "At most so many");
  auto* get_app = add(parent, context, o, "get", "Print a value as JSON", get);
  auto* set_app = add(parent, context, o, "set", "Write a value", set);
  auto* delete_app
    = add(parent, context, o, "delete", "Delete a value", remove);
  for (auto* command : {get_app, set_app, delete_app})
    command->add_option("KEY", o->key, "The key")->required();
  for (auto* command : {set_app, delete_app})
    add_request_id(command, o->request_id);
  set_app->add_option("JSON", o->value, "The value")->required();
}

} // namespace muster
