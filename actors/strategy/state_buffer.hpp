// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/strategy.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace muster {

/// What a script read and wrote of the shared state since its last pause. The
/// writes become visible to others when the step is committed, all or none.
class state_buffer {
public:
  // -- properties -------------------------------------------------------------

  /// The buffered write of a key; null if there is none. An empty value means
  /// that the key was deleted.
  [[nodiscard]] const std::optional<std::string>*
  written(const state_key& where) const;

  /// How many keys were written.
  [[nodiscard]] std::size_t count_writes() const {
    return writes_.size();
  }

  /// What the keys and values take that were written.
  [[nodiscard]] std::uint64_t write_bytes() const {
    return write_bytes_;
  }

  /// The last write of each key.
  [[nodiscard]] std::vector<state_write> writes() const;

  /// The first version of each key that was read before it was written.
  [[nodiscard]] std::vector<state_expectation> expectations() const;

  // -- modifiers --------------------------------------------------------------

  /// Notes at which version a key was read. Only the first read counts.
  void note_read(const state_key& where, std::uint64_t version);

  /// Buffers a write.
  /// @param value JSON; absent deletes the key.
  void write(const state_key& where, std::optional<std::string> value);

  /// Forgets everything: the step is over.
  void clear();

private:
  // -- member variables -------------------------------------------------------

  std::map<state_key, std::uint64_t> reads_;
  std::map<state_key, std::optional<std::string>> writes_;
  std::uint64_t write_bytes_ = 0;
};

} // namespace muster
