// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace muster::sqlite {

/// Gives bytes of a file from an offset on; fewer at its end.
using reader
  = std::function<std::string(std::uint64_t offset, std::size_t size)>;

/// Whether a write-ahead log has lost commits that were synced.
///
/// SQLite reads a log up to the first frame whose checksum is wrong, and takes
/// that for the place where a write was cut off. It is, if nothing was written
/// behind the commit that has this frame. But each commit is synced before the
/// next is begun: a frame that follows a commit says that this commit was
/// whole, and if it cannot be read now, it was damaged later. What is behind
/// the last commit cannot be told from a write that was cut off.
/// @param log the log.
/// @param base the database that it belongs to.
[[nodiscard]] bool has_lost_commits(const reader& log, const reader& base);

} // namespace muster::sqlite
