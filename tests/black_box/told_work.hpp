// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "tests/black_box/program.hpp"

#include <optional>
#include <set>
#include <string>
#include <vector>

namespace muster::test {

/// A small piece of work for a real node, and a book of what its client was
/// told. Whatever happens to the node, the book has to be right behind it.
///
/// The work is one new session with three queries that counts its answers in
/// the shared state. Beside it stands an older session that is paused behind
/// its first answer.
class told_work {
public:
  /// Leaves the older session in the state directory of a box.
  /// @param is_stopped whether the node that made it stops in order; it is
  ///        killed otherwise, and leaves its log behind.
  static void prepare(black_box& box, bool is_stopped);

  /// @param box has a state directory that was prepared, or a copy of one.
  explicit told_work(black_box& box);

  // -- working ----------------------------------------------------------------

  /// Goes on with the session from where it is, or spawns it.
  /// @returns the first failure; nothing if the session has ended.
  std::optional<failure> go_on();

  /// Goes on with the work until it is all done, which must be possible, and
  /// compares all that can be seen with the book.
  /// @param others sessions that a test has made beside it; it must be known
  ///        then that the spawn came through.
  void finish(std::size_t others = 0);

  /// Compares what a node left behind that was stopped in order: a sound
  /// database and nothing that should be gone.
  void check_left_behind();

  // -- the book ---------------------------------------------------------------

  /// What was acknowledged so far: the spawn, answers, the end.
  [[nodiscard]] std::size_t acknowledged() const;

  /// What was not as it has to be.
  [[nodiscard]] const std::vector<std::string>& faults() const {
    return faults_;
  }

  void add_fault(std::string text) {
    faults_.push_back(std::move(text));
  }

private:
  void note_pause(const session_view& view);

  /// A spawn that was not acknowledged may have come through, once.
  void adopt(client& link, std::size_t others);

  void finish_older(client& link);

  black_box& box_;
  std::string id_;
  std::string older_;
  std::set<std::string> taken_;
  /// An answer that was sent and neither taken nor refused: it may be there.
  std::optional<std::string> unsure_;
  bool is_done_ = false;
  std::vector<std::string> faults_;
};

/// What a process holds of the system's: what must not grow.
struct footprint {
  std::size_t descriptors = 0;
  std::size_t threads = 0;
  std::size_t children = 0;

  friend bool operator==(const footprint&, const footprint&) = default;
};

[[nodiscard]] footprint footprint_of(pid_t pid);

[[nodiscard]] std::string to_string(const footprint& x);

} // namespace muster::test
