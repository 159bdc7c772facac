// SPDX-License-Identifier: Apache-2.0

#include "tests/black_box/pod_box.hpp"

#include "tests/black_box/eventually.hpp"

#include "actors/process/descendants.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include <signal.h>
#include <sys/wait.h>

namespace muster::test {

namespace {

std::string text_of(const std::string& path) {
  std::ifstream in{path, std::ios::binary};
  return {std::istreambuf_iterator<char>{in}, {}};
}

/// The processes of all pods of the machine, by their folders.
std::map<std::string, std::vector<process_identity>> pods_seen() {
  carriers found;
  auto is_sure = eventually([&] {
    found = find_by_variable("MUSTER_POD_FOLDER");
    return !found.unsure && found.unknown.empty();
  });
  if (!is_sure)
    throw std::runtime_error{"processes come and go faster than they can be "
                             "looked at"};
  return std::move(found.by_value);
}

} // namespace

pod_box::~pod_box() {
  if (has_node())
    kill();
  // One may just be about to begin.
  int quiet = 0;
  std::ignore = eventually([&] {
    auto left = pod_processes();
    for (auto pid : left) {
      ::kill(pid, SIGKILL);
      ::waitpid(pid, nullptr, WNOHANG);
    }
    quiet = left.empty() ? quiet + 1 : 0;
    return quiet == 3;
  });
}

std::string pod_box::make_folder(const std::string& name) const {
  auto path = folder.path() + "/" + name;
  std::filesystem::create_directories(path);
  return path;
}

// -- pods ---------------------------------------------------------------------

json pod_box::spawned(const std::string& name, const std::string& rules,
                      std::vector<std::string> more) {
  std::vector<std::string> words{"--json", "pod",     "spawn",
                                 name,     "--scope", rules};
  words.insert(words.end(), more.begin(), more.end());
  auto result = run(words);
  if (result.code != 0)
    throw std::runtime_error{"the pod is not ready: " + result.err};
  return result.document();
}

json pod_box::spawned_shell(const std::string& name, const std::string& rules,
                            const std::string& script,
                            std::vector<std::string> options) {
  for (auto* word : {"--", "sh", "-c"})
    options.emplace_back(word);
  options.push_back(script);
  auto out = spawned(name, rules, std::move(options));
  if (!eventually(
        [&] { return output_of(out).find("up\n") != std::string::npos; }))
    throw std::runtime_error{"the script does not begin: " + output_of(out)};
  return out;
}

std::string pod_box::said(const std::string& name, const std::string& script) {
  auto before = pod(name).value("turns", 0);
  auto sent = run_json({"pod", "send", name, "lua: " + script});
  if (sent.code != 0)
    throw std::runtime_error{"the turn does not begin: " + sent.err};
  if (!eventually([&] { return pod(name).value("turns", 0) > before; }))
    throw std::runtime_error{"the turn does not end: " + script};
  return run({"pod", "read", name}).out;
}

// -- what the node says -------------------------------------------------------

json pod_box::pod(const std::string& name) {
  auto all = run_json({"pod", "list"}).document();
  for (auto& x : all.at("pods"))
    if (x.at("name") == name)
      return x;
  return json::object();
}

std::set<std::string> pod_box::borrowers() {
  std::set<std::string> out;
  auto all = run_json({"pod", "scopes"}).document();
  for (auto& x : all.at("loans"))
    out.insert(x.at("borrower").get<std::string>());
  return out;
}

// -- what the system says -----------------------------------------------------

std::set<pid_t> pod_box::pod_processes() const {
  std::set<pid_t> out;
  for (auto& [folder, all] : pods_seen())
    if (folder.starts_with(state() + "/pods/run/"))
      for (auto& who : all)
        out.insert(who.pid);
  return out;
}

std::string pod_box::disorder() {
  std::string out;
  std::ignore = eventually([&] {
    out.clear();
    std::set<std::string> names;
    std::set<std::string> folders;
    auto all = run_json({"pod", "list"}).document();
    for (auto& x : all.at("pods")) {
      names.insert(x.at("name").get<std::string>());
      folders.insert(x.at("folder").get<std::string>());
      if (x.at("pid").is_null() || !is_living(x.at("pid").get<pid_t>()))
        out += fmt::format("no process of {}\n", x.dump());
    }
    for (auto& name : borrowers())
      if (!names.contains(name))
        out += fmt::format("a loan of '{}', which is not there\n", name);
    for (auto& [folder, processes] : pods_seen())
      if (folder.starts_with(state()) && !folders.contains(folder))
        out += fmt::format("process {} of {}\n", processes.front().pid, folder);
    return out.empty();
  });
  return out;
}

std::string pod_box::output_of(const json& pod) {
  return text_of(pod.at("folder").get<std::string>() + "/output.log");
}

} // namespace muster::test
