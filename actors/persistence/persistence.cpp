// SPDX-License-Identifier: Apache-2.0

#include "actors/persistence/persistence.hpp"

#include "messages/json.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace muster {

namespace {

using persistence_pointer
  = persistence_impl::stateful_pointer<persistence_state>;

void schedule_flush(persistence_pointer self) {
  if (std::exchange(self->state.flush_due, true))
    return;
  self->send(self, flush_atom::value);
}

/// A key that no script could name would be of no use, and what is no text
/// could not be listed.
std::optional<failure> check_key(const state_key& where) {
  auto& [space, key] = where;
  for (auto* text : {&space, &key})
    if (!is_utf8(*text))
      return failure{errc::not_utf8,
                     fmt::format("the {} is not valid UTF-8",
                                 text == &key ? "key" : "namespace")};
  if (space.empty() || space.find("..") != std::string::npos
      || space.find_first_of(std::string_view{"/\\\0", 3}) != std::string::npos)
    return failure{errc::invalid_argument,
                   fmt::format("'{}' cannot be a namespace: it is empty or has "
                               "'/', '\\', '..' or a NUL in it",
                               space)};
  if (key.find('\0') != std::string::npos)
    return failure{errc::invalid_argument, "a key cannot contain a NUL"};
  return std::nullopt;
}

/// Ends the actor if the disk can no longer be trusted.
void stop_if_broken(persistence_pointer self) {
  auto& disk = *self->state.disk;
  if (auto& why = disk.database->broken())
    self->quit(to_caf(*why));
  else if (auto& other = disk.documents->broken())
    self->quit(to_caf(*other));
}

void write_batch(persistence_pointer self) {
  auto& st = self->state;
  st.is_gathering = false;
  if (st.batch.empty())
    return;
  st.largest_batch = std::max(st.largest_batch, st.batch.size());
  auto promises = std::exchange(st.promises, {});
  auto begin = st.disk->env.steady_ns();
  auto results = st.disk->database->commit(std::exchange(st.batch, {}));
  st.patience.written(promises.size(), std::chrono::nanoseconds{
                                         st.disk->env.steady_ns() - begin});
  // Lands behind those who have waited, and before those who are answered now.
  st.counts_waiting = true;
  schedule_flush(self);
  for (std::size_t i = 0; i < promises.size(); ++i) {
    if (results[i])
      promises[i].deliver(*results[i]);
    else
      promises[i].deliver(to_caf(results[i].error()));
  }
  st.disk->database->checkpoint_if_due();
}

void write_documents(persistence_pointer self) {
  for (auto& [path, save] : std::exchange(self->state.saves, {})) {
    auto saved = self->state.disk->documents->save(path, save.text);
    for (auto& promise : save.promises) {
      if (saved)
        promise.deliver(caf::ok_atom::value);
      else
        promise.deliver(to_caf(saved.error()));
    }
  }
}

void flush(persistence_pointer self) {
  write_batch(self);
  write_documents(self);
  stop_if_broken(self);
}

/// Writes what has come, or waits a little for those who are likely to come.
void flush_or_gather(persistence_pointer self) {
  auto& st = self->state;
  if (std::exchange(st.counts_waiting, false))
    st.patience.waiting(st.batch.size());
  auto patience = st.patience.patience(st.batch.size());
  if (st.batch.empty() || !st.saves.empty() || patience.count() == 0) {
    flush(self);
    return;
  }
  st.is_gathering = true;
  self->delayed_send(self, patience, expire_atom::value, ++st.gathering_number);
}

caf::result<commit_ack> take_commit(persistence_pointer self,
                                    commit_request& request) {
  auto& st = self->state;
  if (st.batch.size() >= st.disk->settings.max_pending)
    return make_error(errc::overloaded,
                      fmt::format("{} commits wait for the disk, as many as "
                                  "storage.max-pending allows",
                                  st.batch.size()));
  auto rp = self->make_response_promise<commit_ack>();
  st.batch.push_back(std::move(request));
  st.promises.push_back(rp);
  // A batch that gathers is written by its timer, or once it is complete.
  if (!st.is_gathering || st.patience.patience(st.batch.size()).count() == 0)
    schedule_flush(self);
  return rp;
}

caf::result<caf::ok_atom> take_document(persistence_pointer self,
                                        const std::string& path,
                                        std::string& text) {
  auto& save = self->state.saves[path];
  save.text = std::move(text);
  save.promises.push_back(self->make_response_promise<caf::ok_atom>());
  schedule_flush(self);
  return save.promises.back();
}

/// Answers with what `f` makes of the database, behind all that came before.
template <class F>
auto with_database(persistence_pointer self, F f) {
  flush(self);
  auto result = to_result(f(*self->state.disk->database));
  stop_if_broken(self);
  return result;
}

/// Looks for a request. Others need not be written for that: whoever looks
/// would end a batch that gathers.
caf::result<std::string> recall(persistence_pointer self,
                                const receipt& wanted) {
  auto& batch = self->state.batch;
  auto is_under_way = std::any_of(batch.begin(), batch.end(), [&](auto& x) {
    return x.done && x.done->request_id == wanted.request_id;
  });
  if (is_under_way)
    flush(self);
  auto result = to_result(self->state.disk->database->recall(wanted));
  stop_if_broken(self);
  return result;
}

/// Whoever stops the node in order begins anew.
void forget_crashes(persistence_pointer self) {
  auto& disk = *self->state.disk;
  // What stays is only counted on.
  if (!disk.crashes->empty())
    std::ignore = disk.documents->remove(crash_file);
}

caf::result<caf::ok_atom> done(expected<void> result) {
  if (!result)
    return to_caf(result.error());
  return caf::ok_atom::value;
}

/// Reads under which sessions the process died. It is only advice: a file that
/// has grown too large is begun anew.
expected<std::shared_ptr<const crash_notes>>
read_crashes(disk& files, const std::string& directory) {
  auto path = directory + "/" + crash_file;
  auto text = files.read(path);
  if (!text)
    return tl::unexpected<failure>{text.error()};
  if (*text && (*text)->size() > max_crash_bytes) {
    if (auto removed = files.remove(path); !removed)
      return tl::unexpected<failure>{removed.error()};
    text->reset();
  }
  return std::make_shared<const crash_notes>(text->value_or(std::string{}));
}

} // namespace

