// SPDX-License-Identifier: Apache-2.0

// A full disk refuses new work, keeps what was acknowledged and is forgiven
// when there is room; a disk that cannot be written is said to be so.

#define CAF_SUITE black_box.storage

#include "tests/black_box/eventually.hpp"
#include "tests/black_box/small_disk.hpp"
#include "tests/support/suite.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>

#include <sys/stat.h>

using namespace muster;
using namespace muster::test;
using namespace std::chrono_literals;

namespace {

constexpr std::size_t disk_size = 4 * 1024 * 1024;

/// Big enough that a few of them fill the disk.
constexpr std::size_t answer_size = 100'000;

/// Asks for ever and keeps the sizes of the answers.
constexpr const char* endless_questions = R"lua(
local sizes = {}
while true do
  sizes[#sizes + 1] = #alc.llm("sizes so far: " .. table.concat(sizes, " "))
end
)lua";

session_spec spec_of(std::string code) {
  session_spec spec;
  spec.code = std::move(code);
  return spec;
}

/// A session's answers, as they are kept.
std::vector<std::string> answers_of(client& link, const std::string& id) {
  std::vector<std::string> out;
  auto text = link.transcript(id);
  CAF_REQUIRE(text);
  auto transcript = json::parse(*text);
  for (auto& round : transcript.is_array() ? transcript : transcript["rounds"])
    if (round.contains("response") && round["response"].is_string())
      out.push_back(round["response"]);
  return out;
}

/// Feeds answers until one is refused.
/// @returns those that were acknowledged.
std::vector<std::string> feed_until_full(client& link, const std::string& id) {
  std::vector<std::string> taken;
  for (std::size_t i = 0; i < disk_size / answer_size + 1; ++i) {
    auto text = fmt::format("{:0>{}}", i, answer_size);
    auto reply = link.feed(id, {{"", text, {}}}, {30s});
    auto why = !reply ? reply.error()
                      : reply->results.at(0).refused.value_or(failure{});
    if (reply && !reply->results.at(0).refused) {
      taken.push_back(std::move(text));
      continue;
    }
    CAF_CHECK_EQUAL(why.code, errc::storage_full);
    return taken;
  }
  CAF_FAIL("the disk is not full");
  return taken;
}

/// A start that must be refused before anybody is told that there is a node.
program_result refused_start(black_box& box, const std::string& code) {
  auto result = box.run_json({"node", "--port", "0"});
  CAF_CHECK_EQUAL(result.error_code(), code);
  CAF_CHECK_EQUAL(result.out, "");
  return result;
}

} // namespace

// -- a full disk --------------------------------------------------------------

