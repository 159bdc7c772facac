// SPDX-License-Identifier: Apache-2.0

#include "app/commands/command.hpp"
#include "app/settings/configuration.hpp"

#include "actors/node/tls_folder.hpp"
#include "actors/persistence/state_directory.hpp"

#include <fmt/format.h>

#include <filesystem>

namespace muster {

namespace {

using folder_pointer = std::unique_ptr<tls_folder>;

expected<folder_pointer> open_folder(const command_context& context) {
  return configure(context.state_directory(), context.globals.config_file, {})
    .and_then([&](configuration config) {
      return tls_folder::open(context.state_directory(), config.settings.tls,
                              real_environment());
    });
}

/// Prints the result, or what went wrong.
int finish(const command_context& context, const expected<void>& result) {
  return result ? 0 : context.out().error(result.error());
}

// -- init ---------------------------------------------------------------------

int init(const command_context& context, bool replace) {
  auto out = context.out();
  // A running node has read the files, and its clients fit them.
  auto directory = state_directory::open(context.state_directory());
  if (!directory)
    return out.error(directory.error());
  auto result = open_folder(context).and_then([&](folder_pointer folder) {
    auto made = replace ? folder->replace().map([] { return true; })
                        : folder->prepare();
    return made.map([&](bool is_new) {
      if (out.is_json())
        out.print({{"folder", folder->path()}, {"made", is_new}});
      else
        out.line(is_new ? "made certificates in " + folder->path()
                        : folder->path() + " is complete");
    });
  });
  return finish(context, result);
}

// -- issue and revoke ---------------------------------------------------------

int issue(const command_context& context, const std::string& name,
          const std::optional<std::string>& given) {
  auto out = context.out();
  std::error_code code;
  auto target
    = std::filesystem::absolute(given.value_or(name), code).lexically_normal();
  auto result = open_folder(context).and_then([&](folder_pointer folder) {
    return folder->issue(name, target).map([&](certificate_facts facts) {
      if (out.is_json())
        out.print({{"name", name},
                   {"folder", target.string()},
                   {"serial", facts.serial},
                   {"valid_to", facts.valid.to_ms}});
      else
        out.line(fmt::format("{} is for '{}', until {}; keep its key secret",
                             target.string(), name,
                             show_time(facts.valid.to_ms)));
    });
  });
  return finish(context, result);
}

int revoke(const command_context& context, const std::string& name) {
  auto out = context.out();
  auto result = open_folder(context).and_then([&](folder_pointer folder) {
    return folder->revoke(name).map([&](std::size_t count) {
      if (out.is_json())
        out.print({{"name", name}, {"revoked", count}});
      else
        out.line(fmt::format("revoked {} certificate{} of '{}'; to end open "
                             "connections, send SIGHUP to the node",
                             count, count == 1 ? "" : "s", name));
    });
  });
  return finish(context, result);
}

// -- show ---------------------------------------------------------------------

json describe(const issued_certificate& x) {
  // Certificates of this machine are renewed, others are issued again.
  auto is_own = x.facts.name == tls_folder::node_name
                || x.facts.name == tls_folder::local_name;
  return {
    {"name", x.facts.name},
    {"use", x.use == certificate_use::node ? "node" : "client"},
    {"serial", x.facts.serial},
    {"valid_from", x.facts.valid.from_ms},
    {"valid_to", x.facts.valid.to_ms},
    {"renewed_from",
     is_own ? json(tls_folder::renewal_ms(x.facts.valid)) : json(nullptr)},
    {"revoked_at", x.revoked_at_ms ? json(*x.revoked_at_ms) : json(nullptr)}};
}

std::string show_optional_time(const json& x) {
  return x.is_null() ? "-" : show_time(x.get<std::int64_t>());
}

int show(const command_context& context) {
  auto out = context.out();
  auto result = open_folder(context).and_then([&](folder_pointer folder) {
    return folder->authority().and_then([&](certificate_facts authority) {
      return folder->issued().map([&](std::vector<issued_certificate> all) {
        auto certificates = json::array();
        for (auto& x : all)
          certificates.push_back(describe(x));
        if (out.is_json()) {
          out.print({{"folder", folder->path()},
                     {"authority",
                      {{"serial", authority.serial},
                       {"valid_from", authority.valid.from_ms},
                       {"valid_to", authority.valid.to_ms}}},
                     {"certificates", std::move(certificates)}});
          return;
        }
        out.note(fmt::format("the authority in {} is good until {}",
                             folder->path(), show_time(authority.valid.to_ms)));
        std::vector<std::vector<std::string>> rows;
        for (auto& x : certificates)
          rows.push_back({x["name"], x["use"],
                          show_optional_time(x["valid_to"]),
                          show_optional_time(x["renewed_from"]),
                          show_optional_time(x["revoked_at"])});
        out.table({"NAME", "USE", "GOOD UNTIL", "RENEWED FROM", "REVOKED"},
                  rows);
      });
    });
  });
  return finish(context, result);
}

} // namespace

void add_tls_commands(CLI::App& app, command_context& context) {
  auto* parent = app.add_subcommand(
    "tls", "Make and revoke certificates for this node's clients");
  parent->require_subcommand(1);
  auto replace = std::make_shared<bool>(false);
  auto* init_app = parent->add_subcommand(
    "init", "Make what is missing; a node does so when it starts");
  init_app->add_flag("--replace", *replace,
                     "Make everything anew; no certificate of before is good "
                     "any more");
  init_app->callback([=, &context] {
    context.action = [=, &context] { return init(context, *replace); };
  });
  auto name = std::make_shared<std::string>();
  auto folder = std::make_shared<std::optional<std::string>>();
  auto* issue_app
    = parent->add_subcommand("issue", "Make a certificate for a client");
  issue_app->add_option("NAME", *name, "Whom it names")->required();
  issue_app->add_option("--out", *folder,
                        "The folder to make; absent: NAME, here");
  issue_app->callback([=, &context] {
    context.action = [=, &context] { return issue(context, *name, *folder); };
  });
  auto* revoke_app
    = parent->add_subcommand("revoke", "Revoke all certificates of a name");
  revoke_app->add_option("NAME", *name, "Whom they name")->required();
  revoke_app->callback([=, &context] {
    context.action = [=, &context] { return revoke(context, *name); };
  });
  parent
    ->add_subcommand("show", "Show what was issued, until when it is good, and "
                             "when it is renewed")
    ->callback(
      [&context] { context.action = [&context] { return show(context); }; });
}

} // namespace muster
