// SPDX-License-Identifier: Apache-2.0

#include "actors/pod/file_tools.hpp"

#include "actors/pod/scope_paths.hpp"
#include "actors/pod/scope_rules.hpp"
#include "actors/process/system_call.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <memory>

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

namespace muster {

namespace {

constexpr mode_t new_file_mode = 0666;

tl::unexpected<failure> failed(std::string_view what, std::string_view path,
                               int error) {
  auto code = errc::storage_failed;
  std::string why = std::strerror(error);
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      code = errc::not_found;
      break;
    case EACCES:
    case EPERM:
    case EROFS:
      code = errc::not_allowed;
      break;
    case EXDEV:
    case ELOOP:
      code = errc::not_allowed;
      why = "a link leads out of the scope, or in a circle";
      break;
    case EISDIR:
      code = errc::invalid_argument;
      why = "it is a folder";
      break;
    case ENXIO:
      code = errc::invalid_argument;
      why = "it is no file";
      break;
    case ENAMETOOLONG:
      code = errc::invalid_argument;
      break;
    case EAGAIN:
      code = errc::busy;
      why = "its folders are moved all the time";
      break;
    case ENOSPC:
    case EDQUOT:
      code = errc::storage_full;
      break;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
      code = errc::overloaded;
      break;
    default:
      break;
  }
  return fail(code, fmt::format("cannot {} '{}': {}", what, path, why));
}

tl::unexpected<failure> too_large(std::string_view path, std::string_view what,
                                  std::size_t limit) {
  return fail(errc::too_large, fmt::format("'{}' has more {} than the {} that "
                                           "the file tools take",
                                           path, what, limit));
}

/// Absolute, with nothing in it but names. A name that `..` took away need not
/// be there.
std::string plain(const std::string& cwd, std::string_view path) {
  std::filesystem::path whole{path.starts_with('/')
                                ? std::string{path}
                                : fmt::format("{}/{}", cwd, path)};
  auto out = whole.lexically_normal().string();
  auto begin = out.find_first_not_of('/');
  if (begin == std::string::npos)
    return "/";
  out.erase(0, begin - 1);
  while (out.ends_with('/'))
    out.pop_back();
  return out;
}

/// What stands behind the target of a rule; `path` is within it.
std::string_view behind(std::string_view path, std::string_view target) {
  path.remove_prefix(std::min(path.size(), target.size()));
  while (path.starts_with('/'))
    path.remove_prefix(1);
  return path;
}

/// A regular file that is open.
expected<struct stat> regular(const descriptor& file, std::string_view what,
                              std::string_view path) {
  struct stat info {};
  if (::fstat(file.get(), &info) != 0)
    return failed(what, path, errno);
  if (!S_ISREG(info.st_mode))
    return failed(what, path, S_ISDIR(info.st_mode) ? EISDIR : ENXIO);
  return info;
}

} // namespace

int open_beneath(int at, const char* path, std::uint64_t flags,
                 std::uint64_t mode, std::uint64_t resolve) {
  open_how how{flags, mode, resolve};
  return static_cast<int>(uninterrupted(
    [&] { return ::syscall(SYS_openat2, at, path, &how, sizeof(how)); }));
}

// -- constructors -------------------------------------------------------------

file_tools::file_tools(const std::vector<scope_rule>& rules, file_limits limits,
                       beneath_opener open)
  : limits_(limits), open_(std::move(open)) {
  std::error_code none;
  cwd_ = std::filesystem::current_path(none).string();
  for (auto& rule : rules) {
    place x{rule, {}, {}};
    x.rule.target = plain("/", rule.target);
    auto open_folder = [&x](const std::string& path) {
      x.folder = descriptor{uninterrupted([&] {
        return ::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
      })};
    };
    open_folder(x.rule.target);
    if (!x.folder && errno == ENOTDIR) {
      open_folder(std::string{parent_of(x.rule.target)});
      x.name = behind(x.rule.target, parent_of(x.rule.target));
    }
    places_.push_back(std::move(x));
  }
}

// -- tools --------------------------------------------------------------------

