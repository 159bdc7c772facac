// SPDX-License-Identifier: Apache-2.0

#include "app/client/connect_node.hpp"

#include "actors/process/environment.hpp"
#include "actors/remote/connect.hpp"
#include "actors/remote/socket.hpp"

#include <caf/all.hpp>
#include <fmt/format.h>

#include <filesystem>
#include <future>
#include <memory>
#include <optional>

namespace muster {

namespace {

/// Reads what to show the node; nothing without TLS.
expected<std::optional<identity>> read_identity(const node_location& where) {
  std::error_code code;
  if (where.tls.empty()) {
    if (where.host != "127.0.0.1")
      return fail(errc::not_allowed,
                  fmt::format("without TLS, a client connects to 127.0.0.1 and "
                              "not to '{}'",
                              where.host));
    return std::nullopt;
  }
  if (!std::filesystem::exists(where.tls, code))
    return fail(errc::bad_certificate,
                fmt::format("there is no folder '{}' with certificates; give "
                            "one with --tls, made with 'muster tls issue'",
                            where.tls));
  return load_client(where.tls, real_environment().wall_ms())
    .map([](identity&& own) { return std::optional{std::move(own)}; });
}

/// Asks a node what it is. The connection may break meanwhile, of which only an
/// actor hears.
expected<std::string>
ask_for_greeting(caf::actor_system& system, const greeting_actor& node,
                 const std::string& where, time_limit limit) {
  auto answer = std::make_shared<std::promise<expected<std::string>>>();
  system.spawn([=](caf::event_based_actor* self) {
    auto give_up = [=] {
      answer->set_value(
        fail(errc::unreachable,
             fmt::format("the node at {} does not say what it is", where)));
      self->quit();
    };
    self->monitor(node);
    self->set_down_handler([=](const caf::down_msg&) { give_up(); });
    self
      ->request(
        node,
        caf::duration{std::chrono::milliseconds{milliseconds_left(limit)}},
        hello_atom::value)
      .then(
        [=](std::string& text) {
          answer->set_value(std::move(text));
          self->quit();
        },
        [=](const caf::error&) { give_up(); });
  });
  return answer->get_future().get();
}

/// Compares what a node is with what we are.
/// @returns what it says of itself.
expected<greeting> greet(caf::actor_system& system, const greeting_actor& node,
                         const std::string& where, time_limit limit) {
  return ask_for_greeting(system, node, where, limit)
    .and_then([](const std::string& text) { return greeting_from(text); })
    .and_then([&](const greeting& theirs) -> expected<greeting> {
      auto ours = own_greeting();
      if (theirs.interface == ours.interface)
        return theirs;
      return fail(
        errc::version_mismatch,
        fmt::format("the node at {} is muster {} with interface {}, and this "
                    "client is muster {} with interface {}; use the same "
                    "version on both sides",
                    where, theirs.version, theirs.interface, ours.version,
                    ours.interface));
    });
}

} // namespace

expected<node_actor> connect_node(caf::actor_system& system,
                                  const node_location& where,
                                  std::chrono::milliseconds patience) {
  return meet_node(system, where, patience).map([](met_node&& node) {
    return std::move(node.handle);
  });
}

expected<met_node> meet_node(caf::actor_system& system,
                             const node_location& where,
                             std::chrono::milliseconds patience) {
  auto limit = std::chrono::steady_clock::now() + patience;
  auto own = read_identity(where);
  if (!own)
    return tl::unexpected<failure>{own.error()};
  auto found = connect(system, where.host, where.port, *own ? &**own : nullptr,
                       patience);
  if (!found)
    return tl::unexpected<failure>{found.error()};
  auto place = show_address(where.host, where.port);
  if (!found->whom)
    return fail(errc::unreachable,
                fmt::format("the node at {} is not ready", place));
  // A node of another version says which; one that does not know the question
  // is older than it.
  greeting says;
  if (system.assignable<greeting_actor>(found->interface)) {
    auto node = caf::actor_cast<greeting_actor>(found->whom);
    auto same = greet(system, node, place, limit);
    if (!same)
      return tl::unexpected<failure>{same.error()};
    says = std::move(*same);
  }
  if (!system.assignable<node_actor>(found->interface))
    return fail(
      errc::version_mismatch,
      fmt::format("what listens on {} is no node of this version", place));
  return met_node{caf::actor_cast<node_actor>(std::move(found->whom)),
                  std::move(says)};
}

} // namespace muster
