// SPDX-License-Identifier: Apache-2.0

// A state directory that is not what it should be: damaged, newer, or another
// node's. What matters is never touched, what does not is replaced.

#define CAF_SUITE black_box.broken_files

#include "tests/black_box/program.hpp"
#include "tests/support/suite.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

using namespace muster;
using namespace muster::test;
using namespace std::chrono_literals;

namespace {

constexpr std::size_t page_size = 4'096;

std::string read_file(const std::string& path) {
  std::ifstream in{path, std::ios::binary};
  return {std::istreambuf_iterator<char>{in}, {}};
}

void write_file(const std::string& path, const std::string& bytes) {
  std::ofstream{path, std::ios::binary | std::ios::trunc} << bytes;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// A port that somebody else listens on.
class foreign_port {
public:
  foreign_port() : descriptor_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    socklen_t size = sizeof(address);
    if (::bind(descriptor_, generic, size) != 0 || ::listen(descriptor_, 1) != 0
        || ::getsockname(descriptor_, generic, &size) != 0)
      throw std::runtime_error{"no port left"};
    number_ = std::to_string(ntohs(address.sin_port));
  }

  ~foreign_port() {
    ::close(descriptor_);
  }

  foreign_port(const foreign_port&) = delete;

  foreign_port& operator=(const foreign_port&) = delete;

  [[nodiscard]] const std::string& number() const {
    return number_;
  }

private:
  int descriptor_;
  std::string number_;
};

/// A state directory that a node left in order, with a session in it.
struct left_state {
  left_state() {
    box.require_start();
    id = box.run_script("return alc.llm('what is left?')")["session_id"];
    // Long enough to fill pages of its own.
    auto big = "\"" + std::string(3 * page_size, 'v') + "\"";
    CAF_REQUIRE_EQUAL(box.run({"state", "set", "big", big}).code, 0);
    CAF_REQUIRE_EQUAL(box.stop().code, 0);
    whole = read_file(database());
    CAF_REQUIRE(whole.size() >= 5 * page_size);
  }

  [[nodiscard]] std::string database() const {
    return box.state() + "/sessions.db";
  }

  /// Starts a node that has to refuse these bytes in place of its database.
  /// It would fail otherwise, if it came as far as its port: that is taken.
  void check_refused(const std::string& bytes, const std::string& code,
                     const std::string& cause) {
    write_file(database(), bytes);
    auto result = box.run_json({"node", "--port", port.number()});
    CAF_CHECK_EQUAL(result.code, 8);
    CAF_CHECK_EQUAL(result.out, "");
    CAF_CHECK_EQUAL(result.error_code(), code);
    CAF_CHECK(contains(result.err, database()));
    CAF_CHECK(contains(result.err, cause));
    CAF_CHECK(read_file(database()) == bytes);
    CAF_CHECK(!std::filesystem::exists(box.state() + "/node.json"));
  }

  /// The whole database in its place again is as good as ever.
  void check_repaired() {
    write_file(database(), whole);
    box.require_start();
    CAF_CHECK_EQUAL(box.run({"session", "feed", id, "all"}).out, "\"all\"\n");
    CAF_CHECK_EQUAL(box.stop().code, 0);
  }

  black_box box;
  foreign_port port;
  std::string id;
  std::string whole;
};

} // namespace

// -- the database -------------------------------------------------------------

CAF_TEST(a database with a broken header is refused and left as it is) {
  left_state left;
  auto bytes = left.whole;
  bytes.replace(0, 16, "not a database!!");
  left.check_refused(bytes, "registry_corrupted", "not a database");
  left.check_refused("SQLite", "registry_corrupted", "not a database");
  left.check_repaired();
}

CAF_TEST(a database that was cut off is refused and left as it is) {
  left_state left;
  for (auto size :
       {left.whole.size() - page_size, left.whole.size() / 2, 2 * page_size,
        page_size, std::size_t{512}, std::size_t{100}}) {
    CAF_MESSAGE("cut to " << size);
    left.check_refused(left.whole.substr(0, size), "registry_corrupted", "");
  }
  left.check_repaired();
}

CAF_TEST(a database with a broken page is refused and left as it is) {
  left_state left;
  for (std::size_t at = page_size; at < left.whole.size(); at += page_size) {
    CAF_MESSAGE("page " << at / page_size);
    auto bytes = left.whole;
    bytes.replace(at, 12, std::string(12, '\xfe'));
    left.check_refused(bytes, "registry_corrupted", "damaged");
  }
  left.check_repaired();
}

