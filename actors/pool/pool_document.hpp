// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/process/process_identity.hpp"

#include "messages/json.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace muster {

/// What is on disk about one worker.
struct pool_record {
  std::string sid;
  /// 0 for a worker of which only the intent is known.
  std::int32_t pid = 0;
  /// The absolute path of its socket.
  std::string sock;
  std::string version;
  /// ISO 8601, UTC.
  std::string created_at;
  /// The session that it has.
  std::optional<std::string> session;
  /// Absent for an intent, and for what another program wrote.
  std::optional<process_identity> who;
  /// SHA-256 of what it was told when it was started; empty for what another
  /// program wrote.
  std::string nonce_sha256;
  /// The request that it was started for, or `once`.
  std::string request_id;
  /// Fields that are not known here.
  json others = json::object();

  /// Whether its process has said who it is.
  [[nodiscard]] bool is_identified() const {
    return pid != 0;
  }
};

/// An entry that can be no worker of anybody.
struct refused_record {
  std::string sid;
  std::string sock;
  std::string why;
};

/// The document of the pool: `{"sessions": [...], "starting": [...]}`. What
/// stands under `sessions` has the fields `sid`, `pid`, `sock`, `version` and
/// `created_at`, as other programs know them, and ours beside.
struct pool_document {
  std::vector<pool_record> records;
  std::vector<refused_record> refused;
  /// Fields beside the two lists.
  json others = json::object();
};

/// The format that is written. A document without a number is read as well.
inline constexpr std::uint64_t pool_format = 1;

/// Reads the document. Of entries with the same `sid` the last one counts.
/// @param path names the document in errors.
/// @returns `registry_corrupted` naming the entry and the field,
///          `newer_format`.
[[nodiscard]] expected<pool_document> read_pool_document(std::string_view text,
                                                         std::string_view path);

/// Writes one entry.
[[nodiscard]] std::string render(const pool_record& record);

/// Writes the document from entries that are written already.
[[nodiscard]] std::string render(const json& others,
                                 const std::vector<std::string_view>& sessions,
                                 const std::vector<std::string_view>& starting);

} // namespace muster
