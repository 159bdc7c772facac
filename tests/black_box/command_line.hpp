// SPDX-License-Identifier: Apache-2.0

// What the suites of the command line share. To be included behind
// "tests/support/suite.hpp".

#pragma once

#include "tests/black_box/eventually.hpp"
#include "tests/black_box/program.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace muster::test {

/// The lines of a text; the last one must be ended as well.
inline std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> out;
  std::size_t begin = 0;
  for (auto end = text.find('\n'); end != std::string::npos;
       begin = end + 1, end = text.find('\n', begin))
    out.push_back(text.substr(begin, end - begin));
  if (begin != text.size())
    throw std::runtime_error{"the last line is not ended: " + text};
  return out;
}

/// A text as the one JSON document on the one line that it has to be.
inline json only_document(const std::string& text) {
  auto lines = lines_of(text);
  auto value = json::parse(lines.size() == 1 ? lines.front() : std::string{},
                           nullptr, false);
  if (value.is_discarded())
    throw std::runtime_error{"not one JSON document on one line: " + text};
  return value;
}

/// Every line as a JSON document.
inline std::vector<json> documents_of(const std::string& text) {
  std::vector<json> out;
  for (auto& line : lines_of(text))
    out.push_back(only_document(line + "\n"));
  return out;
}

/// The names of an object's fields in alphabetical order, with spaces.
inline std::string fields_of(const json& object) {
  std::vector<std::string> names;
  for (auto& [name, value] : object.items())
    names.push_back(name);
  return fmt::format("{}", fmt::join(names, " "));
}

/// A command that is left to run.
inline std::unique_ptr<process> launch(const black_box& box,
                                       std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), MUSTER_PROGRAM);
  program_options options;
  options.variables["MUSTER_STATE_DIR"] = box.state();
  options.folder = box.folder.path();
  return std::make_unique<process>(arguments, options);
}

/// The end of a command that was left to run.
inline program_result end_of(process& command) {
  auto result = command.wait(std::chrono::seconds(60));
  if (!result)
    throw std::runtime_error{"the program does not end"};
  return *result;
}

/// Waits until something holds.
inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// Spawns a session that must come to a pause.
/// @returns its id.
inline std::string paused_session(black_box& box, const std::string& code) {
  auto document = box.run_script(code);
  if (document.value("status", "") != "needs_response")
    throw std::runtime_error{"the session does not pause: " + document.dump()};
  return document["session_id"];
}

/// Spawns a session that must not come to a pause, and does not wait for it.
/// @returns its id.
inline std::string running_session(black_box& box, const std::string& code) {
  session_spec spec;
  spec.code = code;
  return *(*box.connect())->spawn(std::move(spec));
}

/// Where a session stands, as `session show` tells.
inline json show(black_box& box, const std::string& id) {
  return only_document(box.run_json({"session", "show", id}).out);
}

/// A node that all tests of a suite share.
template <class Suite>
black_box& shared_node() {
  static black_box box;
  if (!box.has_node())
    box.require_start(Suite::node_arguments(box));
  return box;
}

} // namespace muster::test
