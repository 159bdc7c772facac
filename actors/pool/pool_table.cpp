// SPDX-License-Identifier: Apache-2.0

#include "actors/pool/pool_table.hpp"

#include "messages/receipt.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace muster {

namespace {

failure stopped_by_request(const std::string& sid) {
  return {errc::conflict, fmt::format("worker '{}' was stopped", sid)};
}

} // namespace

pool_table::pool_table(const pool_settings& settings, environment env)
  : settings_(settings), env_(std::move(env)) {
  // nop
}

// -- coming to be -------------------------------------------------------------

pool::effects pool_table::load(const expected<std::string>& text) {
  if (closing_)
    return take_effects();
  auto path = settings_.folder + "/registry.json";
  auto read = text.and_then([&](auto& x) -> expected<pool_document> {
    return x.empty() ? pool_document{} : read_pool_document(x, path);
  });
  loaded_ = true;
  if (!read) {
    broken_ = read.error();
    if (text)
      emit(pool::keep_copy{*text});
    emit(pool::warn{broken_->message});
    for (auto& request : std::exchange(early_, {}))
      refuse(request.from, *broken_);
    return take_effects();
  }
  others_ = std::move(read->others);
  for (auto& x : read->refused) {
    emit(
      pool::warn{fmt::format("worker '{}' was taken out: {}", x.sid, x.why)});
    remove_socket(x.sid, x.sock);
    ++counters_.pruned;
    dirty_ = true;
  }
  auto limit = env_.steady_ns()
               + std::chrono::nanoseconds(settings_.probe_timeout).count();
  for (auto& record : read->records) {
    auto& w = workers_[record.sid];
    w.who = record.who;
    w.record = std::move(record);
    w.unused_since_ns = env_.steady_ns();
    set_session(w, w.record.session);
    ++searching_;
    move_to(w, stage::searching, limit);
    if (w.record.is_identified())
      emit(pool::look{w.record.sid, w.record.pid});
    else
      begin_search(w, limit);
  }
  return take_effects();
}

void pool_table::check_ready() {
  if (ready_ || broken_ || !loaded_ || searching_ > 0)
    return;
  ready_ = true;
  pool::sweep_sockets sweep;
  for (auto& [sid, w] : workers_)
    sweep.kept.insert(w.record.sock);
  emit(std::move(sweep));
  for (auto& request : std::exchange(early_, {}))
    request.what();
}

// -- requests -----------------------------------------------------------------

pool::effects pool_table::enter(pool::ticket from, std::function<void()> what) {
  ++waiting_;
  if (closing_)
    refuse(from, {errc::shutting_down,
                  "the node is about to stop and takes no new work"});
  else if (broken_)
    refuse(from, *broken_);
  else if (waiting_ > settings_.max_waiting)
    refuse(from, {errc::overloaded,
                  fmt::format("{} requests wait for workers, as many as "
                              "pool.max-waiting allows",
                              settings_.max_waiting)});
  else if (!ready_)
    early_.push_back({from, std::move(what)});
  else
    what();
  return take_effects();
}

pool::effects pool_table::list(pool::ticket from) {
  return enter(from, [=, this] { list_now(from); });
}

void pool_table::list_now(pool::ticket from) {
  pool::reply_list out{from, {}};
  for (auto& [sid, w] : workers_)
    if (w.at != stage::queued)
      out.workers.push_back(view_of(w));
  std::stable_sort(
    out.workers.begin(), out.workers.end(),
    [](auto& a, auto& b) { return a.created_at < b.created_at; });
  answer_when_saved(std::move(out));
}

pool::effects pool_table::spawn(pool::ticket from,
                                const std::string& request_id) {
  return enter(from, [=, this] { spawn_now(from, request_id); });
}

void pool_table::spawn_now(pool::ticket from, const std::string& request_id) {
  if (auto wrong = check_request_id(request_id)) {
    refuse(from, *wrong);
    return;
  }
  if (request_id != once)
    if (auto* w = find_request(request_id)) {
      answer_with(from, *w);
      return;
    }
  if (auto made = make_worker(request_id))
    (*made)->spawners.push_back(from);
  else
    refuse(from, made.error());
}

