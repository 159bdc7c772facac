// SPDX-License-Identifier: Apache-2.0

#include "actors/strategy/package_folders.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace muster {

namespace {

/// A file descriptor that is closed in the end.
class open_file {
public:
  explicit open_file(int descriptor) : descriptor_(descriptor) {
    // nop
  }

  ~open_file() {
    if (descriptor_ >= 0)
      ::close(descriptor_);
  }

  open_file(const open_file&) = delete;

  open_file& operator=(const open_file&) = delete;

  [[nodiscard]] int get() const {
    return descriptor_;
  }

private:
  int descriptor_;
};

/// Reads a file whole.
/// @returns whether there is such a file, readable or not.
bool read_module(const std::string& path, std::uint64_t max_bytes,
                 module_text& out) {
  // A named pipe must not hold us up.
  open_file file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.get() < 0) {
    if (errno == ENOENT || errno == ENOTDIR)
      return false;
    out.error = std::strerror(errno);
    return true;
  }
  struct stat info {};
  if (::fstat(file.get(), &info) != 0 || !S_ISREG(info.st_mode)) {
    if (S_ISDIR(info.st_mode))
      return false;
    out.error = "not a regular file";
    return true;
  }
  if (static_cast<std::uint64_t>(info.st_size) > max_bytes) {
    out.error = fmt::format("strategy.max-source: it has {} bytes, more than "
                            "{}",
                            info.st_size, max_bytes);
    return true;
  }
  std::string text(static_cast<std::size_t>(info.st_size), '\0');
  std::size_t size = 0;
  while (size < text.size()) {
    auto n = ::read(file.get(), text.data() + size, text.size() - size);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0) {
      out.error = std::strerror(errno);
      return true;
    }
    if (n == 0)
      break;
    size += static_cast<std::size_t>(n);
  }
  text.resize(size);
  out.text = std::move(text);
  return true;
}

/// Whether every part of a dotted name can be a file's name.
bool is_module_name(std::string_view name) {
  return !name.empty() && name.find('/') == std::string_view::npos
         && name.find('\0') == std::string_view::npos && name.front() != '.'
         && name.back() != '.' && name.find("..") == std::string_view::npos;
}

} // namespace

module_text find_module(const std::vector<std::string>& folders,
                        std::string_view name, std::uint64_t max_bytes) {
  module_text out;
  if (!is_module_name(name))
    return out;
  std::string path{name};
  std::replace(path.begin(), path.end(), '.', '/');
  for (auto& folder : folders)
    for (auto* ending : {".lua", "/init.lua"}) {
      out.name = path + ending;
      if (read_module(folder + "/" + out.name, max_bytes, out))
        return out;
    }
  out.name.clear();
  return out;
}

} // namespace muster
