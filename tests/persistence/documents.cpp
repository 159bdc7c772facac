// SPDX-License-Identifier: Apache-2.0

#define CAF_SUITE persistence.documents

#include "actors/persistence/documents.hpp"

#include "tests/support/simulated_disk.hpp"
#include "tests/support/suite.hpp"

#include "actors/persistence/state_directory.hpp"

#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>

#include <sys/stat.h>
#include <unistd.h>

using namespace muster;
using namespace muster::test;

namespace {

struct fixture {
  simulated_disk disk;
  std::unique_ptr<muster::disk> front = disk.documents();
  std::unique_ptr<documents> docs;

  fixture() {
    reopen();
  }

  void reopen() {
    docs = std::make_unique<documents>(*front, "/state");
  }

  std::string read(const std::string& path) {
    auto text = docs->read(path);
    CAF_REQUIRE(text);
    return text->value_or("(none)");
  }
};

/// A folder of the real disk that is gone in the end.
struct real_fixture {
  std::string folder;

  real_fixture() {
    char name[] = "/tmp/muster-test-XXXXXX";
    folder = ::mkdtemp(name);
  }

  ~real_fixture() {
    std::filesystem::remove_all(folder);
  }
};

} // namespace

CAF_TEST_FIXTURE_SCOPE(document_tests, fixture)

CAF_TEST(a document that was saved is there whatever happens) {
  CAF_REQUIRE(docs->save("a.json", "{\"n\":1}"));
  CAF_REQUIRE(docs->save("pool/b.json", "{\"n\":2}"));
  for (int i = 0; i < 20; ++i) {
    disk.cut_power();
    CAF_CHECK_EQUAL(read("a.json"), "{\"n\":1}");
    CAF_CHECK_EQUAL(read("pool/b.json"), "{\"n\":2}");
  }
  CAF_CHECK_EQUAL(read("c.json"), "(none)");
}

CAF_TEST(whatever operation fails the old document or the new one is there) {
  CAF_REQUIRE(docs->save("a.json", "{\"old\":true}"));
  auto first = disk.operations();
  CAF_REQUIRE(docs->save("a.json", "{\"old\":true}"));
  auto needed = disk.operations() - first;
  CAF_CHECK(needed >= 5);
  for (std::uint64_t n = 1; n <= needed + 1; ++n)
    for (auto error : {EIO, ENOSPC}) {
      reopen();
      CAF_REQUIRE(docs->save("a.json", "{\"old\":true}"));
      disk.fail_once(disk.operations() + n, error);
      auto saved = docs->save("a.json", "{\"new\":true}");
      disk.forget_failures();
      disk.cut_power();
      auto text = read("a.json");
      if (saved)
        CAF_CHECK_EQUAL(text, "{\"new\":true}");
      else
        CAF_CHECK(text == "{\"old\":true}" || text == "{\"new\":true}");
    }
}

CAF_TEST(a failed sync is final) {
  CAF_REQUIRE(docs->save("a.json", "{}"));
  disk.set_fault([](disk_operation x, const std::string&, std::uint64_t) {
    return x == disk_operation::sync ? EIO : 0;
  });
  CAF_CHECK(!docs->save("a.json", "{}"));
  disk.set_fault(nullptr);
  CAF_CHECK(docs->broken());
  CAF_CHECK(!docs->save("a.json", "{}"));
  CAF_CHECK(!docs->remove("a.json"));
}

CAF_TEST(a failed sync above a new folder is final) {
  disk.set_fault([](disk_operation x, const std::string& path, std::uint64_t) {
    return x == disk_operation::sync_folder && path == "/state" ? EIO : 0;
  });
  CAF_CHECK(!docs->save("pool/a.json", "{}"));
  disk.set_fault(nullptr);
  CAF_CHECK(docs->broken());
  CAF_CHECK(!docs->save("pool/a.json", "{}"));
}

CAF_TEST(a full disk is no end) {
  CAF_REQUIRE(docs->save("a.json", "{}"));
  disk.capacity = 10;
  auto saved = docs->save("a.json", "{\"text\":\"much too long\"}");
  CAF_REQUIRE(!saved);
  CAF_CHECK_EQUAL(saved.error().code, errc::storage_full);
  CAF_CHECK_EQUAL(read("a.json"), "{}");
  CAF_CHECK_EQUAL(disk.names().size(), 1u);
  disk.capacity = std::nullopt;
  CAF_CHECK(docs->save("a.json", "{\"text\":\"much too long\"}"));
}

