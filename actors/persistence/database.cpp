// SPDX-License-Identifier: Apache-2.0

#include "actors/persistence/database.hpp"

#include "actors/persistence/schema.hpp"
#include "actors/persistence/sqlite.hpp"

#include "messages/json.hpp"

#include <fmt/format.h>
#include <sqlite3.h>

#include <algorithm>
#include <cstdlib>

namespace muster {

namespace {

/// Thrown for a request that is refused alone; the rest of its batch goes on.
struct refused_request {
  failure why;
};

/// The text behind all texts that begin with `prefix`. Only for texts whose
/// last byte is not the highest, as in ids and UTF-8.
std::string behind(std::string prefix) {
  if (!prefix.empty())
    ++prefix.back();
  return prefix;
}

std::int64_t number_of(session_phase phase) {
  return static_cast<std::int64_t>(phase);
}

std::size_t index_of(session_phase phase) {
  return static_cast<std::size_t>(phase)
         - static_cast<std::size_t>(session_phase::running);
}

failure not_found(const std::string& id) {
  return {errc::not_found, fmt::format("session '{}' not found", id)};
}

} // namespace

struct database::parts {
  explicit parts(const std::string& path, const std::string& file_system)
    : db(path, file_system) {
    // nop
  }

  /// Prepares the statements; the tables have to be there.
  void prepare() {
    auto make = [this](std::optional<sqlite::statement>& to, const char* sql) {
      to.emplace(db.get(), sql);
    };
    make(begin, "BEGIN IMMEDIATE");
    make(end, "COMMIT");
    make(mark, "SAVEPOINT item");
    make(release, "RELEASE item");
    make(undo, "ROLLBACK TO item");
    make(write_meta,
         "UPDATE meta SET age_ms=?, wall_ms=?, state_version=?, running=?, "
         "paused=?, done=?, failed=?, cancelled=? WHERE one=1");
    make(insert_session,
         "INSERT INTO sessions(id, kind, created_ms) VALUES(?,?,?)");
    make(end_session, "UPDATE sessions SET ended=? WHERE row=?");
    make(insert_events,
         "INSERT INTO events(session, seq, last_seq, phase, pending, at_ms, "
         "last_active_ms, age_ms, payload) VALUES(?,?,?,?,?,?,?,?,?)");
    make(insert_source,
         "INSERT INTO sources(hash, text) VALUES(?,?) ON CONFLICT DO NOTHING");
    make(refer_source, "INSERT INTO session_sources(session, hash) "
                       "VALUES(?,?) ON CONFLICT DO NOTHING");
    make(get_state, "SELECT value, version FROM state WHERE space=? AND key=?");
    make(put_state, "INSERT INTO state(space, key, value, version) "
                    "VALUES(?,?,?,?) ON CONFLICT DO UPDATE SET "
                    "value=excluded.value, version=excluded.version");
    make(delete_state, "DELETE FROM state WHERE space=? AND key=?");
    make(insert_log, "INSERT INTO logs(session, number, at_ms, level, source, "
                     "message) VALUES(?,?,?,?,?,?)");
    make(trim_logs, "DELETE FROM logs WHERE session=? AND number<=?");
    make(find_session, "SELECT row, kind FROM sessions WHERE id=?");
    make(load_events,
         "SELECT seq, payload FROM events WHERE session=? ORDER BY seq");
    make(load_sources,
         "SELECT s.hash, s.text FROM session_sources r JOIN sources s "
         "ON s.hash=r.hash WHERE r.session=?");
    make(last_events,
         "SELECT phase, pending, last_active_ms, age_ms, last_seq FROM events "
         "WHERE session=? ORDER BY seq DESC LIMIT 1");
    make(last_log, "SELECT max(number) FROM logs WHERE session=?");
    make(load_log, "SELECT number, at_ms, level, source, message FROM logs "
                   "WHERE session=? AND number>? ORDER BY number");
    make(find_receipt, "SELECT digest, result FROM receipts WHERE request=?");
    make(insert_receipt, "INSERT INTO receipts(request, digest, result, "
                         "age_ms) VALUES(?,?,?,?)");
    // Two at the front for one at the end: the table shrinks as it is used.
    make(trim_receipts,
         "DELETE FROM receipts WHERE row IN (SELECT row FROM receipts ORDER BY "
         "row LIMIT 2) AND (age_ms<? OR row<=?)");
  }

