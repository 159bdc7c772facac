// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "actors/persistence/database.hpp"
#include "actors/persistence/disk.hpp"
#include "actors/persistence/documents.hpp"
#include "actors/persistence/gathering.hpp"
#include "actors/persistence/settings.hpp"
#include "actors/process/crash_notes.hpp"

#include "messages/actors.hpp"

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace muster {

/// What the PERSISTENCE actor writes to. Opened before the actor is spawned, so
/// that a broken directory stops the node before anybody can reach it; from
/// then on the actor's alone.
struct storage {
  persistence_settings settings;
  environment env;
  std::unique_ptr<disk> files;
  std::unique_ptr<muster::documents> documents;
  std::unique_ptr<muster::database> database;
  /// What those left who died before this process.
  std::shared_ptr<const crash_notes> crashes;
};

/// Opens the state directory's files.
/// @param files where the documents are; the database has its own file system,
///        named in the settings.
[[nodiscard]] expected<std::shared_ptr<storage>>
open_storage(const persistence_settings& settings, std::unique_ptr<disk> files,
             const environment& env);

/// What the PERSISTENCE actor keeps.
struct persistence_state {
  // -- constants --------------------------------------------------------------

  static inline const char* name = "persistence";

  // -- member types -----------------------------------------------------------

  /// A document that is to be written, and all who asked for it: only the last
  /// text counts.
  struct save {
    std::string text;
    std::vector<caf::typed_response_promise<caf::ok_atom>> promises;
  };

  // -- introspection ----------------------------------------------------------

  /// The counters as a JSON object.
  [[nodiscard]] std::string status() const;

  // -- member variables -------------------------------------------------------

  std::shared_ptr<storage> disk;
  status_sink_actor sink;

  /// Commits for the next transaction, with their promises.
  std::vector<commit_request> batch;
  std::vector<caf::typed_response_promise<commit_ack>> promises;

  /// Documents for the next flush, by path.
  std::map<std::string, save> saves;

  /// Whether `flush` is in the mailbox, behind everything that was there.
  bool flush_due = false;

  /// Whether that `flush` is the first behind a transaction: what has come by
  /// then was waiting for it.
  bool counts_waiting = false;

  /// Decides how long the batch waits for more.
  gathering patience{std::chrono::nanoseconds{0}};

  /// Whether the batch waits for more, and which time it is that one does.
  bool is_gathering = false;
  std::uint64_t gathering_number = 0;

  /// Commits in the largest transaction so far.
  std::size_t largest_batch = 0;
};

/// What the PERSISTENCE actor sends itself.
using persistence_impl = persistence_actor::extend<
  // Write everything that came before this.
  caf::reacts_to<flush_atom>,
  // The batch that began to wait for more under this number has waited enough.
  caf::reacts_to<expire_atom, std::uint64_t>>;

/// Owns every write to disk. What comes in while it syncs is written together
/// with one sync, and each request is answered once it is durable. A sync that
/// fails ends the actor, and with it the node.
/// @param disk what `open_storage` opened.
/// @param sink is told the counters.
persistence_impl::behavior_type
persistence(persistence_impl::stateful_pointer<persistence_state> self,
            std::shared_ptr<storage> disk, status_sink_actor sink);

} // namespace muster
