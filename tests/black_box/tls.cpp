// SPDX-License-Identifier: Apache-2.0

// The real port: who is let in, who is not, and what strangers can do there.

#define CAF_SUITE black_box.tls

#include "tests/black_box/eventually.hpp"
#include "tests/black_box/program.hpp"
#include "tests/black_box/stranger.hpp"
#include "tests/support/suite.hpp"

#include "actors/remote/certificates.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

using namespace muster;
using namespace muster::test;
using namespace std::chrono_literals;

namespace fs = std::filesystem;

namespace {

constexpr std::int64_t day_ms = 24 * 3'600 * 1'000;

std::int64_t wall_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
           std::chrono::system_clock::now().time_since_epoch())
    .count();
}

std::string text_of(const std::string& path) {
  std::ifstream in{path, std::ios::binary};
  return {std::istreambuf_iterator<char>{in}, {}};
}

std::uint16_t port_of(const black_box& box) {
  return box.ready().at("port").get<std::uint16_t>();
}

std::string address_of(const black_box& box) {
  return fmt::format("127.0.0.1:{}", port_of(box));
}

/// The authority of a node.
credential authority_of(const black_box& box) {
  return {text_of(box.state() + "/tls/ca.pem"),
          text_of(box.state() + "/tls/ca.key")};
}

/// A folder of a client with any certificate.
std::string client_folder(const black_box& box, const std::string& name,
                          const std::string& authority, const credential& own) {
  auto folder = box.folder.path() + "/" + name;
  fs::create_directory(folder);
  auto write = [&](const char* file, const std::string& text) {
    auto path = folder + "/" + file;
    std::ofstream{path} << text;
    ::chmod(path.c_str(), 0600);
  };
  write("ca.pem", authority);
  write("client.pem", own.certificate);
  write("client.key", own.key);
  return folder;
}

/// A folder that the program has made.
std::string issue_to(black_box& box, const std::string& name) {
  auto folder = box.folder.path() + "/" + name;
  CAF_REQUIRE_EQUAL(box.run({"tls", "issue", name, "--out", folder}).code, 0);
  return folder;
}

client_options options_for(const black_box& box, std::string folder) {
  client_options options;
  options.port = port_of(box);
  options.tls = std::move(folder);
  options.reconnect_for = {};
  return options;
}

/// A client that is connected all the time, and notices if it is not.
class resident {
public:
  explicit resident(const black_box& box) {
    auto link = box.connect();
    CAF_REQUIRE(link);
    link_ = std::move(*link);
  }

  [[nodiscard]] bool is_served() const {
    return link_->status(20s).has_value();
  }

private:
  std::unique_ptr<client> link_;
};

/// Kilobytes that a process has had at most.
std::size_t peak_kib(pid_t pid) {
  std::ifstream in{fmt::format("/proc/{}/status", pid)};
  std::string word;
  while (in >> word)
    if (word == "VmHWM:" && in >> word)
      return std::stoul(word);
  return 0;
}

std::size_t descriptors_of(pid_t pid) {
  return static_cast<std::size_t>(
    std::distance(fs::directory_iterator{fmt::format("/proc/{}/fd", pid)}, {}));
}

/// A packet of the framework's protocol: its header and nothing else.
std::string packet(char operation, std::uint32_t payload,
                   std::uint64_t operation_data) {
  std::string out(32, '\0');
  out[0] = operation;
  for (int i = 0; i < 4; ++i)
    out[4 + i] = static_cast<char>(payload >> (24 - 8 * i));
  for (int i = 0; i < 8; ++i)
    out[8 + i] = static_cast<char>(operation_data >> (56 - 8 * i));
  return out;
}

bool says(const program_result& ended, const std::string& text) {
  if (ended.err.find(text) != std::string::npos)
    return true;
  CAF_MESSAGE("not in the log: " << text << "\n" << ended.err);
  return false;
}

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (auto i = text.find(part); i != std::string::npos;
       i = text.find(part, i + 1))
    ++count;
  return count;
}

} // namespace

