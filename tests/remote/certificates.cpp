// SPDX-License-Identifier: Apache-2.0

#define CAF_SUITE remote.certificates

#include "tests/support/suite.hpp"

#include "actors/node/tls_folder.hpp"
#include "actors/remote/identity.hpp"
#include "actors/remote/log_limit.hpp"

#include <fmt/format.h>
#include <openssl/pem.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>

#include <sys/stat.h>

using namespace muster;
using namespace std::chrono_literals;

namespace fs = std::filesystem;

namespace {

constexpr std::int64_t day_ms = 24 * 3'600 * 1'000;

/// A state directory, and a clock that only the test moves.
struct fixture {
  std::string state;
  std::int64_t now_ms = 1'800'000'000'000;

  fixture() {
    char name[] = "/tmp/muster-test-XXXXXX";
    state = ::mkdtemp(name);
  }

  ~fixture() {
    fs::remove_all(state);
  }

  std::unique_ptr<tls_folder> open() {
    environment env;
    env.wall_ms = [this] { return now_ms; };
    auto folder = tls_folder::open(state, {}, env);
    CAF_REQUIRE(folder);
    return std::move(*folder);
  }

  void make() {
    auto made = open()->prepare();
    CAF_REQUIRE(made);
    CAF_REQUIRE(*made);
  }

  std::string path(const std::string& name = {}) const {
    return state + "/tls" + (name.empty() ? "" : "/" + name);
  }

  std::string read(const std::string& file) const {
    std::ifstream in{file, std::ios::binary};
    return {std::istreambuf_iterator<char>{in}, {}};
  }

  void write(const std::string& name, const std::string& text) const {
    std::ofstream{path(name), std::ios::binary} << text;
  }

  /// Everything in the folder, by name.
  std::map<std::string, std::string> all() const {
    std::map<std::string, std::string> out;
    for (auto& entry : fs::directory_iterator{path()})
      out[entry.path().filename()] = read(entry.path());
    return out;
  }

  /// Why the folder is of no use to a node.
  std::string fault() {
    auto prepared = open()->prepare();
    auto loaded = prepared ? load_node(path(), now_ms)
                           : tl::unexpected<failure>{prepared.error()};
    if (loaded)
      return "none";
    CAF_CHECK_EQUAL(loaded.error().code, errc::bad_certificate);
    return loaded.error().message;
  }

  bool is_fault(const std::string& name, const std::string& why) {
    auto text = fault();
    if (text.starts_with(fmt::format("'{}' {}", path(name), why)))
      return true;
    CAF_MESSAGE("wanted " << name << " " << why << ", got " << text);
    return false;
  }

  /// The authority of the folder.
  credential authority() const {
    return {read(path(tls_file::authority)),
            read(path(tls_file::authority_key))};
  }

  std::string serial_of(const std::string& file) const {
    return read_certificate(read(file))->serial;
  }
};

mode_t mode_of(const std::string& path) {
  struct stat info {};
  CAF_REQUIRE_EQUAL(::stat(path.c_str(), &info), 0);
  return info.st_mode & 0777;
}

} // namespace

CAF_TEST_FIXTURE_SCOPE(certificate_tests, fixture)

// -- making -------------------------------------------------------------------

CAF_TEST(the first start makes everything for nobody else to read) {
  make();
  CAF_CHECK_EQUAL(mode_of(path()), 0700u);
  for (auto& [name, text] : all())
    CAF_CHECK_EQUAL(mode_of(path(name)), 0600u);
  CAF_CHECK_EQUAL(all().size(), 8u);
  CAF_CHECK(load_node(path(), now_ms));
  CAF_CHECK(load_client(path(), now_ms));
}

CAF_TEST(every key is on the curve P - 256) {
  make();
  for (auto* name :
       {tls_file::authority_key, tls_file::node_key, tls_file::client_key}) {
    auto text = read(path(name));
    openssl_ptr<BIO> in{
      BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))};
    openssl_ptr<EVP_PKEY> key{
      PEM_read_bio_PrivateKey(in.get(), nullptr, nullptr, nullptr)};
    CAF_REQUIRE(key);
    char curve[64] = {};
    EVP_PKEY_get_group_name(key.get(), curve, sizeof(curve), nullptr);
    CAF_CHECK_EQUAL(std::string{curve}, "prime256v1");
  }
}

CAF_TEST(the next start finds everything as it is) {
  make();
  auto before = all();
  auto prepared = open()->prepare();
  CAF_REQUIRE(prepared);
  CAF_CHECK(!*prepared);
  CAF_CHECK(all() == before);
}

