// SPDX-License-Identifier: Apache-2.0

#include "tests/black_box/small_disk.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace muster::test {

namespace {

[[noreturn]] void fail(const std::string& what) {
  throw std::runtime_error{what + ": " + std::strerror(errno)};
}

/// Gives this thread mounts of its own, once. The destructor of a disk is not
/// reached by a test that ends with an uncaught exception.
void leave_mounts_of_others() {
  static const bool done = [] {
    if (::unshare(CLONE_NEWNS) != 0
        || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
      fail("cannot have mounts of its own, which takes root");
    return true;
  }();
  static_cast<void>(done);
}

} // namespace

small_disk::small_disk(std::size_t bytes)
  : options_(fmt::format("size={},mode=0700", bytes)) {
  leave_mounts_of_others();
  ::mkdir(path().c_str(), 0700);
  mount(0);
}

small_disk::~small_disk() {
  ::umount2(path().c_str(), MNT_DETACH);
}

std::size_t small_disk::free_bytes() const {
  struct statvfs info {};
  if (::statvfs(path().c_str(), &info) != 0)
    fail("cannot ask for the room on the small disk");
  return info.f_bavail * info.f_bsize;
}

void small_disk::fill(std::size_t left) {
  auto file = path() + "/ballast";
  auto descriptor = ::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  if (descriptor < 0)
    fail("cannot create the ballast");
  std::string page(4'096, 'x');
  while (free_bytes() > left)
    if (::write(descriptor, page.data(), page.size()) <= 0)
      break;
  ::close(descriptor);
}

void small_disk::make_room() const {
  ::unlink((path() + "/ballast").c_str());
}

void small_disk::make_read_only() {
  mount(MS_REMOUNT | MS_RDONLY);
}

void small_disk::mount(unsigned long flags) {
  if (::mount("muster-test", path().c_str(), "tmpfs", flags | MS_NOSUID,
              options_.c_str())
      != 0)
    fail("cannot mount the small disk, which takes root");
}

} // namespace muster::test