// -- those who belong here ----------------------------------------------------

CAF_TEST(a client from elsewhere connects with what it was issued) {
  black_box box;
  box.require_start();
  auto folder = issue_to(box, "laptop");
  black_box elsewhere;
  for (auto& arguments :
       {std::vector<std::string>{"--tls", folder, "--node", address_of(box),
                                 "status"},
        {"status", "--node", address_of(box), "--tls", folder}})
    CAF_CHECK_EQUAL(elsewhere.run_json(arguments).code, 0);
  program_options by_variables;
  by_variables.variables
    = {{"MUSTER_NODE", address_of(box)}, {"MUSTER_TLS", folder}};
  CAF_CHECK_EQUAL(elsewhere.run({"status"}, by_variables).code, 0);
}

CAF_TEST(a client without certificates is told so) {
  black_box box;
  box.require_start();
  black_box elsewhere;
  auto ended = elsewhere.run_json({"status", "--node", address_of(box)});
  CAF_CHECK_EQUAL(ended.code, 5);
  CAF_CHECK_EQUAL(ended.error_code(), "bad_certificate");
  CAF_CHECK(ended.err.find("--tls") != std::string::npos);
}

CAF_TEST(the commands for certificates say what they did) {
  black_box box;
  auto issue = [&](const std::string& name) {
    return box.run_json(
      {"tls", "issue", name, "--out", box.folder.path() + "/" + name});
  };
  CAF_CHECK_EQUAL(issue("a").code, 3);
  CAF_CHECK_EQUAL(box.run_json({"tls", "init"}).document()["made"], true);
  CAF_CHECK_EQUAL(box.run_json({"tls", "init"}).document()["made"], false);
  auto issued = issue("a");
  CAF_CHECK_EQUAL(issued.code, 0);
  CAF_CHECK(issued.document()["valid_to"] > wall_ms() + 300 * day_ms);
  CAF_CHECK_EQUAL(issue("a").code, 2);
  CAF_CHECK_EQUAL(issue("node").code, 2);
  CAF_CHECK_EQUAL(box.run_json({"tls", "revoke", "b"}).code, 3);
  CAF_CHECK_EQUAL(box.run_json({"tls", "revoke", "a"}).document()["revoked"],
                  1);
  auto shown = box.run_json({"tls", "show"}).document();
  CAF_REQUIRE_EQUAL(shown["certificates"].size(), 3u);
  auto& node = shown["certificates"][0];
  CAF_CHECK_EQUAL(node["name"], "node");
  CAF_CHECK(node["renewed_from"] < node["valid_to"]);
  CAF_CHECK(node["revoked_at"].is_null());
  auto& revoked = shown["certificates"][2];
  CAF_CHECK_EQUAL(revoked["name"], "a");
  CAF_CHECK_EQUAL(revoked["serial"], issued.document()["serial"]);
  CAF_CHECK(revoked["revoked_at"].is_number());
  // A node that runs has clients: they would all be locked out.
  box.require_start();
  CAF_CHECK_EQUAL(box.run_json({"tls", "init", "--replace"}).code, 6);
  box.stop();
  CAF_CHECK_EQUAL(box.run({"tls", "init", "--replace"}).code, 0);
  box.require_start();
  CAF_CHECK_EQUAL(box.run({"status"}).code, 0);
}

// -- those who do not ---------------------------------------------------------

