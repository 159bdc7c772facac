// SPDX-License-Identifier: Apache-2.0

#define CAF_SUITE app.settings

#include "app/settings/configuration.hpp"
#include "app/settings/option_table.hpp"
#include "app/settings/units.hpp"
#include "tests/support/suite.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

using namespace muster;
using namespace std::chrono_literals;

namespace {

struct fixture {
  std::string folder;

  fixture() {
    char name[] = "/tmp/muster-test-XXXXXX";
    folder = ::mkdtemp(name);
  }

  ~fixture() {
    std::filesystem::remove_all(folder);
  }

  std::string write(const std::string& text) {
    auto path = folder + "/muster.ini";
    std::ofstream{path} << text;
    return path;
  }

  expected<configuration> read(const std::string& text) {
    write(text);
    return configure(folder, std::nullopt, {});
  }
};

} // namespace

CAF_TEST_FIXTURE_SCOPE(settings_tests, fixture)

// -- units --------------------------------------------------------------------

CAF_TEST(durations and sizes are read as they are shown) {
  CAF_CHECK(*parse_duration("500ms") == 500ms);
  CAF_CHECK(*parse_duration("7d") == 24h * 7);
  CAF_CHECK(*parse_duration("0s") == 0ms);
  for (auto value : {0ms, 1ms, 1'500ms, 60'000ms, 90'000ms})
    CAF_CHECK(*parse_duration(show_duration(value)) == value);
  CAF_CHECK_EQUAL(show_duration(3h), "3h");
  CAF_CHECK_EQUAL(show_duration(90s), "90s");
  CAF_CHECK_EQUAL(*parse_size("64MiB"), 64u << 20);
  CAF_CHECK_EQUAL(*parse_size("17"), 17u);
  CAF_CHECK_EQUAL(show_size(64u << 20), "64MiB");
  for (auto* text : {"", "s", "5", "5 s", "-5s", "5x", "1.5s", "ms5",
                     "99999999999999999999s", "9223372036854775807d"})
    CAF_CHECK(!parse_duration(text));
  for (auto* text : {"", "KiB", "5KB", "-1", "1.5MiB"})
    CAF_CHECK(!parse_size(text));
  for (auto* text : {"", "x", "-1", "1x", "18446744073709551616"})
    CAF_CHECK(!parse_count(text));
}

// -- the table ----------------------------------------------------------------

CAF_TEST(every option reads what it shows) {
  std::set<std::string> names;
  for (auto& x : all_options()) {
    CAF_CHECK(names.insert(x.name).second);
    CAF_CHECK(x.name.find('.') != std::string::npos);
    CAF_CHECK(!x.help.empty());
    node_settings settings;
    auto shown = x.get(settings);
    CAF_CHECK(x.set(settings, shown));
    CAF_CHECK_EQUAL(x.get(settings), shown);
    CAF_CHECK_EQUAL(find_option(x.name), &x);
  }
  CAF_CHECK(find_option("no.such") == nullptr);
}

CAF_TEST(every option refuses nonsense and names itself) {
  for (auto& x : all_options()) {
    if (x.name == "strategy.packages")
      continue;
    node_settings settings;
    auto before = x.get(settings);
    for (auto* text : {"", "nonsense", "-1", "99999999999999999999"}) {
      auto refused = x.set(settings, text);
      CAF_REQUIRE(!refused);
      CAF_CHECK_EQUAL(refused.error().code, errc::invalid_argument);
      CAF_CHECK_EQUAL(refused.error().message.find(x.name), 0u);
    }
    CAF_CHECK_EQUAL(x.get(settings), before);
  }
  node_settings settings;
  CAF_CHECK(!find_option("node.port")->set(settings, "65536"));
  CAF_CHECK(!find_option("strategy.packages")->set(settings, "relative"));
  CAF_CHECK(find_option("strategy.packages")->set(settings, "/a::/b:"));
  CAF_CHECK_EQUAL(settings.strategy.packages.size(), 2u);
}

CAF_TEST(the shipped file lists every option with its default) {
  auto path = std::string{MUSTER_TEST_DIR} + "/../config/muster.ini";
  configuration config;
  CAF_REQUIRE(read_config_file(path, config));
  node_settings defaults;
  std::ifstream in{path};
  std::string text{std::istreambuf_iterator<char>{in}, {}};
  for (auto& x : all_options()) {
    CAF_CHECK_EQUAL(x.get(config.settings), x.get(defaults));
    if (x.get(defaults).empty())
      continue; // stands there as a comment
    if (config.origins.count(x.name) != 1)
      CAF_FAIL(x.name << " is missing in config/muster.ini");
  }
  // Each with what it does.
  CAF_CHECK(text.find("; How long a session is kept after its end.")
            != std::string::npos);
}

// -- where settings come from -------------------------------------------------

CAF_TEST(the command line wins over the file and the file over the defaults) {
  auto config = read("[session]\nretention = 5m\nidle-ttl = 2h\n");
  CAF_REQUIRE(config);
  CAF_CHECK(config->settings.session.retention == 5min);
  CAF_CHECK_EQUAL(config->origins["session.retention"], "file");
  CAF_CHECK_EQUAL(config->origins.count("session.max-events"), 0u);
  auto both = configure(folder, std::nullopt,
                        {{"session.retention", "1s"}, {"node.port", "0"}});
  CAF_REQUIRE(both);
  CAF_CHECK(both->settings.session.retention == 1s);
  CAF_CHECK(both->settings.session.idle_ttl == 2h);
  CAF_CHECK_EQUAL(both->settings.gate.port, 0u);
  CAF_CHECK_EQUAL(both->origins["session.retention"], "command line");
  CAF_CHECK_EQUAL(both->settings.storage.directory, folder);
}

CAF_TEST(a file with a mistake is refused with file and option) {
  for (auto& [text, part] : std::vector<std::pair<const char*, const char*>>{
         {"[session]\nretension = 5m\n", "session.retension"},
         {"[session]\nretention = soon\n", "session.retention"},
         {"[session]\nretention = -5m\n", "session.retention"},
         {"retention = 5m\n", "retention"},
         {"[node]\nport = 70000\n", "node.port"}}) {
    auto config = read(text);
    CAF_REQUIRE(!config);
    CAF_CHECK_EQUAL(config.error().code, errc::invalid_argument);
    CAF_CHECK(config.error().message.find(folder) != std::string::npos);
    CAF_CHECK(config.error().message.find(part) != std::string::npos);
  }
  CAF_CHECK(!configure(folder, folder + "/missing.ini", {}));
}

CAF_TEST(the state directory is found in its order) {
  ::unsetenv("MUSTER_STATE_DIR");
  ::unsetenv("XDG_STATE_HOME");
  ::setenv("HOME", "/home/x", 1);
  CAF_CHECK_EQUAL(find_state_directory({}), "/home/x/.local/state/muster");
  ::setenv("XDG_STATE_HOME", "/xdg", 1);
  CAF_CHECK_EQUAL(find_state_directory({}), "/xdg/muster");
  ::setenv("MUSTER_STATE_DIR", "/mine", 1);
  CAF_CHECK_EQUAL(find_state_directory({}), "/mine");
  CAF_CHECK_EQUAL(find_state_directory("/given"), "/given");
  ::unsetenv("MUSTER_STATE_DIR");
  ::unsetenv("XDG_STATE_HOME");
}

CAF_TEST(the configuration file is found in its order) {
  ::unsetenv("MUSTER_CONFIG");
  CAF_CHECK_EQUAL(find_config_file({}, folder), "");
  auto path = write("");
  CAF_CHECK_EQUAL(find_config_file({}, folder), path);
  ::setenv("MUSTER_CONFIG", "/env.ini", 1);
  CAF_CHECK_EQUAL(find_config_file({}, folder), "/env.ini");
  CAF_CHECK_EQUAL(find_config_file("/given.ini", folder), "/given.ini");
  ::unsetenv("MUSTER_CONFIG");
}

CAF_TEST_FIXTURE_SCOPE_END()
