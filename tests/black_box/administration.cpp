// SPDX-License-Identifier: Apache-2.0

// `muster node`, `status`, `doctor`, `version` and `config`, global options,
// and how a client finds its node.

#define CAF_SUITE black_box.administration

#include "tests/black_box/command_line.hpp"
#include "tests/support/suite.hpp"

#include <filesystem>
#include <fstream>
#include <iterator>

#include <signal.h>

using namespace muster;
using namespace muster::test;
using namespace std::chrono_literals;

namespace {

constexpr auto patience = 60s;

std::string text_of(const std::string& path) {
  std::ifstream in{path, std::ios::binary};
  return {std::istreambuf_iterator<char>{in}, {}};
}

struct fixture {
  static std::vector<std::string> node_arguments(black_box&) {
    return {};
  }

  /// With a node that nobody stops.
  black_box& box = shared_node<fixture>();

  std::string address() {
    return fmt::format("127.0.0.1:{}", box.ready()["port"].dump());
  }

  /// Checks a usage error.
  void refused(program_result result, int exit_code, const std::string& code,
               const std::vector<std::string>& parts) {
    CAF_CHECK_EQUAL(result.code, exit_code);
    CAF_CHECK_EQUAL(result.out, "");
    auto error = only_document(result.err)["error"];
    CAF_CHECK_EQUAL(fields_of(error), "code message");
    CAF_CHECK_EQUAL(error["code"], code);
    for (auto& part : parts)
      if (!contains(error["message"], part))
        CAF_ERROR("'" << part << "' is missing in: " << error["message"]);
  }

  /// What the doctor finds in a check.
  static json finding(black_box& where, const std::string& check) {
    auto report = only_document(where.run_json({"doctor"}).out);
    for (auto& x : report["checks"])
      if (x["check"] == check)
        return x;
    return {};
  }

  /// What an option is set to and where that came from.
  std::string option(const std::string& name, std::vector<std::string> more,
                     program_options how = {}, black_box* where = nullptr) {
    more.insert(more.end(), {"config", "show"});
    auto result = (where != nullptr ? *where : box).run_json(more, how);
    auto document = only_document(result.out);
    for (auto& x : document["options"])
      if (x["name"] == name)
        return x["value"].get<std::string>() + " "
               + x["origin"].get<std::string>();
    return "absent";
  }
};

} // namespace

CAF_TEST_FIXTURE_SCOPE(administration_tests, fixture)

// -- node ---------------------------------------------------------------------

CAF_TEST(a node prints one line when it is ready and no other) {
  black_box own;
  CAF_REQUIRE(own.start());
  CAF_CHECK_EQUAL(fields_of(own.ready()), "event host pid port state_dir");
  CAF_CHECK_EQUAL(own.ready()["event"], "ready");
  CAF_CHECK_EQUAL(own.ready()["host"], "127.0.0.1");
  CAF_CHECK_EQUAL(own.ready()["pid"], own.node().pid());
  CAF_CHECK_EQUAL(own.ready()["state_dir"], own.state());
  CAF_CHECK_EQUAL(own.run_script("print('not here') return 1")["result"], 1);
  auto document = json::parse(text_of(own.state() + "/node.json"));
  CAF_CHECK_EQUAL(fields_of(document), "host pid port started_at tls version");
  CAF_CHECK_EQUAL(document["port"], own.ready()["port"]);
  auto result = own.stop();
  CAF_CHECK_EQUAL(result.code, 0);
  CAF_CHECK_EQUAL(lines_of(result.out).size(), 1u);
  CAF_CHECK(!std::filesystem::exists(own.state() + "/node.json"));
}

CAF_TEST(without JSON the ready line is text) {
  black_box own;
  auto node = launch(own, {"node", "--port", "0"});
  auto line = node->read_line(patience);
  CAF_CHECK(line.starts_with("muster is ready on 127.0.0.1:"));
  CAF_CHECK(line.ends_with(", state in " + own.state()));
  node->signal(SIGTERM);
  CAF_CHECK_EQUAL(end_of(*node).out, line + "\n");
}

