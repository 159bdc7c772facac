// SPDX-License-Identifier: Apache-2.0

#define CAF_SUITE pod.file_tools

#include "actors/pod/file_tools.hpp"

#include "tests/support/suite.hpp"

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>
#include <tuple>

#include <sys/stat.h>

using namespace muster;

namespace fs = std::filesystem;

namespace {

/// A folder with a part that is lent, `lent`, and one that is not, `own`.
struct fixture {
  fixture() {
    char name[] = "/tmp/muster-files-XXXXXX";
    top = ::mkdtemp(name);
    lent = top + "/lent";
    fs::create_directories(lent + "/sub/deep");
    fs::create_directories(top + "/own");
    put(top + "/own/secret", "secret");
    put(lent + "/a", "text a");
    put(lent + "/sub/b", "text b");
    put(lent + "/sub/deep/c", "text c");
  }

  ~fixture() {
    fs::remove_all(top);
  }

  static void put(const std::string& path, const std::string& text) {
    std::ofstream{path, std::ios::binary} << text;
  }

  static std::string text_of(const std::string& path) {
    std::ifstream in{path, std::ios::binary};
    return {std::istreambuf_iterator<char>{in}, {}};
  }

  [[nodiscard]] file_tools tools(permission level = permission::write,
                                 bool recursive = true) const {
    return file_tools{{{lent, level, recursive}}};
  }

  std::string top;
  std::string lent;
};

/// The text, or the code of the error.
std::string shown(const expected<std::string>& x) {
  return x ? *x : to_string(x.error().code);
}

std::string shown(const expected<void>& x) {
  return x ? "done" : to_string(x.error().code);
}

std::string shown(const expected<std::vector<std::string>>& x) {
  if (!x)
    return to_string(x.error().code);
  std::string out;
  for (auto& name : *x)
    out += name + " ";
  return out;
}

std::string shown(const expected<file_info>& x) {
  return x ? x->type + " " + std::to_string(x->size)
           : to_string(x.error().code);
}

} // namespace

CAF_TEST_FIXTURE_SCOPE(file_tools_tests, fixture)

CAF_TEST(what is in the scope can be read and written and looked at) {
  auto x = tools();
  CAF_CHECK_EQUAL(shown(x.read_file(lent + "/a")), "text a");
  CAF_CHECK_EQUAL(shown(x.read_file(lent + "/sub/deep/c")), "text c");
  CAF_CHECK_EQUAL(shown(x.list_dir(lent)), "a sub/ ");
  CAF_CHECK_EQUAL(shown(x.list_dir(lent + "/sub")), "b deep/ ");
  CAF_CHECK_EQUAL(shown(x.write_file(lent + "/sub/new", "new")), "done");
  CAF_CHECK_EQUAL(text_of(lent + "/sub/new"), "new");
  // Of what was longer nothing is left.
  CAF_CHECK_EQUAL(shown(x.write_file(lent + "/a", "A")), "done");
  CAF_CHECK_EQUAL(text_of(lent + "/a"), "A");
  CAF_CHECK_EQUAL(shown(x.stat(lent + "/a")), "file 1");
  CAF_CHECK_EQUAL(x.stat(lent + "/sub")->type, "folder");
  CAF_CHECK(x.stat(lent + "/a")->mtime_ms > 1'700'000'000'000);
  CAF_CHECK_EQUAL(shown(x.read_file(lent + "/none")), "not_found");
  CAF_CHECK_EQUAL(shown(x.read_file(lent + "/a/b")), "not_found");
  CAF_CHECK_EQUAL(shown(x.stat(lent + "/none")), "not_found");
  CAF_CHECK_EQUAL(shown(x.list_dir(lent + "/a")), "not_found");
  CAF_CHECK_EQUAL(shown(x.write_file(lent + "/none/x", "")), "not_found");
}

CAF_TEST(bytes are kept as they are) {
  auto x = tools();
  std::string bytes("\0\xFF\r\n\x01", 5);
  CAF_CHECK_EQUAL(shown(x.write_file(lent + "/bytes", bytes)), "done");
  CAF_CHECK(*x.read_file(lent + "/bytes") == bytes);
  CAF_CHECK_EQUAL(shown(x.write_file(lent + "/bytes", "")), "done");
  CAF_CHECK_EQUAL(shown(x.read_file(lent + "/bytes")), "");
}