pool_table::worker* pool_table::find_request(const std::string& request_id) {
  for (auto& [sid, w] : workers_)
    if (w.record.request_id == request_id)
      return &w;
  return nullptr;
}

void pool_table::answer_with(pool::ticket from, worker& w) {
  if (w.is_new)
    w.spawners.push_back(from);
  else
    answer_when_saved(pool::reply_worker{from, view_of(w)});
}

pool::effects pool_table::take(pool::ticket from, const std::string& session,
                               std::uint64_t seq) {
  return enter(from, [=, this] { take_now(from, session, seq); });
}

void pool_table::take_now(pool::ticket from, const std::string& session,
                          std::uint64_t seq) {
  refuse_take(session, {errc::conflict,
                        fmt::format("session '{}' asked for a worker again, "
                                    "and its later request counts",
                                    session)});
  takes_[session] = {from, seq};
  settle(session);
}

void pool_table::settle(const std::string& session) {
  auto i = takes_.find(session);
  if (i == takes_.end())
    return;
  auto [holder, last] = by_session_.equal_range(session);
  if (holder != last && std::next(holder) != last) {
    // Nobody knows which one is right, so none of them is.
    stop_holders(session);
    return;
  }
  if (holder != last) {
    settle(i->second, workers_.at(holder->second));
    return;
  }
  if (!idle_.empty()) {
    auto& w = workers_.at(*idle_.begin());
    set_session(w, session);
    record(w, stage::recording);
    return;
  }
  if (auto made = make_worker(once))
    set_session(**made, session);
  else
    refuse_take(session, made.error());
}

void pool_table::settle(const waiting_take& take, worker& holder) {
  switch (holder.at) {
    case stage::resting: {
      auto& standing = holder.standing;
      auto has_session = standing.session_id == holder.record.session;
      if (has_session && standing.at_rest && standing.seq == take.seq)
        lease(take, holder, true);
      else if (!standing.session_id && holder.is_fresh)
        lease(take, holder, false);
      else
        begin_stop(holder, stopped_by_request(holder.record.sid));
      break;
    }
    case stage::leased:
    case stage::mismatched:
    case stage::unreachable:
      begin_stop(holder, stopped_by_request(holder.record.sid));
      break;
    case stage::stopping:
      if (holder.reported)
        refuse_take(*holder.record.session, *holder.reported);
      break;
    default:
      // It is on its way, and settles this when it has come.
      break;
  }
}

void pool_table::lease(const waiting_take& take, worker& w, bool has_session) {
  worker_lease out{w.record.sid, w.connection, has_session, 0};
  if (auto crash = crashes_.extract(*w.record.session); !crash.empty())
    out.crashed_by = crash.mapped();
  answer(pool::reply_lease{take.from, std::move(out)});
  takes_.erase(*w.record.session);
  ++counters_.leases;
  w.is_fresh = false;
  w.standing = {};
  move_to(w, stage::leased);
}

void pool_table::refuse_take(const std::string& session, const failure& why) {
  if (auto i = takes_.find(session); i != takes_.end()) {
    auto from = i->second.from;
    takes_.erase(i);
    refuse(from, why);
  }
}

void pool_table::stop_holders(const std::string& session) {
  auto [holder, last] = by_session_.equal_range(session);
  std::vector<std::string> sids;
  for (; holder != last; ++holder)
    sids.push_back(holder->second);
  for (auto& sid : sids)
    begin_stop(workers_.at(sid), stopped_by_request(sid));
}

pool::effects pool_table::release(const std::string& sid,
                                  const std::string& session) {
  auto* w = find_live(sid);
  if (w && w->at == stage::leased && w->record.session == session)
    begin_stop(*w, stopped_by_request(sid));
  // Of those that are still looked for, the first list tells.
  if (sid.empty() && ready_ && !closing_) {
    refuse_take(
      session, {errc::conflict,
                fmt::format("session '{}' needs no worker any more", session)});
    stop_holders(session);
  }
  return take_effects();
}