CAF_TEST(a state directory has one node) {
  auto result = box.run_json({"node", "--port", "0"});
  refused(result, 6, "in_use", {box.state(), std::to_string(box.node().pid())});
  CAF_CHECK_EQUAL(box.run({"status"}).code, 0);
}

CAF_TEST(a port that is taken is refused) {
  black_box own;
  refused(own.run_json({"node", "--port", box.ready()["port"].dump()}), 6,
          "in_use", {box.ready()["port"].dump()});
}

CAF_TEST(options of a node that make no sense are refused and named) {
  black_box own;
  struct row {
    std::vector<std::string> arguments;
    std::vector<std::string> parts;
  };
  for (auto& [arguments, parts] :
       {row{{"--port", "x"}, {"node.port", "'x'"}},
        row{{"--port", "70000"}, {"node.port", "70000"}},
        row{{"--session.max-response", "0"}, {"session.max-response"}},
        row{{"--tick.interval", "5"}, {"tick.interval", "'5'"}},
        row{{"--no.such", "1"}, {"--no.such"}}, row{{"extra"}, {"extra"}}}) {
    auto all = arguments;
    all.insert(all.begin(), "node");
    refused(own.run_json(all), 2, "invalid_argument", parts);
  }
  auto file = own.folder.write("file", "");
  refused(own.run_json({"node", "--state-dir", file}), 2, "invalid_argument",
          {file});
}

CAF_TEST(a node may be started without standard streams) {
  black_box own;
  // Were they left closed, the files of the node would take their places, and
  // its ready line would end up in one of them.
  program_options how;
  how.variables["MUSTER_STATE_DIR"] = own.state();
  process node{
    {"/bin/sh", "-c",
     fmt::format("exec {} node --port 0 <&- >&- 2>&-", MUSTER_PROGRAM)},
    how};
  CAF_REQUIRE(eventually([&] { return own.run({"status"}).code == 0; }));
  for (auto& entry : std::filesystem::recursive_directory_iterator{own.state()})
    if (entry.is_regular_file())
      CAF_CHECK(!contains(text_of(entry.path()), "ready"));
  auto lock = text_of(own.state() + "/lock");
  CAF_CHECK_EQUAL(lock.substr(0, lock.find_first_not_of("0123456789")),
                  std::to_string(node.pid()));
  node.signal(SIGTERM);
  CAF_CHECK_EQUAL(end_of(node).code, 0);
}

// -- status, doctor, version --------------------------------------------------

CAF_TEST(the status has every part with its age) {
  // Each part reports by itself, soon after the start.
  json status;
  CAF_REQUIRE(eventually([&] {
    status = only_document(box.run_json({"status"}).out);
    return status["sessions"].contains("active")
           && status["tick"].contains("completed")
           && status["storage"].contains("writable");
  }));
  CAF_CHECK(status["version"].is_string());
  CAF_CHECK(status["uptime_ms"].is_number_unsigned());
  for (auto* part : {"sessions", "tick", "storage"})
    CAF_CHECK(status[part]["age_ms"].is_number_unsigned());
  CAF_CHECK_EQUAL(status["storage"]["writable"], true);
  auto text = box.run({"status"});
  CAF_CHECK_EQUAL(text.code, 0);
  CAF_CHECK(contains(text.out, "storage.writable\ttrue\n"));
}

CAF_TEST(the doctor looks at everything and finds a sound node) {
  auto result = box.run_json({"doctor"});
  CAF_CHECK_EQUAL(result.code, 0);
  auto report = only_document(result.out);
  CAF_CHECK_EQUAL(fields_of(report), "checks state_dir");
  CAF_CHECK_EQUAL(report["state_dir"], box.state());
  std::string checks;
  for (auto& x : report["checks"]) {
    CAF_CHECK_EQUAL(fields_of(x), "check detail ok");
    CAF_CHECK_EQUAL(x["ok"], true);
    checks += x["check"].get<std::string>() + ", ";
  }
  CAF_CHECK_EQUAL(checks, "configuration, room on disk, database, documents, "
                          "certificates, node, ");
  for (auto& line : lines_of(box.run({"doctor"}).out))
    CAF_CHECK(line.starts_with("ok\t"));
}

