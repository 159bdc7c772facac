// SPDX-License-Identifier: Apache-2.0

#include "actors/persistence/disk.hpp"
#include "actors/process/system_call.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace muster {

failure disk_failure(int error_number, std::string_view what,
                     const std::string& path) {
  auto text = fmt::format("cannot {} '{}': {}", what, path,
                          std::strerror(error_number));
  switch (error_number) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return {errc::storage_full, text + "; free some room and try again"};
    case EROFS:
    case EACCES:
    case EPERM:
      return {errc::read_only, text};
    default:
      return {errc::storage_failed, text};
  }
}

namespace {

tl::unexpected<failure> failed(std::string_view what, const std::string& path) {
  return tl::unexpected<failure>{disk_failure(errno, what, path)};
}

class posix_file final : public disk_file {
public:
  posix_file(int descriptor, std::string path)
    : descriptor_(descriptor), path_(std::move(path)) {
    // nop
  }

  ~posix_file() override {
    if (descriptor_ >= 0)
      ::close(descriptor_);
  }

  posix_file(const posix_file&) = delete;

  posix_file& operator=(const posix_file&) = delete;

  expected<void> write(std::string_view bytes) override {
    while (!bytes.empty()) {
      auto n = uninterrupted(
        [&] { return ::write(descriptor_, bytes.data(), bytes.size()); });
      if (n < 0)
        return failed("write", path_);
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return {};
  }

  expected<void> sync() override {
    if (uninterrupted([&] { return ::fsync(descriptor_); }) != 0)
      return failed("sync", path_);
    return {};
  }

  expected<void> close() override {
    // Not repeated when a signal interrupts: the descriptor is gone already.
    auto result = ::close(descriptor_);
    descriptor_ = -1;
    if (result != 0 && errno != EINTR)
      return failed("close", path_);
    return {};
  }

private:
  int descriptor_;
  std::string path_;
};

class posix_disk final : public disk {
public:
  expected<std::optional<std::string>> read(const std::string& path) override {
    auto descriptor = uninterrupted(
      [&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC); });
    if (descriptor < 0) {
      if (errno == ENOENT)
        return std::nullopt;
      return failed("open", path);
    }
    posix_file closer{descriptor, path};
    std::string out;
    char buffer[64 * 1024];
    for (;;) {
      auto n = uninterrupted(
        [&] { return ::read(descriptor, buffer, sizeof(buffer)); });
      if (n < 0)
        return failed("read", path);
      if (n == 0)
        return out;
      out.append(buffer, static_cast<std::size_t>(n));
    }
  }

  expected<std::unique_ptr<disk_file>>
  create(const std::string& path) override {
    auto descriptor = uninterrupted([&] {
      return ::open(path.c_str(),
                    O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0600);
    });
    if (descriptor < 0)
      return failed("create", path);
    return std::make_unique<posix_file>(descriptor, path);
  }

  expected<void> rename(const std::string& from,
                        const std::string& to) override {
    if (::rename(from.c_str(), to.c_str()) != 0)
      return failed("rename to", to);
    return {};
  }

  expected<void> remove(const std::string& path) override {
    if (::unlink(path.c_str()) != 0 && errno != ENOENT)
      return failed("remove", path);
    return {};
  }

  expected<void> make_folder(const std::string& path) override {
    if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST)
      return failed("create", path);
    return {};
  }

  expected<void> sync_folder(const std::string& path) override {
    auto descriptor = uninterrupted(
      [&] { return ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
    if (descriptor < 0)
      return failed("open", path);
    posix_file folder{descriptor, path};
    return folder.sync();
  }

  expected<std::vector<std::string>> list(const std::string& path) override {
    auto descriptor = uninterrupted(
      [&] { return ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
    if (descriptor < 0)
      return failed("list", path);
    std::unique_ptr<DIR, int (*)(DIR*)> folder{::fdopendir(descriptor),
                                               ::closedir};
    if (!folder) {
      auto result = failed("list", path);
      ::close(descriptor);
      return result;
    }
    std::vector<std::string> out;
    while (auto* entry = ::readdir(folder.get())) {
      std::string name = entry->d_name;
      if (name != "." && name != "..")
        out.push_back(std::move(name));
    }
    std::sort(out.begin(), out.end());
    return out;
  }
};

} // namespace

std::unique_ptr<disk> make_posix_disk() {
  return std::make_unique<posix_disk>();
}

} // namespace muster
