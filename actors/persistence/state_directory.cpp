// SPDX-License-Identifier: Apache-2.0

#include "actors/persistence/state_directory.hpp"

#include "actors/persistence/disk.hpp"
#include "actors/process/process_identity.hpp"
#include "actors/process/system_call.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace muster {

namespace {

constexpr const char* lock_name = "lock";

tl::unexpected<failure> failed(std::string_view what, const std::string& path) {
  return tl::unexpected<failure>{disk_failure(errno, what, path)};
}

/// Creates the directory and all above it that are missing, each durable before
/// the next: what is synced in a folder is lost with the folder's name.
expected<void> make_directories(const std::filesystem::path& path) {
  std::error_code code;
  if (std::filesystem::is_directory(path, code))
    return {};
  if (path.has_parent_path() && path.parent_path() != path)
    if (auto made = make_directories(path.parent_path()); !made)
      return made;
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST)
    return failed("create", path);
  return make_posix_disk()->sync_folder(path.parent_path());
}

/// What stands in the lock: the process that holds it; 0 if there is none.
long holder(int lock) {
  char text[32] = {};
  if (::pread(lock, text, sizeof(text) - 1, 0) <= 0)
    return 0;
  return std::max(std::atol(text), 0l);
}

/// Whether nobody has that pid.
bool is_gone(long pid) {
  auto found = stat_of(pid);
  return found && (!*found || (*found)->is_over());
}

/// Takes the lock. That of a node which was killed while it started a worker is
/// held by that child for an instant, until it has become another program.
/// @returns an error number, or 0.
int take_lock(int lock) {
  using namespace std::chrono_literals;
  auto end = std::chrono::steady_clock::now() + 2s;
  for (;;) {
    if (::flock(lock, LOCK_EX | LOCK_NB) == 0)
      return 0;
    auto reason = errno;
    if (reason != EWOULDBLOCK || !is_gone(holder(lock))
        || std::chrono::steady_clock::now() >= end)
      return reason;
    std::this_thread::sleep_for(5ms);
  }
}

} // namespace

expected<std::unique_ptr<state_directory>>
state_directory::open(const std::string& path) {
  std::error_code code;
  auto absolute = std::filesystem::absolute(path, code).lexically_normal();
  if (auto made = make_directories(absolute); !made)
    return tl::unexpected<failure>{made.error()};
  struct stat info {};
  if (::stat(absolute.c_str(), &info) != 0)
    return failed("look at", absolute);
  if (!S_ISDIR(info.st_mode))
    return fail(errc::invalid_argument,
                fmt::format("the state directory '{}' is no directory",
                            absolute.string()));
  if ((info.st_mode & 077) != 0 && ::chmod(absolute.c_str(), 0700) != 0)
    return failed("close to others", absolute);
  auto lock_path = (absolute / lock_name).string();
  auto lock = uninterrupted([&] {
    return ::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW,
                  0600);
  });
  if (lock < 0)
    return failed("open", lock_path);
  if (auto reason = take_lock(lock); reason != 0) {
    auto pid = holder(lock);
    auto who = pid > 0 ? fmt::format("the process {}", pid) : "another process";
    ::close(lock);
    if (reason != EWOULDBLOCK)
      return tl::unexpected<failure>{disk_failure(reason, "lock", lock_path)};
    return fail(errc::in_use,
                fmt::format("the state directory '{}' is in use by {}; stop "
                            "that node, or give another directory",
                            absolute.string(), who));
  }
  auto text = fmt::format("{}\n", ::getpid());
  auto cut = [&] { return ::ftruncate(lock, 0); };
  auto write = [&] { return ::pwrite(lock, text.data(), text.size(), 0); };
  if (uninterrupted(cut) != 0
      || uninterrupted(write) != static_cast<ssize_t>(text.size())) {
    auto reason = errno;
    ::close(lock);
    return tl::unexpected<failure>{disk_failure(reason, "write", lock_path)};
  }
  return std::unique_ptr<state_directory>{
    new state_directory(absolute.string(), lock)};
}

state_directory::state_directory(std::string path, int lock)
  : path_(std::move(path)), lock_(lock) {
  // nop
}

state_directory::~state_directory() {
  ::close(lock_);
}

} // namespace muster
