// SPDX-License-Identifier: Apache-2.0

#define CAF_SUITE pod.registry

#include "actors/pod/spawned_pod_registry.hpp"

#include "tests/support/fake_pods.hpp"
#include "tests/support/simulated_disk.hpp"
#include "tests/support/suite.hpp"

#include "actors/persistence/persistence.hpp"

#include <caf/scheduler/test_coordinator.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

using namespace muster;
using namespace muster::test;
using namespace std::chrono_literals;

namespace {

std::vector<scope_rule> rules(const std::string& text) {
  auto out = parse_rules(text);
  CAF_REQUIRE(out);
  return *out;
}

pod_order order_of(const std::string& name, const std::string& scope_text,
                   const std::string& task = {}) {
  pod_order out;
  out.name = name;
  out.scope = rules(scope_text);
  out.task = task;
  return out;
}

/// A registry of pods and the actor that owns the disk, on the deterministic
/// scheduler. The disk is simulated, pods and files are scripted.
struct fixture {
  simulated_disk disk;
  std::shared_ptr<fake_pods> pods = std::make_shared<fake_pods>();
  pod_settings settings;
  std::int64_t now_ns = 1'000'000'000;
  std::uint64_t random = 0;
  std::vector<std::string> warnings;
  std::vector<std::string> made;
  std::vector<std::string> removed;
  std::string tail;
  std::size_t looks = 0;
  /// Why not all processes can be seen, and those of which nothing is known.
  std::optional<failure> unsure;
  std::vector<process_identity> unknown;
  bool shows_variables = true;
  std::string report;
  /// What is there; folders end in a slash.
  std::set<std::string> files{"/land/", "/land/part/", "/land/file", "/other/"};
  std::map<std::string, std::string> links{{"/link", "/land"}};

  std::unique_ptr<caf::actor_system_config> config;
  std::unique_ptr<caf::actor_system> system;
  spawned_pod_registry_actor registry;
  persistence_actor storage;

  fixture() {
    settings.folder = "/state/pods";
    settings.program = "/bin/muster";
  }

  ~fixture() {
    kill();
  }

  caf::scheduler::test_coordinator& scheduler() {
    return dynamic_cast<caf::scheduler::test_coordinator&>(system->scheduler());
  }

  pod_parts parts() {
    auto out = system_pod_parts(settings);
    out.env = {[this] { return 1'700'000'000'000 + now_ns / 1'000'000; },
               [this] { return now_ns; },
               [this] {
                 ++random;
                 return random_bits{random, ~random};
               }};
    out.processes = pods;
    out.sockets = pods->sockets;
    out.find_process = [this](std::int32_t pid) {
      return expected<std::optional<process_identity>>{pods->find(pid)};
    };
    out.find_pods = [this] {
      ++looks;
      return carriers{shows_variables ? pods->all() : decltype(pods->all()){},
                      unknown, unsure};
    };
    out.is_pod = [this](std::int32_t pid, const std::string& id) {
      return pods->lives(id) && pods->pods.at(id).who.pid == pid;
    };
    out.kill = [this](const process_identity& who) { pods->kill(who); };
    out.resolve = [this](const std::string& path) -> expected<std::string> {
      if (auto i = links.find(path); i != links.end())
        return i->second;
      if (path == "/" || files.contains(path) || files.contains(path + "/"))
        return path;
      return fail(errc::not_found, "'" + path + "' is not there");
    };
    out.is_folder
      = [this](const std::string& path) { return files.contains(path + "/"); };
    out.make_folder = [this](const std::string& path) -> expected<void> {
      made.push_back(path);
      return {};
    };
    out.remove_folder
      = [this](const std::string& path) { removed.push_back(path); };
    out.read_output = [](const std::string& folder, output_cursor from,
                         std::uint64_t) -> expected<output_piece> {
      output_piece piece;
      piece.to = {1, 10};
      if (from != piece.to)
        piece.texts = {"text of " + folder};
      return piece;
    };
    out.tail_of_output
      = [this](const std::string&, std::size_t) { return tail; };
    out.warn = [this](const std::string& x) { warnings.push_back(x); };
    return out;
  }