pool::effects pool_table::lose_lease(const std::string& sid,
                                     const std::string& session,
                                     const failure& why) {
  auto* w = find_live(sid);
  if (w && w->at == stage::leased && w->record.session == session) {
    w->has_failed = true;
    begin_stop(*w, {why.code, fmt::format("worker '{}' failed its session: {}",
                                          sid, why.message)});
  }
  return take_effects();
}

pool::effects pool_table::stop(pool::ticket from, const std::string& prefix) {
  return enter(from, [=, this] { stop_now(from, prefix); });
}

void pool_table::stop_now(pool::ticket from, const std::string& prefix) {
  std::vector<std::string> sids;
  if (find(prefix))
    sids.push_back(prefix);
  else
    for (auto i = workers_.lower_bound(prefix);
         i != workers_.end() && i->first.starts_with(prefix); ++i)
      sids.push_back(i->first);
  if (!prefix.empty() && sids.size() > 1) {
    refuse(from,
           {errc::ambiguous,
            fmt::format("'{}' fits more than one worker, such as '{}' and "
                        "'{}'; give more of it",
                        prefix, sids[0], sids[1])});
    return;
  }
  // One more, so that it is not answered before all are told.
  stops_[from].open = sids.size() + 1;
  for (auto& sid : sids) {
    auto* w = find(sid);
    if (!w) {
      end_stop(from, sid, std::nullopt);
      continue;
    }
    w->stoppers.push_back(from);
    begin_stop(*w, stopped_by_request(sid));
  }
  end_stop(from, {}, std::nullopt);
}

void pool_table::end_stop(pool::ticket from, const std::string& sid,
                          std::optional<failure> why) {
  auto i = stops_.find(from);
  if (i == stops_.end())
    return;
  auto& reply = i->second.reply;
  if (why)
    reply.errors.push_back({sid, std::move(*why)});
  else if (!sid.empty())
    reply.stopped.push_back(sid);
  if (--i->second.open > 0)
    return;
  auto done = std::move(reply);
  stops_.erase(i);
  answer_when_saved(pool::reply_stop{from, std::move(done)});
}

pool::effects pool_table::collect(pool::ticket from) {
  return enter(from, [=, this] { collect_now(from); });
}

void pool_table::collect_now(pool::ticket from) {
  if (scan_) {
    scan_->tickets.push_back(from);
    return;
  }
  scan_.emplace().tickets.push_back(from);
  for (auto& [sid, w] : workers_)
    if (w.record.is_identified() && !w.is_new && w.at != stage::stopping) {
      scan_->open.insert(sid);
      emit(pool::look{sid, w.record.pid});
    }
  end_look({}, false);
}

void pool_table::end_look(const std::string& sid, bool is_dead) {
  if (!scan_)
    return;
  if (scan_->open.erase(sid) > 0 && is_dead)
    scan_->dead.push_back(sid);
  if (!scan_->open.empty())
    return;
  auto done = std::move(*scan_);
  scan_.reset();
  for (auto from : done.tickets)
    answer_when_saved(pool::reply_ids{from, done.dead});
}

pool::effects pool_table::tick(pool::ticket from) {
  ++waiting_;
  if (broken_) {
    refuse(from, *broken_);
    return take_effects();
  }
  std::uint64_t count = 0;
  // What the disk refused is tried again.
  if (std::exchange(unsaved_, false)) {
    dirty_ = true;
    ++count;
  }
  auto now = env_.steady_ns();
  auto patience = std::chrono::nanoseconds(settings_.idle_timeout).count();
  std::vector<worker*> lost;
  for (auto& [sid, w] : workers_)
    if (w.at == stage::unreachable && w.connection == 0)
      lost.push_back(&w);
  for (auto* w : closing_ ? std::vector<worker*>{} : lost) {
    ++count;
    if (w->is_held && now - w->unused_since_ns >= patience) {
      w->has_failed = true;
      begin_stop(*w, {errc::timeout, "nobody used it"});
    } else if (w->who)
      begin_search(
        *w, now + std::chrono::nanoseconds(settings_.probe_timeout).count());
    else
      emit(pool::look{w->record.sid, w->record.pid});
  }
  answer(pool::reply_count{from, count});
  return take_effects();
}