CAF_TEST(a full disk keeps what was acknowledged and takes more with new room) {
  small_disk disk{disk_size};
  black_box box{disk.path() + "/state"};
  box.require_start();
  disk.fill(disk_size / 4);
  auto link = *box.connect();
  auto paused = link->start(spec_of("return alc.llm('small')"));
  CAF_REQUIRE(paused);
  auto view = link->start(spec_of(endless_questions));
  CAF_REQUIRE(view);
  auto id = view->session_id;
  auto taken = feed_until_full(*link, id);
  CAF_REQUIRE(!taken.empty());
  // To the last byte, whatever else would have fit.
  disk.fill();
  // The refused answer changed nothing, and reads go on.
  auto before = link->show(id);
  CAF_REQUIRE(before);
  CAF_CHECK_EQUAL(before->phase, session_phase::paused);
  CAF_CHECK_EQUAL(before->queries.at(0).id, fmt::format("q-{}", taken.size()));
  CAF_CHECK(answers_of(*link, id) == taken);
  CAF_CHECK_EQUAL(link->list({})->sessions.size(), 2u);
  CAF_CHECK(link->status());
  CAF_CHECK_EQUAL(link->show(paused->session_id)->phase, session_phase::paused);
  // Nothing new is taken, and the program says why.
  auto more = std::string(answer_size, 'y');
  auto fed = box.run_json({"session", "feed", id}, {more, {}, {}, {}});
  CAF_CHECK_EQUAL(fed.code, 8);
  CAF_CHECK_EQUAL(fed.error_code(), "storage_full");
  auto script = box.folder.write("new.lua", "return '" + more + "'");
  auto run = box.run_json({"run", script});
  CAF_CHECK_EQUAL(run.code, 8);
  CAF_CHECK_EQUAL(run.error_code(), "storage_full");
  auto set = box.run_json({"state", "set", "key", "\"" + more + "\""});
  CAF_CHECK_EQUAL(set.code, 8);
  CAF_CHECK_EQUAL(set.error_code(), "storage_full");
  CAF_CHECK_EQUAL(link->list({})->sessions.size(), 2u);
  CAF_CHECK_EQUAL(link->show(id)->queries.at(0).id, before->queries.at(0).id);
  // The same again when there is room.
  disk.make_room();
  CAF_CHECK_EQUAL(
    box.run_json({"session", "feed", id}, {more, {}, {}, {}}).code, 0);
  taken.push_back(more);
  CAF_CHECK_EQUAL(box.run_json({"run", script}).code, 0);
  CAF_CHECK_EQUAL(box.run({"state", "set", "key", "1"}).code, 0);
  link.reset();
  box.kill();
  box.require_start();
  link = *box.connect();
  CAF_CHECK(answers_of(*link, id) == taken);
  CAF_CHECK_EQUAL(link->show(id)->queries.at(0).id,
                  fmt::format("q-{}", taken.size()));
  CAF_CHECK_EQUAL(link->list({})->sessions.size(), 3u);
  auto reply = link->feed(paused->session_id, {{"", "x", {}}}, {30s});
  CAF_REQUIRE(reply);
  CAF_CHECK_EQUAL(reply->session.result, "\"x\"");
}

CAF_TEST(what was acknowledged on a full disk is there after a kill) {
  small_disk disk{disk_size};
  black_box box{disk.path() + "/state"};
  box.require_start();
  disk.fill(disk_size / 4);
  auto link = *box.connect();
  auto id = link->start(spec_of(endless_questions))->session_id;
  auto taken = feed_until_full(*link, id);
  link.reset();
  box.kill();
  // There is no room yet, but what the dead node said of itself makes some.
  box.require_start();
  link = *box.connect();
  CAF_CHECK(answers_of(*link, id) == taken);
  CAF_CHECK_EQUAL(link->show(id)->phase, session_phase::paused);
  link.reset();
  disk.fill();
  CAF_CHECK_EQUAL(box.stop().code, 0);
  CAF_CHECK(!std::filesystem::exists(box.state() + "/node.json"));
}