  void begin() {
    config = std::make_unique<caf::actor_system_config>();
    add_message_types(*config);
    config->set("scheduler.policy", caf::atom("testing"));
    system = std::make_unique<caf::actor_system>(*config);
    auto all = parts();
    persistence_settings where;
    where.directory = "/state";
    where.file_system = disk.file_system();
    auto opened = open_storage(where, disk.documents(), all.env);
    CAF_REQUIRE(opened);
    auto sink = system->spawn(
      [this](status_sink_actor::pointer) -> status_sink_actor::behavior_type {
        return {[this](report_atom, const std::string&, const std::string& x) {
          report = x;
        }};
      });
    storage = system->spawn(persistence, *opened, sink);
    all.persistence = storage;
    registry
      = system->spawn(spawned_pod_registry,
                      std::make_shared<const pod_parts>(std::move(all)), sink);
    run();
  }

  /// The node dies, with all that was on its way.
  void kill() {
    if (!system)
      return;
    disk.is_off = true;
    caf::anon_send_exit(registry, caf::exit_reason::user_shutdown);
    caf::anon_send_exit(storage, caf::exit_reason::user_shutdown);
    registry = nullptr;
    storage = nullptr;
    while (system->registry().running() > 0)
      if (run() == 0 && !scheduler().trigger_timeout())
        break;
    system.reset();
    config.reset();
    disk.is_off = false;
    disk.kill_process();
    pods->restart_holder();
    pods->sockets->restart_holder();
  }

  void restart() {
    kill();
    begin();
  }

  std::size_t run() {
    std::size_t count = 0;
    while (count < 1'000'000 && scheduler().try_run_once())
      ++count;
    return count;
  }

  void advance(std::chrono::milliseconds time) {
    for (; time.count() > 0; time -= 100ms) {
      auto step = std::min(time, std::chrono::milliseconds(100));
      now_ns += std::chrono::nanoseconds(step).count();
      pods->advance(step);
      pods->sockets->advance(step);
      scheduler().clock().current_time += step;
      scheduler().clock().trigger_expired_timeouts();
      run();
    }
  }

  template <class T>
  using answer_ptr = std::shared_ptr<std::optional<expected<T>>>;

  template <class T, class... Ts>
  answer_ptr<T> ask(Ts... request) {
    auto answer = std::make_shared<std::optional<expected<T>>>();
    system->spawn([=, to = registry](caf::event_based_actor* self) {
      self->request(to, caf::infinite, request...)
        .then([=](T& x) { answer->emplace(std::move(x)); },
              [=](const caf::error& error) {
                answer->emplace(tl::unexpected<failure>{from_caf(error)});
              });
    });
    run();
    return answer;
  }

  answer_ptr<pod_view> spawn(const pod_order& order,
                             const std::string& request_id = once) {
    return ask<pod_view>(pod_atom::value, spawn_atom::value, order, request_id);
  }

  answer_ptr<pod_stop_reply> stop(const std::string& name) {
    return ask<pod_stop_reply>(pod_atom::value, stop_atom::value, name);
  }

  answer_ptr<std::vector<pod_view>> list() {
    return ask<std::vector<pod_view>>(pod_atom::value, list_atom::value);
  }

  answer_ptr<pod_output> read(const std::string& name) {
    pod_read what;
    what.name = name;
    return ask<pod_output>(pod_atom::value, read_atom::value, what);
  }

  answer_ptr<std::uint64_t> send(const std::string& name,
                                 const std::string& text) {
    return ask<std::uint64_t>(pod_atom::value, send_atom::value, name, text,
                              once);
  }

  template <class T>
  T value(const answer_ptr<T>& x) {
    CAF_REQUIRE(*x);
    if (!**x)
      CAF_MESSAGE("refused: " << (**x).error().message);
    CAF_REQUIRE(**x);
    return ***x;
  }

  template <class T>
  errc code(const answer_ptr<T>& x) {
    CAF_REQUIRE(*x);
    CAF_REQUIRE(!**x);
    return (**x).error().code;
  }

  std::string spawned(const pod_order& order) {
    return value(spawn(order)).id;
  }

  /// What a pod gets for a request of its own.
  expected<json> result_of(const std::string& id, const std::string& verb,
                           json params = json::object()) {
    auto& results = pods->pods.at(id).results;
    auto name = "q-" + std::to_string(results.size());
    pods->say(id, pod::request{name, verb, std::move(params)});
    run();
    CAF_REQUIRE(!results.empty());
    CAF_REQUIRE_EQUAL(results.back().id, name);
    return results.back().value;
  }

