// SPDX-License-Identifier: Apache-2.0

#include "actors/pod/pod_output.hpp"

#include "actors/process/descriptor.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <optional>

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace muster {

namespace {

/// How many pieces of a line that is too long are passed over at once; the
/// rest of it counts as another one. The file may be of any size.
constexpr int max_long_pieces = 64;

/// How many files are read at once, of which all may be empty.
constexpr int max_files = 1'000;

/// Opens an ordinary file below a folder, without following any link. There is
/// none if it is not there.
expected<std::optional<descriptor>> open_below(const std::string& folder,
                                               const std::string& name) {
  descriptor top{
    ::open(folder.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)};
  open_how how{};
  how.flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;
  descriptor file{top ? static_cast<int>(::syscall(
                    SYS_openat2, top.get(), name.c_str(), &how, sizeof(how)))
                      : -1};
  if (!file && (errno == ENOENT || errno == ENOTDIR))
    return std::nullopt;
  struct stat info {};
  // A second name could be that of a file from elsewhere.
  if (!file || ::fstat(file.get(), &info) != 0 || !S_ISREG(info.st_mode)
      || info.st_nlink != 1)
    return fail(errc::not_allowed,
                fmt::format("'{}/{}' is not read: {}", folder, name,
                            file ? "it is no ordinary file of its own"
                                 : std::strerror(errno)));
  return file;
}

/// Reads at most so many bytes at a place.
expected<std::string> read_at(const descriptor& file, std::uint64_t offset,
                              std::uint64_t count) {
  std::string out(count, '\0');
  std::size_t size = 0;
  while (size < out.size()) {
    auto bytes = ::pread(file.get(), out.data() + size, out.size() - size,
                         static_cast<off_t>(offset + size));
    if (bytes < 0 && errno == EINTR)
      continue;
    if (bytes < 0)
      return fail(errc::internal, fmt::format("the output cannot be read: {}",
                                              std::strerror(errno)));
    if (bytes == 0)
      break;
    size += static_cast<std::size_t>(bytes);
  }
  out.resize(size);
  return out;
}

void take_line(std::string_view line, output_piece& to) {
  if (line.empty())
    return;
  auto value = json::parse(line, nullptr, false);
  auto is_text = value.is_object() && value.value("kind", json{}) == "text"
                 && value.contains("text") && value["text"].is_string();
  if (is_text)
    to.texts.push_back(value["text"].get<std::string>());
  else
    ++to.skipped;
}

/// Behind the end of a line that is too long to be one, or as far as is
/// allowed.
expected<std::optional<std::uint64_t>> behind_long_line(const descriptor& file,
                                                        std::uint64_t offset,
                                                        std::uint64_t chunk) {
  for (int i = 0; i < max_long_pieces; ++i) {
    auto text = read_at(file, offset, chunk);
    if (!text)
      return tl::unexpected<failure>{text.error()};
    if (auto end = text->find('\n'); end != std::string::npos)
      return offset + end + 1;
    if (text->size() < chunk)
      return std::nullopt;
    offset += text->size();
  }
  return offset;
}

} // namespace

std::string output_file(std::uint64_t segment) {
  return fmt::format("{:06}.jsonl", segment);
}

expected<output_piece> read_output(const std::string& folder,
                                   output_cursor from,
                                   std::uint64_t max_bytes) {
  output_piece out;
  out.to = from;
  auto left = max_bytes;
  auto name
    = [](std::uint64_t segment) { return "output/" + output_file(segment); };
  for (int i = 0; i < max_files; ++i) {
    auto segment = std::max<std::uint64_t>(out.to.segment, 1);
    // Once the next one is there, nothing more comes to this one.
    auto next = open_below(folder, name(segment + 1));
    auto file = next ? open_below(folder, name(segment))
                     : expected<std::optional<descriptor>>{
                       tl::unexpected<failure>{next.error()}};
    if (!file)
      return tl::unexpected<failure>{file.error()};
    if (!*file)
      return out;
    auto text = read_at(**file, out.to.offset, left);
    if (!text)
      return tl::unexpected<failure>{text.error()};
    std::string_view rest{*text};
    for (auto end = rest.find('\n'); end != std::string_view::npos;
         end = rest.find('\n')) {
      take_line(rest.substr(0, end), out);
      rest.remove_prefix(end + 1);
      out.to = {segment, out.to.offset + end + 1};
    }
    auto is_full = text->size() == left;
    left -= text->size() - rest.size();
    if (is_full) {
      out.more = true;
      if (text->size() - rest.size() > 0 || out.to != from)
        return out;
      // Not even one line has room.
      auto end = behind_long_line(**file, out.to.offset, max_bytes);
      if (!end)
        return tl::unexpected<failure>{end.error()};
      if (!*end && !*next) {
        out.more = false;
        return out;
      }
      ++out.skipped;
      out.to
        = *end ? output_cursor{segment, **end} : output_cursor{segment + 1, 0};
      return out;
    }
    if (!*next)
      return out;
    if (!rest.empty())
      ++out.skipped;
    out.to = {segment + 1, 0};
  }
  out.more = true;
  return out;
}

std::string tail_of_output(const std::string& folder, std::size_t max_bytes) {
  auto file = open_below(folder, pod_output_log);
  struct stat info {};
  if (!file || !*file || ::fstat((**file).get(), &info) != 0)
    return {};
  auto size = static_cast<std::uint64_t>(info.st_size);
  auto text = read_at(**file, size - std::min<std::uint64_t>(size, max_bytes),
                      max_bytes);
  auto out = text ? *text : std::string{};
  while (!out.empty() && !is_utf8(out))
    out.erase(0, 1);
  while (!out.empty() && (out.back() == '\n' || out.back() == ' '))
    out.pop_back();
  return out;
}

} // namespace muster