CAF_TEST(a step that found no room is made when there is room) {
  small_disk disk{disk_size};
  black_box box{disk.path() + "/state"};
  box.require_start(
    {"--session.commit-after", "1ms", "--session.retry-after", "50ms"});
  auto link = *box.connect();
  // Long enough at work that its answer goes to disk before its next question.
  auto view = link->start(spec_of(R"lua(
local size = tonumber(alc.llm("size?"))
for i = 1, 5000000 do end
return #alc.llm(("x"):rep(size))
)lua"));
  CAF_REQUIRE(view);
  auto id = view->session_id;
  disk.fill(disk_size / 8);
  auto fed = link->resume(id, {{"", "1000000", {}}}, {30s});
  CAF_REQUIRE(fed);
  CAF_REQUIRE(!fed->results.at(0).refused);
  auto early = link->await(id, wait_for::event, 500ms);
  CAF_REQUIRE(!early);
  CAF_CHECK_EQUAL(early.error().code, errc::timeout);
  disk.make_room();
  auto next = link->await(id, wait_for::event, 30s);
  CAF_REQUIRE(next);
  CAF_CHECK_EQUAL(next->phase, session_phase::paused);
  CAF_CHECK_EQUAL(next->queries.at(0).prompt.size(), 1'000'000u);
}

CAF_TEST(a node does not start where it cannot even say where it is) {
  small_disk disk{disk_size};
  black_box box{disk.path() + "/state"};
  disk.fill();
  auto empty = refused_start(box, "storage_full");
  CAF_CHECK_EQUAL(empty.code, 8);
  CAF_CHECK(empty.err.find(box.state()) != std::string::npos);
  disk.make_room();
  box.require_start();
  auto link = *box.connect();
  auto id = link->start(spec_of("return alc.llm('q')"))->session_id;
  link.reset();
  CAF_CHECK_EQUAL(box.stop().code, 0);
  disk.fill();
  auto full = refused_start(box, "storage_full");
  CAF_CHECK_EQUAL(full.code, 8);
  CAF_CHECK(full.err.find(box.state()) != std::string::npos);
  CAF_CHECK(!std::filesystem::exists(box.state() + "/node.json"));
  disk.make_room();
  box.require_start();
  CAF_CHECK_EQUAL(box.run({"session", "feed", id, "x"}).code, 0);
}

// -- a disk that cannot be written --------------------------------------------

CAF_TEST(a read only state directory is refused by name) {
  small_disk disk{disk_size};
  black_box box{disk.path() + "/state"};
  box.require_start();
  CAF_CHECK_EQUAL(box.stop().code, 0);
  disk.make_read_only();
  auto known = refused_start(box, "read_only");
  CAF_CHECK_EQUAL(known.code, 8);
  CAF_CHECK(known.err.find(box.state()) != std::string::npos);
  black_box other{disk.path() + "/other"};
  auto missing = refused_start(other, "read_only");
  CAF_CHECK_EQUAL(missing.code, 8);
  CAF_CHECK(missing.err.find(other.state()) != std::string::npos);
}

CAF_TEST(a state directory that is none is refused by name) {
  temporary_folder folder;
  auto file = folder.write("file", "text");
  black_box box{file};
  auto result = refused_start(box, "invalid_argument");
  CAF_CHECK_EQUAL(result.code, 2);
  CAF_CHECK(result.err.find(file) != std::string::npos);
  // Nor can there be one below a file, or where the kernel makes the names.
  for (auto path : {file + "/state", std::string{"/proc/muster/state"}}) {
    black_box other{path};
    auto below = refused_start(other, "storage_failed");
    CAF_CHECK_EQUAL(below.code, 8);
    CAF_CHECK(below.err.find("cannot create '") != std::string::npos);
  }
  std::ifstream in{file};
  CAF_CHECK_EQUAL((std::string{std::istreambuf_iterator<char>{in}, {}}),
                  "text");
}

// -- who may read it ----------------------------------------------------------

CAF_TEST(the state is for its owner only whatever the mask of the caller is) {
  for (auto existing : {false, true}) {
    black_box box;
    auto mask = ::umask(0);
    if (existing)
      std::filesystem::create_directory(box.state());
    box.require_start();
    ::umask(mask);
    box.run_script("alc.log('info', 'x') return alc.llm('q')");
    auto mode = [](const std::string& path) {
      struct stat info {};
      return ::stat(path.c_str(), &info) == 0 ? info.st_mode & 07777 : 0;
    };
    CAF_CHECK_EQUAL(mode(box.state()), 0700u);
    std::size_t files = 0;
    for (auto& entry :
         std::filesystem::recursive_directory_iterator{box.state()}) {
      CAF_MESSAGE(entry.path().string());
      CAF_CHECK_EQUAL(mode(entry.path()), entry.is_directory() ? 0700u : 0600u);
      files += entry.is_directory() ? 0 : 1;
    }
    // The database and its log, the lock, the address, and the certificates.
    CAF_CHECK_EQUAL(files, 4u + 8u);
  }
}
