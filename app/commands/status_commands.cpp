// SPDX-License-Identifier: Apache-2.0

#include "app/commands/command.hpp"
#include "app/settings/configuration.hpp"
#include "app/settings/units.hpp"

#include "actors/node/tls_folder.hpp"
#include "actors/persistence/database.hpp"
#include "actors/persistence/state_directory.hpp"
#include "actors/pod/pod_document.hpp"
#include "actors/pod/spawned_pod_registry.hpp"
#include "actors/pool/pool_document.hpp"
#include "actors/pool/pool_registry.hpp"
#include "actors/recovery/slot_group.hpp"
#include "actors/recovery/slot_group_document.hpp"
#include "actors/remote/identity.hpp"

#include <caf/config.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <lua.hpp>
#include <sqlite3.h>

#include <filesystem>
#include <muster_version.hpp>
#include <optional>
#include <set>

#include <gnu/libc-version.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace muster {

namespace {

// -- status -------------------------------------------------------------------

/// Prints nested objects as `a.b  value`.
void flatten(const json& value, const std::string& prefix,
             std::vector<std::vector<std::string>>& rows) {
  if (!value.is_structured()) {
    rows.push_back(
      {prefix, value.is_string() ? value.get<std::string>() : value.dump()});
    return;
  }
  for (auto& [key, item] : value.items())
    flatten(item, prefix.empty() ? key : prefix + "." + key, rows);
}

int status(const command_context& context) {
  return context.with_client([&](client& node) -> expected<int> {
    auto text = node.status(std::chrono::seconds(10));
    if (!text)
      return tl::unexpected<failure>{text.error()};
    auto document = json::parse(*text);
    auto out = context.out();
    if (out.is_json()) {
      out.print(document);
      return 0;
    }
    std::vector<std::vector<std::string>> rows;
    flatten(document, "", rows);
    out.table({"COUNTER", "VALUE"}, rows);
    return 0;
  });
}

// -- version ------------------------------------------------------------------

int show_version(const command_context& context) {
  auto out = context.out();
  auto caf = fmt::format("{}.{}.{}", CAF_MAJOR_VERSION, CAF_MINOR_VERSION,
                         CAF_PATCH_VERSION);
  if (out.is_json())
    out.print({{"version", version},
               {"caf", caf},
               {"lua", LUA_RELEASE},
               {"sqlite", sqlite3_libversion()},
               {"libc", gnu_get_libc_version()}});
  else
    out.line(fmt::format("muster {} (CAF {}, {}, SQLite {}, glibc {})", version,
                         caf, LUA_RELEASE, sqlite3_libversion(),
                         gnu_get_libc_version()));
  return 0;
}

// -- doctor -------------------------------------------------------------------

/// One thing that was looked at.
struct finding {
  std::string what;
  bool is_fine = true;
  std::string detail;
  errc code = errc::internal;
};

finding look_at_config(const command_context& context) {
  auto config
    = configure(context.state_directory(), context.globals.config_file, {});
  if (!config)
    return {"configuration", false, config.error().message,
            config.error().code};
  return {"configuration", true,
          config->file.empty() ? "no file, all defaults" : config->file};
}

finding look_at_room(const std::string& directory) {
  struct statvfs info {};
  if (::statvfs(directory.c_str(), &info) != 0)
    return {"room on disk", true, "the state directory is not there yet"};
  auto bytes = static_cast<std::uint64_t>(info.f_bavail) * info.f_frsize;
  auto mib = bytes >> 20;
  return {"room on disk", mib >= 100, fmt::format("{} MiB free", mib),
          errc::storage_full};
}

finding look_at_node(const command_context& context) {
  auto link = context.connect();
  if (!link) {
    // That none is running is no fault.
    auto fine = link.error().code == errc::unreachable;
    return {"node", fine, link.error().message, link.error().code};
  }
  auto status = (*link)->status(std::chrono::seconds(10));
  if (!status)
    return {"node", false, status.error().message, status.error().code};
  auto document = json::parse(*status);
  auto writable = document["storage"].value("writable", true);
  return {"node", writable,
          fmt::format("version {}, up for {} s{}",
                      document["version"].get<std::string>(),
                      document["uptime_ms"].get<std::int64_t>() / 1'000,
                      writable ? "" : ", cannot write"),
          errc::storage_failed};
}

/// Reads the whole database, if no node has it.
finding look_at_database(const std::string& directory) {
  std::error_code code;
  if (!std::filesystem::exists(directory + "/" + database::file_name, code))
    return {"database", true, "there is none yet"};
  auto lock = state_directory::open(directory);
  if (!lock && lock.error().code == errc::in_use)
    return {"database", true, "in use by a node, which checked it"};
  if (!lock)
    return {"database", false, lock.error().message, lock.error().code};
  persistence_settings settings;
  settings.directory = directory;
  settings.check_max_bytes = UINT64_MAX;
  auto opened = database::open(settings, real_environment());
  if (!opened)
    return {"database", false, opened.error().message, opened.error().code};
  return {"database", true,
          fmt::format("sound, {} sessions wait for answers",
                      (*opened)->count(session_phase::paused))};
}

/// What pods are lent has to agree, as a start needs it.
expected<void> check_loans(const pod_document& x, const std::string& path) {
  if (x.scopes.allocations.empty())
    return {};
  scope_table loans{pod_operator, pod_settings{}.grant};
  return loans.restore(x.scopes).map_error([&](const failure& why) {
    return failure{why.code, fmt::format("'{}': {}", path, why.message)};
  });
}

/// Reads the rolls that are kept beside the database.
finding look_at_documents(const std::string& directory) {
  std::size_t count = 0;
  std::vector<failure> faults;
  std::error_code code;
  auto look = [&](const std::string& path, auto read) {
    if (!std::filesystem::exists(path, code))
      return;
    ++count;
    auto document = read_input(path).and_then(
      [&](const std::string& text) { return read(text, path); });
    if (!document)
      faults.push_back(document.error());
  };
  look(directory + "/" + pool_registry_document, read_pool_document);
  look(directory + "/" + pod_registry_document, [](const std::string& text,
                                                   const std::string& path) {
    return read_pod_document(text, path).and_then([&](const pod_document& x) {
      return check_loans(x, path);
    });
  });
  std::set<std::string> groups;
  auto folder = directory + "/" + slot_group_folder;
  for (auto& entry : std::filesystem::directory_iterator{folder, code})
    if (entry.path().extension() == ".json")
      groups.insert(entry.path());
  for (auto& path : groups)
    look(path, read_slot_group);
  if (!faults.empty()) {
    std::vector<std::string> texts;
    for (auto& x : faults)
      texts.push_back(x.message);
    return {"documents", false, fmt::format("{}", fmt::join(texts, "; ")),
            faults.front().code};
  }
  return {"documents", true,
          count == 0 ? "there are none yet" : fmt::format("{} sound", count)};
}

constexpr std::int64_t day_ms = 24ll * 60 * 60 * 1'000;

/// For how long the certificates of a folder are good.
std::string
show_days(const certificate_facts& authority, const certificate_facts& node,
          const certificate_facts& local,
          const std::vector<issued_certificate>& issued, std::int64_t now_ms) {
  auto days = [=](const certificate_facts& x) {
    return (x.valid.to_ms - now_ms) / day_ms;
  };
  auto out = fmt::format("the authority is good for {} days, '{}' for {}, "
                         "'{}' for {}",
                         days(authority), node.name, days(node), local.name,
                         days(local));
  // Of the others, the one whose holder needs a new one first.
  const certificate_facts* first = nullptr;
  for (auto& x : issued) {
    auto is_other = !x.revoked_at_ms && x.facts.name != tls_folder::node_name
                    && x.facts.name != tls_folder::local_name;
    if (is_other && (!first || x.facts.valid.to_ms < first->valid.to_ms))
      first = &x.facts;
  }
  if (first != nullptr)
    out += fmt::format(", of the others '{}' ends first, in {}", first->name,
                       days(*first));
  return out;
}

/// Reads every file with certificates as a node and a client here will.
finding look_at_certificates(const std::string& directory) {
  auto env = real_environment();
  auto now = env.wall_ms();
  auto folder = tls_folder::open(directory, {}, env);
  if (folder ? !(*folder)->exists() : folder.error().code == errc::not_found)
    return {"certificates", true, "there are none yet"};
  auto text = folder.and_then([&](auto& made) {
    auto path = made->path();
    return load_node(path, now).and_then([&](const identity& node) {
      return load_client(path, now).and_then([&](const identity& local) {
        return read_tls_file(path, tls_file::authority_key)
          .and_then([&](const std::string&) { return made->authority(); })
          .and_then([&](const certificate_facts& authority) {
            return made->issued().map([&](const auto& issued) {
              return show_days(authority, node.certificate, local.certificate,
                               issued, now);
            });
          });
      });
    });
  });
  if (!text)
    return {"certificates", false, text.error().message, text.error().code};
  return {"certificates", true, *text};
}

int doctor(const command_context& context) {
  auto out = context.out();
  auto directory = context.state_directory();
  finding all[]
    = {look_at_config(context),         look_at_room(directory),
       look_at_database(directory),     look_at_documents(directory),
       look_at_certificates(directory), look_at_node(context)};
  int exit_code = 0;
  auto documents = json::array();
  std::vector<std::vector<std::string>> rows;
  for (auto& x : all) {
    if (!x.is_fine && exit_code == 0)
      exit_code = describe(x.code).exit_code;
    documents.push_back(
      {{"check", x.what}, {"ok", x.is_fine}, {"detail", x.detail}});
    rows.push_back({x.is_fine ? "ok" : "FAULT", x.what, x.detail});
  }
  if (out.is_json())
    out.print({{"state_dir", directory}, {"checks", std::move(documents)}});
  else
    out.table({"", "CHECK", "DETAIL"}, rows);
  return exit_code;
}

void add(CLI::App& app, command_context& context, const char* name,
         const char* help, int (*run)(const command_context&)) {
  app.add_subcommand(name, help)->callback([&context, run] {
    context.action = [&context, run] { return run(context); };
  });
}

} // namespace

void add_status_commands(CLI::App& app, command_context& context) {
  add(app, context, "status", "Show how the node is doing", status);
  add(app, context, "doctor", "Look for what could keep a node from working",
      doctor);
  add(app, context, "version", "Show the versions of everything", show_version);
}

} // namespace muster
