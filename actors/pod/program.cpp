// SPDX-License-Identifier: Apache-2.0

#include "actors/pod/program.hpp"

#include "actors/process/descriptor.hpp"
#include "actors/process/system_call.hpp"

#include <fmt/format.h>

#include <array>
#include <cstring>
#include <optional>

#include <fcntl.h>
#include <sys/stat.h>

namespace muster {

namespace {

/// How much of a script the kernel reads to find its interpreter.
constexpr std::size_t first_line_bytes = 256;

/// How many interpreters there may be in a row.
constexpr std::size_t max_interpreters = 5;

/// @returns 0, or the error with which it cannot be executed.
int error_of(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0)
    return errno;
  if (S_ISDIR(info.st_mode))
    return EISDIR;
  if (!S_ISREG(info.st_mode))
    return EACCES;
  return ::faccessat(AT_FDCWD, path.c_str(), X_OK, AT_EACCESS) == 0 ? 0 : errno;
}

tl::unexpected<failure> cannot_start(const std::string& name, int error) {
  auto is_gone = error == ENOENT || error == ENOTDIR;
  return fail(is_gone ? errc::not_found : errc::not_allowed,
              fmt::format("cannot start '{}': {}", name, std::strerror(error)));
}

/// What the first line of a script names.
std::optional<std::string> interpreter_of(const std::string& path) {
  descriptor file{uninterrupted(
    [&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY); })};
  std::array<char, first_line_bytes> bytes;
  auto size = uninterrupted(
    [&] { return ::read(file.get(), bytes.data(), bytes.size()); });
  if (size <= 0)
    return std::nullopt;
  std::string_view line{bytes.data(), static_cast<std::size_t>(size)};
  if (!line.starts_with("#!"))
    return std::nullopt;
  auto begin = line.find_first_not_of(" \t", 2);
  if (begin == std::string_view::npos)
    return std::nullopt;
  auto end = line.find_first_of(" \t\n", begin);
  // The kernel takes no path of which the end may be missing.
  if (end == begin
      || (end == std::string_view::npos && size == first_line_bytes))
    return std::nullopt;
  return std::string{line.substr(begin, end - begin)};
}

} // namespace

expected<std::string> find_program(const std::string& name,
                                   std::string_view search_path) {
  if (name.find('/') != std::string::npos) {
    if (auto error = error_of(name); error != 0)
      return cannot_start(name, error);
    return name;
  }
  // One that cannot be executed is only worth to be told of if there is no
  // other.
  auto first_error = ENOENT;
  while (!name.empty() && !search_path.empty()) {
    auto folder = search_path.substr(0, search_path.find(':'));
    search_path.remove_prefix(std::min(folder.size() + 1, search_path.size()));
    if (!folder.starts_with('/'))
      continue;
    auto path = fmt::format("{}/{}", folder, name);
    auto error = error_of(path);
    if (error == 0)
      return path;
    if (first_error == ENOENT && error != ENOTDIR)
      first_error = error;
  }
  return cannot_start(name, first_error);
}

std::vector<std::string> interpreters_of(const std::string& program) {
  std::vector<std::string> out;
  for (auto next = interpreter_of(program);
       next && out.size() < max_interpreters && error_of(*next) == 0;
       next = interpreter_of(out.back()))
    out.push_back(std::move(*next));
  return out;
}

} // namespace muster
