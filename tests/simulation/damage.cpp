// SPDX-License-Identifier: Apache-2.0

#include "tests/simulation/damage.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

namespace muster::test {

damage::damage(simulated_disk& disk, std::mt19937_64& random) : disk_(disk) {
  for (auto& name : disk.names())
    before_[name] = *disk.contents(name);
  std::vector<std::string> paths;
  for (auto& [name, bytes] : before_)
    if (!bytes.empty())
      paths.push_back(name);
  if (paths.empty())
    return;
  path_ = paths[random() % paths.size()];
  contents_ = before_[path_];
  auto at = random() % contents_.size();
  switch (random() % 3) {
    case 0:
      contents_.resize(at);
      text_ = fmt::format("'{}' is cut off at byte {}", path_, at);
      is_plain_ = path_.ends_with(".db");
      break;
    case 1: {
      constexpr std::size_t sector = 512;
      at -= at % sector;
      auto count = std::min(sector, contents_.size() - at);
      contents_.replace(at, count, count, '\0');
      text_ = fmt::format("'{}' has lost its sector at byte {}", path_, at);
      break;
    }
    default:
      contents_[at] = static_cast<char>(contents_[at] ^ (1 << random() % 8));
      text_ = fmt::format("'{}' has one bit changed in byte {}", path_, at);
      break;
  }
  disk.set_contents(path_, contents_);
}

void damage::undo() {
  for (auto& name : disk_.names())
    if (!before_.contains(name))
      std::ignore = disk_.remove(name);
  for (auto& [name, bytes] : before_)
    disk_.set_contents(name, bytes);
}

} // namespace muster::test
