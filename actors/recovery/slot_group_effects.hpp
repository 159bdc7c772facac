// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "messages/errors.hpp"

#include <cstdint>
#include <set>
#include <string>
#include <variant>
#include <vector>

// What a slot group wants done, in order. Each says which call of the group
// follows; that may come at once.

namespace muster::slot_group {

/// Names a request that waits for its answer. Made by whoever passes it on.
using ticket = std::uint64_t;

/// Write the document. One at a time; `saved` follows.
struct save {
  std::string text;
};

/// Remove the document: the group is gone. `removed` follows.
struct remove_document {};

/// Start an occupant; `started` or `start_failed` follows. A repeat of the same
/// term must give the same occupant.
struct start {
  std::uint8_t index = 0;
  std::uint64_t term = 0;
  /// Places where it must not be.
  std::set<std::string> excluded;
};

/// See to it that no occupant of that term lives, nor ever will; `stopped`
/// follows. May be asked for again.
struct stop {
  std::uint8_t index = 0;
  std::uint64_t term = 0;
  /// Empty if that is not known.
  std::string occupant;
};

/// Look for the occupant of that term; `started` follows, or `absent` once
/// there is none and none will be. May be asked for again.
struct find {
  std::uint8_t index = 0;
  std::uint64_t term = 0;
  /// Empty if that is not known.
  std::string occupant;
};

struct reply_done {
  ticket to = 0;
};

struct reply_refusal {
  ticket to = 0;
  failure why;
};

using effect = std::variant<save, remove_document, start, stop, find,
                            reply_done, reply_refusal>;

using effects = std::vector<effect>;

} // namespace muster::slot_group
