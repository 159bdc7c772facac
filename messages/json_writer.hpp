// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/json.hpp"

#include <fmt/format.h>

#include <iterator>
#include <string>
#include <string_view>
#include <utility>

namespace muster {

/// Writes JSON straight to text, where a tree of values in between would cost
/// more than all the rest. Whoever uses it opens and closes what belongs
/// together.
class json_writer {
public:
  // -- constructors -----------------------------------------------------------

  /// Appends to `out`.
  explicit json_writer(std::string& out) : out_(out) {
    // nop
  }

  // -- structure --------------------------------------------------------------

  /// Opens an object or an array: `{` or `[`.
  void begin(char bracket) {
    out_ += bracket;
    first_ = true;
  }

  void end(char bracket) {
    out_ += bracket;
    first_ = false;
  }

  /// Must stand before each item of an array.
  void separate() {
    if (!std::exchange(first_, false))
      out_ += ',';
  }

  /// What comes next is the value of that name.
  void key(std::string_view name) {
    separate();
    out_ += '"';
    out_ += name;
    out_ += "\":";
  }

  // -- values -----------------------------------------------------------------

  /// @throws std::invalid_argument if the value is not well-formed UTF-8.
  void text(std::string_view name, std::string_view value) {
    key(name);
    append_quoted(out_, value);
  }

  /// Most objects have few of their fields.
  void text_if_any(std::string_view name, std::string_view value) {
    if (!value.empty())
      text(name, value);
  }

  /// A number or a boolean.
  template <class T>
  void number(std::string_view name, T value) {
    key(name);
    fmt::format_to(std::back_inserter(out_), "{}", value);
  }

  /// What is JSON already.
  void raw(std::string_view name, std::string_view value) {
    key(name);
    out_ += value;
  }

  /// The text so far.
  [[nodiscard]] std::string& out() {
    return out_;
  }

private:
  std::string& out_;
  bool first_ = true;
};

} // namespace muster