CAF_TEST(a database that is empty beside its log is refused and left so) {
  left_state left;
  left.box.require_start();
  CAF_CHECK_EQUAL(left.box.run({"session", "feed", left.id, "all"}).code, 0);
  left.box.kill();
  auto whole = read_file(left.database());
  auto log = read_file(left.database() + "-wal");
  CAF_REQUIRE(!log.empty());
  std::filesystem::remove(left.box.state() + "/node.json");
  left.check_refused("", "registry_corrupted", "-wal");
  CAF_CHECK(read_file(left.database() + "-wal") == log);
  std::filesystem::remove(left.database());
  auto missing = left.box.run_json({"node", "--port", left.port.number()});
  CAF_CHECK_EQUAL(missing.code, 8);
  CAF_CHECK_EQUAL(missing.out, "");
  CAF_CHECK(read_file(left.database() + "-wal") == log);
  // Neither was made worse by the attempts.
  write_file(left.database(), whole);
  left.box.require_start();
  CAF_CHECK(contains(left.box.run({"session", "show", left.id}).out, "all"));
}

CAF_TEST(a newer database is refused and left as it is) {
  left_state left;
  process newer{
    {"/usr/bin/sqlite3", left.database(), "PRAGMA user_version=9999"}, {}};
  auto changed = newer.wait(30s);
  CAF_REQUIRE(changed);
  CAF_REQUIRE_EQUAL(changed->code, 0);
  left.check_refused(read_file(left.database()), "newer_format", "9999");
  left.check_repaired();
}

CAF_TEST(a database of another program is refused and left as it is) {
  left_state left;
  std::filesystem::remove(left.database());
  process other{{"/usr/bin/sqlite3", left.database(), "CREATE TABLE theirs(x)"},
                {}};
  auto made = other.wait(30s);
  CAF_REQUIRE(made);
  CAF_REQUIRE_EQUAL(made->code, 0);
  left.check_refused(read_file(left.database()), "registry_corrupted",
                     "another program");
  left.check_repaired();
}

// -- what a dead node left ----------------------------------------------------

CAF_TEST(the address of a dead node or a broken one is replaced) {
  black_box box;
  box.require_start();
  box.kill();
  auto path = box.state() + "/node.json";
  CAF_REQUIRE(std::filesystem::exists(path));
  auto unreachable = box.run_json({"session", "list"});
  CAF_CHECK_EQUAL(unreachable.code, 4);
  for (auto* text : {"", "{\"host\":", "[1]", "\xff\xfe"}) {
    write_file(path, text);
    auto broken = box.run_json({"session", "list"});
    CAF_CHECK(broken.code == 8 || broken.code == 4);
    CAF_CHECK(contains(broken.err, box.state()));
    box.require_start();
    auto document = json::parse(read_file(path));
    CAF_CHECK_EQUAL(document["pid"], box.node().pid());
    CAF_CHECK_EQUAL(document["port"], box.ready()["port"]);
    CAF_CHECK_EQUAL(box.run({"session", "list"}).code, 0);
    box.kill();
  }
}

CAF_TEST(what stands in the lock of a dead node does no harm) {
  black_box box;
  box.require_start();
  box.kill();
  auto long_text = std::string(100'000, '9');
  for (auto& text : {std::string{}, std::string{"nobody\n"}, long_text,
                     std::string{"1\n"}, std::string("\0\0\0", 3)}) {
    write_file(box.state() + "/lock", text);
    box.require_start();
    CAF_CHECK_EQUAL(read_file(box.state() + "/lock"),
                    fmt::format("{}\n", box.node().pid()));
    box.kill();
  }
}

// -- what another node holds --------------------------------------------------

CAF_TEST(a second node on a state directory names the first and goes) {
  black_box box;
  box.require_start();
  auto id = box.run_script("return alc.llm('q')")["session_id"];
  auto address = read_file(box.state() + "/node.json");
  auto second = box.run_json({"node", "--port", "0"});
  CAF_CHECK_EQUAL(second.code, 6);
  CAF_CHECK_EQUAL(second.out, "");
  CAF_CHECK_EQUAL(second.error_code(), "in_use");
  CAF_CHECK(contains(second.err, box.state()));
  CAF_CHECK(contains(second.err, std::to_string(box.node().pid())));
  // The same for one that would come again and again.
  CAF_CHECK_EQUAL(box.run_json({"node", "--restart", "--port", "0"}).code, 6);
  CAF_CHECK_EQUAL(read_file(box.state() + "/node.json"), address);
  CAF_CHECK_EQUAL(box.run({"session", "feed", id, "x"}).out, "\"x\"\n");
  CAF_CHECK_EQUAL(box.stop().code, 0);
}

CAF_TEST(a node whose port is taken says so and leaves nothing behind) {
  foreign_port port;
  black_box box;
  auto refused = box.run_json({"node", "--port", port.number()});
  CAF_CHECK_EQUAL(refused.code, 6);
  CAF_CHECK_EQUAL(refused.out, "");
  CAF_CHECK(contains(refused.err, "127.0.0.1:" + port.number()));
  CAF_CHECK(!std::filesystem::exists(box.state() + "/node.json"));
  box.require_start();
  CAF_CHECK_EQUAL(box.run({"session", "list"}).code, 0);
}
