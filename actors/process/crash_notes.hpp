// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>

namespace muster {

/// The file in the state directory that holds a line for each note. There is
/// none as long as nothing crashes.
inline constexpr const char* crash_file = "crashes";

/// More than this is forgotten at a start.
inline constexpr std::size_t max_crash_bytes = 64ull << 10;

/// One note.
using crash_line = std::array<char, 160>;

/// Writes that the process dies of a signal in a thread that runs the script of
/// this session, which has had so many pauses. Allocates nothing and takes no
/// lock: it may be called by a signal handler.
/// @returns the size of the line; 0 if it does not fit.
std::size_t write_crash_line(crash_line& to, std::string_view session_id,
                             std::uint64_t pauses, int signal) noexcept;

/// Under which sessions the process died, and how often in a row.
class crash_notes {
public:
  // -- constructors -----------------------------------------------------------

  /// @param text the lines in the order in which they were written. What is no
  ///        note is skipped: a death may cut its own short.
  explicit crash_notes(std::string_view text = {});

  // -- properties -------------------------------------------------------------

  [[nodiscard]] bool empty() const {
    return deaths_.empty();
  }

  /// Whether the process died under this session, wherever it stood.
  [[nodiscard]] bool contains(const std::string& session_id) const {
    return deaths_.contains(session_id);
  }

  /// How often the process died while the session was on its way from there to
  /// its next pause. Once it has paused, what was before counts no longer.
  [[nodiscard]] std::uint64_t deaths(const std::string& session_id,
                                     std::uint64_t pauses) const;

  /// The signal of the last of them.
  [[nodiscard]] int signal(const std::string& session_id) const;

private:
  struct entry {
    std::uint64_t pauses = 0;
    std::uint64_t deaths = 0;
    int signal = 0;
  };

  void add(std::string_view line);

  std::unordered_map<std::string, entry> deaths_;
};

} // namespace muster
