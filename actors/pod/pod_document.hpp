// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/process/process_identity.hpp"

#include "messages/json.hpp"
#include "messages/pod.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace muster {

/// Something that a pod has to hear about one that it lent to, or from whoever
/// runs the node, until it confirms that.
struct pod_notice {
  std::uint64_t id = 0;
  /// `turn_ended`, `errored`, `shut_down`; or `notice` for a text.
  std::string kind;
  std::string pod_name;
  std::string message;

  friend bool operator==(const pod_notice&, const pod_notice&) = default;
};

/// What is on disk about one pod. What it was lent stands among the loans.
struct pod_record {
  /// Names this life of it, and its folder.
  std::string id;
  std::string name;
  pod_class kind = pod_class::protocol;
  sandbox_mode sandbox = sandbox_mode::required;
  /// What the kernel enforces.
  std::string enforced;
  std::string cwd;
  /// Empty for the reference pod.
  std::vector<std::string> command;
  /// ISO 8601, UTC.
  std::string created_at;
  /// The request that it was started for, or `once`.
  std::string request_id;
  /// Absent for one of which only the intent is known.
  std::optional<process_identity> who;
  /// Whether it came to be ready, and somebody may have been told so.
  bool was_ready = false;
  std::uint64_t turns = 0;
  /// The number of the last event of the pod that is kept.
  std::uint64_t last_event = 0;
  std::string last_error;
  /// What its readers have read.
  std::map<std::string, output_cursor> cursors;
  /// What it has to hear.
  std::vector<pod_notice> notices;
  std::uint64_t last_notice = 0;
  /// Fields that are not known here.
  json others = json::object();
};

/// A pod that has ended.
struct ended_pod {
  pod_record record;
  std::string lender;
  /// What came back.
  std::vector<scope_rule> reclaimed;
  /// ISO 8601, UTC.
  std::string ended_at;
  /// How it ended.
  std::string end;
};

/// An entry that cannot be read as a pod. It is kept as it is.
struct broken_pod {
  /// Empty if that cannot be read either.
  std::string name;
  std::string id;
  std::string why;
  json entry;
};

/// The document of the pods. As pods, loans and what has ended stand in one,
/// a stop and what comes back by it are one write.
struct pod_document {
  std::vector<pod_record> pods;
  std::vector<broken_pod> broken;
  /// Oldest first.
  std::vector<ended_pod> ended;
  scope_listing scopes;
  /// Fields beside.
  json others = json::object();
};

/// The id of one life of a pod: its name, a dot and 8 hexadecimal digits.
/// @param random anything; of the same pod, no two lives have the same.
[[nodiscard]] std::string make_pod_id(const std::string& name,
                                      std::uint64_t random);

/// Whether that can be an id of a pod of that name; none of another one can.
[[nodiscard]] bool is_pod_id(std::string_view id, const std::string& name);

/// The format that is written.
inline constexpr std::uint64_t pod_format = 1;

/// Reads the document.
/// @param path names it in errors.
/// @returns `registry_corrupted` naming the place, `newer_format`.
[[nodiscard]] expected<pod_document> read_pod_document(std::string_view text,
                                                       std::string_view path);

/// Writes one entry.
[[nodiscard]] std::string render(const pod_record& record);

[[nodiscard]] std::string render(const ended_pod& x);

/// Writes the document from entries that are written already.
[[nodiscard]] std::string
render_pods(const json& others, const scope_listing& scopes,
            const std::vector<std::string_view>& pods,
            const std::vector<std::string_view>& ended);

} // namespace muster