CAF_TEST(a certificate that is not good is refused with 5 and why) {
  black_box box;
  box.require_start();
  resident here{box};
  auto ours = authority_of(box);
  auto now = wall_ms();
  auto theirs = *make_authority({now - day_ms, now + day_ms});
  auto good
    = *issue(ours, "x", certificate_use::client, {now - day_ms, now + day_ms});
  auto expired = *issue(ours, "late", certificate_use::client,
                        {now - 2 * day_ms, now - day_ms});
  auto foreign = *issue(theirs, "foreign", certificate_use::client,
                        {now - day_ms, now + day_ms});
  auto revoked = issue_to(box, "lost");
  auto attempt = [&](const std::string& folder) {
    auto link = client::connect(options_for(box, folder));
    return link ? std::string{"in"} : to_string(link.error().code);
  };
  CAF_CHECK_EQUAL(attempt(client_folder(box, "0", ours.certificate, good)),
                  "in");
  // It does not take our node for its own ...
  CAF_CHECK_EQUAL(attempt(client_folder(box, "1", theirs.certificate, foreign)),
                  "not_allowed");
  // ... a client looks at its own files first ...
  CAF_CHECK_EQUAL(attempt(client_folder(box, "2", ours.certificate, foreign)),
                  "bad_certificate");
  CAF_CHECK_EQUAL(attempt(client_folder(box, "3", ours.certificate, expired)),
                  "bad_certificate");
  // ... and the node believes no client that does not, and says why each time.
  auto by
    = [&](const credential& own) { return shake_hands(port_of(box), &own); };
  CAF_CHECK_EQUAL(by(good), "");
  for (int i = 0; i < 50; ++i) {
    CAF_CHECK(by(foreign).find("alert unknown ca") != std::string::npos);
    CAF_CHECK(by(expired).find("alert certificate expired")
              != std::string::npos);
    CAF_CHECK(shake_hands(port_of(box), nullptr).find("certificate required")
              != std::string::npos);
  }
  CAF_CHECK_EQUAL(attempt(revoked), "in");
  CAF_CHECK_EQUAL(box.run({"tls", "revoke", "lost"}).code, 0);
  for (int i = 0; i < 50; ++i)
    CAF_CHECK_EQUAL(attempt(revoked), "not_allowed");
  auto ended
    = box.run_json({"status", "--tls", revoked, "--node", address_of(box)});
  CAF_CHECK_EQUAL(ended.code, 5);
  CAF_CHECK_EQUAL(ended.error_code(), "not_allowed");
  CAF_CHECK(here.is_served());
}

CAF_TEST(the log says who was refused and why) {
  black_box box;
  box.require_start();
  auto ours = authority_of(box);
  auto now = wall_ms();
  auto theirs = *make_authority({now - day_ms, now + day_ms});
  auto foreign = *issue(theirs, "foreign", certificate_use::client,
                        {now - day_ms, now + day_ms});
  auto expired = *issue(ours, "late", certificate_use::client,
                        {now - 2 * day_ms, now - day_ms});
  auto lost = issue_to(box, "lost");
  CAF_CHECK_EQUAL(box.run({"tls", "revoke", "lost"}).code, 0);
  CAF_CHECK(!shake_hands(port_of(box), &foreign).empty());
  CAF_CHECK(!shake_hands(port_of(box), &expired).empty());
  CAF_CHECK(!shake_hands(port_of(box), nullptr).empty());
  CAF_CHECK(!client::connect(options_for(box, lost)));
  auto log = box.stop();
  CAF_CHECK(says(log, "'foreign' is refused: unable to get local issuer"));
  CAF_CHECK(says(log, "'late' is refused: certificate has expired"));
  CAF_CHECK(says(log, "'lost' is refused: certificate revoked"));
  CAF_CHECK(says(log, "peer did not return a certificate"));
}

CAF_TEST(no version of TLS before 1.2 and no anonymous cipher is spoken) {
  black_box box;
  box.require_start();
  auto tls = box.state() + "/tls/";
  auto ask = [&](std::vector<std::string> more) {
    std::vector<std::string> all{"/usr/bin/openssl",
                                 "s_client",
                                 "-connect",
                                 address_of(box),
                                 "-cert",
                                 tls + "client.pem",
                                 "-key",
                                 tls + "client.key",
                                 "-CAfile",
                                 tls + "ca.pem"};
    all.insert(all.end(), more.begin(), more.end());
    process program{all, {}};
    auto ended = program.wait(60s);
    return ended ? ended->out + ended->err : "no end";
  };
  auto agreed = [&](std::vector<std::string> more) {
    auto said = ask(std::move(more));
    CAF_CHECK(said.find("Cipher is") != std::string::npos);
    return said.find("Cipher is (NONE)") == std::string::npos;
  };
  CAF_CHECK(agreed({"-tls1_3"}));
  CAF_CHECK(agreed({"-tls1_2"}));
  for (auto* version : {"-tls1_1", "-tls1"})
    CAF_CHECK(ask({version, "-cipher", "ALL:@SECLEVEL=0"})
                .find("alert protocol version")
              != std::string::npos);
  CAF_CHECK(!agreed({"-tls1_2", "-cipher", "aNULL:@SECLEVEL=0"}));
  CAF_CHECK(!agreed({"-tls1_2", "-cipher", "AES128-SHA:@SECLEVEL=0"}));
}

