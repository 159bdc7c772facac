// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/persistence/disk.hpp"

#include "messages/json.hpp"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace muster {

/// JSON documents in the state directory, each written whole: a reader sees the
/// old one or the new one, also behind a crash at any instant.
class documents {
public:
  // -- constructors -----------------------------------------------------------

  /// @param directory the state directory.
  documents(disk& where, std::string directory);

  // -- documents --------------------------------------------------------------

  /// Writes a document; durable once this returns. A sync that failed is final:
  /// everything is refused from then on.
  /// @param path below the state directory, with at most one folder.
  [[nodiscard]] expected<void> save(const std::string& path,
                                    const std::string& text);

  /// Reads a document; absent if there is none. One that is no JSON object is
  /// `registry_corrupted`: it stays untouched, and a copy is made for repair.
  [[nodiscard]] expected<std::optional<std::string>>
  read(const std::string& path);

  /// The paths of all documents in a folder, sorted; none if that is not there.
  [[nodiscard]] expected<std::vector<std::string>>
  list(const std::string& folder);

  [[nodiscard]] expected<void> remove(const std::string& path);

  /// Removes what a crash left half-written.
  [[nodiscard]] expected<void> clean();

  // -- properties -------------------------------------------------------------

  /// Why nothing can be written any more, if so.
  [[nodiscard]] const std::optional<failure>& broken() const {
    return broken_;
  }

private:
  // -- implementation details -------------------------------------------------

  [[nodiscard]] std::string full(const std::string& path) const;

  [[nodiscard]] std::string folder_of(const std::string& path) const;

  [[nodiscard]] expected<void> write(const std::string& path,
                                     const std::string& text);

  /// Notes a failure behind which the disk cannot be trusted.
  expected<void> final(expected<void> result);

  void keep_copy(const std::string& path, const std::string& text);

  // -- member variables -------------------------------------------------------

  disk& disk_;
  std::string directory_;
  std::uint64_t count_ = 0;
  std::optional<failure> broken_;
};

} // namespace muster