CAF_TEST(a start that was cut short while it made them leaves nothing behind) {
  fs::create_directory(state + "/tls.new");
  std::ofstream{state + "/tls.new/ca.key"} << "half a key";
  make();
  CAF_CHECK(load_node(path(), now_ms));
  CAF_CHECK(!fs::exists(state + "/tls.new"));
}

CAF_TEST(no two authorities are taken for one another) {
  make();
  auto before = authority();
  auto client = read(path(tls_file::client));
  CAF_REQUIRE(open()->replace());
  CAF_CHECK(authority().key != before.key);
  CAF_CHECK(load_node(path(), now_ms));
  CAF_CHECK(!fs::exists(state + "/tls.old"));
  write(tls_file::client, client);
  CAF_CHECK(!load_client(path(), now_ms));
}

// -- bad files ----------------------------------------------------------------

CAF_TEST(a file that is missing or no file is named) {
  for (auto* name : {tls_file::authority, tls_file::authority_key,
                     tls_file::node, tls_file::node_key, tls_file::client,
                     tls_file::client_key, tls_file::revoked, "issued.json"}) {
    fs::remove_all(path());
    make();
    fs::remove(path(name));
    CAF_CHECK(is_fault(name, "is missing"));
    if (name == std::string{"issued.json"})
      continue;
    fs::create_directory(path(name));
    CAF_CHECK(is_fault(name, "is no file"));
  }
}

