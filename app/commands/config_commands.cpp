// SPDX-License-Identifier: Apache-2.0

#include "app/commands/command.hpp"
#include "app/settings/configuration.hpp"
#include "app/settings/option_table.hpp"

#include <fmt/format.h>

namespace muster {

namespace {

int show(const command_context& context) {
  auto out = context.out();
  auto config
    = configure(context.state_directory(), context.globals.config_file, {});
  if (!config)
    return out.error(config.error());
  auto origin = [&](const option& x) {
    auto i = config->origins.find(x.name);
    return i != config->origins.end() ? i->second : std::string{"default"};
  };
  if (out.is_json()) {
    auto options = json::array();
    for (auto& x : all_options())
      options.push_back({{"name", x.name},
                         {"value", x.get(config->settings)},
                         {"default", x.get(node_settings{})},
                         {"origin", origin(x)},
                         {"help", x.help}});
    out.print(
      {{"state_dir", context.state_directory()},
       {"file", config->file.empty() ? json(nullptr) : json(config->file)},
       {"options", std::move(options)}});
    return 0;
  }
  std::vector<std::vector<std::string>> rows;
  for (auto& x : all_options())
    rows.push_back({x.name, x.get(config->settings), origin(x)});
  out.note(fmt::format("state directory: {}", context.state_directory()));
  out.note(fmt::format("configuration file: {}",
                       config->file.empty() ? "none" : config->file));
  out.table({"OPTION", "VALUE", "FROM"}, rows);
  return 0;
}

int check(const command_context& context,
          const std::optional<std::string>& given) {
  auto out = context.out();
  auto path = given ? *given
                    : find_config_file(context.globals.config_file,
                                       context.state_directory());
  if (path.empty())
    return out.error({errc::not_found,
                      "there is no configuration file; everything is at its "
                      "default"});
  configuration config;
  if (auto ok = read_config_file(path, config); !ok)
    return out.error(ok.error());
  if (out.is_json())
    out.print({{"file", path}, {"options", config.origins.size()}});
  else
    out.line(fmt::format("{} is fine: it sets {} option{}", path,
                         config.origins.size(),
                         config.origins.size() == 1 ? "" : "s"));
  return 0;
}

} // namespace

void add_config_commands(CLI::App& app, command_context& context) {
  auto* parent = app.add_subcommand("config", "Look at the settings of a node");
  parent->require_subcommand(1);
  parent->add_subcommand("show", "Show every option, its value and its origin")
    ->callback(
      [&context] { context.action = [&context] { return show(context); }; });
  auto file = std::make_shared<std::optional<std::string>>();
  auto* check_app
    = parent->add_subcommand("check", "Check a configuration file");
  check_app->add_option("FILE", *file, "Absent: the one that would be used");
  check_app->callback([file, &context] {
    context.action = [file, &context] { return check(context, *file); };
  });
}

} // namespace muster
