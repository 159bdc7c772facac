// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/process/descriptor.hpp"

#include "messages/json.hpp"

#include <cstdint>
#include <string>

namespace muster {

/// The log in which a pod writes what it has to say: files of JSON lines, of
/// which only the last one grows.
class pod_agent_output {
public:
  // -- constants --------------------------------------------------------------

  /// A file that has reached this size gets no further line.
  static constexpr std::uint64_t max_file_bytes = std::uint64_t{1} << 20;

  // -- constructors -----------------------------------------------------------

  /// Goes on behind what is in the folder already, in a file of its own.
  /// @param folder holds `000001.jsonl` and so on; made if it is not there.
  /// @returns `not_allowed`, `storage_full` or `storage_failed`.
  [[nodiscard]] static expected<pod_agent_output> open(std::string folder);

  // -- modifiers --------------------------------------------------------------

  /// Writes one line, whole or, as far as a reader can tell, not at all.
  /// @param line must be UTF-8.
  /// @returns `storage_full` or `storage_failed`.
  [[nodiscard]] expected<void> append(const json& line);

private:
  explicit pod_agent_output(std::string folder) : folder_(std::move(folder)) {
    // nop
  }

  /// Begins the next file.
  [[nodiscard]] expected<void> advance();

  std::string folder_;
  std::uint64_t number_ = 0;
  descriptor file_;
  std::uint64_t size_ = 0;
  /// Whether the last line could be written in part only.
  bool is_torn_ = false;
};

} // namespace muster
