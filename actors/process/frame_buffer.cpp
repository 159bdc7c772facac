// SPDX-License-Identifier: Apache-2.0

#include "actors/process/frame_buffer.hpp"

#include "messages/json.hpp"

#include <fmt/format.h>

#include <utility>

namespace muster {

namespace {

/// What an empty buffer may keep for the next frame.
constexpr std::size_t max_idle_bytes = std::size_t{1} << 20;

} // namespace

expected<std::optional<std::string>> frame_buffer::next() {
  auto end = bytes_.find('\n', searched_);
  auto size = std::min(end, bytes_.size()) - begin_;
  if (size > max_frame_bytes_)
    return fail(errc::too_large, fmt::format("sent a frame of more than {} "
                                             "bytes",
                                             max_frame_bytes_));
  if (end == std::string::npos) {
    bytes_.erase(0, std::exchange(begin_, 0));
    searched_ = bytes_.size();
    return std::nullopt;
  }
  if (!is_utf8(std::string_view{bytes_}.substr(begin_, size)))
    return fail(errc::not_utf8, "sent a frame that is not valid UTF-8");
  std::optional<std::string> out;
  if (begin_ == 0 && end + 1 == bytes_.size()) {
    // A frame alone, such as a large one, is not copied.
    out = std::exchange(bytes_, {});
    out->pop_back();
  } else {
    out = bytes_.substr(begin_, size);
    begin_ = end + 1;
  }
  if (begin_ >= bytes_.size()) {
    if (bytes_.capacity() > max_idle_bytes)
      bytes_ = {};
    bytes_.clear();
    begin_ = 0;
  }
  searched_ = begin_;
  return out;
}

expected<std::string> to_line(std::string frame, std::size_t max_frame_bytes) {
  if (frame.size() > max_frame_bytes)
    return fail(errc::too_large,
                fmt::format("a frame of {} bytes, where {} are the limit",
                            frame.size(), max_frame_bytes));
  if (frame.find('\n') != std::string::npos)
    return fail(errc::invalid_argument, "a frame holds an end of line");
  frame.push_back('\n');
  return frame;
}

expected<void> line_queue::push(std::string line) {
  if (waiting_ + line.size() > max_bytes_)
    return fail(errc::overloaded,
                fmt::format("{} bytes wait to be sent, where {} are the limit",
                            waiting_, max_bytes_));
  waiting_ += line.size();
  lines_.push_back(std::move(line));
  return {};
}

std::string_view line_queue::front() const {
  if (lines_.empty())
    return {};
  return std::string_view{lines_.front()}.substr(sent_);
}

void line_queue::pop(std::size_t count) {
  waiting_ -= count;
  sent_ += count;
  if (sent_ == lines_.front().size()) {
    lines_.pop_front();
    sent_ = 0;
  }
}

} // namespace muster
