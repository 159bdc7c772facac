// SPDX-License-Identifier: Apache-2.0

// Frames are lines of UTF-8, each with one end of line, `\n`, and nothing else
// has a meaning in them.

#pragma once

#include "messages/errors.hpp"

#include <cstddef>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

namespace muster {

/// What comes from a socket, taken apart: bytes in, frames out.
class frame_buffer {
public:
  /// @param max_frame_bytes of a frame, without its end of line.
  explicit frame_buffer(std::size_t max_frame_bytes)
    : max_frame_bytes_(max_frame_bytes) {
    // nop
  }

  /// Takes what was read. All frames are to be taken before more is read: the
  /// memory that this needs is bounded by the frame and the piece.
  void append(std::string_view bytes) {
    bytes_.append(bytes);
  }

  /// @returns the next frame, nothing if it is not whole yet, `too_large` or
  ///          `not_utf8` for ever if it is none.
  [[nodiscard]] expected<std::optional<std::string>> next();

  /// Whether a part of a frame is here.
  [[nodiscard]] bool is_inside() const {
    return begin_ < bytes_.size();
  }

private:
  std::size_t max_frame_bytes_;
  std::string bytes_;
  /// Where the next frame begins, and how far there is no end of it.
  std::size_t begin_ = 0;
  std::size_t searched_ = 0;
};

/// A frame as it is sent, with its end of line.
/// @returns `too_large`, or `invalid_argument` if it holds an end of line.
[[nodiscard]] expected<std::string> to_line(std::string frame,
                                            std::size_t max_frame_bytes);

/// Lines that wait to be sent.
class line_queue {
public:
  /// @param max_bytes of all that waits.
  explicit line_queue(std::size_t max_bytes) : max_bytes_(max_bytes) {
    // nop
  }

  /// @returns `overloaded` if too many bytes would wait.
  [[nodiscard]] expected<void> push(std::string line);

  [[nodiscard]] bool empty() const {
    return lines_.empty();
  }

  /// What is to be sent next; not empty unless this is.
  [[nodiscard]] std::string_view front() const;

  /// That many bytes of the front are sent.
  void pop(std::size_t count);

private:
  std::size_t max_bytes_;
  std::deque<std::string> lines_;
  /// Of the first line, and of all.
  std::size_t sent_ = 0;
  std::size_t waiting_ = 0;
};

} // namespace muster
