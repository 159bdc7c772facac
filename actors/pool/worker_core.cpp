// SPDX-License-Identifier: Apache-2.0

#include "actors/pool/worker_core.hpp"

#include "actors/strategy/guarded_host.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

namespace muster {

namespace {

std::vector<std::string> ids_of(const paused_event& pause) {
  std::vector<std::string> out;
  for (auto& q : pause.queries)
    out.push_back(q.id);
  return out;
}

/// The last pause of a history, or none.
history::const_reverse_iterator last_pause(const history& events) {
  return std::find_if(events.rbegin(), events.rend(), [](auto& event) {
    return std::holds_alternative<paused_event>(event.body);
  });
}

/// The step of a script that is to be run no further.
strategy_step failed_step(std::string message, failure_kind kind) {
  strategy_step out;
  out.end = failed_event{std::move(message), kind, {}, {}};
  return out;
}

template <class T>
void append(std::vector<T>& to, std::vector<T>&& from) {
  if (to.empty())
    to = std::move(from);
  else
    std::move(from.begin(), from.end(), std::back_inserter(to));
}

} // namespace

// -- worker_script ------------------------------------------------------------

script_outcome worker_script::run(std::vector<script_order> orders) {
  try {
    for (auto& order : orders)
      std::visit([this](auto& x) { obey(x); }, order);
    return report(host_->advance());
  } catch (const std::exception& error) {
    return report(
      failed_step(fmt::format("the worker cannot go on: {}", error.what()),
                  failure_kind::engine_error));
  }
}

void worker_script::obey(worker_start& order) {
  settings_ = std::move(order.settings);
  if (auto pause = last_pause(order.what.events);
      pause != order.what.events.rend())
    restored_ = ids_of(std::get<paused_event>(pause->body));
  // Whose deaths count is the node's business: this process dies once.
  host_ = std::make_unique<guarded_host>(
    std::make_unique<local_host>(settings_, clocks_),
    std::make_shared<crash_notes>(), 1);
  host_->start(std::move(order.what));
}

void worker_script::obey(worker_resolve& order) {
  host_->resolve(std::move(order.result));
}

void worker_script::obey(worker_answer& order) {
  host_->answer(std::move(order.answers));
}

void worker_script::obey(worker_committed& order) {
  host_->committed(order.seq);
}

script_outcome worker_script::report(host_report what) {
  using next = script_outcome::next;
  script_outcome out;
  worker_report report;
  if (std::holds_alternative<host_busy>(what))
    return out;
  if (auto* call = std::get_if<host_call>(&what)) {
    out.waits_for = next::resolve;
    report.what = std::move(*call);
  } else if (auto* step = std::get_if<strategy_step>(&what)) {
    out.events = step->effects.size() + 1;
    out.waits_for = next::end;
    if (auto* pause = std::get_if<paused_event>(&step->end)) {
      out.waits_for = next::answer;
      out.queries = ids_of(*pause);
    }
    report.what = std::move(*step);
  } else if (std::holds_alternative<host_restored>(what)) {
    out.waits_for = next::answer;
    out.queries = std::exchange(restored_, {});
    report.what = host_restored{};
  } else {
    out.waits_for = next::end;
    return out;
  }
  if (host_) {
    report.logs = host_->take_logs();
    report.memory_bytes = host_->memory_bytes();
  }
  out.frame = encode(std::move(report));
  if (out.frame.size() <= max_frame_bytes_)
    return out;
  return this->report(failed_step(
    fmt::format("what the script did since its last pause takes {} bytes, more "
                "than the {} that a worker can tell at once",
                out.frame.size(), max_frame_bytes_),
    failure_kind::limit_exceeded));
}

// -- constructors -------------------------------------------------------------

worker_core::worker_core(worker_description what)
  : what_(std::move(what)), script_(what_.clocks, what_.max_frame_bytes) {
  // nop
}

// -- events -------------------------------------------------------------------

worker_effects worker_core::received(std::uint64_t connection,
                                     std::string_view frame) {
  sender_ = connection;
  frame_bytes_ = frame.size();
  auto request = decode_request(frame);
  answered answer;
  if (!request)
    answer = tl::unexpected<failure>{request.error()};
  else if (auto fine = check_sender(*request); !fine)
    answer = tl::unexpected<failure>{fine.error()};
  else
    answer = std::visit([this](auto& x) { return on(x); }, *request);
  auto effects = std::exchange(effects_, {});
  auto reply = answer ? std::move(*answer)
                      : std::optional<worker_reply>{
                        worker_refusal{std::move(answer.error())}};
  // What is said comes before what it leads to.
  if (reply)
    effects.insert(effects.begin(), send_frame{connection, encode(*reply)});
  return effects;
}

void worker_core::lost(std::uint64_t connection) {
  if (attached_ != connection)
    return;
  attached_ = 0;
  pieces_ = {};
  piece_bytes_ = 0;
}

worker_effects worker_core::beat() const {
  if (!due_ && !running_)
    return {};
  if (attached_ == 0)
    return {};
  return {send_frame{attached_, encode(worker_working{})}};
}

// -- the script ---------------------------------------------------------------

worker_effects worker_core::advance() {
  if (!has_work())
    return {};
  return end_slice(script_.run(begin_slice()));
}

std::vector<script_order> worker_core::begin_slice() {
  running_ = true;
  due_ = false;
  return std::exchange(orders_, {});
}

worker_effects worker_core::end_slice(script_outcome outcome) {
  running_ = false;
  waits_for_ = outcome.waits_for;
  if (waits_for_ == next::slice)
    due_ = true;
  last_seq_ += outcome.events;
  if (waits_for_ == next::answer) {
    queries_ = std::move(outcome.queries);
    if (outcome.events > 0)
      pause_seq_ = last_seq_;
  }
  if (outcome.frame.empty() || attached_ == 0)
    return {};
  return {send_frame{attached_, std::move(outcome.frame)}};
}

// -- properties ---------------------------------------------------------------

worker_standing worker_core::standing() const {
  // That an answer is on disk says nothing of the pause behind it, so what was
  // committed must reach as far as the pause.
  auto at_rest = waits_for_ == next::answer && !due_ && !running_
                 && answers_.empty() && seq_ >= pause_seq_;
  return {session_id_, seq_, at_rest};
}

// -- requests -----------------------------------------------------------------

expected<void> worker_core::check_sender(const worker_request& x) const {
  if (sender_ == attached_ || std::holds_alternative<worker_hello>(x)
      || std::holds_alternative<worker_shutdown>(x))
    return {};
  return fail(errc::not_allowed,
              "the worker obeys nobody who has not said hello");
}

expected<void> worker_core::check_waits(next what,
                                        std::string_view name) const {
  if (!session_id_)
    return fail(errc::not_found, "the worker has no session");
  if (waits_for_ == what && !due_ && !running_)
    return {};
  return fail(errc::conflict, fmt::format("session '{}' does not wait for {}",
                                          *session_id_, name));
}

void worker_core::order(script_order x) {
  orders_.push_back(std::move(x));
  due_ = true;
}

worker_core::answered worker_core::on(worker_hello& x) {
  if (x.version != what_.version)
    return fail(errc::version_mismatch,
                fmt::format("the worker is muster {}, the node is muster {}: "
                            "it can only be stopped",
                            what_.version, x.version));
  if (attached_ != 0 && attached_ != sender_) {
    effects_.push_back(close_connection{attached_});
    lost(attached_);
  }
  attached_ = sender_;
  greeted_ = true;
  return worker_greeting{what_.version, what_.nonce, standing(),
                         what_.confinement};
}

worker_core::answered worker_core::on(worker_history& x) {
  if (session_id_)
    return fail(errc::busy, "worker already has an active session");
  piece_bytes_ += frame_bytes_;
  if (piece_bytes_ > what_.max_history_bytes) {
    pieces_ = {};
    return fail(errc::too_large,
                fmt::format("the history has more than {} bytes, which is all "
                            "that a worker takes",
                            what_.max_history_bytes));
  }
  append(pieces_.events, std::move(x.events));
  append(pieces_.sources, std::move(x.sources));
  return worker_taken{};
}

worker_core::answered worker_core::on(worker_start& x) {
  if (session_id_)
    return fail(errc::busy, "worker already has an active session");
  auto events = std::exchange(pieces_, {});
  piece_bytes_ = 0;
  append(events.events, std::move(x.what.events));
  append(events.sources, std::move(x.what.sources));
  x.what.events = std::move(events.events);
  x.what.sources = std::move(events.sources);
  if (x.what.events.empty()
      || !std::holds_alternative<spawned_event>(x.what.events.front().body))
    return fail(errc::invalid_argument,
                "malformed request: a history must begin with 'spawned'");
  session_id_ = x.what.session_id;
  // 0 if there is none.
  pause_seq_ = static_cast<std::uint64_t>(
    std::distance(last_pause(x.what.events), x.what.events.crend()));
  last_seq_ = seq_ = x.what.events.size();
  order(std::move(x));
  return std::nullopt;
}

worker_core::answered worker_core::on(worker_resolve& x) {
  if (auto fine = check_waits(next::resolve, "the answer to a call"); !fine)
    return tl::unexpected<failure>{fine.error()};
  order(std::move(x));
  return std::nullopt;
}

worker_core::answered worker_core::on(worker_answer& x) {
  if (auto fine = check_waits(next::answer, "answers"); !fine)
    return tl::unexpected<failure>{fine.error()};
  auto fits = x.answers.size() <= queries_.size() - answers_.size()
              && std::equal(
                x.answers.begin(), x.answers.end(),
                queries_.begin() + static_cast<std::ptrdiff_t>(answers_.size()),
                [](auto& answer, auto& id) { return answer.query_id == id; });
  if (!fits || x.answers.empty())
    return fail(errc::invalid_argument,
                fmt::format("session '{}' does not wait for these answers",
                            *session_id_));
  append(answers_, std::move(x.answers));
  if (answers_.size() < queries_.size())
    return worker_taken{};
  // Some of them may have been in the history that the worker started with.
  last_seq_ = pause_seq_ + answers_.size();
  order(worker_answer{std::exchange(answers_, {})});
  return std::nullopt;
}

worker_core::answered worker_core::on(worker_committed& x) {
  if (!session_id_)
    return fail(errc::not_found, "the worker has no session");
  seq_ = std::max(seq_, x.seq);
  // Nothing to do by itself: the script hears it when it goes on.
  if (orders_.empty()
      || !std::holds_alternative<worker_committed>(orders_.back()))
    orders_.push_back(x);
  else
    orders_.back() = x;
  return std::nullopt;
}

worker_core::answered worker_core::on(worker_status&) {
  return standing();
}

worker_core::answered worker_core::on(worker_shutdown&) {
  effects_.push_back(end_worker{});
  return worker_farewell{};
}

} // namespace muster