CAF_TEST(what is not in the scope is out of reach) {
  auto x = tools();
  for (auto& path : {top + "/own/secret", lent + "/../own/secret",
                     lent + "/sub/../../own/secret", top + "/lentil",
                     std::string{"/etc/passwd"}, std::string{"/"}}) {
    CAF_CHECK_EQUAL(shown(x.read_file(path)), "not_allowed");
    CAF_CHECK_EQUAL(shown(x.write_file(path, "x")), "not_allowed");
    CAF_CHECK_EQUAL(shown(x.list_dir(path)), "not_allowed");
    CAF_CHECK_EQUAL(shown(x.stat(path)), "not_allowed");
  }
  CAF_CHECK_EQUAL(text_of(top + "/own/secret"), "secret");
  CAF_CHECK(!fs::exists(top + "/lentil"));
  CAF_CHECK_EQUAL(x.read_file(top + "/own/secret").error().message,
                  "'" + top + "/own/secret' is not within the scope");
}

CAF_TEST(a path may be written in any way) {
  auto x = tools();
  for (auto& path : {lent + "//a", lent + "/./a", lent + "/sub/../a",
                     "//" + lent + "/a", lent + "/nothing/../a"})
    CAF_CHECK_EQUAL(shown(x.read_file(path)), "text a");
  CAF_CHECK_EQUAL(shown(x.list_dir(lent + "/")), "a sub/ ");
  for (auto& path : {std::string{}, lent + std::string("/a\0b", 4),
                     lent + "/" + std::string(4'096, 'x')})
    CAF_CHECK_EQUAL(shown(x.read_file(path)), "invalid_argument");
}

CAF_TEST(a relative path begins at the working folder) {
  auto before = fs::current_path();
  fs::current_path(lent);
  auto x = tools();
  fs::current_path(before);
  CAF_CHECK_EQUAL(shown(x.read_file("a")), "text a");
  CAF_CHECK_EQUAL(shown(x.read_file("./sub/b")), "text b");
  CAF_CHECK_EQUAL(shown(x.list_dir(".")), "a sub/ ");
  CAF_CHECK_EQUAL(shown(x.read_file("../own/secret")), "not_allowed");
}

CAF_TEST(a link leads where the scope does and no further) {
  fs::create_symlink("sub/b", lent + "/inside");
  fs::create_symlink("sub", lent + "/folder");
  fs::create_symlink("../own/secret", lent + "/out");
  fs::create_symlink(top + "/own", lent + "/away");
  fs::create_symlink(lent + "/a", lent + "/absolute");
  fs::create_symlink("circle", lent + "/circle");
  fs::create_symlink("../own/made", lent + "/dangling");
  auto x = tools();
  CAF_CHECK_EQUAL(shown(x.read_file(lent + "/inside")), "text b");
  CAF_CHECK_EQUAL(shown(x.read_file(lent + "/folder/deep/c")), "text c");
  for (auto* name : {"out", "away/secret", "absolute", "circle", "dangling"}) {
    auto path = lent + "/" + name;
    CAF_CHECK_EQUAL(shown(x.read_file(path)), "not_allowed");
    CAF_CHECK_EQUAL(shown(x.write_file(path, "x")), "not_allowed");
    CAF_CHECK_EQUAL(shown(x.stat(path)), "not_allowed");
  }
  CAF_CHECK_EQUAL(shown(x.list_dir(lent + "/away")), "not_allowed");
  CAF_CHECK_EQUAL(text_of(top + "/own/secret"), "secret");
  CAF_CHECK(!fs::exists(top + "/own/made"));
  // A link is no folder, wherever it leads.
  CAF_CHECK_EQUAL(shown(x.list_dir(lent)),
                  "a absolute away circle dangling folder inside out sub/ ");
}

CAF_TEST(a link of the kernel leads nowhere) {
  file_tools x{{{"/proc/self", permission::read, true}}};
  CAF_CHECK_EQUAL(shown(x.read_file("/proc/self/root/etc/passwd")),
                  "not_allowed");
  CAF_CHECK_EQUAL(shown(x.list_dir("/proc/self/cwd")), "not_allowed");
  CAF_CHECK_EQUAL(shown(x.read_file("/proc/self/exe")), "not_allowed");
  CAF_CHECK(x.read_file("/proc/self/comm"));
}

CAF_TEST(what may be read only is not written) {
  auto x = tools(permission::read);
  CAF_CHECK_EQUAL(shown(x.read_file(lent + "/a")), "text a");
  CAF_CHECK_EQUAL(shown(x.list_dir(lent)), "a sub/ ");
  auto refused = x.write_file(lent + "/a", "x");
  CAF_CHECK_EQUAL(shown(refused), "not_allowed");
  CAF_CHECK_EQUAL(refused.error().message,
                  "the scope lets '" + lent + "/a' only be read");
  CAF_CHECK_EQUAL(shown(x.write_file(lent + "/new", "x")), "not_allowed");
  CAF_CHECK_EQUAL(text_of(lent + "/a"), "text a");
  CAF_CHECK(!fs::exists(lent + "/new"));
}

CAF_TEST(a rule of one level is one of one level) {
  fs::create_symlink("sub/b", lent + "/link");
  auto x = tools(permission::write, false);
  CAF_CHECK_EQUAL(shown(x.read_file(lent + "/a")), "text a");
  CAF_CHECK_EQUAL(shown(x.list_dir(lent)), "a link sub/ ");
  CAF_CHECK_EQUAL(x.stat(lent + "/sub")->type, "folder");
  CAF_CHECK_EQUAL(shown(x.write_file(lent + "/new", "x")), "done");
  CAF_CHECK_EQUAL(shown(x.read_file(lent + "/sub/b")), "not_allowed");
  CAF_CHECK_EQUAL(shown(x.write_file(lent + "/sub/b", "x")), "not_allowed");
  CAF_CHECK_EQUAL(shown(x.list_dir(lent + "/sub")), "not_allowed");
  CAF_CHECK_EQUAL(shown(x.read_file(lent + "/link")), "not_allowed");
  CAF_CHECK_EQUAL(text_of(lent + "/sub/b"), "text b");
}

CAF_TEST(of several rules each gives what it gives) {
  file_tools x{{{lent, permission::read, false},
                {lent + "/sub", permission::write, true},
                {lent + "/missing", permission::write, true}}};
  CAF_CHECK_EQUAL(shown(x.read_file(lent + "/a")), "text a");
  CAF_CHECK_EQUAL(shown(x.write_file(lent + "/a", "x")), "not_allowed");
  CAF_CHECK_EQUAL(shown(x.write_file(lent + "/sub/b", "x")), "done");
  CAF_CHECK_EQUAL(shown(x.list_dir(lent + "/sub")), "b deep/ ");
  CAF_CHECK_EQUAL(shown(x.read_file(lent + "/missing/x")), "not_found");
  // A link between two of them is a link out of either.
  fs::create_symlink("../a", lent + "/sub/link");
  CAF_CHECK_EQUAL(shown(x.read_file(lent + "/sub/link")), "not_allowed");
}

CAF_TEST(a rule may name a single file) {
  file_tools x{{{lent + "/a", permission::write, true}}};
  CAF_CHECK_EQUAL(shown(x.read_file(lent + "/a")), "text a");
  CAF_CHECK_EQUAL(shown(x.write_file(lent + "/a", "A")), "done");
  CAF_CHECK_EQUAL(shown(x.stat(lent + "/a")), "file 1");
  CAF_CHECK_EQUAL(shown(x.read_file(lent + "/a/b")), "not_found");
  CAF_CHECK_EQUAL(shown(x.read_file(lent + "/sub/b")), "not_allowed");
  fs::remove(lent + "/a");
  fs::create_symlink("sub/b", lent + "/a");
  CAF_CHECK_EQUAL(shown(x.read_file(lent + "/a")), "not_allowed");
}

CAF_TEST(a rule for everything gives everything) {
  file_tools x{{{"/", permission::read, true}}};
  CAF_CHECK_EQUAL(shown(x.read_file(top + "/own/secret")), "secret");
  CAF_CHECK(x.list_dir("/"));
}

CAF_TEST(what is no file is refused at once) {
  auto x = tools();
  CAF_REQUIRE_EQUAL(::mkfifo((lent + "/pipe").c_str(), 0600), 0);
  CAF_CHECK_EQUAL(shown(x.read_file(lent + "/pipe")), "invalid_argument");
  CAF_CHECK_EQUAL(shown(x.write_file(lent + "/pipe", "x")), "invalid_argument");
  CAF_CHECK_EQUAL(x.stat(lent + "/pipe")->type, "other");
  CAF_CHECK_EQUAL(shown(x.read_file(lent + "/sub")), "invalid_argument");
  CAF_CHECK_EQUAL(shown(x.write_file(lent + "/sub", "x")), "invalid_argument");
}

CAF_TEST(every size has its limit) {
  file_tools x{{{lent, permission::write, true}},
               {.max_file_bytes = 6, .max_entries = 2}};
  CAF_CHECK_EQUAL(shown(x.read_file(lent + "/a")), "text a");
  CAF_CHECK_EQUAL(shown(x.list_dir(lent)), "a sub/ ");
  put(lent + "/b", "7 bytes");
  for (auto& refused : {x.read_file(lent + "/b").error(),
                        x.write_file(lent + "/a", "7 bytes").error()}) {
    CAF_CHECK_EQUAL(to_string(refused.code), "too_large");
    CAF_CHECK(refused.message.ends_with(
      "has more bytes than the 6 that the file tools take"));
  }
  CAF_CHECK_EQUAL(text_of(lent + "/a"), "text a");
  CAF_CHECK_EQUAL(x.list_dir(lent).error().message,
                  "'" + lent
                    + "' has more entries than the 2 that the file "
                      "tools take");
  // Without an end, and without a size.
  file_tools devices{{{"/dev/zero", permission::read, true},
                      {"/proc/self", permission::read, false}},
                     {.max_file_bytes = 6}};
  CAF_CHECK_EQUAL(shown(devices.read_file("/dev/zero")), "invalid_argument");
  CAF_CHECK_EQUAL(shown(devices.read_file("/proc/self/stat")), "too_large");
}

CAF_TEST(folders that are moved all the time are given up) {
  int attempts = 0;
  auto moved
    = [&](int, const char*, std::uint64_t, std::uint64_t, std::uint64_t) {
        ++attempts;
        errno = EAGAIN;
        return -1;
      };
  file_tools x{{{lent, permission::write, true}}, {.max_attempts = 5}, moved};
  CAF_CHECK_EQUAL(shown(x.read_file(lent + "/a")), "busy");
  CAF_CHECK_EQUAL(attempts, 5);
  auto once = [&, left = 2](int at, const char* path, std::uint64_t flags,
                            std::uint64_t mode, std::uint64_t resolve) mutable {
    return left-- > 0 ? moved(at, path, flags, mode, resolve)
                      : open_beneath(at, path, flags, mode, resolve);
  };
  file_tools y{{{lent, permission::write, true}}, {.max_attempts = 5}, once};
  CAF_CHECK_EQUAL(shown(y.read_file(lent + "/a")), "text a");
}

CAF_TEST(a link that is swapped in meanwhile is not followed out) {
  auto x = tools();
  fs::create_directory(lent + "/swap");
  put(lent + "/swap/secret", "harmless");
  fs::create_symlink(top + "/own", lent + "/link");
  std::atomic<bool> done = false;
  std::thread swapper{[&] {
    while (!done) {
      ::rename((lent + "/swap").c_str(), (lent + "/aside").c_str());
      ::rename((lent + "/link").c_str(), (lent + "/swap").c_str());
      ::rename((lent + "/swap").c_str(), (lent + "/link").c_str());
      ::rename((lent + "/aside").c_str(), (lent + "/swap").c_str());
    }
  }};
  // Until both were met, and long enough beside.
  auto read = 0;
  auto refused = 0;
  for (auto i = 0; i < 1'000'000 && (i < 2'000 || read < 1 || refused < 1);
       ++i) {
    auto text = x.read_file(lent + "/swap/secret");
    (text ? read : refused) += 1;
    if (text ? *text != "harmless"
             : text.error().code != errc::not_allowed
                 && text.error().code != errc::not_found
                 && text.error().code != errc::busy) {
      CAF_CHECK_EQUAL(shown(text), "harmless");
      break;
    }
    std::ignore = x.write_file(lent + "/swap/secret", "harmless");
  }
  done = true;
  swapper.join();
  CAF_CHECK_EQUAL(text_of(top + "/own/secret"), "secret");
  CAF_CHECK(read > 0);
}

CAF_TEST_FIXTURE_SCOPE_END()
