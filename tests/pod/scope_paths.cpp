// SPDX-License-Identifier: Apache-2.0

// Which place a path means.

#define CAF_SUITE pod.scope_paths

#include "actors/pod/scope_paths.hpp"

#include "tests/support/suite.hpp"

#include <filesystem>
#include <map>

#include <unistd.h>

namespace fs = std::filesystem;

using namespace muster;

namespace {

/// A file system of a few paths; those that lead elsewhere say where.
struct file_system {
  std::map<std::string, std::string> leads;
  std::vector<std::string> asked;
  std::map<std::string, failure> broken;

  path_resolver resolver() {
    return [this](const std::string& path) -> expected<std::string> {
      asked.push_back(path);
      if (auto i = broken.find(path); i != broken.end())
        return tl::unexpected<failure>{i->second};
      if (auto i = leads.find(path); i != leads.end())
        return i->second;
      return fail(errc::not_found, "nothing is there");
    };
  }

  std::string canonical(std::string_view path) {
    auto out = canonical_path(path, resolver());
    return out ? *out : to_string(out.error().code);
  }
};

struct fixture {
  fixture() {
    disk.leads = {{"/", "/"},        {"/d", "/d"},   {"/d/a", "/d/a"},
                  {"/link", "/d/a"}, {"/d/..", "/"}, {"/top", "/"}};
  }

  file_system disk;
};

/// A folder that is gone with the test.
struct real_folder {
  real_folder() {
    std::string name = fs::temp_directory_path() / "muster-scope-XXXXXX";
    CAF_REQUIRE(::mkdtemp(name.data()) != nullptr);
    path = fs::canonical(name);
  }

  ~real_folder() {
    fs::remove_all(path);
  }

  std::string canonical(const std::string& name) const {
    auto out = canonical_path((path / name).string());
    return out ? *out : to_string(out.error().code);
  }

  std::string at(const std::string& name) const {
    return (path / name).string();
  }

  fs::path path;
};

} // namespace

CAF_TEST(whole names count) {
  CAF_CHECK(is_within("/src", "/src"));
  CAF_CHECK(is_within("/src/a", "/src"));
  CAF_CHECK(!is_within("/srcx", "/src"));
  CAF_CHECK(!is_within("/src", "/src/a"));
  CAF_CHECK(is_within("/src", "/"));
  CAF_CHECK(is_within("/", "/"));
  CAF_CHECK(!is_within("/", "/src"));
  CAF_CHECK_EQUAL(parent_of("/src/a"), "/src");
  CAF_CHECK_EQUAL(parent_of("/src"), "/");
  CAF_CHECK(parent_of("/").empty());
}

CAF_TEST(only the plain form of a path is canonical) {
  for (auto* path : {"/", "/a", "/a/b", "/..a", "/a..", "/.a", "/a/...", "/a."})
    CAF_CHECK(is_canonical(path));
  for (auto* path : {"", "a", "a/b", "//", "//a", "/a/", "/a//b", "/.", "/a/.",
                     "/./a", "/..", "/a/..", "/a/../b", "/../a"})
    CAF_CHECK(!is_canonical(path));
}

CAF_TEST_FIXTURE_SCOPE(scripted, fixture)

CAF_TEST(what exists is where its links lead) {
  CAF_CHECK_EQUAL(disk.canonical("/d/a"), "/d/a");
  CAF_CHECK_EQUAL(disk.canonical("/link"), "/d/a");
  CAF_CHECK_EQUAL(disk.canonical("/"), "/");
  CAF_CHECK_EQUAL(disk.canonical("/top"), "/");
}

CAF_TEST(a slash at the end and empty parts and dots change nothing) {
  for (auto* path : {"/d/a", "/d/a/", "//d//a", "/d/./a", "/./d/a/."})
    CAF_CHECK_EQUAL(disk.canonical(path), "/d/a");
  CAF_CHECK_EQUAL(disk.canonical("//"), "/");
}

CAF_TEST(resolves_new_nested_file_inside_scope) {
  CAF_CHECK_EQUAL(disk.canonical("/d/a/new/file"), "/d/a/new/file");
  CAF_CHECK_EQUAL(disk.canonical("/link/new/./file/"), "/d/a/new/file");
  CAF_CHECK_EQUAL(disk.canonical("/top/new"), "/new");
  CAF_CHECK_EQUAL(disk.canonical("/new"), "/new");
  CAF_CHECK_EQUAL(disk.asked.back(), "/");
}

