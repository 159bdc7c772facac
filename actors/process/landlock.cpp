// SPDX-License-Identifier: Apache-2.0

#include "actors/process/landlock.hpp"

#include "actors/process/descriptor.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <linux/landlock.h>
#include <linux/openat2.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

namespace muster {

namespace {

/// `landlock_ruleset_attr` as the newest kernel that we know has it. An older
/// one takes it as long as what it does not know is zero.
struct ruleset {
  std::uint64_t paths = 0;
  std::uint64_t network = 0;
  std::uint64_t scopes = 0;
};

constexpr std::uint64_t bind_and_connect_tcp = 3;

constexpr std::uint64_t abstract_sockets_and_signals = 3;

/// What a kernel of that version can take away.
ruleset known_by(int version) {
  ruleset out;
  out.paths = path_rights::refer - 1;
  if (version >= 2)
    out.paths |= path_rights::refer;
  if (version >= 3)
    out.paths |= path_rights::truncate;
  if (version >= 4)
    out.network = bind_and_connect_tcp;
  if (version >= 5)
    out.paths |= path_rights::ioctl_device;
  if (version >= 6)
    out.scopes = abstract_sockets_and_signals;
  return out;
}

/// What can be allowed for a file that is no folder.
constexpr std::uint64_t of_files
  = path_rights::execute | path_rights::write_file | path_rights::read_file
    | path_rights::truncate | path_rights::ioctl_device;

tl::unexpected<failure> refused(std::string_view what) {
  auto code
    = errno == ENOENT || errno == ENOTDIR ? errc::not_found : errc::not_allowed;
  return fail(code, fmt::format("cannot confine the process: {}: {}", what,
                                std::strerror(errno)));
}

descriptor open_path(const path_rule& rule) {
  if (rule.kind != path_kind::exact && rule.kind != path_kind::exact_file)
    return descriptor{::open(rule.path.c_str(), O_PATH | O_CLOEXEC)};
  // O_NOFOLLOW alone looks at the last part only, and gives the link itself.
  open_how how{};
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = RESOLVE_NO_SYMLINKS;
  return descriptor{static_cast<int>(
    ::syscall(SYS_openat2, AT_FDCWD, rule.path.c_str(), &how, sizeof(how)))};
}

/// Whether a rule may allow nothing because of this.
bool is_left_out(const path_rule& rule, int error) {
  auto is_gone = error == ENOENT || error == ENOTDIR;
  if (rule.kind == path_kind::any_if_there || rule.kind == path_kind::program)
    return is_gone;
  return rule.kind == path_kind::exact_file && (is_gone || error == ELOOP);
}

/// The same of what was found, which is what the rule will speak of, whatever
/// becomes of its path.
bool is_left_out(const path_rule& rule, const struct stat& found) {
  auto mode = found.st_mode;
  if (rule.kind == path_kind::program)
    return !S_ISREG(mode) || (mode & (S_IXUSR | S_IXGRP | S_IXOTH)) == 0;
  return rule.kind == path_kind::exact_file
         && (S_ISDIR(mode) || S_ISCHR(mode) || S_ISBLK(mode));
}

expected<void> allow(int rules, const path_rule& rule, std::uint64_t handled) {
  auto path = open_path(rule);
  struct stat info {};
  if (!path && is_left_out(rule, errno))
    return {};
  if (!path && errno == ELOOP)
    return fail(errc::not_allowed,
                fmt::format("cannot confine the process: '{}' leads over a "
                            "symbolic link",
                            rule.path));
  if (!path || ::fstat(path.get(), &info) != 0)
    return refused(fmt::format("'{}'", rule.path));
  if (is_left_out(rule, info))
    return {};
  landlock_path_beneath_attr beneath{};
  beneath.parent_fd = path.get();
  beneath.allowed_access = rule.rights & handled;
  if (!S_ISDIR(info.st_mode))
    beneath.allowed_access &= of_files;
  // The kernel takes a rule that allows nothing for a mistake.
  if (beneath.allowed_access == 0)
    return {};
  if (::syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH,
                &beneath, 0)
      != 0)
    return refused(fmt::format("'{}'", rule.path));
  return {};
}

} // namespace

int landlock_version() {
  auto version = ::syscall(SYS_landlock_create_ruleset, nullptr, 0,
                           LANDLOCK_CREATE_RULESET_VERSION);
  return version > 0 ? static_cast<int>(version) : 0;
}

expected<int> restrict_thread(const landlock_order& order) {
  auto version = landlock_version();
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
    return refused("no new privileges");
  if (version == 0)
    return 0;
  auto handled = known_by(version);
  if (order.allows_network)
    handled.network = 0;
  if (order.allows_outside)
    handled.scopes = 0;
  // An old kernel refuses a size that it does not know unless the rest is zero,
  // which it is.
  descriptor rules{static_cast<int>(
    ::syscall(SYS_landlock_create_ruleset, &handled, sizeof(handled), 0))};
  if (!rules)
    return refused("its rules");
  for (auto& rule : order.paths)
    if (auto fine = allow(rules.get(), rule, handled.paths); !fine)
      return tl::unexpected<failure>{fine.error()};
  if (::syscall(SYS_landlock_restrict_self, rules.get(), 0) != 0)
    return refused("its rules");
  return version;
}

} // namespace muster
