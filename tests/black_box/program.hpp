// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "app/client/client.hpp"

#include "messages/json.hpp"

#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

namespace muster::test {

/// What a program did.
struct program_result {
  /// The exit code, or minus the signal that ended it.
  int code = 0;
  std::string out;
  std::string err;

  /// Standard output as the one JSON document that it has to be.
  [[nodiscard]] json document() const;

  /// The code of the JSON error on standard error.
  [[nodiscard]] std::string error_code() const;
};

/// What a program is started with.
struct program_options {
  std::string input;
  std::map<std::string, std::string> variables;
  std::string folder;
  /// What runs the program, with its options, such as `prlimit`; must not fork
  /// for it.
  std::vector<std::string> runner;
};

/// A process of a test. Dies with the test program, whatever happens to that.
class process {
public:
  /// @param arguments the program's path first.
  process(const std::vector<std::string>& arguments,
          const program_options& options);

  /// Kills the process if it lives.
  ~process();

  process(const process&) = delete;

  process& operator=(const process&) = delete;

  [[nodiscard]] pid_t pid() const {
    return pid_;
  }

  /// Sends a signal, unless the process has ended.
  void signal(int number);

  /// Reads standard output up to the next newline.
  /// @returns what came before the deadline or the end.
  std::string read_line(std::chrono::milliseconds limit);

  /// Waits for the end; everything that was written is in the result.
  /// @returns nothing if the process still runs at the deadline.
  std::optional<program_result> wait(std::chrono::milliseconds limit);

private:
  /// Takes what there is to read.
  /// @returns whether either end is still open.
  bool read_some(std::chrono::milliseconds limit);

  pid_t pid_ = -1;
  int in_ = -1;
  int out_ = -1;
  int err_ = -1;
  std::string input_;
  program_result result_;
  std::size_t read_ = 0;
  std::atomic<bool> ended_{false};
};

/// A folder that is gone in the end.
class temporary_folder {
public:
  temporary_folder();

  ~temporary_folder();

  temporary_folder(const temporary_folder&) = delete;

  temporary_folder& operator=(const temporary_folder&) = delete;

  [[nodiscard]] const std::string& path() const {
    return path_;
  }

  /// Writes a file into the folder.
  /// @returns its path.
  std::string write(const std::string& name, const std::string& text) const;

private:
  std::string path_;
};

/// The real program with a state directory of its own, and the node that runs
/// there.
class black_box {
public:
  explicit black_box(std::string state_directory = {});

  // -- commands ---------------------------------------------------------------

  /// Runs `muster` with these arguments to its end.
  program_result run(std::vector<std::string> arguments,
                     program_options options = {});

  /// The same with `--json`.
  program_result run_json(std::vector<std::string> arguments,
                          program_options options = {});

  /// Writes a script and runs it, detached.
  json run_script(const std::string& code, std::vector<std::string> more = {});

  // -- the node ---------------------------------------------------------------

  /// Starts a node, on any free port, and does not wait for it.
  void launch(std::vector<std::string> more = {}, program_options options = {});

  /// Waits for the node that was launched.
  /// @returns whether it said that it is ready.
  bool await_ready();

  /// Starts a node and waits for it.
  /// @returns whether it said that it is ready.
  bool start(std::vector<std::string> more = {}, program_options options = {});

  /// `start` that must work.
  void require_start(std::vector<std::string> more = {},
                     program_options options = {});

  /// SIGKILL, and the end of it.
  void kill();

  /// SIGTERM; gives what the node said.
  program_result stop();

  [[nodiscard]] process& node() {
    return *node_;
  }

  [[nodiscard]] bool has_node() const {
    return node_ != nullptr;
  }

  /// What the node said when it was ready.
  [[nodiscard]] const json& ready() const {
    return ready_;
  }

  /// A client that ends with its connection.
  [[nodiscard]] expected<std::unique_ptr<client>> connect() const;

  /// What a client needs that looks for the node when that is started again.
  [[nodiscard]] client_options options() const;

  [[nodiscard]] const std::string& state() const {
    return state_;
  }

  temporary_folder folder;

private:
  std::string state_;
  std::unique_ptr<process> node_;
  json ready_;
};

} // namespace muster::test
