// SPDX-License-Identifier: Apache-2.0

// What is asked about pods, and what is on disk about them.

#include "actors/pod/pod_table.hpp"

#include "messages/receipt.hpp"
#include "messages/scope_json.hpp"
#include "messages/utc.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

namespace muster {

namespace {

failure unknown(const std::string& name) {
  return {errc::not_found,
          fmt::format("no spawned pod named '{}'; 'muster pod list' shows "
                      "those that live",
                      name)};
}

/// One that does not live any more, and of which it is known how it ended.
failure gone(const ended_pod& x) {
  return {errc::not_found,
          fmt::format("pod '{}' lives no more: {}", x.record.name, x.end)};
}

std::string damage_of(const broken_pod& x) {
  return fmt::format("its record is damaged: {}", x.why);
}

/// A text of an entry of which not all is right.
std::string text_or(const json& entry, const char* name, std::string other) {
  auto i = entry.find(name);
  auto is_fine = i != entry.end() && i->is_string()
                 && !i->get_ref<const std::string&>().empty();
  return is_fine ? i->get<std::string>() : std::move(other);
}

/// Whether a pod runs what is asked for.
bool runs_same(const pod_record& x, const pod_order& order) {
  return x.kind == order.kind && x.sandbox == order.sandbox
         && x.command == order.command;
}

failure closing() {
  return {errc::shutting_down,
          "the node is about to stop and takes no new work"};
}

} // namespace

pod_table::pod_table(const pod_settings& settings, environment env)
  : settings_(settings), env_(std::move(env)),
    scopes_(pod_operator, settings.grant) {
  // nop
}

// -- coming to be -------------------------------------------------------------

pod::effects pod_table::load(const expected<std::string>& text) {
  if (closing_)
    return take_effects();
  auto path = settings_.folder + "/pods.json";
  auto read = text.and_then([&](auto& x) -> expected<pod_document> {
    return x.empty() ? pod_document{} : read_pod_document(x, path);
  });
  loaded_ = true;
  auto fine = read.and_then([&](auto& x) { return restore(std::move(x)); });
  if (!fine) {
    broken_ = fine.error();
    if (text)
      emit(pod::keep_copy{*text});
    emit(pod::warn{broken_->message});
    for (auto& request : std::exchange(early_, {}))
      refuse(request.from, *broken_);
  }
  return take_effects();
}

expected<void> pod_table::restore(pod_document document) {
  if (!document.scopes.allocations.empty())
    if (auto fine = scopes_.restore(document.scopes); !fine)
      return fine;
  others_ = std::move(document.others);
  broken_pods_ = std::move(document.broken);
  ended_ = {std::make_move_iterator(document.ended.begin()),
            std::make_move_iterator(document.ended.end())};
  std::set<std::string> known{pod_operator};
  for (auto& x : broken_pods_) {
    known.insert(x.name);
    emit(pod::warn{fmt::format("the record of pod '{}' is damaged: {}; it is "
                               "kept, and what it was lent stays lent",
                               x.name, x.why)});
  }
  auto limit = after(settings_.probe_timeout);
  for (auto& record : document.pods) {
    known.insert(record.name);
    names_[record.name] = record.id;
    auto& e = pods_[record.id];
    e.record = std::move(record);
    e.has_started = e.is_recorded = true;
    ++searching_;
    e.at = stage::searching;
    move_to(e, stage::searching, limit);
    look(e);
  }
  // What belongs to nobody comes back; a damaged record may be of anybody.
  for (auto& x : scopes_.listing().allocations)
    if (broken_pods_.empty() && !known.contains(x.name)
        && scopes_.release(x.name))
      dirty_ = true;
  return {};
}

void pod_table::check_ready() {
  if (ready_ || broken_ || !loaded_ || searching_ > 0)
    return;
  ready_ = true;
  for (auto& request : std::exchange(early_, {}))
    request.what();
}

// -- requests -----------------------------------------------------------------

pod::effects pod_table::enter(pod::ticket from, std::function<void()> what) {
  ++waiting_;
  if (closing_)
    refuse(from, closing());
  else if (broken_)
    refuse(from, *broken_);
  else if (waiting_ > settings_.max_waiting)
    refuse(from, {errc::overloaded,
                  fmt::format("{} requests wait for pods, as many as "
                              "pods.max-waiting allows",
                              settings_.max_waiting)});
  else if (!ready_)
    early_.push_back({from, std::move(what)});
  else
    what();
  return take_effects();
}

pod::effects pod_table::list(pod::ticket from, const std::string& by) {
  return enter(from, [=, this] {
    pod::reply_list out{from, {}};
    for (auto& [id, e] : pods_)
      if (by == pod_operator || lender_of(e.record.name) == by)
        out.pods.push_back(view_of(e));
    for (auto& x : broken_pods_)
      if (by == pod_operator) {
        pod_view view;
        view.name = x.name;
        view.id = x.id;
        view.phase = pod_phase::unreachable;
        view.lender = lender_of(x.name);
        view.last_error = damage_of(x);
        out.pods.push_back(std::move(view));
      }
    std::stable_sort(out.pods.begin(), out.pods.end(), [](auto& a, auto& b) {
      return a.created_at < b.created_at;
    });
    answer(std::move(out));
  });
}

pod::effects pod_table::spawn(pod::ticket from, const std::string& by,
                              const pod_order& order,
                              const std::string& request_id) {
  return enter(from, [=, this] { spawn_now(from, by, order, request_id); });
}

void pod_table::spawn_now(pod::ticket from, const std::string& by,
                          const pod_order& order,
                          const std::string& request_id) {
  if (auto wrong = check_request_id(request_id)) {
    refuse(from, *wrong);
    return;
  }
  auto is_repeat = [&](const pod_record& x, const std::string& lender) {
    return request_id != once && x.request_id == request_id && lender == by;
  };
  auto refuse_other = [&] {
    refuse(from,
           {errc::conflict,
            fmt::format("the request '{}' has started pod '{}' with another "
                        "program; take another request id, and another name",
                        request_id, order.name)});
  };
  if (auto* e = find_named(by, order.name);
      e && is_repeat(e->record, lender_of(order.name))) {
    if (runs_same(e->record, order))
      answer_with(from, *e);
    else
      refuse_other();
    return;
  }
  if (auto* old = find_ended(by, order.name);
      old && is_repeat(old->record, old->lender)) {
    if (runs_same(old->record, order))
      answer_when_saved(from, pod::reply_pod{from, view_of(*old)});
    else
      refuse_other();
    return;
  }
  if (auto made = make(by, order, request_id))
    (*made)->spawners.push_back(from);
  else
    refuse(from, made.error());
}

void pod_table::answer_with(pod::ticket from, entry& e) {
  // One that a restart of the node has undone is on its way out.
  if (!e.record.was_ready)
    e.spawners.push_back(from);
  else
    answer_when_saved(from, pod::reply_pod{from, view_of(e)});
}

expected<void> pod_table::check_order(const pod_order& order) const {
  if (auto fine = check_pod_name(order.name); !fine)
    return fine;
  if (order.task.size() > settings_.max_text_bytes)
    return fail(errc::too_large,
                fmt::format("the task of pod '{}' has {} bytes, and {} are the "
                            "limit (pods.max-text)",
                            order.name, order.task.size(),
                            settings_.max_text_bytes));
  // All of its ids have the same length.
  auto sock = folder_of(make_pod_id(order.name, 0)) + "/sock";
  if (order.kind == pod_class::protocol && sock.size() > max_socket_path)
    return fail(errc::invalid_argument,
                fmt::format("the socket '{}' has a path of {} bytes, and {} "
                            "are the limit; use a shorter name or --state-dir",
                            sock, sock.size(), max_socket_path));
  return {};
}

expected<pod_table::entry*> pod_table::make(const std::string& by,
                                            const pod_order& order,
                                            const std::string& request_id) {
  if (auto fine = check_order(order); !fine)
    return tl::unexpected<failure>{fine.error()};
  auto is_taken = names_.contains(order.name)
                  || std::any_of(broken_pods_.begin(), broken_pods_.end(),
                                 [&](auto& x) { return x.name == order.name; });
  if (is_taken)
    return fail(errc::conflict,
                fmt::format("pod '{}' lives already; stop it, or use another "
                            "name",
                            order.name));
  if (pods_.size() >= settings_.max_pods)
    return fail(errc::overloaded,
                fmt::format("there are {} pods, as many as pods.max-pods "
                            "allows",
                            pods_.size()));
  if (auto i = names_.find(by); i != names_.end()) {
    auto& lender = find(i->second)->record;
    // Whoever is confined could do by another pod whatever it may not itself.
    if (order.sandbox > lender.sandbox)
      return fail(errc::not_allowed,
                  fmt::format("the sandbox of pod '{}' cannot be '{}': that of "
                              "'{}', which lends to it, is '{}'",
                              order.name, to_string(order.sandbox), by,
                              to_string(lender.sandbox)));
    if (lender.notices.size() >= max_notices)
      return fail(errc::overloaded,
                  fmt::format("pod '{}' has {} notices to confirm, which is "
                              "the limit",
                              by, max_notices));
  }
  auto bits = env_.random();
  auto id = make_pod_id(order.name, bits[0]);
  lend_request request;
  request.lender = by;
  request.borrower = order.name;
  request.own.allow = order.scope;
  request.delegation = order.delegation;
  auto lent = scopes_.lend(request, [this] {
    auto x = env_.random();
    return fmt::format("l-{:016x}{:016x}", x[0], x[1]);
  });
  if (!lent)
    return tl::unexpected<failure>{lent.error()};
  auto& e = pods_[id];
  e.order = order;
  e.is_new = true;
  e.newest_turn = 0;
  e.record.id = id;
  e.record.name = order.name;
  e.record.kind = order.kind;
  e.record.sandbox = order.sandbox;
  e.record.cwd = order.cwd;
  e.record.command = order.command;
  e.record.created_at = utc_text(env_.wall_ms());
  e.record.request_id = request_id;
  names_[order.name] = id;
  record(e);
  return &e;
}

pod::effects pod_table::send(pod::ticket from, const std::string& by,
                             const std::string& name, const std::string& text,
                             const std::string& request_id) {
  return enter(from, [=, this] { send_now(from, by, name, text, request_id); });
}

void pod_table::send_now(pod::ticket from, const std::string& by,
                         const std::string& name, const std::string& text,
                         const std::string& request_id) {
  auto* e = find_named(by, name);
  if (auto wrong = check_request_id(request_id)) {
    refuse(from, *wrong);
  } else if (!e) {
    auto* old = find_ended(by, name);
    refuse(from, old ? gone(*old) : unknown(name));
  } else if (e->record.kind == pod_class::plain) {
    refuse(from, {errc::invalid_argument,
                  fmt::format("pod '{}' is a plain program, which hears "
                              "nothing; what it says stands in '{}/output.log'",
                              name, folder_of(e->record.id))});
  } else if (text.size() > settings_.max_text_bytes) {
    refuse(from, {errc::too_large,
                  fmt::format("the text has {} bytes, and {} are the limit "
                              "(pods.max-text)",
                              text.size(), settings_.max_text_bytes)});
  } else if (!is_utf8(text)) {
    refuse(from, {errc::not_utf8, "the text is no UTF-8"});
  } else if (e->at != stage::live) {
    refuse(from, {errc::unreachable, fmt::format("pod '{}' is {}", name,
                                                 to_string(phase_of(*e)))});
  } else {
    auto x = env_.random();
    auto id = request_id != once ? request_id
                                 : fmt::format("r-{:016x}{:016x}", x[0], x[1]);
    auto* lender = lender_entry(name);
    begin_run(*e, id, text, {from, 0, !lender || lender->record.name == by});
  }
}

pod::effects pod_table::read(pod::ticket from, const std::string& by,
                             const std::string& name, const std::string& reader,
                             const std::optional<output_cursor>& at) {
  return enter(from, [=, this] { read_now(from, by, name, reader, at); });
}

void pod_table::read_now(pod::ticket from, const std::string& by,
                         const std::string& name, const std::string& reader,
                         const std::optional<output_cursor>& at) {
  if (reader != pod_operator)
    if (auto fine = check_pod_name(reader); !fine) {
      refuse(from, fine.error());
      return;
    }
  auto* e = find_named(by, name);
  auto* old = e ? nullptr : find_ended(by, name);
  if (!e && !old) {
    refuse(from, unknown(name));
    return;
  }
  auto& record = e ? e->record : old->record;
  if (record.kind == pod_class::plain) {
    refuse(from, {errc::invalid_argument,
                  fmt::format("pod '{}' is a plain program, whose output is "
                              "not kept by turns; it stands in "
                              "'{}/output.log'",
                              name, folder_of(record.id))});
    return;
  }
  auto known = record.cursors.find(reader);
  constexpr std::size_t max_readers = 64;
  if (!at && known == record.cursors.end()
      && record.cursors.size() >= max_readers) {
    refuse(from, {errc::overloaded,
                  fmt::format("pod '{}' has {} readers, which is the limit",
                              name, max_readers)});
    return;
  }
  if (!at && !readers_.emplace(record.id, reader).second) {
    refuse(from,
           {errc::busy, fmt::format("'{}' reads the output of pod '{}' already",
                                    reader, name)});
    return;
  }
  auto cursor = at                              ? *at
                : known != record.cursors.end() ? known->second
                                                : output_cursor{};
  reads_[from] = {record.id, name, reader, cursor, !at};
  emit(pod::read_output{from, record.id, cursor, settings_.max_read_bytes});
}

pod::effects pod_table::output_read(pod::ticket to,
                                    const expected<output_piece>& piece) {
  auto i = reads_.find(to);
  if (i == reads_.end())
    return take_effects();
  auto read = std::move(i->second);
  reads_.erase(i);
  auto* e = find(read.id);
  auto old = std::find_if(ended_.begin(), ended_.end(),
                          [&](auto& x) { return x.record.id == read.id; });
  auto release = [this, read] {
    if (read.advances)
      readers_.erase({read.id, read.reader});
  };
  if (!piece || (!e && old == ended_.end())) {
    release();
    refuse(to, piece ? unknown(read.name) : piece.error());
    return take_effects();
  }
  pod_output out;
  out.name = read.name;
  out.phase = e ? phase_of(*e) : pod_phase::ended;
  out.texts = piece->texts;
  out.from = read.from;
  out.to = piece->to;
  out.skipped = piece->skipped;
  out.more = piece->more;
  pod::reply_output reply{to, std::move(out)};
  if (!read.advances || piece->to == read.from) {
    release();
    answer(std::move(reply));
    return take_effects();
  }
  auto set = [this, id = read.id, reader = read.reader](output_cursor at) {
    if (auto* alive = find(id)) {
      alive->record.cursors[reader] = at;
      change(*alive);
    }
    for (auto& x : ended_)
      if (x.record.id == id) {
        x.record.cursors[reader] = at;
        dirty_ = true;
      }
  };
  set(piece->to);
  // The next one of this reader waits until this one is on disk.
  next_.answers.push_back({to, std::move(reply), [=] { set(read.from); }});
  readers_out_.emplace(to, std::pair{read.id, read.reader});
  return take_effects();
}

pod::effects pod_table::stop(pod::ticket from, const std::string& by,
                             const std::string& name) {
  return enter(from, [=, this] { stop_now(from, by, name); });
}

void pod_table::stop_now(pod::ticket from, const std::string& by,
                         const std::string& name) {
  if (auto* e = find_named(by, name)) {
    e->stoppers.push_back(from);
    begin_stop(*e, {errc::conflict, fmt::format("pod '{}' was stopped", name)},
               settings_.stop);
    return;
  }
  auto damaged = std::find_if(broken_pods_.begin(), broken_pods_.end(),
                              [&](auto& x) { return x.name == name; });
  if (by == pod_operator && damaged != broken_pods_.end()) {
    stop_broken(from, damaged);
    return;
  }
  if (auto* old = find_ended(by, name))
    answer_when_saved(from,
                      pod::reply_stop{from, {name, old->reclaimed, old->end}});
  else
    refuse(from, unknown(name));
}

void pod_table::stop_broken(pod::ticket from,
                            std::vector<broken_pod>::iterator pod) {
  auto fine = check_pod_name(pod->name);
  if (!fine || !is_pod_id(pod->id, pod->name)) {
    refuse(from, {errc::registry_corrupted,
                  fmt::format("the record of pod '{}' is damaged: {}; nor does "
                              "it say which processes are of that pod: end "
                              "them, stop the node, and take the entry out of "
                              "'{}/pods.json'",
                              pod->name, pod->why, settings_.folder)});
    return;
  }
  auto& e = pods_[pod->id];
  e.record.id = pod->id;
  e.record.name = pod->name;
  e.record.request_id = once;
  e.record.cwd = text_or(pod->entry, "cwd", "/");
  e.record.created_at
    = text_or(pod->entry, "created_at", utc_text(env_.wall_ms()));
  e.record.was_ready = true;
  e.record.last_error = damage_of(*pod);
  if (auto who = pod->entry.find("process"); who != pod->entry.end())
    if (auto known = process_identity_from(*who))
      e.record.who = std::move(*known);
  e.damaged = std::move(pod->entry);
  e.is_released = true;
  e.why = failure{errc::registry_corrupted, "its record was damaged"};
  e.stoppers.push_back(from);
  names_[e.record.name] = e.record.id;
  broken_pods_.erase(pod);
  begin_sweep(e);
}

pod::effects pod_table::scopes(pod::ticket from) {
  return enter(from, [=, this] {
    answer(pod::reply_scopes{from, scopes_.listing()});
  });
}

pod::effects pod_table::holders(pod::ticket from, const std::string& path) {
  return enter(from, [=, this] {
    answer(pod::reply_holders{from, scopes_.holders_of(path)});
  });
}

pod::effects pod_table::tick(pod::ticket from) {
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
  std::vector<entry*> again;
  for (auto& [id, e] : pods_)
    if ((e.at == stage::unreachable && e.connection == 0)
        || e.at == stage::sweeping
        || (e.at == stage::live && e.is_behind && e.runs.empty()
            && has_room(e)))
      again.push_back(&e);
  for (auto* e : closing_ ? std::vector<entry*>{} : again) {
    ++count;
    if (e->at == stage::sweeping)
      begin_sweep(*e);
    else if (e->is_behind)
      disconnect(*e, {errc::connection_lost, "it has to say events again"});
    else if (!e->is_held)
      look(*e);
    else
      seek(*e, after(settings_.probe_timeout));
  }
  answer(pod::reply_count{from, count});
  return take_effects();
}

pod::effects pod_table::shut_down(pod::ticket from) {
  ++waiting_;
  if (closing_) {
    refuse(from, {errc::conflict, "the pods are let go already"});
    return take_effects();
  }
  closing_ = from;
  for (auto& request : std::exchange(early_, {}))
    refuse(request.from, closing());
  for (auto& [to, read] : std::exchange(reads_, {}))
    refuse(to, closing());
  std::vector<entry*> unready;
  for (auto& [id, e] : pods_) {
    for (auto to : std::exchange(e.spawners, {}))
      refuse(to, closing());
    for (auto to : std::exchange(e.stoppers, {}))
      refuse(to, closing());
    for (auto& [run, x] : std::exchange(e.runs, {}))
      if (x.from != 0)
        refuse(x.from, closing());
    hang_up(e);
    if (e.at == stage::intending)
      unready.push_back(&e);
  }
  // Those that did not start their program end with this; those that are not
  // ready are found by the next node, and ended.
  emit(pod::let_go{});
  for (auto* e : unready)
    drop(*e);
  return take_effects();
}

// -- what the disk did --------------------------------------------------------

pod::effects pod_table::saved(const expected<void>& result) {
  writing_ = false;
  auto done = std::exchange(out_, {});
  if (result)
    ++counters_.saves;
  else
    ++counters_.failed_saves;
  unsaved_ = !result;
  for (auto& x : done.answers) {
    if (auto reader = readers_out_.extract(x.to); !reader.empty())
      readers_.erase(reader.mapped());
    if (result) {
      answer(std::move(x.reply));
    } else {
      if (x.undo)
        x.undo();
      refuse(x.to, result.error());
    }
  }
  auto& then = result ? effects_ : next_.then;
  then.insert(then.end(), std::make_move_iterator(done.then.begin()),
              std::make_move_iterator(done.then.end()));
  for (auto& id : done.pods) {
    auto* e = find_live(id);
    if (!e || !e->is_new)
      continue;
    if (!result) {
      fail_start(*e, result.error());
    } else if (e->at == stage::intending) {
      emit(pod::start{id, e->order});
    } else {
      e->is_recorded = true;
      advance(*e);
    }
  }
  if (!dirty_ && result)
    for (auto& id : std::exchange(listeners_, {}))
      if (auto* e = find_live(id))
        tell(*e);
  return take_effects();
}

void pod_table::write_if_due() {
  if (!dirty_ || writing_ || !loaded_ || broken_)
    return;
  dirty_ = unsaved_ = false;
  writing_ = true;
  out_ = std::exchange(next_, {});
  emit(pod::save{document(), mirror()});
}

std::string pod_table::document() {
  std::vector<std::string> texts;
  std::vector<std::string_view> pods;
  std::vector<std::string_view> ended;
  texts.reserve(ended_.size() + broken_pods_.size());
  for (auto& [id, e] : pods_) {
    if (e.text.empty())
      e.text = e.damaged.is_null() ? render(e.record) : e.damaged.dump();
    pods.push_back(e.text);
  }
  for (auto& x : broken_pods_)
    pods.push_back(texts.emplace_back(x.entry.dump()));
  for (auto& x : ended_)
    ended.push_back(texts.emplace_back(render(x)));
  return render_pods(others_, scopes_.listing(), pods, ended);
}

std::string pod_table::mirror() const {
  auto out = json::array();
  for (auto& [id, e] : pods_)
    if (auto* x = scopes_.find(e.record.name))
      out.push_back({{"pod_name", e.record.name},
                     {"socket_path", folder_of(id) + "/sock"},
                     {"scope_delegated", rules_json(x->own.allow)},
                     {"callback_address", ""}});
  return out.dump(2);
}

// -- parts --------------------------------------------------------------------

pod_table::entry* pod_table::find(const std::string& id) {
  auto i = pods_.find(id);
  return i != pods_.end() ? &i->second : nullptr;
}

pod_table::entry* pod_table::find_live(const std::string& id) {
  return closing_ ? nullptr : find(id);
}

pod_table::entry* pod_table::find_live(const std::string& id,
                                       connection_id on) {
  auto* e = find_live(id);
  return e && e->connection == on ? e : nullptr;
}

pod_table::entry* pod_table::find_named(const std::string& by,
                                        const std::string& name) {
  auto i = names_.find(name);
  if (i == names_.end() || (by != pod_operator && lender_of(name) != by))
    return nullptr;
  return find(i->second);
}

ended_pod* pod_table::find_ended(const std::string& by,
                                 const std::string& name) {
  auto i = std::find_if(ended_.rbegin(), ended_.rend(), [&](auto& x) {
    return x.record.name == name && (by == pod_operator || x.lender == by);
  });
  return i != ended_.rend() ? &*i : nullptr;
}

std::string pod_table::lender_of(const std::string& name) const {
  auto* x = scopes_.find(name);
  return x ? x->lender : std::string{};
}

pod_table::entry* pod_table::lender_entry(const std::string& name) {
  auto i = names_.find(lender_of(name));
  return i != names_.end() ? find(i->second) : nullptr;
}

pod_phase pod_table::phase_of(const entry& e) {
  switch (e.at) {
    case stage::live:
      return pod_phase::ready;
    case stage::unreachable:
      return pod_phase::unreachable;
    case stage::stopping:
    case stage::sweeping:
      return pod_phase::stopping;
    default:
      return pod_phase::starting;
  }
}

pod_view pod_table::view_of(const pod_record& x, pod_phase phase) const {
  pod_view out;
  out.name = x.name;
  out.id = x.id;
  out.phase = phase;
  out.kind = x.kind;
  out.folder = folder_of(x.id);
  if (x.kind == pod_class::protocol)
    out.socket = out.folder + "/sock";
  out.sandbox = x.enforced;
  out.created_at = x.created_at;
  out.turns = x.turns;
  out.last_error = x.last_error;
  return out;
}

pod_view pod_table::view_of(const entry& e) const {
  auto out = view_of(e.record, phase_of(e));
  if (e.record.who)
    out.pid = e.record.who->pid;
  if (auto* own = scopes_.find(e.record.name)) {
    out.scope = own->own.allow;
    out.lender = own->lender;
  }
  return out;
}

pod_view pod_table::view_of(const ended_pod& x) const {
  auto out = view_of(x.record, pod_phase::ended);
  out.scope = x.reclaimed;
  out.lender = x.lender;
  out.last_error = x.end;
  return out;
}

std::string pod_table::folder_of(const std::string& id) const {
  return fmt::format("{}/run/{}", settings_.folder, id);
}

void pod_table::move_to(entry& e, stage at, std::int64_t limit_ns) {
  auto& id = e.record.id;
  if (e.at == stage::searching && at != stage::searching)
    --searching_;
  e.at = at;
  if (e.limit_ns != limit_ns) {
    limits_.erase({e.limit_ns, id});
    e.limit_ns = limit_ns;
    if (limit_ns != 0)
      limits_.emplace(limit_ns, id);
  }
}

void pod_table::change(entry& e) {
  e.text.clear();
  dirty_ = true;
}

void pod_table::record(entry& e) {
  change(e);
  next_.pods.push_back(e.record.id);
}

std::int64_t pod_table::after(std::chrono::milliseconds time) const {
  return env_.steady_ns() + std::chrono::nanoseconds(time).count();
}

// -- answering ----------------------------------------------------------------

void pod_table::answer(pod::effect reply) {
  --waiting_;
  effects_.push_back(std::move(reply));
}

void pod_table::answer_when_saved(pod::ticket to, pod::effect reply) {
  if (needs_write())
    next_.answers.push_back({to, std::move(reply), nullptr});
  else if (writing_)
    out_.answers.push_back({to, std::move(reply), nullptr});
  else
    answer(std::move(reply));
}

bool pod_table::needs_write() {
  // Whoever waits for what the disk refused tries that again.
  dirty_ = dirty_ || unsaved_;
  return dirty_;
}

void pod_table::refuse(pod::ticket to, failure why) {
  answer(pod::reply_refusal{to, std::move(why)});
}

pod::effects pod_table::take_effects() {
  check_ready();
  write_if_due();
  if (closing_ && !writing_)
    if (auto to = std::exchange(*closing_, 0); to != 0)
      answer(pod::reply_stopped{to});
  return std::exchange(effects_, {});
}

json pod_table::status() const {
  json phases = json::object();
  for (auto phase : {pod_phase::starting, pod_phase::ready,
                     pod_phase::unreachable, pod_phase::stopping})
    phases[to_string(phase)] = 0;
  for (auto& [id, e] : pods_) {
    auto& count = phases[to_string(phase_of(e))];
    count = count.get<std::uint64_t>() + 1;
  }
  json out{{"pods", std::move(phases)},
           {"ready", ready_},
           {"waiting", waiting_},
           {"damaged", broken_pods_.size()},
           {"reclaimed_at_start", reclaimed_},
           {"started", counters_.started},
           {"failed", counters_.failed},
           {"found", counters_.found},
           {"ended", counters_.ended},
           {"stopped", counters_.stopped},
           {"hung", counters_.hung},
           {"saves", counters_.saves},
           {"failed_saves", counters_.failed_saves}};
  if (broken_)
    out["error"] = broken_->message;
  return out;
}

} // namespace muster
