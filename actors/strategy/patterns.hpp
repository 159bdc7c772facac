// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace muster::lua {

/// A search for a pattern of Lua (reference manual, 6.4.1) that can rest at any
/// point and go on later: a pattern that tries all ways through a text would
/// otherwise hold its thread for as long as it likes.
///
/// Everything that it knows stands in the object, in plain bytes, so that it
/// may be moved to where it outlives a suspension of the script. The texts have
/// to stay where they are, and to end in a zero byte.
class pattern_search {
public:
  // -- member types -----------------------------------------------------------

  enum class outcome : std::uint8_t {
    found,
    nothing,
    /// See `fault`.
    malformed,
    /// There is more to do than was allowed.
    unfinished,
    /// There are more choices than an object has room for: see `give_room`.
    crowded,
  };

  /// A part of the subject.
  struct capture {
    const char* begin;
    /// Its length, or one of the marks below.
    std::ptrdiff_t size;
  };

  // -- constants --------------------------------------------------------------

  /// The size of a capture that was not closed yet.
  static constexpr std::ptrdiff_t unclosed = -1;

  /// The size of a capture that gives a position.
  static constexpr std::ptrdiff_t position = -2;

  static constexpr int max_captures = 32;

  /// Choices that may be open at the same time. One more is an error, at the
  /// same place as in Lua itself.
  static constexpr int max_choices = 199;

  /// Choices that an object has room for by itself.
  static constexpr int few_choices = 12;

  // -- constructors -----------------------------------------------------------

  /// @param pattern without the `^` that anchors it.
  pattern_search(std::string_view subject, std::string_view pattern,
                 bool anchored);

  // -- searching --------------------------------------------------------------

  /// Begins to search.
  /// @param refused a match that ends here does not count.
  void begin(const char* from, const char* refused = nullptr);

  /// Searches until there is an outcome or about so much work was done.
  outcome go_on(std::uint64_t most_work);

  /// Lets the search use memory of `room_bytes` for its choices.
  void give_room(void* memory);

  // -- properties -------------------------------------------------------------

  /// What the last call of `go_on` took, about in instructions of Lua.
  [[nodiscard]] std::uint64_t work() const {
    return work_;
  }

  [[nodiscard]] const char* match_begin() const {
    return start_;
  }

  [[nodiscard]] const char* match_end() const {
    return at_;
  }

  [[nodiscard]] const char* subject_begin() const {
    return subject_;
  }

  [[nodiscard]] const char* subject_end() const {
    return subject_end_;
  }

  [[nodiscard]] int captures() const {
    return captures_;
  }

  [[nodiscard]] const capture& captured(int index) const {
    return captured_[index];
  }

  /// What is wrong with the pattern. A number belongs behind it if `number` is
  /// not negative.
  [[nodiscard]] const char* fault() const {
    return fault_;
  }

  [[nodiscard]] int number() const {
    return number_;
  }

private:
  // -- member types -----------------------------------------------------------

  /// What is to be done next.
  enum class step : std::uint8_t {
    /// Try to match from `start_` on.
    attempt,
    /// Match the item at `item_` with the subject at `at_`.
    item,
    /// Count how often an item fits.
    repeat,
    /// Search for the end of a balanced part.
    balance,
    /// Take back the last choice.
    retreat,
    /// The pattern has come to its end.
    matched,
    found,
    nothing,
    malformed,
  };

  /// A single character of a pattern and what it stands for: itself, a class or
  /// a set.
  struct single {
    const char* begin;
    const char* end;
  };

  /// A place to go back to.
  struct choice {
    enum class kind : std::uint8_t {
      /// `*` or `+`: one less.
      fewer,
      /// `-`: one more.
      more,
      /// `?`: none.
      without,
      /// A capture that was opened: none of it.
      opened,
      /// A capture that was closed: it is open.
      closed,
    };

    kind what;
    /// Where in the subject the item was tried.
    const char* at;
    single item;
    /// How often the item was taken, or the number of the capture.
    std::size_t count;
  };

  // -- steps ------------------------------------------------------------------

  step attempt();
  step next_attempt();
  step match_item();
  step match_single();
  step repeat();
  step open_capture();
  step close_capture();
  step begin_balance();
  step balance();
  step frontier();
  step back_reference();
  step retreat();
  step matched();

  // -- implementation details -------------------------------------------------

  [[nodiscard]] choice* open_choices() {
    return more_ != nullptr ? more_ : few_;
  }

  /// Notes a choice.
  /// @returns false if there are too many.
  bool choose(choice::kind what, const single& item, std::size_t count);

  step fail(const char* fault, int number = -1);

  /// Finds the end of the item that begins at `begin`.
  /// @returns the end, or null if there is none; `fault_` tells why.
  const char* end_of(const char* begin);

  /// Counts how many characters from `from` on fit an item, or do not. It goes
  /// no further than the work that is left allows.
  /// @param reached receives how many were looked at.
  std::size_t count_fitting(const char* from, const single& item, bool wanted,
                            std::size_t& reached);

  /// Finds the item that each match begins with, if there is one.
  void find_first();

  // -- member variables -------------------------------------------------------

  const char* subject_;
  const char* subject_end_;
  const char* pattern_;
  const char* pattern_end_;
  /// A match that ends here does not count.
  const char* refused_;
  /// Where the match begins.
  const char* start_;
  /// How far it has come in the subject and in the pattern.
  const char* at_;
  const char* item_;
  /// The item that is repeated.
  single repeated_;
  /// How often, or how many balanced parts are open.
  std::size_t count_;
  /// What each match begins with, or null.
  single first_;
  const char* fault_;
  std::uint64_t work_;
  std::uint64_t most_work_;
  int number_;
  int captures_;
  int choices_;
  step next_;
  bool anchored_;
  capture captured_[max_captures];
  /// The choices that are open, as long as there are few. An object stands on
  /// the stack of a thread, below whatever a script calls next.
  choice few_[few_choices];
  /// Where they are if there are more, or null.
  choice* more_;

public:
  /// What `give_room` needs.
  static constexpr std::size_t room_bytes = max_choices * sizeof(choice);
};

} // namespace muster::lua
