// SPDX-License-Identifier: Apache-2.0

#include "app/output/console.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <ctime>

#include <unistd.h>

namespace muster {

namespace {

/// Columns that a text takes on a terminal, near enough: one for each scalar
/// value.
std::size_t width_of(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(
    text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

std::string padded(const std::string& text, std::size_t width) {
  auto used = width_of(text);
  return text + std::string(width > used ? width - used : 0, ' ');
}

} // namespace

console::console(bool as_json)
  : json_(as_json), terminal_(::isatty(STDOUT_FILENO) == 1) {
  // nop
}

void console::print(const json& document) const {
  // A path or an argument may be any bytes; they must not spoil the document.
  line(document.dump(-1, ' ', false, json::error_handler_t::replace));
}

void console::line(std::string_view text) const {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fputc('\n', stdout);
  std::fflush(stdout);
}

bool console::can_write() const {
  return std::ferror(stdout) == 0;
}

void console::table(const std::vector<std::string>& header,
                    const std::vector<std::vector<std::string>>& rows) const {
  if (!terminal_) {
    for (auto& row : rows)
      line(fmt::format("{}", fmt::join(row, "\t")));
    return;
  }
  std::vector<std::size_t> widths;
  for (auto& title : header)
    widths.push_back(width_of(title));
  for (auto& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i)
      widths[i] = std::max(widths[i], width_of(row[i]));
  auto show = [&](const std::vector<std::string>& row) {
    std::string text;
    for (std::size_t i = 0; i < row.size(); ++i)
      text += i + 1 < row.size() ? padded(row[i], widths[i] + 2) : row[i];
    line(text);
  };
  show(header);
  for (auto& row : rows)
    show(row);
}

void console::note(std::string_view text) const {
  if (!json_)
    fmt::print(stderr, "{}\n", text);
}

int console::error(const failure& why) const {
  auto& row = describe(why.code);
  if (json_)
    fmt::print(
      stderr, "{}\n",
      json{{"error", {{"code", row.name}, {"message", why.message}}}}.dump(
        -1, ' ', false, json::error_handler_t::replace));
  else
    fmt::print(stderr, "muster: {}\n", why.message);
  return row.exit_code;
}

std::string one_line(std::string_view text, std::size_t width) {
  std::string out{width < text.size() ? utf8_prefix(text, width + 1) : text};
  std::replace_if(
    out.begin(), out.end(), [](unsigned char c) { return c < ' '; }, ' ');
  if (width_of(out) > width)
    out = std::string{utf8_prefix(out, width - 1)} + "…";
  return out;
}

std::string show_time(std::int64_t ms) {
  auto seconds = static_cast<std::time_t>(ms / 1'000);
  return fmt::format("{:%Y-%m-%d %H:%M:%S}", fmt::localtime(seconds));
}

} // namespace muster