CAF_TEST(rejects_traversal_attack) {
  CAF_CHECK_EQUAL(disk.canonical("/d/a/new/../../.."), "invalid_argument");
  CAF_CHECK_EQUAL(disk.canonical("/d/new/.."), "invalid_argument");
  CAF_CHECK_EQUAL(disk.canonical("/new/../d"), "invalid_argument");
  // Where everything up to it exists it is followed like any other name.
  CAF_CHECK_EQUAL(disk.canonical("/d/.."), "/");
  CAF_CHECK_EQUAL(disk.canonical("/d/../new"), "/new");
}

CAF_TEST(relative_target_rejected_as_invariant_violation) {
  for (auto* path : {"", "d", "./d", "../d"})
    CAF_CHECK_EQUAL(disk.canonical(path), "invalid_argument");
  CAF_CHECK(disk.asked.empty());
}

CAF_TEST(a path that no file has is not looked for) {
  CAF_CHECK_EQUAL(disk.canonical({"/d\0/../x", 8}), "invalid_argument");
  CAF_CHECK_EQUAL(disk.canonical("/d/\xFF"), "invalid_argument");
  CAF_CHECK_EQUAL(disk.canonical("/" + std::string(max_target_bytes, 'x')),
                  "too_large");
  CAF_CHECK(disk.asked.empty());
}

CAF_TEST(a link that leads to what cannot be written down is refused) {
  disk.leads["/bad"] = "/d/\xFF";
  CAF_CHECK_EQUAL(disk.canonical("/bad/new"), "invalid_argument");
}

CAF_TEST(where the node may not look is no place to lend) {
  // Behind it could be a link to anywhere.
  disk.broken["/d/closed/x"] = {errc::not_allowed, "closed"};
  disk.leads["/d/closed"] = "/d/closed";
  CAF_CHECK_EQUAL(disk.canonical("/d/closed/x/y"), "not_allowed");
  disk.broken["/"] = {errc::not_found, "no file system"};
  CAF_CHECK_EQUAL(disk.canonical("/new"), "not_found");
}

CAF_TEST(rules and scopes keep all but their paths) {
  auto x = parse_scope("w:/link,r1:/new/,-w:/link/x");
  CAF_REQUIRE(x);
  auto out = canonical_scope(*x, disk.resolver());
  CAF_REQUIRE(out);
  CAF_CHECK(*out == *parse_scope("w:/d/a,r1:/new,-w:/d/a/x"));
}

CAF_TEST(the error of a rule names it) {
  auto one
    = canonical_rule({"/new/..", permission::write, false}, disk.resolver());
  CAF_REQUIRE(!one);
  CAF_CHECK_EQUAL(one.error().code, errc::invalid_argument);
  CAF_CHECK(one.error().message.find("'w1:/new/..'") != std::string::npos);
  for (auto* text : {"r:/new/..,r:/d", "r:/d,-r:/new/.."}) {
    auto x = canonical_scope(*parse_scope(text), disk.resolver());
    CAF_REQUIRE(!x);
    CAF_CHECK(x.error().message.find("'r:/new/..'") != std::string::npos);
  }
}

CAF_TEST_FIXTURE_SCOPE_END()

CAF_TEST(a real file system is asked the same way) {
  real_folder x;
  fs::create_directories(x.path / "d/a");
  fs::create_directory_symlink(x.path / "d/a", x.path / "link");
  fs::create_directory_symlink("nowhere", x.path / "dangling");
  fs::create_directory_symlink("loop", x.path / "loop");
  CAF_CHECK_EQUAL(x.canonical("d/a/"), x.at("d/a"));
  CAF_CHECK_EQUAL(x.canonical("link"), x.at("d/a"));
  CAF_CHECK_EQUAL(x.canonical("link/new/file"), x.at("d/a/new/file"));
  CAF_CHECK_EQUAL(x.canonical("link/.."), x.at("d"));
  CAF_CHECK_EQUAL(x.canonical("link/../new"), x.at("d/new"));
  CAF_CHECK_EQUAL(x.canonical("new/../d"), "invalid_argument");
  // A link that leads nowhere is where it is itself.
  CAF_CHECK_EQUAL(x.canonical("dangling"), x.at("dangling"));
  CAF_CHECK_EQUAL(x.canonical("loop/x"), "invalid_argument");
  CAF_CHECK_EQUAL(real_path(x.at("dangling")).error().code, errc::not_found);
  CAF_CHECK_EQUAL(x.canonical(std::string(300, 'x')), "too_large");
}