CAF_TEST(packets that crash the framework do not come to it) {
  black_box box;
  box.require_start();
  resident here{box};
  auto pid = box.node().pid();
  for (auto& bytes :
       {packet(1, 0, 0), packet(0, 0, 3), packet(0, 1u << 30, 3),
        packet(3, 1u << 30, 0), std::string{"GET / HTTP/1.1\r\n\r\n"}}) {
    for (int i = 0; i < 20; ++i) {
      stranger guest{port_of(box)};
      guest.send(bytes);
      CAF_CHECK(guest.is_turned_away());
      CAF_CHECK(here.is_served());
    }
  }
  CAF_CHECK_EQUAL(box.run({"status"}).code, 0);
  CAF_CHECK_EQUAL(box.node().pid(), pid);
#ifndef __SANITIZE_ADDRESS__
  CAF_CHECK(peak_kib(pid) < 100'000);
#endif
  auto log = box.stop();
  CAF_CHECK_EQUAL(log.code, 0);
  // A hundred times the same is not said a hundred times.
  CAF_CHECK(says(log, "refused a connection from 127.0.0.1:"));
  CAF_CHECK(count_of(log.err, "refused a connection from") <= 40);
}

CAF_TEST(five hundred connections with random bytes leave no trace) {
  black_box box;
  box.require_start();
  resident here{box};
  auto pid = box.node().pid();
  auto before = descriptors_of(pid);
  std::mt19937 random{1};
  for (int round = 0; round < 5; ++round) {
    std::vector<std::unique_ptr<stranger>> guests;
    for (int i = 0; i < 100; ++i) {
      guests.push_back(std::make_unique<stranger>(port_of(box)));
      std::string bytes(random() % 4'096 + 1, '\0');
      for (auto& c : bytes)
        c = static_cast<char>(random());
      // Half of them begin as TLS does.
      if (i % 2 == 0)
        bytes.replace(0, 5, std::string{"\x16\x03\x01\x02\x00", 5});
      guests.back()->send(bytes);
    }
    CAF_CHECK(here.is_served());
    CAF_CHECK(box.connect());
  }
  CAF_CHECK(eventually([&] { return descriptors_of(pid) <= before + 2; }));
#ifndef __SANITIZE_ADDRESS__
  CAF_CHECK(peak_kib(pid) < 100'000);
#endif
  CAF_CHECK(here.is_served());
  CAF_CHECK_EQUAL(box.stop().code, 0);
}

CAF_TEST(silent connections keep nobody out and have to go) {
  black_box box;
  box.require_start({"--node.handshake-timeout", "2s"});
  resident here{box};
  auto pid = box.node().pid();
  auto before = descriptors_of(pid);
  {
    std::vector<std::unique_ptr<stranger>> guests;
    for (int i = 0; i < 200; ++i)
      guests.push_back(std::make_unique<stranger>(port_of(box)));
    CAF_CHECK(here.is_served());
    CAF_CHECK_EQUAL(box.run({"status"}).code, 0);
    for (auto& guest : guests)
      CAF_CHECK(guest->is_turned_away());
  }
  CAF_CHECK(eventually([&] { return descriptors_of(pid) <= before + 2; }));
#ifndef __SANITIZE_ADDRESS__
  CAF_CHECK(peak_kib(pid) < 100'000);
#endif
  CAF_CHECK(here.is_served());
  CAF_CHECK(says(box.stop(), "no handshake within node.handshake-timeout"));
}

CAF_TEST(more connections than there may be do not take the descriptors) {
  black_box box;
  box.require_start({"--node.max-handshakes", "16", "--node.max-connections",
                     "3", "--node.handshake-timeout", "1h"});
  auto pid = box.node().pid();
  // What a node may have at least, and not one more.
  rlimit limit{16 + 3 + 64, 16 + 3 + 64};
  CAF_REQUIRE_EQUAL(::prlimit(pid, RLIMIT_NOFILE, &limit, nullptr), 0);
  std::vector<std::unique_ptr<stranger>> silent;
  for (int i = 0; i < 300; ++i)
    silent.push_back(std::make_unique<stranger>(port_of(box)));
  CAF_CHECK(eventually([&] { return silent[0]->is_turned_away(); }));
  {
    std::vector<std::unique_ptr<resident>> clients;
    for (int i = 0; i < 3; ++i)
      clients.push_back(std::make_unique<resident>(box));
    CAF_CHECK(!box.connect());
    for (auto& x : clients)
      CAF_CHECK(x->is_served());
  }
  // There is room again.
  CAF_CHECK(eventually([&] { return box.connect().has_value(); }));
  auto log = box.stop();
  CAF_CHECK_EQUAL(log.code, 0);
  CAF_CHECK(says(log, "node.max-handshakes = 16 are under way"));
  CAF_CHECK(says(log, "more connections, and did not log each"));
}

// -- files that change --------------------------------------------------------

CAF_TEST(while its files cannot be used a node lets nobody in and stays) {
  black_box box;
  box.require_start();
  resident here{box};
  auto list = box.state() + "/tls/crl.pem";
  auto text = text_of(list);
  fs::remove(list);
  CAF_CHECK(!box.connect());
  std::ofstream{list} << "nonsense";
  CAF_CHECK(!box.connect());
  CAF_CHECK(here.is_served());
  fs::remove(list);
  std::ofstream{list} << text;
  ::chmod(list.c_str(), 0600);
  CAF_CHECK(box.connect());
  CAF_CHECK(says(box.stop(), "crl.pem' is missing"));
}

CAF_TEST(a hangup ends open connections and starts the node again) {
  black_box box;
  box.require_start();
  auto pid = box.node().pid();
  auto folder = issue_to(box, "lost");
  auto lost = client::connect(options_for(box, folder));
  CAF_REQUIRE(lost);
  CAF_CHECK_EQUAL(box.run({"tls", "revoke", "lost"}).code, 0);
  // Who is in stays in ...
  CAF_CHECK((*lost)->status(20s));
  box.node().signal(SIGHUP);
  // ... until then.
  auto ready = json::parse(box.node().read_line(60s), nullptr, false);
  CAF_REQUIRE(ready.is_object());
  CAF_CHECK_EQUAL(ready["pid"], pid);
  CAF_CHECK_EQUAL((*lost)->status(20s).error().code, errc::connection_lost);
  auto options = options_for(box, folder);
  options.port = ready["port"].get<std::uint16_t>();
  auto again = client::connect(options);
  CAF_REQUIRE(!again);
  CAF_CHECK_EQUAL(again.error().code, errc::not_allowed);
  CAF_CHECK_EQUAL(box.run({"status"}).code, 0);
  auto log = box.stop();
  CAF_CHECK_EQUAL(log.code, 0);
}

CAF_TEST(a hangup of the watcher starts its node again) {
  black_box box;
  box.require_start({"--restart"});
  auto first = box.ready()["pid"];
  box.node().signal(SIGHUP);
  auto ready = json::parse(box.node().read_line(60s), nullptr, false);
  CAF_REQUIRE(ready.is_object());
  CAF_CHECK(ready["pid"] != first);
  CAF_CHECK_EQUAL(box.run({"status"}).code, 0);
  CAF_CHECK_EQUAL(box.stop().code, 0);
}

// -- starting -----------------------------------------------------------------

CAF_TEST(a node with a bad file does not start and names it) {
  black_box box;
  box.require_start();
  box.stop();
  auto tls = box.state() + "/tls/";
  auto refused = [&](const std::string& name, const std::string& why) {
    auto ended = box.run_json({"node", "--port", "0"});
    CAF_CHECK_EQUAL(ended.code, 5);
    CAF_CHECK_EQUAL(ended.out, "");
    CAF_CHECK(ended.err.find(name + "' " + why) != std::string::npos);
    CAF_CHECK(ended.err.find(R"("code":"bad_certificate")")
              != std::string::npos);
  };
  auto text = text_of(tls + "node.key");
  fs::remove(tls + "node.key");
  refused("node.key", "is missing");
  std::ofstream{tls + "node.key"} << text;
  ::chmod((tls + "node.key").c_str(), 0644);
  refused("node.key", "is open to others");
  ::chmod((tls + "node.key").c_str(), 0600);
  std::ofstream{tls + "node.key"} << text_of(tls + "client.key");
  refused("node.key", "is not the key of 'node.pem'");
  std::ofstream{tls + "node.key"} << text;
  auto now = wall_ms();
  auto old = *make_authority({now - 2 * day_ms, now - day_ms});
  auto authority = text_of(tls + "ca.pem");
  std::ofstream{tls + "ca.pem"} << old.certificate;
  refused("ca.pem", "has expired");
  std::ofstream{tls + "ca.pem"} << authority;
  // The watcher does not try again what cannot get better.
  fs::remove(tls + "crl.pem");
  auto ended = box.run({"node", "--port", "0", "--restart"});
  CAF_CHECK_EQUAL(ended.code, 5);
}

CAF_TEST(without TLS a node listens on the loopback address only) {
  black_box box;
  for (auto* host : {"0.0.0.0", "::", "localhost"})
    CAF_CHECK_EQUAL(
      box.run({"node", "--insecure-loopback", "--port", "0", "--host", host})
        .code,
      2);
  box.require_start({"--insecure-loopback"});
  CAF_CHECK(!fs::exists(box.state() + "/tls"));
  CAF_CHECK_EQUAL(box.run({"status"}).code, 0);
  CAF_CHECK_EQUAL(
    box.run({"status", "--node", address_of(box), "--insecure-loopback"}).code,
    0);
  CAF_CHECK_EQUAL(
    box.run({"status", "--node", "127.0.0.2:1", "--insecure-loopback"}).code,
    5);
  CAF_CHECK(says(box.stop(), "listening without TLS"));
}

CAF_TEST(what hangs up before it answers is asked again and then named) {
  hasty_listener other;
  for (auto* without_tls : {"--insecure-loopback", ""}) {
    black_box box;
    box.require_start();
    std::vector<std::string> words{
      "--json", "--reconnect-for", "0s",
      "status", "--node",          fmt::format("127.0.0.1:{}", other.port())};
    if (*without_tls != 0)
      words.push_back(without_tls);
    auto before = other.guests();
    auto result = box.run(words);
    CAF_CHECK_EQUAL(result.error_code(), "unreachable");
    CAF_CHECK(says(result, "hung up"));
    CAF_CHECK_GREATER(other.guests(), before + 1);
  }
}

CAF_TEST(a node listens where it is told to) {
  black_box box;
  box.require_start({"--host", "0.0.0.0"});
  CAF_CHECK_EQUAL(box.ready()["host"], "0.0.0.0");
  CAF_CHECK_EQUAL(box.run({"status"}).code, 0);
  auto folder = issue_to(box, "laptop");
  auto options = options_for(box, folder);
  options.host = "127.0.0.2";
  CAF_CHECK(client::connect(options));
  box.stop();
  CAF_CHECK_EQUAL(
    box.run_json({"node", "--port", "0", "--host", "203.0.113.1"}).code, 2);
}