std::string persistence_state::status() const {
  auto& db = *disk->database;
  auto sessions = json::object();
  for (auto phase :
       {session_phase::running, session_phase::paused, session_phase::done,
        session_phase::failed, session_phase::cancelled})
    sessions[to_string(phase)] = db.count(phase);
  return json{{"sessions", std::move(sessions)},
              {"commits", db.commits()},
              {"syncs", db.syncs()},
              {"largest_batch", largest_batch},
              {"pending", batch.size()},
              {"log_pages", db.log_pages()},
              {"checkpoints", db.checkpoints()},
              {"writable", !db.broken() && !disk->documents->broken()}}
    .dump();
}

expected<std::shared_ptr<storage>>
open_storage(const persistence_settings& settings, std::unique_ptr<disk> files,
             const environment& env) {
  auto result = std::make_shared<storage>();
  result->settings = settings;
  result->env = env;
  result->files = std::move(files);
  result->documents
    = std::make_unique<documents>(*result->files, settings.directory);
  if (auto cleaned = result->documents->clean(); !cleaned)
    return tl::unexpected<failure>{cleaned.error()};
  auto crashes = read_crashes(*result->files, settings.directory);
  if (!crashes)
    return tl::unexpected<failure>{crashes.error()};
  result->crashes = std::move(*crashes);
  auto opened = database::open(settings, env);
  if (!opened)
    return tl::unexpected<failure>{opened.error()};
  result->database = std::move(*opened);
  // SQLite syncs the folder of a new log and does not look how that went.
  // Without its name the log is lost, and all commits in it.
  if (auto synced = result->files->sync_folder(settings.directory); !synced)
    return tl::unexpected<failure>{synced.error()};
  return result;
}

