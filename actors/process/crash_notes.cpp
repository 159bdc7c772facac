// SPDX-License-Identifier: Apache-2.0

#include "actors/process/crash_notes.hpp"

#include "messages/ids.hpp"

#include <algorithm>
#include <charconv>

namespace muster {

namespace {

/// Takes what stands before the next separator off the front of `text`.
std::string_view take(std::string_view& text, char separator) {
  auto end = std::min(text.find(separator), text.size());
  auto out = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return out;
}

template <class T>
bool parse(std::string_view text, T& to) {
  auto [end, code] = std::from_chars(text.begin(), text.end(), to);
  return code == std::errc{} && end == text.end();
}

} // namespace

std::size_t write_crash_line(crash_line& to, std::string_view session_id,
                             std::uint64_t pauses, int signal) noexcept {
  // Enough for two numbers, a space before each, and the end of the line.
  constexpr std::size_t numbers = 40;
  if (session_id.size() + numbers > to.size())
    return 0;
  auto* at = std::copy(session_id.begin(), session_id.end(), to.data());
  auto* end = to.data() + to.size();
  *at++ = ' ';
  at = std::to_chars(at, end, pauses).ptr;
  *at++ = ' ';
  at = std::to_chars(at, end, signal).ptr;
  *at++ = '\n';
  return static_cast<std::size_t>(at - to.data());
}

crash_notes::crash_notes(std::string_view text) {
  // What is behind the last newline was cut short.
  while (text.find('\n') != std::string_view::npos)
    add(take(text, '\n'));
}

std::uint64_t crash_notes::deaths(const std::string& session_id,
                                  std::uint64_t pauses) const {
  auto i = deaths_.find(session_id);
  return i != deaths_.end() && i->second.pauses == pauses ? i->second.deaths
                                                          : 0;
}

int crash_notes::signal(const std::string& session_id) const {
  auto i = deaths_.find(session_id);
  return i != deaths_.end() ? i->second.signal : 0;
}

void crash_notes::add(std::string_view line) {
  auto id = take(line, ' ');
  auto pauses_text = take(line, ' ');
  std::uint64_t pauses = 0;
  int number = 0;
  if (!is_session_id(id) || !parse(pauses_text, pauses) || !parse(line, number))
    return;
  auto& known = deaths_[std::string{id}];
  if (known.pauses != pauses)
    known.deaths = 0;
  known.pauses = pauses;
  known.signal = number;
  ++known.deaths;
}

} // namespace muster
