// SPDX-License-Identifier: Apache-2.0

// The database of a real node that was killed, cut off at any byte of its last
// commit or with any bit changed: what is opened is what was there behind some
// commit, or it is refused.

#define CAF_SUITE black_box.torn_files

#include "tests/black_box/command_line.hpp"
#include "tests/support/simulated_disk.hpp"
#include "tests/support/suite.hpp"

#include "actors/persistence/database.hpp"
#include "actors/process/environment.hpp"

#include "messages/hash.hpp"

#include <cstdlib>
#include <fstream>
#include <map>
#include <random>
#include <set>

using namespace muster;
using namespace muster::test;
using namespace std::chrono_literals;

namespace {

constexpr auto patience = 60s;

constexpr std::size_t log_header = 32;
constexpr std::size_t frame_header = 24;
constexpr std::size_t page_size = 4'096;
constexpr std::size_t frame_size = frame_header + page_size;

std::string read_file(const std::string& path) {
  std::ifstream in{path, std::ios::binary};
  return {std::istreambuf_iterator<char>{in}, {}};
}

/// The two files of a database.
struct files {
  std::string base;
  std::string log;
};

/// All that can be read of a database, or `refused` and why.
json look(const files& what) {
  simulated_disk disk;
  disk.set_contents("/state/sessions.db", what.base);
  if (!what.log.empty())
    disk.set_contents("/state/sessions.db-wal", what.log);
  persistence_settings settings;
  settings.directory = "/state";
  settings.file_system = disk.file_system();
  auto opened = database::open(settings, real_environment());
  if (!opened)
    return {{"refused", to_string(opened.error().code)}};
  auto& db = **opened;
  json out;
  auto refused = [](const failure& x) {
    return json{{"refused", to_string(x.code)}};
  };
  auto page = db.list({});
  if (!page)
    return refused(page.error());
  for (auto& session : page->sessions) {
    auto stored = db.load(session.session_id);
    if (!stored)
      return refused(stored.error());
    auto& item = out["sessions"][session.session_id];
    item["phase"] = to_string(session.phase);
    item["pending"] = session.pending;
    for (auto& batch : stored->events)
      item["events"].push_back({batch.first_seq, to_hex(batch.payload)});
    for (auto& source : stored->sources)
      item["sources"].push_back({source.hash, to_hex(source.text)});
    auto log = db.log(session.session_id, 0);
    if (!log)
      return refused(log.error());
    for (auto& line : *log)
      item["log"].push_back(to_hex(line.message));
  }
  for (auto* key : {"a", "b"}) {
    auto value = db.get({"default", key});
    if (!value)
      return refused(value.error());
    out["state"][key] = {to_hex(value->value.value_or("")), value->version};
  }
  return out;
}

/// What a node left that was killed behind some commits, and what was there
/// behind each.
struct fixture {
  fixture() {
    box.require_start({"--storage.checkpoint-pages", "1000000"});
    auto link = *box.connect();
    session_spec spec;
    spec.code = "alc.log('info', 'begun') local a = alc.llm('one') "
                "alc.state.set('a', a) return a .. alc.llm('two')";
    auto id = link->start(std::move(spec), {patience})->session_id;
    for (auto* text : {"first", "second"})
      CAF_REQUIRE(link->feed(id, {{"", text, {}}}, {patience}));
    for (auto* value : {"1", "2", "3"})
      CAF_REQUIRE(link->state_set({"default", "b"}, value, {patience}));
    link.reset();
    box.kill();
    left = {read_file(box.state() + "/sessions.db"),
            read_file(box.state() + "/sessions.db-wal")};
    // A frame that ends a commit has the size of the database in it.
    ends.push_back(log_header);
    for (auto at = log_header; at + frame_size <= left.log.size();
         at += frame_size)
      if (left.log.compare(at + 4, 4, std::string(4, '\0')) != 0)
        ends.push_back(at + frame_size);
    CAF_REQUIRE(ends.size() >= 6);
    CAF_REQUIRE_EQUAL(ends.back(), left.log.size());
    for (auto end : ends)
      states.push_back(look({left.base, left.log.substr(0, end)}));
    for (std::size_t i = 0; i < states.size(); ++i) {
      CAF_REQUIRE(!states[i].contains("refused"));
      CAF_REQUIRE(i == 0 || states[i] != states[i - 1]);
    }
    seed = std::random_device{}();
    CAF_MESSAGE("seed " << seed << ", " << states.size() << " states");
    random.seed(seed);
  }

  /// The number of the state; nothing if it is none, or none was given.
  std::optional<std::size_t> state_of(const json& seen) {
    auto i = std::find(states.begin(), states.end(), seen);
    if (i == states.end())
      return std::nullopt;
    return static_cast<std::size_t>(i - states.begin());
  }

