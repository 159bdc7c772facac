// SPDX-License-Identifier: Apache-2.0

#include "tests/black_box/pool_box.hpp"

#include "tests/black_box/eventually.hpp"

#include "actors/process/process_identity.hpp"

#include <fmt/format.h>

#include <charconv>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

namespace muster::test {

namespace {

using namespace std::chrono_literals;

/// Nothing takes longer, also on a busy machine.
constexpr auto patience = 60s;

std::string contents(const std::string& path) {
  std::ifstream in{path, std::ios::binary};
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

/// The number that a name is; 0 if it is none.
pid_t number_in(const std::string& name) {
  pid_t out = 0;
  auto* end = name.data() + name.size();
  return std::from_chars(name.data(), end, out).ptr == end ? out : 0;
}

} // namespace

bool is_living(pid_t pid) {
  auto found = find_process(pid);
  return found && found->has_value();
}

bool is_stopped(pid_t pid) {
  auto found = stat_of(pid);
  return found && found->has_value() && (*found)->state == 'T';
}

pool_box::pool_box() {
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
}

pool_box::~pool_box() {
  if (has_node())
    kill();
  // One may just be about to begin.
  int quiet = 0;
  std::ignore = eventually([&] {
    auto left = processes();
    for (auto pid : left) {
      ::kill(pid, SIGKILL);
      ::waitpid(pid, nullptr, WNOHANG);
    }
    quiet = left.empty() ? quiet + 1 : 0;
    return quiet == 3;
  });
}

// -- sessions -----------------------------------------------------------------

std::string pool_box::paused_in_worker(const std::string& code) {
  auto document = run_script(code, {"--in", "worker"});
  if (document.value("status", "") != "needs_response")
    throw std::runtime_error{"the session does not pause: " + document.dump()};
  return document["session_id"];
}

json pool_box::fed(const std::string& id, const std::string& text) {
  auto result = run_json({"session", "feed", id, text});
  if (result.code != 0)
    throw std::runtime_error{"the answer is not taken: " + result.err};
  return result.document();
}

std::string pool_box::told(const std::string& id) {
  auto text = (*connect())->transcript(id, patience);
  if (!text)
    throw std::runtime_error{text.error().message};
  std::string out;
  for (auto& round : json::parse(*text))
    out += fmt::format("{} -> {}\n", round["prompt"].get<std::string>(),
                       round["response"].dump());
  return out;
}

// -- what the node says -------------------------------------------------------

std::map<std::string, json> pool_box::workers() {
  auto document = run_json({"pool", "list"}).document();
  std::map<std::string, json> out;
  for (auto& worker : document.at("workers"))
    out.emplace(worker.at("sid").get<std::string>(), worker);
  return out;
}

json pool_box::worker_of(const std::string& session) {
  for (auto& [sid, worker] : workers())
    if (worker["session"] == session)
      return worker;
  return json::object();
}

void pool_box::spawn_workers(int count) {
  auto link = *connect();
  for (int i = 0; i < count; ++i)
    if (auto made = link->pool_spawn({patience, {}}); !made)
      throw std::runtime_error{made.error().message};
}

// -- what the system says -----------------------------------------------------

std::set<pid_t> pool_box::processes() const {
  std::set<pid_t> out;
  std::error_code code;
  // Those of zombies are empty.
  for (auto& entry : std::filesystem::directory_iterator{"/proc", code})
    if (auto pid = number_in(entry.path().filename().string());
        pid > 0
        && contents(entry.path().string() + "/cmdline")
               .find(socket_folder() + '/')
             != std::string::npos)
      out.insert(pid);
  return out;
}

std::string pool_box::leftovers(std::chrono::milliseconds limit) const {
  std::string out;
  std::ignore = eventually(
    [&] {
      out.clear();
      for (auto pid : processes())
        out += fmt::format("process {}\n", pid);
      std::error_code code;
      for (auto& file :
           std::filesystem::recursive_directory_iterator{pool_folder(), code})
        if (file.path() != document_path() && file.path() != socket_folder())
          out += fmt::format("file {}\n", file.path().filename().string());
      auto all = document();
      for (auto* list : {"sessions", "starting"})
        for (auto& entry : all.value(list, json::array()))
          out += fmt::format("entry {}\n", entry.dump());
      return out.empty();
    },
    limit);
  return out;
}

footprint pool_box::settled() {
  std::ignore = (*connect())->status();
  auto last = footprint_of(node().pid());
  std::ignore = eventually([&] {
    auto before = std::exchange(last, footprint_of(node().pid()));
    return before == last;
  });
  return last;
}

std::string pool_box::grown_since(const footprint& before) {
  auto now = before;
  auto is_back = [&] {
    now = settled();
    return now.descriptors <= before.descriptors
           && now.threads <= before.threads && now.children <= before.children;
  };
  return eventually(is_back) ? ""
                             : fmt::format("it had {}, and now {}",
                                           to_string(before), to_string(now));
}

void pool_box::end_process(pid_t pid, bool is_reaped) const {
  ::kill(pid, SIGKILL);
  auto is_over = [=] {
    if (is_reaped)
      // Only if it has become ours.
      std::ignore = ::waitpid(pid, nullptr, WNOHANG);
    return !is_living(pid);
  };
  if (!eventually(is_over, patience))
    throw std::runtime_error{"a worker cannot be killed"};
}

// -- the document -------------------------------------------------------------

std::string pool_box::document_text() const {
  return contents(document_path());
}

json pool_box::document() const {
  auto text = document_text();
  return text.empty() ? json::object() : json::parse(text);
}

void pool_box::write_document(const std::string& text) const {
  std::filesystem::create_directories(pool_folder());
  std::ofstream{document_path(), std::ios::binary} << text;
}

json pool_box::entry(const std::string& sid, const json& pid) const {
  return {{"sid", sid},
          {"pid", pid},
          {"sock", fmt::format("{}/{}.sock", socket_folder(), sid)},
          {"version", "0.1.0"},
          {"created_at", "2026-01-31T12:00:00Z"}};
}

json pool_box::entry_of(const std::string& sid, pid_t pid) const {
  auto out = entry(sid, pid);
  out.update(to_json(identify(pid).value()));
  return out;
}

} // namespace muster::test
