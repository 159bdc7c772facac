// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/process/crash_notes.hpp"

#include "messages/errors.hpp"

#include <cstdint>
#include <string>

namespace muster {

/// Says that this thread runs the script of a session, for as long as this
/// object lives. Costs two writes to memory of the thread: nothing is on disk
/// unless the process crashes.
class running_script {
public:
  // -- constructors and destructors -------------------------------------------

  /// @param session_id must outlive this object.
  /// @param pauses the pauses that the session has had.
  running_script(const std::string& session_id, std::uint64_t pauses);

  ~running_script();

  running_script(const running_script&) = delete;

  running_script& operator=(const running_script&) = delete;

  // -- properties -------------------------------------------------------------

  /// Writes the note that a crash of this thread leaves.
  /// @returns its size; 0 if the thread runs no script.
  static std::size_t write_line(crash_line& to, int signal) noexcept;

private:
  const running_script* before_;
  const std::string& session_id_;
  std::uint64_t pauses_;
};

/// From now on a crash of this process, by SIGSEGV, SIGBUS, SIGFPE, SIGILL or
/// SIGABRT, leaves a note in that file if it comes from a thread that runs a
/// script. A crash of any other thread is no script's fault, and neither is
/// what comes from outside: SIGKILL, a lack of memory, or a signal to the
/// process as a whole, which the kernel gives to the first thread. The process
/// then dies as it would have.
/// @returns `invalid_argument` if the path is too long for a file.
[[nodiscard]] expected<void> note_crashes(const std::string& path);

/// The same for a process that can open no file: the note goes to one that is
/// open.
void note_crashes_to(int file);

} // namespace muster