  json document() {
    return json::parse(*disk.contents("/state/pods/pods.json"));
  }

  errc refused(pod_order order) {
    auto out = resolve_order(parts(), std::move(order));
    CAF_REQUIRE(!out);
    return out.error().code;
  }
};

bool has(const std::vector<std::string>& all, const std::string& x) {
  return std::find(all.begin(), all.end(), x) != all.end();
}

} // namespace

CAF_TEST_FIXTURE_SCOPE(pod_registry_tests, fixture)

// -- orders -------------------------------------------------------------------

CAF_TEST(a pod is started by confine with its scope and its variables) {
  auto order = order_of("a", "w:/land,r1:/other", "task");
  order.cwd = "/land";
  order.command = {"/bin/prog", "--flag"};
  order.environment = {"KEY=value"};
  auto x = pod_process(settings, "a.00000001", order);
  CAF_CHECK_EQUAL(x.program, "/bin/muster");
  CAF_CHECK(
    (x.arguments
     == std::vector<std::string>{"confine", "--sandbox", "required", "--own",
                                 "/state/pods/run/a.00000001", "--cwd", "/land",
                                 "--allow", "w:/land", "--allow", "r1:/other",
                                 "--", "/bin/prog", "--flag"}));
  // One that another pod asked for may not even read its program.
  order.lender = "b";
  CAF_CHECK(has(pod_process(settings, "a.00000001", order).arguments,
                "--within-scope"));
  CAF_CHECK(has(x.environment, "MUSTER_POD_ID=a.00000001"));
  CAF_CHECK(has(x.environment, "MUSTER_POD_NAME=a"));
  CAF_CHECK(
    has(x.environment, "MUSTER_POD_SOCKET=/state/pods/run/a.00000001/sock"));
  CAF_CHECK(has(x.environment, "HOME=/state/pods/run/a.00000001"));
  CAF_CHECK(has(x.environment, "KEY=value"));
  // The task of one that listens comes over its socket.
  CAF_CHECK(!has(x.environment, "MUSTER_POD_TASK=task"));
  CAF_CHECK(x.ready_by == readiness::exec);
  CAF_CHECK(x.ready_within == settings.spawn_timeout);
  CAF_CHECK_EQUAL(std::get<std::string>(x.output),
                  "/state/pods/run/a.00000001/output.log");
  order.kind = pod_class::plain;
  order.command.clear();
  x = pod_process(settings, "a.00000001", order);
  CAF_CHECK(has(x.environment, "MUSTER_POD_TASK=task"));
  CAF_CHECK(
    !has(x.environment, "MUSTER_POD_SOCKET=/state/pods/run/a.00000001/sock"));
  CAF_CHECK_EQUAL(x.arguments.back(), "pod-agent");
  // Which every pod may start.
  CAF_CHECK(!has(x.arguments, "--within-scope"));
}

CAF_TEST(S6 S7 an order is for places and works in its first one) {
  auto order = order_of("a", "w:/link,r:/other");
  auto x = resolve_order(parts(), order);
  CAF_REQUIRE(x);
  CAF_CHECK(x->scope == rules("w:/land,r:/other"));
  CAF_CHECK_EQUAL(x->cwd, "/land");
  auto told = pod_process(settings, "a.00000001", *x).arguments;
  auto place = std::find(told.begin(), told.end(), "--cwd");
  CAF_REQUIRE(told.end() - place > 1);
  CAF_CHECK_EQUAL(*std::next(place), "/land");
  order.cwd = "/other";
  CAF_CHECK_EQUAL(resolve_order(parts(), order)->cwd, "/other");
  order.cwd = "/link";
  CAF_CHECK_EQUAL(resolve_order(parts(), order)->cwd, "/land");
}

