// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/persistence/age_clock.hpp"
#include "actors/persistence/settings.hpp"
#include "actors/process/environment.hpp"

#include "messages/persistence.hpp"
#include "messages/receipt.hpp"

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace muster::sqlite {

struct error;

} // namespace muster::sqlite

namespace muster {

/// `sessions.db`: sessions with their events, shared state, texts and logs.
///
/// Every change goes to disk before its call returns. A sync that fails is
/// final: from then on everything is refused, and the process has to be started
/// again.
class database {
public:
  // -- constants --------------------------------------------------------------

  /// The format that this program writes; `user_version` of the file.
  static constexpr int format = 2;

  static constexpr const char* file_name = "sessions.db";

  // -- constructors and destructors -------------------------------------------

  /// Opens the database, creates it if there is none, and brings an older
  /// format up to date.
  /// @returns `registry_corrupted`, `newer_format`, `in_use`, `read_only` or
  ///          `storage_full` if that is not possible; the file is as it was.
  [[nodiscard]] static expected<std::unique_ptr<database>>
  open(const persistence_settings& settings, const environment& env);

  ~database();

  database(const database&) = delete;

  database& operator=(const database&) = delete;

  // -- commits ----------------------------------------------------------------

  /// Writes events of sessions, all with one sync. One that cannot be taken is
  /// refused alone: `conflict` if what it read has changed, `internal` if its
  /// events are on disk already.
  [[nodiscard]] std::vector<expected<commit_ack>>
  commit(std::vector<commit_request> batch);

  // -- sessions ---------------------------------------------------------------

  [[nodiscard]] expected<stored_session> load(const std::string& id);

  [[nodiscard]] expected<std::vector<std::string>>
  find(const std::string& prefix);

  [[nodiscard]] expected<session_page>
  list(const session_list_request& request);

  [[nodiscard]] expected<scan_page> scan(const scan_request& request);

  [[nodiscard]] expected<std::uint64_t>
  erase(const std::vector<std::string>& ids);

  [[nodiscard]] expected<std::vector<log_line>> log(const std::string& id,
                                                    std::uint64_t after);

  // -- shared state -----------------------------------------------------------

  [[nodiscard]] expected<state_value> get(const state_key& where);

  /// @param request_id what the client calls the request, or `once`.
  /// @returns `conflict` if that was the id of something else.
  [[nodiscard]] expected<std::uint64_t> set(const state_key& where,
                                            const std::string& value,
                                            const std::string& request_id);

  [[nodiscard]] expected<bool> remove(const state_key& where,
                                      const std::string& request_id);

  [[nodiscard]] expected<std::vector<state_space>> spaces();

  /// @param limit 0 means all.
  [[nodiscard]] expected<std::vector<state_entry>>
  keys(const std::string& space, const std::string& prefix,
       std::uint32_t limit);

  // -- requests ---------------------------------------------------------------

  /// The kept result of a request; empty if it was not executed.
  /// @returns `conflict` if something else was asked under its id.
  [[nodiscard]] expected<std::string> recall(const receipt& wanted);

  // -- upkeep -----------------------------------------------------------------

  /// Copies the write-ahead log into the database if it has grown.
  void checkpoint_if_due();

  /// Notes if the files have lost their names: whatever they are given from
  /// then on is lost.
  void look_for_files();

  /// Reads the whole file and compares what must agree.
  [[nodiscard]] expected<void> check();

  // -- properties -------------------------------------------------------------

  /// Why nothing can be written any more, if so.
  [[nodiscard]] const std::optional<failure>& broken() const {
    return broken_;
  }

  /// Sessions on disk by phase.
  [[nodiscard]] std::uint64_t count(session_phase phase) const;

  /// Transactions that were synced since the start, and what they held.
  [[nodiscard]] std::uint64_t syncs() const {
    return syncs_;
  }

  [[nodiscard]] std::uint64_t commits() const {
    return commits_;
  }

  [[nodiscard]] std::uint64_t checkpoints() const {
    return checkpoints_;
  }

  /// Pages in the write-ahead log.
  [[nodiscard]] std::uint64_t log_pages() const;

private:
  // -- member types -----------------------------------------------------------

  /// The connection and its prepared statements.
  struct parts;

  /// What the single row of `meta` holds.
  struct meta {
    std::int64_t state_version = 0;
    /// Sessions by phase, from `running`.
    std::array<std::int64_t, 5> phases{};
  };

  // -- implementation details -------------------------------------------------

  database(const persistence_settings& settings, const environment& env);

  void set_up();

  void settle();

  void migrate(std::int64_t from);

  void read_meta();

  void write_meta();

  void apply(const commit_request& request, commit_ack& ack);

  /// The kept result of a request, if it was executed.
  [[nodiscard]] std::optional<std::string> find_receipt(const receipt& wanted);

  void write_receipt(const receipt& done);

  /// Changes shared state, unless that is a repeat.
  /// @param f changes it, and gives what that is answered with.
  template <class F>
  auto write_once(const state_write& write, const std::string& request_id, F f)
    -> expected<decltype(f())>;

  void check_expectations(const commit_request& request);

  void write_state(const state_write& write);

  void write_logs(std::int64_t row, const std::vector<log_line>& logs);

  void note_phases(const commit_request& request);

  /// Runs `f` in a transaction of its own.
  template <class F>
  auto in_transaction(F f) -> expected<decltype(f())>;

  /// Runs `f`, which changes nothing.
  template <class F>
  auto reading(F f) -> expected<decltype(f())>;

  /// Undoes what is open, and notes what a failure means for all that follows.
  failure give_up(const sqlite::error& e);

  [[nodiscard]] std::int64_t age_ms() const;

  // -- member variables -------------------------------------------------------

  persistence_settings settings_;
  environment env_;
  std::string path_;
  age_clock age_;
  meta meta_;
  std::unique_ptr<parts> parts_;
  std::optional<failure> broken_;

  /// Whether what is on disk was found to be in order.
  bool is_open_ = false;
  std::uint64_t syncs_ = 0;
  std::uint64_t commits_ = 0;
  std::uint64_t checkpoints_ = 0;
};

} // namespace muster
