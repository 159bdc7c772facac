// SPDX-License-Identifier: Apache-2.0

#include "actors/node/tls_folder.hpp"

#include "actors/process/system_call.hpp"
#include "actors/remote/identity.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <thread>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace muster {

namespace {

/// What is to become the folder, so that it is there whole or not at all.
constexpr const char* unfinished = "tls.new";

/// Where a folder that was replaced stands for a moment.
constexpr const char* outdated = "tls.old";

constexpr const char* issued_file = "issued.json";

constexpr std::size_t max_issued = 10'000;

/// How long another process may take to change the folder.
constexpr auto lock_patience = std::chrono::seconds(5);

/// The clocks of two machines differ, and a clock may be set back: what is made
/// now is good all the same.
constexpr auto clock_skew = std::chrono::hours(24 * 30);

// -- the list of what was issued ----------------------------------------------

json to_json(const issued_certificate& x) {
  return {
    {"name", x.facts.name},
    {"use", x.use == certificate_use::node ? "node" : "client"},
    {"serial", x.facts.serial},
    {"from", x.facts.valid.from_ms},
    {"to", x.facts.valid.to_ms},
    {"revoked_at", x.revoked_at_ms ? json(*x.revoked_at_ms) : json(nullptr)}};
}

issued_certificate from_json(const json& x) {
  issued_certificate out;
  out.facts.name = x.at("name").get<std::string>();
  out.facts.serial = x.at("serial").get<std::string>();
  out.facts.valid.from_ms = x.at("from").get<std::int64_t>();
  out.facts.valid.to_ms = x.at("to").get<std::int64_t>();
  out.use
    = x.at("use") == "node" ? certificate_use::node : certificate_use::client;
  if (!x.at("revoked_at").is_null())
    out.revoked_at_ms = x.at("revoked_at").get<std::int64_t>();
  return out;
}

/// Leaves out what needs no list any more.
void drop_expired(std::vector<issued_certificate>& all, std::int64_t now_ms) {
  std::erase_if(all, [=](auto& x) { return x.facts.valid.to_ms < now_ms; });
}

tl::unexpected<failure> failed(std::string_view what, const std::string& path) {
  return tl::unexpected<failure>{disk_failure(errno, what, path)};
}

void remove_folder(const std::string& path) {
  std::error_code code;
  std::filesystem::remove_all(path, code);
}

} // namespace

// -- constructors and destructors ---------------------------------------------