CAF_TEST(a broken document is an error and stays as it is) {
  for (auto* text : {"", "{", "[1]", "nonsense", "{} trailing", "null"}) {
    disk.set_contents("/state/a.json", text);
    disk.remove("/state/a.json.broken");
    auto read = docs->read("a.json");
    CAF_REQUIRE(!read);
    CAF_CHECK_EQUAL(read.error().code, errc::registry_corrupted);
    CAF_CHECK(read.error().message.find("/state/a.json") != std::string::npos);
    CAF_CHECK_EQUAL(*disk.contents("/state/a.json"), text);
    CAF_CHECK_EQUAL(*disk.contents("/state/a.json.broken"), text);
  }
}

CAF_TEST(the copy of the first damage is kept) {
  disk.set_contents("/state/a.json", "first");
  CAF_CHECK(!docs->read("a.json"));
  disk.set_contents("/state/a.json", "second");
  CAF_CHECK(!docs->read("a.json"));
  CAF_CHECK_EQUAL(*disk.contents("/state/a.json.broken"), "first");
}

CAF_TEST(what a crash left half written is cleaned up) {
  CAF_REQUIRE(docs->save("a.json", "{}"));
  disk.set_contents("/state/.a.json.7.tmp", "{");
  disk.set_contents("/state/notes.tmp", "mine");
  CAF_REQUIRE(docs->clean());
  CAF_CHECK(!disk.contents("/state/.a.json.7.tmp"));
  CAF_CHECK(disk.contents("/state/notes.tmp"));
  CAF_CHECK_EQUAL(read("a.json"), "{}");
}

CAF_TEST(a document can be removed for good) {
  CAF_REQUIRE(docs->save("a.json", "{}"));
  CAF_REQUIRE(docs->remove("a.json"));
  CAF_REQUIRE(docs->remove("a.json"));
  disk.cut_power();
  CAF_CHECK_EQUAL(read("a.json"), "(none)");
}

CAF_TEST_FIXTURE_SCOPE_END()

CAF_TEST_FIXTURE_SCOPE(real_document_tests, real_fixture)

CAF_TEST(documents on the real disk are for their owner only) {
  auto disk = make_posix_disk();
  documents docs{*disk, folder};
  CAF_REQUIRE(docs.save("pool/a.json", "{\"n\":1}"));
  CAF_REQUIRE(docs.save("pool/a.json", "{\"n\":2}"));
  CAF_CHECK_EQUAL(**docs.read("pool/a.json"), "{\"n\":2}");
  struct stat info {};
  ::stat((folder + "/pool/a.json").c_str(), &info);
  CAF_CHECK_EQUAL(info.st_mode & 0777, 0600u);
  ::stat((folder + "/pool").c_str(), &info);
  CAF_CHECK_EQUAL(info.st_mode & 0777, 0700u);
  CAF_CHECK_EQUAL(disk->list(folder + "/pool")->size(), 1u);
}

CAF_TEST(what the real disk cannot do is told with the path) {
  auto disk = make_posix_disk();
  auto missing = disk->create(folder + "/no/such/folder");
  CAF_REQUIRE(!missing);
  CAF_CHECK(missing.error().message.find(folder) != std::string::npos);
  CAF_CHECK(!*disk->read(folder + "/nothing"));
  CAF_CHECK(disk->remove(folder + "/nothing"));
  CAF_CHECK(!disk->list(folder + "/nothing"));
}

CAF_TEST(a state directory belongs to one process) {
  auto path = folder + "/deep/state";
  auto first = state_directory::open(path);
  CAF_REQUIRE(first);
  CAF_CHECK_EQUAL((*first)->path(), path);
  struct stat info {};
  ::stat(path.c_str(), &info);
  CAF_CHECK_EQUAL(info.st_mode & 0777, 0700u);
  auto second = state_directory::open(path);
  CAF_REQUIRE(!second);
  CAF_CHECK_EQUAL(second.error().code, errc::in_use);
  CAF_CHECK(second.error().message.find(std::to_string(::getpid()))
            != std::string::npos);
  first->reset();
  CAF_CHECK(state_directory::open(path));
}

CAF_TEST(a state directory that is open to others is closed) {
  ::chmod(folder.c_str(), 0755);
  CAF_REQUIRE(state_directory::open(folder));
  struct stat info {};
  ::stat(folder.c_str(), &info);
  CAF_CHECK_EQUAL(info.st_mode & 0777, 0700u);
}

CAF_TEST(a state directory that cannot be one is refused) {
  std::ofstream{folder + "/file"} << "x";
  CAF_CHECK(!state_directory::open(folder + "/file"));
  CAF_CHECK(!state_directory::open(folder + "/file/below"));
  CAF_CHECK(!state_directory::open("/proc/muster"));
}

CAF_TEST_FIXTURE_SCOPE_END()
