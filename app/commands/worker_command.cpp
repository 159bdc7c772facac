// SPDX-License-Identifier: Apache-2.0

#include "app/commands/worker_command.hpp"

#include "app/output/log.hpp"
#include "app/settings/units.hpp"

#include "actors/pool/worker_process.hpp"

#include <CLI/CLI.hpp>
#include <spdlog/spdlog.h>

#include <cstdlib>

namespace muster {

namespace {

/// Adds an option that is read by `parse`.
template <class T, class F>
void add(CLI::App& app, const char* name, T& to, F parse, bool required) {
  app
    .add_option_function<std::string>(
      name,
      [=, &to](const std::string& text) {
        auto value = parse(text);
        if (!value)
          throw CLI::ValidationError{name, value.error().message};
        to = *value;
      })
    ->required(required);
}

} // namespace

int worker_command(int argc, char** argv, const char* version) {
  set_up_log();
  worker_options options;
  options.version = version;
  if (auto* nonce = std::getenv(worker_nonce_variable))
    options.nonce = nonce;
  CLI::App app{"Runs one session for a node"};
  // What it is called in a list of processes.
  std::string sid;
  app.add_option("--sid", sid);
  app.add_option("--sock", options.socket)->required();
  add(app, "--orphan-timeout", options.orphan_timeout, parse_duration, false);
  add(app, "--greet-timeout", options.greet_timeout, parse_duration, false);
  add(app, "--max-memory", options.max_memory_bytes, parse_size, false);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    spdlog::error("cannot run a worker: {}", error.what());
    return describe(errc::invalid_argument).exit_code;
  }
  auto why = run_worker(options);
  spdlog::error("cannot run a worker: {}", why.message);
  return describe(why.code).exit_code;
}

} // namespace muster