pool::effects pool_table::shut_down(pool::ticket from) {
  ++waiting_;
  if (closing_) {
    refuse(from, {errc::conflict, "the pool stops already"});
    return take_effects();
  }
  closing_ = from;
  failure why{errc::shutting_down,
              "the node is about to stop and takes no new work"};
  for (auto& request : std::exchange(early_, {}))
    refuse(request.from, why);
  for (auto& [session, take] : std::exchange(takes_, {}))
    refuse(take.from, why);
  for (auto& [to, x] : std::exchange(stops_, {}))
    refuse(to, why);
  if (auto open = std::exchange(scan_, {}))
    for (auto to : open->tickets)
      refuse(to, why);
  std::vector<worker*> unfound;
  for (auto& [sid, w] : workers_) {
    for (auto to : std::exchange(w.spawners, {}))
      refuse(to, why);
    w.stoppers.clear();
    hang_up(w);
    if (w.at <= stage::starting)
      unfound.push_back(&w);
  }
  // Those that are not ready end with this.
  emit(pool::let_go{});
  for (auto* w : unfound)
    drop(*w);
  return take_effects();
}

// -- what the disk did --------------------------------------------------------

pool::effects pool_table::saved(const expected<void>& result) {
  writing_ = false;
  auto done = std::exchange(out_, {});
  if (result)
    ++counters_.saves;
  else
    ++counters_.failed_saves;
  unsaved_ = !result;
  for (auto& sid : done.workers) {
    auto* w = find_live(sid);
    // It may have come to wait for another write since.
    if (!w || w->written_by != writes_
        || (w->at != stage::intending && w->at != stage::recording))
      continue;
    if (result)
      recorded(*w);
    else
      not_recorded(*w, result.error());
  }
  for (auto& reply : done.answers)
    answer(std::move(reply));
  return take_effects();
}

void pool_table::write_if_due() {
  if (!dirty_ || writing_ || !loaded_ || broken_)
    return;
  dirty_ = unsaved_ = false;
  writing_ = true;
  ++writes_;
  out_ = std::exchange(next_, {});
  emit(pool::save{document()});
}

std::string pool_table::document() {
  std::vector<std::string_view> sessions;
  std::vector<std::string_view> starting;
  for (auto& [sid, w] : workers_) {
    if (w.at == stage::queued)
      continue;
    if (w.text.empty())
      w.text = render(w.record);
    (w.record.is_identified() ? sessions : starting).push_back(w.text);
  }
  return render(others_, sessions, starting);
}

// -- parts --------------------------------------------------------------------

pool_table::worker* pool_table::find(const std::string& sid) {
  auto i = workers_.find(sid);
  return i != workers_.end() ? &i->second : nullptr;
}

pool_table::worker* pool_table::find_live(const std::string& sid) {
  return closing_ ? nullptr : find(sid);
}

pool_table::worker* pool_table::find_live(const std::string& sid,
                                          connection_id id) {
  auto* w = find_live(sid);
  return w && w->connection == id ? w : nullptr;
}

worker_phase pool_table::phase_of(const worker& w) {
  switch (w.at) {
    case stage::resting:
      return w.record.session ? worker_phase::busy : worker_phase::idle;
    case stage::leased:
      return worker_phase::busy;
    case stage::mismatched:
      return worker_phase::mismatched;
    case stage::unreachable:
      return worker_phase::unreachable;
    case stage::stopping:
      return worker_phase::stopping;
    case stage::recording:
      return w.is_new ? worker_phase::starting : worker_phase::busy;
    default:
      return worker_phase::starting;
  }
}

worker_view pool_table::view_of(const worker& w) {
  auto& x = w.record;
  return {x.sid,     x.pid,        x.session,    phase_of(w), x.sock,
          x.version, x.created_at, std::nullopt, std::nullopt};
}

