// SPDX-License-Identifier: Apache-2.0

// What is said to a pod, and what it says.

#include "actors/pod/pod_table.hpp"

#include <fmt/format.h>

#include <type_traits>

namespace muster {

namespace {

/// Of an error that a pod reports.
constexpr std::size_t max_error_bytes = 4'096;

/// Why a pod that introduces itself like that cannot be talked to.
std::optional<failure> refuse_snapshot(const pod_record& x,
                                       const pod::snapshot& said) {
  if (said.protocol != pod::protocol_version)
    return failure{errc::version_mismatch,
                   fmt::format("pod '{}' speaks version {} of the protocol, "
                               "and this node version {}",
                               x.name, said.protocol, pod::protocol_version)};
  if (said.pod_name != x.name)
    return failure{errc::program_failed,
                   fmt::format("pod '{}' says that its name is '{}'", x.name,
                               std::string{utf8_prefix(said.pod_name, 60)})};
  return std::nullopt;
}

} // namespace

void pod_table::greet(entry& e) {
  e.is_greeted = false;
  emit(pod::send{e.record.id, e.connection, pod::ping{++e.last_ping}});
}

// -- turns --------------------------------------------------------------------

void pod_table::begin_run(entry& e, const std::string& id,
                          const std::string& text, waiting_run run) {
  run.limit_ns = after(settings_.send_timeout);
  if (!e.runs.emplace(id, run).second) {
    refuse(run.from, {errc::busy,
                      fmt::format("the request '{}' is on its way to pod '{}' "
                                  "already",
                                  id, e.record.name)});
    return;
  }
  run_limits_.emplace(run.limit_ns, e.record.id, id);
  emit(pod::send{e.record.id, e.connection, pod::run{id, text}});
}

void pod_table::end_run(entry& e, const std::string& id,
                        std::optional<failure> why, std::uint64_t turn) {
  auto i = e.runs.find(id);
  if (i == e.runs.end())
    return;
  auto run = i->second;
  run_limits_.erase({run.limit_ns, e.record.id, id});
  e.runs.erase(i);
  if (!why)
    note_turn(e, run.is_lenders, turn);
  if (run.from == 0) {
    // The pod of a slot does not remain: its group stops it.
    if (why && is_slot_request(e.record.request_id))
      e.task_failure = std::move(*why);
    else if (why)
      e.task_failure = failure{
        why->code, fmt::format("{}; the pod remains registered and can be "
                               "inspected or stopped",
                               why->message)};
    if (e.is_new && e.at == stage::tasking)
      become_ready(e);
  } else if (why) {
    refuse(run.from, std::move(*why));
  } else {
    answer(pod::reply_sent{run.from, turn});
  }
}

void pod_table::note_turn(entry& e, bool is_lenders, std::uint64_t turn) {
  // A repeat is answered with its turn, which may be over for long.
  if (e.newest_turn && turn <= *e.newest_turn)
    return;
  auto is_foreign = e.newest_turn && !is_lenders && !e.is_behind;
  e.foreign_turn = is_foreign ? turn : 0;
  e.newest_turn = turn;
}

void pod_table::drop_runs(entry& e, const std::string& why) {
  // Not `connection_lost`: the connection of the client is another matter, and
  // a client that took it for its own would repeat the text again and again.
  e.foreign_turn = 0;
  e.newest_turn.reset();
  while (!e.runs.empty())
    end_run(e, std::string{e.runs.begin()->first},
            failure{errc::program_failed,
                    fmt::format("pod '{}' did not confirm that it begins: {}",
                                e.record.name, why)},
            0);
}

// -- what a pod says ----------------------------------------------------------

pod::effects pod_table::heard(const std::string& id, connection_id on,
                              const expected<pod::from_pod>& what) {
  auto* e = find_live(id, on);
  if (!e)
    return take_effects();
  if (!what) {
    emit(pod::warn{fmt::format("pod '{}' said what is none of the protocol: {}",
                               e->record.name, what.error().message)});
    disconnect(*e, what.error());
    return take_effects();
  }
  if (auto* hello = std::get_if<pod::snapshot>(&*what)) {
    if (auto wrong = refuse_snapshot(e->record, *hello)) {
      emit(pod::warn{wrong->message});
      if (e->is_new)
        fail_start(*e, std::move(*wrong));
      else
        disconnect(*e, *wrong);
    }
    return take_effects();
  }
  // Whatever it says is a sign of life, on a connection that is its own.
  if (e->at == stage::unreachable && e->is_greeted)
    found(*e);
  std::visit(
    [&](auto& x) {
      using type = std::decay_t<decltype(x)>;
      if constexpr (std::is_same_v<type, pod::pong>) {
        if (x.id != e->last_ping || e->is_greeted)
          return;
        e->is_greeted = true;
        if (e->is_new)
          advance(*e);
        else if (e->at == stage::searching || e->at == stage::unreachable) {
          // Nobody knows whether it has heard what was sent before.
          drop_runs(*e, "its connection broke");
          found(*e);
        }
      } else if constexpr (std::is_same_v<type, pod::turn_start>) {
        end_run(*e, x.run, std::nullopt, x.turn);
      } else if constexpr (std::is_same_v<type, pod::run_error>) {
        auto is_busy = x.code == "already_running";
        auto why = is_busy
                     ? fmt::format("pod '{}' is already running a turn; wait "
                                   "for it to finish and retry",
                                   e->record.name)
                     : fmt::format("pod '{}' rejected the run with {}: {}",
                                   e->record.name, x.code, x.message);
        end_run(
          *e, x.run,
          failure{is_busy ? errc::busy : errc::program_failed, std::move(why)},
          0);
      } else if constexpr (std::is_same_v<type, pod::turn_ended>) {
        keep_event(*e, x.id, "turn_ended", {},
                   e->foreign_turn != 0 && x.turn == e->foreign_turn);
      } else if constexpr (std::is_same_v<type, pod::errored>) {
        keep_event(*e, x.id, "errored",
                   std::string{utf8_prefix(x.message, max_error_bytes)},
                   e->foreign_turn != 0);
      } else if constexpr (std::is_same_v<type, pod::ack>) {
        std::erase_if(e->record.notices, [&](auto& notice) {
          if (notice.id > x.id || notice.id > e->told)
            return false;
          change(*e);
          return true;
        });
      } else if constexpr (std::is_same_v<type, pod::request>) {
        emit(pod::ask{e->record.name, id, on, x});
      }
    },
    *what);
  return take_effects();
}

void pod_table::keep_event(entry& e, std::uint64_t id, const char* kind,
                           const std::string& message, bool is_foreign) {
  pod::send confirmation{e.record.id, e.connection, pod::confirm{id}};
  if (id > e.record.last_event) {
    auto* lender = lender_entry(e.record.name);
    // Not confirmed, it will say it again on its next connection.
    e.is_behind = e.is_behind || !has_room(e);
    if (e.is_behind)
      return;
    e.record.last_event = id;
    if (kind == std::string_view{"turn_ended"})
      ++e.record.turns;
    e.record.last_error = message;
    change(e);
    if (is_foreign)
      e.foreign_turn = 0;
    else if (lender)
      note(*lender, kind, e.record.name, message);
  }
  if (needs_write())
    next_.then.push_back(std::move(confirmation));
  else if (writing_)
    out_.then.push_back(std::move(confirmation));
  else
    emit(std::move(confirmation));
}

bool pod_table::has_room(const entry& e) {
  auto* lender = lender_entry(e.record.name);
  return !lender || lender->record.notices.size() < max_notices;
}

// -- what a pod has to hear ---------------------------------------------------

void pod_table::note(entry& to, std::string kind, std::string pod_name,
                     std::string message) {
  // Nothing can be said to a program that does not listen.
  if (to.record.kind == pod_class::plain)
    return;
  to.record.notices.push_back({++to.record.last_notice, std::move(kind),
                               std::move(pod_name), std::move(message)});
  listeners_.insert(to.record.id);
  change(to);
}

void pod_table::tell(entry& e) {
  if (!e.is_greeted || e.at != stage::live)
    return;
  if (dirty_ || writing_ || unsaved_) {
    listeners_.insert(e.record.id);
    return;
  }
  for (auto& x : e.record.notices) {
    if (x.id <= e.told)
      continue;
    e.told = x.id;
    pod::to_pod what = pod::pod_event{x.id, x.kind, x.pod_name, x.message};
    if (x.kind == "notice")
      what = pod::notify{x.id, x.message};
    emit(pod::send{e.record.id, e.connection, std::move(what)});
  }
}

} // namespace muster