expected<std::unique_ptr<tls_folder>>
tls_folder::open(const std::string& state_directory, tls_settings settings,
                 environment env) {
  auto lock = uninterrupted([&] {
    return ::open(state_directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  });
  if (lock < 0 && errno == ENOENT)
    return fail(errc::not_found,
                fmt::format("there is no state directory '{}'; 'muster node' "
                            "or 'muster tls init' makes it",
                            state_directory));
  if (lock < 0)
    return failed("open", state_directory);
  std::unique_ptr<tls_folder> out{
    new tls_folder{state_directory, settings, std::move(env), lock}};
  auto end = std::chrono::steady_clock::now() + lock_patience;
  while (::flock(lock, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR)
      return failed("lock", state_directory);
    if (std::chrono::steady_clock::now() >= end)
      return fail(errc::in_use,
                  fmt::format("another process has changed the certificates in "
                              "'{}' for {} s now",
                              out->path(), lock_patience.count()));
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return out;
}

tls_folder::tls_folder(std::string directory, tls_settings settings,
                       environment env, int lock)
  : directory_(std::move(directory)), settings_(settings), env_(std::move(env)),
    lock_(lock), disk_(make_posix_disk()), documents_(*disk_, directory_) {
  // nop
}

tls_folder::~tls_folder() {
  ::close(lock_);
}

// -- making -------------------------------------------------------------------

expected<bool> tls_folder::prepare() {
  if (!exists())
    return make_all().map([] { return true; });
  struct stat info {};
  if (::stat(path().c_str(), &info) != 0 || !S_ISDIR(info.st_mode))
    return fail(errc::bad_certificate,
                fmt::format("'{}' is no folder", path()));
  if ((info.st_mode & 077) != 0 && ::chmod(path().c_str(), 0700) != 0)
    return failed("close to others", path());
  return refresh(node_name, certificate_use::node, tls_file::node,
                 tls_file::node_key)
    .and_then([&] {
      return refresh(local_name, certificate_use::client, tls_file::client,
                     tls_file::client_key);
    })
    .and_then([&] { return issued(); })
    .and_then([&](auto all) { return save_revoked(all); })
    .map([] { return false; });
}

expected<void> tls_folder::replace() {
  return make_all();
}

expected<void> tls_folder::make_all() {
  auto authority = make_authority(valid_for(settings_.authority_lifetime));
  if (!authority)
    return tl::unexpected<failure>{authority.error()};
  auto facts = read_certificate(authority->certificate);
  if (!facts)
    return tl::unexpected<failure>{facts.error()};
  auto valid = leaf_validity(*facts);
  auto node
    = muster::issue(*authority, node_name, certificate_use::node, valid);
  auto local
    = muster::issue(*authority, local_name, certificate_use::client, valid);
  auto revoked = make_revocation_list(
    *authority, {}, {facts->valid.from_ms, facts->valid.to_ms});
  if (!node || !local || !revoked)
    return fail(errc::internal, "cannot make certificates");
  std::vector<issued_certificate> all{
    {*read_certificate(node->certificate), certificate_use::node, {}},
    {*read_certificate(local->certificate), certificate_use::client, {}}};
  auto whole = directory_ + "/" + unfinished;
  auto before = directory_ + "/" + outdated;
  // A crash may have left either.
  remove_folder(whole);
  remove_folder(before);
  target_ = unfinished;
  auto written
    = save(tls_file::authority, authority->certificate)
        .and_then([&] { return save(tls_file::authority_key, authority->key); })
        .and_then([&] { return save(tls_file::node, node->certificate); })
        .and_then([&] { return save(tls_file::node_key, node->key); })
        .and_then([&] { return save(tls_file::client, local->certificate); })
        .and_then([&] { return save(tls_file::client_key, local->key); })
        .and_then([&] { return save(tls_file::revoked, *revoked); })
        .and_then([&] { return save_issued(all); });
  target_ = name;
  if (!written)
    return written;
  if (exists())
    if (auto moved = disk_->rename(path(), before); !moved)
      return moved;
  auto done = disk_->rename(whole, path()).and_then([&] {
    return disk_->sync_folder(directory_);
  });
  remove_folder(before);
  return done;
}

expected<certificate_facts> tls_folder::issue(const std::string& whom,
                                              const std::string& folder) {
  if (!is_certificate_name(whom) || whom == node_name || whom == local_name)
    return fail(errc::invalid_argument,
                fmt::format("'{}' cannot be the name in a certificate: give 1 "
                            "to 64 letters, digits, '.', '_' or '-', but not "
                            "'{}' or '{}'",
                            whom, node_name, local_name));
  if (auto there = check_exists(); !there)
    return tl::unexpected<failure>{there.error()};
  auto authority = read_authority();
  if (!authority)
    return tl::unexpected<failure>{authority.error()};
  auto all = issued();
  if (!all)
    return tl::unexpected<failure>{all.error()};
  if (all->size() >= max_issued)
    return fail(errc::overloaded,
                fmt::format("{} certificates are issued and not expired, which "
                            "is the limit",
                            max_issued));
  auto made
    = read_certificate(authority->certificate)
        .and_then([&](certificate_facts facts) {
          return muster::issue(*authority, whom, certificate_use::client,
                               leaf_validity(facts));
        });
  if (!made)
    return tl::unexpected<failure>{made.error()};
  auto facts = read_certificate(made->certificate);
  if (!facts)
    return tl::unexpected<failure>{facts.error()};
  if (::mkdir(folder.c_str(), 0700) != 0) {
    if (errno == EEXIST)
      return fail(errc::invalid_argument,
                  fmt::format("'{}' is there already; give another folder with "
                              "--out",
                              folder));
    return failed("create", folder);
  }
  // Listed before anybody can have it, so that it can always be revoked.
  all->push_back({*facts, certificate_use::client, {}});
  documents out{*disk_, folder};
  return save_issued(*all)
    .and_then(
      [&] { return out.save(tls_file::authority, authority->certificate); })
    .and_then([&] { return out.save(tls_file::client, made->certificate); })
    .and_then([&] { return out.save(tls_file::client_key, made->key); })
    .map([&] { return *facts; });
}

expected<std::size_t> tls_folder::revoke(const std::string& whom) {
  if (whom == node_name || whom == local_name)
    return fail(errc::invalid_argument,
                fmt::format("'{}' is this machine's own; whoever has its key "
                            "has the authority's, too: stop the node and make "
                            "all anew with 'muster tls init --replace'",
                            whom));
  if (auto there = check_exists(); !there)
    return tl::unexpected<failure>{there.error()};
  auto all = issued();
  if (!all)
    return tl::unexpected<failure>{all.error()};
  std::size_t found = 0;
  std::size_t revoked = 0;
  for (auto& x : *all)
    if (x.facts.name == whom) {
      ++found;
      if (!x.revoked_at_ms) {
        ++revoked;
        x.revoked_at_ms = env_.wall_ms();
      }
    }
  if (found == 0)
    return fail(errc::not_found,
                fmt::format("there is no certificate for '{}' that has not "
                            "expired; 'muster tls show' lists all",
                            whom));
  return save_issued(*all)
    .and_then([&] { return save_revoked(*all); })
    .map([&] { return revoked; });
}

expected<void> tls_folder::refresh(const std::string& whom, certificate_use use,
                                   const std::string& certificate_file,
                                   const std::string& key_file) {
  auto authority = read_authority();
  if (!authority)
    return tl::unexpected<failure>{authority.error()};
  auto now = env_.wall_ms();
  // Whether the files fit is seen when they are loaded; this looks at the time.
  auto text = read_tls_file(path(), certificate_file);
  auto key = read_tls_file(path(), key_file);
  if (!text)
    return tl::unexpected<failure>{text.error()};
  if (!key)
    return tl::unexpected<failure>{key.error()};
  auto facts = read_certificate(*text);
  auto above = read_certificate(authority->certificate);
  if (!facts || !above)
    return {};
  auto valid = leaf_validity(*above);
  if (now < renewal_ms(facts->valid) || valid.to_ms <= facts->valid.to_ms)
    return {};
  auto all = issued();
  if (!all)
    return tl::unexpected<failure>{all.error()};
  // The key stays: each of the two files fits the other one at any time.
  return renew(*authority, *key, whom, use, valid)
    .and_then([&](std::string certificate) -> expected<void> {
      auto renewed = read_certificate(certificate);
      if (!renewed)
        return tl::unexpected<failure>{renewed.error()};
      all->push_back({*renewed, use, {}});
      return save_issued(*all).and_then(
        [&] { return save(certificate_file, certificate); });
    });
}

// -- properties ---------------------------------------------------------------

bool tls_folder::exists() const {
  struct stat info {};
  return ::lstat(path().c_str(), &info) == 0;
}

std::string tls_folder::path() const {
  return directory_ + "/" + name;
}

expected<certificate_facts> tls_folder::authority() const {
  return check_exists()
    .and_then([&] { return read_tls_file(path(), tls_file::authority); })
    .and_then([&](std::string text) { return read_certificate(text); });
}

expected<std::vector<issued_certificate>> tls_folder::issued() {
  auto file = path() + "/" + issued_file;
  auto text = documents_.read(std::string{name} + "/" + issued_file);
  if (!text)
    return tl::unexpected<failure>{text.error()};
  if (!*text)
    return fail(errc::bad_certificate, fmt::format("'{}' is missing", file));
  try {
    auto document = json::parse(**text);
    if (document.at("format") != 1)
      return fail(errc::newer_format,
                  fmt::format("'{}' has another format than 1; run a newer "
                              "version",
                              file));
    std::vector<issued_certificate> all;
    for (auto& x : document.at("certificates"))
      all.push_back(from_json(x));
    drop_expired(all, env_.wall_ms());
    return all;
  } catch (const json::exception& error) {
    return fail(errc::registry_corrupted,
                fmt::format("'{}' is damaged: {}", file, error.what()));
  }
}

std::int64_t tls_folder::renewal_ms(const validity& valid) {
  return valid.to_ms - (valid.to_ms - valid.from_ms) / 3;
}

// -- implementation details ---------------------------------------------------

expected<void> tls_folder::check_exists() const {
  if (exists())
    return {};
  return fail(errc::not_found,
              fmt::format("there are no certificates in '{}'; 'muster node' or "
                          "'muster tls init' makes them",
                          path()));
}

expected<credential> tls_folder::read_authority() const {
  auto certificate = read_tls_file(path(), tls_file::authority);
  if (!certificate)
    return tl::unexpected<failure>{certificate.error()};
  return read_tls_file(path(), tls_file::authority_key)
    .map([&](std::string key) {
      return credential{std::move(*certificate), std::move(key)};
    });
}

validity tls_folder::valid_for(std::chrono::milliseconds time) const {
  auto now = env_.wall_ms();
  using std::chrono::milliseconds;
  return {now - milliseconds{clock_skew}.count(), now + time.count()};
}

validity tls_folder::leaf_validity(const certificate_facts& authority) const {
  auto out = valid_for(settings_.certificate_lifetime);
  out.to_ms = std::min(out.to_ms, authority.valid.to_ms);
  return out;
}

expected<void> tls_folder::save(const std::string& file,
                                const std::string& text) {
  return documents_.save(target_ + "/" + file, text);
}

expected<void>
tls_folder::save_issued(const std::vector<issued_certificate>& all) {
  auto list = json::array();
  for (auto& x : all)
    list.push_back(to_json(x));
  return save(issued_file,
              json{{"format", 1}, {"certificates", std::move(list)}}.dump(2)
                + "\n");
}

expected<void>
tls_folder::save_revoked(const std::vector<issued_certificate>& all) {
  std::vector<revocation> wanted;
  for (auto& x : all)
    if (x.revoked_at_ms)
      wanted.push_back({x.facts.serial, *x.revoked_at_ms});
  std::sort(wanted.begin(), wanted.end(),
            [](auto& a, auto& b) { return a.serial < b.serial; });
  auto text = read_tls_file(path(), tls_file::revoked);
  if (!text)
    return tl::unexpected<failure>{text.error()};
  // One that is damaged is left for whoever loads it to complain of.
  auto now = read_revocation_list(*text);
  if (!now
      || std::equal(now->begin(), now->end(), wanted.begin(), wanted.end(),
                    [](auto& a, auto& b) { return a == b.serial; }))
    return {};
  auto authority = read_authority();
  if (!authority)
    return tl::unexpected<failure>{authority.error()};
  return read_certificate(authority->certificate)
    .and_then([&](certificate_facts facts) {
      validity valid{valid_for({}).from_ms, facts.valid.to_ms};
      return make_revocation_list(*authority, wanted, valid);
    })
    .and_then([&](std::string list) { return save(tls_file::revoked, list); });
}

} // namespace muster