void pool_table::move_to(worker& w, stage at, std::int64_t limit_ns) {
  auto& sid = w.record.sid;
  if (w.at == stage::searching && at != stage::searching)
    --searching_;
  w.at = at;
  if (w.limit_ns != limit_ns) {
    limits_.erase({w.limit_ns, sid});
    w.limit_ns = limit_ns;
    if (limit_ns != 0)
      limits_.emplace(limit_ns, sid);
  }
  if (at == stage::resting && !w.record.session)
    idle_.insert(sid);
  else
    idle_.erase(sid);
}

void pool_table::rest(worker& w) {
  auto now = env_.steady_ns();
  w.unused_since_ns = now;
  auto is_kept = is_slot_request(w.record.request_id);
  move_to(w, stage::resting,
          is_kept
            ? 0
            : now + std::chrono::nanoseconds(settings_.idle_timeout).count());
}

void pool_table::set_session(worker& w, std::optional<std::string> session) {
  auto& sid = w.record.sid;
  if (w.record.session) {
    auto [i, last] = by_session_.equal_range(*w.record.session);
    i = std::find_if(i, last, [&](auto& x) { return x.second == sid; });
    if (i != last)
      by_session_.erase(i);
  }
  w.record.session = std::move(session);
  if (w.record.session)
    by_session_.emplace(*w.record.session, sid);
}

void pool_table::change(worker& w) {
  w.text.clear();
  dirty_ = true;
}

void pool_table::record(worker& w, stage at) {
  change(w);
  next_.workers.push_back(w.record.sid);
  w.written_by = writes_ + 1;
  move_to(w, at);
}

void pool_table::hang_up(worker& w) {
  if (w.connection != 0)
    emit(pool::hang_up{w.connection});
  w.connection = 0;
  w.peer = 0;
  w.is_greeted = false;
  w.pings = {};
}

void pool_table::remove_socket(const std::string& sid,
                               const std::string& sock) {
  // The document may name any path; only sockets of ours are removed.
  if (sid.find('/') == std::string::npos
      && sock == fmt::format("{}/{}.sock", settings_.socket_folder(), sid))
    emit(pool::remove_socket{sock});
}

// -- answering ----------------------------------------------------------------

void pool_table::answer(pool::effect reply) {
  --waiting_;
  effects_.push_back(std::move(reply));
}

void pool_table::answer_when_saved(pool::effect reply) {
  if (dirty_)
    next_.answers.push_back(std::move(reply));
  else if (writing_)
    out_.answers.push_back(std::move(reply));
  else
    answer(std::move(reply));
}

void pool_table::refuse(pool::ticket to, failure why) {
  answer(pool::reply_refusal{to, std::move(why)});
}

pool::effects pool_table::take_effects() {
  check_ready();
  if (!closing_)
    start_queued();
  write_if_due();
  if (closing_ && !writing_)
    if (auto to = std::exchange(*closing_, 0); to != 0)
      answer(pool::reply_stopped{to});
  return std::exchange(effects_, {});
}

std::optional<process_identity>
pool_table::process_of(const std::string& sid) const {
  auto i = workers_.find(sid);
  return i != workers_.end() ? i->second.who : std::nullopt;
}

json pool_table::status() const {
  json phases = json::object();
  for (auto phase : {worker_phase::starting, worker_phase::idle,
                     worker_phase::busy, worker_phase::mismatched,
                     worker_phase::unreachable, worker_phase::stopping})
    phases[to_string(phase)] = 0;
  for (auto& [sid, w] : workers_) {
    auto& count = phases[to_string(phase_of(w))];
    count = count.get<std::uint64_t>() + 1;
  }
  json out{{"workers", std::move(phases)},
           {"ready", ready_},
           {"waiting", waiting_},
           {"started", counters_.started},
           {"failed", counters_.failed},
           {"found", counters_.found},
           {"lost", counters_.lost},
           {"stopped", counters_.stopped},
           {"hung", counters_.hung},
           {"pruned", counters_.pruned},
           {"leases", counters_.leases},
           {"saves", counters_.saves},
           {"failed_saves", counters_.failed_saves}};
  if (broken_)
    out["error"] = broken_->message;
  return out;
}

} // namespace muster