CAF_TEST(a file that holds something else is named) {
  make();
  auto before = all();
  for (auto [name, what] :
       {std::pair{tls_file::authority, "is no certificate: "},
        std::pair{tls_file::node, "is no certificate: "},
        std::pair{tls_file::node_key, "is no private key: "},
        std::pair{tls_file::revoked, "is no list of revoked certificates: "}})
    for (auto& text :
         {std::string{}, std::string{"nonsense"}, std::string(100'000, '\0'),
          before[name].substr(0, before[name].size() / 2)}) {
      write(name, text);
      CAF_CHECK(is_fault(name, what));
      write(name, before[name]);
    }
  CAF_CHECK_EQUAL(fault(), "none");
}

CAF_TEST(a key that others can read is refused) {
  make();
  for (auto* name :
       {tls_file::authority_key, tls_file::node_key, tls_file::client_key})
    for (auto mode : {0640, 0604, 0644, 0660}) {
      ::chmod(path(name).c_str(), static_cast<mode_t>(mode));
      CAF_CHECK(is_fault(name, "is open to others"));
      ::chmod(path(name).c_str(), 0600);
    }
  CAF_CHECK_EQUAL(fault(), "none");
}

CAF_TEST(a file that others can change is refused) {
  make();
  for (auto* name : {tls_file::authority, tls_file::node, tls_file::revoked}) {
    ::chmod(path(name).c_str(), 0644);
    CAF_CHECK_EQUAL(fault(), "none");
    ::chmod(path(name).c_str(), 0622);
    CAF_CHECK(is_fault(name, "can be changed by others"));
    ::chmod(path(name).c_str(), 0600);
  }
}

CAF_TEST(files that do not fit one another are refused) {
  make();
  auto before = all();
  write(tls_file::node_key, before[tls_file::client_key]);
  CAF_CHECK(is_fault(tls_file::node_key, "is not the key of 'node.pem'"));
  write(tls_file::node_key, before[tls_file::node_key]);
  // The certificate of a client does not make a node.
  write(tls_file::node, before[tls_file::client]);
  write(tls_file::node_key, before[tls_file::client_key]);
  CAF_CHECK(
    is_fault(tls_file::node, "is not usable: unsuitable certificate purpose"));
  // Another authority's.
  fs::remove_all(path());
  make();
  auto other = all();
  write(tls_file::node, before[tls_file::node]);
  write(tls_file::node_key, before[tls_file::node_key]);
  CAF_CHECK(is_fault(tls_file::node, "is not from the authority in 'ca.pem'"));
  write(tls_file::node, other[tls_file::node]);
  write(tls_file::node_key, other[tls_file::node_key]);
  write(tls_file::revoked, before[tls_file::revoked]);
  CAF_CHECK(
    is_fault(tls_file::revoked, "is not from the authority in 'ca.pem'"));
  write(tls_file::revoked, other[tls_file::revoked]);
  // A leaf is no authority.
  write(tls_file::authority, other[tls_file::node]);
  CAF_CHECK(
    is_fault(tls_file::authority, "is not the certificate of an authority"));
}

CAF_TEST(what is not good now is refused) {
  make();
  // A clock that was set back by some days is borne.
  now_ms -= 8 * day_ms;
  CAF_CHECK(load_node(path(), now_ms));
  now_ms -= 23 * day_ms;
  CAF_CHECK(is_fault(tls_file::authority, "is not valid yet"));
  now_ms += 31 * day_ms;
  auto node = *issue(authority(), "node", certificate_use::node,
                     {now_ms - 2 * day_ms, now_ms - day_ms});
  write(tls_file::node, node.certificate);
  write(tls_file::node_key, node.key);
  CAF_CHECK(!load_node(path(), now_ms));
  CAF_CHECK_EQUAL(load_node(path(), now_ms).error().message,
                  fmt::format("'{}' has expired", path(tls_file::node)));
  now_ms += 3'651 * day_ms;
  CAF_CHECK(is_fault(tls_file::authority, "has expired"));
}

CAF_TEST(a client finds the same faults in its files) {
  make();
  auto client = [&] { return load_client(path(), now_ms).error().message; };
  ::chmod(path(tls_file::client_key).c_str(), 0644);
  CAF_CHECK(client().find("client.key' is open to others")
            != std::string::npos);
  fs::remove(path(tls_file::client_key));
  CAF_CHECK(client().find("client.key' is missing") != std::string::npos);
  fs::remove(path(tls_file::client));
  CAF_CHECK(client().find("client.pem' is missing") != std::string::npos);
}

// -- renewal ------------------------------------------------------------------

CAF_TEST(certificates of this machine are renewed in their last third) {
  make();
  auto before = all();
  auto renewal
    = tls_folder::renewal_ms(read_certificate(before[tls_file::node])->valid);
  now_ms = renewal - 1;
  CAF_REQUIRE(open()->prepare());
  CAF_CHECK(all() == before);
  now_ms = renewal;
  CAF_REQUIRE(open()->prepare());
  for (auto* name : {tls_file::node, tls_file::client})
    CAF_CHECK(all()[name] != before[name]);
  // With the same keys: whoever reads one of the two files reads a fitting one.
  for (auto* name :
       {tls_file::node_key, tls_file::client_key, tls_file::authority})
    CAF_CHECK(all()[name] == before[name]);
  now_ms += 300 * day_ms;
  CAF_CHECK(load_node(path(), now_ms));
  CAF_CHECK(load_client(path(), now_ms));
}

CAF_TEST(a certificate of this machine that has expired is renewed) {
  make();
  now_ms += 500 * day_ms;
  CAF_CHECK(!load_node(path(), now_ms));
  CAF_CHECK_EQUAL(fault(), "none");
  CAF_CHECK(load_client(path(), now_ms));
}

CAF_TEST(no certificate outlives its authority) {
  make();
  auto end = read_certificate(authority().certificate)->valid.to_ms;
  now_ms = end - 30 * day_ms;
  CAF_CHECK_EQUAL(fault(), "none");
  auto node = all()[tls_file::node];
  CAF_CHECK_EQUAL(read_certificate(node)->valid.to_ms, end);
  // And it is not made again with each start.
  CAF_CHECK_EQUAL(fault(), "none");
  CAF_CHECK(all()[tls_file::node] == node);
}

// -- issuing and revoking -----------------------------------------------------

CAF_TEST(an issued folder holds what a client needs and nothing else) {
  make();
  auto out = state + "/laptop";
  auto facts = open()->issue("laptop", out);
  CAF_REQUIRE(facts);
  CAF_CHECK_EQUAL(mode_of(out), 0700u);
  std::vector<std::string> names;
  for (auto& entry : fs::directory_iterator{out}) {
    names.push_back(entry.path().filename());
    CAF_CHECK_EQUAL(mode_of(entry.path()), 0600u);
  }
  std::sort(names.begin(), names.end());
  CAF_CHECK(names
            == std::vector<std::string>(
              {tls_file::authority, tls_file::client_key, tls_file::client}));
  auto own = load_client(out, now_ms);
  CAF_REQUIRE(own);
  CAF_CHECK_EQUAL(own->certificate.name, "laptop");
  CAF_CHECK_EQUAL(own->certificate.serial, facts->serial);
  auto all = open()->issued();
  CAF_CHECK_EQUAL(all->size(), 3u);
  CAF_CHECK_EQUAL(all->back().facts.name, "laptop");
  CAF_CHECK(!all->back().revoked_at_ms);
}

CAF_TEST(nothing is issued for what is no name or into a folder that is there) {
  make();
  for (auto* name : {"", ".", "..", "-x", "a/b", "a b", "a\nb", "node", "local",
                     "f\xc3\xb6\xc3\xb6"}) {
    auto made = open()->issue(name, state + "/new");
    CAF_REQUIRE(!made);
    CAF_CHECK_EQUAL(made.error().code, errc::invalid_argument);
  }
  CAF_CHECK(!open()->issue(std::string(65, 'x'), state + "/new"));
  CAF_CHECK(!fs::exists(state + "/new"));
  fs::create_directory(state + "/there");
  auto made = open()->issue("laptop", state + "/there");
  CAF_REQUIRE(!made);
  CAF_CHECK_EQUAL(made.error().code, errc::invalid_argument);
  CAF_CHECK_EQUAL(open()->issued()->size(), 2u);
}

CAF_TEST(a revoked certificate stands in the list that the node checks) {
  make();
  CAF_REQUIRE(open()->issue("laptop", state + "/1"));
  CAF_REQUIRE(open()->issue("laptop", state + "/2"));
  CAF_REQUIRE(open()->issue("desktop", state + "/3"));
  CAF_CHECK_EQUAL(*open()->revoke("laptop"), 2u);
  std::vector<std::string> wanted{serial_of(state + "/1/client.pem"),
                                  serial_of(state + "/2/client.pem")};
  std::sort(wanted.begin(), wanted.end());
  CAF_CHECK(*read_revocation_list(read(path(tls_file::revoked))) == wanted);
  CAF_CHECK_EQUAL(*open()->revoke("laptop"), 0u);
  CAF_CHECK(*read_revocation_list(read(path(tls_file::revoked))) == wanted);
  CAF_CHECK_EQUAL(fault(), "none");
}

CAF_TEST(what nobody has and what the machine needs is not revoked) {
  make();
  CAF_CHECK_EQUAL(open()->revoke("nobody").error().code, errc::not_found);
  for (auto* name : {"node", "local"})
    CAF_CHECK_EQUAL(open()->revoke(name).error().code, errc::invalid_argument);
}

CAF_TEST(a revocation that a crash cut short is done by the next start) {
  make();
  CAF_REQUIRE(open()->issue("laptop", state + "/1"));
  auto before = read(path(tls_file::revoked));
  CAF_REQUIRE(open()->revoke("laptop"));
  auto revoked = read_revocation_list(read(path(tls_file::revoked)));
  write(tls_file::revoked, before);
  CAF_CHECK_EQUAL(fault(), "none");
  CAF_CHECK(*read_revocation_list(read(path(tls_file::revoked))) == *revoked);
}

CAF_TEST(what has expired is listed no longer) {
  make();
  CAF_REQUIRE(open()->issue("laptop", state + "/1"));
  CAF_REQUIRE(open()->revoke("laptop"));
  now_ms += 400 * day_ms;
  CAF_CHECK_EQUAL(fault(), "none");
  auto all = open()->issued();
  CAF_CHECK(std::none_of(all->begin(), all->end(),
                         [](auto& x) { return x.facts.name == "laptop"; }));
  CAF_CHECK(read_revocation_list(read(path(tls_file::revoked)))->empty());
}

CAF_TEST(without certificates nothing is issued or revoked) {
  CAF_CHECK_EQUAL(open()->issue("laptop", state + "/1").error().code,
                  errc::not_found);
  CAF_CHECK_EQUAL(open()->revoke("laptop").error().code, errc::not_found);
  CAF_CHECK_EQUAL(open()->authority().error().code, errc::not_found);
}

// -- the log ------------------------------------------------------------------

CAF_TEST(the log takes a few lines in a window and then a count) {
  log_limit limit;
  log_limit::time_point now{1h};
  for (std::uint64_t i = 0; i < log_limit::lines; ++i)
    CAF_CHECK(limit.pass(now));
  for (int i = 0; i < 500; ++i)
    CAF_CHECK(!limit.pass(now + 1s));
  CAF_CHECK_EQUAL(limit.take_left_out(now + 9s), 0u);
  CAF_CHECK_EQUAL(limit.take_left_out(now + log_limit::window), 500u);
  CAF_CHECK_EQUAL(limit.take_left_out(now + log_limit::window), 0u);
  CAF_CHECK(limit.pass(now + log_limit::window));
}

CAF_TEST_FIXTURE_SCOPE_END()
