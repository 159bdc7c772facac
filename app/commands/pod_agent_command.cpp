// SPDX-License-Identifier: Apache-2.0

#include "app/commands/pod_agent_command.hpp"

#include "app/commands/answer_program.hpp"
#include "app/output/log.hpp"

#include "actors/pod/pod_agent_process.hpp"
#include "actors/pod/pod_agent_strategy.hpp"

#include "messages/scope_json.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace muster {

namespace {

std::string variable(const char* name) {
  auto* value = std::getenv(name);
  return value != nullptr ? value : std::string{};
}

expected<std::string> required_variable(const char* name) {
  auto value = variable(name);
  if (value.empty())
    return fail(errc::invalid_argument,
                fmt::format("'{}' is not in the environment, where a node says "
                            "what a pod is",
                            name));
  return value;
}

/// What the node says of the pod.
expected<void> read_environment(pod_agent_options& to) {
  for (auto [name, field] : {std::pair{"MUSTER_POD_NAME", &to.name},
                             std::pair{"MUSTER_POD_ID", &to.id},
                             std::pair{"MUSTER_POD_FOLDER", &to.folder}}) {
    auto value = required_variable(name);
    if (!value)
      return tl::unexpected<failure>{value.error()};
    *field = std::move(*value);
  }
  to.socket = variable("MUSTER_POD_SOCKET");
  if (auto* task = std::getenv("MUSTER_POD_TASK"))
    to.task = task;
  auto text = required_variable("MUSTER_POD_SCOPE");
  if (!text)
    return tl::unexpected<failure>{text.error()};
  auto value = parse_json(*text, "MUSTER_POD_SCOPE");
  if (!value)
    return tl::unexpected<failure>{value.error()};
  auto rules = rules_from(*value);
  if (!rules)
    return tl::unexpected<failure>{rules.error()};
  to.scope = std::move(*rules);
  return {};
}

expected<std::string> read_strategy(const std::string& path,
                                    std::uint64_t max_bytes) {
  std::ifstream file{path, std::ios::binary};
  std::string text(max_bytes + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!file && !file.eof())
    return fail(errc::not_found,
                fmt::format("the strategy '{}' cannot be read", path));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.size() > max_bytes)
    return fail(
      errc::too_large,
      fmt::format("the strategy '{}' has more than {} bytes", path, max_bytes));
  if (!is_utf8(text))
    return fail(errc::not_utf8,
                fmt::format("the strategy '{}' is not UTF-8", path));
  return text;
}

expected<void> run(pod_agent_options& options, const std::string& file,
                   const std::string& answer_program) {
  if (auto fine = read_environment(options); !fine)
    return fine;
  auto& strategy = options.strategy;
  strategy.text = default_pod_strategy();
  if (!file.empty()) {
    auto text = read_strategy(file, strategy.settings.max_source_bytes);
    if (!text)
      return tl::unexpected<failure>{text.error()};
    strategy.text = std::move(*text);
    strategy.name = std::filesystem::path{file}.filename().string();
  }
  if (!answer_program.empty())
    strategy.answer = [command = answer_program, id = options.id](auto& q) {
      return answer_with_program(command, id, q);
    };
  return run_pod_agent(std::move(options));
}

} // namespace

int pod_agent_command(int argc, char** argv) {
  set_up_log();
  pod_agent_options options;
  std::string file;
  std::string answer_program;
  CLI::App app{"Runs the reference pod, for a node"};
  app.add_option("--strategy", file, "The Lua text that runs in each turn");
  app.add_option("--answer", answer_program,
                 "A shell command that answers: prompt on its standard input, "
                 "answer on its standard output");
  app
    .add_option("--packages", options.strategy.settings.packages,
                "A folder that 'require' searches; may be repeated")
    ->allow_extra_args(false);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0)
      return app.exit(error); // --help
    spdlog::error("cannot run a pod: {}", error.what());
    return describe(errc::invalid_argument).exit_code;
  }
  auto done = run(options, file, answer_program);
  if (done)
    return 0;
  spdlog::error("pod '{}' fails: {}", options.name, done.error().message);
  return describe(done.error().code).exit_code;
}

} // namespace muster
