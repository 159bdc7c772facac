// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/pod/pod_table.hpp"

#include <cstdint>
#include <string>

namespace muster {

/// The name of a file of the output of a pod: `000001.jsonl` for 1.
[[nodiscard]] std::string output_file(std::uint64_t segment);

/// Reads of the output of a pod the lines behind a place, in the files of the
/// folder `output` in its own one. Only whole lines count. When a file is read
/// to its end and the next one is there, reading goes on in that.
///
/// The folder belongs to the pod, which nobody trusts: nothing but ordinary
/// files of that folder is read, and no link is followed.
/// @param max_bytes of one piece, and of a line: a longer one is skipped.
/// @returns `not_allowed` if it is no such file; an empty piece if there is
///          nothing.
[[nodiscard]] expected<output_piece> read_output(const std::string& folder,
                                                 output_cursor from,
                                                 std::uint64_t max_bytes);

/// The end of what a pod said on its standard outputs, at most so many bytes.
[[nodiscard]] std::string tail_of_output(const std::string& folder,
                                         std::size_t max_bytes);

/// Where its standard outputs go, in its own folder.
inline constexpr const char* pod_output_log = "output.log";

} // namespace muster
