// SPDX-License-Identifier: Apache-2.0

#include "actors/pod/privileges.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace muster {

namespace {

constexpr int kept[]
  = {CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID,
     CAP_KILL,  CAP_SETGID,       CAP_SETUID, CAP_NET_BIND_SERVICE};

tl::unexpected<failure> refused() {
  return fail(errc::not_allowed,
              fmt::format("cannot confine the process: its powers: {}",
                          std::strerror(errno)));
}

} // namespace

expected<void> give_up_powers() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3]{};
  if (::syscall(SYS_capget, &header, data) != 0)
    return refused();
  auto may_give_up
    = (data[CAP_TO_INDEX(CAP_SETPCAP)].effective & CAP_TO_MASK(CAP_SETPCAP))
      != 0;
  // Whoever is not root and may not do this has no powers behind an exec that
  // gives no new privileges.
  for (auto power = 0; may_give_up; ++power) {
    if (::prctl(PR_CAPBSET_READ, power, 0, 0, 0) < 0)
      break; // The kernel knows no more.
    if (std::find(std::begin(kept), std::end(kept), power) == std::end(kept)
        && ::prctl(PR_CAPBSET_DROP, power, 0, 0, 0) != 0)
      return refused();
  }
  // What is inherited would come back.
  for (auto& half : data)
    half.inheritable = 0;
  if (::syscall(SYS_capset, &header, data) != 0
      || ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0)
    return refused();
  return {};
}

} // namespace muster
