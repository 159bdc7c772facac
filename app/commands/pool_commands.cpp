// SPDX-License-Identifier: Apache-2.0

#include "app/commands/command.hpp"
#include "app/settings/units.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <ctime>

namespace muster {

namespace {

using failed = tl::unexpected<failure>;

struct pool_options {
  std::string sid;
  std::string request_id;
};

template <class T>
json or_null(const std::optional<T>& x) {
  return x ? json(*x) : json(nullptr);
}

json to_json(const worker_view& x) {
  return {{"sid", x.sid},
          {"pid", x.pid},
          {"session", or_null(x.session)},
          {"state", to_string(x.phase)},
          {"sock", x.sock},
          {"version", x.version},
          {"created_at", x.created_at},
          {"rss_bytes", or_null(x.rss_bytes)},
          {"cpu_ms", or_null(x.cpu_ms)}};
}

/// How old a worker is, as a person wants it: in its largest unit.
std::string age_of(const worker_view& x) {
  using namespace std::chrono;
  std::tm created{};
  if (::strptime(x.created_at.c_str(), "%Y-%m-%dT%H:%M:%S", &created)
      == nullptr)
    return "-";
  auto age = seconds{std::max<std::time_t>(
    system_clock::to_time_t(system_clock::now()) - ::timegm(&created), 0)};
  if (age < minutes{1})
    return fmt::format("{}s", age.count());
  if (age < hours{1})
    return fmt::format("{}m", duration_cast<minutes>(age).count());
  if (age < hours{48})
    return fmt::format("{}h", duration_cast<hours>(age).count());
  return fmt::format("{}d", duration_cast<days>(age).count());
}

expected<int> list(client& node, const console& out, const pool_options&) {
  auto workers = node.pool_list();
  if (!workers)
    return failed{workers.error()};
  auto all = json::array();
  std::vector<std::vector<std::string>> rows;
  for (auto& x : *workers) {
    all.push_back(to_json(x));
    rows.push_back(
      {x.sid, x.pid == 0 ? "-" : std::to_string(x.pid), to_string(x.phase),
       x.session.value_or("-"), age_of(x),
       x.rss_bytes ? fmt::format("{:.1f} MiB",
                                 static_cast<double>(*x.rss_bytes) / (1 << 20))
                   : "-",
       x.cpu_ms ? fmt::format("{} ms", *x.cpu_ms) : "-"});
  }
  if (out.is_json())
    out.print({{"workers", std::move(all)}});
  else
    out.table({"WORKER", "PID", "STATE", "SESSION", "AGE", "MEMORY", "CPU"},
              rows);
  return 0;
}

expected<int> spawn(client& node, const console& out,
                    const pool_options& options) {
  auto worker = node.pool_spawn({{}, options.request_id});
  if (!worker)
    return failed{worker.error()};
  if (out.is_json())
    out.print(to_json(*worker));
  else
    out.line(worker->sid);
  return 0;
}

expected<int> stop(client& node, const console& out,
                   const pool_options& options) {
  auto reply = node.pool_stop(options.sid);
  if (!reply)
    return failed{reply.error()};
  if (!options.sid.empty() && reply->stopped.empty() && reply->errors.empty())
    return fail(errc::not_found,
                fmt::format("worker '{}' not found; 'muster pool list' shows "
                            "those that there are",
                            options.sid));
  auto errors = json::array();
  for (auto& x : reply->errors)
    errors.push_back({{"sid", x.sid},
                      {"code", to_string(x.why.code)},
                      {"message", x.why.message}});
  if (out.is_json()) {
    out.print({{"stopped", reply->stopped}, {"errors", std::move(errors)}});
  } else {
    for (auto& sid : reply->stopped)
      out.line(sid);
    for (auto& x : reply->errors)
      out.error(x.why);
  }
  return reply->errors.empty()
           ? 0
           : describe(reply->errors.front().why.code).exit_code;
}

expected<int> collect(client& node, const console& out, const pool_options&) {
  auto removed = node.pool_collect();
  if (!removed)
    return failed{removed.error()};
  if (out.is_json())
    out.print({{"removed", *removed}});
  else
    for (auto& sid : *removed)
      out.line(sid);
  return 0;
}

} // namespace

void add_pool_commands(CLI::App& app, command_context& context) {
  auto* parent = app.add_subcommand("pool", "Look after the worker processes");
  parent->require_subcommand(1);
  auto o = std::make_shared<pool_options>();
  add_client_command(parent, context, o, "list", "List the workers", list);
  auto* spawn_app
    = add_client_command(parent, context, o, "spawn",
                         "Start a worker that waits for a session", spawn);
  add_request_id(spawn_app, o->request_id);
  auto* stop_app = add_client_command(
    parent, context, o, "stop",
    "Stop a worker, or all; a session loses nothing by it", stop);
  auto is_given = [](const std::string& text) {
    return std::string{text.empty() ? "is empty; leave it out to stop all"
                                    : ""};
  };
  stop_app
    ->add_option("ID", o->sid, "The worker, or the unique beginning of its id")
    ->check(is_given);
  add_client_command(parent, context, o, "gc", "Take out workers that are dead",
                     collect);
}

} // namespace muster