  /// Some of all numbers from `begin` to `end`, or all of them.
  std::vector<std::size_t> some(std::size_t begin, std::size_t end,
                                std::size_t step) {
    if (std::getenv("MUSTER_EVERY_FAULT") != nullptr)
      step = 1;
    std::vector<std::size_t> out;
    for (auto i = begin + random() % step; i < end;
         i += 1 + random() % (2 * step - 1))
      out.push_back(i);
    return out;
  }

  /// The database when all that the log holds is in it.
  std::string base_with_log() {
    simulated_disk disk;
    disk.set_contents("/state/sessions.db", left.base);
    disk.set_contents("/state/sessions.db-wal", left.log);
    persistence_settings settings;
    settings.directory = "/state";
    settings.file_system = disk.file_system();
    CAF_REQUIRE(database::open(settings, real_environment()));
    return *disk.contents("/state/sessions.db");
  }

  static std::string flipped(std::string bytes, std::size_t at, int bit) {
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << bit));
    return bytes;
  }

  black_box box;
  files left;
  /// Where each commit ends in the log, and before them where the first begins.
  std::vector<std::size_t> ends;
  /// What there was at each of these places.
  std::vector<json> states;
  std::uint64_t seed = 0;
  std::mt19937_64 random;
};

} // namespace

CAF_TEST_FIXTURE_SCOPE(torn_file_tests, fixture)

CAF_TEST(a commit that was torn off is not there and the others are) {
  auto begin = ends[ends.size() - 2];
  auto places = some(begin, left.log.size(), 40);
  // The edges of all that is written at once.
  for (auto at = begin; at < left.log.size(); at += frame_size)
    for (auto edge : {at, at + 1, at + frame_header - 1, at + frame_header,
                      at + frame_header + 1, at + frame_size - 1})
      places.push_back(edge);
  CAF_MESSAGE(places.size() << " places");
  for (auto at : places) {
    auto seen = look({left.base, left.log.substr(0, at)});
    if (state_of(seen) != states.size() - 2)
      CAF_ERROR("cut at " << at << ": " << seen.dump().substr(0, 300));
  }
  CAF_CHECK(!places.empty());
}

CAF_TEST(a bit that changes in the log is noticed unless it is in the end) {
  std::map<std::string, int> outcomes;
  for (auto at : some(0, left.log.size(), 40)) {
    auto bit = static_cast<int>(random() % 8);
    auto seen = look({left.base, flipped(left.log, at, bit)});
    auto state = state_of(seen);
    auto name = seen.contains("refused") ? seen["refused"].get<std::string>()
                : state                  ? fmt::format("state {}", *state)
                                         : "another";
    ++outcomes[name];
    // The last commit may as well have been cut off by a kill. One more goes
    // without a word if the changed bit is in the checksum that says that it
    // was whole.
    if (name != "registry_corrupted" && state.value_or(0) + 3 < states.size())
      CAF_ERROR("byte " << at << ": " << seen.dump().substr(0, 300));
  }
  for (auto& [name, count] : outcomes)
    CAF_MESSAGE(name << ": " << count);
  CAF_CHECK(outcomes["registry_corrupted"] > 0);
}

CAF_TEST(a log that begins anew over an old one has lost nothing) {
  // The old commits are all in the database, and the new header is torn.
  auto base = base_with_log();
  for (std::size_t at = 12; at < log_header; ++at) {
    auto log = left.log;
    log[at] = static_cast<char>(log[at] + 1);
    CAF_CHECK(look({base, log}) == states.back());
  }
}

CAF_TEST(a bit that changes in the database is refused or stays in its table) {
  auto base = base_with_log();
  CAF_REQUIRE(look({base, {}}) == states.back());
  std::map<std::string, int> outcomes;
  for (auto at : some(0, base.size(), 40)) {
    auto bit = static_cast<int>(random() % 8);
    auto seen = look({flipped(base, at, bit), {}});
    auto name = seen.contains("refused") ? seen["refused"].get<std::string>()
                : seen == states.back()  ? "nothing to be seen"
                                         : "another value";
    ++outcomes[name];
    if (name != "another value")
      continue;
    // A text, a number or a key may be another one, for SQLite has no checksums
    // of what stands in a page; but nothing in other tables is.
    std::set<std::string> places;
    for (auto& change : json::diff(states.back(), seen)) {
      auto path = change["path"].get<std::string>();
      places.insert(path.substr(0, path.find('/', 1)));
    }
    if (places.size() != 1)
      CAF_ERROR("byte " << at << ": " << seen.dump().substr(0, 300));
  }
  for (auto& [name, count] : outcomes)
    CAF_MESSAGE(name << ": " << count);
  CAF_CHECK(outcomes["registry_corrupted"] > 0);
}

CAF_TEST_FIXTURE_SCOPE_END()