persistence_impl::behavior_type persistence(persistence_pointer self,
                                            std::shared_ptr<storage> disk,
                                            status_sink_actor sink) {
  self->state.disk = std::move(disk);
  self->state.sink = std::move(sink);
  self->state.patience = gathering{self->state.disk->settings.max_gather};
  return {
    // -- sessions -------------------------------------------------------------
    [=](commit_atom, commit_request& request) {
      return take_commit(self, request);
    },
    [=](load_atom, const std::string& id) {
      return with_database(self, [&](auto& db) { return db.load(id); });
    },
    [=](find_atom, const std::string& prefix) {
      return with_database(self, [&](auto& db) { return db.find(prefix); });
    },
    [=](list_atom, const session_list_request& request) {
      return with_database(self, [&](auto& db) { return db.list(request); });
    },
    [=](scan_atom, const scan_request& request) {
      return with_database(self, [&](auto& db) { return db.scan(request); });
    },
    [=](erase_atom, const std::vector<std::string>& ids) {
      return with_database(self, [&](auto& db) { return db.erase(ids); });
    },
    [=](log_atom, const std::string& id, std::uint64_t after) {
      return with_database(self, [&](auto& db) { return db.log(id, after); });
    },
    // -- shared state ---------------------------------------------------------
    [=](spaces_atom) {
      return with_database(self, [&](auto& db) { return db.spaces(); });
    },
    [=](list_atom, const std::string& space, const std::string& prefix,
        std::uint32_t limit) {
      return with_database(
        self, [&](auto& db) { return db.keys(space, prefix, limit); });
    },
    [=](get_atom, const state_key& where) {
      return with_database(self, [&](auto& db) { return db.get(where); });
    },
    [=](set_atom, const state_key& where, const std::string& value,
        const std::string& request_id) -> caf::result<std::uint64_t> {
      if (auto refused = check_key(where))
        return to_caf(*refused);
      if (auto ok = parse_json(value, "the value"); !ok)
        return to_caf(ok.error());
      return with_database(
        self, [&](auto& db) { return db.set(where, value, request_id); });
    },
    [=](delete_atom, const state_key& where, const std::string& request_id) {
      return with_database(
        self, [&](auto& db) { return db.remove(where, request_id); });
    },
    // -- requests -------------------------------------------------------------
    [=](recall_atom, const receipt& wanted) { return recall(self, wanted); },
    // -- documents ------------------------------------------------------------
    [=](save_atom, const std::string& path, std::string& text) {
      return take_document(self, path, text);
    },
    [=](read_atom, const std::string& path) -> caf::result<std::string> {
      flush(self);
      auto text = self->state.disk->documents->read(path);
      if (!text)
        return to_caf(text.error());
      return text->value_or(std::string{});
    },
    [=](list_atom, const std::string& folder) {
      flush(self);
      return to_result(self->state.disk->documents->list(folder));
    },
    [=](remove_atom, const std::string& path) {
      flush(self);
      return done(self->state.disk->documents->remove(path));
    },
    // -- the node -------------------------------------------------------------
    [=](report_atom) {
      self->state.disk->database->look_for_files();
      self->send(self->state.sink, report_atom::value, "storage",
                 self->state.status());
      stop_if_broken(self);
    },
    [=](stop_atom) -> caf::result<caf::ok_atom> {
      flush(self);
      forget_crashes(self);
      self->quit(caf::exit_reason::user_shutdown);
      return caf::ok_atom::value;
    },
    // -- the actor itself -----------------------------------------------------
    [=](flush_atom) {
      self->state.flush_due = false;
      flush_or_gather(self);
    },
    [=](expire_atom, std::uint64_t number) {
      auto& st = self->state;
      if (!st.is_gathering || number != st.gathering_number)
        return;
      st.patience.given_up(st.batch.size());
      flush(self);
    },
  };
}

} // namespace muster
