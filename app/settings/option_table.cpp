// SPDX-License-Identifier: Apache-2.0

#include "app/settings/option_table.hpp"

#include "app/settings/units.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include <arpa/inet.h>

namespace muster {

namespace {

/// How values of a kind are written.
template <class T>
struct notation {
  expected<T> (*read)(std::string_view);
  std::string (*show)(T);
};

std::string show_count(std::uint64_t count) {
  return std::to_string(count);
}

/// An option with a range.
/// @param place gives a reference to its place in the settings.
template <class T, class F>
option ranged(std::string name, notation<T> how, F place, T least, T most,
              std::string help) {
  auto set = [=](node_settings& s, const std::string& text) -> expected<void> {
    auto value = how.read(text);
    if (!value)
      return fail(value.error().code,
                  fmt::format("{}: {}", name, value.error().message));
    if (*value < least || *value > most)
      return fail(errc::invalid_argument,
                  fmt::format("{} = {} is out of range: it goes from {} to {}",
                              name, text, how.show(least), how.show(most)));
    using type = std::remove_reference_t<decltype(place(s))>;
    place(s) = static_cast<type>(*value);
    return {};
  };
  auto get = [=](const node_settings& s) {
    return how.show(static_cast<T>(place(const_cast<node_settings&>(s))));
  };
  return {name, std::move(help), set, get};
}

template <class F>
option duration(std::string name, F place, std::chrono::milliseconds least,
                std::chrono::milliseconds most, std::string help) {
  return ranged<std::chrono::milliseconds>(std::move(name),
                                           {parse_duration, show_duration},
                                           place, least, most, std::move(help));
}

template <class F>
option number(std::string name, F place, std::uint64_t least,
              std::uint64_t most, std::string help) {
  return ranged<std::uint64_t>(std::move(name), {parse_count, show_count},
                               place, least, most, std::move(help));
}

template <class F>
option size(std::string name, F place, std::uint64_t least, std::uint64_t most,
            std::string help) {
  return ranged<std::uint64_t>(std::move(name), {parse_size, show_size}, place,
                               least, most, std::move(help));
}

/// An address of a machine, in digits.
option address(std::string name, std::string& (*place)(node_settings&),
               std::string help) {
  auto set = [=](node_settings& s, const std::string& text) -> expected<void> {
    in6_addr any{};
    if (::inet_pton(AF_INET, text.c_str(), &any) != 1
        && ::inet_pton(AF_INET6, text.c_str(), &any) != 1)
      return fail(errc::invalid_argument,
                  fmt::format("{}: '{}' is no address such as 127.0.0.1 or ::1",
                              name, text));
    place(s) = text;
    return {};
  };
  auto get = [=](const node_settings& s) {
    return place(const_cast<node_settings&>(s));
  };
  return {std::move(name), std::move(help), set, get};
}

/// What may be lent: rules as on the command line.
option grant(std::string name, scope& (*place)(node_settings&),
             std::string help) {
  auto set = [=](node_settings& s, const std::string& text) -> expected<void> {
    auto rules = parse_scope(text);
    if (!rules)
      return fail(rules.error().code,
                  fmt::format("{}: {}", name, rules.error().message));
    place(s) = std::move(*rules);
    return {};
  };
  auto get = [=](const node_settings& s) {
    return to_string(place(const_cast<node_settings&>(s)));
  };
  return {std::move(name), std::move(help), set, get};
}

/// Folders with a colon between them, each an absolute path.
option folders(std::string name,
               std::vector<std::string>& (*place)(node_settings&),
               std::string help) {
  auto set = [=](node_settings& s, const std::string& text) -> expected<void> {
    std::vector<std::string> paths;
    for (std::size_t begin = 0; begin <= text.size();) {
      auto end = std::min(text.find(':', begin), text.size());
      auto path = text.substr(begin, end - begin);
      begin = end + 1;
      if (path.empty())
        continue;
      if (path.front() != '/')
        return fail(
          errc::invalid_argument,
          fmt::format("{}: '{}' is not an absolute path", name, path));
      paths.push_back(std::move(path));
    }
    place(s) = std::move(paths);
    return {};
  };
  auto get = [=](const node_settings& s) {
    return fmt::format("{}",
                       fmt::join(place(const_cast<node_settings&>(s)), ":"));
  };
  return {std::move(name), std::move(help), set, get};
}

std::vector<option> make_options() {
  using namespace std::chrono_literals;
  using s = node_settings;
  constexpr auto day = 24h;
  constexpr std::uint64_t kib = 1ull << 10;
  constexpr std::uint64_t mib = 1ull << 20;
  constexpr std::uint64_t gib = 1ull << 30;
  constexpr std::uint64_t many = 1'000'000'000;
  return {
    number(
      "node.port", [](s & x) -> auto& { return x.gate.port; }, 0, 65'535,
      "Port to listen on; 0 takes any that is free"),
    address(
      "node.host", [](s& x) -> std::string& { return x.gate.host; },
      "Address to listen on; 0.0.0.0 or :: takes every one of the machine"),
    duration(
      "node.drain-timeout", [](s & x) -> auto& { return x.drain_timeout; }, 0ms,
      day, "What an ordered stop may take before the process ends as it is"),
    number(
      "node.max-connections",
      [](s & x) -> auto& { return x.gate.max_connections; }, 1, 1'000'000,
      "Clients that may be connected at a time"),
    number(
      "node.max-handshakes",
      [](s & x) -> auto& { return x.gate.max_handshakes; }, 1, 100'000,
      "Connections that have not shown a certificate yet; one more, and the "
      "oldest has to go"),
    duration(
      "node.handshake-timeout",
      [](s & x) -> auto& { return x.gate.handshake_timeout; }, 10ms, day,
      "How long a connection may take to show a certificate"),

    number(
      "node.max-requests", [](s & x) -> auto& { return x.max_requests; }, 1,
      many, "Requests of one client that may wait for their answer"),
    size(
      "node.max-message",
      [](s & x) -> auto& { return x.gate.max_message_bytes; }, 64 * kib, gib,
      "One message of a client; a connection that sends twice as much at once "
      "is closed"),

    duration(
      "tls.authority-lifetime",
      [](s & x) -> auto& { return x.tls.authority_lifetime; }, 1s, 36'500 * day,
      "How long a new certificate authority is good"),
    duration(
      "tls.certificate-lifetime",
      [](s & x) -> auto& { return x.tls.certificate_lifetime; }, 1s,
      36'500 * day, "How long a new certificate is good"),

    number(
      "pool.max-workers", [](s & x) -> auto& { return x.pool.max_workers; }, 1,
      100'000, "Worker processes, also those that start and stop"),
    number(
      "pool.max-starts",
      [](s & x) -> auto& { return x.pool.max_starts_per_second; }, 1, many,
      "Worker processes that are started in a second; others wait for their "
      "turn"),
    number(
      "pool.max-waiting", [](s & x) -> auto& { return x.pool.max_waiting; }, 1,
      many, "Requests that may wait for worker processes"),
    size(
      "pool.max-memory", [](s & x) -> auto& { return x.pool.max_memory_bytes; },
      128 * mib, 1'024 * gib,
      "Memory of one worker process; strategy.max-memory is the limit of its "
      "script"),
    duration(
      "pool.spawn-timeout", [](s & x) -> auto& { return x.pool.spawn_timeout; },
      100ms, day,
      "How long a new worker may take until it is ready and has said who it "
      "is"),
    duration(
      "pool.probe-timeout", [](s & x) -> auto& { return x.pool.probe_timeout; },
      10ms, day,
      "How long a worker that is found again may take to say who it is; all "
      "are "
      "asked side by side"),
    duration(
      "pool.patience", [](s & x) -> auto& { return x.pool.patience; }, 2s, day,
      "How long a worker that has something to do may say nothing"),
    duration(
      "pool.ping-interval", [](s & x) -> auto& { return x.pool.ping_interval; },
      10ms, day,
      "How often a worker is asked whether it is there; one that says nothing "
      "for three times as long is killed"),
    duration(
      "pool.idle-timeout", [](s & x) -> auto& { return x.pool.idle_timeout; },
      1s, 3'650 * day,
      "How long a worker is kept that nobody uses, unless it is in a group"),
    duration(
      "pool.orphan-timeout",
      [](s & x) -> auto& { return x.pool.orphan_timeout; }, 1s, 3'650 * day,
      "How long a worker waits for a node that has gone, before it ends"),
    duration(
      "pool.ask-patience", [](s & x) -> auto& { return x.pool.stop.ask; }, 0ms,
      day, "How long a worker that is asked to end may take before SIGTERM"),
    duration(
      "pool.terminate-patience",
      [](s & x) -> auto& { return x.pool.stop.terminate; }, 0ms, day,
      "How long it may take from SIGTERM to SIGKILL"),
    duration(
      "pool.kill-patience", [](s & x) -> auto& { return x.pool.stop.kill; },
      100ms, day,
      "How long it may take from SIGKILL, before a stop is answered with an "
      "error"),

    grant(
      "pods.grant", [](s & x) -> auto& { return x.pods.grant; },
      "What whoever runs the node may lend to pods: r:/PATH and w:/PATH with "
      "commas between them, with a - before what is not lent. The state "
      "directory never is"),
    number(
      "pods.max-pods", [](s & x) -> auto& { return x.pods.max_pods; }, 1,
      100'000, "Pods that live, also those that start and stop"),
    number(
      "pods.max-waiting", [](s & x) -> auto& { return x.pods.max_waiting; }, 1,
      many, "Requests that may wait for pods"),
    number(
      "pods.max-ended", [](s & x) -> auto& { return x.pods.max_ended; }, 0,
      100'000, "Pods that have ended and whose output is kept"),
    size(
      "pods.max-text", [](s & x) -> auto& { return x.pods.max_text_bytes; },
      kib, 32 * mib, "The task of a pod, and what is sent to it"),
    size(
      "pods.max-read", [](s & x) -> auto& { return x.pods.max_read_bytes; },
      kib, 32 * mib, "Output of a pod that is given at once"),
    duration(
      "pods.spawn-timeout", [](s & x) -> auto& { return x.pods.spawn_timeout; },
      100ms, day, "How long a new pod may take until it is ready"),
    duration(
      "pods.probe-timeout", [](s & x) -> auto& { return x.pods.probe_timeout; },
      10ms, day,
      "How long a pod that is looked for may take to answer; all are asked "
      "side by side"),
    duration(
      "pods.ping-interval", [](s & x) -> auto& { return x.pods.ping_interval; },
      10ms, day,
      "How often a pod is asked whether it is there; one that says nothing for "
      "three times as long is unreachable"),
    duration(
      "pods.send-timeout", [](s & x) -> auto& { return x.pods.send_timeout; },
      100ms, day,
      "How long a pod may take to begin a turn that it was asked for"),
    duration(
      "pods.ask-patience", [](s & x) -> auto& { return x.pods.stop.ask; }, 0ms,
      day, "How long a pod that is asked to end may take before SIGTERM"),
    duration(
      "pods.terminate-patience",
      [](s & x) -> auto& { return x.pods.stop.terminate; }, 0ms, day,
      "How long it may take from SIGTERM to SIGKILL"),
    duration(
      "pods.kill-patience", [](s & x) -> auto& { return x.pods.stop.kill; },
      100ms, day,
      "How long it may take from SIGKILL, before a stop is answered with an "
      "error"),

    number(
      "recovery.max-groups",
      [](s & x) -> auto& { return x.recovery.max_groups; }, 1, 1'000,
      "Groups of slots"),
    number(
      "recovery.max-handlers",
      [](s & x) -> auto& { return x.recovery.max_handlers; }, 1, 100'000,
      "Those who put back what died; each group is one of them"),
    number(
      "recovery.max-waiting",
      [](s & x) -> auto& { return x.recovery.max_waiting; }, 1, many,
      "Requests that may wait for the end of a pass"),
    number(
      "recovery.max-recoveries",
      [](s & x) -> auto& { return x.recovery.max_recoveries; }, 1, 100'000,
      "Slots that are worked on in one pass, of all groups"),
    number(
      "recovery.max-recoveries-of-one",
      [](s & x) -> auto& { return x.recovery.max_recoveries_per_handler; }, 1,
      255, "How many of these may be of one group"),
    duration(
      "recovery.pass-gap", [](s & x) -> auto& { return x.recovery.pass_gap; },
      1ms, day, "From one pass to the next one that does not wait for a beat"),
    duration(
      "recovery.start-timeout",
      [](s & x) -> auto& { return x.recovery.groups.start_timeout; }, 100ms,
      day, "How long a slot may take to be filled before that is undone"),
    duration(
      "recovery.stop-timeout",
      [](s & x) -> auto& { return x.recovery.groups.stop_timeout; }, 100ms, day,
      "How long a slot may take to be emptied before it is tried again"),
    duration(
      "recovery.find-timeout",
      [](s & x) -> auto& { return x.recovery.groups.find_timeout; }, 100ms, day,
      "How long it may take to find again what was in a slot, before it is "
      "looked for again"),
    duration(
      "recovery.patience",
      [](s & x) -> auto& { return x.recovery.groups.patience; }, 0ms, day,
      "How long what is in a slot may be unhealthy before it is replaced"),

    duration(
      "tick.interval", [](s & x) -> auto& { return x.tick.interval; }, 10ms,
      day, "From one beat of the node to the next"),
    duration(
      "tick.step-deadline", [](s & x) -> auto& { return x.tick.step_deadline; },
      1ms, day,
      "What one step of a tick may take before the tick goes on "
      "without it"),

    number(
      "storage.max-pending",
      [](s & x) -> auto& { return x.storage.max_pending; }, 1, many,
      "Commits that may wait for a sync; more are refused as overloaded"),
    duration(
      "storage.max-gather", [](s & x) -> auto& { return x.storage.max_gather; },
      0ms, 1s,
      "How long a commit may wait for others that are likely to come, so that "
      "they share one sync; never longer than a quarter of what a sync takes"),
    number(
      "storage.checkpoint-pages",
      [](s & x) -> auto& { return x.storage.checkpoint_pages; }, 1, many,
      "Pages of 4 KiB in the write-ahead log after which it is copied "
      "into the database"),
    duration(
      "storage.keep-receipts",
      [](s & x) -> auto& { return x.storage.keep_receipts; }, 1s, 3'650 * day,
      "How long a request that is repeated under its id is not executed again"),
    number(
      "storage.max-receipts",
      [](s & x) -> auto& { return x.storage.max_receipts; }, 1, many,
      "For how many requests that is known; the oldest go first"),
    size(
      "storage.check-max-size",
      [](s & x) -> auto& { return x.storage.check_max_bytes; }, 0, 1'024 * gib,
      "A database of at most this size is checked as a whole at every "
      "start"),

    duration(
      "session.retention", [](s & x) -> auto& { return x.session.retention; },
      0ms, 3'650 * day, "How long a session is kept after its end"),
    duration(
      "session.idle-ttl", [](s & x) -> auto& { return x.session.idle_ttl; }, 1s,
      3'650 * day,
      "How long a paused session may wait for an answer before it is "
      "cancelled"),
    duration(
      "session.collect-interval",
      [](s & x) -> auto& { return x.session.collect_interval; }, 10ms, day,
      "Pause between two rounds of garbage collection"),
    duration(
      "session.passivate-after",
      [](s & x) -> auto& { return x.session.passivate_after; }, 10ms,
      3'650 * day,
      "How long a paused session keeps its virtual machine without "
      "being fed"),
    duration(
      "session.commit-after",
      [](s & x) -> auto& { return x.session.commit_after; }, 0ms, 1min,
      "How long an answer waits for the event that it leads to, so "
      "that both go to disk at once"),
    duration(
      "session.retry-after",
      [](s & x) -> auto& { return x.session.retry_after; }, 10ms, day,
      "Pause before a step is tried again that the disk refused"),
    number(
      "session.max-events", [](s & x) -> auto& { return x.session.max_events; },
      16, many, "Events of one session"),
    size(
      "session.max-bytes", [](s & x) -> auto& { return x.session.max_bytes; },
      64 * kib, 1'024 * gib, "What the events of one session may take on disk"),
    size(
      "session.max-response",
      [](s & x) -> auto& { return x.session.max_response_bytes; }, 1, 256 * mib,
      "One answer"),
    size(
      "session.max-reason",
      [](s & x) -> auto& { return x.session.max_reason_bytes; }, 1, mib,
      "The reason of a cancel"),
    size(
      "session.max-code",
      [](s & x) -> auto& { return x.session.max_code_bytes; }, 1, 256 * mib,
      "The text of a script"),
    size(
      "session.max-ctx", [](s & x) -> auto& { return x.session.max_ctx_bytes; },
      2, 256 * mib, "The ctx of a script, as JSON"),
    number(
      "session.max-queued", [](s & x) -> auto& { return x.session.max_queued; },
      1, many, "Requests that may wait for a commit of one session"),
    number(
      "session.max-waiting",
      [](s & x) -> auto& { return x.session.max_waiting; }, 1, many,
      "Clients that may wait for one session, of each kind"),
    number(
      "session.max-conflicts",
      [](s & x) -> auto& { return x.session.max_conflicts; }, 0, many,
      "How often in a row a step may be refused because others changed "
      "what it read, before the script is told"),
    number(
      "session.max-active", [](s & x) -> auto& { return x.session.max_active; },
      1, many, "Sessions that are running or were used recently"),
    number(
      "session.max-machines",
      [](s & x) -> auto& { return x.session.max_machines; }, 1, many,
      "Virtual machines that are kept; paused sessions that are cheap to "
      "replay give theirs back first"),
    number(
      "session.max-activations",
      [](s & x) -> auto& { return x.session.max_activations; }, 1, 10'000,
      "Sessions that are taken up again at a time after a start"),
    number(
      "session.max-page", [](s & x) -> auto& { return x.storage.max_page; }, 1,
      100'000, "Sessions in one page of a list"),
    number(
      "session.observer-window",
      [](s & x) -> auto& { return x.session.observer_window; }, 1, 1'000'000,
      "Events that an observer may leave unacknowledged"),
    number(
      "session.preview-chars",
      [](s & x) -> auto& { return x.session.preview_chars; }, 1, 1'000'000,
      "Characters of a prompt in a preview"),
    number(
      "session.max-log-lines",
      [](s & x) -> auto& { return x.storage.max_log_lines; }, 1, many,
      "Log lines that are kept of one session; the oldest go first"),

    number(
      "strategy.slice",
      [](s & x) -> auto& { return x.strategy.slice_instructions; }, 1'000,
      100'000'000,
      "Instructions of a script after which others get "
      "their turn"),
    number(
      "strategy.max-instructions",
      [](s & x) -> auto& { return x.strategy.max_instructions; }, 1'000,
      1'000'000'000'000'000, "Instructions from one pause to the next"),
    number(
      "strategy.max-unyielding",
      [](s & x) -> auto& { return x.strategy.max_unyielding; }, 1'000,
      100'000'000'000, "Instructions in a callback that cannot be interrupted"),
    number(
      "strategy.max-crashes",
      [](s & x) -> auto& { return x.strategy.max_crashes; }, 1, 1'000,
      "How often in a row the node may die while it runs a script, before "
      "that is run no more"),
    size(
      "strategy.max-memory",
      [](s & x) -> auto& { return x.strategy.max_memory_bytes; }, mib, 64 * gib,
      "Memory of one virtual machine"),
    number(
      "strategy.max-queries",
      [](s & x) -> auto& { return x.strategy.max_queries; }, 1, 1'000'000,
      "Queries that one pause may ask"),
    size(
      "strategy.max-prompt",
      [](s & x) -> auto& { return x.strategy.max_prompt_bytes; }, 1, 256 * mib,
      "One prompt with its system text"),
    size(
      "strategy.max-result",
      [](s & x) -> auto& { return x.strategy.max_result_bytes; }, 2, 256 * mib,
      "The result of a session, as JSON"),
    number(
      "strategy.max-effects",
      [](s & x) -> auto& { return x.strategy.max_effects; }, 1, many,
      "What a script may ask the host between two pauses, and values that "
      "it may change"),
    size(
      "strategy.max-effect-bytes",
      [](s & x) -> auto& { return x.strategy.max_effect_bytes; }, kib, gib,
      "What the answers to these may add up to, and what those values may"),
    size(
      "strategy.max-state",
      [](s & x) -> auto& { return x.strategy.max_state_bytes; }, 1, 256 * mib,
      "One value of the shared state, as JSON"),
    size(
      "strategy.max-stats",
      [](s & x) -> auto& { return x.strategy.max_stats_bytes; }, 2, 256 * mib,
      "What alc.stats holds, as JSON"),
    size(
      "strategy.max-source",
      [](s & x) -> auto& { return x.strategy.max_source_bytes; }, 1, 256 * mib,
      "One module that a script loads"),
    number(
      "strategy.max-log-lines",
      [](s & x) -> auto& { return x.strategy.max_log_lines; }, 1, 1'000'000,
      "Log lines between two pauses"),
    size(
      "strategy.max-log-line",
      [](s & x) -> auto& { return x.strategy.max_log_line_bytes; }, 16, mib,
      "One log line; longer ones are cut"),
    folders(
      "strategy.packages",
      [](s& x) -> std::vector<std::string>& { return x.strategy.packages; },
      "Folders that 'require' searches, with ':' between them, before "
      "'packages' in the state directory"),
  };
}

} // namespace

const std::vector<option>& all_options() {
  static const std::vector<option> options = make_options();
  return options;
}

const option* find_option(const std::string& name) {
  auto& options = all_options();
  auto i = std::find_if(options.begin(), options.end(),
                        [&](auto& x) { return x.name == name; });
  return i != options.end() ? &*i : nullptr;
}

} // namespace muster
