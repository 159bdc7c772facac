// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/errors.hpp"
#include "messages/json.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace muster {

/// Where a command says what it has to say: results on standard output,
/// everything else on standard error. Knows whether a program or a person
/// reads.
class console {
public:
  // -- constructors -----------------------------------------------------------

  /// @param as_json whether results and errors are JSON documents.
  explicit console(bool as_json);

  // -- properties -------------------------------------------------------------

  [[nodiscard]] bool is_json() const {
    return json_;
  }

  /// Whether a person looks at standard output.
  [[nodiscard]] bool is_terminal() const {
    return terminal_;
  }

  /// Whether all that was printed on standard output got there.
  [[nodiscard]] bool can_write() const;

  // -- output -----------------------------------------------------------------

  /// Prints one JSON document on one line.
  void print(const json& document) const;

  /// Prints a line of text.
  void line(std::string_view text) const;

  /// Prints rows: below a header and in columns for a person, with tabs between
  /// the fields and no header for a program.
  void table(const std::vector<std::string>& header,
             const std::vector<std::vector<std::string>>& rows) const;

  /// Says something beside the result; nothing with JSON.
  void note(std::string_view text) const;

  /// Prints an error.
  /// @returns the exit code that goes with it.
  int error(const failure& why) const;

private:
  bool json_;
  bool terminal_;
};

/// A text on one line, cut to at most so many characters.
[[nodiscard]] std::string one_line(std::string_view text,
                                   std::size_t width = std::string_view::npos);

/// A point in time for a person: `2026-01-31 23:59:59` in local time.
[[nodiscard]] std::string show_time(std::int64_t ms);

} // namespace muster
