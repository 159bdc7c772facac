// SPDX-License-Identifier: Apache-2.0

#include "app/commands/command.hpp"
#include "app/commands/follow.hpp"

#include <fmt/format.h>

#include <filesystem>

#include <unistd.h>

namespace muster {

namespace {

struct run_options {
  std::string file;
  std::string ctx = "{}";
  std::optional<std::string> answer_program;
  bool detach = false;
  std::string isolation = "node";
  std::vector<std::string> packages;
  std::optional<std::string> timeout;
  std::string request_id;
};

expected<session_spec> make_spec(const run_options& options) {
  session_spec spec;
  auto code = read_input(options.file);
  if (!code)
    return tl::unexpected<failure>{code.error()};
  spec.code = std::move(*code);
  if (options.file != "-")
    spec.name = std::filesystem::path{options.file}.filename().string();
  spec.ctx = options.ctx;
  if (options.isolation == "worker")
    spec.isolation = session_isolation::worker;
  auto ctx = parse_json(options.ctx, "the value of --ctx");
  if (!ctx)
    return tl::unexpected<failure>{ctx.error()};
  if (!ctx->is_object())
    return fail(errc::invalid_argument,
                fmt::format("the value of --ctx must be a JSON object, not {}",
                            kind_of(*ctx)));
  for (auto& folder : options.packages) {
    std::error_code code_of_path;
    auto path = std::filesystem::absolute(folder, code_of_path);
    if (!std::filesystem::is_directory(path, code_of_path))
      return fail(errc::invalid_argument,
                  fmt::format("the package folder '{}' is no folder", folder));
    spec.packages.push_back(path.lexically_normal().string());
  }
  return spec;
}

follow_options how_to_follow(const run_options& options, const console& out,
                             client::deadline limit) {
  follow_options how;
  how.limit = limit;
  if (options.detach)
    return how;
  how.answer_program = options.answer_program;
  how.ask_person = !options.answer_program && !out.is_json()
                   && ::isatty(STDIN_FILENO) == 1 && out.is_terminal();
  return how;
}

int run(const command_context& context, const run_options& options) {
  auto out = context.out();
  if (options.answer_program && options.answer_program->empty())
    return out.error({errc::invalid_argument, "--answer names no command"});
  auto limit = read_deadline(options.timeout);
  if (!limit)
    return out.error(limit.error());
  auto spec = make_spec(options);
  if (!spec)
    return out.error(spec.error());
  return context.with_client([&](client& node) -> expected<int> {
    auto id = node.spawn(std::move(*spec), {{}, options.request_id});
    if (!id)
      return tl::unexpected<failure>{id.error()};
    out.note(fmt::format("session {}", *id));
    return follow(node, out, *id, how_to_follow(options, out, *limit));
  });
}

} // namespace

void add_run_command(CLI::App& app, command_context& context) {
  auto options = std::make_shared<run_options>();
  auto* run_app = app.add_subcommand("run", "Run a Lua strategy as a session");
  run_app->add_option("FILE", options->file, "The script; - is standard input")
    ->required();
  run_app->add_option("--ctx", options->ctx,
                      "A JSON object: the script's global 'ctx'");
  auto* answer
    = run_app->add_option("--answer", options->answer_program,
                          "A shell command that answers: prompt on its "
                          "standard input, answer on its standard output");
  run_app
    ->add_flag("--detach", options->detach,
               "Print where the session pauses first, and leave it there")
    ->excludes(answer);
  run_app
    ->add_option("--in", options->isolation,
                 "Where the script runs: in the node, or in a worker process")
    ->check(CLI::IsMember({"node", "worker"}));
  // One folder each time: the next word may be FILE.
  run_app
    ->add_option("--packages", options->packages,
                 "A folder that 'require' searches first; may be repeated")
    ->allow_extra_args(false);
  add_request_id(run_app, options->request_id);
  run_app->add_option("--timeout", options->timeout,
                      "End the wait after so long; the session goes on");
  run_app->callback([options, &context] {
    context.action = [options, &context] { return run(context, *options); };
  });
}

} // namespace muster