CAF_TEST(the doctor needs no node) {
  black_box own;
  CAF_CHECK_EQUAL(own.run_json({"doctor"}).code, 0);
  own.require_start();
  paused_session(own, "return alc.llm('q')");
  own.stop();
  auto report = only_document(own.run_json({"doctor"}).out);
  CAF_CHECK(contains(report.dump(), "sound, 1 sessions wait for answers"));
}

CAF_TEST(the doctor finds a broken configuration and a broken database) {
  black_box own;
  auto broken = own.folder.write("broken.ini", "[node]\nprot = 1\n");
  auto result = own.run_json({"doctor", "--config", broken});
  CAF_CHECK_EQUAL(result.code, 2);
  auto report = only_document(result.out);
  CAF_CHECK_EQUAL(report["checks"][0]["ok"], false);
  CAF_CHECK(contains(report["checks"][0]["detail"], "node.prot"));
  std::filesystem::create_directories(own.state());
  std::ofstream{own.state() + "/sessions.db"} << std::string(8'192, 'x');
  auto sick = own.run_json({"doctor"});
  CAF_CHECK_EQUAL(sick.code, 8);
  CAF_CHECK_EQUAL(only_document(sick.out)["checks"][2]["ok"], false);
  CAF_CHECK(contains(own.run({"doctor"}).out, "FAULT\tdatabase\t"));
}

CAF_TEST(the doctor reads the documents of all registries) {
  black_box own;
  auto documents = [&] { return finding(own, "documents"); };
  CAF_CHECK_EQUAL(documents()["detail"], "there are none yet");
  own.require_start();
  CAF_CHECK_EQUAL(
    own.run({"group", "create", "crew", "--kind", "worker", "--slots", "1"})
      .code,
    0);
  CAF_CHECK(eventually([&] { return documents()["detail"] == "2 sound"; }));
  own.stop();
  CAF_CHECK_EQUAL(documents()["ok"], true);
  std::vector<std::string> damaged;
  for (auto* name :
       {"groups/crew.json", "pods/pods.json", "pool/registry.json"}) {
    damaged.push_back(own.state() + "/" + name);
    std::filesystem::create_directories(
      std::filesystem::path{damaged.back()}.parent_path());
    std::ofstream{damaged.back()} << "{";
    auto found = documents();
    CAF_CHECK_EQUAL(found["ok"], false);
    for (auto& path : damaged)
      CAF_CHECK(contains(found["detail"], path));
    CAF_CHECK_EQUAL(own.run({"doctor"}).code, 8);
  }
}

CAF_TEST(the doctor looks at the certificates) {
  black_box own;
  auto certificates = [&] { return finding(own, "certificates"); };
  CAF_CHECK_EQUAL(certificates()["detail"], "there are none yet");
  own.require_start();
  own.stop();
  auto days = "the authority is good for 3649 days, 'node' for 364, 'local' "
              "for 364";
  CAF_CHECK_EQUAL(certificates()["detail"], days);
  auto config
    = own.folder.write("short.ini", "[tls]\ncertificate-lifetime = 72h\n");
  auto issue = [&](const char* name, std::vector<std::string> more) {
    more.insert(more.begin(), {"tls", "issue", name, "--out",
                               own.folder.path() + "/" + name});
    CAF_CHECK_EQUAL(own.run(more).code, 0);
  };
  issue("long", {});
  issue("short", {"--config", config});
  auto all = certificates();
  CAF_CHECK_EQUAL(all["detail"],
                  std::string{days}
                    + ", of the others 'short' ends first, in 2");
  CAF_CHECK_EQUAL(all["ok"], true);
  // Whatever is wrong with a file is a fault, in the words of a start.
  auto tls = own.state() + "/tls/";
  auto is_fault = [&](const std::string& file, const std::string& why) {
    auto found = certificates();
    CAF_CHECK_EQUAL(found["ok"], false);
    CAF_CHECK(contains(found["detail"], file + "' " + why));
    CAF_CHECK_EQUAL(own.run({"doctor"}).code, 5);
  };
  for (auto* key : {"ca.key", "node.key", "client.key"}) {
    std::filesystem::permissions(tls + key, std::filesystem::perms{0644});
    is_fault(key, "is open to others");
    std::filesystem::permissions(tls + key, std::filesystem::perms{0600});
  }
  for (auto* file : {"ca.pem", "node.pem", "client.pem", "crl.pem"}) {
    std::filesystem::rename(tls + file, tls + "away");
    is_fault(file, "is missing");
    std::filesystem::rename(tls + "away", tls + file);
  }
  CAF_CHECK(certificates() == all);
}

CAF_TEST(a path that is no valid text does not spoil a document) {
  black_box own;
  auto result
    = own.run_json({"doctor", "--state-dir", own.folder.path() + "/d\xff"});
  CAF_CHECK_EQUAL(result.code, 0);
  CAF_CHECK_EQUAL(only_document(result.out)["state_dir"],
                  own.folder.path() + "/d\uFFFD");
}

CAF_TEST(the version needs no node) {
  black_box own;
  auto result = own.run_json({"version"});
  CAF_CHECK_EQUAL(result.code, 0);
  CAF_CHECK_EQUAL(fields_of(only_document(result.out)),
                  "caf libc lua sqlite version");
  auto text = lines_of(own.run({"version"}).out);
  CAF_REQUIRE_EQUAL(text.size(), 1u);
  CAF_CHECK(text[0].starts_with("muster "));
}

// -- config -------------------------------------------------------------------

CAF_TEST(every option is shown with its value and where it is from) {
  auto result = box.run_json({"config", "show"});
  CAF_CHECK_EQUAL(result.code, 0);
  auto document = only_document(result.out);
  CAF_CHECK_EQUAL(fields_of(document), "file options state_dir");
  CAF_CHECK(document["file"].is_null());
  CAF_CHECK_EQUAL(document["state_dir"], box.state());
  for (auto& x : document["options"]) {
    CAF_CHECK_EQUAL(fields_of(x), "default help name origin value");
    CAF_CHECK_EQUAL(x["value"], x["default"]);
    CAF_CHECK_EQUAL(x["origin"], "default");
  }
  auto text = lines_of(box.run({"config", "show"}).out);
  CAF_CHECK_EQUAL(text.size(), document["options"].size());
  CAF_CHECK_EQUAL(text[0], "node.port\t7411\tdefault");
}

CAF_TEST(a file that is named wins over the variable and that over the state) {
  black_box own;
  std::filesystem::create_directories(own.state());
  std::ofstream{own.state() + "/muster.ini"} << "[node]\nport = 1001\n";
  auto second = own.folder.write("second.ini", "[node]\nport = 1002\n");
  auto third = own.folder.write("third.ini", "[node]\nport = 1003\n");
  program_options how;
  CAF_CHECK_EQUAL(option("node.port", {}, how, &own), "1001 file");
  how.variables["MUSTER_CONFIG"] = second;
  CAF_CHECK_EQUAL(option("node.port", {}, how, &own), "1002 file");
  CAF_CHECK_EQUAL(option("node.port", {"--config", third}, how, &own),
                  "1003 file");
  auto checked = own.run_json({"config", "check"}, how);
  CAF_CHECK_EQUAL(checked.code, 0);
  CAF_CHECK_EQUAL(only_document(checked.out)["file"], second);
  // The command line wins over all of them.
  CAF_REQUIRE(own.start({"--config", third}));
  CAF_CHECK(own.ready()["port"] != 1003);
  own.stop();
}

CAF_TEST(a fine configuration file is said to be fine) {
  auto path = box.folder.write("fine.ini", "; a comment\n\n[session]\n"
                                           "max-response = 16KiB\n"
                                           "[tick]\ninterval = 250ms\n");
  auto result = box.run_json({"config", "check", path});
  CAF_CHECK_EQUAL(result.code, 0);
  CAF_CHECK_EQUAL(only_document(result.out),
                  (json{{"file", path}, {"options", 2}}));
  CAF_CHECK_EQUAL(box.run({"config", "check", path}).out,
                  path + " is fine: it sets 2 options\n");
}

CAF_TEST(a broken configuration file is refused naming file and option) {
  black_box own;
  struct row {
    const char* text;
    const char* part;
  };
  for (auto& [text, part] :
       {row{"[session]\nmax-respons = 10\n", "session.max-respons"},
        row{"[session]\nmax-response = ten\n", "session.max-response"},
        row{"[session]\nmax-response = 0\n", "session.max-response"},
        row{"[session]\nmax-response =\n", "session.max-response"},
        row{"[session]\nmax-response\n", "session.max-response"},
        row{"[session]\nmax-response = 1\nmax-response = 2\n",
            "session.max-response"},
        row{"max-response = 10\n", "max-response"},
        row{"[no-such]\nport = 1\n", "no-such.port"},
        row{"[session\nmax-response = 10\n", "session"},
        row{"some words\n", "some"}}) {
    auto path = own.folder.write("broken.ini", text);
    for (auto& arguments : {std::vector<std::string>{"config", "check", path},
                            {"config", "show", "--config", path},
                            {"node", "--config", path, "--port", "0"}})
      refused(own.run_json(arguments), 2, "invalid_argument", {path, part});
  }
}

CAF_TEST(a configuration file that cannot be read is refused) {
  for (auto& path : {box.folder.path() + "/no-such.ini", box.folder.path()}) {
    refused(box.run_json({"config", "check", path}), 2, "invalid_argument",
            {path});
    refused(box.run_json({"node", "--config", path}), 2, "invalid_argument",
            {path});
  }
  refused(box.run_json({"config", "check"}), 3, "not_found", {"configuration"});
}

// -- global options -----------------------------------------------------------

CAF_TEST(global options may stand before and behind the verb) {
  program_options elsewhere;
  elsewhere.variables["MUSTER_STATE_DIR"] = "/nonexistent";
  elsewhere.variables["MUSTER_TLS"] = box.state() + "/tls";
  auto port = address();
  for (auto& arguments :
       {std::vector<std::string>{"--node", port, "--json", "session", "list"},
        {"session", "--node", port, "list", "--json"},
        {"session", "list", "--json", "--node", port},
        {"--json", "session", "list", "--node=" + port},
        {"session", "list", "--state-dir", box.state(), "--json"},
        {"--state-dir", box.state(), "session", "--json", "list"}}) {
    auto result = box.run(arguments, elsewhere);
    CAF_CHECK_EQUAL(result.code, 0);
    CAF_CHECK(only_document(result.out).contains("sessions"));
  }
}

CAF_TEST(what is no command is refused and named) {
  refused(box.run_json({"frobnicate"}), 2, "invalid_argument", {"frobnicate"});
  refused(box.run_json({"session", "frobnicate"}), 2, "invalid_argument",
          {"frobnicate"});
  refused(box.run_json({"status", "--frobnicate"}), 2, "invalid_argument",
          {"--frobnicate"});
  refused(box.run_json({"status", "extra"}), 2, "invalid_argument", {"extra"});
  refused(box.run_json({"session", "show"}), 2, "invalid_argument", {"ID"});
  refused(box.run_json({"session"}), 2, "invalid_argument", {});
  refused(box.run_json({}), 2, "invalid_argument", {});
  auto text = box.run({"frobnicate"});
  CAF_CHECK_EQUAL(text.code, 2);
  CAF_CHECK(text.err.starts_with("muster: "));
  CAF_CHECK(contains(text.err, "frobnicate"));
}

CAF_TEST(help goes to standard output) {
  for (auto& arguments : {std::vector<std::string>{"--help"},
                          {"session", "--help"},
                          {"session", "feed", "--help"}}) {
    auto result = box.run(arguments);
    CAF_CHECK_EQUAL(result.code, 0);
    CAF_CHECK(contains(result.out, "Usage:"));
    CAF_CHECK_EQUAL(result.err, "");
  }
}

CAF_TEST(a result that cannot be written is no success) {
  program_options how;
  how.variables["MUSTER_STATE_DIR"] = box.state();
  process full{
    {"/bin/sh", "-c",
     fmt::format("exec {} version --json > /dev/full", MUSTER_PROGRAM)},
    how};
  auto result = end_of(full);
  CAF_CHECK_EQUAL(result.code, 1);
  CAF_CHECK(contains(only_document(result.err).dump(), "standard output"));
}

// -- finding the node ---------------------------------------------------------

CAF_TEST(the node is found by option then variable then state directory) {
  black_box other;
  other.require_start();
  paused_session(other, "return alc.llm('q')");
  auto other_port = fmt::format("127.0.0.1:{}", other.ready()["port"].dump());
  auto paused = [&](std::vector<std::string> more, program_options how = {}) {
    more.insert(more.end(), {"session", "list"});
    return box.run_json(more, how).document()["sessions"].size();
  };
  program_options how;
  CAF_CHECK_EQUAL(paused({}), 0u);
  how.variables["MUSTER_NODE"] = other_port;
  how.variables["MUSTER_TLS"] = other.state() + "/tls";
  CAF_CHECK_EQUAL(paused({}, how), 1u);
  CAF_CHECK_EQUAL(
    paused({"--node", address(), "--tls", box.state() + "/tls"}, how), 0u);
  how.variables["MUSTER_NODE"] = "";
  how.variables["MUSTER_TLS"] = "";
  CAF_CHECK_EQUAL(paused({}, how), 0u);
}

CAF_TEST(without a node commands exit with 4) {
  black_box own;
  for (auto& arguments : {std::vector<std::string>{"status"},
                          {"session", "list"},
                          {"session", "show", "s-1"},
                          {"state", "list"},
                          {"run", own.folder.write("script.lua", "return 1")}})
    refused(own.run_json(arguments), 4, "unreachable",
            {own.state(), "muster node"});
  auto text = own.run({"status"});
  CAF_CHECK_EQUAL(text.code, 4);
  CAF_CHECK(text.err.starts_with("muster: no node is running"));
}

CAF_TEST(a closed port exits with 4) {
  refused(box.run_json({"status", "--node", "127.0.0.1:1"}), 4, "unreachable",
          {"127.0.0.1:1"});
  program_options how;
  how.variables["MUSTER_NODE"] = "127.0.0.1:1";
  refused(box.run_json({"status"}, how), 4, "unreachable", {"127.0.0.1:1"});
}

CAF_TEST(what is no address is refused) {
  for (auto* text : {"x", ":1", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0",
                     "127.0.0.1:65536", "127.0.0.1:x", "127.0.0.1:1x", ""}) {
    refused(box.run_json({"status", "--node", text}), 2, "invalid_argument",
            {fmt::format("'{}'", text)});
  }
  program_options how;
  how.variables["MUSTER_NODE"] = "x";
  refused(box.run_json({"status"}, how), 2, "invalid_argument", {"'x'"});
}

CAF_TEST(a file that a dead node left behind exits with 4) {
  black_box own;
  own.require_start();
  auto port = own.ready()["port"].dump();
  own.kill();
  CAF_REQUIRE(std::filesystem::exists(own.state() + "/node.json"));
  refused(own.run_json({"status"}), 4, "unreachable", {});
  // Nor is a node of another state directory meant that has its port now.
  black_box other;
  auto node = launch(other, {"node", "--port", port});
  CAF_REQUIRE(contains(node->read_line(patience), "127.0.0.1:" + port));
  refused(own.run_json({"status"}), 4, "unreachable", {own.state()});
  CAF_CHECK_EQUAL(other.run({"status"}).code, 0);
}

CAF_TEST(a file that says nothing about a node exits with 8) {
  black_box own;
  std::filesystem::create_directories(own.state());
  for (auto* text : {"", "{", "[]", "{\"host\":1,\"port\":1}",
                     "{\"host\":\"127.0.0.1\",\"port\":70000}",
                     "{\"host\":\"127.0.0.1\",\"port\":0}",
                     "{\"host\":\"127.0.0.1\",\"port\":-1}"}) {
    std::ofstream{own.state() + "/node.json"} << text;
    refused(own.run_json({"status"}), 8, "registry_corrupted",
            {own.state() + "/node.json"});
  }
}

CAF_TEST_FIXTURE_SCOPE_END()