  sqlite::connection db;
  std::optional<sqlite::statement> begin, end, mark, release, undo, write_meta,
    insert_session, end_session, insert_events, insert_source, refer_source,
    get_state, put_state, delete_state, insert_log, trim_logs, find_session,
    load_events, load_sources, last_events, last_log, load_log, find_receipt,
    insert_receipt, trim_receipts;
};

// -- opening ------------------------------------------------------------------

database::database(const persistence_settings& settings, const environment& env)
  : settings_(settings), env_(env),
    path_(settings.directory + "/" + file_name) {
  // nop
}

database::~database() {
  // What was refused, and what a failed disk left, is not to be touched.
  if (is_open_ && !broken_)
    parts_->db.remove_log_at_close();
}

expected<std::unique_ptr<database>>
database::open(const persistence_settings& settings, const environment& env) {
  std::unique_ptr<database> result{new database(settings, env)};
  try {
    result->parts_
      = std::make_unique<parts>(result->path_, settings.file_system);
    result->set_up();
    result->parts_->prepare();
    result->read_meta();
    result->is_open_ = true;
  } catch (const sqlite::error& e) {
    return tl::unexpected<failure>{sqlite::to_failure(e, result->path_)};
  } catch (const refused_request& e) {
    return tl::unexpected<failure>{e.why};
  }
  return result;
}

void database::set_up() {
  auto& db = parts_->db;
  // Exclusive comes first: it is what lets the log work without shared memory,
  // and it takes the file before anything else can.
  db.run("PRAGMA locking_mode=exclusive");
  if (db.is_read_only())
    throw refused_request{
      {errc::read_only, fmt::format("'{}' can be read but not written; check "
                                    "its owner and mode",
                                    path_)}};
  if (db.is_log_alone())
    throw refused_request{
      {errc::registry_corrupted,
       fmt::format("'{}' is empty, but '{}-wal' is not: the database was lost; "
                   "it was left as it is",
                   path_, path_)}};
  if (db.has_lost_commits())
    throw refused_request{
      {errc::registry_corrupted,
       fmt::format("'{}-wal' is damaged: what was synced in it cannot be read "
                   "from some place on; it was left as it is",
                   path_)}};
  // A foreign or newer file must not be touched, not even its journal mode.
  auto format_on_disk = db.number("PRAGMA user_version");
  auto mark = db.number("PRAGMA application_id");
  auto tables = db.number("SELECT count(*) FROM sqlite_schema");
  if (tables > 0 && mark != application_id)
    throw refused_request{
      {errc::registry_corrupted,
       fmt::format("'{}' is a database of another program; move it away, or "
                   "give another state directory",
                   path_)}};
  if (format_on_disk > format)
    throw refused_request{
      {errc::newer_format,
       fmt::format("'{}' has format {}, and this program knows formats up to "
                   "{}; run a newer version of it",
                   path_, format_on_disk, format)}};
  // A file system without shared memory falls back to another mode without a
  // word, and without the promises of this one.
  if (auto mode = db.text("PRAGMA journal_mode=wal"); mode != "wal")
    throw refused_request{
      {errc::storage_failed,
       fmt::format("'{}' cannot have a write-ahead log: its file system gives "
                   "the journal mode '{}'",
                   path_, mode)}};
  // A log that can only be read makes every commit fail, and no read.
  db.run("BEGIN IMMEDIATE");
  db.run("ROLLBACK");
  db.run("PRAGMA synchronous=full");
  db.run("PRAGMA temp_store=memory");
  db.run("PRAGMA cache_size=-32768");
  if (tables == 0)
    migrate(0);
  else if (format_on_disk < format)
    migrate(format_on_disk);
  auto bytes = db.number("PRAGMA page_count") * db.number("PRAGMA page_size");
  if (static_cast<std::uint64_t>(bytes) <= settings_.check_max_bytes)
    if (auto ok = check(); !ok)
      throw refused_request{ok.error()};
  settle();
}

/// The last process may have died between a write and its sync: what it left is
/// there to be read, and a loss of power would take it. Nobody is to see what
/// can still go. Nor is anything of an older log to stand behind a newer one:
/// if the header of a log is torn, the next log takes what marks it as its own
/// from there.
void database::settle() {
  try {
    parts_->db.empty_log();
  } catch (const sqlite::error& e) {
    // Its first step is the sync of the log. If there is no room for the rest,
    // the log stays.
    if (sqlite::is_final(e))
      throw;
  }
}

void database::migrate(std::int64_t from) {
  auto& db = parts_->db;
  db.run("BEGIN IMMEDIATE");
  // Each format is made from the one before it, so that every directory that
  // was ever written goes the same way.
  if (from < 1)
    db.run(schema);
  if (from < 2)
    db.run(schema_2);
  db.run(fmt::format("PRAGMA application_id={}", application_id).c_str());
  db.run(fmt::format("PRAGMA user_version={}", format).c_str());
  db.run("COMMIT");
}

void database::read_meta() {
  sqlite::statement query{parts_->db.get(),
                          "SELECT age_ms, wall_ms, state_version, running, "
                          "paused, done, failed, cancelled FROM meta"};
  if (!query.step())
    throw refused_request{
      {errc::registry_corrupted,
       fmt::format("'{}' has lost its table 'meta'", path_)}};
  auto steady = env_.steady_ns();
  age_
    = query.integer(1) == 0
        ? age_clock{0, env_.wall_ms(), env_.wall_ms(), steady}
        : age_clock{query.integer(0), query.integer(1), env_.wall_ms(), steady};
  meta_.state_version = query.integer(2);
  for (int i = 0; i < 5; ++i)
    meta_.phases[static_cast<std::size_t>(i)] = query.integer(3 + i);
}

void database::write_meta() {
  auto& s = *parts_->write_meta;
  s.bind(age_ms()).bind(env_.wall_ms()).bind(meta_.state_version);
  for (auto count : meta_.phases)
    s.bind(count);
  s.run();
}

expected<void> database::check() {
  try {
    auto& db = parts_->db;
    auto verdict = db.text("PRAGMA quick_check(1)");
    // A page that the disk did not give says nothing about what is on it.
    constexpr std::string_view unread = "unable to get the page. error code=";
    if (auto i = verdict.find(unread); i != std::string::npos) {
      auto code = std::atoi(verdict.c_str() + i + unread.size());
      if ((code & 0xff) != SQLITE_CORRUPT)
        return tl::unexpected<failure>{
          sqlite::to_failure({code, 0, "it could not be checked"}, path_)};
    }
    // The same of a page that is not used; why is not said.
    if (verdict.find("failed to get page") != std::string::npos)
      return fail(errc::storage_failed,
                  fmt::format("the disk failed at '{}': {}", path_, verdict));
    if (verdict != "ok")
      return fail(errc::registry_corrupted,
                  fmt::format("'{}' is damaged: {}; it was left as it is",
                              path_, verdict));
    return {};
  } catch (const sqlite::error& e) {
    return tl::unexpected<failure>{sqlite::to_failure(e, path_)};
  }
}

// -- transactions -------------------------------------------------------------

template <class F>
auto database::in_transaction(F f) -> expected<decltype(f())> {
  if (broken_)
    return tl::unexpected<failure>{*broken_};
  auto before = meta_;
  try {
    parts_->begin->run();
    auto result = f();
    write_meta();
    parts_->end->run();
    ++syncs_;
    look_for_files();
    if (broken_)
      return tl::unexpected<failure>{*broken_};
    return result;
  } catch (const sqlite::error& e) {
    meta_ = before;
    return tl::unexpected<failure>{give_up(e)};
  } catch (const refused_request& e) {
    meta_ = before;
    parts_->db.run("ROLLBACK");
    return tl::unexpected<failure>{e.why};
  }
}

template <class F>
auto database::reading(F f) -> expected<decltype(f())> {
  try {
    return f();
  } catch (const sqlite::error& e) {
    return tl::unexpected<failure>{sqlite::to_failure(e, path_)};
  } catch (const refused_request& e) {
    return tl::unexpected<failure>{e.why};
  }
}

failure database::give_up(const sqlite::error& e) {
  auto why = sqlite::to_failure(e, path_);
  if (sqlite::is_final(e)) {
    // Behind a failed sync the kernel may have dropped what was to be written
    // and still report success the next time. Nothing is tried again here.
    why.message += "; the node stops, and goes on from what is on disk when "
                   "it is started again";
    broken_ = why;
  }
  try {
    if (parts_->db.in_transaction())
      parts_->db.run("ROLLBACK");
  } catch (const sqlite::error& again) {
    broken_ = sqlite::to_failure(again, path_);
  }
  return why;
}

// -- commits ------------------------------------------------------------------

std::vector<expected<commit_ack>>
database::commit(std::vector<commit_request> batch) {
  std::vector<expected<commit_ack>> results;
  auto write_all = [&] {
    results.assign(batch.size(), commit_ack{});
    for (std::size_t i = 0; i < batch.size(); ++i) {
      auto before = meta_;
      parts_->mark->run();
      try {
        apply(batch[i], *results[i]);
      } catch (const refused_request& e) {
        meta_ = before;
        parts_->undo->run();
        results[i] = tl::unexpected<failure>{e.why};
      }
      parts_->release->run();
    }
    return true;
  };
  auto written = in_transaction(write_all);
  if (!written)
    results.assign(batch.size(), tl::unexpected<failure>{written.error()});
  else
    commits_ += batch.size();
  return results;
}

void database::apply(const commit_request& request, commit_ack& ack) {
  if (request.done) {
    ack.repeated = find_receipt(*request.done);
    if (ack.repeated)
      return;
    write_receipt(*request.done);
  }
  check_expectations(request);
  auto& row = ack.row;
  row = request.row;
  if (row == 0) {
    parts_->insert_session->bind(std::string_view{request.session_id})
      .bind(static_cast<std::int64_t>(request.kind))
      .bind(request.at_ms)
      .run();
    row = parts_->db.last_row();
  }
  try {
    parts_->insert_events->bind(row)
      .bind(static_cast<std::int64_t>(request.first_seq))
      .bind(static_cast<std::int64_t>(request.last_seq))
      .bind(number_of(request.phase))
      .bind(static_cast<std::int64_t>(request.pending))
      .bind(request.at_ms)
      .bind(request.last_active_ms)
      .bind(age_ms())
      .bind_blob(request.payload)
      .run();
  } catch (const sqlite::error& e) {
    if (e.code != SQLITE_CONSTRAINT_UNIQUE)
      throw;
    throw refused_request{
      {errc::internal,
       fmt::format("event {} of session '{}' is on disk already",
                   request.first_seq, request.session_id)}};
  }
  for (auto& source : request.sources) {
    parts_->insert_source->bind(std::string_view{source.hash})
      .bind_blob(source.text)
      .run();
    parts_->refer_source->bind(row).bind(std::string_view{source.hash}).run();
  }
  if (!request.writes.empty())
    ++meta_.state_version;
  for (auto& write : request.writes)
    write_state(write);
  write_logs(row, request.logs);
  if (is_terminal(request.phase))
    parts_->end_session->bind(number_of(request.phase)).bind(row).run();
  note_phases(request);
}

void database::check_expectations(const commit_request& request) {
  auto& s = *parts_->get_state;
  for (auto& expected : request.expectations) {
    s.bind(std::string_view{expected.where.space})
      .bind(std::string_view{expected.where.key});
    auto version = s.step() ? s.integer(1) : 0;
    s.reset();
    if (static_cast<std::uint64_t>(version) != expected.version)
      throw refused_request{
        {errc::conflict,
         fmt::format("the state '{}' of '{}' was changed by another since "
                     "session '{}' read it",
                     expected.where.key, expected.where.space,
                     request.session_id)}};
  }
}

void database::write_state(const state_write& write) {
  if (!write.value) {
    parts_->delete_state->bind(std::string_view{write.where.space})
      .bind(std::string_view{write.where.key})
      .run();
    return;
  }
  parts_->put_state->bind(std::string_view{write.where.space})
    .bind(std::string_view{write.where.key})
    .bind_blob(*write.value)
    .bind(meta_.state_version)
    .run();
}

void database::write_logs(std::int64_t row, const std::vector<log_line>& logs) {
  for (auto& line : logs)
    parts_->insert_log->bind(row)
      .bind(static_cast<std::int64_t>(line.number))
      .bind(line.at_ms)
      .bind(std::string_view{line.level})
      .bind(std::string_view{line.source})
      .bind(std::string_view{line.message})
      .run();
  if (!logs.empty() && logs.back().number > settings_.max_log_lines)
    parts_->trim_logs->bind(row)
      .bind(
        static_cast<std::int64_t>(logs.back().number - settings_.max_log_lines))
      .run();
}

void database::note_phases(const commit_request& request) {
  if (request.row != 0)
    --meta_.phases[index_of(request.phase_before)];
  ++meta_.phases[index_of(request.phase)];
}

// -- sessions -----------------------------------------------------------------

expected<stored_session> database::load(const std::string& id) {
  return reading([&] {
    stored_session out;
    out.session_id = id;
    auto& session = *parts_->find_session;
    if (!session.bind(std::string_view{id}).step()) {
      throw refused_request{not_found(id)};
    }
    out.row = session.integer(0);
    out.kind = static_cast<session_kind>(session.integer(1));
    session.reset();
    auto& events = *parts_->load_events;
    events.bind(out.row);
    while (events.step())
      out.events.push_back(
        {static_cast<std::uint64_t>(events.integer(0)), events.text(1)});
    auto& sources = *parts_->load_sources;
    sources.bind(out.row);
    while (sources.step())
      out.sources.push_back({sources.text(0), sources.text(1)});
    auto& log = *parts_->last_log;
    log.bind(out.row);
    if (log.step())
      out.log_lines = static_cast<std::uint64_t>(log.integer(0));
    log.reset();
    return out;
  });
}

expected<std::vector<std::string>> database::find(const std::string& prefix) {
  return reading([&] {
    std::vector<std::string> out;
    sqlite::statement query{parts_->db.get(),
                            "SELECT id FROM sessions WHERE id>=? AND id<? "
                            "LIMIT 2"};
    auto end = behind(prefix);
    query.bind(std::string_view{prefix}).bind(std::string_view{end});
    while (query.step())
      out.push_back(query.text(0));
    return out;
  });
}

expected<session_page> database::list(const session_list_request& request) {
  return reading([&] {
    auto wanted = [&](session_phase phase) {
      return request.phases.empty()
             || std::find(request.phases.begin(), request.phases.end(), phase)
                  != request.phases.end();
    };
    auto limit = request.limit == 0
                   ? settings_.max_page
                   : std::min<std::uint64_t>(request.limit, settings_.max_page);
    auto only_alive = !request.phases.empty()
                      && std::none_of(request.phases.begin(),
                                      request.phases.end(), is_terminal);
    std::int64_t before = INT64_MAX;
    if (!request.before.empty()) {
      auto& session = *parts_->find_session;
      if (!session.bind(std::string_view{request.before}).step())
        throw refused_request{not_found(request.before)};
      before = session.integer(0);
      session.reset();
    }
    sqlite::statement query{
      parts_->db.get(), only_alive
                          ? "SELECT row, id, kind, created_ms FROM sessions "
                            "WHERE row<? AND ended IS NULL ORDER BY row DESC"
                          : "SELECT row, id, kind, created_ms FROM sessions "
                            "WHERE row<? ORDER BY row DESC"};
    query.bind(before);
    session_page page;
    auto& last = *parts_->last_events;
    while (query.step()) {
      last.bind(query.integer(0));
      if (!last.step())
        continue;
      session_summary summary{query.text(1),
                              static_cast<session_kind>(query.integer(2)),
                              static_cast<session_phase>(last.integer(0)),
                              query.integer(3),
                              last.integer(2),
                              static_cast<std::uint64_t>(last.integer(1))};
      last.reset();
      if (!wanted(summary.phase))
        continue;
      if (page.sessions.size() == limit) {
        page.more = true;
        query.reset();
        break;
      }
      page.sessions.push_back(std::move(summary));
    }
    return page;
  });
}

expected<scan_page> database::scan(const scan_request& request) {
  return reading([&] {
    // So that a scan for the few does not hold up everybody for all.
    constexpr std::uint32_t max_looked_at = 5'000;
    sqlite::statement query{parts_->db.get(),
                            request.running_only
                              ? "SELECT row, id FROM sessions WHERE row>? AND "
                                "ended IS NULL ORDER BY row"
                              : "SELECT row, id FROM sessions WHERE row>? "
                                "ORDER BY row"};
    query.bind(request.after);
    scan_page page;
    auto now = age_ms();
    std::uint32_t looked_at = 0;
    auto& last = *parts_->last_events;
    while (query.step()) {
      if (page.sessions.size() == request.limit || looked_at == max_looked_at) {
        query.reset();
        return page;
      }
      ++looked_at;
      page.next = query.integer(0);
      last.bind(page.next);
      if (!last.step())
        continue;
      auto phase = static_cast<session_phase>(last.integer(0));
      auto idle = now - last.integer(3);
      auto seq = static_cast<std::uint64_t>(last.integer(4));
      last.reset();
      if (!request.running_only || phase == session_phase::running)
        page.sessions.push_back({query.text(1), phase, idle, seq});
    }
    page.next = 0;
    return page;
  });
}

expected<std::uint64_t> database::erase(const std::vector<std::string>& ids) {
  return in_transaction([&] {
    auto* db = parts_->db.get();
    sqlite::statement events{db, "DELETE FROM events WHERE session=?"};
    sqlite::statement logs{db, "DELETE FROM logs WHERE session=?"};
    sqlite::statement used{db,
                           "SELECT hash FROM session_sources WHERE session=?"};
    sqlite::statement release{db,
                              "DELETE FROM session_sources WHERE session=?"};
    sqlite::statement source{db, "DELETE FROM sources WHERE hash=? AND NOT "
                                 "EXISTS (SELECT 1 FROM session_sources r "
                                 "WHERE r.hash=sources.hash)"};
    sqlite::statement session{db, "DELETE FROM sessions WHERE row=?"};
    std::uint64_t count = 0;
    for (auto& id : ids) {
      auto& found = *parts_->find_session;
      if (!found.bind(std::string_view{id}).step())
        continue;
      auto row = found.integer(0);
      found.reset();
      auto& last = *parts_->last_events;
      if (last.bind(row).step()) {
        --meta_.phases[index_of(static_cast<session_phase>(last.integer(0)))];
        last.reset();
      }
      std::vector<std::string> hashes;
      used.bind(row);
      while (used.step())
        hashes.push_back(used.text(0));
      for (auto* s : {&events, &logs, &release, &session})
        s->bind(row).run();
      for (auto& hash : hashes)
        source.bind(std::string_view{hash}).run();
      ++count;
    }
    return count;
  });
}

expected<std::vector<log_line>> database::log(const std::string& id,
                                              std::uint64_t after) {
  return reading([&] {
    auto& session = *parts_->find_session;
    if (!session.bind(std::string_view{id}).step())
      throw refused_request{not_found(id)};
    auto row = session.integer(0);
    session.reset();
    std::vector<log_line> out;
    auto& lines = *parts_->load_log;
    lines.bind(row).bind(static_cast<std::int64_t>(after));
    while (lines.step())
      out.push_back({static_cast<std::uint64_t>(lines.integer(0)),
                     lines.integer(1), lines.text(2), lines.text(3),
                     lines.text(4)});
    return out;
  });
}

// -- shared state -------------------------------------------------------------

expected<state_value> database::get(const state_key& where) {
  return reading([&] {
    state_value out;
    auto& s = *parts_->get_state;
    s.bind(std::string_view{where.space}).bind(std::string_view{where.key});
    if (s.step()) {
      out.value = s.text(0);
      out.version = static_cast<std::uint64_t>(s.integer(1));
      s.reset();
    }
    return out;
  });
}

template <class F>
auto database::write_once(const state_write& write,
                          const std::string& request_id, F f)
  -> expected<decltype(f())> {
  return in_transaction([&] {
    if (request_id == once)
      return f();
    receipt done{request_id, digest_of(write), {}};
    if (auto kept = find_receipt(done))
      return json::parse(*kept).template get<decltype(f())>();
    auto result = f();
    done.result = json(result).dump();
    write_receipt(done);
    return result;
  });
}

expected<std::uint64_t> database::set(const state_key& where,
                                      const std::string& value,
                                      const std::string& request_id) {
  state_write write{where, value};
  return write_once(write, request_id, [&] {
    ++meta_.state_version;
    write_state(write);
    return static_cast<std::uint64_t>(meta_.state_version);
  });
}

expected<bool> database::remove(const state_key& where,
                                const std::string& request_id) {
  state_write write{where, std::nullopt};
  return write_once(write, request_id, [&] {
    ++meta_.state_version;
    write_state(write);
    return parts_->db.changes() > 0;
  });
}

expected<std::vector<state_space>> database::spaces() {
  return reading([&] {
    std::vector<state_space> out;
    sqlite::statement query{parts_->db.get(),
                            "SELECT space, count(*) FROM state GROUP BY space "
                            "ORDER BY space"};
    while (query.step())
      out.push_back(
        {query.text(0), static_cast<std::uint64_t>(query.integer(1))});
    return out;
  });
}

expected<std::vector<state_entry>> database::keys(const std::string& space,
                                                  const std::string& prefix,
                                                  std::uint32_t limit) {
  return reading([&] {
    std::vector<state_entry> out;
    sqlite::statement query{
      parts_->db.get(),
      "SELECT key, version, length(value) FROM state WHERE space=? AND key>=? "
      "AND substr(key, 1, length(?))=? ORDER BY key LIMIT ?"};
    query.bind(std::string_view{space})
      .bind(std::string_view{prefix})
      .bind(std::string_view{prefix})
      .bind(std::string_view{prefix})
      .bind(limit == 0 ? std::int64_t{-1} : std::int64_t{limit});
    while (query.step())
      out.push_back({query.text(0),
                     static_cast<std::uint64_t>(query.integer(1)),
                     static_cast<std::uint64_t>(query.integer(2))});
    return out;
  });
}

// -- requests -----------------------------------------------------------------

expected<std::string> database::recall(const receipt& wanted) {
  return reading([&] { return find_receipt(wanted).value_or(std::string{}); });
}

std::optional<std::string> database::find_receipt(const receipt& wanted) {
  auto& s = *parts_->find_receipt;
  if (!s.bind(std::string_view{wanted.request_id}).step())
    return std::nullopt;
  auto digest = s.text(0);
  auto result = s.text(1);
  s.reset();
  if (digest != wanted.digest)
    throw refused_request{
      {errc::conflict, fmt::format("something else was asked for before as "
                                   "request '{}'; give each request an id of "
                                   "its own",
                                   wanted.request_id)}};
  return result;
}

void database::write_receipt(const receipt& done) {
  auto now = age_ms();
  parts_->insert_receipt->bind(std::string_view{done.request_id})
    .bind(std::string_view{done.digest})
    .bind(std::string_view{done.result})
    .bind(now)
    .run();
  parts_->trim_receipts->bind(now - settings_.keep_receipts.count())
    .bind(parts_->db.last_row()
          - static_cast<std::int64_t>(settings_.max_receipts))
    .run();
}

// -- upkeep -------------------------------------------------------------------

void database::checkpoint_if_due() {
  if (broken_ || parts_->db.log_pages() < settings_.checkpoint_pages)
    return;
  try {
    parts_->db.checkpoint();
    ++checkpoints_;
  } catch (const sqlite::error& e) {
    // Without room the log goes on growing, which is no loss. A failed sync is.
    if (sqlite::is_final(e))
      broken_ = sqlite::to_failure(e, path_);
  }
}

void database::look_for_files() {
  if (broken_ || !parts_->db.is_gone())
    return;
  broken_ = {errc::storage_failed,
             fmt::format("'{}' or its log was removed or replaced while the "
                         "node was running, and nobody would find what is "
                         "written there; the node stops",
                         path_)};
  // If only the log is gone, what it had is saved by this: it is still open.
  try {
    parts_->db.checkpoint();
  } catch (const sqlite::error&) {
    // What is not in its place cannot be saved.
  }
}

std::uint64_t database::count(session_phase phase) const {
  return static_cast<std::uint64_t>(meta_.phases[index_of(phase)]);
}

std::uint64_t database::log_pages() const {
  return parts_->db.log_pages();
}

std::int64_t database::age_ms() const {
  return age_.now_ms(env_.steady_ns());
}

} // namespace muster
