// SPDX-License-Identifier: Apache-2.0

#include "app/commands/command.hpp"
#include "app/commands/follow.hpp"
#include "app/output/session_text.hpp"

#include "messages/session_json.hpp"

#include <fmt/format.h>

#include <chrono>
#include <thread>

namespace muster {

namespace {

using failed = tl::unexpected<failure>;

/// How often a log that is followed is looked at.
constexpr auto log_interval = std::chrono::milliseconds(300);

/// The options of all session commands; each uses some.
struct session_options {
  std::string id;
  std::vector<std::string> states;
  std::string before;
  std::uint32_t limit = 0;
  bool full = false;
  bool history = false;
  std::optional<std::string> pending;
  std::string query_id;
  std::optional<std::string> text;
  std::optional<std::string> batch;
  std::optional<std::string> usage;
  bool no_wait = false;
  std::string request_id;
  std::optional<std::string> timeout;
  std::optional<std::string> reason;
  std::string until = "end";
  std::uint64_t after = 0;
  bool follow = false;
  bool transcript = false;
  std::optional<std::string> answer_program;
  std::string older_than = "0s";
};

using options_ptr = std::shared_ptr<session_options>;

// -- list ---------------------------------------------------------------------

expected<int> list(client& node, const console& out,
                   const session_options& options) {
  session_list_request request;
  for (auto& state : options.states)
    request.phases.push_back(*session_phase_from(state));
  request.before = options.before;
  request.limit = options.limit;
  auto page = node.list(std::move(request));
  if (!page)
    return failed{page.error()};
  if (out.is_json()) {
    auto sessions = json::array();
    for (auto& x : page->sessions)
      sessions.push_back(summary_json(x));
    out.print({{"sessions", std::move(sessions)}, {"more", page->more}});
    return 0;
  }
  std::vector<std::vector<std::string>> rows;
  for (auto& x : page->sessions)
    rows.push_back({x.session_id, to_string(x.phase), to_string(x.kind),
                    std::to_string(x.pending), show_time(x.created_ms),
                    show_time(x.last_active_ms)});
  out.table({"SESSION", "STATE", "KIND", "PENDING", "CREATED", "LAST ACTIVE"},
            rows);
  if (page->more)
    out.note(fmt::format("there are older ones: add --before {}",
                         page->sessions.back().session_id));
  return 0;
}

// -- show ---------------------------------------------------------------------

expected<snapshot_options> read_snapshot_options(const session_options& o) {
  snapshot_options result;
  result.history = o.history;
  if (!o.pending)
    return result;
  // A preset's name, or an object.
  auto value = json::parse(*o.pending, nullptr, false);
  auto filter
    = pending_filter_from(value.is_discarded() ? json(*o.pending) : value, 200);
  if (!filter)
    return failed{filter.error()};
  result.pending = *filter;
  return result;
}

expected<int> show(client& node, const console& out,
                   const session_options& options) {
  auto what = read_snapshot_options(options);
  if (!what)
    return failed{what.error()};
  auto view = node.show(options.id);
  if (!view)
    return failed{view.error()};
  if (!options.full) {
    print_session(out, *view);
    return 0;
  }
  auto text = node.snapshot(view->session_id, *what);
  if (!text)
    return failed{text.error()};
  auto snapshot = json::parse(*text);
  if (out.is_json()) {
    auto document = event_json(*view);
    document["snapshot"] = std::move(snapshot);
    out.print(document);
    return 0;
  }
  print_session(out, *view);
  out.line(snapshot.dump(2));
  return 0;
}

// -- feed ---------------------------------------------------------------------

/// `[{"query_id","response","usage"?}]`
expected<std::vector<answer>> read_batch(const std::string& text) {
  auto items = parse_json(text, "the batch");
  if (!items)
    return failed{items.error()};
  if (!items->is_array() || items->empty())
    return fail(errc::invalid_argument,
                "the batch must be a non-empty JSON array of "
                "{\"query_id\",\"response\"}");
  std::vector<answer> answers;
  for (auto& item : *items) {
    if (!item.is_object() || !item.contains("query_id")
        || !item["query_id"].is_string() || !item.contains("response")
        || !item["response"].is_string())
      return fail(errc::invalid_argument,
                  fmt::format("item {} of the batch needs the texts 'query_id' "
                              "and 'response'",
                              answers.size() + 1));
    answer a{item["query_id"], item["response"], std::nullopt};
    if (item.contains("usage")) {
      auto usage = usage_from(item["usage"]);
      if (!usage)
        return failed{usage.error()};
      a.usage = *usage;
    }
    answers.push_back(std::move(a));
  }
  return answers;
}

expected<std::vector<answer>> read_answers(const session_options& options) {
  if (options.batch)
    return read_input(*options.batch).and_then(read_batch);
  answer a;
  a.query_id = options.query_id;
  if (options.usage) {
    auto usage
      = parse_json(*options.usage, "the value of --usage").and_then(usage_from);
    if (!usage)
      return failed{usage.error()};
    a.usage = *usage;
  }
  if (options.text && *options.text != "-") {
    a.response = *options.text;
  } else {
    auto text = read_input("-");
    if (!text)
      return failed{text.error()};
    a.response = without_newline(std::move(*text));
  }
  return std::vector<answer>{std::move(a)};
}

void print_batch(const console& out, const feed_reply& reply) {
  if (!out.is_json()) {
    for (auto& x : reply.results)
      if (x.refused)
        out.note(fmt::format("{}: {}", x.query_id, x.refused->message));
    print_feed(out, reply);
    return;
  }
  auto document = feed_json(reply);
  auto results = json::array();
  for (auto& x : reply.results) {
    json item{{"query_id", x.query_id}, {"accepted", !x.refused}};
    if (x.refused)
      item["error"] = {{"code", to_string(x.refused->code)},
                       {"message", x.refused->message}};
    results.push_back(std::move(item));
  }
  document["results"] = std::move(results);
  out.print(document);
}

expected<int> feed(client& node, const console& out,
                   const session_options& options, std::vector<answer> answers,
                   client::deadline limit) {
  call_options how{limit, options.request_id};
  auto reply = options.no_wait
                 ? node.resume(options.id, std::move(answers), how)
                 : node.feed(options.id, std::move(answers), how);
  if (!reply)
    return failed{reply.error()};
  if (options.batch) {
    print_batch(out, *reply);
    for (auto& x : reply->results)
      if (x.refused)
        return describe(x.refused->code).exit_code;
    return exit_code(reply->session);
  }
  if (auto& refused = reply->results.front().refused)
    return failed{*refused};
  print_feed(out, *reply);
  return exit_code(reply->session);
}

// -- cancel, wait, follow -----------------------------------------------------

expected<int> cancel(client& node, const console& out,
                     const session_options& options) {
  auto view = node.cancel(options.id, {cancel_code::user, options.reason, 0});
  if (!view)
    return failed{view.error()};
  // A session that had ended before stays as it is.
  if (out.is_json())
    out.print({{"session_id", view->session_id},
               {"status", event_json(*view)["status"]}});
  else
    print_session(out, *view);
  return 0;
}

expected<int> wait(client& node, const console& out,
                   const session_options& options, client::deadline limit) {
  auto what = options.until == "pause" ? wait_for::event : wait_for::end;
  auto view = node.await(options.id, what, limit);
  if (!view)
    return failed{view.error()};
  print_session(out, *view);
  return exit_code(*view);
}

// -- watch --------------------------------------------------------------------

/// One line of a watch for a person.
std::string progress_text(const json& event) {
  auto kind = event.value("kind", "");
  if (kind == "state_transition")
    return fmt::format("{} -> {}", event["from"].get<std::string>(),
                       event["to"].get<std::string>());
  if (kind == "pause_requested") {
    std::string text = "asks";
    for (auto& q : event["info"]["prompts"])
      text += fmt::format("\n  {} {}", q["query_id"].get<std::string>(),
                          one_line(q["prompt"].get<std::string>(), 100));
    return text;
  }
  if (kind == "llm_call_begin" || kind == "llm_call_end")
    return fmt::format("{} {}", kind, event["query_id"].get<std::string>());
  if (kind == "lagged")
    return fmt::format("{} events were missed", event["n"].dump());
  return kind;
}

expected<int> watch(client& node, const console& out,
                    const session_options& options, client::deadline limit) {
  auto see = [&](const observed_event& event) {
    for (auto& text : event.progress) {
      auto document = json::parse(text);
      document["session_id"] = event.session_id;
      if (event.seq > 0)
        document["seq"] = event.seq;
      if (out.is_json())
        out.print(document);
      else
        out.line(fmt::format("{:>5}  {}", event.seq, progress_text(document)));
    }
    return out.can_write();
  };
  auto begun = node.observe(options.id, options.after, see, limit);
  if (!begun)
    return failed{begun.error()};
  auto view = node.show(begun->session_id);
  return view ? exit_code(*view) : 0;
}

// -- log ----------------------------------------------------------------------

void print_log_line(const console& out, const std::string& id,
                    const log_line& line) {
  if (out.is_json()) {
    auto document = log_json(line);
    document["session_id"] = id;
    out.print(document);
  } else {
    out.line(fmt::format("{} {:<5} {}", show_time(line.at_ms), line.level,
                         line.message));
  }
}

expected<int> follow_log(client& node, const console& out,
                         const std::string& id, std::uint64_t after) {
  for (;;) {
    // Asked first: what is written behind it is read in the next round.
    auto view = node.show(id);
    if (!view)
      return failed{view.error()};
    auto lines = node.log(id, after);
    if (!lines)
      return failed{lines.error()};
    for (auto& line : *lines) {
      print_log_line(out, view->session_id, line);
      after = line.number;
    }
    if (is_terminal(view->phase) || !out.can_write())
      return 0;
    std::this_thread::sleep_for(log_interval);
  }
}

expected<int> show_transcript(client& node, const console& out,
                              const std::string& id) {
  auto text = node.transcript(id);
  if (!text)
    return failed{text.error()};
  auto exchanges = json::parse(*text);
  if (out.is_json()) {
    out.print({{"session_id", id}, {"transcript", std::move(exchanges)}});
    return 0;
  }
  for (auto& x : exchanges)
    out.line(fmt::format(
      "-- {} --\n{}\n-- answer --\n{}", x["query_id"].get<std::string>(),
      x["prompt"].get<std::string>(),
      x["response"].is_string() ? x["response"].get<std::string>()
                                : "(none yet)"));
  return 0;
}

expected<int> log(client& node, const console& out,
                  const session_options& options) {
  // The id may be shortened; what is printed has the whole one.
  auto view = node.show(options.id);
  if (!view)
    return failed{view.error()};
  auto& id = view->session_id;
  if (options.transcript)
    return show_transcript(node, out, id);
  if (options.follow)
    return follow_log(node, out, id, options.after);
  auto lines = node.log(id, options.after);
  if (!lines)
    return failed{lines.error()};
  if (!out.is_json()) {
    for (auto& line : *lines)
      print_log_line(out, id, line);
    return 0;
  }
  auto all = json::array();
  for (auto& line : *lines)
    all.push_back(log_json(line));
  out.print({{"session_id", id}, {"lines", std::move(all)}});
  return 0;
}

// -- prune --------------------------------------------------------------------

expected<int> prune(client& node, const console& out,
                    std::chrono::milliseconds older_than) {
  auto count = node.prune(older_than);
  if (!count)
    return failed{count.error()};
  if (out.is_json())
    out.print({{"deleted", *count}});
  else
    out.line(
      fmt::format("{} session{} deleted", *count, *count == 1 ? "" : "s"));
  return 0;
}

// -- the command line ---------------------------------------------------------

/// Adds a command that may end its wait.
template <class F>
CLI::App* add_waiting(CLI::App* parent, command_context& context,
                      options_ptr options, const char* name, const char* help,
                      F run) {
  auto limited = [=](client& node, const console& out,
                     const session_options& given) -> expected<int> {
    auto limit = read_deadline(given.timeout);
    if (!limit)
      return failed{limit.error()};
    return run(node, out, given, *limit);
  };
  auto* command
    = add_client_command(parent, context, options, name, help, limited);
  command->add_option("--timeout", options->timeout,
                      "End the wait after so long, not the work");
  return command;
}

void add_feed(CLI::App* parent, command_context& context, options_ptr options) {
  auto run = [](client& node, const console& out, const session_options& given,
                client::deadline limit) -> expected<int> {
    auto answers = read_answers(given);
    if (!answers)
      return failed{answers.error()};
    return feed(node, out, given, std::move(*answers), limit);
  };
  auto* command
    = add_waiting(parent, context, options, "feed", "Answer a query", run);
  command->add_option("ID", options->id, "The session")->required();
  auto* text = command->add_option("TEXT", options->text,
                                   "The answer; - or absent is standard input");
  auto* query = command->add_option("--query", options->query_id,
                                    "The query; absent if there is only one");
  auto* usage = command->add_option(
    "--usage", options->usage,
    R"(What it cost: {"prompt_tokens":N,"completion_tokens":N})");
  command
    ->add_option("--batch", options->batch,
                 "Answers to several queries: a file, or - for standard "
                 "input, with [{\"query_id\",\"response\"}]")
    ->excludes(text)
    ->excludes(query)
    ->excludes(usage);
  add_request_id(command, options->request_id);
  command->add_flag("--no-wait", options->no_wait,
                    "Return when the answer is on disk, not when the session "
                    "pauses or ends");
}

} // namespace

void add_session_commands(CLI::App& app, command_context& context) {
  auto* parent = app.add_subcommand("session", "Look after sessions");
  parent->require_subcommand(1);
  auto o = std::make_shared<session_options>();
  auto with_id = [&](CLI::App* command) {
    command->add_option("ID", o->id, "The session, or a unique beginning")
      ->required();
    return command;
  };

  auto* list_app
    = add_client_command(parent, context, o, "list", "List sessions", list);
  list_app->add_option("--state", o->states, "Only those in this state")
    ->check(
      CLI::IsMember({"running", "paused", "done", "failed", "cancelled"}));
  list_app->add_option("--before", o->before, "Only those older than this one");
  list_app->add_option("--limit", o->limit, "At most so many");

  auto* show_app = with_id(
    add_client_command(parent, context, o, "show", "Show a session", show));
  show_app->add_flag("--full", o->full, "Add metrics and the newest log lines");
  show_app->add_flag("--history", o->history,
                     "With --full: add the newest prompts and answers");
  show_app->add_option("--pending", o->pending,
                       "With --full: what to show of open queries: meta, "
                       "preview, full or a JSON object");

  add_feed(parent, context, o);

  auto* cancel_app = with_id(
    add_client_command(parent, context, o, "cancel", "End a session", cancel));
  cancel_app->add_option("--reason", o->reason, "Why");

  auto* wait_app = with_id(add_waiting(parent, context, o, "wait",
                                       "Wait for the end of a session", wait));
  wait_app->add_option("--until", o->until, "What to wait for")
    ->check(CLI::IsMember({"pause", "end"}));

  auto* watch_app = with_id(add_waiting(
    parent, context, o, "watch", "Show what happens to a session", watch));
  watch_app->add_option("--after", o->after, "Only events above this number");

  auto* log_app = with_id(add_client_command(parent, context, o, "log",
                                             "Show what a session wrote", log));
  log_app->add_flag("--follow", o->follow, "Go on until the session ends");
  log_app->add_option("--after", o->after, "Only lines above this number");
  log_app->add_flag("--transcript", o->transcript,
                    "Show prompts and answers instead");

  auto follow_session = [](client& node, const console& out,
                           const session_options& given,
                           client::deadline limit) {
    return follow(node, out, given.id, {given.answer_program, false, limit});
  };
  auto* follow_app = with_id(
    add_waiting(parent, context, o, "follow",
                "Answer a session's queries until it ends", follow_session));
  follow_app
    ->add_option("--answer", o->answer_program,
                 "A shell command that answers, as with 'muster run'")
    ->required();

  auto prune_ended = [](client& node, const console& out,
                        const session_options& given) -> expected<int> {
    auto age = read_duration("--older-than", given.older_than);
    if (!age)
      return failed{age.error()};
    return prune(node, out, *age);
  };
  auto* prune_app = add_client_command(parent, context, o, "prune",
                                       "Delete ended sessions", prune_ended);
  prune_app->add_option("--older-than", o->older_than,
                        "Only those that ended so long ago");
}

} // namespace muster
