// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/recovery/backoff.hpp"

#include "messages/json.hpp"
#include "messages/recovery.hpp"

#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace muster {

/// What is on disk about one slot.
struct slot_record {
  std::uint8_t index = 0;
  slot_health health = slot_health::empty;
  /// Which occupant of the group that is; no two have the same.
  std::uint64_t term = 0;
  /// Who occupies it; empty if that is nobody, or unknown.
  std::string occupant;
  /// Where; empty for this node.
  std::string place;
  /// Starts behind a failure.
  std::uint64_t restarts = 0;
  backoff_record guard;
  std::string last_error;
  /// Fields that are not known here.
  json others = json::object();
};

/// An occupant that was replaced because its place failed. It may live.
struct stray_occupant {
  std::uint8_t index = 0;
  std::uint64_t term = 0;
  std::string occupant;
  std::string place;
};

/// The document of a group.
struct slot_group_document {
  /// Names this group among all that ever were, see `make_group_id`.
  std::string id;
  /// Of the request that made it.
  std::string request_id;
  slot_group_definition definition;
  /// Whether it is on its way out.
  bool is_deleted = false;
  /// The last term that was given.
  std::uint64_t last_term = 0;
  std::set<std::string> failed_places;
  std::vector<stray_occupant> strays;
  /// In the order of their indices, without gaps.
  std::vector<slot_record> slots;
  /// Fields beside.
  json others = json::object();
};

/// The format that is written.
inline constexpr std::uint64_t slot_group_format = 1;

/// Reads the document.
/// @param path names it in errors; its file has the name of the group.
/// @returns `registry_corrupted` naming the place, `newer_format`.
[[nodiscard]] expected<slot_group_document>
read_slot_group(std::string_view text, std::string_view path);

[[nodiscard]] std::string render(const slot_group_document& x);

} // namespace muster
