// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "tests/black_box/told_work.hpp"

#include <map>
#include <set>
#include <string>
#include <vector>

#include <sys/types.h>

namespace muster::test {

/// The real program with worker processes. These outlive their node, but not
/// the box: the test program is the parent of those that have lost theirs.
class pool_box : public black_box {
public:
  pool_box();

  ~pool_box();

  // -- sessions ---------------------------------------------------------------

  /// Runs a script in a worker, which must come to a pause.
  /// @returns the id of the session.
  std::string paused_in_worker(const std::string& code);

  /// Feeds a session that must take it.
  /// @returns the next event.
  json fed(const std::string& id, const std::string& text);

  /// What a session was asked and answered, each with its answer.
  std::string told(const std::string& id);

  // -- what the node says -----------------------------------------------------

  /// The workers of `pool list`, by their ids.
  std::map<std::string, json> workers();

  /// The worker that has a session; without fields if none has.
  json worker_of(const std::string& session);

  /// Has the node start workers that wait for a session.
  void spawn_workers(int count);

  // -- what the system says ---------------------------------------------------

  /// The processes that live and have a socket in the state directory, whoever
  /// knows of them.
  [[nodiscard]] std::set<pid_t> processes() const;

  /// What is left of workers: processes, files, entries. Waits until that is
  /// nothing.
  /// @returns it in words at the deadline; empty if there is nothing.
  [[nodiscard]] std::string leftovers(std::chrono::milliseconds limit
                                      = std::chrono::seconds(30)) const;

  /// What the node has of the system when no client is there.
  [[nodiscard]] footprint settled();

  /// Waits until the node has no more of the system than it had.
  /// @returns in words what it has more at the deadline; empty if nothing.
  [[nodiscard]] std::string grown_since(const footprint& before);

  /// SIGKILL to a worker, and the end of it.
  /// @param is_reaped whether nothing of it shall stay.
  void end_process(pid_t pid, bool is_reaped = true) const;

  // -- the document -----------------------------------------------------------

  [[nodiscard]] std::string pool_folder() const {
    return state() + "/pool";
  }

  [[nodiscard]] std::string socket_folder() const {
    return pool_folder() + "/sockets";
  }

  [[nodiscard]] std::string document_path() const {
    return pool_folder() + "/registry.json";
  }

  /// As text; empty if there is none.
  [[nodiscard]] std::string document_text() const;

  [[nodiscard]] json document() const;

  /// Writes it, also if there is no folder for it yet.
  void write_document(const std::string& text) const;

  /// An entry of the document that names a process.
  [[nodiscard]] json entry(const std::string& sid, const json& pid) const;

  /// The same with all that is known about that very process.
  [[nodiscard]] json entry_of(const std::string& sid, pid_t pid) const;
};

/// Whether a process lives. Zombies do not.
[[nodiscard]] bool is_living(pid_t pid);

/// Whether a signal has stopped a process.
[[nodiscard]] bool is_stopped(pid_t pid);

} // namespace muster::test
