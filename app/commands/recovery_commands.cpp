// SPDX-License-Identifier: Apache-2.0

#include "app/commands/command.hpp"
#include "app/commands/pod_order_options.hpp"
#include "app/settings/units.hpp"

#include "messages/recovery_json.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <thread>

namespace muster {

namespace {

using failed = tl::unexpected<failure>;

/// How often a group is looked at that somebody watches.
constexpr std::chrono::milliseconds watch_interval{250};

/// What a restart policy may have.
constexpr std::chrono::milliseconds longest_time = std::chrono::hours(24);

struct group_options {
  std::string name;
  std::string request_id;
  std::uint8_t slots = 0;
  bool watch = false;
  // -- of create --------------------------------------------------------------
  std::string kind;
  pod_order_options pod;
  std::string initial = "500ms";
  std::string max = "60s";
  std::string max_restarts = "5/60s";
  std::string pause = "5m";
  bool gives_up = false;
};

std::string dash_if_empty(const std::string& text) {
  return text.empty() ? "-" : text;
}

// -- reading ------------------------------------------------------------------

/// Reads `N/PERIOD`, or `none`.
expected<void> read_intensity(const std::string& text, restart_policy& to) {
  if (text == "none") {
    to.max_restarts = 0;
    return {};
  }
  auto slash = text.find('/');
  auto count = parse_count(text.substr(0, slash));
  auto period = parse_duration(
    slash == std::string::npos ? std::string{} : text.substr(slash + 1));
  if (!count || !period || *count < 1 || *count > 1'000 || period->count() < 1
      || *period > longest_time)
    return fail(errc::invalid_argument,
                fmt::format("--max-restarts: '{}' is neither a number up to "
                            "1000 and a time up to 24h, such as 5/60s, nor "
                            "none",
                            text));
  to.max_restarts = static_cast<std::uint32_t>(*count);
  to.period = *period;
  return {};
}

/// Takes a number as it is written: 010 is ten.
CLI::Validator slot_count() {
  return {[](std::string& text) {
            auto number = parse_count(text);
            if (!number || *number > 255)
              return fmt::format("'{}' is no number from 0 to 255", text);
            text = std::to_string(*number);
            return std::string{};
          },
          "", ""};
}

expected<slot_group_definition> read_definition(const group_options& x) {
  slot_group_definition out;
  out.name = x.name;
  out.slots = x.slots;
  if (x.kind != to_string(slot_kind::worker)
      && x.kind != to_string(slot_kind::pod))
    return fail(errc::invalid_argument,
                fmt::format("--kind: '{}' is neither worker nor pod", x.kind));
  out.kind
    = x.kind == to_string(slot_kind::pod) ? slot_kind::pod : slot_kind::worker;
  auto pod = read_pod_order(x.pod);
  if (!pod)
    return failed{pod.error()};
  out.pod = std::move(*pod);
  struct {
    const char* option;
    const std::string& text;
    std::chrono::milliseconds least;
    std::chrono::milliseconds& to;
  } times[]
    = {{"--backoff-initial", x.initial, {}, out.policy.initial},
       {"--backoff-max", x.max, std::chrono::milliseconds(1), out.policy.max},
       {"--pause", x.pause, std::chrono::milliseconds(1), out.policy.pause}};
  for (auto& [option, text, least, to] : times) {
    auto read = read_duration(option, text);
    if (!read)
      return failed{read.error()};
    if (*read < least || *read > longest_time)
      return fail(errc::invalid_argument,
                  fmt::format("{}: '{}' is not from {} ms to 24h", option, text,
                              least.count()));
    to = *read;
  }
  if (out.policy.max < out.policy.initial)
    return fail(errc::invalid_argument,
                fmt::format("--backoff-max: '{}' is less than "
                            "--backoff-initial, which is '{}'",
                            x.max, x.initial));
  if (auto read = read_intensity(x.max_restarts, out.policy); !read)
    return failed{read.error()};
  out.policy.gives_up = x.gives_up;
  if (auto fine = check(out); !fine)
    return failed{fine.error()};
  return out;
}

// -- showing ------------------------------------------------------------------

/// Such as `3 workers`.
std::string count_of(const slot_group_definition& x) {
  return fmt::format("{} {}{}", x.slots, to_string(x.kind),
                     x.slots == 1 ? "" : "s");
}

std::string summary_of(const slot_group_view& x) {
  auto healthy = std::count_if(x.slots.begin(), x.slots.end(), [](auto& slot) {
    return slot.health == slot_health::healthy;
  });
  return fmt::format("group '{}': {} of {} healthy{}", x.definition.name,
                     healthy, count_of(x.definition),
                     x.is_deleted ? ", on its way out" : "");
}

void print_group(const console& out, const slot_group_view& x) {
  if (out.is_json()) {
    out.print(to_json(x));
    return;
  }
  out.note(summary_of(x));
  std::vector<std::vector<std::string>> rows;
  for (auto& slot : x.slots)
    rows.push_back({std::to_string(slot.index),
                    std::string{to_string(slot.health)},
                    slot.pid == 0 ? "-" : std::to_string(slot.pid),
                    slot.session.value_or("-"), std::to_string(slot.restarts),
                    fmt::format("{} ms", slot.backoff_ms),
                    dash_if_empty(one_line(slot.last_error))});
  out.table(
    {"SLOT", "STATE", "PID", "SESSION", "RESTARTS", "BACKOFF", "LAST ERROR"},
    rows);
}

/// Whether a change is worth to be shown: time that goes by is none.
bool looks_alike(slot_group_view a, slot_group_view b) {
  for (auto* x : {&a, &b})
    for (auto& slot : x->slots)
      slot.backoff_ms = slot.backoff_ms > 0 ? 1 : 0;
  return a == b;
}

// -- groups -------------------------------------------------------------------

expected<int> create(client& node, const console& out,
                     const group_options& options) {
  auto what = read_definition(options);
  if (!what)
    return failed{what.error()};
  auto group = node.group_create(*what, {{}, options.request_id});
  if (!group)
    return failed{group.error()};
  if (out.is_json())
    out.print(to_json(*group));
  else
    out.line(
      fmt::format("group '{}' is kept at {}", what->name, count_of(*what)));
  return 0;
}

expected<int> list(client& node, const console& out, const group_options&) {
  auto groups = node.group_list();
  if (!groups)
    return failed{groups.error()};
  if (out.is_json()) {
    out.print(to_json(*groups));
    return 0;
  }
  std::vector<std::vector<std::string>> rows;
  for (auto& x : *groups) {
    if (!x.error.empty()) {
      rows.push_back(
        {x.definition.name, "-", "-", "-", "-", "-", one_line(x.error)});
      continue;
    }
    auto count = [&](slot_health health) {
      return std::to_string(
        std::count_if(x.slots.begin(), x.slots.end(),
                      [=](auto& slot) { return slot.health == health; }));
    };
    rows.push_back(
      {x.definition.name, std::string{to_string(x.definition.kind)},
       std::to_string(x.definition.slots), count(slot_health::healthy),
       count(slot_health::backing_off), count(slot_health::failed), "-"});
  }
  out.table(
    {"GROUP", "KIND", "SLOTS", "HEALTHY", "BACKING OFF", "FAILED", "ERROR"},
    rows);
  return 0;
}

expected<int> show(client& node, const console& out,
                   const group_options& options) {
  std::optional<slot_group_view> last;
  do {
    auto group = node.group_show(options.name);
    if (!group)
      return failed{group.error()};
    if (!last || !looks_alike(*last, *group))
      print_group(out, *group);
    last = std::move(*group);
    if (options.watch)
      std::this_thread::sleep_for(watch_interval);
  } while (options.watch && out.can_write());
  return 0;
}

/// Prints a group behind a change.
expected<int> changed(const console& out, expected<slot_group_view> group) {
  if (!group)
    return failed{group.error()};
  print_group(out, *group);
  return 0;
}

expected<int> scale(client& node, const console& out,
                    const group_options& options) {
  return changed(out, node.group_scale(options.name, options.slots));
}

expected<int> reset(client& node, const console& out,
                    const group_options& options) {
  return changed(out, node.group_reset(options.name));
}

expected<int> remove(client& node, const console& out,
                     const group_options& options) {
  if (auto gone = node.group_delete(options.name); !gone)
    return failed{gone.error()};
  if (out.is_json())
    out.print({{"name", options.name}, {"status", "deleted"}});
  else
    out.line(fmt::format("deleted group '{}'", options.name));
  return 0;
}

// -- recovery -----------------------------------------------------------------

expected<int> handlers(client& node, const console& out, const group_options&) {
  auto all = node.recovery_list();
  if (!all)
    return failed{all.error()};
  if (out.is_json()) {
    out.print(to_json(*all));
    return 0;
  }
  std::vector<std::vector<std::string>> rows;
  for (auto& x : *all)
    rows.push_back(
      {x.name, std::string{to_string(x.policy)}, dash_if_empty(x.owner),
       std::to_string(x.runs), std::to_string(x.recovered),
       fmt::format("{} ms", x.last_ms), std::to_string(x.times_late),
       dash_if_empty(one_line(x.last_error))});
  out.table({"HANDLER", "POLICY", "PEER", "RUNS", "RECOVERED", "LAST", "LATE",
             "LAST ERROR"},
            rows);
  return 0;
}

expected<int> run_pass(client& node, const console& out, const group_options&) {
  auto pass = node.recovery_run();
  if (!pass)
    return failed{pass.error()};
  if (out.is_json()) {
    out.print(to_json(*pass));
    return 0;
  }
  for (auto& slot : pass->slots)
    out.line(fmt::format("{} slot {}", slot.handler, slot.index));
  out.note(fmt::format("pass {}: {} slots are back", pass->number,
                       pass->slots.size()));
  for (auto& name : pass->late)
    out.note(fmt::format("'{}' has not answered", name));
  for (auto& name : pass->failed)
    out.note(fmt::format("'{}' has failed", name));
  return 0;
}

} // namespace

void add_recovery_commands(CLI::App& app, command_context& context) {
  auto o = std::make_shared<group_options>();
  auto* group = app.add_subcommand(
    "group", "Look after groups of workers or pods that are kept alive");
  group->require_subcommand(1);
  auto add = [&](const char* name, const char* help, auto run) {
    auto* command = add_client_command(group, context, o, name, help, run);
    command->add_option("NAME", o->name, "The group")->required();
    return command;
  };
  auto* create_app = add("create", "Make a group, and keep it full", create);
  create_app->add_option("--kind", o->kind, "worker or pod")->required();
  create_app->add_option("--slots", o->slots, "How many, 255 at most")
    ->transform(slot_count())
    ->required();
  create_app->add_option("--backoff-initial", o->initial,
                         "The delay behind the first failure of a slot; 500ms "
                         "otherwise");
  create_app->add_option("--backoff-max", o->max,
                         "The longest of the delays, each of which is twice "
                         "the one before; 60s otherwise");
  create_app->add_option("--max-restarts", o->max_restarts,
                         "The failure that makes this many, N/PERIOD, is "
                         "followed by a pause; 5/60s otherwise, none for none");
  create_app->add_option("--pause", o->pause, "That pause; 5m otherwise");
  create_app->add_flag("--give-up", o->gives_up,
                       "Instead of a pause, wait for 'group reset'");
  add_pod_order_options(create_app, context, o->pod);
  add_request_id(create_app, o->request_id);
  add_client_command(group, context, o, "list", "List the groups", list);
  add("show", "Show the slots of a group", show)
    ->add_flag("--watch", o->watch, "Show them again whenever they change");
  add("scale", "Change how many slots a group has", scale)
    ->add_option("SLOTS", o->slots, "How many, 255 at most")
    ->transform(slot_count())
    ->required();
  add("reset", "Forget the failures of a group: nothing waits any more", reset);
  add("delete", "Stop all that is in a group, and delete it", remove);
  auto* recovery
    = app.add_subcommand("recovery", "Look after those who put back what died");
  recovery->require_subcommand(1);
  add_client_command(recovery, context, o, "list",
                     "List them, in the order in which they are asked",
                     handlers);
  add_client_command(recovery, context, o, "run", "Ask them all now", run_pass);
}

} // namespace muster