CAF_TEST(orders that cannot be carried out are refused and say why) {
  CAF_CHECK_EQUAL(refused(order_of("../a", "w:/land")), errc::invalid_argument);
  CAF_CHECK_EQUAL(refused(order_of("", "w:/land")), errc::invalid_argument);
  CAF_CHECK_EQUAL(refused(order_of(std::string(49, 'a'), "w:/land")),
                  errc::invalid_argument);
  auto order = order_of("a", "w:/land");
  order.scope.clear();
  CAF_CHECK_EQUAL(refused(order), errc::invalid_argument);
  order.scope = {{"work", permission::write, true}};
  CAF_CHECK_EQUAL(refused(order), errc::invalid_argument);
  CAF_CHECK_EQUAL(refused(order_of("a", "w:/missing")), errc::not_found);
  CAF_CHECK_EQUAL(refused(order_of("a", "w:/land", "\xFF")), errc::not_utf8);
  for (auto& [cwd, why] :
       std::map<std::string, errc>{{"work", errc::invalid_argument},
                                   {"/missing", errc::not_found},
                                   {"/land/file", errc::invalid_argument},
                                   {"/other", errc::not_allowed}}) {
    order = order_of("a", "w:/land");
    order.cwd = cwd;
    CAF_CHECK_EQUAL(refused(order), why);
  }
  for (std::string text : {std::string{"a\xFF"}, std::string{"a\0b", 3}}) {
    auto why = text.back() == 'b' ? errc::invalid_argument : errc::not_utf8;
    order = order_of("a", "w:/land");
    order.command = {"/bin/sh", "-c", text};
    CAF_CHECK_EQUAL(refused(order), why);
    order = order_of("a", "w:/land");
    order.cwd = "/land/" + text;
    CAF_CHECK_EQUAL(refused(order), why);
    order = order_of("a", "w:/land");
    order.delegation.allow = {{"/land/" + text, permission::write, true}};
    CAF_CHECK_EQUAL(refused(order), errc::invalid_argument);
  }
  // What it leads to is kept as well.
  links["/strange"] = "/land\xFF";
  order = order_of("a", "w:/land");
  order.cwd = "/strange";
  CAF_CHECK_EQUAL(refused(order), errc::invalid_argument);
  order = order_of("a", "w:/land");
  order.command = {"/bin/echo", std::string(max_command_bytes, 'x')};
  CAF_CHECK_EQUAL(refused(order), errc::too_large);
  order.command.back().resize(max_command_bytes - 11);
  CAF_CHECK(resolve_order(parts(), order));
  for (std::string variable :
       {"NAME", "=value", "", "MUSTER_POD_ID=x", "MUSTER_POD_SOCKET=x"}) {
    order = order_of("a", "w:/land");
    order.environment = {variable};
    CAF_CHECK_EQUAL(refused(order), errc::invalid_argument);
  }
  order = order_of("a", "w:/land");
  order.environment = {"A=" + std::string(100'000, 'x')};
  CAF_CHECK_EQUAL(refused(order), errc::invalid_argument);
  order.environment = {std::string{"A=b\0c", 5}};
  CAF_CHECK_EQUAL(refused(order), errc::invalid_argument);
  // An argument of a program has a limit; a frame has more room.
  order = order_of("a", "w:/land", std::string(100'001, 'x'));
  CAF_CHECK(resolve_order(parts(), order));
  order.kind = pod_class::plain;
  CAF_CHECK_EQUAL(refused(order), errc::too_large);
}

// -- clients ------------------------------------------------------------------

CAF_TEST(a pod is spawned listed spoken to read and stopped) {
  begin();
  auto x = value(spawn(order_of("a", "w:/link", "begin"), "r-1"));
  CAF_CHECK_EQUAL(x.phase, pod_phase::ready);
  CAF_CHECK_EQUAL(x.sandbox, "landlock 7");
  CAF_CHECK(x.scope == rules("w:/land"));
  CAF_CHECK(has(made, "/state/pods/run/" + x.id + "/output"));
  CAF_CHECK_EQUAL(value(spawn(order_of("a", "w:/link", "begin"), "r-1")).id,
                  x.id);
  CAF_CHECK_EQUAL(value(list()).size(), 1u);
  CAF_CHECK_EQUAL(value(send("a", "more")), 2u);
  CAF_CHECK_EQUAL(value(read("a")).texts.size(), 1u);
  CAF_CHECK_EQUAL(value(read("a")).texts.size(), 0u);
  auto holders = value(ask<std::vector<scope_holder>>(
    pod_atom::value, scopes_atom::value, std::string{"/link"}));
  CAF_CHECK(std::any_of(holders.begin(), holders.end(),
                        [](auto& holder) { return holder.name == "a"; }));
  CAF_CHECK_EQUAL(
    value(ask<scope_listing>(pod_atom::value, scopes_atom::value)).loans.size(),
    1u);
  CAF_CHECK(value(stop("a")).reclaimed == rules("w:/land"));
  CAF_CHECK_EQUAL(pods->running(), 0u);
  CAF_CHECK(value(list()).empty());
}

CAF_TEST(what a pod said before it failed is told) {
  begin();
  tail = "no such luck";
  pods->on_start = [this](fake_pod&) {
    pods->scripts.assign(1, {{}, std::nullopt, obedience::ends});
  };
  auto t = spawn(order_of("a", "w:/land"));
  advance(settings.spawn_timeout);
  CAF_CHECK_EQUAL(code(t), errc::timeout);
  CAF_CHECK((**t).error().message.find("no such luck") != std::string::npos);
  CAF_CHECK(!removed.empty());
}

CAF_TEST(C8 a node finds its pods again and needs no mirror) {
  begin();
  auto id = spawned(order_of("a", "w:/land"));
  kill();
  disk.remove("/state/pods/spawned_pods.json");
  begin();
  auto all = value(list());
  CAF_REQUIRE_EQUAL(all.size(), 1u);
  CAF_CHECK_EQUAL(all[0].id, id);
  CAF_CHECK_EQUAL(all[0].phase, pod_phase::ready);
  value(stop("a"));
  CAF_CHECK_EQUAL(*disk.contents("/state/pods/spawned_pods.json"), "[]");
}

CAF_TEST(a hundred pods that are gone cost one look at the processes) {
  begin();
  for (int i = 0; i < 100; ++i) {
    auto folder = fmt::format("/d{}", i);
    files.insert(folder + "/");
    spawned(order_of(fmt::format("p{}", i), "w:" + folder));
  }
  kill();
  for (auto& [id, x] : pods->pods)
    pods->die(id);
  looks = 0;
  begin();
  CAF_CHECK(value(list()).empty());
  CAF_CHECK_EQUAL(looks, 1u);
  CAF_CHECK(document()["pods"].empty());
}

CAF_TEST(nothing comes back while nobody knows which processes are there) {
  begin();
  auto id = spawned(order_of("a", "w:/land"));
  auto lent = [this] {
    return value(ask<scope_listing>(pod_atom::value, scopes_atom::value))
      .loans.size();
  };
  unsure = failure{errc::overloaded, "processes come and go"};
  auto who = pods->pods.at(id).who;
  pods->die(id);
  advance(1s);
  CAF_CHECK_EQUAL(lent(), 1u);
  // One that is older than the pod is not of it, and another one may be.
  unsure.reset();
  auto other = who;
  unknown = {other};
  advance(1s);
  CAF_CHECK_EQUAL(lent(), 1u);
  --unknown.front().start_ticks;
  advance(1s);
  CAF_CHECK_EQUAL(lent(), 0u);
}

CAF_TEST(a pod that wrote over its variables is ended by its damaged record) {
  begin();
  auto id = spawned(order_of("a", "w:/land"));
  kill();
  auto x = document();
  x["pods"][0]["cwd"] = 7;
  disk.set_contents("/state/pods/pods.json", x.dump());
  shows_variables = false;
  begin();
  auto stopped = stop("a");
  CAF_CHECK(!*stopped);
  advance(1s);
  CAF_CHECK_EQUAL(value(stopped).end, "its record was damaged");
  CAF_CHECK(!pods->lives(id));
}

CAF_TEST(the mirror has the fields of the older document) {
  begin();
  auto id = spawned(order_of("a", "w:/land,r1:/other"));
  auto x = json::parse(*disk.contents("/state/pods/spawned_pods.json"));
  CAF_CHECK_EQUAL(
    x,
    json::parse(R"([{"pod_name":"a","callback_address":"","socket_path":)"
                "\"/state/pods/run/"
                + id
                + R"(/sock","scope_delegated":[)"
                  R"({"target":"/land","permission":"write","recursive":true},)"
                  R"({"target":"/other","permission":"read",)"
                  R"("recursive":false}]}])"));
}

CAF_TEST(a mirror that cannot be written is no failure) {
  begin();
  disk.set_fault([](disk_operation, const std::string& path, std::uint64_t) {
    return path.find("spawned_pods") != std::string::npos ? EIO : 0;
  });
  CAF_CHECK_EQUAL(value(spawn(order_of("a", "w:/land"))).phase,
                  pod_phase::ready);
  disk.set_fault(nullptr);
}

CAF_TEST(a broken document answers all verbs and is kept) {
  for (std::string text : {"{\"format\":1", "[]"}) {
    std::ignore = disk.make_folder("/state/pods");
    disk.remove("/state/pods/pods.json.broken");
    disk.set_contents("/state/pods/pods.json", text);
    begin();
    CAF_CHECK_EQUAL(code(list()), errc::registry_corrupted);
    CAF_CHECK_EQUAL(code(spawn(order_of("a", "w:/land"))),
                    errc::registry_corrupted);
    CAF_CHECK_EQUAL(code(stop("a")), errc::registry_corrupted);
    CAF_CHECK_EQUAL(code(read("a")), errc::registry_corrupted);
    CAF_CHECK_EQUAL(code(send("a", "x")), errc::registry_corrupted);
    CAF_CHECK_EQUAL(*disk.contents("/state/pods/pods.json"), text);
    CAF_CHECK_EQUAL(*disk.contents("/state/pods/pods.json.broken"), text);
    CAF_CHECK_EQUAL(warnings.size(), 1u);
    warnings.clear();
    value(ask<caf::ok_atom>(stop_atom::value));
    kill();
  }
}

CAF_TEST(the status counts what is there) {
  begin();
  spawned(order_of("a", "w:/land"));
  value(stop("a"));
  spawned(order_of("b", "w:/land"));
  caf::anon_send(registry, report_atom::value);
  run();
  auto x = json::parse(report);
  CAF_CHECK_EQUAL(x["pods"]["ready"], 1u);
  CAF_CHECK_EQUAL(x["pods"]["stopping"], 0u);
  CAF_CHECK_EQUAL(x["ready"], true);
  CAF_CHECK_EQUAL(x["started"], 2u);
  CAF_CHECK_EQUAL(x["stopped"], 1u);
  CAF_CHECK_EQUAL(x["waiting"], 0u);
}

// -- groups -------------------------------------------------------------------

CAF_TEST(a group starts finds lists and stops its pods and hears of them) {
  begin();
  auto events = std::make_shared<std::vector<slot_event>>();
  slot_watcher_actor watcher = system->spawn(
    [=](slot_watcher_actor::pointer) -> slot_watcher_actor::behavior_type {
      return {[=](slot_atom, const slot_event& x) { events->push_back(x); }};
    });
  caf::anon_send(registry, slot_atom::value, watch_atom::value, watcher);
  slot_id slot{"g-1", 3, 7};
  auto start = [&](const pod_order& order) {
    return ask<slot_occupant>(slot_atom::value, spawn_atom::value, slot, order);
  };
  auto find = [&] {
    return ask<slot_occupant>(slot_atom::value, find_atom::value, slot);
  };
  auto list = [&](const std::string& group) {
    return value(ask<std::vector<slot_occupant>>(slot_atom::value,
                                                 list_atom::value, group));
  };
  auto stop = [&] {
    return value(ask<caf::ok_atom>(slot_atom::value, stop_atom::value, slot));
  };
  // Its paths are places, as those of other orders are.
  CAF_CHECK_EQUAL(code(start(order_of("crew-3", "w:/missing"))),
                  errc::not_found);
  CAF_CHECK_EQUAL(code(find()), errc::not_found);
  auto x = value(start(order_of("crew-3", "w:/link")));
  CAF_CHECK(x.slot == slot);
  CAF_CHECK_EQUAL(x.pid, pods->pods.at(x.id).who.pid);
  CAF_CHECK(value(this->list()).at(0).scope == rules("w:/land"));
  CAF_CHECK(value(find()) == x);
  CAF_CHECK((list("g-1") == std::vector{x}));
  CAF_CHECK(list("g-2").empty());
  CAF_CHECK_EQUAL(value(ask<std::uint64_t>(probe_atom::value)), 1u);
  stop();
  stop();
  CAF_CHECK(!pods->lives(x.id));
  CAF_CHECK(list("g-1").empty());
  CAF_REQUIRE_EQUAL(events->size(), 1u);
  CAF_CHECK(events->at(0).slot == slot);
  CAF_CHECK(events->at(0).what == slot_change::released);
}

CAF_TEST(what could never be started together is refused before it is) {
  files.insert("/state/");
  settings.grant = parts().settings.grant;
  settings.grant.deny = {{"/state", permission::read, true}};
  settings.max_pods = 2;
  settings.max_text_bytes = 1'024;
  settings.folder = "/state/" + std::string(40, 'x');
  begin();
  auto check = [this](std::vector<pod_order> orders) {
    return ask<caf::ok_atom>(slot_atom::value, check_atom::value,
                             std::move(orders));
  };
  value(check({}));
  value(check({order_of("a-0", "w:/land/part"), order_of("a-1", "w:/other")}));
  CAF_CHECK_EQUAL(
    code(check({order_of("a-0", "w:/land"), order_of("a-1", "w:/land/part")})),
    errc::conflict);
  auto generous = order_of("a-0", "w:/land");
  generous.delegation.allow = rules("w:/other");
  CAF_CHECK_EQUAL(code(check({generous})), errc::invalid_argument);
  for (std::string place : {"w:/state", "w:/state/later"})
    CAF_CHECK_EQUAL(code(check({order_of("a-0", place)})), errc::not_allowed);
  CAF_CHECK_EQUAL(
    code(check({order_of("a-0", "w:/later"), order_of("a-1", "w:/later")})),
    errc::conflict);
  // A folder that is to come may be reached by a link, too.
  auto later = order_of("a-0", "w:/land/new");
  later.cwd = "/link/new";
  value(check({later}));
  auto wordy = order_of("a-0", "w:/land", std::string(1'025, 'x'));
  CAF_CHECK_EQUAL(code(check({wordy})), errc::too_large);
  CAF_CHECK_EQUAL(code(check({order_of(std::string(48, 'a'), "w:/land")})),
                  errc::invalid_argument);
  CAF_CHECK_EQUAL(
    code(check({order_of("a-0", "r:/land"), order_of("a-1", "r:/land"),
                order_of("a-2", "r:/land")})),
    errc::too_large);
  // What is not there may come, and what somebody else has may come back.
  value(check({order_of("a-0", "w:/later")}));
  spawned(order_of("b", "w:/land"));
  value(check({order_of("a-0", "w:/land")}));
  CAF_CHECK_EQUAL(value(list()).size(), 1u);
}

CAF_TEST(a pod that answers no ping is named and not ended) {
  begin();
  auto id = spawned(order_of("a", "w:/land"));
  pods->silence(id);
  for (int i = 0; i < 4; ++i) {
    value(ask<std::uint64_t>(probe_atom::value));
    advance(settings.ping_interval);
  }
  CAF_CHECK_EQUAL(value(list()).at(0).phase, pod_phase::unreachable);
  CAF_CHECK_EQUAL(warnings.size(), 1u);
  CAF_CHECK(pods->lives(id));
  caf::anon_send(registry, report_atom::value);
  run();
  CAF_CHECK_EQUAL(json::parse(report)["hung"], 1u);
  pods->end_turn(id);
  run();
  CAF_CHECK_EQUAL(value(list()).at(0).phase, pod_phase::ready);
}

// -- pods ---------------------------------------------------------------------

CAF_TEST(a pod spawns in its own name and within its own scope) {
  begin();
  auto order = order_of("mother", "w:/land");
  order.delegation.allow = rules("w:/land");
  auto mother = spawned(order);
  auto wanted = [](const std::string& name, const std::string& target) {
    return json{{"name", name},
                {"lender", "operator"},
                {"scope", {{{"target", target}, {"permission", "write"}}}}};
  };
  auto request = wanted("child", "/land/part");
  request["command"] = {"/bin/prog"};
  request["class"] = "protocol";
  auto x = result_of(mother, "spawn", request);
  CAF_REQUIRE(x);
  CAF_CHECK(has(pods->orders.back().arguments, "--within-scope"));
  CAF_CHECK(!has(pods->orders.front().arguments, "--within-scope"));
  CAF_CHECK_EQUAL((*x)["lender"], "mother");
  auto refused_code = [&](const expected<json>& result) {
    CAF_REQUIRE(!result);
    return result.error().code;
  };
  CAF_CHECK_EQUAL(
    refused_code(result_of(mother, "spawn", wanted("thief", "/other"))),
    errc::not_allowed);
  CAF_CHECK_EQUAL(
    refused_code(result_of(mother, "spawn", wanted("none", "/missing"))),
    errc::not_found);
  CAF_CHECK_EQUAL(refused_code(result_of(mother, "spawn", {{"name", "x"}})),
                  errc::invalid_argument);
  CAF_CHECK_EQUAL(refused_code(result_of(mother, "dance")),
                  errc::invalid_argument);
  auto nameless = wanted("twin", "/land/part");
  nameless["request_id"] = "";
  CAF_CHECK_EQUAL(refused_code(result_of(mother, "spawn", nameless)),
                  errc::invalid_argument);
  // The ids of groups are no pod's.
  auto twin = wanted("twin", "/land/part");
  twin["request_id"] = to_string(slot_id{"g-1", 3, 7});
  CAF_CHECK_EQUAL(refused_code(result_of(mother, "spawn", twin)),
                  errc::invalid_argument);
  CAF_CHECK_EQUAL(
    refused_code(
      result_of(mother, "send",
                {{"name", "child"}, {"text", "go"}, {"request_id", "slot:"}})),
    errc::invalid_argument);
  // The child may not lend on.
  auto child = (*x)["id"].get<std::string>();
  CAF_CHECK_EQUAL(
    refused_code(result_of(child, "spawn", wanted("more", "/land/part"))),
    errc::not_allowed);
}

CAF_TEST(a pod speaks to its own pods and to no others) {
  begin();
  auto order = order_of("mother", "w:/land");
  order.delegation.allow = rules("w:/land");
  auto mother = spawned(order);
  spawned(order_of("other", "w:/other"));
  order = order_of("child", "w:/land/part");
  order.lender = "mother";
  auto child = spawned(order);
  auto list = result_of(mother, "list");
  CAF_REQUIRE(list);
  CAF_REQUIRE_EQUAL((*list)["pods"].size(), 1u);
  CAF_CHECK_EQUAL((*list)["pods"][0]["name"], "child");
  auto sent = result_of(mother, "send", {{"name", "child"}, {"text", "go"}});
  CAF_REQUIRE(sent);
  CAF_CHECK_EQUAL((*sent)["turn"], 1u);
  auto output = result_of(mother, "read", {{"name", "child"}});
  CAF_REQUIRE(output);
  CAF_CHECK_EQUAL((*output)["texts"].size(), 1u);
  // Its place is its own.
  CAF_CHECK_EQUAL(value(read("child")).texts.size(), 1u);
  for (auto* verb : {"send", "read", "stop"})
    for (auto* name : {"other", "mother", "nobody"}) {
      auto x = result_of(mother, verb, {{"name", name}, {"text", "go"}});
      CAF_REQUIRE(!x);
      CAF_CHECK_EQUAL(x.error().code, errc::not_found);
    }
  for (auto& [verb, params] : std::vector<std::pair<std::string, json>>{
         {"stop", json::object()},
         {"read", {{"name", 7}}},
         {"send", {{"name", "child"}}},
         {"send", {{"name", "child"}, {"text", 7}}},
         {"stop", {{"name", "child"}, {"request_id", 7}}}}) {
    auto x = result_of(mother, verb, params);
    CAF_REQUIRE(!x);
    CAF_CHECK_EQUAL(x.error().code, errc::invalid_argument);
  }
  CAF_CHECK(pods->lives(child));
  CAF_CHECK_EQUAL(pods->pods.at(mother).texts.size(), 0u);
  auto stopped = result_of(mother, "stop", {{"name", "child"}});
  CAF_REQUIRE(stopped);
  CAF_CHECK_EQUAL((*stopped)["name"], "child");
  CAF_CHECK(!pods->lives(child));
  CAF_CHECK_EQUAL(value(this->list()).size(), 2u);
}

CAF_TEST_FIXTURE_SCOPE_END()