expected<std::string> file_tools::read_file(std::string_view path) const {
  // What is no file must not make the opening wait.
  auto file = open(path, {O_RDONLY | O_NONBLOCK | O_NOCTTY});
  if (!file)
    return tl::unexpected<failure>{file.error()};
  auto info = regular(*file, "read", path);
  if (!info)
    return tl::unexpected<failure>{info.error()};
  // It may grow while it is read.
  std::string out;
  auto room = std::min<std::size_t>(static_cast<std::size_t>(info->st_size),
                                    limits_.max_file_bytes)
              + 1;
  for (;;) {
    auto size = out.size();
    out.resize(size + room);
    auto n = uninterrupted(
      [&] { return ::read(file->get(), out.data() + size, room); });
    if (n < 0)
      return failed("read", path, errno);
    out.resize(size + static_cast<std::size_t>(n));
    if (out.size() > limits_.max_file_bytes)
      return too_large(path, "bytes", limits_.max_file_bytes);
    if (n == 0)
      return out;
    room
      = std::min<std::size_t>(4'096, limits_.max_file_bytes - out.size() + 1);
  }
}

expected<void> file_tools::write_file(std::string_view path,
                                      std::string_view bytes) const {
  if (bytes.size() > limits_.max_file_bytes)
    return too_large(path, "bytes", limits_.max_file_bytes);
  auto file = open(
    path, {O_WRONLY | O_CREAT | O_NONBLOCK | O_NOCTTY, permission::write});
  if (!file)
    return tl::unexpected<failure>{file.error()};
  if (auto info = regular(*file, "write", path); !info)
    return tl::unexpected<failure>{info.error()};
  if (::ftruncate(file->get(), 0) != 0)
    return failed("write", path, errno);
  while (!bytes.empty()) {
    auto n = uninterrupted(
      [&] { return ::write(file->get(), bytes.data(), bytes.size()); });
    if (n < 0)
      return failed("write", path, errno);
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

expected<std::vector<std::string>>
file_tools::list_dir(std::string_view path) const {
  auto folder = open(path, {O_RDONLY | O_DIRECTORY, permission::read, true});
  if (!folder)
    return tl::unexpected<failure>{folder.error()};
  auto copy = ::fcntl(folder->get(), F_DUPFD_CLOEXEC, 0);
  std::unique_ptr<DIR, int (*)(DIR*)> names{::fdopendir(copy), ::closedir};
  if (!names) {
    descriptor unused{copy};
    return failed("list", path, errno);
  }
  std::vector<std::string> out;
  errno = 0;
  while (auto* entry = ::readdir(names.get())) {
    std::string name = entry->d_name;
    if (name == "." || name == "..")
      continue;
    if (out.size() >= limits_.max_entries)
      return too_large(path, "entries", limits_.max_entries);
    struct stat info {};
    auto is_folder = entry->d_type == DT_DIR;
    if (entry->d_type == DT_UNKNOWN)
      is_folder = ::fstatat(::dirfd(names.get()), entry->d_name, &info,
                            AT_SYMLINK_NOFOLLOW)
                    == 0
                  && S_ISDIR(info.st_mode);
    if (is_folder)
      name += '/';
    out.push_back(std::move(name));
    errno = 0;
  }
  if (errno != 0)
    return failed("list", path, errno);
  std::sort(out.begin(), out.end());
  return out;
}

expected<file_info> file_tools::stat(std::string_view path) const {
  auto file = open(path, {O_PATH});
  if (!file)
    return tl::unexpected<failure>{file.error()};
  struct stat info {};
  if (::fstat(file->get(), &info) != 0)
    return failed("look at", path, errno);
  file_info out;
  out.type = S_ISREG(info.st_mode)   ? "file"
             : S_ISDIR(info.st_mode) ? "folder"
                                     : "other";
  out.size = static_cast<std::uint64_t>(info.st_size);
  out.mtime_ms = std::int64_t{info.st_mtim.tv_sec} * 1'000
                 + info.st_mtim.tv_nsec / 1'000'000;
  return out;
}

// -- implementation details ---------------------------------------------------

expected<descriptor> file_tools::open(std::string_view path,
                                      const wish& what) const {
  auto verb = what.level == permission::write ? "write" : "read";
  if (path.empty() || path.find('\0') != std::string_view::npos
      || path.size() > max_target_bytes)
    return fail(errc::invalid_argument,
                fmt::format("a path is empty, longer than {} bytes, or holds "
                            "a NUL",
                            max_target_bytes));
  auto whole = plain(cwd_, path);
  auto is_known = false;
  auto error = 0;
  for (auto& x : places_) {
    if (!matches(x.rule, whole))
      continue;
    // What a folder holds is one level further down than it itself.
    if (what.inside && !x.rule.recursive && whole != x.rule.target)
      continue;
    is_known = true;
    if (what.level == permission::write && x.rule.level != permission::write)
      continue;
    if (descriptor file{open_at(x, behind(whole, x.rule.target), what)})
      return file;
    // Another rule may reach what this one does not; if none does, the first
    // has the word.
    if (error == 0)
      error = errno;
  }
  if (error != 0)
    return failed(verb, path, error);
  return fail(errc::not_allowed,
              is_known ? fmt::format("the scope lets '{}' only be read", path)
                       : fmt::format("'{}' is not within the scope", path));
}

int file_tools::open_at(const place& from, std::string_view path,
                        const wish& what) const {
  if (!from.folder) {
    errno = ENOENT;
    return -1;
  }
  std::string name{path};
  std::uint64_t resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  // A link could lead further down than one level, or out of a single file.
  if (!from.rule.recursive || !from.name.empty())
    resolve |= RESOLVE_NO_SYMLINKS;
  if (!from.name.empty()) {
    if (!name.empty()) {
      errno = ENOTDIR;
      return -1;
    }
    name = from.name;
  }
  if (name.empty())
    name.push_back('.');
  std::uint64_t mode = (what.flags & O_CREAT) != 0 ? new_file_mode : 0;
  for (int i = 0; i < limits_.max_attempts; ++i) {
    auto file = open_(from.folder.get(), name.c_str(), what.flags | O_CLOEXEC,
                      mode, resolve);
    if (file >= 0 || errno != EAGAIN)
      return file;
  }
  return -1;
}

} // namespace muster
