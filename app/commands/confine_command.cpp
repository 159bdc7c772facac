// SPDX-License-Identifier: Apache-2.0

#include "app/commands/confine_command.hpp"

#include "app/output/console.hpp"

#include "actors/pod/confine.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <string_view>

namespace muster {

namespace {

/// Takes the program and its arguments, which nobody else may read.
std::vector<std::string> words_behind(char** begin, char** end) {
  auto* mark = std::find(begin, end, std::string_view{"--"});
  return mark == end ? std::vector<std::string>{}
                     : std::vector<std::string>(mark + 1, end);
}

} // namespace

int confine_command(int argc, char** argv) {
  confine_order order;
  order.words = words_behind(argv + 1, argv + argc);
  auto own_argc = argc - static_cast<int>(order.words.size());
  CLI::App app{"Starts a program behind --, with no more of the file system "
               "than it is given"};
  std::string sandbox = "required";
  std::vector<std::string> rules;
  app.add_option("--sandbox", sandbox, "required, best-effort or off");
  app.add_option("--allow", rules, "r:/PATH, w:/PATH, r1:/PATH or w1:/PATH")
    ->allow_extra_args(false);
  app.add_option("--own", order.own_folder, "The folder of its socket and log");
  app.add_option("--cwd", order.working_folder, "Where it starts");
  app.add_flag("--within-scope", order.is_within_scope,
               "The program itself has to be in what it is given");
  console out{false};
  try {
    app.parse(own_argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0)
      return app.exit(error); // --help
    return out.error({errc::invalid_argument, error.what()});
  }
  if (order.words.empty())
    return out.error({errc::invalid_argument,
                      "the program to start stands behind --, and there is "
                      "none"});
  auto level = parse_sandbox(sandbox);
  if (!level)
    return out.error(level.error());
  order.sandbox = *level;
  for (auto& rule : rules) {
    auto read = parse_rules(rule);
    if (!read)
      return out.error(read.error());
    // Several could be one with a comma in its path.
    if (read->size() != 1)
      return out.error(
        {errc::invalid_argument, fmt::format("'{}' is not one rule", rule)});
    order.scope.push_back(std::move(read->front()));
  }
  auto ended = confine(order);
  out.error(ended.why);
  return ended.exit_code;
}

} // namespace muster
